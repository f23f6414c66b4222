/* SPDX-License-Identifier: MIT */
/*
 * A virtio device of any kind that is thrown garbage at, and what it owes afterwards: status 0
 * after a reset, and a plain request answered.
 *
 * All that garbage names is its own: buffers in a pool, tables of descriptors, ring areas, each
 * guarded, or addresses where there is no memory.  So whatever a sound device does leaves the rest
 * of memory alone, and a canary that changed is the device's fault.
 */
#ifndef VIRTIO_FUZZ_VICTIM_H
#define VIRTIO_FUZZ_VICTIM_H

#include "runtime/boot.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/ring.h"
#include "virtio-drivers/virtio.h"

#define POOL	     0x8000u /* bytes of buffers */
#define TABLES	     8u /* descriptors of indirect tables, and room for the largest ring there */
#define TABLES_BYTES 0x8000u
#define QUEUES	     4u	      /* that garbage is put on */
#define ENTRIES	     16u      /* of a queue, where the driver may choose */
#define SOON	     3000000u /* a device is silent when it has not answered by then */
#define DISTANT	     0xfffff000u
#define HALF_WAY     400u /* microseconds for a device to get into the garbage before the reset */

/* An area may be read as any of the three, by a legacy layout too. */
struct garbage_ring {
	uint8_t *area;
	uint32_t bytes;
	uint16_t size;
	struct ring_descriptor *descriptors;
	struct ring_avail *avail; /* or the events of a packed ring, two words each */
	struct ring_used *used;
};

struct kind {
	uint32_t id;
	const char *name;
	unsigned queue; /* that takes the plain request */
	uint32_t out, in;
};

struct victim {
	struct virtio_device dev;
	const struct kind *kind;
	struct garbage_ring rings[QUEUES];
	uint8_t *pool, *out, *in;
	struct ring_descriptor *tables;
};

extern const struct kind kind_block, kind_entropy, kind_console;

/* The first of its kind, or the TEST is skipped. */
struct victim *victim_find(const struct kind *kind);
/* From reset to DRIVER_OK with these features of those offered; false: FEATURES_OK did not stay. */
bool victim_start(struct victim *v, uint64_t features);
/* Resets the device, starts it and has a plain request answered. */
void victim_serves(struct victim *v);
/* Waits a little for the device to take what it was given. */
void victim_may_take(struct victim *v);

/* Bits decided by fuzz=N on the command line and the TEST's name. */
uint64_t random64(void);
static inline uint32_t below(uint32_t limit)
{
	return (uint32_t)(random64() >> 33) % limit;
}
/* How often a TEST does what it does: rounds=N on the command line. */
unsigned rounds(void);

/* Garbage: into rings and tables, and what an index or a doorbell says. */
void garbage_descriptor(struct victim *v, struct ring_descriptor *to, uint16_t size);
void garbage_in_rings(struct victim *v);
void garbage_publish(struct victim *v, unsigned queue);
void garbage_doorbell(struct victim *v);
void garbage_register(struct victim *v);
void garbage_in_configuration_space(struct victim *v);

#endif
