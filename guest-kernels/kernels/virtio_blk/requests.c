/* SPDX-License-Identifier: MIT */
/*
 * Requests of the block device: reading, writing, identifying, and what breaks their rules
 * (virtio 1.4, 5.2.6).
 */
#include "disk.h"

TEST(write_then_read, "VQ-DEV-14", "eight sectors written are the eight sectors read", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_fill(d, DISK_SCRATCH, 8, 100);
	disk_verify(d, DISK_SCRATCH, 8, 100);
	disk_fill(d, DISK_SCRATCH + 3, 1, 101);
	disk_verify(d, DISK_SCRATCH + 3, 1, 101);
	disk_verify(d, DISK_SCRATCH, 3, 100);
}

TEST(first_and_last_sector, "VQ-DEV-14", "the last sector of the capacity can be written and read",
	DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_fill(d, d->capacity - 1, 1, 102);
	disk_verify(d, d->capacity - 1, 1, 102);
	disk_fill(d, 0, 1, 103);
	disk_verify(d, 0, 1, 103);
}

TEST(beyond_the_capacity, "BLK-DRV-12",
	"reads and writes at, across and beyond the capacity end with an error and store nothing",
	DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_fill(d, d->capacity - 1, 1, 104);
	raw_pattern(d->data, 1024, 105);
	disk_refuses(d, BLK_T_OUT, d->capacity, 512);
	disk_refuses(d, BLK_T_OUT, d->capacity - 1, 1024);
	disk_refuses(d, BLK_T_IN, d->capacity, 512);
	disk_refuses(d, BLK_T_IN, d->capacity - 1, 1024);
	disk_verify(d, d->capacity - 1, 1, 104);
}

TEST(sector_overflows, "BLK-DRV-12",
	"sectors whose byte offset overflows end with an error, not with sector 0", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	static const uint64_t sectors[] = {~0ul, 1ul << 55, (1ul << 55) + DISK_SCRATCH, 1ul << 63};

	disk_fill(d, DISK_SCRATCH, 1, 106);
	raw_pattern(d->data, 512, 107);
	for (unsigned i = 0; i < 4; i++) {
		disk_refuses(d, BLK_T_IN, sectors[i], 512);
		disk_refuses(d, BLK_T_OUT, sectors[i], 512);
	}
	disk_verify(d, DISK_SCRATCH, 1, 106);
}

TEST(lengths_that_are_no_sectors, "BLK-DRV-16",
	"data of 1, 511 and 513 bytes end with an error and store nothing", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	static const uint32_t bytes[] = {1, 511, 513};

	disk_fill(d, DISK_SCRATCH, 2, 108);
	memset(d->data, 0x29, 1024);
	for (unsigned i = 0; i < 3; i++) {
		disk_refuses(d, BLK_T_OUT, DISK_SCRATCH, bytes[i]);
		disk_refuses(d, BLK_T_IN, DISK_SCRATCH, bytes[i]);
	}
	disk_verify(d, DISK_SCRATCH, 2, 108);
}

TEST(unknown_types, "", "a request type that is not known ends with UNSUPP", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	static const uint32_t types[] = {3, 5, 9, 12, 99, 0x7ffffffe, 0xfffffffe};

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		uint8_t status = disk_do(d, types[i], 0, d->data, 512);

		if (!EXPECT_EQ(status, BLK_S_UNSUPP))
			note("type %u", types[i]);
	}
	disk_serves(d);
}

TEST(zone_requests, "BLK-DEV-34", "zone requests of a disk without zones end with UNSUPP", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	static const uint8_t types[] = {BLK_T_ZONE_OPEN, BLK_T_ZONE_CLOSE, BLK_T_ZONE_FINISH,
		BLK_T_ZONE_RESET, BLK_T_ZONE_RESET_ALL};

	for (unsigned i = 0; i < sizeof(types); i++) {
		if (!EXPECT_EQ(disk_do(d, types[i], 0, NULL, 0), BLK_S_UNSUPP))
			note("type %u", types[i]);
	}
}

TEST(lifetime_and_erase_without_their_features, "",
	"GET_LIFETIME and SECURE_ERASE without their features end with UNSUPP", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	struct blk_range *range = (struct blk_range *)d->data;

	EXPECT_EQ(disk_do(d, BLK_T_GET_LIFETIME, 0, d->data, 8), BLK_S_UNSUPP);
	*range = (struct blk_range){DISK_SCRATCH, 1, 0};
	EXPECT_EQ(disk_do(d, BLK_T_SECURE_ERASE, 0, d->data, 16), BLK_S_UNSUPP);
}

