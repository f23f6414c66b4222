/* SPDX-License-Identifier: MIT */
/* Kernel ata_dma, the function and its registers (2), and which interrupts set a bit of them. */
#include "kernels/ata_dma/ata-dma.h"

TEST(pci_function, "", "the IDE function is class 01h 01h with a bus master: interface bit 7 (1.0)",
	ATA_DMA)
{
	struct pci_function *f = pci_find(0x8086, 0x7010, 0);

	ASSERT_TRUE(f != NULL);
	EXPECT_EQ(f->class_code >> 8, 0x0101);
	EXPECT_EQ(f->class_code & 0x80, 0x80);
	open_disk(&disk, 0, 0);
	EXPECT_TRUE(f->bars[4].io);
	EXPECT_EQ(f->bars[4].size, 16);
}

TEST(registers_keep_values, "", "the table pointer keeps 30 bits, and each channel its own (2.3)",
	ATA_DMA)
{
	struct ata_channel *first, *second;

	open_disk(&other, 1, 0);
	open_disk(&disk, 0, 0);
	first = disk.channel;
	second = other.channel;
	outl(first->bm + BM_TABLE, 0x12345678);
	outl(second->bm + BM_TABLE, 0xfedcba98);
	EXPECT_EQ(inl(first->bm + BM_TABLE) & ~3u, 0x12345678);
	EXPECT_EQ(inl(second->bm + BM_TABLE) & ~3u, 0xfedcba98);
}

TEST(command_bits, "",
	"the command register keeps the direction bit, and start reads back while it runs (2.1)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	outb(c->bm + BM_COMMAND, BM_TO_MEMORY);
	EXPECT_EQ(inb(c->bm + BM_COMMAND), BM_TO_MEMORY);
	outb(c->bm + BM_COMMAND, 0);
	EXPECT_EQ(inb(c->bm + BM_COMMAND), 0);
}

TEST(status_capable_bits, "", "the drive capable bits keep what is written, simplex reads 0 (2.2)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	outb(c->bm + BM_STATUS, 0x20);
	EXPECT_EQ(ata_bm_status(c) & 0xe0, 0x20);
	outb(c->bm + BM_STATUS, 0x40);
	EXPECT_EQ(ata_bm_status(c) & 0xe0, 0x40);
}

TEST(status_write_1_clears, "",
	"writing 1 clears the interrupt bit, writing 0 keeps it, and active cannot be written "
	"(2.2)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(512);
	struct ata_prd *table = new_table(1);

	table[0] = prd(data, 512, true);
	ASSERT_EQ(run_table(&disk, table, ATA_READ, 5, 1), 0);
	ata_in(c, ATA_STATUS);
	outb(c->bm + BM_STATUS, BM_CAPABLE);
	EXPECT_EQ(ata_bm_status(c) & BM_INTR, BM_INTR);
	outb(c->bm + BM_STATUS, BM_CAPABLE | BM_INTR | BM_ACTIVE);
	EXPECT_EQ(ata_bm_status(c) & (BM_INTR | BM_ACTIVE | BM_ERROR), 0);
}

TEST(interrupt_bit_follows_intrq, "",
	"the interrupt bit is set by any rising edge of INTRQ, DMA or not (2.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	EXPECT_EQ(ata_bm_status(c) & BM_INTR, 0);
	ASSERT_EQ(ata_flush(&disk), 0);
	EXPECT_EQ(ata_bm_status(c) & BM_INTR, BM_INTR);
}

TEST(nien_hides_interrupt, "",
	"with nIEN set a DMA command ends without interrupt and interrupt bit (2.2, ATA 7.8)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(512);
	struct ata_prd *table = new_table(1);
	uint32_t before = ata_irqs(c);

	table[0] = prd(data, 512, true);
	ata_control(c, ATA_NIEN);
	start_table(&disk, table, ATA_READ, 6, 1);
	EXPECT_TRUE(WAIT_UNTIL(!(ata_alternate(c) & (ATA_BSY | ATA_DRQ)), ATA_LIMIT));
	EXPECT_EQ(ata_result(c), 0);
	EXPECT_EQ(ata_bm_status(c) & BM_INTR, 0);
	EXPECT_EQ(ata_irqs(c), before);
	EXPECT_TRUE(is_sector(data, 6));
	ata_dma_stop(c);
	ata_control(c, 0);
}
