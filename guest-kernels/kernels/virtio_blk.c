/* SPDX-License-Identifier: MIT */
/*
 * The block device (virtio 1.4, 5.2): configuration, requests, their limits and errors.
 */
#include "runtime/ctl.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK NEEDS("disk:virtio")

TEST(configuration_padding_is_zero, "BLK-DEV-03", "the padding bytes of the configuration are zero",
	DISK)
{
	struct raw_disk *d = raw_disk_find();

	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_UNUSED0), 0);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(virtio_config8(&d->dev, BLK_C_UNUSED1 + i), 0);
}

TEST(configuration_is_plausible, "CFG-DEV-01",
	"capacity, block size, topology and limits fit each other", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | VIRTIO_BIT(BLK_F_TOPOLOGY));
	uint32_t block = virtio_config32(&d->dev, BLK_C_BLK_SIZE);

	EXPECT_GE(d->capacity, 1024);
	if (virtio_has(&d->dev, BLK_F_BLK_SIZE)) {
		EXPECT_GE(block, 512);
		EXPECT_EQ(block & (block - 1), 0);
		EXPECT_EQ(d->capacity % (block / 512), 0);
	}
	if (virtio_has(&d->dev, BLK_F_SEG_MAX))
		EXPECT_GE(virtio_config32(&d->dev, BLK_C_SEG_MAX), 1);
	if (virtio_has(&d->dev, BLK_F_TOPOLOGY)) {
		EXPECT_LE(virtio_config8(&d->dev, BLK_C_PHYSICAL_EXP), 16);
		EXPECT_LE(virtio_config8(&d->dev, BLK_C_ALIGNMENT),
			virtio_config8(&d->dev, BLK_C_PHYSICAL_EXP)
				? (1u << virtio_config8(&d->dev, BLK_C_PHYSICAL_EXP)) - 1
				: 0);
	}
}

TEST(flush_is_offered, "BLK-DEV-01a BLK-DEV-01b", "the device offers FLUSH", DISK)
{
	struct raw_disk *d = raw_disk_find();

	if (!(virtio_offered(&d->dev) >> BLK_F_FLUSH & 1))
		DEVIATES("FLUSH is not offered");
}

TEST(zoned_is_not_offered, "BLK-DEV-04 BLK-DEV-32",
	"a plain disk offers neither ZONED nor LIFETIME", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t offered = virtio_offered(&d->dev);

	if (offered & VIRTIO_BIT(BLK_F_ZONED))
		DEVIATES("ZONED is offered");
	EXPECT_EQ(offered & VIRTIO_BIT(BLK_F_LIFETIME), 0);
	EXPECT_NE(offered, 0);
}

TEST(write_then_read, "VQ-DEV-14", "eight sectors written are the eight sectors read", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_fill(d, RAW_SCRATCH, 8, 100);
	raw_verify(d, RAW_SCRATCH, 8, 100);
	raw_fill(d, RAW_SCRATCH + 3, 1, 101);
	raw_verify(d, RAW_SCRATCH + 3, 1, 101);
	raw_verify(d, RAW_SCRATCH, 3, 100);
}

TEST(first_and_last_sector, "VQ-DEV-14", "the last sector of the capacity can be written and read",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_fill(d, d->capacity - 1, 1, 102);
	raw_verify(d, d->capacity - 1, 1, 102);
	raw_fill(d, 0, 1, 103);
	raw_verify(d, 0, 1, 103);
}

static void expect_refused(struct raw_disk *d, uint32_t type, uint64_t sector, uint32_t bytes)
{
	uint8_t status = raw_do(d, type, sector, d->data, bytes);

	if (!EXPECT_TRUE(status == BLK_S_IOERR || status == BLK_S_UNSUPP))
		note("type %u sector 0x%lx bytes %u: status 0x%x", type, sector, bytes, status);
}

TEST(beyond_the_capacity, "BLK-DRV-12",
	"reads and writes at, across and beyond the capacity end with an error and store nothing",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_fill(d, d->capacity - 1, 1, 104);
	raw_pattern(d->data, 1024, 105);
	expect_refused(d, BLK_T_OUT, d->capacity, 512);
	expect_refused(d, BLK_T_OUT, d->capacity - 1, 1024);
	expect_refused(d, BLK_T_IN, d->capacity, 512);
	expect_refused(d, BLK_T_IN, d->capacity - 1, 1024);
	raw_verify(d, d->capacity - 1, 1, 104);
}

