/* SPDX-License-Identifier: MIT */
/*
 * Data between the medium and the data port, and what else goes to the backend: ATA/ATAPI-6 clauses
 * 9.5 to 9.8 (PIO data-in and data-out), READ VERIFY, FLUSH CACHE, TRIM.
 *
 * A read fetches up to IDE_BUFFER_SECTORS at once and offers them block by block.  When such a
 * fetch fails, the sectors are read one at a time, so that the host gets what is good and the
 * address of the sector that is not.
 */
#include "devices/storage/ide.h"

#include <errno.h>

/* ---- requests ---- */

static void request_done(struct block_request *request, int result)
{
	struct ide_drive *drive = request->opaque;
	void (*done)(struct ide_drive *, int) = drive->done;

	if (!drive->in_flight)
		return;
	drive->in_flight = false;
	drive->done = NULL;
	if (!drive->disowned)
		done(drive, result);
	drive->disowned = false;
}

void ide_submit(struct ide_drive *drive, enum block_operation operation, uint64_t lba,
	uint32_t sectors, const struct iovec *iov, int iov_count,
	void (*done)(struct ide_drive *drive, int result))
{
	bool through = operation == BLOCK_WRITE && (drive->command->fua || !drive->write_cache);

	/* Only a backend that lost a request leaves one here after a reset. */
	if (drive->in_flight) {
		done(drive, -EIO);
		return;
	}
	drive->request = (struct block_request){
		.operation = operation,
		.flags = through ? BLOCK_FLAG_FUA : 0,
		.offset = lba * IDE_SECTOR,
		.bytes = (uint64_t)sectors * IDE_SECTOR,
		.iov = iov,
		.iov_count = iov_count,
		.loop = drive->channel->machine->loop,
		.done = request_done,
		.opaque = drive,
	};
	drive->task.status = ATA_BSY;
	drive->in_flight = true;
	drive->disowned = false;
	drive->done = done;
	block_submit(drive->blk, &drive->request);
}

