/* SPDX-License-Identifier: MIT */
/* What the TESTs of packed rings share: a disk on one. */
#ifndef KERNEL_VIRTIO_PACKED_H
#define KERNEL_VIRTIO_PACKED_H

#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK NEEDS("disk:virtio")

/* raw_disk_open() on a packed ring; SKIPs where the disk offers none. */
static inline struct raw_disk *packed_disk(uint64_t features, uint16_t size)
{
	struct raw_disk *d = raw_disk_open(features, size);

	if (!d->ring.packed)
		SKIP("the disk offers no packed ring");
	return d;
}

/* The header of a read of RAW_SCRATCH into d->data, and a status of 0xff. */
static inline void packed_header(struct raw_disk *d)
{
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH};
	*d->status = 0xff;
}

/* Waits until that place holds a used descriptor. */
static inline bool packed_used_at(struct raw_disk *d, unsigned index, unsigned wrap)
{
	struct raw_place at = {index, wrap};

	return EXPECT_TRUE(WAIT_UNTIL(raw_is_used(&d->ring, at), RAW_ANSWER_US));
}

#endif