TEST(sector_overflows, "BLK-DRV-12",
	"sectors whose byte offset overflows end with an error, not with sector 0", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	static const uint64_t sectors[] = {~0ul, 1ul << 55, (1ul << 55) + RAW_SCRATCH, 1ul << 63};

	raw_fill(d, RAW_SCRATCH, 1, 106);
	raw_pattern(d->data, 512, 107);
	for (unsigned i = 0; i < 4; i++) {
		expect_refused(d, BLK_T_IN, sectors[i], 512);
		expect_refused(d, BLK_T_OUT, sectors[i], 512);
	}
	raw_verify(d, RAW_SCRATCH, 1, 106);
}

TEST(lengths_that_are_no_sectors, "BLK-DRV-16",
	"data of 1, 511 and 513 bytes end with an error and store nothing", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	static const uint32_t bytes[] = {1, 511, 513};

	raw_fill(d, RAW_SCRATCH, 2, 108);
	memset(d->data, 0x29, 1024);
	for (unsigned i = 0; i < 3; i++) {
		expect_refused(d, BLK_T_OUT, RAW_SCRATCH, bytes[i]);
		expect_refused(d, BLK_T_IN, RAW_SCRATCH, bytes[i]);
	}
	raw_verify(d, RAW_SCRATCH, 2, 108);
}

TEST(unknown_types, "BLK-DEV-34 FEAT-DEV-03", "a request type that is not known ends with UNSUPP",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	static const uint32_t types[] = {3, 5, 9, 12, 99, 0x7ffffffe, 0xfffffffe};

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		uint8_t status = raw_do(d, types[i], 0, d->data, 512);

		if (!EXPECT_EQ(status, BLK_S_UNSUPP))
			note("type %u", types[i]);
	}
	raw_serves(d);
}

TEST(zone_requests, "BLK-DEV-34", "zone requests of a disk without zones end with UNSUPP", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	static const uint8_t types[] = {BLK_T_ZONE_OPEN, BLK_T_ZONE_CLOSE, BLK_T_ZONE_FINISH,
		BLK_T_ZONE_RESET, BLK_T_ZONE_RESET_ALL};

	for (unsigned i = 0; i < sizeof(types); i++) {
		if (!EXPECT_EQ(raw_do(d, types[i], 0, NULL, 0), BLK_S_UNSUPP))
			note("type %u", types[i]);
	}
}

TEST(lifetime_and_erase_without_their_features, "BLK-DEV-32 BLK-DEV-21",
	"GET_LIFETIME and SECURE_ERASE without their features end with UNSUPP", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	struct blk_range *range = (struct blk_range *)d->data;

	EXPECT_EQ(raw_do(d, BLK_T_GET_LIFETIME, 0, d->data, 8), BLK_S_UNSUPP);
	*range = (struct blk_range){RAW_SCRATCH, 1, 0};
	EXPECT_EQ(raw_do(d, BLK_T_SECURE_ERASE, 0, d->data, 16), BLK_S_UNSUPP);
}

TEST(used_lengths, "VQ-DEV-14",
	"the used length is what was written: data and status of a read, the status of a write and "
	"a flush",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	EXPECT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 1024), BLK_S_OK);
	EXPECT_EQ(d->used_length, 1025);
	EXPECT_EQ(raw_do(d, BLK_T_OUT, RAW_SCRATCH, d->data, 1024), BLK_S_OK);
	EXPECT_EQ(d->used_length, 1);
	EXPECT_EQ(raw_do(d, BLK_T_FLUSH, 0, NULL, 0), BLK_S_OK);
	EXPECT_EQ(d->used_length, 1);
	EXPECT_EQ(raw_do(d, BLK_T_GET_ID, 0, d->data, 20), BLK_S_OK);
	EXPECT_EQ(d->used_length, 21);
}

TEST(flush_request, "BLK-DRV-14 BLK-DEV-29",
	"a flush succeeds after writes, and what was written is read after it", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_fill(d, RAW_SCRATCH, 4, 109);
	EXPECT_EQ(raw_do(d, BLK_T_FLUSH, 0, NULL, 0), BLK_S_OK);
	raw_verify(d, RAW_SCRATCH, 4, 109);
}