TEST(used_lengths, "VQ-DEV-14",
	"the used length is what was written: data and status of a read, the status of a write and "
	"a flush",
	DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	EXPECT_EQ(disk_do(d, BLK_T_IN, 0, d->data, 1024), BLK_S_OK);
	EXPECT_EQ(d->used_length, 1025);
	EXPECT_EQ(disk_do(d, BLK_T_OUT, DISK_SCRATCH, d->data, 1024), BLK_S_OK);
	EXPECT_EQ(d->used_length, 1);
	EXPECT_EQ(disk_do(d, BLK_T_FLUSH, 0, NULL, 0), BLK_S_OK);
	EXPECT_EQ(d->used_length, 1);
	EXPECT_EQ(disk_do(d, BLK_T_GET_ID, 0, d->data, 20), BLK_S_OK);
	EXPECT_EQ(d->used_length, 21);
}

TEST(get_id, "VQ-DEV-01",
	"GET_ID gives the serial, NUL-padded to 20 bytes, whole and in single bytes", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	uint8_t first[20];

	memset(d->data, 0xee, 32);
	EXPECT_EQ(disk_do(d, BLK_T_GET_ID, 0, d->data, 20), BLK_S_OK);
	memcpy(first, d->data, 20);
	EXPECT_MEM(first, "assay0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	memset(d->data, 0xee, 32);
	disk_begin(d, BLK_T_GET_ID, 0);
	for (unsigned i = 0; i < 20; i++)
		disk_buffer(d, d->data + i, 1, true);
	disk_buffer(d, d->status, 1, true);
	disk_send(d);
	EXPECT_EQ(disk_end(d), BLK_S_OK);
	EXPECT_MEM(d->data, first, 20);
	EXPECT_EQ(d->data[20], 0xee);
}

TEST(no_room_for_the_status, "VQ-DEV-03a",
	"a request without a writable byte breaks the queue, and its readable bytes stay", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_fill(d, DISK_SCRATCH, 1, 110);
	disk_begin(d, BLK_T_OUT, DISK_SCRATCH);
	disk_buffer(d, d->data, 512, false);
	disk_buffer(d, d->status, 1, false);
	disk_send(d);
	disk_broken(d);
}

TEST(header_too_short, "",
	"a request with less than a header ends with an error or breaks the queue", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_begin(d, BLK_T_IN, 0);
	d->buffers = 0;
	disk_buffer(d, d->header, 15, false);
	disk_buffer(d, d->data, 512, true);
	disk_buffer(d, d->status, 1, true);
	disk_send(d);
	if (disk_answers(d))
		EXPECT_TRUE(*d->status == BLK_S_IOERR || *d->status == BLK_S_UNSUPP);
	disk_recovers(d);
}

TEST(status_behind_a_longer_area, "VQ-DEV-01",
	"the status is the last byte of the writable part, however long its descriptor", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	uint8_t *area = guarded_alloc(9);

	memset(area, 0xff, 9);
	disk_begin(d, BLK_T_FLUSH, 0);
	disk_buffer(d, area, 9, true);
	disk_send(d);
	disk_end(d);
	EXPECT_EQ(area[8], BLK_S_OK);
	EXPECT_TRUE(memory_is(area, 0xff, 8, NULL));
	EXPECT_LE(d->used_length, 9);
}

TEST(as_many_segments_as_allowed, "", "a read of seg_max segments is served", DISK)
{
	struct disk *d = disk_find(false);
	uint32_t most;
	uint8_t *buffer;

	d->queue_size = 256; /* a chain may be as long as the queue */
	d->most_buffers = 256;
	ASSERT_TRUE(disk_start(d, DISK_FEATURES));
	most = virtio_config32(&d->dev, BLK_C_SEG_MAX);
	if (!virtio_has(&d->dev, BLK_F_SEG_MAX) || most > 254)
		SKIP("seg_max is %u", most);
	buffer = guarded_alloc(512 * most);
	disk_begin(d, BLK_T_IN, 0);
	for (unsigned i = 0; i < most; i++)
		disk_buffer(d, buffer + 512 * i, 512, true);
	disk_buffer(d, d->status, 1, true);
	disk_send(d);
	EXPECT_EQ(disk_end(d), BLK_S_OK);
	EXPECT_EQ(d->used_length, 512 * most + 1);
}

TEST(large_request, "VQ-DEV-14", "128 KiB in one request are written and read back", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	uint8_t *buffer = guarded_alloc_aligned(0x20000, 4096),
		*expected = arena_alloc_raw(0x20000, 4096);

	raw_pattern(expected, 0x20000, 111);
	ASSERT_EQ(disk_do(d, BLK_T_OUT, DISK_SCRATCH, expected, 0x20000), BLK_S_OK);
	ASSERT_EQ(disk_do(d, BLK_T_IN, DISK_SCRATCH, buffer, 0x20000), BLK_S_OK);
	EXPECT_EQ(d->used_length, 0x20001);
	EXPECT_MEM(buffer, expected, 0x20000);
}

TEST(read_only_disk_stores_nothing, "BLK-DEV-20a BLK-DEV-20b",
	"writes to a read-only disk end with IOERR and change nothing", DISK)
{
	struct disk *d = disk_read_only();
	uint8_t *before = arena_alloc(512, 64);

	EXPECT_TRUE(virtio_has(&d->dev, BLK_F_RO));
	ASSERT_EQ(disk_do(d, BLK_T_IN, 3, before, 512), BLK_S_OK);
	memset(d->data, 0x9c, 512);
	EXPECT_EQ(disk_do(d, BLK_T_OUT, 3, d->data, 512), BLK_S_IOERR);
	ASSERT_EQ(disk_do(d, BLK_T_IN, 3, d->data, 512), BLK_S_OK);
	EXPECT_MEM(d->data, before, 512);
}

/* --- what breaks the rules of 5.2.6.1 --- */

TEST(no_data, "", "a read and a write of no data end with a status", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_fill(d, DISK_SCRATCH, 1, 140);
	EXPECT_LE(disk_do(d, BLK_T_IN, DISK_SCRATCH, NULL, 0), BLK_S_UNSUPP);
	EXPECT_LE(d->used_length, 1);
	EXPECT_LE(disk_do(d, BLK_T_OUT, DISK_SCRATCH, NULL, 0), BLK_S_UNSUPP);
	disk_verify(d, DISK_SCRATCH, 1, 140);
}

TEST(flush_that_names_a_sector, "BLK-DRV-14",
	"a flush whose sector is not 0 ends with a status and changes nothing", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_fill(d, DISK_SCRATCH, 8, 141);
	EXPECT_LE(disk_do(d, BLK_T_FLUSH, DISK_SCRATCH, NULL, 0), BLK_S_UNSUPP);
	EXPECT_LE(disk_do(d, BLK_T_FLUSH, ~0ul, NULL, 0), BLK_S_UNSUPP);
	disk_verify(d, DISK_SCRATCH, 8, 141);
}

TEST(flush_with_data, "BLK-DRV-15",
	"a flush with data to read or to write ends with a status, and neither disk nor data "
	"change",
	DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	disk_fill(d, 0, 8, 142);
	memset(d->data, 0xa7, 512);
	EXPECT_LE(disk_do(d, BLK_T_FLUSH, 0, d->data, 512), BLK_S_UNSUPP);
	disk_begin(d, BLK_T_FLUSH, 0);
	disk_buffer(d, d->data, 512, true);
	disk_buffer(d, d->status, 1, true);
	disk_send(d);
	EXPECT_LE(disk_end(d), BLK_S_UNSUPP);
	EXPECT_TRUE(memory_is(d->data, 0xa7, 512, NULL));
	disk_verify(d, 0, 8, 142);
}

TEST(get_id_of_other_lengths, "BLK-DRV-18",
	"GET_ID into 1, 19, 21 and 512 bytes gives what fits of the string, or an error, and never "
	"more than 20 bytes",
	DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	static const uint32_t lengths[] = {1, 19, 21, 512};

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint32_t n = lengths[i];
		uint8_t status;

		memset(d->data, 0xee, 512);
		status = disk_do(d, BLK_T_GET_ID, 0, d->data, n);
		EXPECT_LE(status, BLK_S_UNSUPP);
		if (status == BLK_S_OK)
			EXPECT_MEM(d->data, "assay0", n < 6 ? n : 6);
		EXPECT_LE(d->used_length, n + 1);
		EXPECT_TRUE(memory_is(d->data + 20, 0xee, 492, NULL));
	}
}

