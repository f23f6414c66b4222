/* SPDX-License-Identifier: MIT */
/* The queue alone: packed rings of any size in memory that the input writes, and a device that
 * completes what it takes in any order, or not at all. */
#include "ring.h"

FUZZ_RING(FEATURE(VIRTIO_F_RING_PACKED))
