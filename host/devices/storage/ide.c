/* SPDX-License-Identifier: MIT */
/*
 * An ATA channel: the command block and control block registers of two drives, INTRQ, software
 * reset and signatures.  ATA/ATAPI-6 (T13/1410D), clauses 5 to 7 and 9.
 *
 * Left out: 8-bit data transfers (CFA), native-mode PCI addresses.  Undriven lines read as 0, so a
 * channel without drives answers 0.
 */
#include "devices/storage/ide.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/count.h"
#include "base/log.h"

enum { REG_DATA, REG_FEATURE, REG_COUNT, REG_LOW, REG_MID, REG_HIGH, REG_DEVICE, REG_COMMAND };

static struct ide_drive *selected_drive(struct ide_channel *channel)
{
	return channel->drives[channel->selected];
}

/* INTRQ is driven by the selected drive alone, and not while nIEN is set (5.2.9).  Its rising edge
 * is what the bus master's interrupt bit remembers. */
void ide_update_irq(struct ide_channel *channel)
{
	struct ide_drive *drive = selected_drive(channel);
	bool level = drive && drive->intrq && !(channel->control & ATA_CONTROL_NIEN);

	if (level == channel->level)
		return;
	channel->level = level;
	if (level)
		channel->bm.status |= BM_STATUS_INTR;
	irq_set(&channel->irq, level);
}

void ide_raise(struct ide_drive *drive)
{
	drive->intrq = true;
	ide_update_irq(drive->channel);
}

/* ---- the data port ---- */

/* A 32-bit access is two of 16 bits (the host adapter's doing), of which the second may already
 * belong to the next block. */
static uint32_t data_read(struct ide_channel *channel, unsigned size)
{
	struct ide_drive *drive = selected_drive(channel);
	uint32_t value = 0;

	if (size < 2 || !drive || !drive->at || drive->command->write)
		return 0;
	if (drive->end - drive->at < size)
		size = 2;
	memcpy(&value, drive->at, size);
	count_add(COUNT_COPIED_BYTES, size);
	drive->at += size;
	if (drive->at == drive->end) {
		drive->at = NULL;
		drive->block_done(drive);
	}
	return value;
}

static void data_write(struct ide_channel *channel, uint32_t value, unsigned size)
{
	struct ide_drive *drive = selected_drive(channel);

	if (size < 2 || !drive || !drive->at || !drive->command->write)
		return;
	if (drive->end - drive->at < size)
		size = 2;
	memcpy(drive->at, &value, size);
	count_add(COUNT_COPIED_BYTES, size);
	drive->at += size;
	if (drive->at == drive->end) {
		drive->at = NULL;
		drive->block_done(drive);
	}
}

/* ---- the other registers of the command block ---- */

/* Drive 0 answers for a drive 1 that is not there, with status 0 (9.16). */
static uint8_t register_read(struct ide_channel *channel, unsigned reg)
{
	struct ide_drive *drive = selected_drive(channel);
	unsigned hob = channel->control & ATA_CONTROL_HOB ? 1 : 0;
	const struct ide_task *task;

	if (!drive) {
		drive = channel->drives[0];
		if (!drive || reg == REG_COMMAND || reg == REG_FEATURE)
			return 0;
	}
	task = &drive->task;
	switch (reg) {
	case REG_FEATURE: return task->error;
	case REG_COUNT: return task->count[hob];
	case REG_LOW: return task->lba_low[hob];
	case REG_MID: return task->lba_mid[hob];
	case REG_HIGH: return task->lba_high[hob];
	case REG_DEVICE: return task->device;
	case REG_COMMAND:
		drive->intrq = false;
		ide_update_irq(channel);
		return task->status;
	}
	return 0;
}

static void shift_in(uint8_t reg[2], uint8_t value)
{
	reg[1] = reg[0];
	reg[0] = value;
}

static void latch(struct ide_task *task, unsigned reg, uint8_t value)
{
	switch (reg) {
	case REG_FEATURE: shift_in(task->feature, value); break;
	case REG_COUNT: shift_in(task->count, value); break;
	case REG_LOW: shift_in(task->lba_low, value); break;
	case REG_MID: shift_in(task->lba_mid, value); break;
	case REG_HIGH: shift_in(task->lba_high, value); break;
	case REG_DEVICE: task->device = value; break;
	}
}

