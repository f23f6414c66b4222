/* SPDX-License-Identifier: MIT */
/*
 * Segments (SDM 3A, chapters 3 and 5): descriptors, loading selectors, and what changes with the
 * code segment.  Far transfers are in far.c.
 */
#include "base/fault.h"
#include "cpu/soft/soft.h"

static uint64_t table_of(const struct soft_cpu *c, uint16_t selector, uint32_t *limit)
{
	if (selector & 4) {
		*limit = c->seg[SEG_LDT].unusable ? 0 : c->seg[SEG_LDT].limit;
		return c->seg[SEG_LDT].base;
	}
	*limit = c->gdt.limit;
	return c->gdt.base;
}

bool soft_descriptor(struct soft_cpu *c, uint16_t selector, uint64_t *raw)
{
	uint32_t limit;
	uint64_t base = table_of(c, selector, &limit);

	if (selector & 4 && c->seg[SEG_LDT].unusable)
		return false;
	if ((selector | 7u) > limit)
		return false;
	*raw = soft_system_load(c, base + (selector & ~7u), 8);
	fault_cpu("descriptor", selector & ~7u, raw);
	return true;
}

static void set_descriptor_bits(struct soft_cpu *c, uint16_t selector, uint8_t set, uint8_t clear)
{
	uint32_t limit;
	uint64_t at = table_of(c, selector, &limit) + (selector & ~7u) + 5;
	uint8_t byte = soft_system_load(c, at, 1);
	uint64_t changed = (byte | set) & ~clear;

	fault_cpu("descriptor-marks", selector, &changed);
	if (changed != byte)
		soft_system_store(c, at, changed, 1);
}

void soft_unpack(struct soft_segment *s, uint16_t selector, uint64_t raw)
{
	uint32_t limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);

	*s = (struct soft_segment){
		.selector = selector,
		.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000),
		.rights = raw >> 40 & 0xf0ff,
	};
	s->limit = s->rights & R_G ? limit << 12 | 0xfff : limit;
}

void soft_mode_changed(struct soft_cpu *c)
{
	c->long_mode = c->efer & EFER_LMA && c->seg[SEG_CS].rights & R_L && !(c->flags & F_VM);
	c->user = c->cpl == 3;
	c->break_block = true;
}

void soft_set_cs(struct soft_cpu *c, const struct soft_segment *s, unsigned cpl)
{
	c->seg[SEG_CS] = *s;
	c->seg[SEG_CS].rights |= R_ACCESSED;
	c->cpl = cpl;
	if (!(s->rights & R_ACCESSED) && s->selector & ~3)
		set_descriptor_bits(c, s->selector, R_ACCESSED, 0);
	soft_mode_changed(c);
}

static void load_real(struct soft_cpu *c, unsigned segment, uint16_t selector)
{
	struct soft_segment *s = &c->seg[segment];

	s->selector = selector;
	s->base = (uint32_t)selector << 4;
	s->unusable = false;
	if (c->flags & F_VM) {
		s->limit = 0xffff;
		s->rights = 0xf3;
	} else if (!(s->rights & R_PRESENT)) {
		s->rights = 0x93;
	}
}

static void load_null(struct soft_cpu *c, unsigned segment, uint16_t selector)
{
	if (segment == SEG_SS && !(c->long_mode && c->cpl < 3 && (selector & 3) == c->cpl))
		soft_fault(c, V_GP, 0);
	c->seg[segment].selector = selector;
	c->seg[segment].unusable = true;
	/* A null FS or GS has base 0, as AMD and Intel differ: Intel's way. */
	c->seg[segment].base = 0;
}

void soft_load_segment(struct soft_cpu *c, unsigned segment, uint16_t selector)
{
	struct soft_segment s;
	unsigned rpl = selector & 3, dpl;
	uint64_t raw;

	if (soft_is_real(c)) {
		load_real(c, segment, selector);
		return;
	}
	if (!(selector & ~3)) {
		load_null(c, segment, selector);
		return;
	}
	if (!soft_descriptor(c, selector, &raw))
		soft_fault(c, V_GP, selector & ~3);
	soft_unpack(&s, selector, raw);
	dpl = R_DPL(s.rights);
	if (segment == SEG_SS) {
		if (rpl != c->cpl || dpl != c->cpl || !(s.rights & R_S) || s.rights & R_CODE ||
			!(s.rights & R_WRITE))
			soft_fault(c, V_GP, selector & ~3);
	} else {
		bool readable = !(s.rights & R_CODE) || s.rights & R_WRITE;
		bool conforming = (s.rights & (R_CODE | R_DOWN)) == (R_CODE | R_DOWN);

		if (!(s.rights & R_S) || !readable || (!conforming && (dpl < rpl || dpl < c->cpl)))
			soft_fault(c, V_GP, selector & ~3);
	}
	if (!(s.rights & R_PRESENT))
		soft_fault(c, segment == SEG_SS ? V_SS : V_NP, selector & ~3);
	if (!(s.rights & R_ACCESSED))
		set_descriptor_bits(c, selector, R_ACCESSED, 0);
	s.rights |= R_ACCESSED;
	c->seg[segment] = s;
}

uint64_t soft_upper_base(struct soft_cpu *c, uint16_t selector)
{
	uint32_t limit;
	uint64_t base = table_of(c, selector, &limit);

	if (!(c->efer & EFER_LMA))
		return 0;
	if ((selector & ~7u) + 15 > limit)
		soft_fault(c, V_GP, selector & ~3);
	return soft_system_load(c, base + (selector & ~7u) + 8, 8) << 32;
}

void soft_load_ldt(struct soft_cpu *c, uint16_t selector)
{
	struct soft_segment s;
	uint64_t raw;

	if (!(selector & ~3)) {
		c->seg[SEG_LDT] = (struct soft_segment){.selector = selector, .unusable = true};
		return;
	}
	if (selector & 4 || !soft_descriptor(c, selector, &raw))
		soft_fault(c, V_GP, selector & ~3);
	soft_unpack(&s, selector, raw);
	if ((s.rights & (R_S | R_TYPE)) != TYPE_LDT)
		soft_fault(c, V_GP, selector & ~3);
	if (!(s.rights & R_PRESENT))
		soft_fault(c, V_NP, selector & ~3);
	s.base |= soft_upper_base(c, selector);
	c->seg[SEG_LDT] = s;
}

void soft_load_tr(struct soft_cpu *c, uint16_t selector)
{
	struct soft_segment s;
	unsigned type;
	uint64_t raw;

	if (!(selector & ~3))
		soft_fault(c, V_GP, 0);
	if (selector & 4 || !soft_descriptor(c, selector, &raw))
		soft_fault(c, V_GP, selector & ~3);
	soft_unpack(&s, selector, raw);
	type = s.rights & (R_S | R_TYPE);
	if (type != TYPE_TSS32_AVAILABLE && (type != TYPE_TSS16_AVAILABLE || c->efer & EFER_LMA))
		soft_fault(c, V_GP, selector & ~3);
	if (!(s.rights & R_PRESENT))
		soft_fault(c, V_NP, selector & ~3);
	s.base |= soft_upper_base(c, selector);
	set_descriptor_bits(c, selector, 2, 0);
	s.rights |= 2;
	c->seg[SEG_TR] = s;
}
