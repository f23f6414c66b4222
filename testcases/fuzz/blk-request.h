/* SPDX-License-Identifier: MIT */
/* What the fuzz targets over a disk share: a plain read, and headers that mean something. */
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

#define BLK_FEATURES                                                                            \
	(FEATURE(VIRTIO_F_INDIRECT_DESC) | FEATURE(VIRTIO_F_EVENT_IDX) |                        \
		FEATURE(VIRTIO_F_RING_RESET) | FEATURE(VIRTIO_F_RING_PACKED) |                  \
		FEATURE(VIRTIO_F_IN_ORDER) | FEATURE(VIRTIO_F_NOTIFICATION_DATA) | FEATURE(9) | \
		FEATURE(11) | FEATURE(13) | FEATURE(14) | FEATURE(12))
#define BLK_PLAIN                                                                             \
	.queue = 0, .out = 16, .in = 513, .prepare = read_sector_1, .judge = one_sector_came, \
	.garbage = any_header

#endif
