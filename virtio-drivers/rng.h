/* SPDX-License-Identifier: MIT */
/*
 * virtio-rng (virtio 1.4, 5.4): a driver for kernels that need entropy, with requests of several
 * buffers for TESTs of it.
 *
 *	struct virtio_rng rng;
 *	if (!virtio_rng_open(&rng, &(struct virtio_rng_options){.polling = true})) SKIP("no
 *device"); n = virtio_rng_read(&rng, buffer, 64);
 */
#ifndef VIRTIO_DRIVERS_RNG_H
#define VIRTIO_DRIVERS_RNG_H

#include "virtio-drivers/virtqueue.h"

#define RNG_SEGMENTS  5
#define RNG_ANSWER_US 10000000

struct virtio_rng_options {
	enum virtio_transport_kind transport; /* ANY: what the machine has */
	unsigned index;			      /* of the device: 0 is the first found */
	enum virtio_irq irq;		      /* when not polling; 0 is NONE, so say BEST */
	bool polling;
	uint64_t without; /* features not to take, as VIRTIO_BIT()s */
};

struct virtio_rng {
	struct virtio_device dev;
	struct virtqueue vq;
};

struct rng_buffer {
	void *at;
	uint32_t bytes;
	bool readable; /* by the device: against 5.4.6.1 */
};

/* False: there is no such device, or it refused (then the TEST has a note). */
bool virtio_rng_open(struct virtio_rng *rng, const struct virtio_rng_options *options);
/* Up to RNG_SEGMENTS buffers as one request, published and notified.  The slot, or -1: all are in
 * flight. */
int virtio_rng_submit(struct virtio_rng *rng, const struct rng_buffer *buffers, unsigned count);
/* The slot of a completed request and how many bytes it got, or -1. */
int virtio_rng_reap(struct virtio_rng *rng, uint32_t *bytes);
/* One request, waiting for its end: how many bytes it got, or -1 after ten seconds of silence. */
int64_t virtio_rng_read(struct virtio_rng *rng, void *to, uint32_t bytes);

#endif
