/* SPDX-License-Identifier: MIT */
/*
 * Paging (SDM 3A, chapter 4): the walk through 2, 3 or 4 levels with all page sizes, rights (NX,
 * WP, SMEP, SMAP), accessed and dirty bits.
 */
#include "base/fault.h"
#include "cpu/soft/paging.h"

/* page-table entries (table 4-19) */
#define PTE_PRESENT  (1ULL << 0)
#define PTE_WRITE    (1ULL << 1)
#define PTE_USER     (1ULL << 2)
#define PTE_ACCESSED (1ULL << 5)
#define PTE_DIRTY    (1ULL << 6)
#define PTE_LARGE    (1ULL << 7)
#define PTE_GLOBAL   (1ULL << 8)
#define PTE_NX	     (1ULL << 63)
#define PTE_ADDRESS  0x000ffffffffff000ULL

/* page-fault error code (4.7) */
#define PF_PRESENT  0x01
#define PF_WRITE    0x02
#define PF_USER	    0x04
#define PF_RESERVED 0x08
#define PF_FETCH    0x10

#define PHYSICAL_BITS	  40
#define RESERVED_PHYSICAL (PTE_ADDRESS & ~((1ULL << PHYSICAL_BITS) - 1))

static uint64_t read_entry(struct soft_cpu *c, uint64_t physical, unsigned size)
{
	uint64_t value = 0;

	/* A table outside of RAM reads as all ones, like any other hole. */
	if (guest_peek(soft_memory(c), physical, &value, size) < 0)
		return soft_mask(size);
	return value;
}

static void write_entry(struct soft_cpu *c, uint64_t physical, uint64_t value, unsigned size)
{
	if (guest_poke(soft_memory(c), physical, &value, size) < 0)
		return; /* ROM keeps its bits */
	soft_wrote(c, physical, size, CODE_BY_WALK);
}

static bool fail(struct soft_walk *w, uint32_t error)
{
	if (w->probe)
		return false;
	if (w->write)
		error |= PF_WRITE;
	if (w->user)
		error |= PF_USER;
	if (w->fetch && (w->c->efer & EFER_NXE || w->c->cr4 & CR4_SMEP))
		error |= PF_FETCH;
	soft_page_fault(w->c, w->linear, error);
}

/* Rights of the whole walk (4.6.1). */
static bool allowed(struct soft_walk *w)
{
	const struct soft_cpu *c = w->c;
	bool user_page, writable;

	fault_cpu("walk", w->linear, &w->rights);
	user_page = w->rights & PTE_USER;
	writable = w->rights & PTE_WRITE;
	if (w->fetch && w->rights & PTE_NX)
		return false;
	if (w->user)
		return user_page && (!w->write || writable);
	if (user_page && w->fetch && c->cr4 & CR4_SMEP)
		return false;
	if (user_page && !w->fetch && c->cr4 & CR4_SMAP && !(c->flags & F_AC && !c->implicit))
		return false;
	return !w->write || writable || !(c->cr0 & CR0_WP);
}

/* Marks what the walk used (4.8); only now, when nothing can fault any more. */
static void mark(struct soft_walk *w, uint64_t at, uint64_t entry, unsigned size, bool leaf)
{
	uint64_t marked = entry | PTE_ACCESSED | (leaf && w->write ? PTE_DIRTY : 0);

	fault_cpu("mark", w->linear, &marked);
	if (marked != entry && !w->probe)
		write_entry(w->c, at, marked, size);
}

