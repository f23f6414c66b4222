/* SPDX-License-Identifier: MIT */
/*
 * Where instructions under test run: 64 KiB at the same linear address in this process and in the
 * software processor, with the same rights page by page.  Below 4 GiB, so that 32-bit code reaches
 * it; of 64 KiB, so that 16-bit code does, by segments of the local descriptor table.
 */
#ifndef INSN_ARENA_H
#define INSN_ARENA_H

#include <asm/ldt.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "soft-help.h"

#define ARENA	    0x10000000u
#define ARENA_PAGES 16u
#define PAGE_BYTES  0x1000u

/* Pages of the arena. */
enum {
	PAGE_CODE = 0,	  /* two pages of slots, one of landing places; then a hole */
	PAGE_LANDING = 2, /* INT3 throughout */
	PAGE_DATA = 5,	  /* a hole, two pages to write, one to read, holes */
	PAGE_READ_ONLY = 7,
	PAGE_STACK = 11, /* two pages between holes */
};

#define AT(page) (ARENA + (page)*PAGE_BYTES)

#define SLOT	  64u
#define SLOTS	  (2 * PAGE_BYTES / SLOT)
#define FILLER	  0xccu	   /* INT3 */
#define ARENA_RAM 0x40000u /* guest-physical */

/* The guest's own: mapped at KERNEL + physical, for the supervisor, where this process has nothing.
 */
#define KERNEL	   0xffffffff80000000ull
#define G_PML4	   0x1000u
#define G_PDPT	   0x2000u
#define G_PD	   0x3000u
#define G_PT_ARENA 0x4000u
#define G_PT_OWN   0x5000u
#define G_PDPT_OWN 0xa000u
#define G_PD_OWN   0xb000u
#define G_GDT	   0x6000u
#define G_TSS	   0x6800u
#define G_IDT	   0x7000u
#define G_HANDLERS 0x8000u
#define G_STACK	   0xa000u /* its end; from 0x9000 */

enum page_rights { HOLE, READ_ONLY, WRITABLE, CODE_PAGE };

static const enum page_rights arena_rights[ARENA_PAGES] = {[0] = CODE_PAGE,
	[1] = CODE_PAGE,
	[PAGE_LANDING] = CODE_PAGE,
	[PAGE_DATA] = WRITABLE,
	[PAGE_DATA + 1] = WRITABLE,
	[PAGE_READ_ONLY] = READ_ONLY,
	[PAGE_STACK] = WRITABLE,
	[PAGE_STACK + 1] = WRITABLE};

/* This process' arena a second time, to write whatever the rights say; the guest's. */
static uint8_t *arena_alias, *arena_guest;

/* Segments of 16-bit code, and what FS and GS may hold in 16 and 32-bit code. */
#define LDT_SELECTOR(n) ((n) << 3 | 7)
enum { LDT_CODE16, LDT_DATA16, LDT_SHORT, LDT_READ_ONLY, LDT_DOWN, LDT_CODE32, LDT_END };

static const struct user_desc arena_ldt[LDT_END] = {
	{LDT_CODE16, ARENA, 0xffff, .contents = 2},
	{LDT_DATA16, ARENA, 0xffff, .contents = 0},
	{LDT_SHORT, ARENA, 0x6777, .seg_32bit = 1, .contents = 0},
	{LDT_READ_ONLY, ARENA, 0xffff, .seg_32bit = 1, .contents = 0, .read_exec_only = 1},
	{LDT_DOWN, ARENA, 0x57ff, .seg_32bit = 1, .contents = 1},
	{LDT_CODE32, ARENA, 0xffff, .seg_32bit = 1, .contents = 2},
};

static inline struct soft_segment ldt_segment(unsigned n)
{
	const struct user_desc *d = &arena_ldt[n];

	return (struct soft_segment){
		.selector = LDT_SELECTOR(n),
		.base = d->base_addr,
		.limit = d->limit,
		.rights = 1 | (d->read_exec_only ? 0 : R_WRITE) | d->contents << 2 | R_S | 3 << 5 |
			  R_PRESENT | (d->seg_32bit ? R_D : 0),
	};
}

static inline bool ldt_install(void)
{
	for (unsigned n = 0; n < LDT_END; n++)
		if (syscall(SYS_modify_ldt, 1, &arena_ldt[n], sizeof(arena_ldt[n])) != 0)
			return false;
	return true;
}

