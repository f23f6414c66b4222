/* SPDX-License-Identifier: MIT */
/*
 * The device's side of the split ring (virtio/queue.h) against well-formed and hostile rings:
 * loops, overruns, wraps, bad addresses, indirect tables, event index.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "virtio/features.h"
#include "virtio/queue.h"

#define RAM_SIZE 0x100000u
#define TABLE	 0x1000u
#define AVAIL	 0x5000u
#define USED	 0x6000u
#define BUFFERS	 0x10000u
#define INDIRECT 0x80000u

#define NEXT	    1
#define WRITE	    2
#define IS_INDIRECT 4

struct desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct fixture {
	struct guest_memory mem;
	struct queue queue;
	uint8_t *ram;
	uint16_t avail_idx;
};

static struct fixture fx;

static struct desc *table(void)
{
	return (struct desc *)(fx.ram + TABLE);
}

static uint16_t *avail(void)
{
	return (uint16_t *)(fx.ram + AVAIL);
}

static uint16_t *used(void)
{
	return (uint16_t *)(fx.ram + USED);
}

static uint32_t used_id(unsigned slot)
{
	return ((uint32_t *)(fx.ram + USED + 4))[2 * slot];
}

static uint32_t used_length(unsigned slot)
{
	return ((uint32_t *)(fx.ram + USED + 4))[2 * slot + 1];
}

static void start_at(uint64_t at_table, uint64_t at_avail, uint64_t at_used, uint16_t size,
	uint64_t features, int expected)
{
	fx.queue.size = size;
	fx.queue.descriptor_area = at_table;
	fx.queue.driver_area = at_avail;
	fx.queue.device_area = at_used;
	assert_int_equal(queue_start(&fx.queue, features), expected);
}

static void start(uint16_t size, uint64_t features)
{
	start_at(TABLE, AVAIL, USED, size, features, 0);
}

static int set_up(void **state)
{
	struct error err;

	memset(&fx, 0, sizeof(fx));
	assert_int_equal(memory_add(&fx.mem, "ram", 0, RAM_SIZE, false, &err), 0);
	assert_int_equal(memory_add(&fx.mem, "rom", RAM_SIZE, 0x10000, true, &err), 0);
	fx.ram = fx.mem.blocks[0].host;
	queue_init(&fx.queue, &fx.mem, "test", 0, 256, sizeof(struct queue_request));
	return 0;
}

static int tear_down(void **state)
{
	queue_destroy(&fx.queue);
	for (unsigned i = 0; i < fx.mem.count; i++)
		assert_int_equal(atomic_load(&fx.mem.blocks[i].pins), 0);
	memory_destroy(&fx.mem);
	return 0;
}

static void set(unsigned i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	table()[i] = (struct desc){address, length, flags, next};
}

static void publish(uint16_t head)
{
	avail()[2 + fx.avail_idx % fx.queue.size] = head;
	avail()[1] = ++fx.avail_idx;
}

/* A chain 0 -> 1 -> 2: 16 bytes out, 512 in, 1 in. */
static void plain_chain(void)
{
	set(0, BUFFERS, 16, NEXT, 1);
	set(1, BUFFERS + 0x1000, 512, NEXT | WRITE, 2);
	set(2, BUFFERS + 0x2000, 1, WRITE, 0);
}

static void breaks(const char *word)
{
	assert_null(queue_pop(&fx.queue));
	assert_non_null(fx.queue.broken);
	assert_non_null(strstr(fx.queue.broken, word));
	/* It stays so, whatever comes. */
	plain_chain();
	publish(0);
	assert_null(queue_pop(&fx.queue));
	/* And works again from the start. */
	queue_stop(&fx.queue);
	memset(fx.ram + AVAIL, 0, 0x2000);
	fx.avail_idx = 0;
	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	plain_chain();
	publish(0);
	struct queue_request *request = queue_pop(&fx.queue);

	assert_non_null(request);
	queue_push(&fx.queue, request, 513);
	assert_int_equal(used()[1], 1);
}

