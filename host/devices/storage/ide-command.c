/* SPDX-License-Identifier: MIT */
/*
 * The commands of an ATA disk: ATA/ATAPI-6 clause 8, and DATA SET MANAGEMENT of ACS-2 (7.10).  What
 * is not in the table is aborted: PACKET and queued commands, SMART, security, SET MAX, CFA.
 *
 * A transfer that leaves the disk is refused as a whole with IDNF, and the registers name the first
 * sector that is not there.
 */
#include "devices/storage/ide.h"

#include <string.h>

#define POWER_ON_MODE 0x45 /* Ultra DMA 5, as a BIOS would set it */

/* ---- how a command ends ---- */

void ide_complete(struct ide_drive *drive)
{
	drive->task.status = ATA_DRDY | ATA_DSC;
	drive->task.error = 0;
	drive->transfer.dma = false;
	drive->command = NULL;
	ide_raise(drive);
}

void ide_fail(struct ide_drive *drive, uint8_t error)
{
	drive->task.status = ATA_DRDY | ATA_DSC | ATA_ERR;
	drive->task.error = error;
	drive->transfer.dma = false;
	drive->at = NULL;
	drive->command = NULL;
	ide_raise(drive);
}

/* ---- addresses ---- */

static bool is_ext(const struct ide_drive *drive)
{
	return drive->command->ext;
}

/* Where the registers point (7.12, 9.4): 48 bits, 28 bits or CHS.  False: no such CHS address. */
static bool address(const struct ide_drive *drive, uint64_t *lba)
{
	const struct ide_task *t = &drive->task;
	uint32_t low = t->lba_low[0] | t->lba_mid[0] << 8 | t->lba_high[0] << 16;
	uint32_t head = t->device & ATA_DEVICE_HEAD, cylinder = t->lba_mid[0] | t->lba_high[0] << 8;

	if (is_ext(drive)) {
		*lba = low | (uint64_t)t->lba_low[1] << 24 | (uint64_t)t->lba_mid[1] << 32 |
		       (uint64_t)t->lba_high[1] << 40;
		return true;
	}
	if (t->device & ATA_DEVICE_LBA) {
		*lba = low | head << 24;
		return true;
	}
	*lba = ((uint64_t)cylinder * drive->current_heads + head) * drive->current_track +
	       t->lba_low[0] - 1;
	return t->lba_low[0] >= 1 && t->lba_low[0] <= drive->current_track &&
	       head < drive->current_heads && cylinder < drive->current_cylinders;
}

static void set_address(struct ide_drive *drive, uint64_t lba, bool ext)
{
	struct ide_task *t = &drive->task;

	if (!ext && !(t->device & ATA_DEVICE_LBA)) {
		uint32_t track = lba / drive->current_track;
		uint32_t cylinder = track / drive->current_heads;

		t->lba_low[0] = lba % drive->current_track + 1;
		t->lba_mid[0] = cylinder;
		t->lba_high[0] = cylinder >> 8;
		t->device = (t->device & ~ATA_DEVICE_HEAD) | track % drive->current_heads;
		return;
	}
	t->lba_low[0] = lba;
	t->lba_mid[0] = lba >> 8;
	t->lba_high[0] = lba >> 16;
	if (ext) {
		t->lba_low[1] = lba >> 24;
		t->lba_mid[1] = lba >> 32;
		t->lba_high[1] = lba >> 40;
	} else {
		t->device = (t->device & ~ATA_DEVICE_HEAD) | (lba >> 24 & ATA_DEVICE_HEAD);
	}
}

void ide_fail_at(struct ide_drive *drive, uint8_t error, uint64_t lba)
{
	set_address(drive, lba, is_ext(drive));
	ide_fail(drive, error);
}

static uint32_t count(const struct ide_drive *drive)
{
	const struct ide_task *t = &drive->task;
	uint32_t n = is_ext(drive) ? t->count[0] | t->count[1] << 8 : t->count[0];

	return n ? n : is_ext(drive) ? 65536 : 256;
}

/* The range of the command into `transfer`, or the command fails. */
static bool range(struct ide_drive *drive, uint32_t sectors)
{
	uint64_t lba;

	memset(&drive->transfer, 0, sizeof(drive->transfer));
	if (!address(drive, &lba)) {
		ide_fail(drive, ATA_IDNF);
		return false;
	}
	if (lba >= drive->sectors || sectors > drive->sectors - lba) {
		ide_fail_at(drive, ATA_IDNF, lba > drive->sectors ? lba : drive->sectors);
		return false;
	}
	drive->transfer.lba = lba;
	drive->transfer.left = sectors;
	drive->power = IDE_ACTIVE;
	return true;
}

