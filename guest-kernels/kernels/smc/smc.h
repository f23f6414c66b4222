/* SPDX-License-Identifier: MIT */
/*
 * Kernel smc: code that changes (Intel SDM volume 3, 8.1.3 and 11.6).  A store to code by the same
 * linear address is seen by the next instruction; by another address or by a device after a
 * serializing instruction; after a change of the page tables when the translation is invalidated.
 *
 * Left out: code that another processor changes, and string instructions that overwrite themselves.
 */
#ifndef KERNELS_SMC_H
#define KERNELS_SMC_H

#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/test.h"

typedef uint32_t code_fn(void);

/* mov eax, value; ret */
static inline void put_return(volatile uint8_t *at, uint32_t value)
{
	at[0] = 0xb8;
	memcpy((void *)(at + 1), &value, 4);
	at[5] = 0xc3;
}

static inline uint32_t call(const volatile void *at)
{
	return ((code_fn *)at)();
}

static inline void serialize(void)
{
	cpuid(0, 0);
}

static inline uint8_t *code_pages(unsigned count)
{
	return arena_alloc(count * 4096ul, 4096);
}

#endif
