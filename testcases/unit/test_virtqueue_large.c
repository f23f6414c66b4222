/* SPDX-License-Identifier: MIT */
/*
 * The largest rings (32768 entries), what a queue may hold at once, what it keeps, and the batches
 * of IN_ORDER, on split and packed rings.
 */
#include <stdlib.h>

#include "virtqueue-help.h"

#define SIZE	32768u
#define LARGE	0x10000000u /* memory of its own: rings, then tables */
#define MEMORY	0x400000u
#define DESCS	LARGE
#define DRIVER	(LARGE + 16 * SIZE)
#define DEVICE	(DRIVER + 0x20000)
#define TABLES	(LARGE + 0x200000)
#define PACKED	FEATURE(VIRTIO_F_RING_PACKED)
#define ORDERED FEATURE(VIRTIO_F_IN_ORDER)
#define TABLED	FEATURE(VIRTIO_F_INDIRECT_DESC)

static unsigned put, lap; /* where the driver of a packed ring stands */

static uint8_t *host(uint64_t address)
{
	return fx.mem.blocks[fx.mem.count - 1].host + (address - LARGE);
}

static struct desc *entry(unsigned i)
{
	return (struct desc *)host(DESCS) + i;
}

static uint16_t *avail_word(unsigned i)
{
	return (uint16_t *)host(DRIVER) + i;
}

static uint16_t used_index(void)
{
	return ((uint16_t *)host(DEVICE))[1];
}

static uint32_t *used_entry(unsigned i)
{
	return (uint32_t *)host(DEVICE + 4) + 2 * i;
}

static void begin(uint16_t size, uint64_t features)
{
	struct error err;

	if (fx.mem.blocks[fx.mem.count - 1].address != LARGE)
		assert_int_equal(memory_add(&fx.mem, "large", LARGE, MEMORY, false, &err), 0);
	queue_destroy(&fx.queue);
	queue_init(&fx.queue, &fx.mem, "test", 0, SIZE, sizeof(struct queue_request));
	memset(host(LARGE), 0, MEMORY);
	start_at(DESCS, DRIVER, DEVICE, size, features, 0);
	put = 0;
	lap = 1;
}

/* One buffer: a descriptor of its own, or a table. */
static void offer(uint16_t id, uint64_t address, uint32_t length, uint16_t flags)
{
	bool packed = fx.queue.ops == &ring_packed_ops;

	if (packed) {
		*entry(put) = (struct desc){address, length, id, flags | (lap ? 0x80 : 0x8000)};
		if (++put == fx.queue.size) {
			put = 0;
			lap = !lap;
		}
	} else {
		*entry(id) = (struct desc){address, length, flags, 0};
		avail_word(2)[fx.avail_idx % fx.queue.size] = id;
		*avail_word(1) = ++fx.avail_idx;
	}
}

static struct queue_request *pop(void)
{
	struct queue_request *request = queue_pop(&fx.queue);

	assert_null(fx.queue.broken);
	assert_non_null(request);
	return request;
}

/* Three times all of them, the last popped the first to be returned: indices go round. */
static void all_in_flight(uint16_t size, uint64_t features)
{
	struct queue_request **requests = calloc(size, sizeof(struct queue_request *));

	assert_non_null(requests);
	fx.avail_idx = 0;
	begin(size, features);
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned i = 0; i < size; i++)
			offer(i, BUFFERS + i, 1, WRITE);
		for (unsigned i = 0; i < size; i++)
			requests[i] = pop();
		assert_int_equal(fx.queue.in_flight, size);
		assert_null(queue_pop(&fx.queue));
		assert_null(fx.queue.broken);
		for (unsigned i = size; i-- > 0;)
			queue_push(&fx.queue, requests[i], 1);
		assert_true(queue_wants_interrupt(&fx.queue));
		for (unsigned i = 0; i < size; i++) {
			if (features & PACKED) {
				assert_int_equal(entry(i)->flags, size - 1 - i); /* the id */
				assert_int_equal(entry(i)->next & 0x8080, turn % 2 ? 0 : 0x8080);
			} else {
				assert_int_equal(used_entry(i)[0], size - 1 - i);
			}
		}
		if (!(features & PACKED))
			assert_int_equal(used_index(), (uint16_t)((turn + 1) * size));
		/* What was in flight is not all kept. */
		assert_true(fx.queue.kept <= 32768);
	}
	free(requests);
}

static void largest_split(void **state)
{
	all_in_flight(SIZE, 0);
	all_in_flight(1, 0);
	all_in_flight(2, 0);
}

static void largest_packed(void **state)
{
	all_in_flight(SIZE, PACKED);
	all_in_flight(SIZE - 1, PACKED);
	all_in_flight(3, PACKED);
	all_in_flight(1, PACKED);
}

