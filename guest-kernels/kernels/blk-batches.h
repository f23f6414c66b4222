/* SPDX-License-Identifier: MIT */
/* What the kernels virtio_ring and virtio_packed ask of the driver library, whatever the ring. */
#ifndef KERNELS_BLK_BATCHES_H
#define KERNELS_BLK_BATCHES_H

#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

/* 64 reads in batches of 16 by polling: data, statuses and lengths, and a kick a batch at most. */
static inline void blk_moves_in_batches(struct virtio_blk *disk)
{
	struct virtio_blk_done done[16];
	uint8_t *buffer = guarded_alloc(16 * 512), *expected = arena_alloc(16 * 512, 64);
	unsigned in = 0, out = 0;

	raw_pattern(expected, 16 * 512, 15);
	ASSERT_EQ(virtio_blk_write(disk, RAW_SCRATCH, expected, 16 * 512), BLK_S_OK);
	ASSERT_EQ(virtio_blk_flush(disk), BLK_S_OK);
	while (out < 64) {
		unsigned n;

		while (in < 64 && virtio_blk_submit(disk, RAW_SCRATCH + in % 16,
					  buffer + in % 16 * 512, 512, false, NULL))
			in++;
		virtio_blk_kick(disk);
		if (!WAIT_UNTIL((n = virtio_blk_reap(disk, done, 16)) > 0, RAW_ANSWER_US))
			FAIL("%u of %u requests came back", out, in);
		for (unsigned i = 0; i < n; i++) {
			EXPECT_EQ(done[i].status, BLK_S_OK);
			EXPECT_EQ(done[i].length, 513);
		}
		out += n;
	}
	EXPECT_MEM(buffer, expected, 16 * 512);
	EXPECT_LE(disk->vq.kicks, 66);
}

#endif
