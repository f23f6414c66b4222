/* SPDX-License-Identifier: MIT */
/*
 * From linear to physical addresses (SDM 3A, chapter 4): 2-, 3- and 4-level paging with all page
 * sizes, NX, WP, SMEP, SMAP, accessed and dirty bits, and the cache of translations.
 *
 * The TLB keeps, for a page and a privilege, which accesses were found to be allowed; of these, the
 * tags `read`, `write` and `execute` are those that may go straight to RAM.  Pages of MMIO, and
 * writes to pages that hold decoded code, take the slow way each time.
 */
#include <string.h>

#include "base/fault.h"
#include "cpu/soft/soft.h"

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

struct walk {
	struct soft_cpu *c;
	uint64_t linear;
	bool write, user, fetch;
	bool probe;	   /* no faults, no accessed bits */
	uint64_t rights;   /* AND of U and W, OR of NX of all levels */
	uint64_t physical; /* result: of the byte */
	bool global;
	uint8_t shift; /* of the page's size */
};

static struct guest_memory *memory(struct soft_cpu *c)
{
	return &c->engine->engine.machine->memory;
}

static uint64_t read_entry(struct soft_cpu *c, uint64_t physical, unsigned size)
{
	uint64_t value = 0;

	/* A table outside of RAM reads as all ones, like any other hole. */
	if (guest_peek(memory(c), physical, &value, size) < 0)
		return soft_mask(size);
	return value;
}

static void code_written(struct soft_cpu *c, uint64_t physical, unsigned size, unsigned by)
{
	uint64_t unused = 0;

	if (fault_cpu("code-written", by, &unused) != FAULT_DROP)
		soft_code_written(c->engine, physical, size);
}

static void write_entry(struct soft_cpu *c, uint64_t physical, uint64_t value, unsigned size)
{
	if (guest_poke(memory(c), physical, &value, size) < 0)
		return; /* ROM keeps its bits */
	code_written(c, physical, size, CODE_BY_WALK);
}

static bool fail(struct walk *w, uint32_t error)
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
static bool allowed(struct walk *w)
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
static void mark(struct walk *w, uint64_t at, uint64_t entry, unsigned size, bool leaf)
{
	uint64_t marked = entry | PTE_ACCESSED | (leaf && w->write ? PTE_DIRTY : 0);

	fault_cpu("mark", w->linear, &marked);
	if (marked != entry && !w->probe)
		write_entry(w->c, at, marked, size);
}

static bool walk32(struct walk *w)
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
static bool walk64(struct walk *w)
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

static bool translate(struct walk *w)
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

static struct tlb_entry *slot(struct soft_cpu *c, uint64_t linear, bool user)
{
	return &c->tlb[user][linear >> 12 & (TLB_ENTRIES - 1)];
}

static struct ram_block *block_of(struct soft_cpu *c, uint64_t physical)
{
	struct guest_memory *mem = memory(c);

	for (unsigned i = 0; i < mem->count; i++)
		if (physical - mem->blocks[i].address < mem->blocks[i].size)
			return &mem->blocks[i];
	return NULL;
}

/* Must every access to the page be looked at?  Breakpoints on data, and alignment checks. */
static bool needs_look(const struct soft_cpu *c, uint64_t page, bool user)
{
	return (user && c->cr0 & CR0_AM && c->flags & F_AC) ||
	       (c->debug_data && soft_debug_watches(c, page));
}

/* For host code: what the entry allows. */
static void set_fast(struct soft_cpu *c, const struct tlb_entry *e)
{
	size_t n = e - &c->tlb[0][0];
	uint64_t never = -((n % TLB_ENTRIES ^ 1) << 12);

	(&c->fast[0][0])[n] = (struct fast_page){
		.minus_read = e->read == TLB_INVALID ? never : -e->read,
		.minus_write = e->write == TLB_INVALID ? never : -e->write,
		.host = e->offset + (e->read == TLB_INVALID ? e->write : e->read),
	};
}

