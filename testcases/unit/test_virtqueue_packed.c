/* SPDX-License-Identifier: MIT */
/* The packed ring from the device's side: as drivers should write it, and as they should not. */
#include "virtqueue-help.h"

#define AVAILABLE 0x0080
#define IS_USED	  0x8000
#define PACKED	  FEATURE(VIRTIO_F_RING_PACKED)
#define INDIRECTS FEATURE(VIRTIO_F_INDIRECT_DESC)
#define EVENTS	  FEATURE(VIRTIO_F_EVENT_IDX)
#define ORDERED	  FEATURE(VIRTIO_F_IN_ORDER)

struct packed_desc {
	uint64_t address;
	uint32_t length;
	uint16_t id, flags;
};

/* Where the driver stands. */
static unsigned at, wrap;

static struct packed_desc *ring(void)
{
	return (struct packed_desc *)(fx.ram + TABLE);
}

static uint32_t *driver_event(void)
{
	return (uint32_t *)(fx.ram + AVAIL);
}

static uint32_t *device_event(void)
{
	return (uint32_t *)(fx.ram + USED);
}

static void begin(uint16_t size, uint64_t features)
{
	queue_stop(&fx.queue);
	memset(fx.ram + TABLE, 0, 0x6000);
	start(size, features | PACKED);
	at = 0;
	wrap = 1;
}

static void put(uint64_t address, uint32_t length, uint16_t id, uint16_t flags)
{
	ring()[at] =
		(struct packed_desc){address, length, id, flags | (wrap ? AVAILABLE : IS_USED)};
	if (++at == fx.queue.size) {
		at = 0;
		wrap = !wrap;
	}
}

static void put_list(uint16_t id)
{
	put(BUFFERS, 16, 0, NEXT);
	put(BUFFERS + 0x1000, 512, 0, NEXT | WRITE);
	put(BUFFERS + 0x2000, 1, id, WRITE);
}

static bool is_used(unsigned index, unsigned lap)
{
	return (ring()[index].flags & (AVAILABLE | IS_USED)) == (lap ? AVAILABLE | IS_USED : 0);
}

static struct queue_request *pop(void)
{
	struct queue_request *request = queue_pop(&fx.queue);

	assert_null(fx.queue.broken);
	assert_non_null(request);
	return request;
}

static void a_list_becomes_a_request(void **state)
{
	struct queue_request *request;

	begin(8, 0);
	assert_null(queue_pop(&fx.queue));
	put_list(0xabcd);
	request = pop();
	assert_int_equal(request->out_bytes, 16);
	assert_int_equal(request->in_bytes, 513);
	assert_null(queue_pop(&fx.queue));
	assert_false(is_used(0, 1));
	queue_push(&fx.queue, request, 513);
	assert_true(is_used(0, 1));
	assert_int_equal(ring()[0].id, 0xabcd);
	assert_int_equal(ring()[0].length, 513);
	assert_int_equal(ring()[0].flags & WRITE, WRITE);
	assert_false(is_used(1, 1));
}

static void nothing_written_has_no_write_flag(void **state)
{
	begin(8, 0);
	put(BUFFERS, 16, 1, 0);
	queue_push(&fx.queue, pop(), 0);
	assert_true(is_used(0, 1));
	assert_int_equal(ring()[0].flags & WRITE, 0);
}

static void laps_of_odd_sizes(void **state)
{
	static const uint16_t sizes[] = {3, 4, 5, 7, 100, 255, 256};

	for (unsigned s = 0; s < 7; s++) {
		unsigned used = 0, lap = 1;

		begin(sizes[s], 0);
		for (unsigned i = 0; i < 3000; i++) {
			put_list(i);
			queue_push(&fx.queue, pop(), i % 500);
			assert_true(is_used(used, lap));
			assert_int_equal(ring()[used].id, i);
			assert_int_equal(ring()[used].length, i % 500);
			used += 3;
			if (used >= sizes[s]) {
				used -= sizes[s];
				lap = !lap;
			}
		}
	}
}

