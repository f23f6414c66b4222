/* SPDX-License-Identifier: MIT */
/* The split ring (virtio 1.4, 2.7) and the packed one (2.8) as they lie in memory. */
#ifndef VIRTIO_DRIVERS_RING_H
#define VIRTIO_DRIVERS_RING_H

#include <stdint.h>

#define RING_NEXT     1u
#define RING_WRITE    2u
#define RING_INDIRECT 4u

#define RING_NO_INTERRUPT 1u /* avail->flags */
#define RING_NO_NOTIFY	  1u /* used->flags */

struct ring_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct ring_avail {
	volatile uint16_t flags, idx;
	volatile uint16_t ring[]; /* size heads, then used_event */
};

struct ring_used_element {
	uint32_t id, length;
};

struct ring_used {
	volatile uint16_t flags, idx;
	volatile struct ring_used_element ring[]; /* size elements, then avail_event (16 bits) */
};

#define RING_DESCRIPTORS_BYTES(size) (16u * (size))
#define RING_AVAIL_BYTES(size)	     (6u + 2u * (size))
#define RING_USED_BYTES(size)	     (6u + 8u * (size))

/* In one piece, as the legacy interface has it (2.7.2): where the used part begins, and all. */
#define RING_LEGACY_ALIGN 4096u
#define RING_LEGACY_USED(size, align) \
	((RING_DESCRIPTORS_BYTES(size) + RING_AVAIL_BYTES(size) + (align)-1) & ~((align)-1))
#define RING_LEGACY_BYTES(size, align) (RING_LEGACY_USED(size, align) + RING_USED_BYTES(size))

static inline volatile uint16_t *ring_used_event(struct ring_avail *avail, unsigned size)
{
	return &avail->ring[size];
}

static inline volatile uint16_t *ring_avail_event(struct ring_used *used, unsigned size)
{
	return (volatile uint16_t *)&used->ring[size];
}

/* --- packed; flags NEXT, WRITE and INDIRECT as above --- */

#define RING_AVAILABLE 0x0080u
#define RING_IS_USED   0x8000u

struct packed_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t id, flags;
};

/* Event suppression, one 32-bit word: offset (bits 0 to 14) and wrap counter (15), then the kind.
 */
#define PACKED_EVENT_ENABLE	0x00000u
#define PACKED_EVENT_DISABLE	0x10000u
#define PACKED_EVENT_DESCRIPTOR 0x20000u
#define PACKED_EVENT_BYTES	4u

/* Both flags as they are in an available descriptor, and in a used one, of a lap. */
static inline uint16_t packed_available(int wrap)
{
	return wrap ? RING_AVAILABLE : RING_IS_USED;
}

static inline uint16_t packed_used(int wrap)
{
	return wrap ? RING_AVAILABLE | RING_IS_USED : 0;
}

static inline uint32_t packed_event(unsigned index, int wrap)
{
	return PACKED_EVENT_DESCRIPTOR | (wrap ? 0x8000u : 0) | index;
}

/* 2.8.10: does the event word ask for a notification, when the last `passed` places before (index,
 * wrap) have just been made available, or used? */
static inline int packed_wanted(
	uint32_t event, unsigned index, int wrap, unsigned size, unsigned passed)
{
	int back;

	if (!(event & PACKED_EVENT_DESCRIPTOR))
		return !(event & PACKED_EVENT_DISABLE);
	back = (int)index - (int)(event & 0x7fff);
	if ((int)(event >> 15 & 1) != wrap)
		back += size;
	return (unsigned)(back - 1) < passed;
}

/* 2.7.7.2, 2.7.10: did the index pass `event` on its way from `before` to `now`? */
static inline int ring_passed(uint16_t event, uint16_t now, uint16_t before)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

#endif
