/* SPDX-License-Identifier: MIT */
/*
 * Segments (SDM 3A, chapters 3 and 5): loading selectors, far jumps, calls and returns, call gates,
 * and what changes with the mode of the processor.  Task switches are in task.c.
 */
#include "base/fault.h"
#include "cpu/soft/soft.h"

#define TYPE_TSS16_AVAILABLE 0x1
#define TYPE_LDT	     0x2
#define TYPE_TSS16_BUSY	     0x3
#define TYPE_CALL16	     0x4
#define TYPE_TASK_GATE	     0x5
#define TYPE_TSS32_AVAILABLE 0x9
#define TYPE_TSS32_BUSY	     0xb
#define TYPE_CALL32	     0xc

static bool is_real(const struct soft_cpu *c)
{
	return !(c->cr0 & CR0_PE) || c->flags & F_VM;
}

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

	fault_cpu("descriptor", selector, &changed);
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

	if (is_real(c)) {
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

/* System descriptors have 16 bytes in long mode. */
static uint64_t upper_base(struct soft_cpu *c, uint16_t selector)
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
	s.base |= upper_base(c, selector);
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
	s.base |= upper_base(c, selector);
	set_descriptor_bits(c, selector, 2, 0);
	s.rights |= 2;
	c->seg[SEG_TR] = s;
}

/* --- far transfers --- */

static void jump_real(struct soft_cpu *c, uint16_t selector, uint64_t offset)
{
	if (offset > 0xffff && offset > c->seg[SEG_CS].limit)
		soft_fault(c, V_GP, 0);
	c->seg[SEG_CS].selector = selector;
	c->seg[SEG_CS].base = (uint32_t)selector << 4;
	if (c->flags & F_VM)
		c->seg[SEG_CS].limit = 0xffff;
	c->next_rip = offset;
	c->break_block = true;
}

static void check_offset(struct soft_cpu *c, const struct soft_segment *cs, uint64_t offset)
{
	bool to_long = c->efer & EFER_LMA && cs->rights & R_L;

	if (to_long ? (int64_t)(offset << 16) >> 16 != (int64_t)offset : offset > cs->limit)
		soft_fault(c, V_GP, 0);
}

/* A code segment as the direct target of a far jump or call. */
static void check_code(struct soft_cpu *c, uint16_t selector, const struct soft_segment *cs)
{
	unsigned rpl = selector & 3, dpl = R_DPL(cs->rights);

	if (cs->rights & R_DOWN ? dpl > c->cpl : rpl > c->cpl || dpl != c->cpl)
		soft_fault(c, V_GP, selector & ~3);
	if (c->efer & EFER_LMA && cs->rights & R_L && cs->rights & R_D)
		soft_fault(c, V_GP, selector & ~3);
	if (!(cs->rights & R_PRESENT))
		soft_fault(c, V_NP, selector & ~3);
}

struct gate {
	uint16_t selector;
	uint64_t offset;
	unsigned size, parameters;
};

/* A call gate: who may use it, and where it leads. */
static void read_gate(struct soft_cpu *c, uint16_t selector, uint64_t raw, struct gate *gate)
{
	unsigned dpl = raw >> 45 & 3, type = raw >> 40 & 0xf;
	bool is_long = c->efer & EFER_LMA;

	if (dpl < c->cpl || dpl < (selector & 3u) || (is_long && type != TYPE_CALL32))
		soft_fault(c, V_GP, selector & ~3);
	if (!(raw >> 47 & 1))
		soft_fault(c, V_NP, selector & ~3);
	gate->selector = raw >> 16;
	gate->offset = raw & 0xffff;
	gate->size = is_long ? 8 : type == TYPE_CALL32 ? 4 : 2;
	gate->parameters = is_long ? 0 : raw >> 32 & 0x1f;
	if (type == TYPE_CALL32)
		gate->offset |= raw >> 32 & 0xffff0000;
	gate->offset |= upper_base(c, selector);
}

static unsigned check_gate_target(
	struct soft_cpu *c, const struct gate *gate, struct soft_segment *cs, bool is_call)
{
	uint64_t raw;
	unsigned dpl;

