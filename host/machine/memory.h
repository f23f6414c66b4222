/* SPDX-License-Identifier: MIT */
/*
 * Guest memory, and the one accessor through which every device reaches it.
 *
 * A device that was given an address by the guest calls span_get(), which checks the whole span
 * and hands out host pointers; when the data has landed it calls span_put(), and only then
 * publishes the completion.  Nothing else translates guest addresses.
 *
 * Bytes that pass through a span count as DMA when it is put (base/count.h).
 *
 * What a guest can change while we look is read once: guest_read() into a local copy, then use the
 * copy.
 *
 * The table of blocks is complete before the first vCPU runs, so all calls here are for any thread.
 */
#ifndef MACHINE_MEMORY_H
#define MACHINE_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"

#define RAM_BLOCKS_MAX 8
#define SPAN_IOV_MAX   RAM_BLOCKS_MAX /* a span crosses at most every block once */

struct ram_block {
	const char *name;
	uint64_t address, size; /* guest-physical, bytes; multiples of 4096 */
	uint8_t *host;
	bool readonly; /* ROM: readable by spans, writes by the guest go nowhere */
	atomic_uint pins;
};

/* Who wants to know of memory: the engine (its slots), later the dirty log and code pages. */
struct memory_listener {
	int (*block_added)(void *opaque, const struct ram_block *block, struct error *err);
	void (*written)(void *opaque, uint64_t address, uint64_t length); /* NULL: not interested */
	void *opaque;
};

struct guest_memory {
	struct ram_block blocks[RAM_BLOCKS_MAX]; /* by address, never overlapping */
	unsigned count;
	struct memory_listener *listener; /* one engine, or NULL */
};

/* Allocates zeroed memory (private anonymous, not touched) for [address, address + size) and tells
 * the listener.  Before the first vCPU runs.  0 or -errno. */
int memory_add(struct guest_memory *mem, const char *name, uint64_t address, uint64_t size,
	bool readonly, struct error *err);
void memory_destroy(struct guest_memory *mem);

/* Sets the listener and tells it of the blocks that exist.  0 or -errno. */
int memory_listen(struct guest_memory *mem, struct memory_listener *listener, struct error *err);

/* The device's view of the direction: it reads from guest memory, or writes to it. */
enum span_direction { SPAN_READ, SPAN_WRITE };

struct span {
	struct iovec iov[SPAN_IOV_MAX];
	int count; /* 0: an empty span */
	/* private: */
	struct guest_memory *mem;
	uint64_t address, length;
	enum span_direction direction;
};

/*
 * Checks that all of [address, address + length) is RAM (or ROM, for SPAN_READ), never MMIO or a
 * hole and never wrapping around 2^64, pins it and fills `span`.  0, or -EFAULT with nothing
 * pinned. A length of 0 succeeds with an empty span.
 */
int span_get(struct guest_memory *mem, uint64_t address, uint64_t length,
	enum span_direction direction, struct span *span);

/* `written`: how many bytes from the start the device wrote (0 for SPAN_READ).  Marks them for the
 * listener and releases the pins. */
void span_put(struct span *span, uint64_t written);

/* Ends a span that served otherwise: nothing is marked or counted. */
void span_unpin(struct span *span);

/* Copies through a span.  0 or -EFAULT; on -EFAULT nothing was copied. */
int guest_read(struct guest_memory *mem, uint64_t address, void *to, size_t length);
int guest_write(struct guest_memory *mem, uint64_t address, const void *from, size_t length);

/* The same for a processor's own look at memory (page tables) and for debuggers: not DMA. */
int guest_peek(struct guest_memory *mem, uint64_t address, void *to, size_t length);
int guest_poke(struct guest_memory *mem, uint64_t address, const void *from, size_t length);

/* Boot loaders only, before the guest runs: writes to ROM too. */
int guest_load(struct guest_memory *mem, uint64_t address, const void *from, size_t length);

#endif
