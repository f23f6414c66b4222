/* SPDX-License-Identifier: MIT */
/*
 * Ranges of sectors: discard, write zeroes, secure erase (virtio 1.4, 5.2.6).
 */
#include "disk.h"

/* Types, their features, and where the configuration has the most ranges of one request. */
static const struct range_type {
	uint32_t type;
	unsigned feature, most_ranges;
} range_types[] = {
	{BLK_T_DISCARD, BLK_F_DISCARD, BLK_C_DISCARD_SEGS},
	{BLK_T_WRITE_ZEROES, BLK_F_WRITE_ZEROES, BLK_C_ZEROES_SEGS},
	{BLK_T_SECURE_ERASE, BLK_F_SECURE_ERASE, BLK_C_ERASE_SEGS},
};

/* Ranges of one sector each, every other one from DISK_SCRATCH on. */
static uint8_t many_ranges(struct disk *d, uint32_t type, unsigned count)
{
	struct blk_range *ranges = (struct blk_range *)d->data;

	for (unsigned i = 0; i < count; i++)
		ranges[i] = (struct blk_range){DISK_SCRATCH + 2 * i, 1, 0};
	return disk_do(d, type, 0, ranges, count * sizeof(*ranges));
}

TEST(write_zeroes, "BLK-DEV-25",
	"a zeroed range reads as zeroes, with and without unmap, and its neighbours keep their "
	"data",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	for (uint32_t flags = 0; flags <= BLK_RANGE_UNMAP; flags++) {
		disk_fill(d, DISK_SCRATCH, 8, 112);
		EXPECT_EQ(disk_range(d, BLK_T_WRITE_ZEROES, DISK_SCRATCH + 3, 4, flags), BLK_S_OK);
		memset(d->data, 0xee, 2048);
		ASSERT_EQ(disk_do(d, BLK_T_IN, DISK_SCRATCH + 3, d->data, 2048), BLK_S_OK);
		EXPECT_TRUE(memory_is(d->data, 0, 2048, NULL));
		disk_verify(d, DISK_SCRATCH, 3, 112);
		memset(d->data, 0, 512);
		ASSERT_EQ(disk_do(d, BLK_T_IN, DISK_SCRATCH + 7, d->data, 512), BLK_S_OK);
		EXPECT_FALSE(memory_is(d->data, 0, 512, NULL));
	}
}

TEST(zero_the_last_sector, "BLK-DEV-25", "the last sector can be zeroed, one more cannot", DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	disk_fill(d, d->capacity - 1, 1, 113);
	EXPECT_EQ(disk_range(d, BLK_T_WRITE_ZEROES, d->capacity - 1, 2, 0), BLK_S_IOERR);
	disk_verify(d, d->capacity - 1, 1, 113);
	EXPECT_EQ(disk_range(d, BLK_T_WRITE_ZEROES, d->capacity - 1, 1, 0), BLK_S_OK);
	ASSERT_EQ(disk_do(d, BLK_T_IN, d->capacity - 1, d->data, 512), BLK_S_OK);
	EXPECT_TRUE(memory_is(d->data, 0, 512, NULL));
}

TEST(ranges_that_overflow, "BLK-DEV-25",
	"ranges that overflow or leave the disk end with an error and change nothing", DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	disk_fill(d, 0, 8, 114);
	EXPECT_NE(disk_range(d, BLK_T_WRITE_ZEROES, ~0ul, 2, 0), BLK_S_OK);
	EXPECT_NE(disk_range(d, BLK_T_WRITE_ZEROES, 1ul << 55, 8, 0), BLK_S_OK);
	EXPECT_NE(disk_range(d, BLK_T_WRITE_ZEROES, d->capacity, 1, 0), BLK_S_OK);
	EXPECT_NE(disk_range(d, BLK_T_DISCARD, ~0ul, 2, 0), BLK_S_OK);
	EXPECT_NE(disk_range(d, BLK_T_DISCARD, d->capacity - 1, 0xffffffff, 0), BLK_S_OK);
	disk_verify(d, 0, 8, 114);
}