static void a_chain_becomes_a_request(void **state)
{
	struct queue_request *request;
	char text[16];

	start(8, 0);
	assert_null(queue_pop(&fx.queue));
	plain_chain();
	memcpy(fx.ram + BUFFERS, "0123456789abcdef", 16);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	assert_int_equal(request->out_count, 1);
	assert_int_equal(request->in_count, 2);
	assert_int_equal(request->out_bytes, 16);
	assert_int_equal(request->in_bytes, 513);
	assert_int_equal(queue_copy_out(request, text, 16), 16);
	assert_memory_equal(text, "0123456789abcdef", 16);
	assert_int_equal(queue_copy_in(request, "xyz", 3), 3);
	assert_memory_equal(fx.ram + BUFFERS + 0x1000, "xyz", 3);
	assert_int_equal(used()[1], 0);
	queue_push(&fx.queue, request, 3);
	assert_int_equal(used()[1], 1);
	assert_int_equal(used_id(0), 0);
	assert_int_equal(used_length(0), 3);
}

static void indices_wrap_at_65536(void **state)
{
	start(4, 0);
	for (unsigned i = 0; i < 70000; i++) {
		struct queue_request *request;

		set(i % 4, BUFFERS, 8, WRITE, 0);
		publish(i % 4);
		request = queue_pop(&fx.queue);
		assert_non_null(request);
		queue_push(&fx.queue, request, i & 0xff);
		assert_int_equal(used()[1], (uint16_t)(i + 1));
		assert_int_equal(used_id(i % 4), i % 4);
		assert_int_equal(used_length(i % 4), i & 0xff);
	}
}

static void completions_may_come_in_any_order(void **state)
{
	struct queue_request *requests[8];

	start(8, 0);
	for (unsigned i = 0; i < 8; i++) {
		set(i, BUFFERS + 64 * i, 64, WRITE, 0);
		publish(7 - i);
	}
	for (unsigned i = 0; i < 8; i++)
		requests[i] = queue_pop(&fx.queue);
	assert_null(queue_pop(&fx.queue));
	assert_null(fx.queue.broken);
	assert_int_equal(fx.queue.in_flight, 8);
	for (unsigned i = 0; i < 8; i++)
		queue_push(&fx.queue, requests[7 - i], i);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(used_id(i), i);
	assert_int_equal(fx.queue.in_flight, 0);
}

static void a_loop_ends(void **state)
{
	start(8, 0);
	set(0, BUFFERS, 8, NEXT, 1);
	set(1, BUFFERS, 8, NEXT, 0);
	publish(0);
	breaks("longer than the queue");
}

static void a_loop_of_empty_buffers_ends(void **state)
{
	start(8, 0);
	set(3, BUFFERS, 0, NEXT, 3);
	publish(3);
	breaks("longer than the queue");
}

static void a_chain_as_long_as_the_queue_is_good(void **state)
{
	struct queue_request *request;

	start(8, 0);
	for (unsigned i = 0; i < 8; i++)
		set(i, BUFFERS + i, 1, i < 7 ? NEXT : 0, i + 1);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	assert_int_equal(request->out_bytes, 8);
	queue_push(&fx.queue, request, 0);
}

static void next_outside_of_the_table(void **state)
{
	start(8, 0);
	set(0, BUFFERS, 8, NEXT, 8);
	publish(0);
	breaks("next index");
}

static void head_outside_of_the_table(void **state)
{
	start(8, 0);
	publish(8);
	breaks("available entry");
}

static void head_far_outside_of_the_table(void **state)
{
	start(8, 0);
	publish(0xffff);
	breaks("available entry");
}

static void index_jumps_ahead(void **state)
{
	start(8, 0);
	plain_chain();
	avail()[1] = 9;
	breaks("ahead");
}

static void index_moves_back(void **state)
{
	struct queue_request *request;

	start(8, 0);
	plain_chain();
	publish(0);
	request = queue_pop(&fx.queue);
	queue_push(&fx.queue, request, 0);
	avail()[1] = 0;
	breaks("ahead");
}

