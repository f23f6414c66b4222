/* SPDX-License-Identifier: MIT */
/* What the fuzz targets over a disk share: a plain read, headers that mean something, and a disk
 * that is slow, fails, and changes its size. */
#ifndef FUZZ_BLK_REQUEST_H
#define FUZZ_BLK_REQUEST_H

#include "driver.h"

static void read_sector_1(uint8_t *out)
{
	out[8] = 1;
}

static void one_sector_came(const uint8_t *in, uint32_t used_length)
{
	REQUIRE(used_length == 513);
	REQUIRE(in[512] == 0);
}

static void any_header(uint8_t *out, uint8_t kind, uint16_t number)
{
	uint32_t type = kind & 0x1f;
	uint64_t sector = number & 0x8000 ? UINT64_MAX << (number & 63) : number & 0x3ff;

	memcpy(out, &type, 4);
	memset(out + 4, 0, 4);
	memcpy(out + 8, &sector, 8);
	/* One range behind it, for discard and its like. */
	memcpy(out + 16, &sector, 8);
	memset(out + 24, 0, 8);
	out[24] = number;
	out[28] = kind >> 5;
}

static void resize(uint64_t size)
{
	struct error err;

	if (block_size(backend) != size)
		REQUIRE(block_resize(backend, size, &err) == 0);
}

static void disk_trouble(struct input *in)
{
	static const int64_t results[] = {
		-EIO, -ENOSPC, -EAGAIN, -EINTR, -ENOTSUP, -EINVAL, 0, 1, 512, 700, 4096};
	uint8_t raw = take(in, 1);

	switch (raw & 3) {
	case 0: io_late = raw >> 2; break;
	case 1: resize(DISK_SIZE - BLOCK_SECTOR * 8 * (raw >> 2)); break;
	default:
		io_trouble.result = results[(raw >> 2) % (sizeof(results) / sizeof(results[0]))];
		io_trouble.good = raw & 1 ? take(in, 1) & 15 : 0;
		io_trouble.count = 1 + (take(in, 1) & 7);
	}
}

static void disk_is_well(void)
{
	io_late = 0;
	io_trouble.count = 0;
	resize(DISK_SIZE);
}

#define BLK_FEATURES                                                                            \
	(FEATURE(VIRTIO_F_INDIRECT_DESC) | FEATURE(VIRTIO_F_EVENT_IDX) |                        \
		FEATURE(VIRTIO_F_RING_RESET) | FEATURE(VIRTIO_F_RING_PACKED) |                  \
		FEATURE(VIRTIO_F_IN_ORDER) | FEATURE(VIRTIO_F_NOTIFICATION_DATA) | FEATURE(9) | \
		FEATURE(11) | FEATURE(13) | FEATURE(14) | FEATURE(12))
#define BLK_PLAIN                                                                             \
	.queue = 0, .out = 16, .in = 513, .prepare = read_sector_1, .judge = one_sector_came, \
	.garbage = any_header, .host = disk_trouble, .calm = disk_is_well

#endif
