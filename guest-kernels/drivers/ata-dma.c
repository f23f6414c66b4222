/* SPDX-License-Identifier: MIT */
/* ATA disks by bus master DMA (SFF-8038i, 3: the steps of a transfer). */
#include "drivers/ata.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"

/* A table may not cross a 64 KiB boundary: 4 KiB at a multiple of 4 KiB does not. */
static struct ata_prd tables[2][ATA_PRDS] __attribute__((aligned(4096)));

void ata_dma_table(struct ata_channel *c, const struct ata_prd *table, enum ata_direction direction)
{
	outb(c->bm + BM_COMMAND, direction == ATA_READ ? BM_TO_MEMORY : 0);
	outl(c->bm + BM_TABLE, phys(table));
	outb(c->bm + BM_STATUS, BM_ERROR | BM_INTR | BM_CAPABLE);
}

void ata_dma_command(
	struct ata_disk *disk, enum ata_direction direction, uint64_t lba, uint32_t count)
{
	bool ext = disk->lba48 && !disk->no_ext;

	ata_address(disk, lba, count, ext);
	if (direction == ATA_READ)
		ata_out(disk->channel, ATA_COMMAND, ext ? ATA_CMD_READ_DMA_EXT : ATA_CMD_READ_DMA);
	else
		ata_out(disk->channel, ATA_COMMAND,
			ext ? ATA_CMD_WRITE_DMA_EXT : ATA_CMD_WRITE_DMA);
}

void ata_dma_start(struct ata_channel *c, enum ata_direction direction)
{
	outb(c->bm + BM_COMMAND, BM_START | (direction == ATA_READ ? BM_TO_MEMORY : 0));
}

void ata_dma_stop(struct ata_channel *c)
{
	outb(c->bm + BM_COMMAND, 0);
}

/* A region must not cross a 64 KiB boundary either. */
static void fill_table(struct ata_prd *prd, uint64_t address, uint64_t bytes)
{
	while (bytes) {
		uint64_t part = 0x10000 - (address & 0xffff);

		if (part > bytes)
			part = bytes;
		bytes -= part;
		*prd++ = (struct ata_prd){address, (uint16_t)part, bytes ? 0 : PRD_END};
		address += part;
	}
}

void ata_dma_submit(struct ata_disk *disk, enum ata_direction direction, uint64_t lba,
	uint32_t count, void *buffer)
{
	struct ata_channel *c = disk->channel;
	struct ata_prd *table = tables[c->irq - 14];

	fill_table(table, phys(buffer), (uint64_t)count * 512);
	ata_dma_table(c, table, direction);
	ata_dma_command(disk, direction, lba, count);
	ata_dma_start(c, direction);
}

int ata_dma_wait(struct ata_disk *disk)
{
	struct ata_channel *c = disk->channel;
	uint8_t bm;

	checkpoint();
	if (!ata_irq(c, ATA_LIMIT))
		return ATA_TIMEOUT;
	bm = ata_bm_status(c);
	ata_dma_stop(c);
	outb(c->bm + BM_STATUS, BM_ERROR | BM_INTR | BM_CAPABLE);
	return bm & BM_ERROR ? ATA_DF << 8 : ata_result(c);
}

int ata_dma_read(struct ata_disk *disk, uint64_t lba, uint32_t count, void *to)
{
	ata_dma_submit(disk, ATA_READ, lba, count, to);
	return ata_dma_wait(disk);
}

int ata_dma_write(struct ata_disk *disk, uint64_t lba, uint32_t count, const void *from)
{
	ata_dma_submit(disk, ATA_WRITE, lba, count, (void *)from);
	return ata_dma_wait(disk);
}