static void too_large(void **state)
{
	begin(SIZE, 0);
	queue_stop(&fx.queue);
	start_at(DESCS, DRIVER, DEVICE, SIZE + 1, 0, -EINVAL);
	start_at(DESCS, DRIVER, DEVICE, SIZE + 1, PACKED, -EINVAL);
	start_at(DESCS, DRIVER, DEVICE, SIZE - 1, 0, -EINVAL);
	start_at(DESCS, DRIVER, DEVICE, 0, 0, -EINVAL);
}

/* Of bytes, the last one writable. */
static void make_table(bool packed, unsigned entries)
{
	struct desc *table = (struct desc *)host(TABLES);

	for (unsigned i = 0; i < entries; i++) {
		bool last = i + 1 == entries;

		table[i] = (struct desc){BUFFERS + i, 1, last ? WRITE : NEXT, i + 1};
		if (packed)
			table[i] = (struct desc){BUFFERS + i, 1, 0, last ? WRITE : 0};
	}
}

static void longest_chains(void **state)
{
	struct queue_request *request;

	for (unsigned packed = 0; packed < 2; packed++) {
		begin(SIZE, TABLED | (packed ? PACKED : 0));
		fx.avail_idx = 0;
		make_table(packed, SIZE);
		offer(0, TABLES, 16 * SIZE, IS_INDIRECT);
		request = pop();
		assert_int_equal(request->out_bytes, SIZE - 1);
		assert_int_equal(request->in_bytes, 1);
		queue_push(&fx.queue, request, 1);
		assert_int_equal(fx.queue.pinned, 0);
		/* In the ring itself. */
		for (unsigned i = 0; i < SIZE; i++) {
			uint16_t flags = i + 1 < SIZE ? NEXT : WRITE;

			if (packed)
				offer(7, BUFFERS + i, 1, flags);
			else
				*entry(i) = (struct desc){BUFFERS + i, 1, flags, i + 1};
		}
		if (!packed) {
			avail_word(2)[fx.avail_idx % SIZE] = 0;
			*avail_word(1) = ++fx.avail_idx;
			request = pop();
			assert_int_equal(request->out_bytes, SIZE - 1);
			queue_push(&fx.queue, request, 1);
			/* One more is too long. */
			entry(SIZE - 1)->flags = NEXT;
			entry(SIZE - 1)->next = 0;
			avail_word(2)[fx.avail_idx % SIZE] = 0;
			*avail_word(1) = ++fx.avail_idx;
		} /* packed: one descriptor less than the list is free */
		if (packed) {
			queue_stop(&fx.queue);
			begin(SIZE, PACKED);
			for (unsigned i = 0; i < SIZE; i++)
				offer(7, BUFFERS + i, 1, i + 1 < SIZE ? NEXT : WRITE);
			request = pop();
			assert_int_equal(request->out_bytes, SIZE - 1);
			queue_push(&fx.queue, request, 1);
			for (unsigned i = 0; i < SIZE; i++)
				offer(7, BUFFERS + i, 1, NEXT);
		}
		assert_null(queue_pop(&fx.queue));
		assert_non_null(fx.queue.broken);
		assert_non_null(strstr(fx.queue.broken, "longer than the queue"));
	}
}

/* Legal requests that hold more than a queue may wait in the ring, and none is lost. */
static void pins_are_bounded(void **state)
{
	struct queue_request *requests[16];

	for (unsigned packed = 0; packed < 2; packed++) {
		unsigned taken = 0, more = 0;

		fx.avail_idx = 0;
		begin(SIZE, TABLED | (packed ? PACKED : 0));
		make_table(packed, SIZE);
		for (unsigned i = 0; i < 16; i++)
			offer(i, TABLES, 16 * SIZE, IS_INDIRECT);
		while (queue_has_room(&fx.queue) && taken < 16)
			requests[taken++] = pop();
		assert_int_equal(taken, QUEUE_PINNED_MAX / SIZE);
		assert_true(fx.queue.pinned < QUEUE_PINNED_MAX + SIZE);
		assert_null(queue_pop(&fx.queue));
		assert_null(fx.queue.broken);
		assert_true(queue_kicks_on(&fx.queue)); /* more is there */
		for (unsigned i = 0; i < 16; i++) {
			queue_push(&fx.queue, requests[i], 1);
			if (taken < 16) {
				requests[taken++] = pop();
				more++;
			}
		}
		assert_int_equal(taken, 16);
		assert_int_equal(more, 16 - QUEUE_PINNED_MAX / SIZE);
		assert_int_equal(fx.queue.pinned, 0);
		assert_true(fx.queue.kept <= 32768);
	}
}