TEST(discard, "BLK-DEV-23", "a discard succeeds, and the range can be read and written afterwards",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD));

	disk_fill(d, DISK_SCRATCH, 8, 115);
	EXPECT_EQ(disk_range(d, BLK_T_DISCARD, DISK_SCRATCH, 8, 0), BLK_S_OK);
	EXPECT_EQ(disk_do(d, BLK_T_IN, DISK_SCRATCH, d->data, 4096), BLK_S_OK);
	disk_fill(d, DISK_SCRATCH, 8, 116);
	disk_verify(d, DISK_SCRATCH, 8, 116);
}

TEST(discard_with_unmap, "BLK-DEV-22 BLK-DRV-24",
	"a discard with the unmap flag ends with UNSUPP and discards nothing", DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD));

	disk_fill(d, DISK_SCRATCH, 8, 117);
	EXPECT_EQ(disk_range(d, BLK_T_DISCARD, DISK_SCRATCH, 8, BLK_RANGE_UNMAP), BLK_S_UNSUPP);
	disk_verify(d, DISK_SCRATCH, 8, 117);
}

TEST(reserved_range_flags, "BLK-DEV-21",
	"a reserved flag in a range ends with UNSUPP and changes nothing", DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD) | VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	disk_fill(d, DISK_SCRATCH, 8, 118);
	EXPECT_EQ(disk_range(d, BLK_T_DISCARD, DISK_SCRATCH, 8, 2), BLK_S_UNSUPP);
	EXPECT_EQ(disk_range(d, BLK_T_DISCARD, DISK_SCRATCH, 8, 0x80000000), BLK_S_UNSUPP);
	EXPECT_EQ(disk_range(d, BLK_T_WRITE_ZEROES, DISK_SCRATCH, 8, 4), BLK_S_UNSUPP);
	disk_verify(d, DISK_SCRATCH, 8, 118);
}

TEST(ranges_of_odd_length, "BLK-DRV-17",
	"range data of 15 and 17 bytes end with an error or break the queue, and change nothing",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD));

	for (uint32_t bytes = 15; bytes <= 17; bytes += 2) {
		disk_fill(d, DISK_SCRATCH, 8, 119);
		*(struct blk_range *)d->data = (struct blk_range){DISK_SCRATCH, 8, 0};
		disk_begin(d, BLK_T_WRITE_ZEROES, 0);
		disk_buffer(d, d->data, bytes, false);
		disk_buffer(d, d->status, 1, true);
		disk_send(d);
		if (disk_answers(d))
			EXPECT_NE(*d->status, BLK_S_OK);
		ASSERT_TRUE(virtio_reset(&d->dev));
		ASSERT_TRUE(disk_start(d, DISK_FEATURES));
		disk_verify(d, DISK_SCRATCH, 8, 119);
	}
}

TEST(discard_without_its_feature, "",
	"discard and write zeroes that were not negotiated end with an error and change nothing",
	DISK)
{
	struct disk *d = disk_open(
		DISK_FEATURES & ~VIRTIO_BIT(BLK_F_DISCARD) & ~VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	if (!disk_strict())
		SKIP("the text leaves it open what a device does then");
	disk_fill(d, DISK_SCRATCH, 8, 120);
	EXPECT_EQ(disk_range(d, BLK_T_WRITE_ZEROES, DISK_SCRATCH, 8, 0), BLK_S_UNSUPP);
	EXPECT_EQ(disk_range(d, BLK_T_DISCARD, DISK_SCRATCH, 8, 0), BLK_S_UNSUPP);
	disk_verify(d, DISK_SCRATCH, 8, 120);
}

TEST(read_only_disk_is_not_zeroed, "BLK-DEV-20b",
	"write zeroes on a read-only disk fails, and it and discard change nothing", DISK)
{
	struct disk *d = disk_read_only();
	uint8_t *before = arena_alloc(512, 64);

	ASSERT_EQ(disk_do(d, BLK_T_IN, 5, before, 512), BLK_S_OK);
	EXPECT_NE(disk_range(d, BLK_T_WRITE_ZEROES, 5, 1, 0), BLK_S_OK);
	disk_range(d, BLK_T_DISCARD, 5, 1, 0);
	ASSERT_EQ(disk_do(d, BLK_T_IN, 5, d->data, 512), BLK_S_OK);
	EXPECT_MEM(d->data, before, 512);
}

TEST(several_ranges, "BLK-DEV-25",
	"write zeroes of as many ranges as one request may have zeroes each of them and nothing "
	"else",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));
	uint32_t most = virtio_config32(&d->dev, BLK_C_ZEROES_SEGS);

	most = most > 4 ? 4 : most;
	disk_fill(d, DISK_SCRATCH, 8, 150);
	EXPECT_EQ(many_ranges(d, BLK_T_WRITE_ZEROES, most), BLK_S_OK);
	for (unsigned i = 0; i < most; i++) {
		disk_verify_zero(d, DISK_SCRATCH + 2 * i, 1);
		ASSERT_EQ(disk_do(d, BLK_T_IN, DISK_SCRATCH + 2 * i + 1, d->data, 512), BLK_S_OK);
		EXPECT_FALSE(memory_is(d->data, 0, 512, NULL));
	}
}

