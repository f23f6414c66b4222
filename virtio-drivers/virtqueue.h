/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue as a driver uses it: fixed slots, each a request of up to `segments` buffers whose
 * descriptors are prepared once, so that sending one costs a few stores (the processors under
 * test may be slow interpreters). What the ring looks like is behind `struct virtqueue_ops`:
 * split.c and packed.c, with in-order.c before them; what was negotiated chooses.
 *
 *	int slot = virtqueue_get(vq);			// -1: all in flight
 *	virtqueue_segment(vq, slot, 0, address, length, false);
 *	...
 *	virtqueue_submit(vq, slot);			// published, not yet notified
 *	virtqueue_kick(vq);				// the doorbell, if the device asks for it
 *	while ((slot = virtqueue_reap(vq, &length)) >= 0) ...; virtqueue_put(vq, slot);
 */
#ifndef VIRTIO_DRIVERS_VIRTQUEUE_H
#define VIRTIO_DRIVERS_VIRTQUEUE_H

#include "virtio-drivers/ring.h"
#include "virtio-drivers/virtio.h"

struct virtqueue;

struct virtqueue_ops {
	/* Memory for `size` entries; fills areas. */
	void (*init)(struct virtqueue *vq, struct virtio_queue_areas *areas);
	void (*segment)(struct virtqueue *vq, unsigned slot, unsigned n, uint64_t address,
		uint32_t length, bool device_writes);
	void (*count)(struct virtqueue *vq, unsigned slot, unsigned segments);
	void (*submit)(struct virtqueue *vq, unsigned slot);
	bool (*kick_needed)(struct virtqueue *vq);
	int (*reap)(struct virtqueue *vq, uint32_t *length);
	void (*interrupts)(struct virtqueue *vq, bool on);
	bool (*interrupt_after)(struct virtqueue *vq, unsigned n);
	/* For virtio_notify_next(). */
	uint16_t (*next)(const struct virtqueue *vq);

	/* Of the ring formats, for in-order.c: reap where the device may have skipped places; on
	 * past those of a slot; what the device may write of a slot; is there one to reap? */
	int (*reap_sparse)(struct virtqueue *vq, uint32_t *length);
	void (*skip)(struct virtqueue *vq, unsigned slot);
	uint32_t (*room)(struct virtqueue *vq, unsigned slot);
	bool (*used_here)(struct virtqueue *vq);
};

extern const struct virtqueue_ops virtqueue_split, virtqueue_packed, virtqueue_packed_indirect,
	virtqueue_in_order;

struct virtqueue_order {
	const struct virtqueue_ops *format;
	uint16_t *slots;    /* in the order in which they were sent; a ring of vq->slots places */
	uint16_t put, take; /* places in it */
	unsigned sent;	    /* and not known to be used */
	unsigned batch;	    /* known to be used, and not handed out */
	uint32_t length;    /* of the last of them */
};

struct packed_ring {
	volatile uint64_t *ring; /* two words a descriptor: address; length, id and flags */
	volatile uint32_t *driver_event, *device_event;
	struct packed_descriptor *lists; /* `segments` a slot: a table, or what submit copies */
	uint16_t *counts;		 /* of the slot's buffers that count */
	uint64_t (*heads)[2]; /* indirect: what stands in the ring for a slot, but for its lap */
	uint64_t avail_next, used_next;
	uint32_t unkicked;		/* descriptors published since the last doorbell */
	uint64_t avail_bits, used_bits; /* both flags of this lap, in place in the second word */
};

struct virtqueue {
	const struct virtqueue_ops *ops;
	struct virtio_device *dev;
	unsigned index;
	uint16_t size;
	uint16_t slots, segments; /* requests at once, and buffers in each */
	bool event_idx, indirect;
	bool polling;
	uint16_t *free; /* stack of free slots */
	uint16_t free_count;
	uint64_t kicks; /* doorbells rung */

	/* split ring */
	struct ring_descriptor *descriptors;
	struct ring_descriptor *tables; /* indirect: `segments` entries a slot */
	struct ring_avail *avail;
	struct ring_used *used;
	uint16_t avail_next, avail_kicked, used_next;

	/* packed ring */
	struct packed_ring packed;

	/* IN_ORDER */
	struct virtqueue_order order;
};

/*
 * Memory from the arena, registers set, queue enabled; between virtio_negotiate() and
 * virtio_driver_ok(). size: 0 or a power of two (packed: any), cut to what the device has (by the
 * legacy interface of PCI it is what the device has); depth: slots wanted (0: as many as fit).
 * False: the device has no such queue.
 */
bool virtqueue_init(struct virtqueue *vq, struct virtio_device *dev, unsigned index, uint16_t size,
	unsigned depth, unsigned segments);

static inline int virtqueue_get(struct virtqueue *vq)
{
	return vq->free_count ? vq->free[--vq->free_count] : -1;
}

static inline void virtqueue_put(struct virtqueue *vq, unsigned slot)
{
	vq->free[vq->free_count++] = slot;
}

/* Buffer n of the slot; 0 .. segments - 1, readable ones first. Stays until set again. */
static inline void virtqueue_segment(struct virtqueue *vq, unsigned slot, unsigned n,
	uint64_t address, uint32_t length, bool device_writes)
{
	vq->ops->segment(vq, slot, n, address, length, device_writes);
}

/* How many of the slot's buffers count from now on; all after virtqueue_init(). */
static inline void virtqueue_count(struct virtqueue *vq, unsigned slot, unsigned segments)
{
	vq->ops->count(vq, slot, segments);
}

static inline void virtqueue_submit(struct virtqueue *vq, unsigned slot)
{
	vq->ops->submit(vq, slot);
}

/* True if the doorbell was rung. */
bool virtqueue_kick(struct virtqueue *vq);

/* The slot of a used request and how much was written, or -1. */
static inline int virtqueue_reap(struct virtqueue *vq, uint32_t *length)
{
	return vq->ops->reap(vq, length);
}

/* Asks the device for interrupts or not; after switching on, reap once more before waiting. */
static inline void virtqueue_interrupts(struct virtqueue *vq, bool on)
{
	vq->polling = !on;
	vq->ops->interrupts(vq, on);
}

/*
 * Asks for one interrupt, when the n-th request from now on is used (without the event index: at
 * the next one). All in flight have the same count of segments. False: it is used already.
 */
static inline bool virtqueue_interrupt_after(struct virtqueue *vq, unsigned n)
{
	vq->polling = false;
	return vq->ops->interrupt_after(vq, n);
}

#endif
