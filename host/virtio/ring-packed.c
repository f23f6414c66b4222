/* SPDX-License-Identifier: MIT */
/*
 * The packed ring (virtio 1.4, 2.8): one ring of descriptors that both sides write, and an event
 * suppression structure of each side; chains, indirect tables, wrap counters, suppression by flags
 * or for one descriptor.
 *
 * A descriptor is two 64-bit words.  The second one holds length, buffer id and flags, so that one
 * load takes what the driver published and one store publishes what is used.  The ring is pinned
 * once, when the queue starts.
 *
 * Choices: buffer ids may be any 16-bit number, but only one buffer in flight may have it; every
 * descriptor of a list must be available, as the driver must make it (2.8.6); an event for a
 * descriptor that the ring does not have, or of a reserved kind, counts as "never" and "always".
 * With IN_ORDER a batch of buffers has one used descriptor, where the first one's would stand
 * (2.8.8).
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fault.h"
#include "machine/reads.h"
#include "virtio/queue.h"

#define DESCRIPTOR_SIZE 16
#define FLAG_NEXT	0x0001
#define FLAG_WRITE	0x0002
#define FLAG_INDIRECT	0x0004
#define FLAG_AVAIL	0x0080
#define FLAG_USED	0x8000
#define ID_SHIFT	32
#define FLAGS_SHIFT	48
#define TABLE_CHUNK	16 /* indirect descriptors copied at once */

enum { EVENT_ENABLE, EVENT_DISABLE, EVENT_DESCRIPTOR };

static uint16_t flags_of(uint64_t second)
{
	return second >> FLAGS_SHIFT;
}

/* The driver writes at any time, from other threads: one load each, never a second look. */
static uint64_t second_word(const struct packed_ring *ring, unsigned index)
{
	uint64_t word = guest_load64(&ring->ring[2 * index + 1]);

	/* What the flags publish is read after them. */
	atomic_thread_fence(memory_order_acquire);
	fault_value("packed-available", &word);
	return word;
}

/* 2.8.1: available is AVAIL like the wrap counter and USED unlike it. */
static bool is_available(uint64_t second, bool wrap)
{
	return (flags_of(second) & (FLAG_AVAIL | FLAG_USED)) == (wrap ? FLAG_AVAIL : FLAG_USED);
}

/* n: up to the size of the queue. */
static void advance(const struct queue *queue, struct packed_place *place, unsigned n)
{
	unsigned index = place->index + n;

	if (index >= queue->size) {
		index -= queue->size;
		place->wrap = !place->wrap;
	}
	place->index = index;
}

static void packed_stop(struct queue *queue)
{
	struct packed_ring *ring = &queue->packed;

	span_put(&ring->ring_span, 0);
	span_put(&ring->driver_span, 0);
	span_put(&ring->device_span, 0);
	memset(ring, 0, sizeof(*ring));
}

static int packed_start(struct queue *queue)
{
	struct packed_ring *ring = &queue->packed;
	uint64_t bytes = (uint64_t)DESCRIPTOR_SIZE * queue->size;

	memset(ring, 0, sizeof(*ring));
	if (!queue->size || queue->size > queue->size_max)
		return queue_break(queue, "the queue size is not in range");
	if (queue_pin(queue, &ring->ring_span, queue->descriptor_area, bytes, 16, SPAN_WRITE) < 0 ||
		queue_pin(queue, &ring->driver_span, queue->driver_area, 4, 4, SPAN_READ) < 0 ||
		queue_pin(queue, &ring->device_span, queue->device_area, 4, 4, SPAN_WRITE) < 0) {
		packed_stop(queue);
		return -EINVAL;
	}
	ring->ring = ring->ring_span.iov[0].iov_base;
	ring->driver = ring->driver_span.iov[0].iov_base;
	ring->device = ring->device_span.iov[0].iov_base;
	ring->avail.wrap = ring->used.wrap = true;
	return 0;
}