/* Both drives take what is written; the command only the selected one (5.1).  While BSY or DRQ is
 * set the outcome of a write is undefined (7.1): here it does nothing. */
static void register_write(struct ide_channel *channel, unsigned reg, uint8_t value)
{
	struct ide_drive *drive = selected_drive(channel);

	channel->control &= ~ATA_CONTROL_HOB;
	if (drive && drive->task.status & (ATA_BSY | ATA_DRQ)) {
		log_guest_error(
			"ide", "write of 0x%02x to register %u of a busy drive", value, reg);
		return;
	}
	if (reg == REG_COMMAND) {
		if (value == 0x90)
			ide_diagnose(channel);
		else if (drive)
			ide_command(drive, value);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		if (channel->drives[i])
			latch(&channel->drives[i]->task, reg, value);
	if (reg == REG_DEVICE) {
		channel->selected = value & ATA_DEVICE_DEV ? 1 : 0;
		ide_update_irq(channel);
	}
}

static uint64_t command_block_read(void *opaque, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	if (offset == REG_DATA)
		return data_read(opaque, size);
	for (unsigned i = 0; i < size && offset + i <= REG_COMMAND; i++)
		value |= (uint64_t)register_read(opaque, offset + i) << (i * 8);
	return value;
}

static void command_block_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	if (offset == REG_DATA) {
		data_write(opaque, value, size);
		return;
	}
	for (unsigned i = 0; i < size && offset + i <= REG_COMMAND; i++)
		register_write(opaque, offset + i, value >> (i * 8));
}

static const struct region_ops command_block_ops = {
	.read = command_block_read,
	.write = command_block_write,
};

/* ---- the control block ---- */

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ide_drive *drive = selected_drive(opaque);

	return drive ? drive->task.status : 0;
}

static void soft_reset(struct ide_drive *drive)
{
	ide_signature(drive);
	drive->asleep = false;
	drive->task.status = ATA_DRDY | ATA_DSC;
	if (drive->keep_settings)
		return;
	drive->multiple = IDE_MULTIPLE_MAX;
	drive->write_cache = drive->write_cache_default;
	drive->look_ahead = true;
}

/* 9.2: while SRST is set both drives are busy; when it is cleared they diagnose themselves. */
static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct ide_channel *channel = opaque;
	bool was = channel->control & ATA_CONTROL_SRST, is = value & ATA_CONTROL_SRST;

	channel->control = value & (ATA_CONTROL_HOB | ATA_CONTROL_SRST | ATA_CONTROL_NIEN);
	for (unsigned i = 0; i < 2 && is && !was; i++) {
		struct ide_drive *drive = channel->drives[i];

		if (!drive)
			continue;
		ide_abandon(drive);
		drive->task.status = ATA_BSY;
	}
	for (unsigned i = 0; i < 2 && was && !is; i++)
		if (channel->drives[i])
			soft_reset(channel->drives[i]);
	if (is != was)
		channel->selected = 0;
	ide_update_irq(channel);
}

static const struct region_ops control_ops = {
	.read = control_read,
	.write = control_write,
	.max_access = 1,
};

/* ---- reset ---- */

void ide_signature(struct ide_drive *drive)
{
	struct ide_task *task = &drive->task;

	memset(task, 0, sizeof(*task));
	task->error = 0x01; /* diagnostic code: no error; drive 1 passed or is absent */
	task->count[0] = 1;
	task->lba_low[0] = 1;
}

void ide_abandon(struct ide_drive *drive)
{
	drive->intrq = false;
	drive->at = NULL;
	if (drive->in_flight) {
		drive->disowned = true;
		block_drain(drive->blk, drive->channel->machine->loop);
		if (drive->transfer.dma && !drive->in_flight)
			ide_dma_release(drive->channel);
	}
	memset(&drive->transfer, 0, sizeof(drive->transfer));
	drive->command = NULL;
}