	if (!(gate->selector & ~3))
		soft_fault(c, V_GP, 0);
	if (!soft_descriptor(c, gate->selector, &raw))
		soft_fault(c, V_GP, gate->selector & ~3);
	soft_unpack(cs, gate->selector, raw);
	dpl = R_DPL(cs->rights);
	if ((cs->rights & (R_S | R_CODE)) != (R_S | R_CODE) || dpl > c->cpl ||
		(!is_call && !(cs->rights & R_DOWN) && dpl != c->cpl))
		soft_fault(c, V_GP, gate->selector & ~3);
	if (c->efer & EFER_LMA && (!(cs->rights & R_L) || cs->rights & R_D))
		soft_fault(c, V_GP, gate->selector & ~3);
	if (!(cs->rights & R_PRESENT))
		soft_fault(c, V_NP, gate->selector & ~3);
	return cs->rights & R_DOWN ? c->cpl : dpl;
}

static void jump_to(struct soft_cpu *c, struct soft_segment *cs, unsigned cpl, uint64_t offset)
{
	check_offset(c, cs, offset);
	cs->selector = (cs->selector & ~3) | cpl;
	soft_set_cs(c, cs, cpl);
	c->next_rip = offset;
}

/* What a far jump or call finds behind its selector, but a code segment. */
static void far_system(struct soft_cpu *c, uint16_t selector, uint64_t raw, bool is_call);

static bool far_target(
	struct soft_cpu *c, uint16_t selector, struct soft_segment *cs, uint64_t *raw)
{
	if (!(selector & ~3))
		soft_fault(c, V_GP, 0);
	if (!soft_descriptor(c, selector, raw))
		soft_fault(c, V_GP, selector & ~3);
	soft_unpack(cs, selector, *raw);
	if (!(cs->rights & R_S))
		return false;
	if (!(cs->rights & R_CODE))
		soft_fault(c, V_GP, selector & ~3);
	check_code(c, selector, cs);
	return true;
}

void soft_far_jump(struct soft_cpu *c, uint16_t selector, uint64_t offset, unsigned size)
{
	struct soft_segment cs;
	uint64_t raw;

	if (is_real(c))
		jump_real(c, selector, offset);
	else if (far_target(c, selector, &cs, &raw))
		jump_to(c, &cs, c->cpl, offset);
	else
		far_system(c, selector, raw, false);
}

void soft_far_call(struct soft_cpu *c, uint16_t selector, uint64_t offset, unsigned size)
{
	uint64_t rsp = c->gpr[RSP], raw, pushed = c->seg[SEG_CS].selector;
	struct soft_segment cs;

	fault_cpu("far-cs", c->cpl, &pushed);
	if (is_real(c)) {
		soft_push(c, pushed, size);
		soft_push(c, c->next_rip, size);
		jump_real(c, selector, offset);
		return;
	}
	if (!far_target(c, selector, &cs, &raw)) {
		far_system(c, selector, raw, true);
		return;
	}
	check_offset(c, &cs, offset);
	soft_check_write(c,
		soft_linear(
			c, SEG_SS, (rsp - 2 * size) & soft_mask(soft_stack_size(c)), size, true),
		size);
	soft_push(c, pushed, size);
	soft_push(c, c->next_rip, size);
	jump_to(c, &cs, c->cpl, offset);
}

static void inner_stack(struct soft_cpu *c, unsigned cpl, struct soft_segment *ss, uint64_t *sp)
{
	const struct soft_segment *tr = &c->seg[SEG_TR];
	bool wide = tr->rights & 8;
	unsigned at = c->efer & EFER_LMA ? 4 + cpl * 8 : wide ? 4 + cpl * 8 : 2 + cpl * 4;
	uint16_t selector;
	uint64_t raw;

	if (at + 7 > tr->limit)
		soft_fault(c, V_TS, tr->selector & ~3);
	if (c->efer & EFER_LMA) {
		*sp = soft_system_load(c, tr->base + at, 8);
		*ss = (struct soft_segment){.selector = cpl, .unusable = true};
		return;
	}
	*sp = soft_system_load(c, tr->base + at, wide ? 4 : 2);
	selector = soft_system_load(c, tr->base + at + (wide ? 4 : 2), 2);
	if (!(selector & ~3) || !soft_descriptor(c, selector, &raw))
		soft_fault(c, V_TS, selector & ~3);
	soft_unpack(ss, selector, raw);
	if ((selector & 3) != cpl || R_DPL(ss->rights) != cpl || !(ss->rights & R_S) ||
		ss->rights & R_CODE || !(ss->rights & R_WRITE))
		soft_fault(c, V_TS, selector & ~3);
	if (!(ss->rights & R_PRESENT))
		soft_fault(c, V_SS, selector & ~3);
}