TEST(get_id, "VQ-DEV-01",
	"GET_ID gives the serial, NUL-padded to 20 bytes, whole and in single bytes", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t first[20];

	memset(d->data, 0xee, 32);
	EXPECT_EQ(raw_do(d, BLK_T_GET_ID, 0, d->data, 20), BLK_S_OK);
	memcpy(first, d->data, 20);
	EXPECT_MEM(first, "assay0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	memset(d->data, 0xee, 32);
	*d->header = (struct blk_header){.type = BLK_T_GET_ID};
	*d->status = 0xff;
	raw_descriptor(&d->ring, 0, phys(d->header), 16, RING_NEXT, 1);
	for (unsigned i = 0; i < 20; i++)
		raw_descriptor(
			&d->ring, 1 + i, phys(d->data + i), 1, RING_NEXT | RING_WRITE, 2 + i);
	raw_descriptor(&d->ring, 21, phys(d->status), 1, RING_WRITE, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_MEM(d->data, first, 20);
	EXPECT_EQ(d->data[20], 0xee);
}

TEST(no_room_for_the_status, "VQ-DEV-03a",
	"a request without a writable byte breaks the queue, and its readable bytes stay", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_fill(d, RAW_SCRATCH, 1, 110);
	raw_request(d, 0, BLK_T_OUT, RAW_SCRATCH, d->data, 512);
	d->ring.descriptors[2].flags = 0;
	*d->status = 0x77;
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	raw_broken(d, false);
}

TEST(header_too_short, "VQ-DEV-01",
	"a request with less than a header ends with an error or breaks the queue", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	d->ring.descriptors[0].length = 15;
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	WAIT_UNTIL(
		d->ring.used->idx || virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET, RAW_ANSWER_US);
	if (d->ring.used->idx)
		EXPECT_TRUE(*d->status == BLK_S_IOERR || *d->status == BLK_S_UNSUPP);
	else
		EXPECT_TRUE(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET);
	raw_recovers(d);
}

TEST(status_behind_a_longer_area, "VQ-DEV-01",
	"the status is the last byte of the writable part, however long its descriptor", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t *area = guarded_alloc(9);

	memset(area, 0xff, 9);
	raw_request(d, 0, BLK_T_FLUSH, 0, NULL, 0);
	raw_descriptor(&d->ring, 1, phys(area), 9, RING_WRITE, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(area[8], BLK_S_OK);
	EXPECT_TRUE(memory_is(area, 0xff, 8, NULL));
	EXPECT_LE(raw_take(&d->ring).length, 9);
}

TEST(as_many_segments_as_allowed, "CFG-DEV-01", "a read of seg_max segments is served", DISK)
{
	struct raw_disk *d = raw_disk_open(
		RAW_DEFAULT | RAW_INDIRECT, 256); /* a chain may be as long as the queue */
	uint32_t most = virtio_config32(&d->dev, BLK_C_SEG_MAX);
	struct ring_descriptor *table;
	uint8_t *buffer;

	if (!virtio_has(&d->dev, BLK_F_SEG_MAX) || most > 254)
		SKIP("seg_max is %u", most);
	buffer = guarded_alloc(512 * most);
	table = arena_alloc(16 * (most + 2), 16);
	*d->header = (struct blk_header){.type = BLK_T_IN};
	*d->status = 0xff;
	table[0] = (struct ring_descriptor){phys(d->header), 16, RING_NEXT, 1};
	for (unsigned i = 1; i <= most; i++)
		table[i] = (struct ring_descriptor){
			phys(buffer + 512 * (i - 1)), 512, RING_NEXT | RING_WRITE, i + 1};
	table[most + 1] = (struct ring_descriptor){phys(d->status), 1, RING_WRITE, 0};
	raw_descriptor(&d->ring, 0, phys(table), 16 * (most + 2), RING_INDIRECT, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(raw_take(&d->ring).length, 512 * most + 1);
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(large_request, "VQ-DEV-14", "128 KiB in one request are written and read back", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t *buffer = guarded_alloc_aligned(0x20000, 4096),
		*expected = arena_alloc_raw(0x20000, 4096);

	raw_pattern(expected, 0x20000, 111);
	ASSERT_EQ(raw_do(d, BLK_T_OUT, RAW_SCRATCH, expected, 0x20000), BLK_S_OK);
	ASSERT_EQ(raw_do(d, BLK_T_IN, RAW_SCRATCH, buffer, 0x20000), BLK_S_OK);
	EXPECT_EQ(d->used_length, 0x20001);
	EXPECT_MEM(buffer, expected, 0x20000);
}

static uint8_t range(
	struct raw_disk *d, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	*(struct blk_range *)d->data = (struct blk_range){sector, sectors, flags};
	return raw_do(d, type, 0, d->data, sizeof(struct blk_range));
}

static struct raw_disk *disk_that(uint64_t feature)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	if (!(d->dev.features & feature))
		SKIP("the disk does not offer it");
	return d;
}

TEST(write_zeroes, "BLK-DEV-25",
	"a zeroed range reads as zeroes, with and without unmap, and its neighbours keep their "
	"data",
	DISK)
{
	struct raw_disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	for (uint32_t flags = 0; flags <= BLK_RANGE_UNMAP; flags++) {
		raw_fill(d, RAW_SCRATCH, 8, 112);
		EXPECT_EQ(range(d, BLK_T_WRITE_ZEROES, RAW_SCRATCH + 3, 4, flags), BLK_S_OK);
		memset(d->data, 0xee, 2048);
		ASSERT_EQ(raw_do(d, BLK_T_IN, RAW_SCRATCH + 3, d->data, 2048), BLK_S_OK);
		EXPECT_TRUE(memory_is(d->data, 0, 2048, NULL));
		raw_verify(d, RAW_SCRATCH, 3, 112);
		memset(d->data, 0, 512);
		ASSERT_EQ(raw_do(d, BLK_T_IN, RAW_SCRATCH + 7, d->data, 512), BLK_S_OK);
		EXPECT_FALSE(memory_is(d->data, 0, 512, NULL));
	}
}

TEST(zero_the_last_sector, "BLK-DEV-25", "the last sector can be zeroed, one more cannot", DISK)
{
	struct raw_disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	raw_fill(d, d->capacity - 1, 1, 113);
	EXPECT_EQ(range(d, BLK_T_WRITE_ZEROES, d->capacity - 1, 2, 0), BLK_S_IOERR);
	raw_verify(d, d->capacity - 1, 1, 113);
	EXPECT_EQ(range(d, BLK_T_WRITE_ZEROES, d->capacity - 1, 1, 0), BLK_S_OK);
	ASSERT_EQ(raw_do(d, BLK_T_IN, d->capacity - 1, d->data, 512), BLK_S_OK);
	EXPECT_TRUE(memory_is(d->data, 0, 512, NULL));
}

TEST(ranges_that_overflow, "BLK-DEV-25",
	"ranges that overflow or leave the disk end with an error and change nothing", DISK)
{
	struct raw_disk *d = disk_that(VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	raw_fill(d, 0, 8, 114);
	EXPECT_NE(range(d, BLK_T_WRITE_ZEROES, ~0ul, 2, 0), BLK_S_OK);
	EXPECT_NE(range(d, BLK_T_WRITE_ZEROES, 1ul << 55, 8, 0), BLK_S_OK);
	EXPECT_NE(range(d, BLK_T_WRITE_ZEROES, d->capacity, 1, 0), BLK_S_OK);
	EXPECT_NE(range(d, BLK_T_DISCARD, ~0ul, 2, 0), BLK_S_OK);
	EXPECT_NE(range(d, BLK_T_DISCARD, d->capacity - 1, 0xffffffff, 0), BLK_S_OK);
	raw_verify(d, 0, 8, 114);
}

TEST(discard, "BLK-DEV-23", "a discard succeeds, and the range can be read and written afterwards",
	DISK)
{
	struct raw_disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD));

	raw_fill(d, RAW_SCRATCH, 8, 115);
	EXPECT_EQ(range(d, BLK_T_DISCARD, RAW_SCRATCH, 8, 0), BLK_S_OK);
	EXPECT_EQ(raw_do(d, BLK_T_IN, RAW_SCRATCH, d->data, 4096), BLK_S_OK);
	raw_fill(d, RAW_SCRATCH, 8, 116);
	raw_verify(d, RAW_SCRATCH, 8, 116);
}

TEST(discard_with_unmap, "BLK-DEV-22",
	"a discard with the unmap flag ends with UNSUPP and discards nothing", DISK)
{
	struct raw_disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD));

	raw_fill(d, RAW_SCRATCH, 8, 117);
	EXPECT_EQ(range(d, BLK_T_DISCARD, RAW_SCRATCH, 8, BLK_RANGE_UNMAP), BLK_S_UNSUPP);
	raw_verify(d, RAW_SCRATCH, 8, 117);
}

TEST(reserved_range_flags, "BLK-DEV-21",
	"a reserved flag in a range ends with UNSUPP and changes nothing", DISK)
{
	struct raw_disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD) | VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	raw_fill(d, RAW_SCRATCH, 8, 118);
	EXPECT_EQ(range(d, BLK_T_DISCARD, RAW_SCRATCH, 8, 2), BLK_S_UNSUPP);
	EXPECT_EQ(range(d, BLK_T_DISCARD, RAW_SCRATCH, 8, 0x80000000), BLK_S_UNSUPP);
	EXPECT_EQ(range(d, BLK_T_WRITE_ZEROES, RAW_SCRATCH, 8, 4), BLK_S_UNSUPP);
	raw_verify(d, RAW_SCRATCH, 8, 118);
}

