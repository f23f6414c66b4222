/* SPDX-License-Identifier: MIT */
/*
 * Kernel ata_dma: the bus master of a PIIX3, "Programming Interface for Bus Master IDE
 * Controller" 1.0 (SFF-8038i, sections by its numbers), and the DMA commands of ATA/ATAPI-6
 * (sections marked ATA).
 * Its disks are those of ata-disks.h.
 */
#include "kernels/ata-disks.h"
#include "runtime/irq.h"
#include "runtime/pci.h"

#define ATA_DMA NEEDS("pci disk:ata")
#define NOWHERE 0xe0000000u /* no RAM and, on a PC of this size, nothing else */

static struct ata_disk disk, other;

static struct ata_channel *open_disk(struct ata_disk *d, unsigned channel, unsigned unit)
{
	open_ata(d, channel, unit);
	if (!d->channel->bm)
		SKIP("no bus master");
	/* IDENTIFY raised INTRQ: its trace in the status goes first. */
	ata_in(d->channel, ATA_STATUS);
	outb(d->channel->bm + BM_STATUS, BM_ERROR | BM_INTR | BM_CAPABLE);
	return d->channel;
}

static struct ata_prd *new_table(unsigned entries)
{
	return arena_alloc(entries * sizeof(struct ata_prd), 4096);
}

static struct ata_prd prd(void *address, uint32_t bytes, bool end)
{
	return (struct ata_prd){phys(address), (uint16_t)bytes, end ? PRD_END : 0};
}

/* A whole transfer with a table of one's own; the bus master is left as it ended. */
static int run_table(struct ata_disk *d, const struct ata_prd *table, enum ata_direction direction,
	uint64_t lba, uint32_t count)
{
	struct ata_channel *c = d->channel;

	ata_dma_table(c, table, direction);
	ata_dma_command(d, direction, lba, count);
	ata_dma_start(c, direction);
	return ata_irq(c, ATA_LIMIT) ? 0 : ATA_TIMEOUT;
}

/* The controller after whatever a TEST did to it reads sector 3 right. */
static void expect_usable(struct ata_channel *c)
{
	uint8_t *data = guarded_alloc(512);

	ata_dma_stop(c);
	EXPECT_EQ(ata_bm_status(c) & BM_ACTIVE, 0);
	ASSERT_TRUE(ata_soft_reset(c));
	c->irqs_seen = ata_irqs(c);
	EXPECT_EQ(ata_dma_read(&disk, 3, 1, data), 0);
	EXPECT_TRUE(is_sector(data, 3));
}

/* ---- the function and its registers ---- */

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
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 6, 1);
	ata_dma_start(c, ATA_READ);
	EXPECT_TRUE(WAIT_UNTIL(!(ata_alternate(c) & (ATA_BSY | ATA_DRQ)), ATA_LIMIT));
	EXPECT_EQ(ata_result(c), 0);
	EXPECT_EQ(ata_bm_status(c) & BM_INTR, 0);
	EXPECT_EQ(ata_irqs(c), before);
	EXPECT_TRUE(is_sector(data, 6));
	ata_dma_stop(c);
	ata_control(c, 0);
}

/* ---- transfers ---- */

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
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 30, 4);
	ata_dma_start(c, ATA_READ);
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
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 30, 1);
	ata_dma_start(c, ATA_READ);
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
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 30, 256);
	ata_dma_start(c, ATA_READ);
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
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 30, 1);
	ata_dma_start(c, ATA_READ);
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
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, SCRATCH + 130, 1);
	ata_dma_start(c, ATA_READ);
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
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 31, 1);
	ata_dma_start(c, ATA_READ);
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

TEST(stop_ends_access, "", "after start was cleared no byte of memory changes any more (2.1)",
	ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(2);
	uint8_t *data = guarded_alloc_aligned(0x20000, 0x10000);

	table[0] = prd(data, 0, false);
	table[1] = prd(data + 0x10000, 0, true);
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 1500, 256);
	ata_dma_start(c, ATA_READ);
	ata_dma_stop(c);
	EXPECT_EQ(ata_bm_status(c) & BM_ACTIVE, 0);
	for (unsigned i = 0; i < 256; i++)
		data[i * 512] = 0x5a;
	delay_us(QUIET);
	for (unsigned i = 0; i < 256; i++)
		ASSERT_EQ(data[i * 512], 0x5a);
	expect_usable(c);
}

TEST(reset_ends_access, "",
	"after SRST during a transfer no byte of memory changes any more (ATA 9.2)", ATA_DMA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	struct ata_prd *table = new_table(2);
	uint8_t *data = guarded_alloc_aligned(0x20000, 0x10000);

	table[0] = prd(data, 0, false);
	table[1] = prd(data + 0x10000, 0, true);
	ata_dma_table(c, table, ATA_READ);
	ata_dma_command(&disk, ATA_READ, 1500, 256);
	ata_dma_start(c, ATA_READ);
	ASSERT_TRUE(ata_soft_reset(c));
	for (unsigned i = 0; i < 256; i++)
		data[i * 512] = 0x5a;
	delay_us(QUIET);
	for (unsigned i = 0; i < 256; i++)
		ASSERT_EQ(data[i * 512], 0x5a);
	expect_usable(c);
}

/* ---- errors, drives and channels ---- */

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