static void too_many_ranges(uint32_t type)
{
	const struct range_type *t = range_types;
	uint32_t most;
	struct disk *d;

	while (t->type != type)
		t++;
	d = disk_that(VIRTIO_BIT(t->feature));
	most = virtio_config32(&d->dev, t->most_ranges);
	if (most > DISK_DATA / 16 - 1)
		SKIP("up to %u ranges are allowed", most);
	disk_fill(d, DISK_SCRATCH, 8, 151);
	disk_fill(d, DISK_SCRATCH + 8, 8, 152);
	EXPECT_NE(many_ranges(d, type, most + 1), BLK_S_OK);
	if (disk_strict()) { /* the text leaves it open which of the ranges were done */
		disk_verify(d, DISK_SCRATCH, 8, 151);
		disk_verify(d, DISK_SCRATCH + 8, 8, 152);
	}
}

TEST(discard_of_too_many_ranges, "BLK-DRV-19",
	"a discard of more than max_discard_seg ranges ends with an error", DISK)
{
	too_many_ranges(BLK_T_DISCARD);
}

TEST(zeroes_in_too_many_ranges, "BLK-DRV-21",
	"write zeroes of more than max_write_zeroes_seg ranges ends with an error", DISK)
{
	too_many_ranges(BLK_T_WRITE_ZEROES);
}

TEST(erasure_of_too_many_ranges, "BLK-DRV-20",
	"a secure erase of more than max_secure_erase_seg ranges ends with an error", DISK)
{
	too_many_ranges(BLK_T_SECURE_ERASE);
}

TEST(one_bad_range_among_good, "BLK-DRV-26",
	"a range beyond the capacity among good ones fails the request, and no sector outside of "
	"the ranges changes",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));
	struct blk_range *ranges = (struct blk_range *)d->data;

	disk_fill(d, DISK_SCRATCH, 8, 153);
	ranges[0] = (struct blk_range){DISK_SCRATCH + 2, 1, 0};
	ranges[1] = (struct blk_range){d->capacity, 1, 0};
	ranges[2] = (struct blk_range){DISK_SCRATCH + 5, 1, 0};
	EXPECT_NE(disk_do(d, BLK_T_WRITE_ZEROES, 0, ranges, 48), BLK_S_OK);
	disk_verify(d, DISK_SCRATCH, 2, 153);
	if (disk_strict())
		disk_verify(d, DISK_SCRATCH, 8, 153);
}

TEST(no_ranges, "BLK-DRV-17", "a request without a range ends with an error", DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD) | VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	for (unsigned i = 0; i < 2; i++) {
		disk_begin(d, range_types[i].type, 0);
		disk_buffer(d, d->status, 1, true);
		disk_send(d);
		if (disk_answers(d))
			EXPECT_NE(*d->status, BLK_S_OK);
		disk_recovers(d);
	}
}

