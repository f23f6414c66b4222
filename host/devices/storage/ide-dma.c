/* SPDX-License-Identifier: MIT */
/*
 * The bus master of a channel: "Programming Interface for Bus Master IDE Controller" 1.0
 * (SFF-8038i), as in the PIIX3 (82371SB, 2.7): registers, and the walk through the table of
 * physical region descriptors (PRD).
 *
 * A transfer runs in parts of at most IDE_DMA_SPANS descriptors and whole sectors, so that no table
 * costs more than that.  A table ends at its end mark or after 64 KiB, which it must not exceed.
 * What descriptors name outside RAM sets the error bit; other devices' registers are never touched.
 *
 * Left out: the direction bit is only checked, data goes the way the drive's command says.  Of a
 * sector that a table cuts in two nothing moves; a new table goes on with it.
 */
#include "devices/storage/ide.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/count.h"
#include "base/log.h"

int ide_dma_init(struct ide_channel *channel, struct error *err)
{
	struct ide_bmdma *bm = &channel->bm;

	bm->spans = calloc(IDE_DMA_SPANS, sizeof(*bm->spans));
	bm->iov = calloc(IDE_DMA_IOVS, sizeof(*bm->iov));
	if (bm->spans && bm->iov)
		return 0;
	ide_dma_destroy(channel);
	return error_set(err, ENOMEM, "out of memory");
}

void ide_dma_destroy(struct ide_channel *channel)
{
	free(channel->bm.spans);
	free(channel->bm.iov);
	channel->bm.spans = NULL;
	channel->bm.iov = NULL;
}

/* ---- the table ---- */

/* The next descriptor into the walk; false: there is none, or `failed`. */
static bool next_descriptor(struct ide_channel *channel)
{
	struct ide_bmdma *bm = &channel->bm;
	uint8_t prd[8];

	if (bm->last || bm->entries_left == 0)
		return false;
	if (guest_read(&channel->machine->memory, bm->next, prd, sizeof(prd)) < 0) {
		bm->failed = true;
		return false;
	}
	bm->entries_left--;
	bm->next += sizeof(prd);
	bm->address = (prd[0] & 0xfe) | prd[1] << 8 | prd[2] << 16 | (uint32_t)prd[3] << 24;
	bm->bytes_left = (prd[4] & 0xfe) | prd[5] << 8;
	if (bm->bytes_left == 0)
		bm->bytes_left = 65536;
	bm->last = prd[7] & 0x80;
	return true;
}

static bool add_span(struct ide_channel *channel, uint32_t length)
{
	struct ide_bmdma *bm = &channel->bm;
	struct span *span = &bm->spans[bm->span_count];

	if (span_get(&channel->machine->memory, bm->address, length,
		    bm->to_memory ? SPAN_WRITE : SPAN_READ, span) < 0)
		return false;
	memcpy(bm->iov + bm->iov_count, span->iov, span->count * sizeof(*span->iov));
	bm->iov_count += span->count;
	bm->span_count++;
	bm->address += length;
	bm->bytes_left -= length;
	return true;
}

/*
 * Pins up to `want` bytes of what the table names; `starved` if it does not name as much.  A
 * descriptor has 2 bytes at least, so once a quarter of the spans is used, the sector that was
 * begun still fits into the rest.
 */
static uint32_t gather(struct ide_channel *channel, uint32_t want)
{
	struct ide_bmdma *bm = &channel->bm;
	uint32_t bytes = 0;

	bm->span_count = bm->iov_count = 0;
	bm->failed = false;
	while (bytes < want && bm->span_count < IDE_DMA_SPANS &&
		bm->iov_count + SPAN_IOV_MAX < IDE_DMA_IOVS) {
		uint32_t length;

		if (bm->bytes_left == 0 && !next_descriptor(channel))
			break;
		if (bm->span_count >= IDE_DMA_SPANS / 4)
			want = (bytes + IDE_SECTOR - 1) / IDE_SECTOR * IDE_SECTOR;
		length = bm->bytes_left < want - bytes ? bm->bytes_left : want - bytes;
		if (length && !add_span(channel, length)) {
			bm->failed = true;
			break;
		}
		bytes += length;
	}
	bm->starved = bytes < want;
	return bytes;
}