/* Makes the slot one of this page, keeping what it knows if it is already. */
static void fill(struct soft_cpu *c, const struct walk *w, struct tlb_entry *e)
{
	uint64_t page = soft_page(w->linear), physical = soft_page(w->physical);
	struct ram_block *block = block_of(c, physical);

	if (e->physical != physical || (e->checked_read != page && e->checked_write != page &&
					       e->checked_execute != page)) {
		e->read = e->write = e->execute = TLB_INVALID;
		e->checked_read = e->checked_write = e->checked_execute = TLB_INVALID;
	}
	e->physical = physical;
	e->global = w->global;
	e->large = w->shift > 12 ? w->shift : 0;
	if (w->fetch)
		e->checked_execute = page;
	else
		e->checked_read = page;
	if (w->write)
		e->checked_write = page;
	if (block) {
		e->offset = (uint64_t)(block->host + (physical - block->address)) - page;
		if (w->fetch)
			e->execute = page;
		else if (!needs_look(c, page, w->user))
			e->read = page;
		if (w->write && e->read == page && !block->readonly &&
			!soft_is_code(c->engine, physical))
			e->write = page;
	}
	set_fast(c, e);
}

static struct tlb_entry *look_up(
	struct soft_cpu *c, uint64_t linear, bool write, bool fetch, bool user)
{
	struct tlb_entry *e = slot(c, linear, user);
	uint64_t page = soft_page(linear);
	struct walk w = {.c = c, .linear = linear, .write = write, .user = user, .fetch = fetch};

	if ((fetch ? e->checked_execute : write ? e->checked_write : e->checked_read) == page) {
		/* The page may hold no code any more. */
		if (write && e->read == page && e->write != page) {
			w.physical = e->physical;
			w.global = e->global;
			fill(c, &w, e);
		}
		return e;
	}
	c->counters.tlb_misses++;
	translate(&w);
	fill(c, &w, e);
	return e;
}

static uint64_t load_physical(struct soft_cpu *c, uint64_t physical, unsigned size)
{
	uint64_t value = 0;

	if (guest_peek(memory(c), physical, &value, size) == 0)
		return value;
	c->counters.exits++;
	c->counters.mmio_exits++;
	if (soft_lapic_covers(c, physical))
		return soft_lapic_read(c, physical, size);
	value = space_read(&c->engine->engine.machine->mmio, physical, size);
	soft_after_access(c);
	return value;
}

static void store_physical(struct soft_cpu *c, uint64_t physical, uint64_t value, unsigned size)
{
	struct ram_block *block = block_of(c, physical);

	if (block) {
		if (block->readonly)
			return;
		memcpy(block->host + (physical - block->address), &value, size);
		code_written(c, physical, size, CODE_BY_STORE);
		return;
	}
	c->counters.exits++;
	c->counters.mmio_exits++;
	if (soft_lapic_covers(c, physical))
		soft_lapic_write(c, physical, value, size);
	else
		space_write(&c->engine->engine.machine->mmio, physical, value, size);
	soft_after_access(c);
}

/* How much of the access lies on its first page. */
static unsigned first_part(uint64_t linear, unsigned size)
{
	unsigned left = 0x1000 - (linear & 0xfff);

	return size < left ? size : left;
}

/* The same; one that ends beyond the canonical addresses faults before anything is looked up. */
static unsigned crosses(struct soft_cpu *c, uint64_t linear, unsigned size)
{
	unsigned part = first_part(linear, size);

	if (part < size && c->long_mode &&
		(int64_t)((linear + part) << 16) >> 16 != (int64_t)(linear + part))
		soft_fault(c, V_GP, 0);
	return part;
}

static uint64_t load_as(struct soft_cpu *c, uint64_t linear, unsigned size, bool rmw, bool user)
{
	unsigned part = crosses(c, linear, size);
	struct tlb_entry *e = look_up(c, linear, rmw, false, user);
	uint64_t physical = e->physical | (linear & 0xfff), next, value;

	if (part == size)
		return load_physical(c, physical, size);
	/* Both pages are checked before either is read. */
	next = linear + part;
	if (!c->long_mode && !(c->efer & EFER_LMA))
		next &= 0xffffffff;
	e = look_up(c, next, rmw, false, user);
	value = load_physical(c, physical, part);
	return value | load_physical(c, e->physical, size - part) << part * 8;
}