static void one_entry(void **state)
{
	begin(1, 0);
	for (unsigned i = 0; i < 9; i++) {
		put(BUFFERS, 8, 7, WRITE);
		queue_push(&fx.queue, pop(), 8);
		assert_true(is_used(0, i % 2 == 0));
	}
}

static void used_in_order_of_completion(void **state)
{
	struct queue_request *requests[4];

	begin(12, 0);
	for (unsigned i = 0; i < 4; i++)
		put_list(100 + i);
	for (unsigned i = 0; i < 4; i++)
		requests[i] = pop();
	for (unsigned i = 0; i < 4; i++)
		queue_push(&fx.queue, requests[3 - i], i);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(is_used(3 * i, 1));
		assert_int_equal(ring()[3 * i].id, 103 - i);
	}
	assert_int_equal(fx.queue.slots_taken, 0);
}

static void in_order_holds_back(void **state)
{
	uint64_t features[] = {PACKED, 0};
	struct queue_request *requests[3];

	begin(9, ORDERED);
	for (unsigned i = 0; i < 3; i++)
		put_list(i);
	for (unsigned i = 0; i < 3; i++)
		requests[i] = pop();
	queue_push(&fx.queue, requests[2], 3);
	queue_push(&fx.queue, requests[1], 2);
	assert_false(is_used(0, 1));
	assert_false(queue_wants_interrupt(&fx.queue));
	queue_push(&fx.queue, requests[0], 1);
	assert_false(is_used(0, 1)); /* until the batch ends */
	assert_true(queue_wants_interrupt(&fx.queue));
	/* None was written completely, so each ends a batch. */
	for (unsigned i = 0; i < 3; i++) {
		assert_true(is_used(3 * i, 1));
		assert_int_equal(ring()[3 * i].id, i);
		assert_int_equal(ring()[3 * i].length, i + 1);
	}
	/* One that waits for another when the queue stops is not lost. */
	for (unsigned n = 0; n < 2; n++) {
		queue_stop(&fx.queue);
		memset(fx.ram + TABLE, 0, 0x6000);
		start(8, features[n] | ORDERED);
		at = 0;
		wrap = 1;
		fx.avail_idx = 0;
		if (features[n]) {
			put_list(0);
			put_list(1);
		} else {
			set(0, BUFFERS, 8, WRITE, 0);
			set(1, BUFFERS, 8, WRITE, 0);
			publish(0);
			publish(1);
		}
		requests[0] = pop();
		requests[1] = pop();
		queue_push(&fx.queue, requests[1], 1);
		queue_stop(&fx.queue);
		queue_push(&fx.queue, requests[0], 1);
	}
}

static void what_is_not_available_waits(void **state)
{
	static const uint16_t flags[] = {0, AVAILABLE | IS_USED, IS_USED};

	begin(8, 0);
	for (unsigned i = 0; i < 3; i++) {
		ring()[0] = (struct packed_desc){BUFFERS, 8, 0, flags[i] | WRITE};
		assert_null(queue_pop(&fx.queue));
		assert_null(fx.queue.broken);
		assert_false(queue_kicks_on(&fx.queue));
	}
	ring()[0].flags = AVAILABLE | WRITE;
	assert_true(queue_kicks_on(&fx.queue));
	queue_push(&fx.queue, pop(), 8);
}

static void untaken_comes_again(void **state)
{
	begin(5, 0);
	for (unsigned i = 0; i < 7; i++) {
		put_list(i);
		queue_untake(&fx.queue, pop());
		assert_int_equal(fx.queue.slots_taken, 0);
		queue_push(&fx.queue, pop(), 1);
	}
}

static void indirect_tables(void **state)
{
	struct packed_desc *table = (struct packed_desc *)(fx.ram + INDIRECT);
	struct queue_request *request;

	begin(4, INDIRECTS);
	for (unsigned i = 0; i < 100; i++) /* every flag but WRITE is noise */
		table[i] = (struct packed_desc){
			BUFFERS + 16 * i, 16, 0xffff, i < 40 ? 0xfffd : 0xffff};
	put(INDIRECT, 1600, 3, IS_INDIRECT | WRITE);
	request = pop();
	assert_int_equal(request->out_bytes, 640);
	assert_int_equal(request->in_bytes, 960);
	assert_int_equal(request->in_count, 60);
	queue_push(&fx.queue, request, 960);
	assert_int_equal(ring()[0].id, 3);
}

