/* SPDX-License-Identifier: MIT */
/* Kernel ata_dma, transfers: commands, descriptor tables that fit them, drives and channels. */
#include "kernels/ata_dma/ata-dma.h"

/* ---- commands ---- */

TEST(read_one_sector, "",
	"READ DMA with a descriptor of the same size: interrupt 1, active 0, one interrupt (2.2)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(512);
	struct ata_prd *table = new_table(1);
	uint32_t before = ata_irqs(c);

	disk.no_ext = true;
	table[0] = prd(data, 512, true);
	ASSERT_EQ(run_table(&disk, table, ATA_READ, 1234, 1), 0);
	EXPECT_EQ(ata_bm_status(c) & (BM_INTR | BM_ACTIVE | BM_ERROR), BM_INTR);
	EXPECT_EQ(ata_in(c, ATA_STATUS) & (ATA_BSY | ATA_DRDY | ATA_DRQ | ATA_ERR), ATA_DRDY);
	EXPECT_EQ(ata_irqs(c), before + 1);
	EXPECT_TRUE(is_sector(data, 1234));
	ata_dma_stop(c);
}

TEST(read_ext, "", "READ DMA EXT moves more than 256 sectors in one command (ATA 8.27)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc_aligned(300 * 512, 4096);
	uint32_t before = ata_irqs(c);

	ASSERT_EQ(ata_dma_read(&disk, 700, 300, data), 0);
	EXPECT_EQ(ata_irqs(c), before + 1);
	for (unsigned i = 0; i < 300; i += 13)
		ASSERT_TRUE(is_sector(data + i * 512, 700 + i));
	EXPECT_TRUE(is_sector(data + 299 * 512, 999));
}

TEST(count_0_is_256, "", "READ DMA with count 0 moves 256 sectors (ATA 8.26)", ATA_DMA)
{
	uint8_t *data = guarded_alloc_aligned(256 * 512, 4096);

	open_disk(&disk, 0, 0);
	disk.no_ext = true;
	ASSERT_EQ(ata_dma_read(&disk, 2000, 256, data), 0);
	EXPECT_TRUE(is_sector(data, 2000));
	EXPECT_TRUE(is_sector(data + 128 * 512, 2128));
	EXPECT_TRUE(is_sector(data + 255 * 512, 2255));
}

TEST(write_read_back, "", "WRITE DMA writes these sectors and no others (ATA 8.57)", ATA_DMA)
{
	uint8_t *data = guarded_alloc(5 * 512), *back = guarded_alloc(5 * 512);
	uint64_t tag = test_random();

	open_disk(&disk, 0, 0);
	fill_sectors(data, 5, ~tag);
	ASSERT_EQ(ata_dma_write(&disk, SCRATCH + 100, 5, data), 0);
	fill_sectors(data, 3, tag);
	disk.no_ext = true;
	ASSERT_EQ(ata_dma_write(&disk, SCRATCH + 101, 3, data), 0);
	ASSERT_EQ(ata_dma_read(&disk, SCRATCH + 100, 5, back), 0);
	EXPECT_TRUE(is_sector(back, ~tag));
	for (unsigned i = 0; i < 3; i++)
		EXPECT_TRUE(is_sector(back + (1 + i) * 512, tag + i));
	EXPECT_TRUE(is_sector(back + 4 * 512, ~tag + 4));
}

TEST(dma_and_pio_agree, "", "what DMA writes PIO reads, and the other way round", ATA_DMA)
{
	uint8_t *data = guarded_alloc(512), *back = guarded_alloc(512);
	uint64_t tag = test_random();

	open_disk(&disk, 0, 0);
	fill_sectors(data, 1, tag);
	ASSERT_EQ(ata_dma_write(&disk, SCRATCH + 110, 1, data), 0);
	ASSERT_EQ(ata_pio_read(&disk, SCRATCH + 110, 1, back), 0);
	EXPECT_TRUE(is_sector(back, tag));
	fill_sectors(data, 1, ~tag);
	ASSERT_EQ(ata_pio_write(&disk, SCRATCH + 110, 1, data), 0);
	ASSERT_EQ(ata_dma_read(&disk, SCRATCH + 110, 1, back), 0);
	EXPECT_TRUE(is_sector(back, ~tag));
}

