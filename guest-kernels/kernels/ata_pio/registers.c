/* SPDX-License-Identifier: MIT */
/* Resets, selection, IDENTIFY DEVICE and the commands without data (ata-pio.h). */
#include "kernels/ata_pio/ata-pio.h"
#include "runtime/ctl.h"

static struct ata_disk disk, other;

/* ---- reset and selection ---- */

TEST(signature_after_reset, "",
	"after SRST both drives show 01 01 00 00 and diagnostic code 01 (9.12)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	ata_out(c, ATA_COUNT, 0x55);
	ata_out(c, ATA_LOW, 0xaa);
	ata_out(c, ATA_MID, 0x12);
	ata_out(c, ATA_HIGH, 0x34);
	ASSERT_TRUE(ata_soft_reset(c));
	for (unsigned unit = 0; unit < 2; unit++) {
		ata_select(c, unit ? ATA_DEV : 0);
		EXPECT_EQ(ata_in(c, ATA_ERROR), 0x01);
		EXPECT_EQ(ata_in(c, ATA_COUNT), 0x01);
		EXPECT_EQ(ata_in(c, ATA_LOW), 0x01);
		EXPECT_EQ(ata_in(c, ATA_MID), 0x00);
		EXPECT_EQ(ata_in(c, ATA_HIGH), 0x00);
	}
}

TEST(busy_while_srst, "", "BSY is set on both drives while SRST is set, and clears after (9.2)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	ata_control(c, ATA_SRST);
	delay_us(5000); /* not only at the moment when it is set */
	EXPECT_TRUE(ata_alternate(c) & ATA_BSY);
	ata_control(c, 0);
	EXPECT_FALSE(ata_wait(c) & ATA_BSY);
	EXPECT_TRUE(WAIT_UNTIL(ata_alternate(c) & ATA_DRDY, ATA_LIMIT));
	EXPECT_FALSE(ata_alternate(c) & (ATA_DRQ | ATA_ERR | ATA_DF));
}

TEST(reset_selects_drive_0, "", "SRST clears the DEV bit (9.2)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	ata_select(c, ATA_LBA | ATA_DEV);
	ata_soft_reset(c);
	EXPECT_EQ(ata_in(c, ATA_DEVICE) & ATA_DEV, 0);
}

TEST(reset_ends_transfer, "",
	"SRST in the middle of a read ends it, and the next read is right (9.2)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint8_t *data = arena_alloc(512, 64);

	ata_address(&disk, 20, 8, false);
	ata_out(c, ATA_COMMAND, ATA_CMD_READ);
	ASSERT_TRUE(ata_irq(c, ATA_LIMIT));
	ata_in(c, ATA_STATUS);
	insw(c->base, data, 256);
	ata_soft_reset(c);
	EXPECT_FALSE(ata_alternate(c) & ATA_DRQ);
	delay_us(QUIET);
	c->irqs_seen = ata_irqs(c);
	EXPECT_EQ(ata_pio_read(&disk, 33, 1, data), 0);
	EXPECT_TRUE(is_sector(data, 33));
}

TEST(reset_makes_no_interrupt, "", "SRST makes no interrupt and takes a pending one away (9.2)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint32_t before = ata_irqs(c);

	ata_control(c, ATA_NIEN);
	ata_out(c, ATA_COMMAND, ATA_CMD_FLUSH);
	ata_wait(c);
	ata_soft_reset(c);
	delay_us(QUIET);
	EXPECT_EQ(ata_irqs(c), before);
}

TEST(absent_drive_reads_0, "", "an absent drive 1 has status 0, by the drive 0 beside it (9.16)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 1, 0);

	ata_select(c, ATA_DEV);
	EXPECT_EQ(ata_in(c, ATA_STATUS), 0);
	EXPECT_EQ(ata_alternate(c), 0);
}

TEST(absent_drive_is_silent, "",
	"a command to an absent drive 1 does nothing, drive 0 goes on (9.16)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 1, 0);
	uint32_t before = ata_irqs(c);
	uint16_t words[256];

	ata_select(c, ATA_DEV | ATA_LBA);
	ata_out(c, ATA_COMMAND, ATA_CMD_IDENTIFY);
	delay_us(QUIET);
	EXPECT_EQ(ata_irqs(c), before);
	EXPECT_EQ(ata_in(c, ATA_STATUS), 0);
	EXPECT_EQ(ata_identify(&disk, words), 0);
	EXPECT_EQ(words[0] & 0x8000, 0);
}

TEST(writes_reach_both_drives, "", "both drives latch what is written to the command block (5.1)",
	ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	ata_select(c, 0);
	ata_out(c, ATA_COUNT, 0x5a);
	ata_out(c, ATA_LOW, 0x71);
	ata_select(c, ATA_DEV);
	EXPECT_EQ(ata_in(c, ATA_COUNT), 0x5a);
	EXPECT_EQ(ata_in(c, ATA_LOW), 0x71);
}