/* EXECUTE DEVICE DIAGNOSTIC (8.11): both drives do it whichever is selected; drive 0 reports. */
void ide_diagnose(struct ide_channel *channel)
{
	for (unsigned i = 0; i < 2; i++) {
		struct ide_drive *drive = channel->drives[i];

		if (!drive)
			continue;
		ide_abandon(drive);
		ide_signature(drive);
		drive->task.status = ATA_DRDY | ATA_DSC;
	}
	channel->selected = 0;
	ide_update_irq(channel);
	if (channel->drives[0])
		ide_raise(channel->drives[0]);
}

void ide_drive_init(struct ide_drive *drive)
{
	ide_signature(drive);
	drive->task.status = ATA_DRDY | ATA_DSC;
	drive->multiple = IDE_MULTIPLE_MAX;
	drive->write_cache = drive->write_cache_default;
	drive->look_ahead = true;
	drive->keep_settings = false;
	drive->asleep = false;
	drive->power = IDE_ACTIVE;
	drive->current_cylinders = drive->cylinders;
	drive->current_heads = drive->heads;
	drive->current_track = drive->track;
	ide_set_transfer_mode_default(drive);
}

void ide_channel_reset(struct ide_channel *channel)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!channel->drives[i])
			continue;
		ide_abandon(channel->drives[i]);
		ide_drive_init(channel->drives[i]);
	}
	channel->selected = 0;
	channel->control = 0;
	ide_update_irq(channel);
	ide_dma_reset(channel);
}

/* ---- the bus ---- */

static bool is_full(struct bus *bus)
{
	struct ide_channel *channel = container_of(bus, struct ide_channel, bus);

	return channel->drives[0] && channel->drives[1];
}

static int plug(struct bus *bus, struct device *dev, struct error *err)
{
	struct ide_channel *channel = container_of(bus, struct ide_channel, bus);
	struct ide_device *ide = container_of(dev, struct ide_device, dev);

	if (ide->unit == UINT32_MAX)
		ide->unit = channel->drives[0] ? 1 : 0;
	if (ide->unit > 1)
		return error_set(err, EINVAL, "Can't create IDE unit %u, bus supports only 2 units",
			ide->unit);
	if (channel->drives[ide->unit])
		return error_set(err, EBUSY, "IDE unit %u is in use", ide->unit);
	ide->drive.channel = channel;
	ide->drive.unit = ide->unit;
	channel->drives[ide->unit] = &ide->drive;
	return 0;
}

static void unplug(struct bus *bus, struct device *dev)
{
	struct ide_channel *channel = container_of(bus, struct ide_channel, bus);
	struct ide_device *ide = container_of(dev, struct ide_device, dev);

	channel->drives[ide->unit] = NULL;
	ide_update_irq(channel);
}

void ide_channel_init(struct ide_channel *channel, struct machine *machine, unsigned number)
{
	char name[sizeof(channel->bus.name)];

	channel->machine = machine;
	channel->number = number;
	channel->bus.plug = plug;
	channel->bus.unplug = unplug;
	channel->bus.is_full = is_full;
	snprintf(name, sizeof(name), "ide.%u", number);
	bus_register(&channel->bus, machine, "IDE", name);

	snprintf(channel->command_name, sizeof(channel->command_name), "ide%u-command", number);
	channel->command_region = (struct region){
		.name = channel->command_name,
		.length = 8,
		.ops = &command_block_ops,
		.opaque = channel,
	};
	snprintf(channel->control_name, sizeof(channel->control_name), "ide%u-control", number);
	channel->control_region = (struct region){
		.name = channel->control_name,
		.length = 1,
		.ops = &control_ops,
		.opaque = channel,
	};
}

void ide_channel_map(struct ide_channel *channel, uint16_t command, uint16_t control)
{
	space_map(&channel->machine->ports, &channel->command_region, command);
	space_map(&channel->machine->ports, &channel->control_region, control);
}

void ide_channel_unmap(struct ide_channel *channel)
{
	space_unmap(&channel->command_region);
	space_unmap(&channel->control_region);
}