TEST(ranges_longer_than_allowed, "",
	"a range of more sectors than the configuration allows ends with an error and changes "
	"nothing",
	DISK)
{
	struct disk *d = disk_of_blocks();
	uint32_t zeroes = virtio_config32(&d->dev, BLK_C_ZEROES_MAX);

	if (!virtio_has(&d->dev, BLK_F_WRITE_ZEROES) || zeroes > 64)
		SKIP("no disk with a low limit");
	disk_fill(d, DISK_SCRATCH, 8, 154);
	EXPECT_NE(disk_range(d, BLK_T_WRITE_ZEROES, DISK_SCRATCH, zeroes + 8, 0), BLK_S_OK);
	disk_verify(d, DISK_SCRATCH, 8, 154);
	EXPECT_EQ(disk_range(d, BLK_T_WRITE_ZEROES, DISK_SCRATCH, zeroes, 0), BLK_S_OK);
	disk_verify_zero(d, DISK_SCRATCH, 8);
}

/* --- secure erase --- */

TEST(secure_erase, "",
	"an erased range reads as zeroes, its neighbours keep their data, and it can be written "
	"anew",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_SECURE_ERASE));

	EXPECT_GE(virtio_config32(&d->dev, BLK_C_ERASE_MAX), 4);
	EXPECT_GE(virtio_config32(&d->dev, BLK_C_ERASE_SEGS), 1);
	EXPECT_GE(virtio_config32(&d->dev, BLK_C_ERASE_ALIGN), 1);
	disk_fill(d, DISK_SCRATCH, 8, 155);
	EXPECT_EQ(disk_range(d, BLK_T_SECURE_ERASE, DISK_SCRATCH + 3, 4, 0), BLK_S_OK);
	EXPECT_EQ(d->used_length, 1);
	disk_verify_zero(d, DISK_SCRATCH + 3, 4);
	disk_verify(d, DISK_SCRATCH, 3, 155);
	ASSERT_EQ(disk_do(d, BLK_T_IN, DISK_SCRATCH + 7, d->data, 512), BLK_S_OK);
	EXPECT_FALSE(memory_is(d->data, 0, 512, NULL));
	disk_fill(d, DISK_SCRATCH, 8, 156);
	disk_verify(d, DISK_SCRATCH, 8, 156);
}

TEST(erase_flags, "BLK-DEV-21",
	"a secure erase with the unmap or a reserved flag ends with UNSUPP and changes nothing",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_SECURE_ERASE));

	disk_fill(d, DISK_SCRATCH, 8, 157);
	for (uint32_t flag = 1; flag; flag <<= 8)
		EXPECT_EQ(disk_range(d, BLK_T_SECURE_ERASE, DISK_SCRATCH, 8, flag), BLK_S_UNSUPP);
	disk_verify(d, DISK_SCRATCH, 8, 157);
}

TEST(erase_beyond_the_limits, "BLK-DRV-17",
	"a secure erase beyond the capacity, of too many sectors or of 15 bytes ends with an error "
	"and changes nothing",
	DISK)
{
	struct disk *d = disk_that(VIRTIO_BIT(BLK_F_SECURE_ERASE));

	disk_fill(d, d->capacity - 8, 8, 158);
	EXPECT_NE(disk_range(d, BLK_T_SECURE_ERASE, d->capacity - 8, 9, 0), BLK_S_OK);
	EXPECT_NE(disk_range(d, BLK_T_SECURE_ERASE, ~0ul, 2, 0), BLK_S_OK);
	EXPECT_NE(disk_range(d, BLK_T_SECURE_ERASE, d->capacity - 8, ~0u, 0), BLK_S_OK);
	*(struct blk_range *)d->data = (struct blk_range){d->capacity - 8, 8, 0};
	EXPECT_NE(disk_do(d, BLK_T_SECURE_ERASE, 0, d->data, 15), BLK_S_OK);
	disk_verify(d, d->capacity - 8, 8, 158);
}

TEST(read_only_disk_is_not_erased, "BLK-DEV-20b",
	"a secure erase of a read-only disk fails and changes nothing", DISK)
{
	struct disk *d = disk_read_only();

	ASSERT_EQ(disk_do(d, BLK_T_IN, 9, d->data + 512, 512), BLK_S_OK);
	EXPECT_NE(disk_range(d, BLK_T_SECURE_ERASE, 9, 1, 0), BLK_S_OK);
	ASSERT_EQ(disk_do(d, BLK_T_IN, 9, d->data, 512), BLK_S_OK);
	EXPECT_MEM(d->data, d->data + 512, 512);
}