TEST(hob_shows_previous, "",
	"HOB shows what a register held before, and any write clears HOB (6.20)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	for (unsigned reg = ATA_COUNT; reg <= ATA_HIGH; reg++) {
		ata_out(c, reg, 0x10 + reg);
		ata_out(c, reg, 0x20 + reg);
	}
	ata_control(c, ATA_HOB);
	for (unsigned reg = ATA_COUNT; reg <= ATA_HIGH; reg++)
		EXPECT_EQ(ata_in(c, reg), 0x10 + reg);
	ata_out(c, ATA_FEATURE, 0);
	for (unsigned reg = ATA_COUNT; reg <= ATA_HIGH; reg++)
		EXPECT_EQ(ata_in(c, reg), 0x20 + reg);
}

TEST(diagnostic_selects_drive_0, "",
	"EXECUTE DEVICE DIAGNOSTIC with drive 1 selected: drive 0 reports code 01 (8.11)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint32_t before = ata_irqs(c);

	ata_select(c, ATA_DEV);
	ata_out(c, ATA_COMMAND, ATA_CMD_DIAGNOSTIC);
	EXPECT_TRUE(ata_irq(c, ATA_LIMIT));
	EXPECT_EQ(ata_irqs(c), before + 1);
	EXPECT_EQ(ata_in(c, ATA_DEVICE) & ATA_DEV, 0);
	EXPECT_EQ(ata_in(c, ATA_ERROR), 0x01);
	EXPECT_EQ(ata_in(c, ATA_COUNT), 0x01);
	EXPECT_EQ(ata_in(c, ATA_LOW), 0x01);
	EXPECT_EQ(ata_in(c, ATA_MID), 0x00);
	EXPECT_EQ(ata_in(c, ATA_HIGH), 0x00);
}

/* ---- IDENTIFY DEVICE ---- */

TEST(identify_has_256_words, "",
	"IDENTIFY DEVICE offers 256 words with one interrupt; DRQ drops after the last (8.15)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint32_t before = ata_irqs(c);
	uint16_t words[256];

	ata_out(c, ATA_COMMAND, ATA_CMD_IDENTIFY);
	ASSERT_TRUE(ata_irq(c, ATA_LIMIT));
	ASSERT_TRUE(ata_in(c, ATA_STATUS) & ATA_DRQ);
	insw(c->base, words, 255);
	EXPECT_TRUE(ata_alternate(c) & ATA_DRQ);
	words[255] = inw(c->base);
	EXPECT_FALSE(ata_alternate(c) & (ATA_DRQ | ATA_BSY | ATA_ERR));
	EXPECT_EQ(ata_irqs(c), before + 1);
}

TEST(identify_fixed_words, "", "the words that have one value for such a disk have it (table 27)",
	ATA)
{
	uint16_t *w = disk.identify;

	open_disk(&disk, 0, 0);
	EXPECT_EQ(w[0] & 0x8000, 0); /* ATA */
	EXPECT_EQ(w[47] & 0xff00, 0x8000);
	EXPECT_GE(w[47] & 0xff, 1);
	EXPECT_EQ(w[49] & 0x0300, 0x0300); /* DMA and LBA */
	EXPECT_EQ(w[53] & 6, 6);
	EXPECT_EQ(w[83] & 0xc000, 0x4000);
	EXPECT_EQ(w[83] & 0x3400, 0x3400); /* FLUSH CACHE (EXT), 48 bits */
	EXPECT_EQ(w[84] & 0xc000, 0x4000);
	EXPECT_EQ(w[87] & 0xc000, 0x4000);
	EXPECT_EQ(w[93] & 0xc001, 0x4001);
	EXPECT_TRUE(w[80] & 0x40); /* ATA/ATAPI-6 */
}

TEST(identify_checksum, "",
	"if word 255 has the signature A5h, the sum of all bytes is 0 (8.15.61)", ATA)
{
	uint8_t sum = 0;

	open_disk(&disk, 0, 0);
	if ((disk.identify[255] & 0xff) != 0xa5)
		SKIP("no integrity word");
	for (unsigned i = 0; i < 256; i++)
		sum += disk.identify[i] + (disk.identify[i] >> 8);
	EXPECT_EQ(sum, 0);
}

