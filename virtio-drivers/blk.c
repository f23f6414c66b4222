/* SPDX-License-Identifier: MIT */
/*
 * A virtio-blk driver (virtio 1.4, 5.2.6): one queue, fixed slots of header, data and status.
 */
#include "virtio-drivers/blk.h"
#include "runtime/memory.h"
#include "runtime/time.h"

#define FEATURES                                                                 \
	(VIRTIO_RING_FEATURES | VIRTIO_BIT(BLK_F_RO) | VIRTIO_BIT(BLK_F_FLUSH) | \
		VIRTIO_BIT(BLK_F_BLK_SIZE) | VIRTIO_BIT(BLK_F_SEG_MAX) |         \
		VIRTIO_BIT(BLK_F_DISCARD) | VIRTIO_BIT(BLK_F_WRITE_ZEROES))
#define ANSWER_US 10000000

enum { HEADER, DATA, STATUS, SEGMENTS };

static void prepare_slots(struct virtio_blk *disk)
{
	disk->slots = arena_alloc(disk->vq.slots * sizeof(*disk->slots), 64);
	for (unsigned i = 0; i < disk->vq.slots; i++) {
		virtqueue_segment(&disk->vq, i, HEADER, phys(&disk->slots[i].header),
			sizeof(struct blk_header), false);
		virtqueue_segment(&disk->vq, i, STATUS, phys(&disk->slots[i].status), 1, true);
	}
}

/* `disk` is queue `index` of the device at `dev`. */
static bool open_queue(struct virtio_blk *disk, struct virtio_device *dev, unsigned index,
	const struct virtio_blk_options *options)
{
	if (!virtqueue_init(&disk->vq, dev, index, options->queue_size, options->depth, SEGMENTS)) {
		note("the disk has no usable queue %u", index);
		return false;
	}
	prepare_slots(disk);
	disk->depth = disk->vq.slots;
	disk->capacity = virtio_config64(dev, BLK_C_CAPACITY);
	disk->read_only = virtio_has(dev, BLK_F_RO);
	return true;
}

bool virtio_blk_open(struct virtio_blk *disk, const struct virtio_blk_options *options)
{
	uint64_t features = FEATURES | (options->queues > 1 ? VIRTIO_BIT(BLK_F_MQ) : 0);

	memset(disk, 0, sizeof(*disk));
	if (!virtio_find(&disk->dev, options->transport, VIRTIO_ID_BLOCK, options->index))
		return false;
	virtio_interrupts(&disk->dev, options->polling ? VIRTIO_IRQ_NONE : options->irq);
	features &= ~options->without;
	if (!virtio_negotiate(&disk->dev, features)) {
		note("the disk refused features 0x%lx", virtio_offered(&disk->dev) & features);
		return false;
	}
	if (!open_queue(disk, &disk->dev, 0, options))
		return false;
	for (unsigned i = 1; i < options->queues; i++) {
		struct virtio_blk *more = &options->more[i - 1];

		memset(more, 0, sizeof(*more));
		more->dev = disk->dev;
		if (!open_queue(more, &disk->dev, i, options))
			return false;
	}
	virtio_driver_ok(&disk->dev);
	virtqueue_interrupts(&disk->vq, !options->polling);
	for (unsigned i = 1; i < options->queues; i++)
		virtqueue_interrupts(&options->more[i - 1].vq, !options->polling);
	return true;
}

static bool submit(struct virtio_blk *disk, uint32_t type, uint64_t sector, const void *data,
	uint32_t bytes, void *cookie)
{
	int slot = virtqueue_get(&disk->vq);
	struct virtio_blk_slot *s;

	if (slot < 0)
		return false;
	s = &disk->slots[slot];
	s->header.type = type;
	s->header.sector = sector;
	s->cookie = cookie;
	s->status = 0xff;
	virtqueue_segment(
		&disk->vq, slot, DATA, phys(data), bytes, type == BLK_T_IN || type == BLK_T_GET_ID);
	virtqueue_submit(&disk->vq, slot);
	return true;
}

bool virtio_blk_submit(struct virtio_blk *disk, uint64_t sector, void *data, uint32_t bytes,
	bool write, void *cookie)
{
	return submit(disk, write ? BLK_T_OUT : BLK_T_IN, sector, data, bytes, cookie);
}

unsigned virtio_blk_reap(struct virtio_blk *disk, struct virtio_blk_done *done, unsigned most)
{
	unsigned n = 0;
	int slot;

	while (n < most && (slot = virtqueue_reap(&disk->vq, &done[n].length)) >= 0) {
		done[n].cookie = disk->slots[slot].cookie;
		done[n++].status = disk->slots[slot].status;
		virtqueue_put(&disk->vq, slot);
	}
	return n;
}

static int wait(struct virtio_blk *disk)
{
	struct virtio_blk_done done;

	virtio_blk_kick(disk);
	checkpoint();
	if (!WAIT_UNTIL(virtio_blk_reap(disk, &done, 1) == 1, ANSWER_US))
		return -1;
	return done.status;
}

int virtio_blk_read(struct virtio_blk *disk, uint64_t sector, void *data, uint32_t bytes)
{
	return submit(disk, BLK_T_IN, sector, data, bytes, NULL) ? wait(disk) : -1;
}

int virtio_blk_write(struct virtio_blk *disk, uint64_t sector, const void *data, uint32_t bytes)
{
	return submit(disk, BLK_T_OUT, sector, data, bytes, NULL) ? wait(disk) : -1;
}

/* A flush carries no data (5.2.6.1): its slot has two buffers for once. */
int virtio_blk_flush(struct virtio_blk *disk)
{
	int slot = virtqueue_get(&disk->vq), status;
	struct virtio_blk_slot *s;

	if (slot < 0)
		return -1;
	s = &disk->slots[slot];
	s->header = (struct blk_header){.type = BLK_T_FLUSH};
	s->cookie = NULL;
	s->status = 0xff;
	virtqueue_segment(&disk->vq, slot, DATA, phys(&s->status), 1, true);
	virtqueue_count(&disk->vq, slot, 2);
	virtqueue_submit(&disk->vq, slot);
	status = wait(disk);
	virtqueue_count(&disk->vq, slot, SEGMENTS);
	return status;
}
