/* SPDX-License-Identifier: MIT */
/*
 * The packed ring of a driver (virtio 1.4, 2.8).  A slot is a list of buffers; its number is the
 * buffer id.  With indirect descriptors the list is the table that one descriptor names, and
 * sending it is two stores; without, the list is copied into the ring, its head last.
 *
 * A descriptor's second word (length, id, flags) is written, and read, as one.
 */
#include "virtio-drivers/virtqueue.h"
#include "runtime/memory.h"

#define ID_SHIFT    32
#define FLAGS_SHIFT 48
#define WORD(flags) ((uint64_t)(flags) << FLAGS_SHIFT)
#define LAP	    WORD(RING_AVAILABLE | RING_IS_USED)

static void packed_count(struct virtqueue *vq, unsigned slot, unsigned segments)
{
	struct packed_ring *p = &vq->packed;

	p->counts[slot] = segments;
	if (!vq->indirect)
		return;
	p->heads[slot][0] = phys(p->lists + slot * vq->segments);
	p->heads[slot][1] = WORD(RING_INDIRECT) | (uint64_t)slot << ID_SHIFT | 16u * segments;
}

static void packed_init(struct virtqueue *vq, struct virtio_queue_areas *areas)
{
	struct packed_ring *p = &vq->packed;
	volatile uint32_t *events = arena_alloc(2 * PACKED_EVENT_BYTES, 8);

	p->ring = arena_alloc(RING_DESCRIPTORS_BYTES(vq->size), 64);
	p->driver_event = events;
	p->device_event = events + 1;
	p->lists = arena_alloc(16u * vq->slots * vq->segments, 16);
	p->counts = arena_alloc(vq->slots * sizeof(*p->counts), 16);
	if (vq->indirect)
		p->heads = arena_alloc(vq->slots * sizeof(*p->heads), 16);
	for (unsigned slot = 0; slot < vq->slots; slot++)
		packed_count(vq, slot, vq->segments);
	p->avail_bits = WORD(packed_available(1));
	p->used_bits = WORD(packed_used(1));
	areas->size = vq->size;
	areas->descriptors = phys((void *)p->ring);
	areas->driver = phys((void *)p->driver_event);
	areas->device = phys((void *)p->device_event);
}

static void packed_segment(struct virtqueue *vq, unsigned slot, unsigned n, uint64_t address,
	uint32_t length, bool device_writes)
{
	struct packed_descriptor *d = vq->packed.lists + slot * vq->segments + n;

	d->address = address;
	d->length = length;
	d->flags = device_writes ? RING_WRITE : 0;
}

static void step(struct virtqueue *vq)
{
	struct packed_ring *p = &vq->packed;

	if (++p->avail_next == vq->size) {
		p->avail_next = 0;
		p->avail_bits ^= LAP;
	}
}

/* The list as descriptors of the ring; the head is published when the rest stands (2.8.17). */
static void packed_submit(struct virtqueue *vq, unsigned slot)
{
	struct packed_ring *p = &vq->packed;
	const struct packed_descriptor *d = p->lists + slot * vq->segments;
	unsigned count = p->counts[slot], head = p->avail_next;
	uint64_t head_word = 0;

	for (unsigned n = 0; n < count; n++, d++) {
		uint64_t word = p->avail_bits | (uint64_t)slot << ID_SHIFT | d->length |
				WORD(d->flags | (n + 1 < count ? RING_NEXT : 0));

		p->ring[2 * p->avail_next] = d->address;
		if (n == 0)
			head_word = word;
		else
			p->ring[2 * p->avail_next + 1] = word;
		step(vq);
	}
	compiler_barrier();
	p->ring[2 * head + 1] = head_word;
	p->unkicked += count;
}

static void submit_table(struct virtqueue *vq, unsigned slot)
{
	struct packed_ring *p = &vq->packed;
	const uint64_t *head = p->heads[slot];
	uint64_t next = p->avail_next, word = p->avail_bits | head[1];
	volatile uint64_t *d = &p->ring[2 * next];

	d[0] = head[0];
	compiler_barrier();
	d[1] = word;
	p->unkicked++;
	if (++next == vq->size) {
		next = 0;
		p->avail_bits ^= LAP;
	}
	p->avail_next = next;
}

static bool packed_kick_needed(struct virtqueue *vq)
{
	struct packed_ring *p = &vq->packed;
	unsigned unkicked = p->unkicked;

	if (unkicked == 0)
		return false;
	p->unkicked = 0;
	full_barrier(); /* flags must be out before the device's wish is read (2.8.18.2) */
	return packed_wanted(*p->device_event, p->avail_next,
		(p->avail_bits & WORD(RING_AVAILABLE)) != 0, vq->size, unkicked);
}

static bool is_used(const struct packed_ring *p, uint64_t word)
{
	return (word & LAP) == p->used_bits;
}

