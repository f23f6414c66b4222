/* SPDX-License-Identifier: MIT */
/*
 * The split ring (virtio 1.4, 2.7): descriptor table, available ring, used ring; indirect
 * descriptors; suppression of interrupts and doorbells by flags or by event index.
 *
 * The three areas are pinned once, when the queue starts, and reached by host pointers of one block
 * each: an area that spans two blocks of guest memory is refused, which no driver needs.
 * With IN_ORDER a batch of buffers has one entry, where the first one's would stand (2.7.9).
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fault.h"
#include "machine/reads.h"
#include "virtio/features.h"
#include "virtio/queue.h"

#define DESCRIPTOR_SIZE	 16
#define FLAG_NEXT	 1
#define FLAG_WRITE	 2
#define FLAG_INDIRECT	 4
#define NO_INTERRUPT	 1 /* avail flags */
#define NO_NOTIFY	 1 /* used flags */
#define RING_FLAGS	 0 /* in 16-bit words, as the next ones */
#define RING_IDX	 1
#define RING_ENTRIES	 2
#define USED_ENTRY_WORDS 4

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

/* The driver writes these at any time, from other threads: one load each, never a second look. */
static uint16_t load(const uint16_t *word)
{
	return guest_load16(word);
}

static void store(uint16_t *word, uint16_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static struct descriptor unpack(uint64_t first, uint64_t second)
{
	return (struct descriptor){
		.address = first,
		.length = second & 0xffffffff,
		.flags = second >> 32 & 0xffff,
		.next = second >> 48,
	};
}

static void mark_written(struct queue *queue, const void *where, uint64_t length)
{
	queue_wrote(queue,
		queue->device_area + ((const char *)where - (const char *)queue->split.used),
		length);
}

static void split_stop(struct queue *queue)
{
	struct split_ring *ring = &queue->split;

	span_unpin(&ring->table_span);
	span_unpin(&ring->avail_span);
	span_unpin(&ring->used_span);
	memset(ring, 0, sizeof(*ring));
}

static int split_start(struct queue *queue)
{
	struct split_ring *ring = &queue->split;
	uint64_t size = queue->size, event = queue->event_index ? 2 : 0, first = 0;

	memset(ring, 0, sizeof(*ring));
	if (!size || size > queue->size_max || size & (size - 1))
		return queue_break(queue, "the queue size is not a power of two in range");
	if (queue_pin(queue, &ring->table_span, queue->descriptor_area, DESCRIPTOR_SIZE * size, 16,
		    SPAN_READ) < 0 ||
		queue_pin(queue, &ring->avail_span, queue->driver_area, 4 + 2 * size + event, 2,
			SPAN_READ) < 0 ||
		queue_pin(queue, &ring->used_span, queue->device_area, 4 + 8 * size + event, 4,
			SPAN_WRITE) < 0) {
		split_stop(queue);
		return -EINVAL;
	}
	ring->table = ring->table_span.iov[0].iov_base;
	ring->avail = ring->avail_span.iov[0].iov_base;
	ring->used = ring->used_span.iov[0].iov_base;
	fault_value("split-first", &first);
	ring->avail_next = ring->avail_seen = ring->used_next = ring->used_signalled = first;
	return 0;
}

/* A table that an indirect descriptor names, or none: then the queue's own. */
struct table {
	uint64_t address;
	uint32_t entries; /* 0: the queue's own table */
};

static int fetch(
	struct queue *queue, const struct table *table, uint16_t at, struct descriptor *out)
{
	uint64_t words[2];

	if (!table->entries) {
		words[0] = guest_load64(&queue->split.table[2 * at]);
		words[1] = guest_load64(&queue->split.table[2 * at + 1]);
	} else {
		uint64_t address = table->address + (uint64_t)DESCRIPTOR_SIZE * at;

		if (address < table->address ||
			guest_read(queue->memory, address, words, sizeof(words)) < 0)
			return queue_break(queue, "an indirect table lies outside of memory");
		reads_table(queue->memory, address, sizeof(words));
	}
	*out = unpack(words[0], words[1]);
	return 0;
}

/* `before`: buffers of the chain that were not in a table. */
static int enter_indirect(
	struct queue *queue, struct table *table, const struct descriptor *desc, unsigned before)
{
	uint64_t flags = desc->flags | (uint64_t)before << 16;

	fault_value("split-indirect", &flags);
	if (!queue->indirect)
		return queue_break(queue, "an indirect descriptor without the feature");
	if (table->entries)
		return queue_break(queue, "an indirect descriptor inside an indirect table");
	if (flags & FLAG_NEXT)
		return queue_break(queue, "an indirect descriptor with a next one");
	if (!desc->length || desc->length % DESCRIPTOR_SIZE)
		return queue_break(queue, "the length of an indirect table is wrong");
	table->address = desc->address;
	table->entries = desc->length / DESCRIPTOR_SIZE;
	return 0;
}

/*
 * The bound on the buffers of a chain (2.7.5.3.1: no longer than the queue) also ends loops.  A
 * driver may have chosen a small queue and still go by limits of the device (seg_max) in a table of
 * its own, so there the device's size counts.
 */
static int walk(struct queue *queue, struct queue_request *request)
{
	struct table table = {0};
	struct descriptor desc;
	uint16_t at = request->head;
	unsigned buffers = 0;

	for (;;) {
		if (fetch(queue, &table, at, &desc) < 0)
			return -EINVAL;
		if (desc.flags & FLAG_INDIRECT) {
			if (enter_indirect(queue, &table, &desc, buffers) < 0)
				return -EINVAL;
			at = 0;
			continue;
		}
		if (++buffers > (table.entries ? queue->size_max : queue->size))
			return queue_break(queue, "a chain is longer than the queue, or loops");
		if (queue_add_buffer(
			    queue, request, desc.address, desc.length, desc.flags & FLAG_WRITE) < 0)
			return -EINVAL;
		if (!(desc.flags & FLAG_NEXT))
			return 1;
		at = desc.next;
		if (at >= (table.entries ? table.entries : queue->size))
			return queue_break(queue, "a next index is outside of its table");
	}
}

/* Is there an entry, and does the index make sense?  The acquire pairs with the driver's release:
 * entries and descriptors are read after the index that covers them. */
static int look(struct queue *queue)
{
	struct split_ring *ring = &queue->split;
	uint16_t pending;

	if (ring->avail_next != ring->avail_seen)
		return 1;
	ring->avail_seen = __atomic_load_n(&ring->avail[RING_IDX], __ATOMIC_ACQUIRE);
	pending = ring->avail_seen - ring->avail_next;
	if (pending + queue->in_flight > queue->size)
		return queue_break(queue, "the available index is ahead by more than the queue");
	return pending ? 1 : 0;
}

static int split_take(struct queue *queue, struct queue_request *request)
{
	struct split_ring *ring = &queue->split;
	int rc = look(queue);

	if (rc <= 0)
		return rc;
	request->head = load(&ring->avail[RING_ENTRIES + ring->avail_next % queue->size]);
	if (request->head >= queue->size)
		return queue_break(queue, "an available entry is outside of the table");
	if (queue_is_busy(queue, request->head))
		return queue_break(queue, "a buffer in flight was made available again");
	ring->avail_next++;
	request->slots = 1;
	return walk(queue, request);
}

static void split_untake(struct queue *queue, unsigned slots)
{
	queue->split.avail_next -= slots;
}

static void split_give(struct queue *queue, uint32_t head, uint32_t length, unsigned slots)
{
	struct split_ring *ring = &queue->split;
	uint16_t slot = ring->used_next % queue->size;
	uint32_t *entry = (void *)&ring->used[RING_ENTRIES + USED_ENTRY_WORDS * slot];

	__atomic_store_n(&entry[0], head, __ATOMIC_RELAXED);
	__atomic_store_n(&entry[1], length, __ATOMIC_RELAXED);
	mark_written(queue, entry, 8);
	ring->used_next += slots;
	__atomic_store_n(&ring->used[RING_IDX], ring->used_next, __ATOMIC_RELEASE);
	mark_written(queue, &ring->used[RING_IDX], 2);
	fault_table(
		"split-descriptors", (void *)ring->table, DESCRIPTOR_SIZE * (size_t)queue->size);
}

/*
 * 2.7.7.2.  The full barrier: the driver stores used_event (or flags) and then reads the used
 * index, we store the index and then read used_event; one of the two sees the other.
 */
static bool split_wants_interrupt(struct queue *queue)
{
	struct split_ring *ring = &queue->split;
	uint16_t to = ring->used_next, from = ring->used_signalled, event;

	if (to == from)
		return false;
	ring->used_signalled = to;
	atomic_thread_fence(memory_order_seq_cst);
	/* 6.3: out of buffers, a device that accepted it tells even a driver that wants no more. */
	if (queue->features & FEATURE(VIRTIO_F_NOTIFY_ON_EMPTY) && !queue->in_flight &&
		load(&ring->avail[RING_IDX]) == ring->avail_next)
		return true;
	if (!queue->event_index)
		return !(load(&ring->avail[RING_FLAGS]) & NO_INTERRUPT);
	/* Was the entry at used_event among those given since the last decision? */
	event = load(&ring->avail[RING_ENTRIES + queue->size]);
	return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

static void show_flags(struct queue *queue, uint64_t flags)
{
	struct split_ring *ring = &queue->split;

	fault_value("split-used-flags", &flags);
	if (load(&ring->used[RING_FLAGS]) == flags)
		return;
	store(&ring->used[RING_FLAGS], flags);
	mark_written(queue, &ring->used[RING_FLAGS], 2);
}

/* With the event index, doorbells stay off by avail_event being behind (2.7.10), and the flags stay
 * 0. */
static void split_kicks_off(struct queue *queue)
{
	show_flags(queue, queue->event_index ? 0 : NO_NOTIFY);
}

static bool split_kicks_on(struct queue *queue)
{
	struct split_ring *ring = &queue->split;
	uint16_t *event = &ring->used[RING_ENTRIES + USED_ENTRY_WORDS * queue->size];

	if (queue->event_index) {
		store(event, ring->avail_next);
		mark_written(queue, event, 2);
	} else {
		show_flags(queue, 0);
	}
	/* The driver stores the index and then reads the word: see split_wants_interrupt(). */
	atomic_thread_fence(memory_order_seq_cst);
	return load(&ring->avail[RING_IDX]) != ring->avail_next;
}

const struct ring_ops ring_split_ops = {
	.start = split_start,
	.stop = split_stop,
	.take = split_take,
	.untake = split_untake,
	.give = split_give,
	.wants_interrupt = split_wants_interrupt,
	.kicks_off = split_kicks_off,
	.kicks_on = split_kicks_on,
};