static void gate_push(struct soft_cpu *c, const struct soft_segment *ss, uint64_t *sp,
	uint64_t value, unsigned size)
{
	uint64_t mask = c->efer & EFER_LMA ? UINT64_MAX : ss->rights & R_D ? 0xffffffff : 0xffff;

	*sp = (*sp - size) & mask;
	soft_system_store(c, ss->base + *sp, value & soft_mask(size), size);
}

static void call_inward(
	struct soft_cpu *c, const struct gate *gate, struct soft_segment *cs, unsigned cpl)
{
	uint64_t sp, old_mask = soft_mask(soft_stack_size(c)), copied[32];
	struct soft_segment ss;

	inner_stack(c, cpl, &ss, &sp);
	check_offset(c, cs, gate->offset);
	for (unsigned i = 0; i < gate->parameters; i++)
		copied[i] = soft_load(c,
			soft_linear(c, SEG_SS, (c->gpr[RSP] + i * gate->size) & old_mask,
				gate->size, false),
			gate->size);
	gate_push(c, &ss, &sp, c->seg[SEG_SS].selector, gate->size);
	gate_push(c, &ss, &sp, c->gpr[RSP], gate->size);
	for (unsigned i = gate->parameters; i-- > 0;)
		gate_push(c, &ss, &sp, copied[i], gate->size);
	gate_push(c, &ss, &sp, c->seg[SEG_CS].selector, gate->size);
	gate_push(c, &ss, &sp, c->next_rip, gate->size);
	c->seg[SEG_SS] = ss;
	c->gpr[RSP] = sp;
	jump_to(c, cs, cpl, gate->offset);
}

static void through_gate(struct soft_cpu *c, uint16_t selector, uint64_t raw, bool is_call)
{
	struct soft_segment cs;
	struct gate gate;
	unsigned cpl;

	read_gate(c, selector, raw, &gate);
	cpl = check_gate_target(c, &gate, &cs, is_call);
	if (!is_call) {
		jump_to(c, &cs, c->cpl, gate.offset);
		return;
	}
	if (cpl < c->cpl) {
		call_inward(c, &gate, &cs, cpl);
		return;
	}
	check_offset(c, &cs, gate.offset);
	soft_push(c, c->seg[SEG_CS].selector, gate.size);
	soft_push(c, c->next_rip, gate.size);
	jump_to(c, &cs, c->cpl, gate.offset);
}

static void far_system(struct soft_cpu *c, uint16_t selector, uint64_t raw, bool is_call)
{
	unsigned type = raw >> 40 & 0xf, dpl = raw >> 45 & 3;

	if (type == TYPE_CALL32 || (type == TYPE_CALL16 && !(c->efer & EFER_LMA))) {
		through_gate(c, selector, raw, is_call);
		return;
	}
	if (c->efer & EFER_LMA || dpl < c->cpl || dpl < (selector & 3u))
		soft_fault(c, V_GP, selector & ~3);
	if (type == TYPE_TASK_GATE) {
		if (!(raw >> 47 & 1))
			soft_fault(c, V_NP, selector & ~3);
		selector = raw >> 16;
		if (selector & 4 || !soft_descriptor(c, selector, &raw))
			soft_fault(c, V_GP, selector & ~3);
		type = raw >> 40 & 0xf;
	}
	if (type != TYPE_TSS16_AVAILABLE && type != TYPE_TSS32_AVAILABLE)
		soft_fault(c, V_GP, selector & ~3);
	soft_task_switch(c, selector, raw, is_call ? TASK_CALL : TASK_JUMP);
}