static uint32_t event_here(const struct virtqueue *vq)
{
	return vq->event_idx ? packed_event(vq->packed.used_next, vq->packed.used_bits != 0)
			     : PACKED_EVENT_ENABLE;
}

/* Past the places of a slot. */
static void packed_skip(struct virtqueue *vq, unsigned slot)
{
	struct packed_ring *p = &vq->packed;

	p->used_next += vq->indirect ? 1 : p->counts[slot];
	if (p->used_next >= vq->size) {
		p->used_next -= vq->size;
		p->used_bits ^= LAP;
	}
}

static int packed_reap(struct virtqueue *vq, uint32_t *length)
{
	struct packed_ring *p = &vq->packed;
	uint64_t word = p->ring[2 * p->used_next + 1];
	uint32_t id;

	if (!is_used(p, word)) {
		if (!vq->event_idx || vq->polling)
			return -1;
		*p->driver_event = event_here(vq);
		full_barrier();
		word = p->ring[2 * p->used_next + 1];
		if (!is_used(p, word))
			return -1;
	}
	id = word >> ID_SHIFT & 0xffff;
	*length = word; /* whatever the WRITE flag says: some devices forget it */
	if (id >= vq->slots)
		FAIL("used id %u was never published", id);
	packed_skip(vq, id);
	return id;
}

/*
 * The same where each descriptor of the ring is a request of its own: what was never skipped over
 * tells by its second flag alone whether it is used, and the next one is the next.
 */
static int reap_table(struct virtqueue *vq, uint32_t *length)
{
	struct packed_ring *p = &vq->packed;
	uint64_t next = p->used_next;
	volatile uint64_t *d = &p->ring[2 * next];
	uint64_t word = d[1];
	uint32_t id;

	if ((int64_t)(word ^ p->used_bits) < 0) {
		if (!vq->event_idx || vq->polling)
			return -1;
		*p->driver_event = event_here(vq);
		full_barrier();
		word = d[1];
		if (!is_used(p, word))
			return -1;
	}
	id = word >> ID_SHIFT & 0xffff;
	if (id >= vq->slots)
		FAIL("used id %u was never published", id);
	if (++next == vq->size) {
		next = 0;
		p->used_bits ^= LAP;
	}
	p->used_next = next;
	*length = word;
	return id;
}

static void packed_interrupts(struct virtqueue *vq, bool on)
{
	*vq->packed.driver_event = on ? event_here(vq) : PACKED_EVENT_DISABLE;
	full_barrier();
}

static bool packed_interrupt_after(struct virtqueue *vq, unsigned n)
{
	struct packed_ring *p = &vq->packed;
	unsigned at = p->used_next;
	uint64_t bits = p->used_bits;

	if (vq->event_idx) {
		at += (n - 1) * (vq->indirect ? 1 : p->counts[0]);
		if (at >= vq->size) {
			at -= vq->size;
			bits ^= LAP;
		}
	}
	*p->driver_event = vq->event_idx ? packed_event(at, bits != 0) : PACKED_EVENT_ENABLE;
	full_barrier();
	return (p->ring[2 * at + 1] & LAP) != bits;
}

static uint16_t packed_next(const struct virtqueue *vq)
{
	const struct packed_ring *p = &vq->packed;

	return p->avail_next | (p->avail_bits & WORD(RING_AVAILABLE) ? 0x8000 : 0);
}

static uint32_t packed_room(struct virtqueue *vq, unsigned slot)
{
	const struct packed_descriptor *d = vq->packed.lists + slot * vq->segments;
	uint32_t room = 0;

	for (unsigned n = 0; n < vq->packed.counts[slot]; n++)
		room += d[n].flags & RING_WRITE ? d[n].length : 0;
	return room;
}

static bool packed_used_here(struct virtqueue *vq)
{
	return is_used(&vq->packed, vq->packed.ring[2 * vq->packed.used_next + 1]);
}

const struct virtqueue_ops virtqueue_packed = {
	.init = packed_init,
	.segment = packed_segment,
	.count = packed_count,
	.submit = packed_submit,
	.kick_needed = packed_kick_needed,
	.reap = packed_reap,
	.interrupts = packed_interrupts,
	.interrupt_after = packed_interrupt_after,
	.next = packed_next,
	.reap_sparse = packed_reap,
	.skip = packed_skip,
	.room = packed_room,
	.used_here = packed_used_here,
};

const struct virtqueue_ops virtqueue_packed_indirect = {
	.init = packed_init,
	.segment = packed_segment,
	.count = packed_count,
	.submit = submit_table,
	.kick_needed = packed_kick_needed,
	.reap = reap_table,
	.interrupts = packed_interrupts,
	.interrupt_after = packed_interrupt_after,
	.next = packed_next,
	.reap_sparse = packed_reap,
	.skip = packed_skip,
	.room = packed_room,
	.used_here = packed_used_here,
};
