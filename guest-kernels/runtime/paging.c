/* SPDX-License-Identifier: MIT */
/*
 * Page tables made at run time. Tables for identity maps come from a small pool of their own,
 * because they stay; those of the window come from the arena and go with it.
 */
#include "runtime/paging.h"
#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/test.h"

#define PAGE_LARGE 0x80ull
#define ALL	   (PAGE_PRESENT | PAGE_WRITE | PAGE_USER)
#define ADDRESS(e) ((volatile uint64_t *)((e)&0x000ffffffffff000ull))
#define POOL	   24

extern volatile uint64_t pml4[512];

static uint64_t pool[POOL][512] __attribute__((aligned(4096)));
static unsigned pool_used;

static volatile uint64_t *lasting_table(volatile uint64_t *entry)
{
	if (!(*entry & PAGE_PRESENT)) {
		if (pool_used == POOL)
			ERROR("no page table is left");
		*entry = (uint64_t)pool[pool_used++] | ALL;
	}
	return ADDRESS(*entry);
}

void paging_identity(uint64_t base, uint64_t size)
{
	uint64_t end = base + size;

	if (base < 1ull << 32)
		base = 1ull << 32;
	if (end > PAGING_WINDOW)
		ERROR("0x%lx is beyond what is mapped", end);
	for (base &= ~0x1fffffull; base < end; base += 0x200000) {
		volatile uint64_t *pointers = lasting_table(&pml4[base >> 39 & 511]);
		volatile uint64_t *directory = lasting_table(&pointers[base >> 30 & 511]);

		directory[base >> 21 & 511] = base | PAGE_LARGE | ALL;
	}
}

static volatile uint64_t *next_level(volatile uint64_t *entry)
{
	if (!(*entry & PAGE_PRESENT))
		*entry = (uint64_t)arena_alloc(4096, 4096) | ALL;
	return ADDRESS(*entry);
}

volatile uint64_t *paging_map(uint64_t at, uint64_t physical, uint64_t flags)
{
	volatile uint64_t *entry;

	if (at >> 39 != PAGING_WINDOW >> 39)
		ERROR("0x%lx is outside of the window", at);
	entry = next_level(&pml4[at >> 39 & 511]) + (at >> 30 & 511);
	entry = next_level(entry) + (at >> 21 & 511);
	entry = next_level(entry) + (at >> 12 & 511);
	*entry = (physical & ~0xfffull) | flags;
	invlpg((void *)at);
	return entry;
}

void paging_reset(void)
{
	if (pml4[PAGING_WINDOW >> 39] == 0)
		return;
	pml4[PAGING_WINDOW >> 39] = 0;
	write_cr3(read_cr3());
}