/* Segments that an outer level may not keep become null. */
static void drop_inner(struct soft_cpu *c)
{
	static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

	for (unsigned i = 0; i < 4; i++) {
		struct soft_segment *s = &c->seg[data[i]];
		bool conforming = (s->rights & (R_CODE | R_DOWN)) == (R_CODE | R_DOWN);

		if (!s->unusable && R_DPL(s->rights) < c->cpl && !conforming)
			*s = (struct soft_segment){.unusable = true};
	}
}

static void return_outward(struct soft_cpu *c, struct soft_segment *cs, uint64_t offset,
	unsigned size, unsigned release, unsigned rpl)
{
	uint64_t mask = soft_mask(soft_stack_size(c)), at = c->gpr[RSP] + 2 * size + release;
	uint64_t sp = soft_load(c, soft_linear(c, SEG_SS, at & mask, size, false), size), raw;
	uint16_t selector =
		soft_load(c, soft_linear(c, SEG_SS, (at + size) & mask, size, false), size);
	bool to_long = c->efer & EFER_LMA && cs->rights & R_L;
	struct soft_segment ss;

	if (!(selector & ~3)) {
		if (!to_long || rpl == 3)
			soft_fault(c, V_GP, 0);
		ss = (struct soft_segment){.selector = selector, .unusable = true};
	} else {
		if (!soft_descriptor(c, selector, &raw))
			soft_fault(c, V_GP, selector & ~3);
		soft_unpack(&ss, selector, raw);
		if ((selector & 3u) != rpl || R_DPL(ss.rights) != rpl || !(ss.rights & R_S) ||
			ss.rights & R_CODE || !(ss.rights & R_WRITE))
			soft_fault(c, V_GP, selector & ~3);
		if (!(ss.rights & R_PRESENT))
			soft_fault(c, V_SS, selector & ~3);
	}
	check_offset(c, cs, offset);
	mask = to_long ? UINT64_MAX : ss.rights & R_D ? 0xffffffff : 0xffff;
	c->gpr[RSP] = to_long ? sp + release : (c->gpr[RSP] & ~mask) | ((sp + release) & mask);
	c->seg[SEG_SS] = ss;
	soft_set_cs(c, cs, rpl);
	drop_inner(c);
	c->next_rip = offset;
}

void soft_far_return(struct soft_cpu *c, unsigned size, unsigned release)
{
	uint64_t mask = soft_mask(soft_stack_size(c)), rsp = c->gpr[RSP], raw;
	uint64_t offset = soft_load(c, soft_linear(c, SEG_SS, rsp & mask, size, false), size);
	uint16_t selector =
		soft_load(c, soft_linear(c, SEG_SS, (rsp + size) & mask, size, false), size);
	struct soft_segment cs;
	unsigned rpl = selector & 3, dpl;

	if (is_real(c)) {
		jump_real(c, selector, offset);
		c->gpr[RSP] = (rsp & ~mask) | ((rsp + 2 * size + release) & mask);
		return;
	}
	if (!(selector & ~3))
		soft_fault(c, V_GP, 0);
	if (!soft_descriptor(c, selector, &raw))
		soft_fault(c, V_GP, selector & ~3);
	soft_unpack(&cs, selector, raw);
	dpl = R_DPL(cs.rights);
	if ((cs.rights & (R_S | R_CODE)) != (R_S | R_CODE) || rpl < c->cpl ||
		(cs.rights & R_DOWN ? dpl > rpl : dpl != rpl) ||
		(c->efer & EFER_LMA && cs.rights & R_L && cs.rights & R_D))
		soft_fault(c, V_GP, selector & ~3);
	if (!(cs.rights & R_PRESENT))
		soft_fault(c, V_NP, selector & ~3);
	if (rpl > c->cpl) {
		return_outward(c, &cs, offset, size, release, rpl);
		return;
	}
	check_offset(c, &cs, offset);
	c->gpr[RSP] = (rsp & ~mask) | ((rsp + 2 * size + release) & mask);
	soft_set_cs(c, &cs, rpl);
	c->next_rip = offset;
}

