/* SPDX-License-Identifier: MIT */
/*
 * The cache of translations, and loads and stores through it.
 *
 * The TLB keeps, for a page and a privilege, which accesses were found to be allowed; of these, the
 * tags `read`, `write` and `execute` are those that may go straight to RAM.  Pages of MMIO, and
 * writes to pages that hold decoded code, take the slow way each time.
 */
#include <string.h>

#include "base/fault.h"
#include "cpu/soft/paging.h"

void soft_wrote(struct soft_cpu *c, uint64_t physical, unsigned size, unsigned by)
{
	uint64_t unused = 0;

	if (fault_cpu("code-written", by, &unused) != FAULT_DROP)
		soft_code_written(c->engine, physical, size);
}

static struct tlb_entry *slot(struct soft_cpu *c, uint64_t linear, bool user)
{
	return &c->tlb[user][linear >> 12 & (TLB_ENTRIES - 1)];
}

static struct ram_block *block_of(struct soft_cpu *c, uint64_t physical)
{
	struct guest_memory *mem = soft_memory(c);

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
static void fill(struct soft_cpu *c, const struct soft_walk *w, struct tlb_entry *e)
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
	struct soft_walk w = {
		.c = c, .linear = linear, .write = write, .user = user, .fetch = fetch};

	if ((fetch ? e->checked_execute : write ? e->checked_write : e->checked_read) == page) {
		/* The page may hold no code any more. */
		if (write && e->read == page && e->write != page) {
			w.physical = e->physical;
			w.global = e->global;
			w.shift = e->large;
			fill(c, &w, e);
		}
		return e;
	}
	c->counters.tlb_misses++;
	soft_translate(&w);
	fill(c, &w, e);
	return e;
}

static uint64_t load_physical(struct soft_cpu *c, uint64_t physical, unsigned size)
{
	uint64_t value = 0;

	if (guest_peek(soft_memory(c), physical, &value, size) == 0)
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
		soft_wrote(c, physical, size, CODE_BY_STORE);
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

static void look_again(struct soft_cpu *c, struct tlb_entry *e, bool user)
{
	uint64_t page = e->checked_read, physical = e->physical;
	struct ram_block *block = page == TLB_INVALID ? NULL : block_of(c, physical);
	bool direct = block && !needs_look(c, page, user);

	if (!block)
		return;
	e->read = direct ? page : TLB_INVALID;
	e->write = direct && e->checked_write == page && !block->readonly &&
				   !soft_is_code(c->engine, physical)
			   ? page
			   : TLB_INVALID;
	set_fast(c, e);
}

void soft_tlb_look_again(struct soft_cpu *c)
{
	for (unsigned user = 0; user < 2; user++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			look_again(c, &c->tlb[user][i], user);
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
	struct soft_walk w = {.c = c, .linear = linear, .probe = true};

	return soft_translate(&w) ? w.physical : UINT64_MAX;
}