static void in_flight_is_bounded(void **state)
{
	struct queue_request *first, *second;

	start(2, 0);
	set(0, BUFFERS, 8, WRITE, 0);
	set(1, BUFFERS, 8, WRITE, 0);
	publish(0);
	publish(1);
	first = queue_pop(&fx.queue);
	second = queue_pop(&fx.queue);
	assert_non_null(first);
	assert_non_null(second);
	publish(0);
	breaks("ahead");
	queue_push(&fx.queue, first, 0);
	queue_push(&fx.queue, second, 0);
}

static void a_head_in_flight_is_not_taken_again(void **state)
{
	struct queue_request *request;

	start(8, 0);
	plain_chain();
	publish(0);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	breaks("in flight");
	queue_push(&fx.queue, request, 0);
}

static void readable_after_writable(void **state)
{
	start(8, 0);
	set(0, BUFFERS, 8, NEXT | WRITE, 1);
	set(1, BUFFERS, 8, 0, 0);
	publish(0);
	breaks("readable");
}

static void buffers_must_be_memory(void **state)
{
	static const struct {
		uint64_t address;
		uint32_t length;
		uint16_t flags;
	} bad[] = {
		{0xfee00000, 4, 0},	   /* a device */
		{RAM_SIZE - 1, 2, WRITE},  /* runs into ROM */
		{RAM_SIZE, 8, WRITE},	   /* ROM */
		{RAM_SIZE + 0xffff, 2, 0}, /* past the end */
		{UINT64_MAX, 2, 0},	   /* wraps */
		{UINT64_MAX - 0xfff, 0x2000, WRITE},
		{1ULL << 40, 1, 0},
		{0, 0xffffffff, 0},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(8, 0);
		memset(fx.ram + AVAIL, 0, 0x2000);
		fx.avail_idx = 0;
		set(0, BUFFERS, 1, NEXT | bad[i].flags, 1);
		set(1, bad[i].address, bad[i].length, bad[i].flags, 0);
		publish(0);
		breaks("outside of memory");
		queue_stop(&fx.queue);
	}
}

static void the_last_byte_of_memory_is_good(void **state)
{
	struct queue_request *request;

	start(8, 0);
	set(0, RAM_SIZE + 0xffff, 1, NEXT, 1); /* ROM may be read */
	set(1, RAM_SIZE - 1, 1, WRITE, 0);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	queue_push(&fx.queue, request, 1);
}

static void a_buffer_across_two_blocks_is_two_pieces(void **state)
{
	struct queue_request *request;

	start(8, 0);
	set(0, RAM_SIZE - 4, 8, 0, 0);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	assert_int_equal(request->out_count, 2);
	assert_int_equal(request->out_bytes, 8);
	queue_push(&fx.queue, request, 0);
}

static void more_than_4_gib(void **state)
{
	struct desc *indirect = (struct desc *)(fx.ram + INDIRECT);
	struct queue_request *request;
	struct error err;

	assert_int_equal(memory_add(&fx.mem, "big", 1ULL << 32, 64 << 20, false, &err), 0);
	start(128, FEATURE(VIRTIO_F_INDIRECT_DESC));
	for (unsigned i = 0; i < 65; i++)
		indirect[i] = (struct desc){1ULL << 32, 64 << 20, i < 63 ? NEXT : 0, i + 1};
	set(0, INDIRECT, 65 * 16, IS_INDIRECT, 0);
	publish(0);
	request = queue_pop(&fx.queue); /* 64 of them are 2^32 bytes: the most there may be */
	assert_non_null(request);
	assert_true(request->out_bytes == 1ULL << 32);
	queue_push(&fx.queue, request, 0);
	indirect[63].flags = NEXT;
	publish(0);
	breaks("2^32");
}

static void reserved_flags_are_ignored(void **state)
{
	struct queue_request *request;

	start(8, 0);
	set(0, BUFFERS, 16, 0xfff8 | WRITE, 5);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	assert_int_equal(request->in_bytes, 16);
	queue_push(&fx.queue, request, 0);
}

/* --- indirect --- */

static void indirect_entry(
	unsigned i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	struct desc desc = {address, length, flags, next};

	memcpy(fx.ram + INDIRECT + 1 + 16 * i, &desc, 16);
}

