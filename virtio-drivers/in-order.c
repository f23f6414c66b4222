/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues with IN_ORDER (virtio 1.4, 2.7.9 and 2.8.8), over either ring format: the device may
 * write one used element for a batch of buffers, with the id of the last.  So what was sent is
 * remembered in its order, and those that were skipped over come back as written completely.
 *
 * A batch is counted as used as soon as its element is seen; its buffers are then handed out one by
 * one.
 */
#include "virtio-drivers/virtqueue.h"
#include "runtime/memory.h"

static unsigned step(const struct virtqueue *vq, uint16_t *place)
{
	unsigned at = *place;

	*place = at + 1u == vq->slots ? 0 : at + 1u;
	return at;
}

static void in_order_init(struct virtqueue *vq, struct virtio_queue_areas *areas)
{
	vq->order.slots = arena_alloc(vq->slots * sizeof(*vq->order.slots), 16);
	vq->order.format->init(vq, areas);
}

static void in_order_segment(struct virtqueue *vq, unsigned slot, unsigned n, uint64_t address,
	uint32_t length, bool device_writes)
{
	vq->order.format->segment(vq, slot, n, address, length, device_writes);
}

static void in_order_count(struct virtqueue *vq, unsigned slot, unsigned segments)
{
	vq->order.format->count(vq, slot, segments);
}

static void in_order_submit(struct virtqueue *vq, unsigned slot)
{
	vq->order.slots[step(vq, &vq->order.put)] = slot;
	vq->order.sent++;
	vq->order.format->submit(vq, slot);
}

static bool in_order_kick_needed(struct virtqueue *vq)
{
	return vq->order.format->kick_needed(vq);
}

/* How many buffers end with `last`; the ring is passed over all but that one. */
static unsigned batch_size(struct virtqueue *vq, unsigned last)
{
	uint16_t at = vq->order.take;
	unsigned n = 1;

	for (; n <= vq->order.sent; n++) {
		unsigned slot = vq->order.slots[step(vq, &at)];

		if (slot == last)
			return n;
		vq->order.format->skip(vq, slot);
	}
	FAIL("used id %u is not in flight", last);
	return 0;
}

static int in_order_reap(struct virtqueue *vq, uint32_t *length)
{
	unsigned slot;

	if (!vq->order.batch) {
		int last = vq->order.format->reap_sparse(vq, &vq->order.length);

		if (last < 0)
			return -1;
		vq->order.batch = batch_size(vq, last);
		vq->order.sent -= vq->order.batch;
	}
	slot = vq->order.slots[step(vq, &vq->order.take)];
	*length = --vq->order.batch ? vq->order.format->room(vq, slot) : vq->order.length;
	return slot;
}

static void in_order_interrupts(struct virtqueue *vq, bool on)
{
	vq->order.format->interrupts(vq, on);
}

/* Inside of a batch nothing says that a place is used: whoever finds one looks again first. */
static bool in_order_interrupt_after(struct virtqueue *vq, unsigned n)
{
	if (n <= vq->order.batch)
		return false;
	return vq->order.format->interrupt_after(vq, n - vq->order.batch) &&
	       !vq->order.format->used_here(vq);
}

static uint16_t in_order_next(const struct virtqueue *vq)
{
	return vq->order.format->next(vq);
}

const struct virtqueue_ops virtqueue_in_order = {
	.init = in_order_init,
	.segment = in_order_segment,
	.count = in_order_count,
	.submit = in_order_submit,
	.kick_needed = in_order_kick_needed,
	.reap = in_order_reap,
	.interrupts = in_order_interrupts,
	.interrupt_after = in_order_interrupt_after,
	.next = in_order_next,
};
