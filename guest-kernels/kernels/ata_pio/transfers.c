/* SPDX-License-Identifier: MIT */
/* Reading, interrupts, writing (ata-pio.h). */
#include "kernels/ata_pio/ata-pio.h"
#include "runtime/irq.h"

static struct ata_disk disk, other;

/* ---- reading ---- */

TEST(read_one_sector, "",
	"READ SECTORS gives the sector, with one interrupt and DRQ gone after it (8.34)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(512);
	uint32_t before = ata_irqs(c);

	disk.no_ext = true;
	EXPECT_EQ(ata_pio_read(&disk, 1234, 1, data), 0);
	EXPECT_TRUE(is_sector(data, 1234));
	EXPECT_EQ(ata_irqs(c), before + 1);
	EXPECT_EQ(ata_in(c, ATA_STATUS) & (ATA_BSY | ATA_DRDY | ATA_DRQ | ATA_ERR), ATA_DRDY);
}

TEST(read_16_bit_and_32_bit, "", "the data register gives the same by words and by double words",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *words = guarded_alloc(512), *doubles = guarded_alloc(512);

	ata_address(&disk, 77, 1, false);
	ata_out(c, ATA_COMMAND, ATA_CMD_READ);
	ASSERT_TRUE(ata_irq(c, ATA_LIMIT));
	ata_in(c, ATA_STATUS);
	insw(c->base, words, 256);
	EXPECT_EQ(ata_pio_read(&disk, 77, 1, doubles), 0);
	EXPECT_TRUE(is_sector(words, 77));
	EXPECT_MEM(words, doubles, 512);
}

TEST(count_0_is_256, "", "count 0 reads 256 sectors, one DRQ block and one interrupt each (8.34)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(256 * 512);
	uint32_t before = ata_irqs(c);

	disk.no_ext = true;
	EXPECT_EQ(ata_pio_read(&disk, 100, 256, data), 0);
	EXPECT_EQ(ata_irqs(c), before + 256);
	for (unsigned i = 0; i < 256; i++)
		ASSERT_TRUE(is_sector(data + i * 512, 100 + i));
	EXPECT_FALSE(ata_alternate(c) & ATA_DRQ);
}

TEST(ext_count_has_16_bits, "", "READ SECTORS EXT with count 0101h reads 257 sectors (8.34.2)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(257 * 512);
	uint32_t before = ata_irqs(c);

	EXPECT_EQ(ata_pio_read(&disk, 1000, 257, data), 0);
	EXPECT_EQ(ata_irqs(c), before + 257);
	EXPECT_TRUE(is_sector(data, 1000));
	EXPECT_TRUE(is_sector(data + 256 * 512, 1256));
	EXPECT_FALSE(ata_alternate(c) & ATA_DRQ);
}

TEST(ext_count_0_is_65536, "",
	"READ VERIFY SECTORS EXT with count 0 is 65536 sectors, which fit in front of the end or "
	"do not (8.37)",
	ATA)
{
	open_disk(&disk, 1, 0);
	ata_address(&disk, disk.sectors - 65536, 0, true);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_VERIFY_EXT), 0);
	ata_address(&disk, disk.sectors - 65535, 0, true);
	EXPECT_TRUE(is_error(plain_once(&disk, ATA_CMD_VERIFY_EXT), ATA_IDNF | ATA_ABRT));
}

TEST(last_sector, "", "the last sector is read, the one behind it is not: IDNF or ABRT (8.34.6)",
	ATA)
{
	struct ata_channel *c = open_disk(&other, 0, 1);
	uint8_t *data = guarded_alloc(512);
	uint32_t before;

	EXPECT_EQ(ata_pio_read(&other, other.sectors - 1, 1, data), 0);
	before = ata_irqs(c);
	EXPECT_TRUE(is_error(ata_pio_read(&other, other.sectors, 1, data), ATA_IDNF | ATA_ABRT));
	EXPECT_EQ(ata_irqs(c), before + 1);
	EXPECT_FALSE(ata_alternate(c) & ATA_DRQ);
}

TEST(far_address_is_refused, "",
	"an address of 48 ones is refused, and no other sector is read for it (8.34.6)", ATA)
{
	uint8_t *data = guarded_alloc(512);

	open_disk(&disk, 0, 0);
	EXPECT_TRUE(is_error(ata_pio_read(&disk, 0xffffffffffff, 1, data), ATA_IDNF | ATA_ABRT));
	EXPECT_TRUE(memory_is(data, 0, 512, NULL));
	EXPECT_EQ(ata_pio_read(&disk, 9, 1, data), 0);
	EXPECT_TRUE(is_sector(data, 9));
}