static inline bool arena_map(void)
{
	static const int rights[] = {[HOLE] = PROT_NONE,
		[READ_ONLY] = PROT_READ,
		[WRITABLE] = PROT_READ | PROT_WRITE,
		[CODE_PAGE] = PROT_READ | PROT_EXEC};
	size_t size = ARENA_PAGES * PAGE_BYTES;
	int fd = memfd_create("arena", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size) < 0)
		return false;
	arena_alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (arena_alias == MAP_FAILED ||
		mmap((void *)(uintptr_t)ARENA, size, PROT_NONE, MAP_SHARED | MAP_FIXED_NOREPLACE,
			fd, 0) == MAP_FAILED)
		return false;
	close(fd);
	for (unsigned page = 0; page < ARENA_PAGES; page++)
		if (mprotect((void *)(uintptr_t)AT(page), PAGE_BYTES, rights[arena_rights[page]]) <
			0)
			return false;
	arena_guest = ram + ARENA_RAM;
	return true;
}

static inline bool arena_backed(uint64_t linear)
{
	uint64_t page = (linear - ARENA) / PAGE_BYTES;

	return linear >= ARENA && page < ARENA_PAGES && arena_rights[page] != HOLE;
}

/* Writes to both. */
static inline void arena_poke(uint64_t linear, const void *from, unsigned size)
{
	for (unsigned n = 0; n < size; n++)
		if (arena_backed(linear + n))
			arena_alias[linear + n - ARENA] = arena_guest[linear + n - ARENA] =
				((const uint8_t *)from)[n];
}

static inline uint64_t arena_peek(uint64_t linear, unsigned size)
{
	uint64_t value = 0;

	for (unsigned n = 0; n < size; n++)
		if (arena_backed(linear + n))
			value |= (uint64_t)arena_guest[linear + n - ARENA] << n * 8;
	return value;
}

static inline void put64(uint32_t at, uint64_t value)
{
	memcpy(ram + at, &value, sizeof(value));
}

/* --- the guest around it --- */

static inline void guest_tables(void)
{
	static const uint64_t no_execute = 1ULL << 63;
	static const uint64_t rights[] = {[HOLE] = 0,
		[READ_ONLY] = no_execute | 0x65,
		[WRITABLE] = no_execute | 0x67,
		[CODE_PAGE] = 0x65};

	put64(G_PML4, G_PDPT | 0x67);
	put64(G_PDPT, G_PD | 0x67);
	put64(G_PD + (ARENA >> 21) * 8, G_PT_ARENA | 0x67);
	put64(G_PML4 + 511 * 8, G_PDPT_OWN | 0x67);
	put64(G_PDPT_OWN + 510 * 8, G_PD_OWN | 0x67);
	put64(G_PD_OWN, G_PT_OWN | 0x67);
	for (unsigned page = 0; page < ARENA_PAGES; page++)
		put64(G_PT_ARENA + page * 8,
			rights[arena_rights[page]]
				? (ARENA_RAM + page * PAGE_BYTES) | rights[arena_rights[page]]
				: 0);
	for (unsigned page = 0; page < 16; page++)
		put64(G_PT_OWN + page * 8, page * PAGE_BYTES | 0x63);
}

/* Each vector has its gate and its handler, which is HLT. */
static inline void guest_idt(void)
{
	put64(G_GDT + 8, 0x00af9b000000ffff);
	put64(G_TSS + 4, KERNEL + G_STACK);
	put64(G_TSS + 96, 0x68ull << 48); /* no map of ports */
	for (unsigned vector = 0; vector < 256; vector++) {
		uint64_t handler = KERNEL + G_HANDLERS + vector * 16;
		uint64_t type = vector == V_BP || vector == V_OF ? 0xee00 : 0x8e00;

		put64(G_IDT + vector * 16,
			(handler & 0xffff) | 8 << 16 | type << 32 | (handler >> 16 & 0xffff) << 48);
		put64(G_IDT + vector * 16 + 8, handler >> 32);
		ram[G_HANDLERS + vector * 16] = 0xf4;
	}
}

static inline struct soft_segment flat_segment(uint16_t selector, uint32_t rights)
{
	return (struct soft_segment){.selector = selector, .limit = 0xffffffff, .rights = rights};
}

static inline void guest_start(void)
{
	struct cpu_state state;

	guest_tables();
	guest_idt();
	cpu_state_flat32(&state, 0);
	state.cr3 = G_PML4;
	state.cr0 |= CR0_PG | CR0_WP | CR0_AM | CR0_NE | CR0_MP;
	state.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE;
	state.efer = EFER_LMA | EFER_LME | EFER_SCE | EFER_NXE;
	soft_engine_ops.set_state(machine.engine, 0, &state);
	cpu->gdt = (struct cpu_table){KERNEL + G_GDT, 0x7ff};
	cpu->idt = (struct cpu_table){KERNEL + G_IDT, 0xfff};
	cpu->seg[SEG_TR] = (struct soft_segment){
		.selector = 0x40, .base = KERNEL + G_TSS, .limit = 0x67, .rights = 0x8b};
	cpu->seg[SEG_LDT].unusable = true;
}

#endif