TEST(identify_strings, "",
	"the serial number is in words 10 to 19, first character in the upper byte (8.15.10)", ATA)
{
	static const char wanted[21] = "assay-ata-0         ";
	char serial[20];

	open_disk(&disk, 0, 0);
	for (unsigned i = 0; i < 20; i++)
		serial[i] = disk.identify[10 + i / 2] >> (i % 2 ? 0 : 8);
	EXPECT_MEM(serial, wanted, 20);
	for (unsigned i = 46; i < 94; i++) { /* words 23 to 46: printable */
		uint8_t ch = disk.identify[i / 2] >> (i % 2 ? 0 : 8);

		EXPECT_TRUE(ch >= 0x20 && ch < 0x7f);
	}
}

TEST(identify_capacity, "",
	"words 60-61 and 100-103 are the sectors of the disk (8.15.40, 8.15.53)", ATA)
{
	open_disk(&disk, 0, 0);
	EXPECT_EQ(disk.sectors, 8 * 2048);
	EXPECT_EQ(disk.identify[60] | (uint32_t)disk.identify[61] << 16, 8 * 2048);
	open_disk(&other, 0, 1);
	EXPECT_EQ(other.sectors, 4 * 2048);
}

TEST(identify_large_capacity, "",
	"above 28 bits words 60-61 stay at 0FFFFFFFh and words 100-103 go on (8.15.40)", ATA)
{
	open_disk(&disk, 1, 0);
	EXPECT_EQ(disk.identify[60] | (uint32_t)disk.identify[61] << 16, 0x0fffffff);
	EXPECT_EQ(disk.sectors, 200ull << 21);
}

TEST(resized_disk, "",
	"a disk that was resized says its new capacity at the next IDENTIFY and reaches its end",
	NEEDS("disk:ata ctl"))
{
	uint64_t before, after;
	int at_end, behind;
	uint8_t *data = guarded_alloc(512);

	open_disk(&disk, 1, 0);
	before = disk.sectors;
	after = before + 2048;
	if (!ctl_request("resize", "disk2 %lu", after * 512))
		SKIP("resize: %s", ctl_reason());
	open_disk(&disk, 1, 0);
	EXPECT_EQ(disk.sectors, after);
	at_end = ata_pio_read(&disk, after - 1, 1, data);
	behind = ata_pio_read(&disk, after, 1, data);
	ASSERT_TRUE(ctl_request("resize", "disk2 %lu", before * 512) != NULL);
	EXPECT_EQ(at_end, 0);
	EXPECT_TRUE(is_error(behind, ATA_IDNF | ATA_ABRT));
	open_disk(&disk, 1, 0);
	EXPECT_EQ(disk.sectors, before);
}

TEST(identify_geometry, "",
	"the current geometry's product is in words 57-58 and not above the capacity (8.15.36)",
	ATA)
{
	uint16_t *w = disk.identify;
	uint32_t product;

	open_disk(&disk, 0, 0);
	if (!(w[53] & 1))
		SKIP("words 54 to 58 are not valid");
	product = (uint32_t)w[54] * w[55] * w[56];
	EXPECT_EQ(w[57] | (uint32_t)w[58] << 16, product);
	EXPECT_LE(product, disk.sectors);
	EXPECT_GT(product, 0);
}

TEST(native_max, "", "READ NATIVE MAX ADDRESS (EXT) gives the last sector (8.35)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint32_t low;

	ata_select(c, ATA_LBA);
	ASSERT_EQ(ata_plain(&disk, ATA_CMD_NATIVE_MAX), 0);
	low = ata_in(c, ATA_LOW) | ata_in(c, ATA_MID) << 8 | ata_in(c, ATA_HIGH) << 16;
	EXPECT_EQ(low | (ata_in(c, ATA_DEVICE) & 0x0f) << 24, disk.sectors - 1);
	open_disk(&disk, 1, 0);
	c = disk.channel;
	ASSERT_EQ(ata_plain(&disk, ATA_CMD_NATIVE_MAX_EXT), 0);
	low = ata_in(c, ATA_LOW) | ata_in(c, ATA_MID) << 8 | ata_in(c, ATA_HIGH) << 16;
	ata_control(c, ATA_HOB);
	EXPECT_EQ(low | (uint64_t)ata_in(c, ATA_LOW) << 24 | (uint64_t)ata_in(c, ATA_MID) << 32,
		disk.sectors - 1);
}

/* ---- commands that end at once ---- */

TEST(identify_packet_aborts, "", "IDENTIFY PACKET DEVICE is aborted by a disk (8.16)", ATA)
{
	open_disk(&disk, 0, 0);
	EXPECT_TRUE(is_error(plain_once(&disk, ATA_CMD_IDENTIFY_PACKET), ATA_ABRT));
}

TEST(unknown_command_aborts, "", "a reserved command ends with ERR, ABRT and one interrupt (8)",
	ATA)
{
	open_disk(&disk, 0, 0);
	EXPECT_TRUE(is_error(plain_once(&disk, 0x02), ATA_ABRT));
	EXPECT_FALSE(ata_alternate(disk.channel) & (ATA_DRQ | ATA_BSY));
}

