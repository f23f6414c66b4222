/* SPDX-License-Identifier: MIT */
/* Kernel paging: page tables of a TEST's own in the window, and accesses whose outcome is a number.
 */
#ifndef ASSAY_KERNELS_PAGING_TABLES_H
#define ASSAY_KERNELS_PAGING_TABLES_H

#include "runtime/io.h"
#include "runtime/paging.h"
#include "runtime/test.h"

#define PAGE_LARGE  0x80ull
#define PAGE_GLOBAL 0x100ull
#define PAGE_NX	    (1ull << 63)
#define ALL	    (PAGE_PRESENT | PAGE_WRITE | PAGE_USER)

#define PF_PRESENT  0x01u
#define PF_WRITE    0x02u
#define PF_USER	    0x04u
#define PF_RESERVED 0x08u
#define PF_FETCH    0x10u

#define CR0_WP	  (1ull << 16)
#define CR4_PGE	  (1ull << 7)
#define CR4_PCIDE (1ull << 17)
#define CR4_SMEP  (1ull << 20)
#define CR4_SMAP  (1ull << 21)
#define EFER	  0xc0000080
#define EFER_NXE  0x800ull
#define FLAG_AC	  0x40000ull

#define AT PAGING_WINDOW

/* level[0] is the entry of the page table, level[3] that of the PML4. */
struct walk {
	volatile uint64_t *level[4];
	uint8_t *page; /* what level[0] points to */
	uint8_t *next; /* the page behind it */
};

/* Two pages at AT with all rights, their first bytes RET; TLB flushed. */
struct walk walk_make(void);
void flush(void);

/* Accesses at an address: the error code of the page fault, NO_FAULT, or OTHER + vector.
 * walk_cr2, walk_rip: of the latest fault. */
#define NO_FAULT 0x1000u
#define OTHER	 0x2000u
enum access { READ, WRITE, FETCH };
unsigned attempt(enum access access, bool user, uint64_t at);
extern uint64_t walk_cr2, walk_rip;
bool has_nx(void);
bool has_feature_7(unsigned bit); /* CPUID.7.EBX */
/* The map of all memory for the supervisor only, so that SMEP and SMAP let the kernel live. */
void supervisor_only(void);

#endif