static void indirect_at(uint32_t length, uint16_t flags)
{
	set(0, INDIRECT + 1, length, IS_INDIRECT | flags, 1);
	publish(0);
}

static void direct_then_indirect(void **state)
{
	struct queue_request *request;

	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	set(0, BUFFERS, 4, NEXT, 1);
	set(1, INDIRECT + 1, 32, IS_INDIRECT | WRITE, 0); /* the flag means nothing here */
	indirect_entry(0, BUFFERS + 4, 12, NEXT, 1);
	indirect_entry(1, BUFFERS + 16, 20, WRITE, 0);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	assert_int_equal(request->out_bytes, 16);
	assert_int_equal(request->in_bytes, 20);
	queue_push(&fx.queue, request, 20);
	assert_int_equal(used_id(0), 0);
}

static void indirect_without_the_feature(void **state)
{
	start(8, 0);
	indirect_entry(0, BUFFERS, 4, 0, 0);
	indirect_at(16, 0);
	breaks("without the feature");
}

static void indirect_with_next(void **state)
{
	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	indirect_entry(0, BUFFERS, 4, 0, 0);
	indirect_at(16, NEXT);
	breaks("with a next");
}

static void indirect_inside_indirect(void **state)
{
	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	indirect_entry(0, INDIRECT + 1, 16, IS_INDIRECT, 0);
	indirect_at(16, 0);
	breaks("inside an indirect");
}

static void indirect_lengths(void **state)
{
	static const uint32_t bad[] = {0, 15, 17, 0xffffffff};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
		memset(fx.ram + AVAIL, 0, 0x2000);
		fx.avail_idx = 0;
		indirect_entry(0, BUFFERS, 4, 0, 0);
		indirect_at(bad[i], 0);
		breaks("length of an indirect");
		queue_stop(&fx.queue);
	}
}

static void indirect_loop(void **state)
{
	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	indirect_entry(0, BUFFERS, 4, NEXT, 0);
	indirect_at(16, 0);
	breaks("longer than the queue");
}