TEST(every_status_is_written, "",
	"the status byte, whatever it held, becomes one of the three codes for every type", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);
	static const uint8_t types[] = {BLK_T_IN, BLK_T_FLUSH, BLK_T_GET_ID, BLK_T_GET_LIFETIME,
		BLK_T_DISCARD, BLK_T_WRITE_ZEROES, BLK_T_SECURE_ERASE, 2, 200};

	*(struct blk_range *)d->data = (struct blk_range){DISK_SCRATCH, 1, 0};
	for (unsigned i = 0; i < 2 * sizeof(types); i++) {
		bool in = types[i / 2] < BLK_T_DISCARD;

		disk_begin(d, types[i / 2], 0);
		if (types[i / 2] != BLK_T_FLUSH)
			disk_buffer(d, in ? d->data + 512 : d->data, in ? 512 : 16, in);
		disk_buffer(d, d->status, 1, true);
		*d->status = i % 2 ? 0xff : 0x80;
		disk_send(d);
		if (!EXPECT_LE(disk_end(d), BLK_S_UNSUPP))
			note("type %u", types[i / 2]);
	}
}

TEST(refused_reads_reveal_nothing, "", "a read that is refused writes its status and nothing else",
	DISK)
{
	struct disk *d = disk_open(DISK_FEATURES);

	if (!disk_strict())
		SKIP("the text lets a device write what it does not count");
	memset(d->data, 0xa5, DISK_DATA);
	EXPECT_EQ(disk_do(d, BLK_T_IN, d->capacity, d->data, DISK_DATA), BLK_S_IOERR);
	EXPECT_EQ(d->used_length, 0);
	EXPECT_EQ(disk_do(d, BLK_T_IN, 0, d->data, DISK_DATA - 1), BLK_S_IOERR);
	EXPECT_EQ(disk_do(d, 99, 0, NULL, 0), BLK_S_UNSUPP);
	EXPECT_TRUE(memory_is(d->data, 0xa5, DISK_DATA, NULL));
}