static void submit_buffer(struct ide_drive *drive, enum block_operation operation, uint32_t at,
	uint32_t sectors, void (*done)(struct ide_drive *drive, int result))
{
	drive->transfer.chunk = sectors;
	drive->iov.iov_base = drive->buffer + at * IDE_SECTOR;
	drive->iov.iov_len = sectors * IDE_SECTOR;
	ide_submit(drive, operation, drive->transfer.lba + at, sectors, &drive->iov, 1, done);
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* ---- data in ---- */

static void offered_all(struct ide_drive *drive)
{
	drive->task.status = ATA_DRDY | ATA_DSC;
	drive->command = NULL;
}

void ide_offer(struct ide_drive *drive, uint8_t *from, uint32_t bytes,
	void (*then)(struct ide_drive *drive))
{
	drive->at = from;
	drive->end = from + bytes;
	drive->block_done = then ? then : offered_all;
	drive->task.status = ATA_DRDY | ATA_DSC | ATA_DRQ;
}

static void next_block_in(struct ide_drive *drive);

/* The host took a block.  After the last one there is no interrupt (9.5). */
static void block_taken(struct ide_drive *drive)
{
	struct ide_transfer *t = &drive->transfer;
	uint32_t sectors = least(t->per_block, t->left);

	t->left -= sectors;
	t->taken += sectors;
	t->buffered -= sectors;
	if (t->left == 0)
		offered_all(drive);
	else
		next_block_in(drive);
}

static void fetched(struct ide_drive *drive, int result)
{
	struct ide_transfer *t = &drive->transfer;

	if (result == 0) {
		t->buffered += t->chunk;
	} else if (t->chunk > 1) {
		t->single = true;
	} else {
		ide_fail_at(drive, ATA_UNC, t->lba + t->taken + t->buffered);
		return;
	}
	next_block_in(drive);
}

/* IDE_BUFFER_SECTORS is a multiple of each per_block, so a block never straddles two fetches but
 * where sectors come one by one, and then all of them are in front of the buffer. */
static void next_block_in(struct ide_drive *drive)
{
	struct ide_transfer *t = &drive->transfer;
	uint32_t block = least(t->per_block, t->left);

	if (t->buffered >= block) {
		ide_offer(drive, drive->buffer + t->taken * IDE_SECTOR, block * IDE_SECTOR,
			block_taken);
		ide_raise(drive);
		return;
	}
	if (t->buffered == 0) {
		t->lba += t->taken;
		t->taken = 0;
	}
	submit_buffer(drive, BLOCK_READ, t->taken + t->buffered,
		t->single ? 1 : least(IDE_BUFFER_SECTORS, t->left), fetched);
}

void ide_pio_in(struct ide_drive *drive)
{
	next_block_in(drive);
}

/* ---- data out ---- */

static void written(struct ide_drive *drive, int result);

static void block_given(struct ide_drive *drive)
{
	struct ide_transfer *t = &drive->transfer;

	submit_buffer(drive, BLOCK_WRITE, 0, least(t->per_block, t->left), written);
}

static void next_block_out(struct ide_drive *drive)
{
	struct ide_transfer *t = &drive->transfer;

	ide_offer(drive, drive->buffer, least(t->per_block, t->left) * IDE_SECTOR, block_given);
}

static void written(struct ide_drive *drive, int result)
{
	struct ide_transfer *t = &drive->transfer;

	if (result < 0) {
		ide_fail_at(drive, ATA_ABRT, t->lba);
		return;
	}
	t->lba += t->chunk;
	t->left -= t->chunk;
	if (t->left == 0) {
		ide_complete(drive);
		return;
	}
	next_block_out(drive);
	ide_raise(drive);
}

/* The first block is asked for without an interrupt (9.6). */
void ide_pio_out(struct ide_drive *drive)
{
	next_block_out(drive);
}

/* ---- no data ---- */

static void verify_next(struct ide_drive *drive);

static void verified(struct ide_drive *drive, int result)
{
	struct ide_transfer *t = &drive->transfer;

	if (result == 0) {
		t->lba += t->chunk;
		t->left -= t->chunk;
	} else if (t->chunk > 1) {
		t->single = true;
	} else {
		ide_fail_at(drive, ATA_UNC, t->lba);
		return;
	}
	if (t->left == 0)
		ide_complete(drive);
	else
		verify_next(drive);
}

static void verify_next(struct ide_drive *drive)
{
	struct ide_transfer *t = &drive->transfer;

	submit_buffer(
		drive, BLOCK_READ, 0, t->single ? 1 : least(IDE_BUFFER_SECTORS, t->left), verified);
}

void ide_verify(struct ide_drive *drive)
{
	verify_next(drive);
}

static void flushed(struct ide_drive *drive, int result)
{
	if (result < 0)
		ide_fail(drive, ATA_ABRT);
	else
		ide_complete(drive);
}

void ide_flush(struct ide_drive *drive)
{
	ide_submit(drive, BLOCK_FLUSH, 0, 0, NULL, 0, flushed);
}

/* ---- TRIM: entries of 48 bits of address and 16 of count ---- */

static uint64_t trim_entry(const struct ide_drive *drive, uint32_t n, uint32_t *sectors)
{
	const uint8_t *e = drive->buffer + n * 8;

	*sectors = e[6] | e[7] << 8;
	return e[0] | (uint64_t)e[1] << 8 | (uint64_t)e[2] << 16 | (uint64_t)e[3] << 24 |
	       (uint64_t)e[4] << 32 | (uint64_t)e[5] << 40;
}

static void trim_next(struct ide_drive *drive, int result)
{
	struct ide_transfer *t = &drive->transfer;
	uint32_t sectors = 0;
	uint64_t lba = 0;

	if (result < 0) {
		ide_fail(drive, ATA_ABRT);
		return;
	}
	while (sectors == 0 && t->range < t->taken * (IDE_SECTOR / 8))
		lba = trim_entry(drive, t->range++, &sectors);
	if (sectors == 0)
		ide_complete(drive);
	else
		ide_submit(drive, BLOCK_DISCARD, lba, sectors, NULL, 0, trim_next);
}

/* One range beyond the end and nothing is trimmed. */
void ide_trim(struct ide_drive *drive)
{
	for (uint32_t i = 0; i < drive->transfer.taken * (IDE_SECTOR / 8); i++) {
		uint32_t sectors;
		uint64_t lba = trim_entry(drive, i, &sectors);

		if (sectors && (lba >= drive->sectors || sectors > drive->sectors - lba)) {
			ide_fail(drive, ATA_ABRT);
			return;
		}
	}
	trim_next(drive, 0);
}

/* ---- for a saved state ---- */

static void (*const steps[IDE_STEPS])(struct ide_drive *drive) = {
	[IDE_STEP_OFFERED] = offered_all,
	[IDE_STEP_TAKEN] = block_taken,
	[IDE_STEP_GIVEN] = block_given,
};

enum ide_step ide_step(const struct ide_drive *drive)
{
	enum ide_step step = IDE_STEP_OFFERED;

	while (step < IDE_STEPS - 1 && steps[step] != drive->block_done)
		step++;
	return steps[step] == drive->block_done ? step : IDE_STEP_OFFERED;
}

void ide_set_step(struct ide_drive *drive, enum ide_step step)
{
	drive->block_done = steps[step];
}
