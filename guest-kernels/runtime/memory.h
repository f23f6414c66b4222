/* SPDX-License-Identifier: MIT */
/*
 * Memory: the four functions C needs, the arena, guarded buffers, and CRC-32C.
 *
 * The arena is all RAM above the kernel (see arena_init) and is empty again before each TEST.
 * Addresses are physical and virtual at once (identity map), so a pointer is what a device is
 * given.
 */
#ifndef ASSAY_RUNTIME_MEMORY_H
#define ASSAY_RUNTIME_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One string instruction each. */
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);

/* Sizes of a physical range that devices and tests see. */
static inline uint64_t phys(const volatile void *p)
{
	return (uint64_t)p;
}

/*
 * `size` bytes aligned to `align` (a power of two), zeroed; arena_alloc_raw leaves what was there.
 * Never NULL: when there is not enough, the TEST ends with ERROR.
 */
void *arena_alloc(size_t size, size_t align);
void *arena_alloc_raw(size_t size, size_t align);
size_t arena_left(void);
void arena_reset(void);
/* What is allocated until now stays over arena_reset(): for kernels' own set-up, not for TESTs. */
void arena_keep(void);
void arena_init(void);

/*
 * A buffer with canaries close before and after it, for a device to write into. The runtime checks
 * all of a TEST's guarded buffers when it ends: a canary changed is verdict LEAK. The buffer starts
 * at a multiple of `align` (guarded_alloc: 64) and its end is exactly at the canary.
 */
void *guarded_alloc(size_t size);
void *guarded_alloc_aligned(size_t size, size_t align);
/* Checks now; false (and the TEST has failed with LEAK) where a canary was changed. */
bool guarded_check(void);

/* True if all bytes are `value`; *where gets the first offset that is not (where may be NULL). */
bool memory_is(const void *at, int value, size_t size, size_t *where);

/*
 * CRC-32C (Castagnoli, reflected, initial and final inversion): crc32c(0, data, size) of a whole,
 * or chained: crc32c(crc32c(0, a, n), b, m).
 */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

#endif