TEST(nop_aborts, "", "NOP always ends with ABRT (8.28)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	ata_out(c, ATA_FEATURE, 0);
	EXPECT_TRUE(is_error(plain_once(&disk, ATA_CMD_NOP), ATA_ABRT));
}

TEST(device_reset_aborts, "", "DEVICE RESET is not for disks and is aborted (8.10)", ATA)
{
	open_disk(&disk, 0, 0);
	EXPECT_TRUE(is_error(plain_once(&disk, ATA_CMD_DEVICE_RESET), ATA_ABRT));
}

TEST(error_clears_with_next_command, "",
	"ERR of one command is gone after the next good one (7.15)", ATA)
{
	open_disk(&disk, 0, 0);
	EXPECT_TRUE(is_error(ata_plain(&disk, 0x02), ATA_ABRT));
	EXPECT_EQ(ata_plain(&disk, ATA_CMD_FLUSH), 0);
	EXPECT_EQ(ata_alternate(disk.channel) & (ATA_ERR | ATA_BSY | ATA_DRQ), 0);
}

TEST(flush_cache, "",
	"FLUSH CACHE and FLUSH CACHE EXT succeed without data, one interrupt each (8.12)", ATA)
{
	open_disk(&disk, 0, 0);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_FLUSH), 0);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_FLUSH_EXT), 0);
	EXPECT_FALSE(ata_alternate(disk.channel) & ATA_DRQ);
}

TEST(write_cache_feature, "",
	"SET FEATURES 82h and 02h turn the write cache off and on: word 85 bit 5 (8.46)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint16_t words[256];

	if (!(disk.identify[82] & 0x20))
		SKIP("no write cache");
	ata_out(c, ATA_FEATURE, 0x82);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_SET_FEATURES), 0);
	ata_identify(&disk, words);
	EXPECT_EQ(words[85] & 0x20, 0);
	ata_out(c, ATA_FEATURE, 0x02);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_SET_FEATURES), 0);
	ata_identify(&disk, words);
	EXPECT_EQ(words[85] & 0x20, 0x20);
}

TEST(unknown_feature_aborts, "", "SET FEATURES with a reserved subcommand is aborted (8.46)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	ata_out(c, ATA_FEATURE, 0x01 | 0x40);
	EXPECT_TRUE(is_error(plain_once(&disk, ATA_CMD_SET_FEATURES), ATA_ABRT));
}

static int set_mode(struct ata_channel *c, uint8_t mode, uint16_t words[256])
{
	int result;

	ata_out(c, ATA_FEATURE, 0x03);
	ata_out(c, ATA_COUNT, mode);
	result = ata_plain(&disk, ATA_CMD_SET_FEATURES);
	ata_identify(&disk, words);
	return result;
}

TEST(transfer_modes, "", "SET FEATURES 03h selects one DMA mode: words 63 and 88 (8.46.3)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);
	uint16_t words[256];

	EXPECT_EQ(set_mode(c, 0x42, words), 0);
	EXPECT_EQ(words[88] & 0xff00, 0x0400);
	EXPECT_EQ(words[63] & 0xff00, 0);
	EXPECT_EQ(set_mode(c, 0x22, words), 0);
	EXPECT_EQ(words[88] & 0xff00, 0);
	EXPECT_EQ(words[63] & 0xff00, 0x0400);
	EXPECT_TRUE(is_error(set_mode(c, 0x98, words), ATA_ABRT));
	EXPECT_EQ(words[63] & 0xff00, 0x0400);
}

TEST(power_mode, "", "CHECK POWER MODE says 00h in Standby, and 80h or FFh when idle (8.6)", ATA)
{
	struct ata_channel *c = open_disk(&disk, 0, 0);

	EXPECT_EQ(plain_once(&disk, ATA_CMD_STANDBY_NOW), 0);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_CHECK_POWER), 0);
	EXPECT_EQ(ata_in(c, ATA_COUNT), 0x00);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_IDLE_NOW), 0);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_CHECK_POWER), 0);
	EXPECT_GE(ata_in(c, ATA_COUNT), 0x80);
}

TEST(seek_range, "",
	"SEEK to a sector succeeds, and beyond the last one fails with IDNF or ABRT (8.40)", ATA)
{
	open_disk(&disk, 0, 0);
	ata_address(&disk, disk.sectors - 1, 0, false);
	EXPECT_EQ(plain_once(&disk, ATA_CMD_SEEK), 0);
	ata_address(&disk, disk.sectors, 0, false);
	EXPECT_TRUE(is_error(plain_once(&disk, ATA_CMD_SEEK), ATA_IDNF | ATA_ABRT));
}
