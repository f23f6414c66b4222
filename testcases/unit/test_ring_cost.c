/* SPDX-License-Identifier: MIT */
/*
 * The same 32 indirect requests of three buffers through a split and a packed ring, batch after
 * batch, with the event index: the device takes the same, and returns the same.  What its part
 *costs in instructions:
 *
 *	valgrind --tool=callgrind --callgrind-out-file=/dev/stdout build/unit/test_ring_cost |
 *		callgrind_annotate --inclusive=yes /dev/stdin | grep _turn
 */
#include "virtqueue-help.h"

#define DEPTH	32u
#define BATCHES 100u

/* The device's part of a batch. */
static inline __attribute__((always_inline)) void turn(void)
{
	struct queue_request *requests[DEPTH];
	unsigned count = 0;

	queue_kicks_off(&fx.queue);
	while (count < DEPTH && (requests[count] = queue_pop(&fx.queue)))
		count++;
	assert_false(queue_kicks_on(&fx.queue));
	assert_int_equal(count, DEPTH);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(requests[i]->out_bytes, 16);
		assert_int_equal(requests[i]->in_bytes, 513);
		queue_push(&fx.queue, requests[i], 513);
	}
	assert_true(queue_wants_interrupt(&fx.queue));
}

/* Two functions of their own, so that a profile tells them apart. */
static __attribute__((noinline)) void split_turn(void)
{
	assert_ptr_equal(fx.queue.ops, &ring_split_ops);
	turn();
}

static __attribute__((noinline)) void packed_turn(void)
{
	assert_ptr_equal(fx.queue.ops, &ring_packed_ops);
	turn();
}

/* Table n: 16 bytes out, 512 in, 1 in. */
static void make_tables(bool packed)
{
	for (unsigned n = 0; n < DEPTH; n++) {
		struct desc *t = (struct desc *)(fx.ram + INDIRECT + 64 * n);

		t[0] = (struct desc){BUFFERS + 1024 * n, 16, packed ? 0 : NEXT, 1};
		t[1] = (struct desc){BUFFERS + 1024 * n + 16, 512, packed ? 0 : NEXT | WRITE, 2};
		t[2] = (struct desc){BUFFERS + 1024 * n + 528, 1, packed ? 0 : WRITE, 0};
		if (packed) { /* flags are the last 16 bits there */
			t[1].next = WRITE;
			t[2].next = WRITE;
			t[0].next = 0;
		}
	}
}

static void split(void **state)
{
	start(64, FEATURE(VIRTIO_F_INDIRECT_DESC) | FEATURE(VIRTIO_F_EVENT_IDX));
	make_tables(false);
	for (unsigned batch = 0; batch < BATCHES; batch++) {
		for (unsigned n = 0; n < DEPTH; n++) {
			set(n, INDIRECT + 64 * n, 48, IS_INDIRECT, 0);
			publish(n);
		}
		avail()[2 + 64] = batch * DEPTH + DEPTH - 1; /* used_event: at the last one */
		split_turn();
		assert_int_equal(used()[1], (uint16_t)((batch + 1) * DEPTH));
	}
}

static void packed(void **state)
{
	uint64_t *ring = (uint64_t *)(fx.ram + TABLE);
	uint32_t *driver_event = (uint32_t *)(fx.ram + AVAIL);

	start(64, FEATURE(VIRTIO_F_INDIRECT_DESC) | FEATURE(VIRTIO_F_EVENT_IDX) |
			  FEATURE(VIRTIO_F_RING_PACKED));
	make_tables(true);
	for (unsigned batch = 0; batch < BATCHES; batch++) {
		unsigned first = batch % 2 * DEPTH, lap = batch / 2 % 2;
		uint64_t available = lap ? 0x8000 : 0x0080, used_flags = lap ? 0 : 0x8080;

		for (unsigned n = 0; n < DEPTH; n++) {
			ring[2 * (first + n)] = INDIRECT + 64 * n;
			ring[2 * (first + n) + 1] =
				(available | IS_INDIRECT) << 48 | (uint64_t)n << 32 | 48;
		}
		*driver_event = 2u << 16 | (lap ? 0 : 0x8000) | (first + DEPTH - 1);
		packed_turn();
		for (unsigned n = 0; n < DEPTH; n++)
			assert_int_equal(ring[2 * (first + n) + 1] >> 48 & 0x8080, used_flags);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {CASE(split), CASE(packed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