TEST(ranges_of_odd_length, "BLK-DRV-17",
	"range data of 15 and 17 bytes end with an error or break the queue, and change nothing",
	DISK)
{
	struct raw_disk *d = disk_that(VIRTIO_BIT(BLK_F_DISCARD));

	for (uint32_t bytes = 15; bytes <= 17; bytes += 2) {
		raw_fill(d, RAW_SCRATCH, 8, 119);
		*(struct blk_range *)d->data = (struct blk_range){RAW_SCRATCH, 8, 0};
		raw_request(d, 0, BLK_T_WRITE_ZEROES, 0, d->data, bytes);
		raw_publish(&d->ring, 0);
		raw_kick(&d->ring);
		WAIT_UNTIL(d->ring.used->idx != d->ring.used_next ||
				   virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET,
			RAW_ANSWER_US);
		if (d->ring.used->idx != d->ring.used_next)
			EXPECT_NE(*d->status, BLK_S_OK);
		else
			EXPECT_TRUE(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET);
		ASSERT_TRUE(virtio_reset(&d->dev));
		ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
		raw_verify(d, RAW_SCRATCH, 8, 119);
	}
}

TEST(discard_without_its_feature, "BLK-DRV-21",
	"discard and write zeroes that were not negotiated end with an error and change nothing",
	DISK)
{
	struct raw_disk *d = raw_disk(
		RAW_DEFAULT & ~VIRTIO_BIT(BLK_F_DISCARD) & ~VIRTIO_BIT(BLK_F_WRITE_ZEROES));

	if (!raw_strict())
		SKIP("the text leaves it open what a device does then");
	raw_fill(d, RAW_SCRATCH, 8, 120);
	EXPECT_EQ(range(d, BLK_T_WRITE_ZEROES, RAW_SCRATCH, 8, 0), BLK_S_UNSUPP);
	EXPECT_EQ(range(d, BLK_T_DISCARD, RAW_SCRATCH, 8, 0), BLK_S_UNSUPP);
	raw_verify(d, RAW_SCRATCH, 8, 120);
}