/* --- IN_ORDER: a batch has one used element --- */

static void push_all(struct queue_request **requests, const uint32_t *written, unsigned count)
{
	for (unsigned i = count; i-- > 0;)
		queue_push(&fx.queue, requests[i], written[i]);
}

static void split_batches(void **state)
{
	/* The third is written in part, so it ends the first batch; the fourth is readable. */
	static const uint32_t written[] = {8, 8, 5, 0, 8, 8};
	struct queue_request *requests[6];

	fx.avail_idx = 0;
	begin(8, ORDERED);
	for (unsigned turn = 0; turn < 3; turn++) {
		unsigned first = 6 * turn;

		memset(used_entry(0), 0xee, 8 * 8);
		for (unsigned i = 0; i < 6; i++)
			offer(i, BUFFERS, 8, i == 3 ? 0 : WRITE);
		for (unsigned i = 0; i < 6; i++)
			requests[i] = pop();
		push_all(requests, written, 6);
		assert_int_equal(used_index(), first);
		assert_int_equal(fx.queue.in_flight, 6);
		assert_true(queue_wants_interrupt(&fx.queue));
		assert_int_equal(used_index(), first + 6);
		assert_int_equal(fx.queue.in_flight, 0);
		assert_int_equal(used_entry(first % 8)[0], 2);
		assert_int_equal(used_entry(first % 8)[1], 5);
		assert_int_equal(used_entry((first + 3) % 8)[0], 5);
		assert_int_equal(used_entry((first + 3) % 8)[1], 8);
		for (unsigned i = 0; i < 6; i++)
			if (i % 3)
				assert_int_equal(used_entry((first + i) % 8)[0], 0xeeeeeeee);
		assert_false(queue_wants_interrupt(&fx.queue));
	}
}

static void packed_batches(void **state)
{
	static const uint32_t written[] = {8, 8, 5, 0, 8, 8};
	struct queue_request *requests[6];
	unsigned used = 0, used_lap = 1;

	begin(7, ORDERED | PACKED);
	for (unsigned turn = 0; turn < 5; turn++) {
		for (unsigned i = 0; i < 6; i++)
			offer(100 + i, BUFFERS, 8, i == 3 ? 0 : WRITE);
		for (unsigned i = 0; i < 6; i++)
			requests[i] = pop();
		push_all(requests, written, 6);
		assert_true(queue_wants_interrupt(&fx.queue));
		assert_int_equal(fx.queue.slots_taken, 0);
		for (unsigned i = 0; i < 6; i++) {
			uint16_t flags = entry(used)->next;

			/* As used, or still as it was made available. */
			if (i % 3 == 0) {
				assert_int_equal(entry(used)->flags, i ? 105 : 102);
				assert_int_equal(entry(used)->length, i ? 8 : 5);
				assert_int_equal(flags & 0x8080, used_lap ? 0x8080 : 0);
			} else {
				assert_int_equal(entry(used)->flags, 100 + i);
				assert_int_equal(flags & 0x8080, used_lap ? 0x80 : 0x8000);
			}
			if (++used == 7) {
				used = 0;
				used_lap = !used_lap;
			}
		}
	}
}

/* Entry 1 is skipped over, and an interrupt that waits for it comes all the same. */
static void an_event_inside_of_a_batch(void **state)
{
	static const uint32_t written[] = {8, 8, 8};
	struct queue_request *requests[3];

	for (unsigned packed = 0; packed < 2; packed++) {
		fx.avail_idx = 0;
		begin(8, ORDERED | FEATURE(VIRTIO_F_EVENT_IDX) | (packed ? PACKED : 0));
		for (unsigned event = 0; event < 6; event++) {
			if (packed)
				*(uint32_t *)host(DRIVER) = 2 << 16 | 0x8000 | event;
			else
				avail_word(2)[8] = event;
			for (unsigned i = 0; i < 3; i++)
				offer(i, BUFFERS, 8, WRITE);
			for (unsigned i = 0; i < 3; i++)
				requests[i] = pop();
			push_all(requests, written, 3);
			assert_int_equal(queue_wants_interrupt(&fx.queue), event < 3);
			queue_stop(&fx.queue);
			fx.avail_idx = 0;
			begin(8, ORDERED | FEATURE(VIRTIO_F_EVENT_IDX) | (packed ? PACKED : 0));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(largest_split),
		CASE(largest_packed),
		CASE(too_large),
		CASE(longest_chains),
		CASE(pins_are_bounded),
		CASE(split_batches),
		CASE(packed_batches),
		CASE(an_event_inside_of_a_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