TEST(error_names_the_sector, "",
	"a read over the end that ends with IDNF names the first sector that is not there (8.34.6)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = arena_alloc(8 * 512, 64);
	uint64_t lba;
	int result = ata_pio_read(&disk, disk.sectors - 4, 8, data);

	ASSERT_TRUE(is_error(result, ATA_IDNF | ATA_ABRT));
	if (!(result & ATA_IDNF))
		SKIP("refused with ABRT, which names no sector");
	lba = ata_in(c, ATA_LOW) | ata_in(c, ATA_MID) << 8 | ata_in(c, ATA_HIGH) << 16;
	ata_control(c, ATA_HOB);
	lba |= (uint64_t)ata_in(c, ATA_LOW) << 24;
	EXPECT_EQ(lba, disk.sectors);
}

TEST(chs_and_lba_agree, "", "CHS (c, h, s) is LBA (c * heads + h) * sectors + s - 1 (6.2)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint32_t heads = disk.identify[55], track = disk.identify[56];
	uint8_t *data = guarded_alloc(512);

	ata_out(c, ATA_COUNT, 1);
	ata_out(c, ATA_LOW, 3);
	ata_out(c, ATA_MID, 2);
	ata_out(c, ATA_HIGH, 0);
	ata_out(c, ATA_DEVICE, 5);
	ata_out(c, ATA_COMMAND, ATA_CMD_READ);
	ASSERT_TRUE(ata_irq(c, ATA_LIMIT));
	ASSERT_EQ(ata_result(c), 0);
	insw(c->base, data, 256);
	EXPECT_TRUE(is_sector(data, (2 * heads + 5) * track + 2));
}

TEST(chs_sector_0_is_refused, "", "there is no sector 0 in CHS: IDNF or ABRT (6.2)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	ata_out(c, ATA_COUNT, 1);
	ata_out(c, ATA_LOW, 0);
	ata_out(c, ATA_MID, 0);
	ata_out(c, ATA_HIGH, 0);
	ata_out(c, ATA_DEVICE, 0);
	EXPECT_TRUE(is_error(plain_once(&disk, ATA_CMD_READ), ATA_IDNF | ATA_ABRT));
}

TEST(init_parameters, "",
	"INITIALIZE DEVICE PARAMETERS changes what CHS addresses mean (ATA-3 7.8)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(512);

	ata_out(c, ATA_COUNT, 10); /* sectors a track */
	ata_out(c, ATA_DEVICE, 3); /* 4 heads */
	ASSERT_EQ(plain_once(&disk, ATA_CMD_INIT_PARAMETERS), 0);
	ata_out(c, ATA_COUNT, 1);
	ata_out(c, ATA_LOW, 7);
	ata_out(c, ATA_MID, 5);
	ata_out(c, ATA_HIGH, 0);
	ata_out(c, ATA_DEVICE, 2);
	ata_out(c, ATA_COMMAND, ATA_CMD_READ);
	ASSERT_TRUE(ata_irq(c, ATA_LIMIT));
	ASSERT_EQ(ata_result(c), 0);
	insw(c->base, data, 256);
	EXPECT_TRUE(is_sector(data, (5 * 4 + 2) * 10 + 6));
	ata_out(c, ATA_COUNT, disk.identify[6]);
	ata_out(c, ATA_DEVICE, disk.identify[3] - 1);
	EXPECT_EQ(ata_plain(&disk, ATA_CMD_INIT_PARAMETERS), 0);
}

TEST(verify_moves_no_data, "",
	"READ VERIFY SECTORS succeeds without DRQ and with one interrupt (8.37)", ATA)
{
	open_disk(&disk, 0, 0);
	ata_address(&disk, 40, 200, false);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_VERIFY), 0);
	EXPECT_FALSE(ata_alternate(disk.channel) & ATA_DRQ);
}