TEST(read_only_disk_stores_nothing, "BLK-DEV-20a BLK-DEV-20b",
	"writes to a read-only disk end with IOERR and change nothing", DISK)
{
	struct raw_disk *d = raw_disk_read_only(RAW_DEFAULT);
	uint8_t *before = arena_alloc(512, 64);

	EXPECT_TRUE(virtio_has(&d->dev, BLK_F_RO));
	ASSERT_EQ(raw_do(d, BLK_T_IN, 3, before, 512), BLK_S_OK);
	memset(d->data, 0x9c, 512);
	EXPECT_EQ(raw_do(d, BLK_T_OUT, 3, d->data, 512), BLK_S_IOERR);
	ASSERT_EQ(raw_do(d, BLK_T_IN, 3, d->data, 512), BLK_S_OK);
	EXPECT_MEM(d->data, before, 512);
}

TEST(read_only_disk_is_not_zeroed, "BLK-DEV-20b",
	"write zeroes on a read-only disk fails, and it and discard change nothing", DISK)
{
	struct raw_disk *d = raw_disk_read_only(RAW_DEFAULT);
	uint8_t *before = arena_alloc(512, 64);

	ASSERT_EQ(raw_do(d, BLK_T_IN, 5, before, 512), BLK_S_OK);
	EXPECT_NE(range(d, BLK_T_WRITE_ZEROES, 5, 1, 0), BLK_S_OK);
	range(d, BLK_T_DISCARD, 5, 1, 0);
	ASSERT_EQ(raw_do(d, BLK_T_IN, 5, d->data, 512), BLK_S_OK);
	EXPECT_MEM(d->data, before, 512);
}