void ide_dma_release(struct ide_channel *channel)
{
	struct ide_bmdma *bm = &channel->bm;

	for (unsigned i = 0; i < bm->span_count; i++)
		span_put(&bm->spans[i], bm->to_memory ? bm->spans[i].length : 0);
	bm->span_count = bm->iov_count = 0;
}

/* Cuts the list to `bytes` of data. */
static void cut_iov(struct ide_bmdma *bm, uint32_t bytes)
{
	for (unsigned i = 0; i < bm->iov_count; i++) {
		if (bm->iov[i].iov_len >= bytes) {
			bm->iov[i].iov_len = bytes;
			bm->iov_count = i + 1;
			return;
		}
		bytes -= bm->iov[i].iov_len;
	}
}

static void copy_out(const struct ide_bmdma *bm, uint8_t *to, uint32_t bytes)
{
	for (unsigned i = 0; i < bm->iov_count && bytes; i++) {
		uint32_t n = bm->iov[i].iov_len < bytes ? bm->iov[i].iov_len : bytes;

		memcpy(to, bm->iov[i].iov_base, n);
		count_add(COUNT_COPIED_BYTES, n);
		to += n;
		bytes -= n;
	}
}

/* ---- the transfer ---- */

static struct ide_drive *asking_drive(struct ide_channel *channel)
{
	for (unsigned i = 0; i < 2; i++)
		if (channel->drives[i] && channel->drives[i]->transfer.dma)
			return channel->drives[i];
	return NULL;
}

/* The table came to its end (or to a bad address) and the drive wants more: 0/0 in SFF-8038i's
 * table of interrupt and active bits.  The drive waits with DRQ for a new table or a reset. */
static void starve(struct ide_channel *channel, struct ide_drive *drive)
{
	channel->bm.status &= ~BM_STATUS_ACTIVE;
	if (channel->bm.failed)
		channel->bm.status |= BM_STATUS_ERROR;
	log_guest_error("bmdma", "PRD table ends %u sectors early%s", drive->transfer.left,
		channel->bm.failed ? ", at an address outside memory" : "");
}

/* Both are through at the same time: 1/0; descriptors are left over: 1/1. */
static void settle(struct ide_channel *channel)
{
	if (channel->bm.bytes_left == 0 && channel->bm.last)
		channel->bm.status &= ~BM_STATUS_ACTIVE;
}

static void part_done(struct ide_drive *drive, int result)
{
	struct ide_channel *channel = drive->channel;
	struct ide_transfer *t = &drive->transfer;

	ide_dma_release(channel);
	if (result < 0) {
		ide_fail_at(drive, channel->bm.to_memory ? ATA_UNC : ATA_ABRT, t->lba);
		return;
	}
	t->lba += t->chunk;
	t->left -= t->chunk;
	if (t->left == 0) {
		settle(channel);
		ide_complete(drive);
		return;
	}
	drive->task.status = ATA_DRDY | ATA_DSC | ATA_DRQ;
	if (channel->bm.starved)
		starve(channel, drive);
	else if (!channel->bm.stopping)
		ide_dma_run(channel);
}

/* The ranges of TRIM go to the drive's buffer. */
static void take_ranges(struct ide_channel *channel, struct ide_drive *drive, uint32_t sectors)
{
	struct ide_transfer *t = &drive->transfer;

	copy_out(&channel->bm, drive->buffer + t->taken * IDE_SECTOR, sectors * IDE_SECTOR);
	ide_dma_release(channel);
	t->taken += sectors;
	t->left -= sectors;
	if (t->left) {
		starve(channel, drive);
		return;
	}
	settle(channel);
	t->dma = false;
	ide_trim(drive);
}

