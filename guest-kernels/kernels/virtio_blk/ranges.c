/* SPDX-License-Identifier: MIT */
/*
 * Ranges of sectors: discard, write zeroes, secure erase (virtio 1.4, 5.2.6).
 */
#include "disk.h"

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

TEST(discard_with_unmap, "BLK-DEV-22",
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

TEST(discard_without_its_feature, "BLK-DRV-21",
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