static void store_as(struct soft_cpu *c, uint64_t linear, uint64_t value, unsigned size, bool user)
{
	unsigned part = crosses(c, linear, size);
	struct tlb_entry *e = look_up(c, linear, true, false, user);
	uint64_t physical = e->physical | (linear & 0xfff), next;

	if (part == size) {
		store_physical(c, physical, value, size);
		return;
	}
	next = linear + part;
	if (!c->long_mode && !(c->efer & EFER_LMA))
		next &= 0xffffffff;
	e = look_up(c, next, true, false, user);
	store_physical(c, physical, value & soft_mask(part), part);
	store_physical(c, e->physical, value >> part * 8, size - part);
}

/* Alignment check (SDM 3A, 6.15, #AC): at privilege 3 with CR0.AM and RFLAGS.AC. */
static void check_alignment(struct soft_cpu *c, uint64_t linear, unsigned size)
{
	if (c->user && c->cr0 & CR0_AM && c->flags & F_AC && linear & (size - 1))
		soft_fault(c, V_AC, 0);
}

uint64_t soft_load_slow(struct soft_cpu *c, uint64_t linear, unsigned size, bool rmw)
{
	check_alignment(c, linear, size);
	if (c->debug_data)
		soft_debug_access(c, linear, size, false);
	return load_as(c, linear, size, rmw, c->user);
}

void soft_store_slow(struct soft_cpu *c, uint64_t linear, uint64_t value, unsigned size)
{
	check_alignment(c, linear, size);
	if (c->debug_data)
		soft_debug_access(c, linear, size, true);
	store_as(c, linear, value, size, c->user);
}

uint64_t soft_system_load(struct soft_cpu *c, uint64_t linear, unsigned size)
{
	uint64_t value;

	c->implicit = true;
	value = load_as(c, linear, size, false, false);
	c->implicit = false;
	return value;
}

void soft_system_store(struct soft_cpu *c, uint64_t linear, uint64_t value, unsigned size)
{
	c->implicit = true;
	store_as(c, linear, value, size, false);
	c->implicit = false;
}

void soft_check_write(struct soft_cpu *c, uint64_t linear, unsigned size)
{
	unsigned part = first_part(linear, size);

	look_up(c, linear, true, false, c->user);
	if (part < size)
		look_up(c, linear + part, true, false, c->user);
}

void soft_read_bytes(struct soft_cpu *c, uint64_t linear, void *to, unsigned size)
{
	uint8_t *at = to;

	for (; size >= 8; size -= 8, at += 8, linear += 8) {
		uint64_t value = soft_load(c, linear, 8);

		memcpy(at, &value, 8);
	}
	for (; size; size--, at++, linear++)
		*at = soft_load(c, linear, 1);
}

void soft_write_bytes(struct soft_cpu *c, uint64_t linear, const void *from, unsigned size)
{
	const uint8_t *at = from;

	soft_check_write(c, linear, size);
	for (; size >= 8; size -= 8, at += 8, linear += 8) {
		uint64_t value;

		memcpy(&value, at, 8);
		soft_store(c, linear, value, 8);
	}
	for (; size; size--, at++, linear++)
		soft_store(c, linear, *at, 1);
}

const uint8_t *soft_fetch(struct soft_cpu *c, uint64_t linear)
{
	struct tlb_entry *e = slot(c, linear, c->user);

	if (e->execute != soft_page(linear))
		e = look_up(c, linear, false, true, c->user);
	return e->execute == soft_page(linear) ? (const uint8_t *)(linear + e->offset) : NULL;
}

static uint64_t page_of(const struct tlb_entry *e)
{
	return e->checked_read != TLB_INVALID	 ? e->checked_read
	       : e->checked_write != TLB_INVALID ? e->checked_write
						 : e->checked_execute;
}

static void invalidate(struct soft_cpu *c, struct tlb_entry *e)
{
	e->large = 0;
	e->read = e->write = e->execute = TLB_INVALID;
	e->checked_read = e->checked_write = e->checked_execute = TLB_INVALID;
	set_fast(c, e);
}