static void is_broken(const char *word)
{
	assert_null(queue_pop(&fx.queue));
	assert_non_null(fx.queue.broken);
	assert_non_null(strstr(fx.queue.broken, word));
	assert_null(queue_pop(&fx.queue));
	assert_false(queue_kicks_on(&fx.queue));
}

static void lists_that_break(void **state)
{
	struct queue_request *request;

	begin(4, 0);
	for (unsigned i = 0; i < 4; i++)
		put(BUFFERS, 8, 0, NEXT);
	is_broken("longer than the queue");

	begin(8, 0);
	put(BUFFERS, 8, 0, NEXT);
	is_broken("not available");

	begin(8, 0);
	put(BUFFERS, 8, 0, NEXT | WRITE);
	put(BUFFERS, 8, 0, 0);
	is_broken("readable");

	begin(8, 0);
	put(RAM_SIZE - 4, 8, 0, WRITE);
	is_broken("outside of memory");

	begin(8, 0);
	put_list(5);
	request = pop();
	put_list(5);
	is_broken("in flight");
	queue_push(&fx.queue, request, 1);

	/* The ring is full of what was taken, and more is said to be available. */
	begin(3, 0);
	put_list(1);
	request = pop();
	put_list(2);
	is_broken("more is available");
	queue_push(&fx.queue, request, 1);
	assert_false(is_used(0, 1));
}

static void tables_that_break(void **state)
{
	begin(8, 0);
	put(INDIRECT, 16, 0, IS_INDIRECT);
	is_broken("without the feature");

	begin(8, INDIRECTS);
	put(INDIRECT, 16, 0, IS_INDIRECT | NEXT);
	is_broken("in a list");

	begin(8, INDIRECTS);
	put(BUFFERS, 16, 0, NEXT);
	put(INDIRECT, 16, 0, IS_INDIRECT);
	is_broken("in a list");

	begin(8, INDIRECTS);
	put(INDIRECT, 0, 0, IS_INDIRECT);
	is_broken("length");

	begin(8, INDIRECTS);
	put(INDIRECT, 17, 0, IS_INDIRECT);
	is_broken("length");

	begin(8, INDIRECTS);
	put(INDIRECT, 0xfffffff0, 0, IS_INDIRECT);
	is_broken("longer");

	begin(8, INDIRECTS);
	put(UINT64_MAX - 15, 32, 0, IS_INDIRECT);
	is_broken("outside of memory");

	begin(8, INDIRECTS);
	put(0xfee00000, 32, 0, IS_INDIRECT);
	is_broken("outside of memory");
}

static void rings_in_bad_places(void **state)
{
	start_at(TABLE + 8, AVAIL, USED, 8, PACKED, -EINVAL);
	start_at(TABLE, AVAIL + 2, USED, 8, PACKED, -EINVAL);
	start_at(TABLE, AVAIL, USED + 2, 8, PACKED, -EINVAL);
	start_at(RAM_SIZE, AVAIL, USED, 8, PACKED, -EINVAL); /* ROM */
	start_at(TABLE, AVAIL, RAM_SIZE, 8, PACKED, -EINVAL);
	start_at(TABLE, AVAIL, USED, 0, PACKED, -EINVAL);
	start_at(TABLE, AVAIL, USED, 257, PACKED, -EINVAL);
	start_at(TABLE, RAM_SIZE, USED, 3, PACKED, 0); /* the driver's may be read only */
}

static void give(unsigned n)
{
	while (n--) {
		put(BUFFERS, 8, 1, WRITE);
		queue_push(&fx.queue, pop(), 8);
	}
}

