/* SPDX-License-Identifier: MIT */
/* One request at a time, for the TESTs of the block device (disk.h). */
#include "disk.h"
#include "runtime/boot.h"

#define BUFFERS_USUAL	 24
#define QUEUE_SIZE_USUAL 64

static struct disk *find(bool read_only, bool large_blocks)
{
	struct disk *d = arena_alloc(sizeof(*d), 64);

	for (unsigned i = 0; virtio_find(&d->dev, VIRTIO_TRANSPORT_ANY, VIRTIO_ID_BLOCK, i); i++) {
		if ((virtio_offered(&d->dev) >> BLK_F_RO & 1) != read_only ||
			(virtio_config32(&d->dev, BLK_C_BLK_SIZE) > 512) != large_blocks)
			continue;
		virtio_reset(&d->dev);
		virtio_interrupts(&d->dev, VIRTIO_IRQ_BEST);
		d->header = guarded_alloc(sizeof(*d->header));
		d->data = guarded_alloc(DISK_DATA);
		d->status = guarded_alloc(1);
		d->most_buffers = BUFFERS_USUAL;
		d->queue_size = QUEUE_SIZE_USUAL;
		return d;
	}
	SKIP("no %s virtio-blk disk", large_blocks ? "4096-byte"
				      : read_only  ? "read-only"
						   : "writable");
	return NULL;
}

struct disk *disk_find(bool read_only)
{
	return find(read_only, false);
}

struct disk *disk_of_blocks(void)
{
	struct disk *d = find(false, true);

	if (!disk_start(d, DISK_FEATURES | VIRTIO_BIT(BLK_F_SIZE_MAX)))
		FAIL("FEATURES_OK did not stay");
	return d;
}

bool disk_start(struct disk *d, uint64_t features)
{
	if (!virtio_negotiate(&d->dev, features))
		return false;
	if (!virtqueue_init(&d->vq, &d->dev, 0, d->queue_size, 1, d->most_buffers))
		FAIL("the disk has no usable queue");
	d->capacity = virtio_config64(&d->dev, BLK_C_CAPACITY);
	virtio_driver_ok(&d->dev);
	virtqueue_interrupts(&d->vq, true);
	return true;
}

struct disk *disk_open(uint64_t features)
{
	struct disk *d = disk_find(false);

	if (!disk_start(d, features))
		FAIL("FEATURES_OK did not stay");
	return d;
}

struct disk *disk_read_only(void)
{
	struct disk *d = disk_find(true);

	if (!disk_start(d, DISK_FEATURES))
		FAIL("FEATURES_OK did not stay");
	return d;
}

struct disk *disk_that(uint64_t must)
{
	struct disk *d = disk_find(false);

	if ((virtio_offered(&d->dev) & must) != must)
		SKIP("the disk does not offer features 0x%lx", must & ~virtio_offered(&d->dev));
	if (!disk_start(d, DISK_FEATURES | must))
		FAIL("FEATURES_OK did not stay");
	return d;
}

void disk_begin(struct disk *d, uint32_t type, uint64_t sector)
{
	d->slot = virtqueue_get(&d->vq);
	d->buffers = 0;
	*d->header = (struct blk_header){.type = type, .sector = sector};
	*d->status = 0xff;
	disk_buffer(d, d->header, sizeof(*d->header), false);
}

void disk_buffer(struct disk *d, const void *at, uint32_t bytes, bool device_writes)
{
	virtqueue_segment(&d->vq, d->slot, d->buffers++, phys(at), bytes, device_writes);
}

void disk_send(struct disk *d)
{
	virtqueue_count(&d->vq, d->slot, d->buffers);
	virtqueue_submit(&d->vq, d->slot);
	virtqueue_kick(&d->vq);
	checkpoint();
}

static bool reap(struct disk *d)
{
	int slot = virtqueue_reap(&d->vq, &d->used_length);

	if (slot < 0)
		return false;
	EXPECT_EQ(slot, d->slot);
	virtqueue_put(&d->vq, d->slot);
	return true;
}

uint8_t disk_end(struct disk *d)
{
	if (!WAIT_UNTIL(reap(d), DISK_ANSWER_US))
		FAIL("a request of type %u was not answered", d->header->type);
	return *d->status;
}