TEST(write_fua, "", "WRITE DMA FUA EXT writes the sector (ATA 8.59)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(512), *back = guarded_alloc(512);
	struct ata_prd *table = new_table(1);
	uint64_t tag = test_random();

	if (!(disk.identify[84] & 0x40))
		SKIP("no FUA commands");
	fill_sectors(data, 1, tag);
	table[0] = prd(data, 512, true);
	ata_dma_table(c, table, ATA_WRITE);
	ata_address(&disk, SCRATCH + 115, 1, true);
	ata_out(c, ATA_COMMAND, ATA_CMD_WRITE_DMA_FUA);
	ata_dma_start(c, ATA_WRITE);
	ASSERT_EQ(ata_dma_wait(&disk), 0);
	ASSERT_EQ(ata_dma_read(&disk, SCRATCH + 115, 1, back), 0);
	EXPECT_TRUE(is_sector(back, tag));
}

TEST(address_above_28_bits, "", "READ and WRITE DMA EXT reach sectors above 28 bits (ATA 6.2)",
	ATA_DMA)
{
	uint8_t *data = guarded_alloc(512), *back = guarded_alloc(512);
	uint64_t tag = test_random();

	open_disk(&other, 1, 0);
	fill_sectors(data, 1, tag);
	ASSERT_EQ(ata_dma_write(&other, 0x1000000b, 1, data), 0);
	fill_sectors(data, 1, ~tag);
	ASSERT_EQ(ata_dma_write(&other, 0x0b, 1, data), 0);
	ASSERT_EQ(ata_dma_read(&other, 0x1000000b, 1, back), 0);
	EXPECT_TRUE(is_sector(back, tag));
	ASSERT_EQ(ata_dma_read(&other, 0x0b, 1, back), 0);
	EXPECT_TRUE(is_sector(back, ~tag));
}

static int trim(struct ata_channel *c, struct ata_prd *table, uint64_t *ranges)
{
	table[0] = prd(ranges, 512, true);
	ata_dma_table(c, table, ATA_WRITE);
	ata_address(&disk, 0, 1, true);
	ata_out(c, ATA_FEATURE, 0);
	ata_out(c, ATA_FEATURE, 1);
	ata_out(c, ATA_COMMAND, ATA_CMD_TRIM);
	ata_dma_start(c, ATA_WRITE);
	return ata_dma_wait(&disk);
}

TEST(trim_ranges, "",
	"TRIM of ranges on the disk succeeds, and a range beyond its end is aborted (ACS-2 7.10)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint64_t *ranges = arena_alloc(512, 512);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc(512);

	if (!(disk.identify[169] & 1))
		SKIP("no TRIM");
	ranges[0] = (SCRATCH + 160) | 8ull << 48;
	ranges[3] = (SCRATCH + 170) | 1ull << 48;
	EXPECT_EQ(trim(c, table, ranges), 0);
	ranges[1] = disk.sectors | 1ull << 48;
	EXPECT_TRUE(is_error(trim(c, table, ranges), ATA_ABRT | ATA_IDNF));
	EXPECT_EQ(ata_dma_read(&disk, 34, 1, data), 0);
	EXPECT_TRUE(is_sector(data, 34));
}

/* ---- descriptor tables ---- */

TEST(scattered_read, "", "a sector is scattered as its descriptors say, however they cut it (1.2)",
	ATA_DMA)
{
	static const uint16_t sizes[] = {2, 510, 256, 258, 6, 1016, 512};
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(8);
	uint8_t *whole = arena_alloc(5 * 512, 64), *at = whole;
	uint8_t *part[7];

	for (unsigned i = 0; i < 7; i++) {
		part[i] = guarded_alloc(sizes[i]);
		table[i] = prd(part[i], sizes[i], i == 6);
	}
	ASSERT_EQ(run_table(&disk, table, ATA_READ, 300, 5), 0);
	EXPECT_EQ(ata_bm_status(c) & (BM_INTR | BM_ACTIVE | BM_ERROR), BM_INTR);
	ata_dma_stop(c);
	for (unsigned i = 0; i < 7; i++) {
		memcpy(at, part[i], sizes[i]);
		at += sizes[i];
	}
	for (unsigned i = 0; i < 5; i++)
		EXPECT_TRUE(is_sector(whole + i * 512, 300 + i));
}