static bool walk32(struct soft_walk *w)
{
	struct soft_cpu *c = w->c;
	uint64_t pde_at = (c->cr3 & 0xfffff000) + (w->linear >> 22 & 0x3ff) * 4;
	uint64_t pde = read_entry(c, pde_at, 4), pte_at, pte;

	if (!(pde & PTE_PRESENT))
		return fail(w, 0);
	w->rights = pde & (PTE_WRITE | PTE_USER);
	if (pde & PTE_LARGE && c->cr4 & CR4_PSE) {
		/* PSE-36: bits 13 to 20 are address bits 32 to 39; 21 is reserved. */
		if (pde & 1u << 21)
			return fail(w, PF_PRESENT | PF_RESERVED);
		if (!allowed(w))
			return fail(w, PF_PRESENT);
		mark(w, pde_at, pde, 4, true);
		w->physical =
			(pde & 0xffc00000) | (pde >> 13 & 0xff) << 32 | (w->linear & 0x3fffff);
		w->global = pde & PTE_GLOBAL;
		w->shift = 22;
		return true;
	}
	pte_at = (pde & 0xfffff000) + (w->linear >> 12 & 0x3ff) * 4;
	pte = read_entry(c, pte_at, 4);
	if (!(pte & PTE_PRESENT))
		return fail(w, 0);
	w->rights &= pte;
	if (!allowed(w))
		return fail(w, PF_PRESENT);
	mark(w, pde_at, pde, 4, false);
	mark(w, pte_at, pte, 4, true);
	w->physical = (pte & 0xfffff000) | (w->linear & 0xfff);
	w->global = pte & PTE_GLOBAL;
	return true;
}

/* Bits of a present entry that must be zero. */
static uint64_t reserved_bits(const struct soft_cpu *c, unsigned level, uint64_t entry, bool pae)
{
	uint64_t bits = RESERVED_PHYSICAL;

	if (!(c->efer & EFER_NXE))
		bits |= PTE_NX;
	if (pae)
		bits |= level == 2 ? 0xfff00000000001e6ULL : 0x7ff0000000000000ULL;
	if (level == 3 || (level == 2 && !(c->cpuid_features[FEATURE_80000001_EDX] >> 26 & 1)))
		bits |= PTE_LARGE;
	if (entry & PTE_LARGE && level == 2)
		bits |= 0x3fffe000;
	if (entry & PTE_LARGE && level == 1)
		bits |= 0x1fe000;
	return bits;
}

/* Three levels for PAE, four for 64-bit. */
static bool walk64(struct soft_walk *w)
{
	struct soft_cpu *c = w->c;
	bool pae = !(c->efer & EFER_LMA);
	int level = pae ? 2 : 3;
	uint64_t at[4], entry[4], table = c->cr3 & (pae ? 0xffffffe0 : PTE_ADDRESS);
	int top = level;

	w->rights = PTE_WRITE | PTE_USER;
	for (;; level--) {
		unsigned shift = 12 + 9 * level;

		at[level] = table + (w->linear >> shift & (pae && level == 2 ? 3 : 0x1ff)) * 8;
		entry[level] = pae && level == 2 ? c->pdpte[w->linear >> 30 & 3]
						 : read_entry(c, at[level], 8);
		if (!(entry[level] & PTE_PRESENT))
			return fail(w, 0);
		if (entry[level] & reserved_bits(c, level, entry[level], pae))
			return fail(w, PF_PRESENT | PF_RESERVED);
		if (!(pae && level == 2)) {
			w->rights &= entry[level] | ~(PTE_WRITE | PTE_USER);
			w->rights |= entry[level] & PTE_NX;
		}
		if (level == 0 || (level < 3 && entry[level] & PTE_LARGE && !(pae && level == 2)))
			break;
		table = entry[level] & PTE_ADDRESS;
	}
	if (!allowed(w))
		return fail(w, PF_PRESENT);
	for (int i = top; i >= level; i--)
		if (!(pae && i == 2))
			mark(w, at[i], entry[i], 8, i == level);
	w->global = entry[level] & PTE_GLOBAL;
	w->shift = 12 + 9 * level;
	w->physical = entry[level] & PTE_ADDRESS & ~((1ULL << (12 + 9 * level)) - 1);
	w->physical |= w->linear & ((1ULL << (12 + 9 * level)) - 1);
	return true;
}

bool soft_translate(struct soft_walk *w)
{
	struct soft_cpu *c = w->c;
	bool found = true;

	if (!(c->cr0 & CR0_PG)) {
		w->physical = w->linear;
		w->global = true;
	} else {
		found = c->cr4 & CR4_PAE ? walk64(w) : walk32(w);
	}
	w->physical &= ~c->engine->a20_closed;
	return found;
}