/* --- control registers and flags --- */

/* PAE without long mode reads its four top entries with CR3. */
static void load_pdpte(struct soft_cpu *c)
{
	uint64_t entries[4];

	if (!(c->cr0 & CR0_PG) || !(c->cr4 & CR4_PAE) || c->efer & EFER_LMA)
		return;
	for (unsigned i = 0; i < 4; i++) {
		if (guest_read(&c->engine->engine.machine->memory, (c->cr3 & 0xffffffe0) + i * 8,
			    &entries[i], 8) < 0)
			entries[i] = 0;
		if (entries[i] & 1 && entries[i] & 0xfffffff0000001e6ULL & ~0xfffffff000ULL)
			soft_fault(c, V_GP, 0);
	}
	for (unsigned i = 0; i < 4; i++)
		c->pdpte[i] = entries[i];
}

void soft_set_cr0(struct soft_cpu *c, uint64_t value)
{
	uint64_t old = c->cr0;

	if (value >> 32 || (value & CR0_PG && !(value & CR0_PE)) ||
		(value & CR0_NW && !(value & CR0_CD)))
		soft_fault(c, V_GP, 0);
	if (value & CR0_PG && !(old & CR0_PG) && c->efer & EFER_LME) {
		if (!(c->cr4 & CR4_PAE) || c->seg[SEG_CS].rights & R_L)
			soft_fault(c, V_GP, 0);
		c->efer |= EFER_LMA;
	} else if (!(value & CR0_PG) && old & CR0_PG && c->efer & EFER_LMA) {
		if (c->long_mode)
			soft_fault(c, V_GP, 0);
		c->efer &= ~(uint64_t)EFER_LMA;
	}
	c->cr0 = (value & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW |
				  CR0_CD | CR0_PG)) |
		 CR0_ET;
	if ((old ^ c->cr0) & CR0_PG)
		load_pdpte(c);
	if ((old ^ c->cr0) & (CR0_PG | CR0_WP | CR0_PE | CR0_AM))
		soft_tlb_flush(c, true);
	soft_mode_changed(c);
}

void soft_set_cr3(struct soft_cpu *c, uint64_t value)
{
	bool keep = c->cr4 & CR4_PCIDE && value >> 63;
	uint64_t old = c->cr3, flushed = value;

	if (c->cr4 & CR4_PCIDE)
		value &= ~(1ULL << 63);
	if (c->long_mode && value >> 40)
		soft_fault(c, V_GP, 0);
	c->cr3 = value;
	load_pdpte(c);
	/* One set of translations is kept: those of another PCID go with the switch. */
	if ((!keep || (old & 0xfff) != (value & 0xfff)) &&
		fault_cpu("flush", 3, &flushed) != FAULT_DROP)
		soft_tlb_flush(c, false);
}

void soft_set_cr4(struct soft_cpu *c, uint64_t value)
{
	uint64_t old = c->cr4;

	if (value & ~soft_cr4_bits(c) || (c->efer & EFER_LMA && !(value & CR4_PAE)) ||
		(value & CR4_PCIDE && !(old & CR4_PCIDE) &&
			(!(c->efer & EFER_LMA) || c->cr3 & 0xfff)))
		soft_fault(c, V_GP, 0);
	c->cr4 = value;
	if ((old ^ value) & CR4_PAE)
		load_pdpte(c);
	if ((old ^ value) & CR4_DE)
		soft_debug_changed(c);
	if ((old ^ value) & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP))
		soft_tlb_flush(c, true);
	c->break_block = true;
}

void soft_set_flags(struct soft_cpu *c, uint32_t value, uint32_t changeable)
{
	uint32_t old = c->flags;

	c->flags = (old & ~changeable) | (value & changeable) | 2;
	/* SMAP's exception, and whether user pages may be accessed directly. */
	if ((old ^ c->flags) & F_AC && (c->cr4 & CR4_SMAP || c->cr0 & CR0_AM))
		soft_tlb_flush(c, true);
	/* Interrupts that waited for IF, and the trap after the next instruction. */
	if (c->flags & (F_IF | F_TF))
		c->break_block = true;
}