TEST(writeback_can_be_switched, "BLK-DEV-02 BLK-DRV-22",
	"with CONFIG_WCE the writeback field reads back 0 and 1, and writes are kept either way",
	DISK)
{
	struct raw_disk *d = raw_disk_find();

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(BLK_F_CONFIG_WCE)))
		SKIP("CONFIG_WCE is not offered");
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT | VIRTIO_BIT(BLK_F_CONFIG_WCE), 0));
	for (uint8_t value = 0; value <= 1; value++) {
		mmio_write8(d->dev.config + BLK_C_WRITEBACK, value);
		EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), value);
		raw_serves(d);
	}
}

TEST(writeback_without_flush, "BLK-DEV-02",
	"with CONFIG_WCE and without FLUSH writeback starts as 0", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t set = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(BLK_F_CONFIG_WCE);

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(BLK_F_CONFIG_WCE)))
		SKIP("CONFIG_WCE is not offered");
	ASSERT_TRUE(raw_disk_start(d, set, 0));
	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), 0);
	raw_serves(d);
}

TEST(many_in_flight, "VQ-DEV-13 VQ-DEV-14",
	"32 reads in flight of sectors in any order each come back once with their own data", DISK)
{
	struct virtio_blk *disk = arena_alloc(sizeof(*disk), 64);
	uint8_t *buffers = guarded_alloc(32 * 512), *expected = arena_alloc_raw(32 * 512, 64);
	struct virtio_blk_done done[32];
	unsigned seen[32] = {0}, back = 0;

	for (unsigned i = 0; virtio_blk_open(
		     disk, &(struct virtio_blk_options){.depth = 32, .polling = true, .index = i});
		i++) {
		if (!disk->read_only)
			break;
	}
	if (disk->depth < 32 || disk->read_only)
		SKIP("no writable disk of that depth");
	raw_pattern(expected, 32 * 512, 121);
	ASSERT_EQ(virtio_blk_write(disk, RAW_SCRATCH, expected, 32 * 512), BLK_S_OK);
	for (unsigned i = 0; i < 32; i++) {
		unsigned n = i * 11 % 32;

		ASSERT_TRUE(virtio_blk_submit(
			disk, RAW_SCRATCH + n, buffers + 512 * n, 512, false, (void *)(uint64_t)n));
	}
	virtio_blk_kick(disk);
	while (back < 32) {
		unsigned n;

		if (!WAIT_UNTIL((n = virtio_blk_reap(disk, done, 32)) > 0, RAW_ANSWER_US))
			FAIL("%u of 32 came back", back);
		for (unsigned i = 0; i < n; i++) {
			EXPECT_EQ(done[i].status, BLK_S_OK);
			EXPECT_EQ(seen[(uint64_t)done[i].cookie]++, 0);
		}
		back += n;
	}
	EXPECT_MEM(buffers, expected, 32 * 512);
}

TEST(resize_is_notified, "BLK-DEV-19 PCI-DEV-17 MMIO-DEV-06",
	"when the host changes the size the generation moves, the new capacity shows, and a "
	"configuration interrupt comes",
	NEEDS("disk:virtio ctl"))
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint64_t before = d->capacity, after = before + 2048;
	uint32_t generation = d->dev.transport->generation(&d->dev);
	uint32_t interrupts = virtio_config_interrupts(&d->dev);

	if (!ctl_request("resize", "disk0 %lu", after * 512))
		SKIP("the host cannot resize: %s", ctl_reason());
	EXPECT_TRUE(WAIT_UNTIL(virtio_config64(&d->dev, BLK_C_CAPACITY) == after, RAW_ANSWER_US));
	EXPECT_NE(d->dev.transport->generation(&d->dev), generation);
	if (!WAIT_UNTIL(virtio_config_interrupts(&d->dev) > interrupts, RAW_ANSWER_US))
		DEVIATES("no configuration interrupt");
	raw_fill(d, after - 1, 1, 122);
	raw_verify(d, after - 1, 1, 122);
	ASSERT_TRUE(ctl_request("resize", "disk0 %lu", before * 512) != NULL);
	EXPECT_TRUE(WAIT_UNTIL(virtio_config64(&d->dev, BLK_C_CAPACITY) == before, RAW_ANSWER_US));
	expect_refused(d, BLK_T_IN, after - 1, 512);
}