TEST(data_without_drq, "",
	"the data register without DRQ changes nothing: the next command is right (9)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(512);

	for (unsigned i = 0; i < 4; i++)
		inw(c->base);
	outw(c->base, 0x1234);
	EXPECT_EQ(ata_pio_read(&disk, 55, 1, data), 0);
	EXPECT_TRUE(is_sector(data, 55));
	inl(c->base);
	EXPECT_EQ(ata_in(c, ATA_STATUS) & (ATA_BSY | ATA_DRQ | ATA_ERR), 0);
	EXPECT_EQ(ata_pio_read(&disk, 56, 1, data), 0);
	EXPECT_TRUE(is_sector(data, 56));
}

/* ---- interrupts ---- */

/* Looks at INTRQ itself: the pin is level-triggered from now on, and masked but for a look. */
static unsigned level_pin, level_hits;

static void level_entry(unsigned vector, uint32_t mask)
{
	ioapic_write(0x10 + level_pin * 2, IOAPIC_LEVEL | mask | vector);
}

static void on_level(unsigned vector)
{
	level_hits++;
	level_entry(vector, IOAPIC_MASK);
	lapic_eoi();
}

static void watch_intrq(struct ata_channel *c)
{
	level_pin = ioapic_isa_pin(c->irq);
	irq_handler(c->vector, on_level);
	ioapic_route(level_pin, c->vector, IOAPIC_LEVEL | IOAPIC_MASK);
}

static bool intrq_is_asserted(struct ata_channel *c)
{
	level_hits = 0;
	level_entry(c->vector, 0);
	WAIT_UNTIL(level_hits != 0, QUIET);
	level_entry(c->vector, IOAPIC_MASK);
	return level_hits != 0;
}

TEST(alternate_status_keeps_intrq, "",
	"the alternate status leaves INTRQ asserted, the status register releases it (7.3, 7.15)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	watch_intrq(c);
	ata_out(c, ATA_COMMAND, ATA_CMD_FLUSH);
	ata_wait(c);
	ata_alternate(c);
	EXPECT_TRUE(intrq_is_asserted(c));
	ata_in(c, ATA_STATUS);
	EXPECT_FALSE(intrq_is_asserted(c));
}

TEST(command_releases_intrq, "", "writing the command register releases a pending INTRQ (5.2.9)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	watch_intrq(c);
	ata_out(c, ATA_COMMAND, ATA_CMD_FLUSH);
	ata_wait(c);
	EXPECT_TRUE(intrq_is_asserted(c));
	ata_address(&disk, SCRATCH, 1, false);
	ata_out(c, ATA_COMMAND, ATA_CMD_WRITE); /* asks for data without an interrupt */
	EXPECT_TRUE(ata_wait(c) & ATA_DRQ);
	EXPECT_FALSE(intrq_is_asserted(c));
	ata_soft_reset(c);
}

TEST(intrq_is_the_selected_drives, "", "a drive that is not selected does not drive INTRQ (5.2.9)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	watch_intrq(c);
	ata_out(c, ATA_COMMAND, ATA_CMD_FLUSH);
	ata_wait(c);
	EXPECT_TRUE(intrq_is_asserted(c));
	ata_select(c, ATA_DEV);
	EXPECT_FALSE(intrq_is_asserted(c));
	ata_select(c, 0);
	EXPECT_TRUE(intrq_is_asserted(c));
}

TEST(nien_blocks_intrq, "", "with nIEN set a command ends without an interrupt (7.8)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint32_t before = ata_irqs(c);

	ata_control(c, ATA_NIEN);
	ata_out(c, ATA_COMMAND, ATA_CMD_FLUSH);
	EXPECT_FALSE(ata_wait(c) & ATA_BSY);
	delay_us(QUIET);
	EXPECT_EQ(ata_irqs(c), before);
	EXPECT_EQ(ata_result(c), 0);
	ata_control(c, 0);
	delay_us(QUIET);
	EXPECT_EQ(ata_irqs(c), before);
}

TEST(nien_holds_back_intrq, "",
	"an interrupt that is pending when nIEN is cleared is asserted then (5.2.9)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint32_t before = ata_irqs(c);

	ata_control(c, ATA_NIEN);
	ata_out(c, ATA_COMMAND, ATA_CMD_FLUSH);
	EXPECT_FALSE(ata_wait(c) & ATA_BSY);
	EXPECT_EQ(ata_irqs(c), before);
	ata_control(c, 0);
	EXPECT_TRUE(WAIT_UNTIL(ata_irqs(c) == before + 1, QUIET * 10));
}

/* ---- writing ---- */