void ide_dma_run(struct ide_channel *channel)
{
	struct ide_bmdma *bm = &channel->bm;
	struct ide_drive *drive = asking_drive(channel);
	uint32_t sectors;

	if (!(bm->status & BM_STATUS_ACTIVE) || !drive || drive->in_flight ||
		!channel->is_master(channel->opaque))
		return;
	bm->to_memory = !drive->command->write;
	if (bm->to_memory != !!(bm->command & BM_COMMAND_READ))
		log_guest_error("bmdma", "the direction bit contradicts the drive's command");
	sectors = gather(channel, drive->transfer.left * IDE_SECTOR) / IDE_SECTOR;
	if (sectors == 0) {
		ide_dma_release(channel);
		starve(channel, drive);
	} else if (drive->transfer.trim) {
		take_ranges(channel, drive, sectors);
	} else {
		cut_iov(bm, sectors * IDE_SECTOR);
		drive->transfer.chunk = sectors;
		ide_submit(drive, bm->to_memory ? BLOCK_READ : BLOCK_WRITE, drive->transfer.lba,
			sectors, bm->iov, bm->iov_count, part_done);
	}
}

void ide_dma_begin(struct ide_drive *drive)
{
	drive->transfer.dma = true;
	drive->task.status = ATA_DRDY | ATA_DSC | ATA_DRQ;
	ide_dma_run(drive->channel);
}

/* ---- registers ---- */

static void start(struct ide_channel *channel)
{
	struct ide_bmdma *bm = &channel->bm;

	bm->next = bm->table;
	bm->entries_left = IDE_PRD_ENTRIES;
	bm->bytes_left = 0;
	bm->last = false;
	bm->status |= BM_STATUS_ACTIVE;
	ide_dma_run(channel);
}

/* When this returns, guest memory is the guest's again. */
static void stop(struct ide_channel *channel)
{
	struct ide_bmdma *bm = &channel->bm;
	struct ide_drive *drive = asking_drive(channel);

	if (drive && drive->in_flight) {
		bm->stopping = true;
		block_drain(drive->blk, channel->machine->loop);
		bm->stopping = false;
	}
	bm->status &= ~BM_STATUS_ACTIVE;
}

uint8_t ide_dma_read(struct ide_channel *channel, unsigned offset)
{
	struct ide_bmdma *bm = &channel->bm;

	switch (offset) {
	case BM_COMMAND: return bm->command;
	case BM_STATUS: return bm->status;
	case BM_TABLE ... BM_TABLE + 3: return bm->table >> ((offset - BM_TABLE) * 8);
	default: return 0;
	}
}

void ide_dma_write(struct ide_channel *channel, unsigned offset, uint8_t value)
{
	struct ide_bmdma *bm = &channel->bm;
	unsigned shift;
	bool was, is;

	switch (offset) {
	case BM_COMMAND:
		was = bm->command & BM_COMMAND_START;
		is = value & BM_COMMAND_START;
		bm->command = value & (BM_COMMAND_START | BM_COMMAND_READ);
		if (is && !was)
			start(channel);
		else if (was && !is)
			stop(channel);
		return;
	case BM_STATUS:
		bm->status &= ~(value & (BM_STATUS_ERROR | BM_STATUS_INTR));
		bm->status = (bm->status & ~BM_STATUS_CAPABLE) | (value & BM_STATUS_CAPABLE);
		return;
	case BM_TABLE ... BM_TABLE + 3:
		shift = (offset - BM_TABLE) * 8;
		bm->table = (bm->table & ~(0xffU << shift)) | (uint32_t)value << shift;
		bm->table &= ~3U;
		return;
	}
}

/* The drives were reset before: nothing is in flight. */
void ide_dma_reset(struct ide_channel *channel)
{
	struct ide_bmdma *bm = &channel->bm;

	bm->command = bm->status = 0;
	bm->table = bm->next = bm->entries_left = bm->bytes_left = 0;
	bm->last = false;
}
