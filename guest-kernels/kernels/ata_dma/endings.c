/* SPDX-License-Identifier: MIT */
/*
 * Kernel ata_dma, other endings: tables that do not fit, addresses that must not be reached, starts
 * without a command, stops and resets on the way, errors of the drive.  The controller works after
 * each.
 */
#include "kernels/ata_dma/ata-dma.h"
#include "runtime/irq.h"

#define NOWHERE 0xe0000000u /* no RAM and, on a PC of this size, nothing else */

/* ---- tables that do not fit ---- */

TEST(larger_table, "",
	"descriptors are left over: interrupt 1, active 1, and stop clears active (2.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(2);
	uint8_t *data = guarded_alloc(4 * 512);

	table[0] = prd(data, 1024, false);
	table[1] = prd(data + 1024, 1024, true);
	ASSERT_EQ(run_table(&disk, table, ATA_READ, 30, 1), 0);
	EXPECT_EQ(ata_bm_status(c) & (BM_INTR | BM_ACTIVE | BM_ERROR), BM_INTR | BM_ACTIVE);
	EXPECT_EQ(ata_result(c), 0);
	EXPECT_TRUE(is_sector(data, 30));
	EXPECT_TRUE(memory_is(data + 512, 0, 3 * 512, NULL));
	ata_dma_stop(c);
	EXPECT_EQ(ata_bm_status(c) & BM_ACTIVE, 0);
}

TEST(smaller_table, "",
	"the table ends before the transfer: interrupt 0, active 0, and a reset recovers (2.2)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc(512);
	uint32_t before = ata_irqs(c);

	table[0] = prd(data, 512, true);
	start_table(&disk, table, ATA_READ, 30, 4);
	EXPECT_TRUE(WAIT_UNTIL(!(ata_bm_status(c) & BM_ACTIVE), SOON_US));
	delay_us(QUIET);
	EXPECT_EQ(ata_bm_status(c) & (BM_INTR | BM_ACTIVE | BM_ERROR), 0);
	EXPECT_EQ(ata_irqs(c), before);
	expect_usable(c);
}

TEST(no_whole_sector, "",
	"a table of 2 bytes for a sector writes at most those, and a reset recovers (1.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc(2);
	uint32_t before = ata_irqs(c);

	table[0] = prd(data, 2, true);
	start_table(&disk, table, ATA_READ, 30, 1);
	EXPECT_TRUE(WAIT_UNTIL(!(ata_bm_status(c) & BM_ACTIVE), SOON_US));
	EXPECT_EQ(ata_irqs(c), before);
	EXPECT_TRUE(guarded_check());
	expect_usable(c);
}

TEST(unterminated_table, "",
	"a table of 64 KiB without an end mark, too small for its transfer, comes to an end (1.2)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = arena_alloc_raw(0x10000, 0x10000);
	uint8_t *data = guarded_alloc(2);

	table[0] = prd(data, 2, false);
	for (unsigned have = 8; have < 0x10000; have *= 2)
		memcpy((uint8_t *)table + have, table, have);
	start_table(&disk, table, ATA_READ, 30, 256);
	WAIT_UNTIL(!(ata_bm_status(c) & BM_ACTIVE), 100000);
	expect_usable(c);
}

/* ---- what must not be reached ---- */

TEST(prd_outside_memory, "",
	"a descriptor that names no memory sets the error bit and ends the transfer (2.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(1);

	table[0] = (struct ata_prd){NOWHERE, 512, PRD_END};
	start_table(&disk, table, ATA_READ, 30, 1);
	EXPECT_TRUE(WAIT_UNTIL(ata_bm_status(c) & BM_ERROR, SOON_US));
	EXPECT_EQ(ata_bm_status(c) & BM_ACTIVE, 0);
	outb(c->bm + BM_STATUS, BM_ERROR | BM_CAPABLE);
	EXPECT_EQ(ata_bm_status(c) & BM_ERROR, 0);
	expect_usable(c);
}

TEST(table_outside_memory, "", "a table that is not in memory sets the error bit (2.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	outb(c->bm + BM_COMMAND, BM_TO_MEMORY);
	outl(c->bm + BM_TABLE, NOWHERE);
	ata_dma_command(&disk, ATA_READ, 30, 1);
	ata_dma_start(c, ATA_READ);
	EXPECT_TRUE(WAIT_UNTIL(ata_bm_status(c) & BM_ERROR, SOON_US));
	expect_usable(c);
}