TEST(write_read_back, "", "WRITE SECTORS writes these sectors and no others (8.60)", ATA)
{
	uint64_t tag = test_random();
	uint8_t *data = guarded_alloc(5 * 512), *back = guarded_alloc(5 * 512);

	open_disk(&disk, 0, 0);
	fill_sectors(data, 5, ~tag);
	ASSERT_EQ(ata_pio_write(&disk, SCRATCH + 100, 5, data), 0);
	fill_sectors(data, 3, tag);
	disk.no_ext = true;
	ASSERT_EQ(ata_pio_write(&disk, SCRATCH + 101, 3, data), 0);
	ASSERT_EQ(ata_pio_read(&disk, SCRATCH + 100, 5, back), 0);
	EXPECT_TRUE(is_sector(back, ~tag));
	for (unsigned i = 0; i < 3; i++)
		EXPECT_TRUE(is_sector(back + (1 + i) * 512, tag + i));
	EXPECT_TRUE(is_sector(back + 4 * 512, ~tag + 4));
}

TEST(write_interrupts, "",
	"a write asks for its first block without an interrupt, and has one for each block after "
	"that and the end (9.6)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(3 * 512);
	uint32_t before = ata_irqs(c);

	ata_address(&disk, SCRATCH + 120, 3, false);
	ata_out(c, ATA_COMMAND, ATA_CMD_WRITE);
	ASSERT_TRUE(ata_wait(c) & ATA_DRQ);
	delay_us(QUIET);
	EXPECT_EQ(ata_irqs(c), before);
	for (unsigned i = 0; i < 3; i++) {
		outsw(c->base, data + i * 512, 256);
		ASSERT_TRUE(ata_irq(c, ATA_LIMIT));
		EXPECT_EQ(ata_irqs(c), before + i + 1);
		EXPECT_EQ(!!(ata_in(c, ATA_STATUS) & ATA_DRQ), i < 2);
	}
}

TEST(write_over_the_end, "",
	"a write over the end fails, and what is before it stays or is as written (8.60.6)", ATA)
{
	uint8_t *data = guarded_alloc(4 * 512), *back = guarded_alloc(512);
	uint64_t tag = test_random();

	open_disk(&other, 0, 1);
	fill_sectors(data, 1, tag);
	ASSERT_EQ(ata_pio_write(&other, other.sectors - 3, 1, data), 0);
	fill_sectors(data, 4, ~tag);
	EXPECT_TRUE(
		is_error(ata_pio_write(&other, other.sectors - 2, 4, data), ATA_IDNF | ATA_ABRT));
	ASSERT_EQ(ata_pio_read(&other, other.sectors - 3, 1, back), 0);
	EXPECT_TRUE(is_sector(back, tag));
}

TEST(multiple_blocks, "",
	"READ and WRITE MULTIPLE move blocks of the set size, the last one shorter, one interrupt "
	"each (8.32)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = guarded_alloc(20 * 512), *back = guarded_alloc(20 * 512);
	uint64_t tag = test_random();
	uint32_t before;

	ASSERT_EQ(ata_set_multiple(&disk, 8), 0);
	fill_sectors(data, 20, tag);
	before = ata_irqs(c);
	ASSERT_EQ(ata_pio_write(&disk, SCRATCH + 200, 20, data), 0);
	EXPECT_EQ(ata_irqs(c), before + 3);
	disk.no_ext = true;
	ASSERT_EQ(ata_pio_read(&disk, SCRATCH + 200, 20, back), 0);
	EXPECT_EQ(ata_irqs(c), before + 6);
	for (unsigned i = 0; i < 20; i++)
		ASSERT_TRUE(is_sector(back + i * 512, tag + i));
}

TEST(set_multiple_word, "", "word 59 says what SET MULTIPLE MODE set (8.15.39)", ATA)
{
	uint16_t words[256];

	open_disk(&disk, 0, 0);
	ASSERT_EQ(ata_set_multiple(&disk, 4), 0);
	ata_identify(&disk, words);
	EXPECT_EQ(words[59] & 0x1ff, 0x104);
}

TEST(multiple_disabled, "",
	"SET MULTIPLE MODE 0 disables READ MULTIPLE, which then aborts (8.32, 8.39)", ATA)
{
	open_disk(&disk, 0, 0);
	ASSERT_EQ(ata_set_multiple(&disk, 0), 0);
	ata_address(&disk, 0, 1, false);
	EXPECT_TRUE(is_error(plain_once(&disk, ATA_CMD_READ_MULTIPLE), ATA_ABRT));
}

