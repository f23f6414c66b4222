/* SPDX-License-Identifier: MIT */
/*
 * The split ring of a driver (virtio 1.4, 2.7): a slot is one descriptor that names an indirect
 * table, or, without indirect descriptors, `segments` neighbours in the table.
 */
#include "virtio-drivers/virtqueue.h"
#include "runtime/memory.h"

static struct ring_descriptor *chain(struct virtqueue *vq, unsigned slot)
{
	return (vq->indirect ? vq->tables : vq->descriptors) + slot * vq->segments;
}

static void split_init(struct virtqueue *vq, struct virtio_queue_areas *areas)
{
	if (vq->dev->legacy) {
		uint8_t *piece = arena_alloc(
			RING_LEGACY_BYTES(vq->size, RING_LEGACY_ALIGN), RING_LEGACY_ALIGN);

		vq->descriptors = (void *)piece;
		vq->avail = (void *)(piece + RING_DESCRIPTORS_BYTES(vq->size));
		vq->used = (void *)(piece + RING_LEGACY_USED(vq->size, RING_LEGACY_ALIGN));
	} else {
		vq->descriptors = arena_alloc(RING_DESCRIPTORS_BYTES(vq->size), 16);
		vq->avail = arena_alloc(RING_AVAIL_BYTES(vq->size), 64);
		vq->used = arena_alloc(RING_USED_BYTES(vq->size), 64);
	}
	if (vq->indirect)
		vq->tables = arena_alloc(16u * vq->slots * vq->segments, 16);
	for (unsigned slot = 0; slot < vq->slots; slot++) {
		struct ring_descriptor *d = chain(vq, slot);

		for (unsigned n = 0; n < vq->segments; n++) {
			d[n].flags = n + 1 < vq->segments ? RING_NEXT : 0;
			d[n].next = (vq->indirect ? 0 : slot * vq->segments) + n + 1;
		}
		if (vq->indirect)
			vq->descriptors[slot] = (struct ring_descriptor){
				phys(d), 16u * vq->segments, RING_INDIRECT, 0};
	}
	areas->size = vq->size;
	areas->descriptors = phys(vq->descriptors);
	areas->driver = phys(vq->avail);
	areas->device = phys(vq->used);
}

static void split_segment(struct virtqueue *vq, unsigned slot, unsigned n, uint64_t address,
	uint32_t length, bool device_writes)
{
	struct ring_descriptor *d = chain(vq, slot) + n;

	d->address = address;
	d->length = length;
	d->flags = (d->flags & RING_NEXT) | (device_writes ? RING_WRITE : 0);
}

static void split_count(struct virtqueue *vq, unsigned slot, unsigned segments)
{
	struct ring_descriptor *d = chain(vq, slot);

	for (unsigned n = 0; n < segments; n++)
		d[n].flags = (d[n].flags & ~RING_NEXT) | (n + 1 < segments ? RING_NEXT : 0);
	if (vq->indirect)
		vq->descriptors[slot].length = 16u * segments;
}

static void split_submit(struct virtqueue *vq, unsigned slot)
{
	vq->avail->ring[vq->avail_next & (vq->size - 1)] =
		vq->indirect ? slot : slot * vq->segments;
	vq->avail_next++;
	compiler_barrier();
	vq->avail->idx = vq->avail_next;
}

static bool split_kick_needed(struct virtqueue *vq)
{
	uint16_t before = vq->avail_kicked;

	if (vq->avail_next == before)
		return false;
	vq->avail_kicked = vq->avail_next;
	full_barrier(); /* idx must be out before the device's wish is read (2.7.13.4.1) */
	if (vq->event_idx)
		return ring_passed(*ring_avail_event(vq->used, vq->size), vq->avail_next, before);
	return !(vq->used->flags & RING_NO_NOTIFY);
}

static int split_reap(struct virtqueue *vq, uint32_t *length)
{
	volatile struct ring_used_element *e = &vq->used->ring[vq->used_next & (vq->size - 1)];
	uint32_t id;

	if (vq->used->idx == vq->used_next) {
		/* While polling, an event index half the range away is one that is not passed. */
		if (vq->event_idx)
			*ring_used_event(vq->avail, vq->size) =
				vq->used_next + (vq->polling ? 0x7fff : 0);
		if (!vq->event_idx || vq->polling)
			return -1;
		full_barrier();
		if (vq->used->idx == vq->used_next)
			return -1;
	}
	compiler_barrier();
	id = e->id;
	*length = e->length;
	vq->used_next++;
	if (!vq->indirect) {
		if (id % vq->segments)
			FAIL("used id %u is not the head of a chain", id);
		id /= vq->segments;
	}
	if (id >= vq->slots)
		FAIL("used id %u was never published", id);
	return id;
}

static void split_interrupts(struct virtqueue *vq, bool on)
{
	vq->avail->flags = on ? 0 : RING_NO_INTERRUPT;
	if (vq->event_idx)
		*ring_used_event(vq->avail, vq->size) = vq->used_next + (on ? 0 : 0x7fff);
	full_barrier();
}

static bool split_interrupt_after(struct virtqueue *vq, unsigned n)
{
	uint16_t used;

	vq->avail->flags = 0;
	if (vq->event_idx)
		*ring_used_event(vq->avail, vq->size) = vq->used_next + n - 1;
	full_barrier();
	used = vq->used->idx - vq->used_next;
	return vq->event_idx ? used < n : used == 0;
}

static uint16_t split_next(const struct virtqueue *vq)
{
	return vq->avail_next;
}

static void split_skip(struct virtqueue *vq, unsigned slot)
{
	vq->used_next++;
}

static uint32_t split_room(struct virtqueue *vq, unsigned slot)
{
	const struct ring_descriptor *d = chain(vq, slot);
	uint32_t room = 0;

	do
		room += d->flags & RING_WRITE ? d->length : 0;
	while (d++->flags & RING_NEXT);
	return room;
}

static bool split_used_here(struct virtqueue *vq)
{
	return vq->used->idx != vq->used_next;
}

const struct virtqueue_ops virtqueue_split = {
	.init = split_init,
	.segment = split_segment,
	.count = split_count,
	.submit = split_submit,
	.kick_needed = split_kick_needed,
	.reap = split_reap,
	.interrupts = split_interrupts,
	.interrupt_after = split_interrupt_after,
	.next = split_next,
	.reap_sparse = split_reap,
	.skip = split_skip,
	.room = split_room,
	.used_here = split_used_here,
};