/* ---- data commands ---- */

static void run_pio(struct ide_drive *drive)
{
	if (drive->command->multiple && !drive->multiple) {
		ide_fail(drive, ATA_ABRT);
		return;
	}
	if (!range(drive, count(drive)))
		return;
	drive->transfer.per_block = drive->command->multiple ? drive->multiple : 1;
	if (drive->command->write)
		ide_pio_out(drive);
	else
		ide_pio_in(drive);
}

static void run_dma(struct ide_drive *drive)
{
	if (range(drive, count(drive)))
		ide_dma_begin(drive);
}

static void run_verify(struct ide_drive *drive)
{
	if (range(drive, count(drive)))
		ide_verify(drive);
}

static void run_seek(struct ide_drive *drive)
{
	if (range(drive, 1))
		ide_complete(drive);
}

static void run_flush(struct ide_drive *drive)
{
	ide_flush(drive);
}

/* ACS-2: only TRIM (feature bit 0); `count` blocks of 64 ranges come by DMA. */
static void run_data_set_management(struct ide_drive *drive)
{
	uint32_t blocks = drive->task.count[0] | drive->task.count[1] << 8;

	if (!drive->can_trim || !(drive->task.feature[0] & 1) || blocks == 0 ||
		blocks > IDE_TRIM_BLOCKS) {
		ide_fail(drive, ATA_ABRT);
		return;
	}
	memset(&drive->transfer, 0, sizeof(drive->transfer));
	drive->transfer.left = blocks;
	drive->transfer.trim = true;
	ide_dma_begin(drive);
}

static void run_identify(struct ide_drive *drive)
{
	uint16_t words[256];

	ide_identify(drive, words);
	memcpy(drive->buffer, words, sizeof(words));
	memset(&drive->transfer, 0, sizeof(drive->transfer));
	ide_offer(drive, drive->buffer, sizeof(words), NULL);
	ide_raise(drive);
}

/* ---- the rest ---- */

static void run_nothing(struct ide_drive *drive)
{
	ide_complete(drive);
}

static void run_set_multiple(struct ide_drive *drive)
{
	uint8_t n = drive->task.count[0];

	if (n > IDE_MULTIPLE_MAX || (n & (n - 1))) {
		drive->multiple = 0; /* 8.39.4: a refused count disables the commands */
		ide_fail(drive, ATA_ABRT);
		return;
	}
	drive->multiple = n;
	ide_complete(drive);
}

/* Of ATA-3, and obsolete, but what drives by CHS stands on it. */
static void run_initialize_parameters(struct ide_drive *drive)
{
	uint32_t heads = (drive->task.device & ATA_DEVICE_HEAD) + 1;
	uint32_t track = drive->task.count[0];
	uint64_t cylinders;

	if (track == 0) {
		ide_fail(drive, ATA_ABRT);
		return;
	}
	cylinders = drive->sectors / (heads * track);
	drive->current_heads = heads;
	drive->current_track = track;
	drive->current_cylinders = cylinders > 65535 ? 65535 : cylinders;
	ide_complete(drive);
}

static void run_read_native_max(struct ide_drive *drive)
{
	uint64_t last = drive->sectors - 1;

	if (!is_ext(drive)) {
		if (last > IDE_LBA28_MAX)
			last = IDE_LBA28_MAX;
		drive->task.device |= ATA_DEVICE_LBA;
	}
	set_address(drive, last, is_ext(drive));
	ide_complete(drive);
}

static void run_standby(struct ide_drive *drive)
{
	drive->power = IDE_STANDBY;
	ide_complete(drive);
}

static void run_idle(struct ide_drive *drive)
{
	drive->power = IDE_IDLE;
	ide_complete(drive);
}

static void run_sleep(struct ide_drive *drive)
{
	drive->power = IDE_STANDBY;
	ide_complete(drive);
	drive->asleep = true; /* only a reset wakes it (8.42) */
}

static void run_check_power(struct ide_drive *drive)
{
	drive->task.count[0] = drive->power;
	ide_complete(drive);
}

void ide_set_transfer_mode_default(struct ide_drive *drive)
{
	drive->transfer_mode = POWER_ON_MODE;
}