TEST(gathered_write, "", "a write gathers what its descriptors name (1.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(3);
	uint8_t *data = arena_alloc(3 * 512, 64), *back = guarded_alloc(512);
	uint64_t tag = test_random();

	/* The sector lies back to front in memory. */
	fill_sectors(data, 1, tag);
	memcpy(data + 1024, data, 200);
	table[0] = prd(data + 1024, 200, false);
	table[1] = prd(data + 200, 312, true);
	ASSERT_EQ(run_table(&disk, table, ATA_WRITE, SCRATCH + 120, 1), 0);
	EXPECT_EQ(ata_bm_status(c) & (BM_INTR | BM_ACTIVE | BM_ERROR), BM_INTR);
	ata_dma_stop(c);
	ASSERT_EQ(ata_dma_read(&disk, SCRATCH + 120, 1, back), 0);
	EXPECT_TRUE(is_sector(back, tag));
}

TEST(prd_count_0_is_64_kib, "", "a descriptor with count 0 is 64 KiB (1.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc_aligned(0x10000, 0x10000);

	table[0] = prd(data, 0, true);
	ASSERT_EQ(run_table(&disk, table, ATA_READ, 800, 128), 0);
	EXPECT_EQ(ata_bm_status(c) & (BM_INTR | BM_ACTIVE | BM_ERROR), BM_INTR);
	EXPECT_EQ(ata_result(c), 0);
	ata_dma_stop(c);
	EXPECT_TRUE(is_sector(data, 800));
	EXPECT_TRUE(is_sector(data + 127 * 512, 927));
}

TEST(table_of_512_entries, "", "a table of 512 small descriptors is followed to its end (1.2)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(512);
	uint8_t *data = guarded_alloc(32 * 512);

	for (unsigned i = 0; i < 512; i++)
		table[i] = prd(data + i * 32, 32, i == 511);
	ASSERT_EQ(run_table(&disk, table, ATA_READ, 60, 32), 0);
	EXPECT_EQ(ata_bm_status(c) & (BM_INTR | BM_ACTIVE | BM_ERROR), BM_INTR);
	ata_dma_stop(c);
	for (unsigned i = 0; i < 32; i++)
		ASSERT_TRUE(is_sector(data + i * 512, 60 + i));
}

/* ---- drives and channels ---- */

TEST(drive_1, "", "DMA serves drive 1 as well, with its own data", ATA_DMA)
{
	uint8_t *data = guarded_alloc(512);
	uint64_t tag = test_random();

	open_disk(&other, 0, 1);
	fill_sectors(data, 1, tag);
	ASSERT_EQ(ata_dma_write(&other, SCRATCH + 140, 1, data), 0);
	open_disk(&disk, 0, 0);
	other.channel = disk.channel;
	fill_sectors(data, 1, ~tag);
	ASSERT_EQ(ata_dma_write(&disk, SCRATCH + 140, 1, data), 0);
	ASSERT_EQ(ata_dma_read(&other, SCRATCH + 140, 1, data), 0);
	EXPECT_TRUE(is_sector(data, tag));
}

TEST(two_channels_at_once, "",
	"both channels transfer at the same time, each with its own table and interrupt", ATA_DMA)
{
	uint8_t *a = guarded_alloc_aligned(64 * 512, 4096),
		*b = guarded_alloc_aligned(64 * 512, 4096);
	uint64_t tag = test_random();
	uint32_t first, second;

	open_disk(&other, 1, 0);
	fill_sectors(b, 64, tag);
	ASSERT_EQ(ata_dma_write(&other, 5000, 64, b), 0);
	memset(b, 0, 64 * 512);
	open_disk(&disk, 0, 0);
	first = ata_irqs(disk.channel);
	second = ata_irqs(other.channel);
	ata_dma_submit(&disk, ATA_READ, 600, 64, a);
	ata_dma_submit(&other, ATA_READ, 5000, 64, b);
	ASSERT_EQ(ata_dma_wait(&other), 0);
	ASSERT_EQ(ata_dma_wait(&disk), 0);
	EXPECT_EQ(ata_irqs(disk.channel), first + 1);
	EXPECT_EQ(ata_irqs(other.channel), second + 1);
	EXPECT_TRUE(is_sector(a, 600));
	EXPECT_TRUE(is_sector(a + 63 * 512, 663));
	EXPECT_TRUE(is_sector(b, tag));
	EXPECT_TRUE(is_sector(b + 63 * 512, tag + 63));
}
