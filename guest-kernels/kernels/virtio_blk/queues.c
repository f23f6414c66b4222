/* SPDX-License-Identifier: MIT */
/*
 * More than one queue of the block device (virtio 1.4, 5.2.2), and many requests at once.
 */
#include "disk.h"

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
	disk_pattern(expected, 32 * 512, 121);
	ASSERT_EQ(virtio_blk_write(disk, DISK_SCRATCH, expected, 32 * 512), BLK_S_OK);
	for (unsigned i = 0; i < 32; i++) {
		unsigned n = i * 11 % 32;

		ASSERT_TRUE(virtio_blk_submit(
			disk, DISK_SCRATCH + n, buffers + 512 * n, 512, false, (void *)(uint64_t)n));
	}
	virtio_blk_kick(disk);
	while (back < 32) {
		unsigned n;

		if (!WAIT_UNTIL((n = virtio_blk_reap(disk, done, 32)) > 0, DISK_ANSWER_US))
			FAIL("%u of 32 came back", back);
		for (unsigned i = 0; i < n; i++) {
			EXPECT_EQ(done[i].status, BLK_S_OK);
			EXPECT_EQ(seen[(uint64_t)done[i].cookie]++, 0);
		}
		back += n;
	}
	EXPECT_MEM(buffers, expected, 32 * 512);
}
