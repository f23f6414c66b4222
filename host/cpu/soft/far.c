/* SPDX-License-Identifier: MIT */
/*
 * Far jumps, calls and returns, call gates (SDM 3A, 5.8).  Task switches are in task.c.
 */
#include "base/fault.h"
#include "cpu/soft/soft.h"

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
	gate->offset |= soft_upper_base(c, selector);
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

	if (soft_is_real(c))
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
	if (soft_is_real(c)) {
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
	soft_drop_inner_segments(c);
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

	if (soft_is_real(c)) {
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