/* SET FEATURES 03h (8.46.3): the mode is in the count register. */
static bool set_transfer_mode(struct ide_drive *drive)
{
	uint8_t mode = drive->task.count[0], n = mode & 7;

	switch (mode >> 3) {
	case 0: /* PIO default, with or without IORDY */ return n <= 1;
	case 1: /* PIO with flow control */ return n <= 4;
	case 4: /* multiword DMA */
		if (n > 2)
			return false;
		break;
	case 8: /* Ultra DMA */
		if (n > 5)
			return false;
		break;
	default: return false;
	}
	drive->transfer_mode = mode;
	return true;
}

static void after_cache_off(struct ide_drive *drive, int result)
{
	if (result < 0)
		ide_fail(drive, ATA_ABRT);
	else
		ide_complete(drive);
}

static void run_set_features(struct ide_drive *drive)
{
	switch (drive->task.feature[0]) {
	case 0x02: drive->write_cache = true; break;
	case 0x82: /* what is in the cache goes to the medium first */
		drive->write_cache = false;
		ide_submit(drive, BLOCK_FLUSH, 0, 0, NULL, 0, after_cache_off);
		return;
	case 0x03:
		if (!set_transfer_mode(drive)) {
			ide_fail(drive, ATA_ABRT);
			return;
		}
		break;
	case 0x55: drive->look_ahead = false; break;
	case 0xaa: drive->look_ahead = true; break;
	case 0x66: drive->keep_settings = true; break;
	case 0xcc: drive->keep_settings = false; break;
	default: ide_fail(drive, ATA_ABRT); return;
	}
	ide_complete(drive);
}

/* clang-format off */
static const struct ide_command commands[256] = {
	[0x06] = {run_data_set_management, .ext = true, .write = true, .dma = true},
	[0x10 ... 0x1f] = {run_nothing}, /* RECALIBRATE */
	[0x20 ... 0x21] = {run_pio},
	[0x24] = {run_pio, .ext = true},
	[0x25] = {run_dma, .ext = true, .dma = true},
	[0x27] = {run_read_native_max, .ext = true},
	[0x29] = {run_pio, .ext = true, .multiple = true},
	[0x30 ... 0x31] = {run_pio, .write = true},
	[0x34] = {run_pio, .ext = true, .write = true},
	[0x35] = {run_dma, .ext = true, .write = true, .dma = true},
	[0x39] = {run_pio, .ext = true, .write = true, .multiple = true},
	[0x3d] = {run_dma, .ext = true, .write = true, .fua = true, .dma = true},
	[0x40 ... 0x41] = {run_verify},
	[0x42] = {run_verify, .ext = true},
	[0x70 ... 0x7f] = {run_seek},
	[0x91] = {run_initialize_parameters},
	[0x94] = {run_standby}, [0x96] = {run_standby}, [0xe0] = {run_standby}, [0xe2] = {run_standby},
	[0x95] = {run_idle}, [0x97] = {run_idle}, [0xe1] = {run_idle}, [0xe3] = {run_idle},
	[0x98] = {run_check_power}, [0xe5] = {run_check_power},
	[0x99] = {run_sleep}, [0xe6] = {run_sleep},
	[0xc4] = {run_pio, .multiple = true},
	[0xc5] = {run_pio, .write = true, .multiple = true},
	[0xc6] = {run_set_multiple},
	[0xc8 ... 0xc9] = {run_dma, .dma = true},
	[0xca ... 0xcb] = {run_dma, .write = true, .dma = true},
	[0xce] = {run_pio, .ext = true, .write = true, .multiple = true, .fua = true},
	[0xe7] = {run_flush},
	[0xea] = {run_flush, .ext = true},
	[0xec] = {run_identify},
	[0xef] = {run_set_features},
	[0xf8] = {run_read_native_max},
};
/* clang-format on */

const struct ide_command *ide_command_find(uint8_t opcode)
{
	return commands[opcode].run ? &commands[opcode] : NULL;
}

uint8_t ide_command_opcode(const struct ide_command *command)
{
	return command - commands;
}

/* The command register was written; the drive is neither busy nor in a transfer. */
void ide_command(struct ide_drive *drive, uint8_t opcode)
{
	const struct ide_command *command = &commands[opcode];

	if (drive->asleep)
		return;
	drive->intrq = false;
	ide_update_irq(drive->channel);
	drive->task.error = 0;
	drive->task.status = ATA_BSY;
	drive->command = command;
	if (command->run)
		command->run(drive);
	else
		ide_fail(drive, ATA_ABRT);
}