static bool needs_reset(struct disk *d)
{
	return virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET;
}

bool disk_answers(struct disk *d)
{
	/* The legacy interface has no NEEDS_RESET: silence says the same there. */
	bool used = false, silent = d->dev.legacy && !disk_strict(), seen;

	seen = WAIT_UNTIL((used = reap(d)) || needs_reset(d), silent ? 100000 : DISK_ANSWER_US);
	EXPECT_TRUE(seen || silent);
	return used;
}

uint8_t disk_do(struct disk *d, uint32_t type, uint64_t sector, void *data, uint32_t bytes)
{
	bool in = type == BLK_T_IN || type == BLK_T_GET_ID || type == BLK_T_GET_LIFETIME;

	disk_begin(d, type, sector);
	if (bytes)
		disk_buffer(d, data, bytes, in);
	disk_buffer(d, d->status, 1, true);
	disk_send(d);
	return disk_end(d);
}

uint8_t disk_range(struct disk *d, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	*(struct blk_range *)d->data = (struct blk_range){sector, sectors, flags};
	return disk_do(d, type, 0, d->data, sizeof(struct blk_range));
}

void disk_fill(struct disk *d, uint64_t sector, unsigned sectors, uint64_t seed)
{
	raw_pattern(d->data, sectors * 512, seed);
	ASSERT_EQ(disk_do(d, BLK_T_OUT, sector, d->data, sectors * 512), BLK_S_OK);
}

void disk_verify(struct disk *d, uint64_t sector, unsigned sectors, uint64_t seed)
{
	uint8_t *expected = arena_alloc_raw(sectors * 512, 64);

	raw_pattern(expected, sectors * 512, seed);
	memset(d->data, 0xee, sectors * 512);
	ASSERT_EQ(disk_do(d, BLK_T_IN, sector, d->data, sectors * 512), BLK_S_OK);
	EXPECT_MEM(d->data, expected, sectors * 512);
}

void disk_verify_zero(struct disk *d, uint64_t sector, unsigned sectors)
{
	memset(d->data, 0xee, sectors * 512);
	ASSERT_EQ(disk_do(d, BLK_T_IN, sector, d->data, sectors * 512), BLK_S_OK);
	EXPECT_TRUE(memory_is(d->data, 0, sectors * 512, NULL));
}

void disk_serves(struct disk *d)
{
	uint64_t seed = test_random();

	disk_fill(d, DISK_SCRATCH, 1, seed);
	disk_verify(d, DISK_SCRATCH, 1, seed);
}

void disk_refuses(struct disk *d, uint32_t type, uint64_t sector, uint32_t bytes)
{
	uint8_t status = disk_do(d, type, sector, d->data, bytes);

	if (!EXPECT_TRUE(status == BLK_S_IOERR || status == BLK_S_UNSUPP))
		note("type %u sector 0x%lx bytes %u: status 0x%x", type, sector, bytes, status);
}

bool disk_strict(void)
{
	return cmdline_number("strict", 0) != 0;
}

void disk_recovers(struct disk *d)
{
	ASSERT_TRUE(virtio_reset(&d->dev));
	virtio_interrupts(&d->dev, d->dev.irq);
	if (!disk_start(d, DISK_FEATURES))
		FAIL("no FEATURES_OK after the reset");
	EXPECT_EQ(virtio_status(&d->dev) & ~VIRTIO_S_FEATURES_OK,
		VIRTIO_S_RUNNING & ~VIRTIO_S_FEATURES_OK);
	disk_serves(d);
}

void disk_broken(struct disk *d)
{
	bool used = false, reset;

	WAIT_UNTIL((used = reap(d)) || needs_reset(d), disk_strict() ? DISK_ANSWER_US : 100000);
	reset = needs_reset(d);
	if (disk_strict())
		EXPECT_TRUE(reset);
	if (reset) {
		EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&d->dev) >= 1, DISK_ANSWER_US));
		EXPECT_FALSE(used);
		EXPECT_EQ(*d->status, 0xff);
	} else if (used) {
		EXPECT_NE(*d->status, BLK_S_OK);
	}
	disk_recovers(d);
}
