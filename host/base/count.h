/* SPDX-License-Identifier: MIT */
/*
 * What threads count of their work, for query-stats and the probe device.  Each thread adds to
 * numbers of its own with a plain load and store; whoever asks gets the sum over all threads, of
 * the whole process.
 */
#ifndef BASE_COUNT_H
#define BASE_COUNT_H

#include <stdint.h>

enum count_kind {
	COUNT_DMA_BYTES,    /* that devices read or wrote in guest memory, pinned rings apart */
	COUNT_COPIED_BYTES, /* of requests' data, copied by us between there and a buffer */
	COUNT_KINDS,
};

/* Any thread, without a lock. */
void count_add(enum count_kind kind, uint64_t number);
/* Any thread.  What others add at the same time may be in it or not. */
uint64_t count_sum(enum count_kind kind);

#endif
