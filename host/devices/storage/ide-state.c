/* SPDX-License-Identifier: MIT */
/*
 * What is saved of the IDE channels and drives.  Requests to the backend have ended (pre_save waits
 * for them), so a drive stands between two of them: idle, at the data port in the middle of a
 * block, or waiting for the bus master.  The sector buffer goes along only while a command is at
 * work.
 */
#include <errno.h>

#include "devices/storage/ide.h"

/* --- channel --- */

static const struct state_field bmdma_fields[] = {
	STATE_UINT(struct ide_bmdma, command, .max = BM_COMMAND_START | BM_COMMAND_READ),
	STATE_UINT(struct ide_bmdma, status),
	STATE_UINT(struct ide_bmdma, table),
	STATE_UINT(struct ide_bmdma, next),
	STATE_UINT(struct ide_bmdma, entries_left, .max = IDE_PRD_ENTRIES),
	STATE_UINT(struct ide_bmdma, address),
	STATE_UINT(struct ide_bmdma, bytes_left, .max = 65536),
	STATE_BOOL(struct ide_bmdma, last),
	STATE_END,
};

static const struct state_table bmdma_table = {
	.name = "bmdma", .version = 1, .fields = bmdma_fields};

static const struct state_field channel_fields[] = {
	STATE_UINT(struct ide_channel, selected, .max = 1),
	STATE_UINT(struct ide_channel, control),
	STATE_BOOL(struct ide_channel, level),
	STATE_PART(struct ide_channel, bm, bmdma_table),
	STATE_END,
};

static void channel_prepare(void *state)
{
	struct ide_channel *channel = state;

	for (unsigned i = 0; i < 2; i++)
		while (channel->drives[i] && channel->drives[i]->in_flight)
			block_drain(channel->drives[i]->blk, channel->machine->loop);
}

/* The line's level is in the interrupt controllers, too. */
static int channel_loaded(void *state, unsigned version, struct error *err)
{
	struct ide_channel *channel = state;

	irq_set(&channel->irq, channel->level);
	return 0;
}

const struct state_table ide_channel_table = {
	.name = "channel",
	.version = 1,
	.fields = channel_fields,
	.pre_save = channel_prepare,
	.post_load = channel_loaded,
};

/* --- drive --- */

static const struct state_field task_fields[] = {
	STATE_UINTS(struct ide_task, feature),
	STATE_UINTS(struct ide_task, count),
	STATE_UINTS(struct ide_task, lba_low),
	STATE_UINTS(struct ide_task, lba_mid),
	STATE_UINTS(struct ide_task, lba_high),
	STATE_UINT(struct ide_task, device),
	STATE_UINT(struct ide_task, status),
	STATE_UINT(struct ide_task, error),
	STATE_END,
};

static const struct state_table task_table = {.name = "task", .version = 1, .fields = task_fields};

static const struct state_field transfer_fields[] = {
	STATE_UINT(struct ide_transfer, lba),
	STATE_UINT(struct ide_transfer, left, .max = 65536),
	STATE_UINT(struct ide_transfer, per_block, .max = IDE_MULTIPLE_MAX),
	STATE_UINT(struct ide_transfer, buffered, .max = IDE_BUFFER_SECTORS),
	STATE_UINT(struct ide_transfer, taken, .max = IDE_BUFFER_SECTORS),
	STATE_BOOL(struct ide_transfer, single),
	STATE_BOOL(struct ide_transfer, dma),
	STATE_BOOL(struct ide_transfer, trim),
	STATE_END,
};

static const struct state_table transfer_table = {
	.name = "transfer", .version = 1, .fields = transfer_fields};

#define NO_COMMAND   0xffff
#define BUFFER_BYTES (IDE_BUFFER_SECTORS * IDE_SECTOR)

static bool valid_multiple(const void *state, uint64_t value)
{
	return value <= IDE_MULTIPLE_MAX && !(value & (value - 1));
}

static bool valid_opcode(const void *state, uint64_t value)
{
	return value == NO_COMMAND || (value <= UINT8_MAX && ide_command_find(value));
}

static bool valid_step(const void *state, uint64_t value)
{
	return value < IDE_STEPS;
}

static const struct state_field work_fields[] = {
	STATE_UINT(struct ide_drive, saved.opcode, .valid = valid_opcode),
	STATE_UINT(struct ide_drive, saved.step, .valid = valid_step),
	STATE_UINT(struct ide_drive, saved.at, .max = BUFFER_BYTES),
	STATE_UINT(struct ide_drive, saved.left, .max = BUFFER_BYTES),
	STATE_PART(struct ide_drive, transfer, transfer_table),
	{.name = "buffer",
		.kind = STATE_NUMBER,
		.offset = offsetof(struct ide_drive, buffer),
		.size = 1,
		.counted = ide_saved_bytes},
	STATE_END,
};

