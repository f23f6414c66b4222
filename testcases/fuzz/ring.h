/* SPDX-License-Identifier: MIT */
/*
 * A ring without a device: queue_pop() and queue_push() over memory that an input writes.  Each
 * request that comes out must hold what queue.h promises.
 */
#ifndef FUZZ_RING_H
#define FUZZ_RING_H

#include <string.h>

#include "input.h"

#include "virtio/features.h"
#include "virtio/queue.h"

#define RAM_SIZE       0x100000u
#define TABLE	       0x1000u
#define DRIVER	       0x5000u
#define DEVICE	       0x6000u
#define FLYING	       2048
#define SIZE_MAX_SMALL 256
/* Of a queue that may be longer than that: room for QUEUE_SIZE_MAX entries each. */
#define LARGE_DRIVER 0x90000u
#define LARGE_DEVICE 0xa8000u
#define SMALL_END    0x8000u

static struct guest_memory memory;
static struct queue queue;
static uint8_t *ram;
static struct queue_request *flying[FLYING];
static unsigned flying_count;
static uint32_t driver_area, device_area;
static bool is_packed, was_large;

static void in_memory(const struct iovec *iov, unsigned count, uint64_t bytes)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < count; i++) {
		bool found = false;

		REQUIRE(iov[i].iov_len);
		for (unsigned b = 0; b < memory.count; b++) {
			const struct ram_block *block = &memory.blocks[b];
			size_t offset = (uint8_t *)iov[i].iov_base - block->host;

			found |= offset < block->size && iov[i].iov_len <= block->size - offset;
		}
		REQUIRE(found);
		sum += iov[i].iov_len;
	}
	REQUIRE(sum == bytes);
}

static void pop(void)
{
	struct queue_request *request = flying_count < FLYING ? queue_pop(&queue) : NULL;
	uint8_t copy[64];

	if (!request)
		return;
	REQUIRE(!queue.broken);
	REQUIRE(queue.in_flight <= queue.size);
	REQUIRE(queue.pinned < QUEUE_PINNED_MAX + 2u * QUEUE_SIZE_MAX);
	REQUIRE(request->out_count + request->in_count <= 2u * QUEUE_SIZE_MAX);
	in_memory(request->out, request->out_count, request->out_bytes);
	in_memory(request->in, request->in_count, request->in_bytes);
	(void)queue_copy_out(request, copy, sizeof(copy));
	(void)queue_copy_in(request, copy, 1);
	flying[flying_count++] = request;
}

static void push(unsigned which, uint32_t length)
{
	struct queue_request *request;

	if (!flying_count)
		return;
	which %= flying_count;
	request = flying[which];
	flying[which] = flying[--flying_count];
	queue_push(&queue, request, length);
}

static void place_again(const struct split_ring *split, const struct packed_ring *packed)
{
	queue.packed.avail = packed->avail;
	queue.packed.used = packed->used;
	queue.packed.unsignalled = packed->unsignalled;
	queue.split.avail_next = queue.split.avail_seen = split->avail_next;
	queue.split.used_next = split->used_next;
	queue.split.used_signalled = split->used_signalled;
}

