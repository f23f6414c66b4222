/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores by linear address, and how to come to one.  soft.h includes it, at its end: the
 * way by a hit of the TLB is inline.
 */
#ifndef CPU_SOFT_MMU_H
#define CPU_SOFT_MMU_H

/* --- linear.c --- */
uint64_t soft_linear(struct soft_cpu *c, unsigned segment, uint64_t offset, unsigned size,
	bool write); /* checks the segment; faults */
/* Whether the segment has all of them; the pages are not looked at. */
bool soft_span_allowed(
	struct soft_cpu *c, unsigned segment, uint64_t offset, unsigned size, bool write);

/* --- mmu.c --- */
/* The debugger's watchpoints have changed: which pages may be accessed directly.  What was
 * translated stays, or the guest could tell. */
void soft_tlb_look_again(struct soft_cpu *c);
uint64_t soft_load_slow(struct soft_cpu *c, uint64_t linear, unsigned size, bool rmw);
void soft_store_slow(struct soft_cpu *c, uint64_t linear, uint64_t value, unsigned size);
/* As the processor itself, at privilege 0 (descriptor tables, TSS). */
uint64_t soft_system_load(struct soft_cpu *c, uint64_t linear, unsigned size);
void soft_system_store(struct soft_cpu *c, uint64_t linear, uint64_t value, unsigned size);
/* Host address of `linear` for execution; the rest of its page follows.  Faults.  NULL: not RAM. */
const uint8_t *soft_fetch(struct soft_cpu *c, uint64_t linear);
void soft_tlb_flush(struct soft_cpu *c, bool global_too);
void soft_tlb_flush_page(struct soft_cpu *c, uint64_t linear);
void soft_tlb_forget_writes(struct soft_cpu *c, uint64_t physical); /* the page now holds code */
/* For debuggers: physical address, or UINT64_MAX.  No side effect. */
uint64_t soft_probe(struct soft_cpu *c, uint64_t linear);
void soft_read_bytes(struct soft_cpu *c, uint64_t linear, void *to, unsigned size);
void soft_write_bytes(struct soft_cpu *c, uint64_t linear, const void *from, unsigned size);
/* Host code that was linked or looked up before is not gone to any more without a look. */
void soft_new_generation(struct soft_cpu *c);
/* Would a write of `size` bytes fault?  Faults then; nothing is written. */
void soft_check_write(struct soft_cpu *c, uint64_t linear, unsigned size);

static inline uint64_t soft_page(uint64_t linear)
{
	return linear & ~0xfffULL;
}

/* Guest addresses have any alignment. */
static inline uint64_t soft_load_host(const void *at, unsigned size)
{
	uint16_t two;
	uint32_t four;
	uint64_t eight;

	switch (size) {
	case 1: return *(const uint8_t *)at;
	case 2: memcpy(&two, at, 2); return two;
	case 4: memcpy(&four, at, 4); return four;
	default: memcpy(&eight, at, 8); return eight;
	}
}

static inline void soft_store_host(void *at, uint64_t value, unsigned size)
{
	switch (size) {
	case 1: *(uint8_t *)at = value; break;
	case 2: memcpy(at, &value, 2); break;
	case 4: memcpy(at, &value, 4); break;
	default: memcpy(at, &value, 8); break;
	}
}

static inline uint64_t soft_load(struct soft_cpu *c, uint64_t linear, unsigned size)
{
	struct tlb_entry *e = &c->tlb[c->user][linear >> 12 & (TLB_ENTRIES - 1)];

	/* A tag that is the last byte's page is the first byte's, too: a neighbour has another
	 * entry.  */
	if (e->read == soft_page(linear + size - 1)) {
		const void *at = (const void *)(linear + e->offset);

		return soft_load_host(at, size);
	}
	return soft_load_slow(c, linear, size, false);
}

static inline void soft_store(struct soft_cpu *c, uint64_t linear, uint64_t value, unsigned size)
{
	struct tlb_entry *e = &c->tlb[c->user][linear >> 12 & (TLB_ENTRIES - 1)];

	if (e->write == soft_page(linear + size - 1)) {
		void *at = (void *)(linear + e->offset);

		soft_store_host(at, value, size);
		return;
	}
	soft_store_slow(c, linear, value, size);
}

/* A load whose store follows: the right to write is checked first. */
static inline uint64_t soft_load_rmw(struct soft_cpu *c, uint64_t linear, unsigned size)
{
	struct tlb_entry *e = &c->tlb[c->user][linear >> 12 & (TLB_ENTRIES - 1)];

	if (e->write == soft_page(linear + size - 1))
		return soft_load(c, linear, size);
	return soft_load_slow(c, linear, size, true);
}

#endif
