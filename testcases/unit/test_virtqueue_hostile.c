/* SPDX-License-Identifier: MIT */
/* Rings that break the rules: loops, heads and indices out of bounds, wrong order, noise. */
#include "virtqueue-help.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
		CASE(noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