/* What is in flight goes and comes back as state, which may be another's then. */
static void hold_again(struct input *in)
{
	struct queue_held held = {.requests = NULL};
	uint8_t kind = take(in, 1);
	struct split_ring split = queue.split;
	struct packed_ring packed = queue.packed;
	unsigned before = flying_count;
	struct list *pos;

	if (!queue.started || queue.broken)
		return;
	queue_held_note(&held, &queue);
	REQUIRE(!held.counts.lost);
	for (unsigned i = kind & 3; i; i--) {
		uint16_t which = take(in, 2), value = take(in, 2);
		struct held_request *request = held.requests + which % (held.counts.requests + 1);
		struct held_piece *piece = held.pieces + which % (held.counts.pieces + 1);

		switch (value & 7) {
		case 0: request->head = value >> 3; break;
		case 1: request->slots = value >> 3; break;
		case 2: request->done = value >> 3 & 1; break;
		case 3: request->written = (uint32_t)value << 8; break;
		case 4: request->pieces = value & 0x80 ? UINT32_MAX - value : value >> 3; break;
		case 5:
			piece->address = value & 8 ? UINT64_MAX - value : (uint64_t)value << 5;
			break;
		case 6: piece->length = value & 8 ? UINT32_MAX - value : value; break;
		default: piece->writable = value >> 3 & 1; break;
		}
	}
	queue_stop(&queue);
	while (flying_count)
		push(0, 0);
	if (queue_start(&queue, queue.features) == 0) {
		place_again(&split, &packed);
		(void)queue_held_restore(&held, &queue);
		list_for_each (pos, &queue.flying) {
			struct queue_request *request =
				container_of(pos, struct queue_request, link);

			if (request->done)
				continue;
			REQUIRE(flying_count < FLYING);
			flying[flying_count++] = request;
		}
	}
	REQUIRE(kind & 3 || (!queue.broken && flying_count == before));
	queue_held_clear(&held);
}

static void put_descriptor(struct input *in)
{
	uint8_t which = take(in, 1), kind = take(in, 1);
	uint64_t address = take(in, 3);
	uint32_t length = take(in, 2);
	uint16_t flags = take(in, 2), last = take(in, 2);

	if (kind & 1)
		address = UINT64_MAX - address;
	if (kind & 2)
		length <<= 16;
	memcpy(ram + TABLE + 16 * which, &address, 8);
	memcpy(ram + TABLE + 16 * which + 8, &length, 4);
	/* A packed descriptor has the id first, a split one the flags. */
	memcpy(ram + TABLE + 16 * which + 12, kind & 4 ? &last : &flags, 2);
	memcpy(ram + TABLE + 16 * which + 14, kind & 4 ? &flags : &last, 2);
}

static void put_bytes(struct input *in)
{
	uint32_t at = take(in, 3);
	uint8_t count = take(in, 1);

	for (unsigned i = 0; i < (count & 63u) && in->left; i++)
		ram[(at + i) % RAM_SIZE] = take(in, 1);
}

static void publish(uint16_t head, uint16_t more)
{
	uint16_t index;

	memcpy(&index, ram + driver_area + 2, 2);
	memcpy(ram + driver_area + 4 + 2 * (index % (queue.size ? queue.size : 1)), &head, 2);
	index += more;
	memcpy(ram + driver_area + 2, &index, 2);
}

/* Many buffers of one descriptor at once, as far as the ring goes. */
static void publish_many(struct input *in)
{
	unsigned count = take(in, 2) % (queue.size + 1u);
	uint64_t address = 0x20000u + take(in, 2);
	uint32_t length = take(in, 1);
	uint16_t flags = take(in, 1), index;

	memcpy(&index, ram + driver_area + 2, 2);
	for (unsigned i = 0; i < count; i++) {
		uint16_t slot = (index + i) % queue.size, wrap = flags & 2 ? 0x80 : 0x8000;
		uint16_t packed[2] = {slot, (flags & 2) | wrap};
		uint8_t *at = ram + TABLE + 16 * slot;

		memcpy(at, &address, 8);
		memcpy(at + 8, &length, 4);
		memcpy(at + 12, is_packed ? packed : (uint16_t[]){flags & 2, 0}, 4);
		if (!is_packed)
			memcpy(ram + driver_area + 4 + 2 * slot, &slot, 2);
	}
	index += count;
	if (!is_packed)
		memcpy(ram + driver_area + 2, &index, 2);
}

/* Takes and returns many, the last or the first of them first. */
static void serve_many(struct input *in)
{
	unsigned count = take(in, 2) % (FLYING + 1);
	uint8_t how = take(in, 1);

	for (unsigned i = 0; i < count; i++)
		pop();
	for (unsigned i = 0; i < count; i++)
		push(how & 1 ? flying_count - 1 : how & 2 ? i * 7 : 0, how & 4 ? 0 : how);
}

