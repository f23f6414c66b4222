/* SPDX-License-Identifier: MIT */
/* Kernel ata_dma: what its files share. */
#include "kernels/ata_dma/ata-dma.h"

struct ata_disk disk, other;

struct ata_channel *open_disk(struct ata_disk *d, unsigned channel, unsigned unit)
{
	open_ata(d, channel, unit);
	if (!d->channel->bm)
		SKIP("no bus master");
	/* IDENTIFY raised INTRQ: its trace in the status goes first. */
	ata_in(d->channel, ATA_STATUS);
	outb(d->channel->bm + BM_STATUS, BM_ERROR | BM_INTR | BM_CAPABLE);
	return d->channel;
}

struct ata_prd *new_table(unsigned entries)
{
	return arena_alloc(entries * sizeof(struct ata_prd), 4096);
}

void start_table(struct ata_disk *d, const struct ata_prd *table, enum ata_direction direction,
	uint64_t lba, uint32_t count)
{
	struct ata_channel *c = d->channel;

	ata_dma_table(c, table, direction);
	ata_dma_command(d, direction, lba, count);
	ata_dma_start(c, direction);
}

int run_table(struct ata_disk *d, const struct ata_prd *table, enum ata_direction direction,
	uint64_t lba, uint32_t count)
{
	start_table(d, table, direction, lba, count);
	return ata_irq(d->channel, ATA_LIMIT) ? 0 : ATA_TIMEOUT;
}

void expect_usable(struct ata_channel *c)
{
	uint8_t *data = guarded_alloc(512);

	ata_dma_stop(c);
	EXPECT_EQ(ata_bm_status(c) & BM_ACTIVE, 0);
	ASSERT_TRUE(ata_soft_reset(c));
	c->irqs_seen = ata_irqs(c);
	EXPECT_EQ(ata_dma_read(&disk, 3, 1, data), 0);
	EXPECT_TRUE(is_sector(data, 3));
}