#define UNTOUCHED 2048 /* from here on each sector is its number */

TEST(more_segments_than_allowed, "",
	"a read of more than seg_max segments is served whole, or refused, or breaks the queue",
	DISK)
{
	struct disk *d = disk_find(false);
	uint32_t most;
	uint8_t *buffer;

	d->queue_size = 256;
	d->most_buffers = 260;
	ASSERT_TRUE(disk_start(d, DISK_FEATURES));
	most = virtio_config32(&d->dev, BLK_C_SEG_MAX);
	if (!virtio_has(&d->dev, BLK_F_SEG_MAX) || most > 254 || !d->vq.indirect)
		SKIP("seg_max is %u", most);
	buffer = guarded_alloc(512 * (most + 4));
	memset(buffer, 0xee, 512 * (most + 4));
	disk_begin(d, BLK_T_IN, UNTOUCHED);
	for (unsigned i = 0; i < most + 4; i++)
		disk_buffer(d, buffer + 512 * i, 512, true);
	disk_buffer(d, d->status, 1, true);
	disk_send(d);
	if (disk_answers(d) && *d->status == BLK_S_OK) {
		EXPECT_EQ(d->used_length, 512 * (most + 4) + 1);
		EXPECT_EQ(*(uint64_t *)(buffer + 512 * (most + 3)), UNTOUCHED + most + 3);
	}
	disk_recovers(d);
}

/* --- a disk of blocks of 4096 bytes --- */

TEST(blocks_of_4096, "",
	"on a disk of larger blocks whole blocks are served, and parts of a block are refused and "
	"store nothing",
	DISK)
{
	struct disk *d = disk_of_blocks();

	EXPECT_EQ(virtio_config32(&d->dev, BLK_C_BLK_SIZE), 4096);
	disk_fill(d, DISK_SCRATCH, 8, 143);
	disk_verify(d, DISK_SCRATCH, 8, 143);
	memset(d->data, 0x3c, DISK_DATA);
	if (disk_strict()) {
		disk_refuses(d, BLK_T_OUT, DISK_SCRATCH + 1, 4096);
		disk_refuses(d, BLK_T_OUT, DISK_SCRATCH, 512);
		disk_refuses(d, BLK_T_IN, DISK_SCRATCH + 7, 512);
	}
	disk_verify(d, DISK_SCRATCH, 8, 143);
}

TEST(buffers_longer_than_size_max, "",
	"with SIZE_MAX buffers up to it are served and a longer one is refused", DISK)
{
	struct disk *d = disk_of_blocks();
	uint32_t most = virtio_config32(&d->dev, BLK_C_SIZE_MAX);
	uint8_t *buffer;

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(BLK_F_SIZE_MAX)))
		SKIP("SIZE_MAX is not offered");
	buffer = guarded_alloc(2 * most);
	EXPECT_EQ(disk_do(d, BLK_T_IN, 0, buffer, most), BLK_S_OK);
	EXPECT_EQ(disk_do(d, BLK_T_IN, 0, buffer, 2 * most), BLK_S_IOERR);
	disk_begin(d, BLK_T_IN, 0);
	disk_buffer(d, buffer, most, true);
	disk_buffer(d, buffer + most, most, true);
	disk_buffer(d, d->status, 1, true);
	disk_send(d);
	EXPECT_EQ(disk_end(d), BLK_S_OK);
}
