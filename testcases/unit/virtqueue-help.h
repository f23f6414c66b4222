/* SPDX-License-Identifier: MIT */
/* What the tests of the device's side of a split ring share: a ring in memory, written by hand. */
#ifndef VIRTQUEUE_HELP_H
#define VIRTQUEUE_HELP_H

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

static inline struct desc *table(void)
{
	return (struct desc *)(fx.ram + TABLE);
}

static inline uint16_t *avail(void)
{
	return (uint16_t *)(fx.ram + AVAIL);
}

static inline uint16_t *used(void)
{
	return (uint16_t *)(fx.ram + USED);
}

static inline uint32_t used_id(unsigned slot)
{
	return ((uint32_t *)(fx.ram + USED + 4))[2 * slot];
}

static inline uint32_t used_length(unsigned slot)
{
	return ((uint32_t *)(fx.ram + USED + 4))[2 * slot + 1];
}

static inline void start_at(uint64_t at_table, uint64_t at_avail, uint64_t at_used, uint16_t size,
	uint64_t features, int expected)
{
	fx.queue.size = size;
	fx.queue.descriptor_area = at_table;
	fx.queue.driver_area = at_avail;
	fx.queue.device_area = at_used;
	assert_int_equal(queue_start(&fx.queue, features), expected);
}

static inline void start(uint16_t size, uint64_t features)
{
	start_at(TABLE, AVAIL, USED, size, features, 0);
}

static inline int set_up(void **state)
{
	struct error err;

	memset(&fx, 0, sizeof(fx));
	assert_int_equal(memory_add(&fx.mem, "ram", 0, RAM_SIZE, false, &err), 0);
	assert_int_equal(memory_add(&fx.mem, "rom", RAM_SIZE, 0x10000, true, &err), 0);
	fx.ram = fx.mem.blocks[0].host;
	queue_init(&fx.queue, &fx.mem, "test", 0, 256, sizeof(struct queue_request));
	return 0;
}

static inline int tear_down(void **state)
{
	queue_destroy(&fx.queue);
	for (unsigned i = 0; i < fx.mem.count; i++)
		assert_int_equal(atomic_load(&fx.mem.blocks[i].pins), 0);
	memory_destroy(&fx.mem);
	return 0;
}

static inline void set(unsigned i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	table()[i] = (struct desc){address, length, flags, next};
}

static inline void publish(uint16_t head)
{
	avail()[2 + fx.avail_idx % fx.queue.size] = head;
	avail()[1] = ++fx.avail_idx;
}

/* A chain 0 -> 1 -> 2: 16 bytes out, 512 in, 1 in. */
static inline void plain_chain(void)
{
	set(0, BUFFERS, 16, NEXT, 1);
	set(1, BUFFERS + 0x1000, 512, NEXT | WRITE, 2);
	set(2, BUFFERS + 0x2000, 1, WRITE, 0);
}

static inline void breaks(const char *word)
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

static inline void use_one(void)
{
	struct queue_request *request;

	set(0, BUFFERS, 8, WRITE, 0);
	publish(0);
	request = queue_pop(&fx.queue);
	assert_non_null(request);
	queue_push(&fx.queue, request, 8);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