static void an_indirect_chain_may_be_as_long_as_the_device_allows(void **state)
{
	struct queue_request *request;

	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	for (unsigned i = 0; i < 257; i++)
		indirect_entry(i, BUFFERS + i, 1, i == 255 ? 0 : NEXT, i + 1);
	indirect_at(257 * 16, 0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	assert_int_equal(request->out_bytes, 256);
	queue_push(&fx.queue, request, 0);
	indirect_entry(255, BUFFERS, 1, NEXT, 256);
	publish(0);
	breaks("longer than the queue");
}

static void indirect_next_outside(void **state)
{
	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	indirect_entry(0, BUFFERS, 4, NEXT, 1);
	indirect_at(16, 0);
	breaks("next index");
}

static void a_huge_indirect_table_is_read_only_where_linked(void **state)
{
	struct queue_request *request;

	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	indirect_entry(0, BUFFERS, 4, NEXT, 1);
	indirect_entry(1, BUFFERS, 4, 0, 0);
	indirect_at(0xfffffff0, 0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	assert_int_equal(request->out_bytes, 8);
	queue_push(&fx.queue, request, 0);
}

static void an_indirect_table_outside_of_memory(void **state)
{
	start(8, FEATURE(VIRTIO_F_INDIRECT_DESC));
	set(0, UINT64_MAX - 15, 32, IS_INDIRECT, 0);
	publish(0);
	breaks("indirect table lies outside");
}

/* --- rings in bad places --- */

static void rings_in_bad_places(void **state)
{
	start_at(TABLE + 8, AVAIL, USED, 8, 0, -EINVAL);
	start_at(TABLE, AVAIL + 1, USED, 8, 0, -EINVAL);
	start_at(TABLE, AVAIL, USED + 2, 8, 0, -EINVAL);
	start_at(0xfee00000, AVAIL, USED, 8, 0, -EINVAL);
	start_at(TABLE, UINT64_MAX - 1, USED, 8, 0, -EINVAL);
	start_at(TABLE, AVAIL, RAM_SIZE, 8, 0, -EINVAL);     /* ROM */
	start_at(RAM_SIZE - 16, AVAIL, USED, 8, 0, -EINVAL); /* two blocks */
	start_at(TABLE, AVAIL, USED, 0, 0, -EINVAL);
	start_at(TABLE, AVAIL, USED, 3, 0, -EINVAL);
	start_at(TABLE, AVAIL, USED, 512, 0, -EINVAL);
	assert_null(queue_pop(&fx.queue));
	/* An available ring without used_event may end at the end of memory. */
	start_at(TABLE, RAM_SIZE + 0x10000 - 20, USED, 8, 0, 0);
	queue_stop(&fx.queue);
	start_at(TABLE, RAM_SIZE + 0x10000 - 20, USED, 8, FEATURE(VIRTIO_F_EVENT_IDX), -EINVAL);
}

/* --- suppression --- */

static void use_one(void)
{
	struct queue_request *request;

	set(0, BUFFERS, 8, WRITE, 0);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	queue_push(&fx.queue, request, 8);
}

static void interrupts_by_flag(void **state)
{
	start(8, 0);
	assert_false(queue_wants_interrupt(&fx.queue));
	avail()[2 + 8] = 77; /* used_event means nothing */
	use_one();
	assert_true(queue_wants_interrupt(&fx.queue));
	assert_false(queue_wants_interrupt(&fx.queue)); /* told once */
	avail()[0] = 1;
	use_one();
	assert_false(queue_wants_interrupt(&fx.queue));
	avail()[0] = 0;
	assert_false(queue_wants_interrupt(&fx.queue)); /* not for what is past */
	use_one();
	assert_true(queue_wants_interrupt(&fx.queue));
}

static void interrupts_by_event_index(void **state)
{
	start(8, FEATURE(VIRTIO_F_EVENT_IDX));
	avail()[0] = 1; /* the flag means nothing */
	avail()[2 + 8] = 0;
	use_one();
	assert_true(queue_wants_interrupt(&fx.queue));
	avail()[2 + 8] = 3;
	use_one();
	assert_false(queue_wants_interrupt(&fx.queue));
	use_one();
	use_one();
	use_one(); /* a batch over the mark: entries 2, 3, 4 */
	assert_true(queue_wants_interrupt(&fx.queue));
	use_one();
	assert_false(queue_wants_interrupt(&fx.queue)); /* the mark is behind */
}

static void the_event_index_wraps(void **state)
{
	start(8, FEATURE(VIRTIO_F_EVENT_IDX));
	avail()[2 + 8] = 0xffff;
	for (unsigned i = 0; i < 65535; i++) {
		use_one();
		assert_false(queue_wants_interrupt(&fx.queue));
	}
	use_one(); /* entry 65535 */
	assert_true(queue_wants_interrupt(&fx.queue));
	avail()[2 + 8] = 1;
	use_one();
	assert_false(queue_wants_interrupt(&fx.queue));
	use_one();
	assert_true(queue_wants_interrupt(&fx.queue));
}

static void doorbells_by_flag(void **state)
{
	start(8, 0);
	queue_kicks_off(&fx.queue);
	assert_int_equal(used()[0], 1);
	assert_false(queue_kicks_on(&fx.queue));
	assert_int_equal(used()[0], 0);
	plain_chain();
	publish(0);
	queue_kicks_off(&fx.queue);
	assert_true(queue_kicks_on(&fx.queue)); /* there is something to look at */
}

static void doorbells_by_event_index(void **state)
{
	uint16_t *avail_event = used() + 2 + 4 * 8;

	start(8, FEATURE(VIRTIO_F_EVENT_IDX));
	queue_kicks_off(&fx.queue);
	assert_int_equal(used()[0], 0); /* stays 0 */
	use_one();
	use_one();
	assert_int_equal(*avail_event, 0);
	assert_false(queue_kicks_on(&fx.queue));
	assert_int_equal(*avail_event, 2);
	assert_int_equal(used()[0], 0);
}

/* --- stopping --- */

static void a_stopped_queue_forgets_what_is_in_flight(void **state)
{
	struct queue_request *request;

	start(8, 0);
	plain_chain();
	publish(0);
	request = queue_pop(&fx.queue);
	queue_stop(&fx.queue);
	memset(fx.ram + AVAIL, 0, 0x2000);
	fx.avail_idx = 0;
	start(8, 0);
	queue_push(&fx.queue, request, 513); /* releases, says nothing */
	assert_int_equal(used()[1], 0);
	assert_int_equal(fx.queue.in_flight, 0);
	use_one();
	assert_int_equal(used()[1], 1);
}

static void a_discarding_queue_says_nothing(void **state)
{
	struct queue_request *request;

	start(8, 0);
	plain_chain();
	publish(0);
	request = queue_pop(&fx.queue);
	fx.queue.discard = true;
	queue_push(&fx.queue, request, 513);
	assert_int_equal(used()[1], 0);
	assert_false(queue_wants_interrupt(&fx.queue));
}

/* Rings full of noise: whatever they say, pop ends and every pin is released. */
static void noise(void **state)
{
	uint32_t seed = 12345;

	for (unsigned round = 0; round < 2000; round++) {
		struct queue_request *request;

		for (unsigned i = 0; i < 8 * 16 + 0x100; i++) {
			seed = seed * 1664525 + 1013904223;
			fx.ram[(i < 128 ? TABLE : AVAIL - 128) + i] = seed >> 24;
		}
		/* Half of the addresses are in memory, so that chains get somewhere. */
		for (unsigned i = 0; i < 8; i++) {
			seed = seed * 1664525 + 1013904223;
			if (seed >> 31)
				table()[i].address &= RAM_SIZE - 1;
			if (seed >> 30 & 1)
				table()[i].length &= 0xfff;
			table()[i].next &= 15;
		}
		avail()[1] = seed >> 20 & 15;
		for (unsigned i = 0; i < 8; i++)
			avail()[2 + i] &= 15;
		start(8, round & 1 ? FEATURE(VIRTIO_F_INDIRECT_DESC) : 0);
		while ((request = queue_pop(&fx.queue)))
			queue_push(&fx.queue, request, 0);
		queue_stop(&fx.queue);
		for (unsigned i = 0; i < fx.mem.count; i++)
			assert_int_equal(atomic_load(&fx.mem.blocks[i].pins), 0);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_chain_becomes_a_request),
		CASE(indices_wrap_at_65536),
		CASE(completions_may_come_in_any_order),
		CASE(a_loop_ends),
		CASE(a_loop_of_empty_buffers_ends),
		CASE(a_chain_as_long_as_the_queue_is_good),
		CASE(next_outside_of_the_table),
		CASE(head_outside_of_the_table),
		CASE(head_far_outside_of_the_table),
		CASE(index_jumps_ahead),
		CASE(index_moves_back),
		CASE(in_flight_is_bounded),
		CASE(a_head_in_flight_is_not_taken_again),
		CASE(readable_after_writable),
		CASE(buffers_must_be_memory),
		CASE(the_last_byte_of_memory_is_good),
		CASE(a_buffer_across_two_blocks_is_two_pieces),
		CASE(more_than_4_gib),
		CASE(reserved_flags_are_ignored),
		CASE(direct_then_indirect),
		CASE(indirect_without_the_feature),
		CASE(indirect_with_next),
		CASE(indirect_inside_indirect),
		CASE(indirect_lengths),
		CASE(indirect_loop),
		CASE(an_indirect_chain_may_be_as_long_as_the_device_allows),
		CASE(indirect_next_outside),
		CASE(a_huge_indirect_table_is_read_only_where_linked),
		CASE(an_indirect_table_outside_of_memory),
		CASE(rings_in_bad_places),
		CASE(interrupts_by_flag),
		CASE(interrupts_by_event_index),
		CASE(the_event_index_wraps),
		CASE(doorbells_by_flag),
		CASE(doorbells_by_event_index),
		CASE(a_stopped_queue_forgets_what_is_in_flight),
		CASE(a_discarding_queue_says_nothing),
		CASE(noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
