/* SPDX-License-Identifier: MIT */
/* The split ring as drivers should write it, and where its areas and buffers may lie. */
#include "virtqueue-help.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_chain_becomes_a_request),
		CASE(indices_wrap_at_65536),
		CASE(completions_may_come_in_any_order),
		CASE(rings_in_bad_places),
		CASE(buffers_must_be_memory),
		CASE(the_last_byte_of_memory_is_good),
		CASE(a_buffer_across_two_blocks_is_two_pieces),
		CASE(more_than_4_gib),
		CASE(reserved_flags_are_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