TEST(prd_at_ioapic, "", "a disk read aimed at the I/O APIC changes no register of it", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc(512);
	uint64_t *words = (uint64_t *)data;
	uint32_t before, after;

	/* The data would select register 10h + 2 * 20 and set it. */
	memset(data, 0, 512);
	words[0] = 0x38;
	words[2] = 0x10000 | 0x77;
	ASSERT_EQ(ata_dma_write(&disk, SCRATCH + 130, 1, data), 0);
	before = ioapic_read(0x38);
	table[0] = (struct ata_prd){IOAPIC_BASE, 512, PRD_END};
	start_table(&disk, table, ATA_READ, SCRATCH + 130, 1);
	WAIT_UNTIL(!(ata_bm_status(c) & BM_ACTIVE) || (ata_bm_status(c) & BM_INTR), 100000);
	after = ioapic_read(0x38);
	EXPECT_EQ(after, before);
	expect_usable(c);
}

TEST(no_master_no_access, "",
	"while the PCI bus master bit is clear no memory is written, and after it is set the "
	"transfer goes on (PCI 6.2.2)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct pci_function *f = pci_find(0x8086, 0x7010, 0);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc(512);
	uint16_t command = pci_read16(f, PCI_COMMAND);

	table[0] = prd(data, 512, true);
	pci_write16(f, PCI_COMMAND, command & ~PCI_COMMAND_MASTER);
	start_table(&disk, table, ATA_READ, 31, 1);
	delay_us(QUIET);
	EXPECT_TRUE(memory_is(data, 0, 512, NULL));
	pci_write16(f, PCI_COMMAND, command | PCI_COMMAND_MASTER);
	expect_usable(c);
}

TEST(start_without_command, "",
	"start without a command: active, nothing is moved, and stop ends it (2.1)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc(512);
	uint32_t before = ata_irqs(c);

	table[0] = prd(data, 512, true);
	ata_dma_table(c, table, ATA_READ);
	ata_dma_start(c, ATA_READ);
	EXPECT_EQ(ata_bm_status(c) & BM_ACTIVE, BM_ACTIVE);
	delay_us(QUIET);
	EXPECT_TRUE(memory_is(data, 0, 512, NULL));
	EXPECT_EQ(ata_irqs(c), before);
	expect_usable(c);
}

TEST(start_before_command, "",
	"a bus master that was started first serves the command that comes (3)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc(512);

	table[0] = prd(data, 512, true);
	ata_dma_table(c, table, ATA_READ);
	ata_dma_start(c, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 32, 1);
	ASSERT_EQ(ata_dma_wait(&disk), 0);
	EXPECT_TRUE(is_sector(data, 32));
}

/* 256 sectors into the memory that is returned; it may be ended before it is done. */
static uint8_t *start_long_read(void)
{
	struct ata_prd *table = new_table(2);
	uint8_t *data = guarded_alloc_aligned(0x20000, 0x10000);

	table[0] = prd(data, 0, false);
	table[1] = prd(data + 0x10000, 0, true);
	start_table(&disk, table, ATA_READ, 1500, 256);
	return data;
}

static void expect_untouched(uint8_t *data)
{
	for (unsigned i = 0; i < 256; i++)
		data[i * 512] = 0x5a;
	delay_us(QUIET);
	for (unsigned i = 0; i < 256; i++)
		ASSERT_EQ(data[i * 512], 0x5a);
}

TEST(stop_ends_access, "", "after start was cleared no byte of memory changes any more (2.1)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = start_long_read();

	ata_dma_stop(c);
	EXPECT_EQ(ata_bm_status(c) & BM_ACTIVE, 0);
	expect_untouched(data);
	expect_usable(c);
}

TEST(reset_ends_access, "",
	"after SRST during a transfer no byte of memory changes any more (ATA 9.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = start_long_read();

	ASSERT_TRUE(ata_soft_reset(c));
	expect_untouched(data);
	expect_usable(c);
}

TEST(beyond_the_end, "",
	"READ DMA beyond the last sector fails with IDNF or ABRT and an interrupt, and writes no "
	"memory (ATA 8.26.6)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(1);
	uint8_t *data = guarded_alloc(512);
	uint32_t before = ata_irqs(c);

	table[0] = prd(data, 512, true);
	ASSERT_EQ(run_table(&disk, table, ATA_READ, disk.sectors, 1), 0);
	EXPECT_EQ(ata_irqs(c), before + 1);
	EXPECT_EQ(ata_bm_status(c) & BM_INTR, BM_INTR);
	EXPECT_TRUE(is_error(ata_result(c), ATA_IDNF | ATA_ABRT));
	EXPECT_TRUE(memory_is(data, 0, 512, NULL));
	expect_usable(c);
}