void soft_new_generation(struct soft_cpu *c)
{
	for (unsigned user = 0; user < 2; user++)
		c->generations[user] = ++c->engine->generation;
	c->generation = c->generations[c->user];
}

void soft_tlb_flush(struct soft_cpu *c, bool global_too)
{
	for (unsigned user = 0; user < 2; user++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			if (global_too || !c->tlb[user][i].global)
				invalidate(c, &c->tlb[user][i]);
	soft_new_generation(c);
}

void soft_tlb_flush_page(struct soft_cpu *c, uint64_t linear)
{
	for (unsigned user = 0; user < 2; user++) {
		invalidate(c, slot(c, linear, user));
		/* All that is known of a large page goes with any address in it (4.10.4.1). */
		for (unsigned i = 0; i < TLB_ENTRIES; i++) {
			struct tlb_entry *e = &c->tlb[user][i];

			if (e->large && (page_of(e) ^ linear) >> e->large == 0)
				invalidate(c, e);
		}
	}
	soft_new_generation(c);
}

void soft_tlb_forget_writes(struct soft_cpu *c, uint64_t physical)
{
	for (unsigned user = 0; user < 2; user++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			if (c->tlb[user][i].physical == soft_page(physical)) {
				c->tlb[user][i].write = TLB_INVALID;
				set_fast(c, &c->tlb[user][i]);
			}
}

uint64_t soft_probe(struct soft_cpu *c, uint64_t linear)
{
	struct walk w = {.c = c, .linear = linear, .probe = true};

	return translate(&w) ? w.physical : UINT64_MAX;
}

/* The rights of a segment for an access of `size` bytes at `offset` (SDM 3A, 5.3 to 5.5). */
static bool segment_allows(const struct soft_segment *s, uint64_t offset, unsigned size, bool write)
{
	uint64_t last = offset + size - 1, top = s->rights & R_D ? 0xffffffff : 0xffff;

	if (s->unusable)
		return false;
	if (s->rights & R_CODE ? write || !(s->rights & R_WRITE) : write && !(s->rights & R_WRITE))
		return false;
	if (!(s->rights & R_CODE) && s->rights & R_DOWN)
		return offset > s->limit && last <= top;
	return last <= s->limit && last >= offset;
}

bool soft_span_allowed(
	struct soft_cpu *c, unsigned segment, uint64_t offset, unsigned size, bool write)
{
	return c->long_mode || segment_allows(&c->seg[segment], offset, size, write);
}

uint64_t soft_linear(
	struct soft_cpu *c, unsigned segment, uint64_t offset, unsigned size, bool write)
{
	const struct soft_segment *s = &c->seg[segment];
	uint64_t linear;

	if (!c->long_mode) {
		/* Real mode has limits only: even CS may be written (SDM 3A, table 9-1). */
		if (!segment_allows(s, offset, size, write && c->cr0 & CR0_PE))
			soft_fault(c, segment == SEG_SS ? V_SS : V_GP, 0);
		return (s->base + offset) & 0xffffffff;
	}
	linear = segment >= SEG_FS ? s->base + offset : offset;
	if (!soft_canonical(linear, size))
		soft_fault(c, segment == SEG_SS ? V_SS : V_GP, 0);
	return linear;
}

void soft_push(struct soft_cpu *c, uint64_t value, unsigned size)
{
	uint64_t mask = soft_mask(soft_stack_size(c));
	uint64_t sp = (c->gpr[RSP] - size) & mask;
	uint64_t linear = soft_linear(c, SEG_SS, sp, size, true);

	soft_store(c, linear, value & soft_mask(size), size);
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | sp;
}

uint64_t soft_pop(struct soft_cpu *c, unsigned size)
{
	uint64_t mask = soft_mask(soft_stack_size(c)), sp = c->gpr[RSP] & mask;
	uint64_t value = soft_load(c, soft_linear(c, SEG_SS, sp, size, false), size);

	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | ((sp + size) & mask);
	return value;
}