static void start(struct input *in, uint64_t features)
{
	uint8_t size = take(in, 1), kind = take(in, 1);

	while (flying_count)
		push(0, 0);
	queue_stop(&queue);
	is_packed = features & FEATURE(VIRTIO_F_RING_PACKED);
	driver_area = kind & 8 ? LARGE_DRIVER : DRIVER;
	device_area = kind & 8 ? LARGE_DEVICE : DEVICE;
	was_large |= kind & 8;
	queue.size_max = kind & 8 ? QUEUE_SIZE_MAX : SIZE_MAX_SMALL;
	queue.size = size & 0x80 ? size * 3 % 257 : 1u << size % 9;
	if (kind & 8)
		queue.size = size & 0x80 ? size * 0x101 & 0x7fff : 1u << size % 16;
	queue.descriptor_area = kind & 1 ? take(in, 3) : TABLE;
	queue.driver_area = kind & 2 ? take(in, 3) : driver_area;
	queue.device_area = kind & 4 ? take(in, 3) : device_area;
	if (kind & 0x20)
		features |= FEATURE(VIRTIO_F_INDIRECT_DESC);
	if (kind & 0x40)
		features |= FEATURE(VIRTIO_F_EVENT_IDX);
	if (kind & 0x80)
		features |= FEATURE(VIRTIO_F_IN_ORDER);
	(void)queue_start(&queue, features);
}

static void operate(struct input *in, uint64_t features)
{
	uint8_t raw = take(in, 1);

	switch (raw & 15) {
	case 0: start(in, features); break;
	case 1:
	case 2: put_descriptor(in); break;
	case 3: put_bytes(in); break;
	case 4: publish(take(in, 2), 1); break;
	case 5: publish(raw >> 4, raw & 0x80 ? take(in, 2) : 1); break;
	case 6:
	case 7: pop(); break;
	case 8: push(raw >> 4, take(in, 2)); break;
	case 9: (void)queue_wants_interrupt(&queue); break;
	case 10: queue_kicks_off(&queue); break;
	case 11: (void)queue_kicks_on(&queue); break;
	case 12: queue_stop(&queue); break;
	case 13:
		if (raw & 0x80)
			publish_many(in);
		else
			serve_many(in);
		break;
	case 14:
		if (raw & 0x80)
			hold_again(in);
		else
			pop();
		break;
	default: publish(raw >> 4, 1); pop();
	}
	if (!queue.started) /* orphans: only released */
		while (flying_count)
			push(0, 0);
}

static int fuzz_ring(const uint8_t *data, size_t size, uint64_t features)
{
	struct input in = {data, size};

	memset(ram, 0, was_large ? RAM_SIZE : SMALL_END);
	was_large = false;
	start(&in, features);
	for (unsigned i = 0; in.left && i < 1000; i++)
		operate(&in, features);
	while (flying_count)
		push(0, 0);
	queue_stop(&queue);
	for (unsigned i = 0; i < memory.count; i++)
		REQUIRE(atomic_load(&memory.blocks[i].pins) == 0);
	return 0;
}

static void make_ring(void)
{
	struct error err;

	setenv("ASSAY_READS", "abort", 1);
	REQUIRE(memory_add(&memory, "ram", 0, RAM_SIZE, false, &err) == 0);
	REQUIRE(memory_add(&memory, "rom", RAM_SIZE, 0x10000, true, &err) == 0);
	ram = memory.blocks[0].host;
	queue_init(&queue, &memory, "fuzz", 0, QUEUE_SIZE_MAX, sizeof(struct queue_request));
}

#define FUZZ_RING(features)                                           \
	int LLVMFuzzerInitialize(int *argc, char ***argv);            \
	int LLVMFuzzerInitialize(int *argc, char ***argv)             \
	{                                                             \
		make_ring();                                          \
		return 0;                                             \
	}                                                             \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)  \
	{                                                             \
		return fuzz_ring(data, size, features);               \
	}

#endif