/* An indirect table has no NEXT: all of it is the list, and of the flags only WRITE counts (2.8.7).
 */
static int walk_table(
	struct queue *queue, struct queue_request *request, uint64_t address, uint32_t length)
{
	uint64_t words[2 * TABLE_CHUNK];
	uint32_t left = length / DESCRIPTOR_SIZE;

	if (!queue->indirect)
		return queue_break(queue, "an indirect descriptor without the feature");
	if (!length || length % DESCRIPTOR_SIZE)
		return queue_break(queue, "the length of an indirect table is wrong");
	if (left > queue->size_max)
		return queue_break(queue, "an indirect table is longer than the queue");
	if (address + length < address)
		return queue_break(queue, "an indirect table lies outside of memory");
	while (left) {
		uint32_t count = left < TABLE_CHUNK ? left : TABLE_CHUNK;

		if (guest_read(queue->memory, address, words, DESCRIPTOR_SIZE * count) < 0)
			return queue_break(queue, "an indirect table lies outside of memory");
		reads_table(queue->memory, address, DESCRIPTOR_SIZE * count);
		for (unsigned i = 0; i < count; i++) {
			uint64_t second = words[2 * i + 1];

			fault_value("packed-table", &second);
			if (queue_add_buffer(queue, request, words[2 * i], second & 0xffffffff,
				    flags_of(second) & FLAG_WRITE) < 0)
				return -EINVAL;
		}
		address += DESCRIPTOR_SIZE * count;
		left -= count;
	}
	return 0;
}

/* One descriptor of a list: 1 if another follows. */
static int take_one(struct queue *queue, struct queue_request *request, uint64_t address,
	uint64_t second, bool first)
{
	uint16_t flags = flags_of(second);
	uint32_t length = second & 0xffffffff;
	int rc;

	if (!(flags & FLAG_INDIRECT)) {
		rc = queue_add_buffer(queue, request, address, length, flags & FLAG_WRITE);
	} else {
		if (!first || flags & FLAG_NEXT)
			return queue_break(queue, "an indirect descriptor in a list");
		rc = walk_table(queue, request, address, length);
	}
	return rc < 0 ? rc : flags & FLAG_NEXT;
}

static int packed_take(struct queue *queue, struct queue_request *request)
{
	struct packed_ring *ring = &queue->packed;
	struct packed_place at = ring->avail;
	unsigned slots = 0, room = queue->size - queue->slots_taken;
	uint64_t second = second_word(ring, at.index);
	int more = 1;

	if (!is_available(second, at.wrap))
		return 0;
	while (more) {
		uint64_t address, index = at.index;

		if (slots == room)
			return queue_break(
				queue, slots ? "a list is longer than the queue, or loops"
					     : "more is available than the queue holds");
		fault_value("packed-element", &index);
		if (slots) {
			second = second_word(ring, index);
			if (!is_available(second, at.wrap))
				return queue_break(queue,
					"a list goes on in a descriptor that is not available");
		}
		address = guest_load64(&ring->ring[2 * index]);
		more = take_one(queue, request, address, second, slots == 0);
		if (more < 0)
			return more;
		slots++;
		advance(queue, &at, 1);
	}
	request->head = second >> ID_SHIFT & 0xffff;
	request->slots = slots;
	if (queue_is_busy(queue, request->head))
		return queue_break(queue, "a buffer in flight was made available again");
	ring->avail = at;
	return 1;
}

static void packed_untake(struct queue *queue, unsigned slots)
{
	struct packed_place *avail = &queue->packed.avail;

	if (avail->index < slots) {
		avail->index += queue->size;
		avail->wrap = !avail->wrap;
	}
	avail->index -= slots;
}

/* 2.8.6, 2.8.1: the used descriptor stands where its list would begin if all came back in order,
 * and its WRITE flag says whether the length means anything (2.8.4). */
