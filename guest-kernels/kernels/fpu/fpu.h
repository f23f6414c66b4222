/* SPDX-License-Identifier: MIT */
/*
 * Kernel fpu: x87, MMX and SSE as a guest's system and its programs see them (Intel SDM volume 1,
 * chapters 8 to 13; volume 3, chapter 13).  Arithmetic runs at CPL 3: a host that interprets kernel
 * code does not do it at CPL 0.
 */
#ifndef ASSAY_KERNELS_FPU_H
#define ASSAY_KERNELS_FPU_H

#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/user.h"

#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_NE (1ull << 5)

#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_OSXSAVE    (1ull << 18)

#define MXCSR_RESET 0x1f80u

#define ONE_THIRD 0x3fd5555555555555ull /* as a double, rounded to nearest */
#define ONE	  0x3ff0000000000000ull
#define TWO	  0x4000000000000000ull
#define THREE	  0x4008000000000000ull

struct vector {
	uint64_t q[2];
} __attribute__((aligned(16)));

/* Everything on, nothing pending; the first thing of each TEST. */
void fpu_on(void);
void fpu_write_cr0(uint64_t value);
void fpu_write_cr4(uint64_t value);
bool fpu_has(unsigned ecx_bit); /* CPUID.1:ECX */
void fpu_need(unsigned ecx_bit, const char *name);

#endif
