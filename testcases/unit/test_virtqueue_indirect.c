/* SPDX-License-Identifier: MIT */
/* Indirect tables, well-formed and hostile (virtio 1.4, 2.7.5.3). */
#include "virtqueue-help.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