unsigned ide_saved_bytes(const void *state)
{
	return BUFFER_BYTES;
}

static bool is_at_work(const void *state)
{
	const struct ide_drive *drive = state;

	return drive->command || drive->at;
}

static int check(const struct ide_drive *drive, struct error *err)
{
	const struct ide_transfer *t = &drive->transfer;
	const struct ide_command *command = drive->command;
	uint32_t block = t->per_block < t->left ? t->per_block : t->left;

	if (drive->saved.at + drive->saved.left > BUFFER_BYTES || (drive->saved.left & 1))
		return error_set(err, EINVAL, "saved.left: beyond the buffer");
	if (!command && (drive->saved.left || t->dma))
		return error_set(err, EINVAL, "saved.opcode: none, with data to come");
	if (!t->trim && (t->lba > drive->sectors || t->left > drive->sectors - t->lba))
		return error_set(err, EINVAL, "transfer.left: beyond the end of the disk");
	if (t->taken + t->buffered > IDE_BUFFER_SECTORS)
		return error_set(err, EINVAL, "transfer.buffered: beyond the buffer");
	if (t->trim && (!t->dma || !command->write || t->taken + t->left > IDE_TRIM_BLOCKS))
		return error_set(err, EINVAL, "transfer.trim: too much");
	if (t->dma && (drive->saved.left || !command->dma))
		return error_set(err, EINVAL, "transfer.dma: with data at the port");
	if (!drive->saved.left)
		return 0;
	if (drive->saved.step != IDE_STEP_OFFERED && !block)
		return error_set(err, EINVAL, "transfer.per_block: 0");
	if ((drive->saved.step == IDE_STEP_GIVEN) != command->write)
		return error_set(err, EINVAL, "saved.step: not this command's");
	/* A fetch begins where the buffer's sectors end: whole blocks, or one by one at its front.
	 */
	if (drive->saved.step == IDE_STEP_TAKEN &&
		(t->buffered < block || t->buffered > t->left ||
			(t->single ? t->taken + t->buffered + block > IDE_BUFFER_SECTORS
				   : t->buffered % t->per_block && t->buffered != t->left)))
		return error_set(err, EINVAL, "transfer.buffered: not whole blocks");
	return 0;
}

static void work_prepare(void *state)
{
	struct ide_drive *drive = state;

	drive->saved.opcode = drive->command ? ide_command_opcode(drive->command) : NO_COMMAND;
	drive->saved.step = ide_step(drive);
	drive->saved.at = drive->at ? drive->at - drive->buffer : 0;
	drive->saved.left = drive->at ? drive->end - drive->at : 0;
}

static int work_loaded(void *state, unsigned version, struct error *err)
{
	struct ide_drive *drive = state;
	int rc;

	drive->command =
		drive->saved.opcode == NO_COMMAND ? NULL : ide_command_find(drive->saved.opcode);
	rc = check(drive, err);
	if (rc < 0)
		return rc;
	drive->at = drive->saved.left ? drive->buffer + drive->saved.at : NULL;
	drive->end = drive->at + drive->saved.left;
	ide_set_step(drive, drive->saved.step);
	return 0;
}

static const struct state_table work_table = {
	.name = "work",
	.version = 1,
	.fields = work_fields,
	.needed = is_at_work,
	.pre_save = work_prepare,
	.post_load = work_loaded,
};

static const struct state_table *const drive_subsections[] = {&work_table, NULL};

static bool valid_sectors(const void *state, uint64_t value)
{
	return ((const struct ide_drive *)state)->sectors == value;
}

static bool valid_power(const void *state, uint64_t value)
{
	return value == IDE_STANDBY || value == IDE_IDLE || value == IDE_ACTIVE;
}

static const struct state_field drive_fields[] = {
	STATE_UINT(struct ide_drive, sectors, .valid = valid_sectors),
	STATE_UINT(struct ide_drive, current_cylinders),
	STATE_UINT(struct ide_drive, current_heads, .min = 1, .max = 16),
	STATE_UINT(struct ide_drive, current_track, .min = 1, .max = 255),
	STATE_PART(struct ide_drive, task, task_table),
	STATE_BOOL(struct ide_drive, intrq),
	STATE_UINT(struct ide_drive, multiple, .valid = valid_multiple),
	STATE_UINT(struct ide_drive, transfer_mode),
	STATE_BOOL(struct ide_drive, write_cache),
	STATE_BOOL(struct ide_drive, look_ahead),
	STATE_BOOL(struct ide_drive, keep_settings),
	STATE_BOOL(struct ide_drive, asleep),
	STATE_UINT(struct ide_drive, power, .valid = valid_power),
	STATE_END,
};

const struct state_table ide_drive_table = {
	.name = "drive",
	.version = 1,
	.fields = drive_fields,
	.subsections = drive_subsections,
};