static void interrupts_by_flags(void **state)
{
	begin(5, 0);
	assert_false(queue_wants_interrupt(&fx.queue));
	give(1);
	assert_true(queue_wants_interrupt(&fx.queue));
	assert_false(queue_wants_interrupt(&fx.queue));
	*driver_event() = 0x10000;
	give(3);
	assert_false(queue_wants_interrupt(&fx.queue));
	*driver_event() = 0x20000; /* without the event index as good as enabled */
	give(1);
	assert_true(queue_wants_interrupt(&fx.queue));
}

/* Against a slow model: places are numbers that never come round. */
static void interrupts_by_descriptor(void **state)
{
	uint64_t given = 0;
	unsigned seed = 12345;

	begin(5, EVENTS);
	for (unsigned i = 0; i < 4000; i++) {
		unsigned batch, ahead;
		uint64_t event;

		seed = seed * 1103515245 + 12345;
		batch = 1 + (seed >> 16) % 10;
		ahead = (seed >> 20) % 5;
		event = given + ahead;
		*driver_event() = 0x20000 | (event / 5 % 2 ? 0 : 0x8000) | event % 5;
		give(batch);
		given += batch;
		assert_int_equal(queue_wants_interrupt(&fx.queue), ahead < batch);
	}
	*driver_event() = 0x20000 | 0x8000 | 5; /* there is no such descriptor */
	give(10);
	assert_false(queue_wants_interrupt(&fx.queue));
}

static void doorbells(void **state)
{
	begin(5, 0);
	queue_kicks_off(&fx.queue);
	assert_int_equal(*device_event(), 0x10000);
	assert_false(queue_kicks_on(&fx.queue));
	assert_int_equal(*device_event(), 0);

	begin(5, EVENTS);
	give(3);
	queue_kicks_off(&fx.queue);
	assert_int_equal(*device_event(), 0);
	assert_false(queue_kicks_on(&fx.queue));
	assert_int_equal(*device_event(), 0x28003);
	give(2);
	put(BUFFERS, 8, 1, WRITE);
	assert_true(queue_kicks_on(&fx.queue));
	assert_int_equal(*device_event(), 0x20000);
}

/* Garbage in the ring and in tables: what is taken is bounded, and all of it can be returned. */
static void garbage(void **state)
{
	uint64_t seed = 1;

	for (unsigned round = 0; round < 3000; round++) {
		struct queue_request *requests[16], *request;
		unsigned count = 0;

		begin(1 + round % 11, round & 1 ? INDIRECTS | EVENTS : ORDERED);
		for (unsigned i = 0; i < 8 * fx.queue.size; i++) {
			struct packed_desc *d = i % 3 ? &ring()[i % fx.queue.size]
						      : (void *)(fx.ram + INDIRECT + 16 * (i % 8));

			seed = seed * 6364136223846793005u + 1442695040888963407u;
			*d = (struct packed_desc){seed >> 40 & 1 ? INDIRECT : seed >> 44,
				seed >> 20 & 0x70, seed >> 30 & 3,
				(seed >> 50 & 7) | (seed >> 55 & 3 ? AVAILABLE : IS_USED)};
			while (count < 16 && (request = queue_pop(&fx.queue)))
				requests[count++] = request;
			assert_true(fx.queue.slots_taken <= fx.queue.size);
			if (count && seed >> 60 & 1)
				queue_push(&fx.queue, requests[--count], 1);
			queue_kicks_on(&fx.queue);
			queue_wants_interrupt(&fx.queue);
		}
		while (count)
			queue_push(&fx.queue, requests[--count], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_list_becomes_a_request),
		CASE(nothing_written_has_no_write_flag),
		CASE(laps_of_odd_sizes),
		CASE(one_entry),
		CASE(used_in_order_of_completion),
		CASE(in_order_holds_back),
		CASE(what_is_not_available_waits),
		CASE(untaken_comes_again),
		CASE(indirect_tables),
		CASE(lists_that_break),
		CASE(tables_that_break),
		CASE(rings_in_bad_places),
		CASE(interrupts_by_flags),
		CASE(interrupts_by_descriptor),
		CASE(doorbells),
		CASE(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