static void packed_give(struct queue *queue, uint32_t head, uint32_t length, unsigned slots)
{
	struct packed_ring *ring = &queue->packed;
	uint64_t flags = (ring->used.wrap ? FLAG_AVAIL | FLAG_USED : 0) | (length ? FLAG_WRITE : 0);
	uint64_t word = flags << FLAGS_SHIFT | (uint64_t)(head & 0xffff) << ID_SHIFT | length;
	uint64_t offset = DESCRIPTOR_SIZE * ring->used.index + 8, skip = slots;

	fault_value("packed-used", &word);
	fault_value("packed-skip", &skip);
	__atomic_store_n(&ring->ring[2 * ring->used.index + 1], word, __ATOMIC_RELEASE);
	queue_wrote(queue, queue->descriptor_area + offset, 8);
	fault_table("packed-ring", ring->ring, DESCRIPTOR_SIZE * (size_t)queue->size);
	advance(queue, &ring->used, skip);
	/* Two laps are as good as any number: every place was passed. */
	ring->unsignalled += slots;
	if (ring->unsignalled > 2u * queue->size)
		ring->unsignalled = 2u * queue->size;
}

/* Was that place among the last `passed` ones before `now`?  Looking back at most two laps. */
static bool was_passed(
	const struct queue *queue, struct packed_place now, uint16_t event, uint32_t passed)
{
	int index = event & 0x7fff, size = queue->size;
	int back = now.index - index; /* from now to that place */

	if (index >= size)
		return false;
	if ((event >> 15 & 1) != now.wrap)
		back += size;
	else if (back <= 0)
		back += 2 * size;
	return (uint32_t)back <= passed;
}

/*
 * 2.8.10.  The full barrier: the driver writes its structure and then looks at the ring, we write
 * the ring and then look at the structure; one of the two sees the other.
 */
static bool packed_wants_interrupt(struct queue *queue)
{
	struct packed_ring *ring = &queue->packed;
	uint32_t passed = ring->unsignalled;
	uint64_t event;

	if (!passed)
		return false;
	ring->unsignalled = 0;
	atomic_thread_fence(memory_order_seq_cst);
	event = guest_load32(ring->driver);
	fault_value("packed-driver-event", &event);
	switch (event >> 16 & 3) {
	case EVENT_DISABLE: return false;
	case EVENT_DESCRIPTOR:
		return !queue->event_index || was_passed(queue, ring->used, event, passed);
	default: return true;
	}
}

static void set_event(struct queue *queue, uint64_t value)
{
	fault_value("packed-device-event", &value);
	__atomic_store_n(queue->packed.device, value, __ATOMIC_RELAXED);
	queue_wrote(queue, queue->device_area, 4);
}

/* With the event index, doorbells stay off by the descriptor that was asked for being behind. */
static void packed_kicks_off(struct queue *queue)
{
	if (!queue->event_index &&
		__atomic_load_n(queue->packed.device, __ATOMIC_RELAXED) != EVENT_DISABLE << 16)
		set_event(queue, EVENT_DISABLE << 16);
}

static bool packed_kicks_on(struct queue *queue)
{
	struct packed_place at = queue->packed.avail;

	set_event(queue, queue->event_index
				 ? EVENT_DESCRIPTOR << 16 | (at.wrap ? 0x8000 : 0) | at.index
				 : EVENT_ENABLE << 16);
	/* The driver publishes and then reads the structure: see packed_wants_interrupt(). */
	atomic_thread_fence(memory_order_seq_cst);
	return is_available(second_word(&queue->packed, at.index), at.wrap);
}

const struct ring_ops ring_packed_ops = {
	.start = packed_start,
	.stop = packed_stop,
	.take = packed_take,
	.untake = packed_untake,
	.give = packed_give,
	.wants_interrupt = packed_wants_interrupt,
	.kicks_off = packed_kicks_off,
	.kicks_on = packed_kicks_on,
};