TEST(multiple_odd_count_aborts, "", "SET MULTIPLE MODE with 3 is aborted (8.39)", ATA)
{
	open_disk(&disk, 0, 0);
	EXPECT_TRUE(is_error(ata_set_multiple(&disk, 3), ATA_ABRT));
}

TEST(address_bits_24_to_27, "",
	"bits 24 to 27 of a 28-bit address are in the device register (7.7)", ATA)
{
	uint8_t *data = guarded_alloc(512), *back = guarded_alloc(512);
	uint64_t tag = test_random();

	open_disk(&disk, 1, 0);
	fill_sectors(data, 1, tag);
	ASSERT_EQ(ata_pio_write(&disk, 0x5000007, 1, data), 0);
	fill_sectors(data, 1, ~tag);
	ASSERT_EQ(ata_pio_write(&disk, 7, 1, data), 0);
	disk.no_ext = true;
	ASSERT_EQ(ata_pio_read(&disk, 0x5000007, 1, back), 0);
	EXPECT_TRUE(is_sector(back, tag));
}

TEST(address_above_28_bits, "", "READ and WRITE SECTORS EXT reach sectors above 28 bits (6.2)", ATA)
{
	uint8_t *data = guarded_alloc(512), *back = guarded_alloc(512);
	uint64_t tag = test_random();

	open_disk(&disk, 1, 0);
	fill_sectors(data, 1, tag);
	ASSERT_EQ(ata_pio_write(&disk, 0x10000009, 1, data), 0);
	fill_sectors(data, 1, ~tag);
	ASSERT_EQ(ata_pio_write(&disk, 9, 1, data), 0);
	ASSERT_EQ(ata_pio_read(&disk, 0x10000009, 1, back), 0);
	EXPECT_TRUE(is_sector(back, tag));
	ASSERT_EQ(ata_pio_read(&disk, 9, 1, back), 0);
	EXPECT_TRUE(is_sector(back, ~tag));
}

TEST(two_drives_are_two, "", "the same address on drive 0 and drive 1 are different sectors", ATA)
{
	uint8_t *data = guarded_alloc(512);
	uint64_t tag = test_random();

	open_disk(&disk, 0, 0);
	fill_sectors(data, 1, tag);
	ASSERT_EQ(ata_pio_write(&disk, SCRATCH + 300, 1, data), 0);
	open_disk(&other, 0, 1);
	disk.channel = other.channel;
	fill_sectors(data, 1, ~tag);
	ASSERT_EQ(ata_pio_write(&other, SCRATCH + 300, 1, data), 0);
	ASSERT_EQ(ata_pio_read(&disk, SCRATCH + 300, 1, data), 0);
	EXPECT_TRUE(is_sector(data, tag));
	ASSERT_EQ(ata_pio_read(&other, SCRATCH + 300, 1, data), 0);
	EXPECT_TRUE(is_sector(data, ~tag));
}

TEST(two_channels_at_once, "",
	"both channels read at the same time, each with its own interrupt and data", ATA)
{
	struct ata_channel *first, *second;
	uint8_t *a = guarded_alloc(512), *b = guarded_alloc(512);
	uint64_t tag = test_random();
	uint32_t before_first, before_second;

	second = open_disk(&other, 1, 0);
	fill_sectors(b, 1, tag);
	ASSERT_EQ(ata_pio_write(&other, 40, 1, b), 0);
	first = open_disk(&disk, 0, 0);
	before_first = ata_irqs(first);
	before_second = ata_irqs(second);
	ata_address(&disk, 41, 1, false);
	ata_address(&other, 40, 1, false);
	ata_out(first, ATA_COMMAND, ATA_CMD_READ);
	ata_out(second, ATA_COMMAND, ATA_CMD_READ);
	ASSERT_TRUE(ata_irq(second, ATA_LIMIT));
	ASSERT_TRUE(ata_irq(first, ATA_LIMIT));
	EXPECT_EQ(ata_result(first), 0);
	EXPECT_EQ(ata_result(second), 0);
	insw(second->base, b, 256);
	insw(first->base, a, 256);
	EXPECT_TRUE(is_sector(a, 41));
	EXPECT_TRUE(is_sector(b, tag));
	EXPECT_EQ(ata_irqs(first), before_first + 1);
	EXPECT_EQ(ata_irqs(second), before_second + 1);
}
