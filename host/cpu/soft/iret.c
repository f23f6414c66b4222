/* SPDX-License-Identifier: MIT */
/* IRET in every form (SDM 2A, IRET; 3A, 6.8.3, 6.14.3): in real mode, to virtual-8086 mode, between
 * levels, from a task. */
#include "base/fault.h"
#include "cpu/soft/soft.h"

static uint32_t changeable_flags(const struct soft_cpu *c, unsigned size)
{
	uint32_t mask = F_ARITHMETIC | F_TF | F_DF | F_NT;

	if (size > 2)
		mask |= F_RF | F_AC | F_ID;
	if (c->cpl <= (c->flags & F_IOPL) >> 12)
		mask |= F_IF;
	if (c->cpl == 0)
		mask |= F_IOPL | (size > 2 ? F_VIF | F_VIP : 0);
	return mask;
}

static void iret_real(struct soft_cpu *c, unsigned size)
{
	uint64_t rsp = c->gpr[RSP], ip = soft_pop(c, size), cs = soft_pop(c, size);
	uint32_t flags = soft_pop(c, size),
		 mask = F_ARITHMETIC | F_TF | F_DF | F_NT | F_IF | F_IOPL;

	if (ip > 0xffff) {
		c->gpr[RSP] = rsp;
		soft_fault(c, V_GP, 0);
	}
	if (c->flags & F_VM)
		mask &= ~F_IOPL;
	c->seg[SEG_CS].selector = cs;
	c->seg[SEG_CS].base = (cs & 0xffff) << 4;
	soft_set_flags(c, flags, mask | (size > 2 ? F_RF | F_AC | F_ID : 0));
	c->next_rip = ip;
}

static void iret_to_vm86(struct soft_cpu *c, const uint32_t *frame)
{
	static const uint8_t order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

	soft_set_flags(c, frame[2],
		F_ARITHMETIC | F_TF | F_IF | F_DF | F_IOPL | F_NT | F_RF | F_VM | F_AC | F_VIF |
			F_VIP | F_ID);
	c->gpr[RSP] = frame[3];
	c->cpl = 3;
	for (unsigned i = 0; i < 6; i++) {
		uint16_t selector = i == 4 ? frame[1] : i == 5 ? frame[4] : frame[5 + i];
		unsigned n = i == 4 ? SEG_CS : i == 5 ? SEG_SS : order[i];

		c->seg[n] = (struct soft_segment){.selector = selector,
			.base = (uint32_t)selector << 4,
			.limit = 0xffff,
			.rights = 0xf3};
	}
	c->next_rip = frame[0] & 0xffff;
	soft_mode_changed(c);
}

void soft_drop_inner_segments(struct soft_cpu *c)
{
	static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
	uint64_t none = 0;

	for (unsigned i = 0; i < 4; i++) {
		struct soft_segment *s = &c->seg[data[i]];
		bool conforming = (s->rights & (R_CODE | R_DOWN)) == (R_CODE | R_DOWN);

		if (!s->unusable && R_DPL(s->rights) < c->cpl && !conforming &&
			fault_cpu("drop-segment", s->selector, &none) != FAULT_DROP)
			soft_clear_segment(s);
	}
}

static void check_return_code(struct soft_cpu *c, uint16_t selector, struct soft_segment *cs)
{
	uint64_t raw;
	unsigned rpl = selector & 3, dpl;

	if (!(selector & ~3))
		soft_fault(c, V_GP, 0);
	if (!soft_descriptor(c, selector, &raw))
		soft_fault(c, V_GP, selector & ~3);
	soft_unpack(cs, selector, raw);
	dpl = R_DPL(cs->rights);
	if ((cs->rights & (R_S | R_CODE)) != (R_S | R_CODE) || rpl < c->cpl ||
		(cs->rights & R_DOWN ? dpl > rpl : dpl != rpl))
		soft_fault(c, V_GP, selector & ~3);
	if (c->efer & EFER_LMA && cs->rights & R_L && cs->rights & R_D)
		soft_fault(c, V_GP, selector & ~3);
	if (!(cs->rights & R_PRESENT))
		soft_fault(c, V_NP, selector & ~3);
}

static void check_return_stack(
	struct soft_cpu *c, uint16_t selector, unsigned rpl, bool to_long, struct soft_segment *ss)
{
	uint64_t raw;

	if (!(selector & ~3)) {
		/* 64-bit code may run on a null stack segment, but at level 3. */
		if (!to_long || rpl == 3 || (selector & 3) != rpl)
			soft_fault(c, V_GP, 0);
		*ss = (struct soft_segment){.selector = selector, .unusable = true};
		return;
	}
	if (!soft_descriptor(c, selector, &raw))
		soft_fault(c, V_GP, selector & ~3);
	soft_unpack(ss, selector, raw);
	if ((selector & 3) != rpl || R_DPL(ss->rights) != rpl || !(ss->rights & R_S) ||
		ss->rights & R_CODE || !(ss->rights & R_WRITE))
		soft_fault(c, V_GP, selector & ~3);
	if (!(ss->rights & R_PRESENT))
		soft_fault(c, V_SS, selector & ~3);
}

static void iret_protected(struct soft_cpu *c, unsigned size)
{
	uint64_t mask = soft_mask(soft_stack_size(c)), sp = c->gpr[RSP], frame[9];
	struct soft_segment cs, ss;
	unsigned rpl;
	bool to_long, takes_stack;

	for (unsigned i = 0; i < 3; i++)
		frame[i] = soft_load(
			c, soft_linear(c, SEG_SS, (sp + i * size) & mask, size, false), size);
	if (frame[2] & F_VM && size == 4 && c->cpl == 0 && !(c->efer & EFER_LMA)) {
		uint32_t words[9];

		for (unsigned i = 0; i < 9; i++)
			words[i] = soft_load(
				c, soft_linear(c, SEG_SS, (sp + i * 4) & mask, 4, false), 4);
		iret_to_vm86(c, words);
		return;
	}
	rpl = frame[1] & 3;
	check_return_code(c, frame[1], &cs);
	to_long = c->efer & EFER_LMA && cs.rights & R_L;
	/* From 64-bit code the stack always comes along. */
	takes_stack = rpl > c->cpl || c->long_mode;
	if (takes_stack) {
		for (unsigned i = 3; i < 5; i++)
			frame[i] = soft_load(c,
				soft_linear(c, SEG_SS, (sp + i * size) & mask, size, false), size);
		check_return_stack(c, frame[4], rpl, to_long, &ss);
	}
	if (to_long ? (int64_t)(frame[0] << 16) >> 16 != (int64_t)frame[0] : frame[0] > cs.limit)
		soft_fault(c, V_GP, 0);
	soft_set_flags(c, frame[2], changeable_flags(c, size));
	if (takes_stack) {
		uint64_t new_mask = to_long ? UINT64_MAX : ss.rights & R_D ? 0xffffffff : 0xffff;
		bool outward = rpl > c->cpl;

		fault_cpu("iret-rsp", frame[4], &frame[3]);
		c->gpr[RSP] =
			to_long ? frame[3] : (c->gpr[RSP] & ~new_mask) | (frame[3] & new_mask);
		c->seg[SEG_SS] = ss;
		soft_set_cs(c, &cs, rpl);
		if (outward)
			soft_drop_inner_segments(c);
	} else {
		c->gpr[RSP] = (c->gpr[RSP] & ~mask) | ((sp + 3 * size) & mask);
		soft_set_cs(c, &cs, rpl);
	}
	c->next_rip = frame[0];
}

void soft_iret(struct soft_cpu *c, unsigned size)
{
	uint64_t raw, blocked = 0; /* even if IRET faults (6.7.1) */

	fault_cpu("nmi-blocked", size, &blocked);
	c->nmi_blocked = blocked;
	if (!(c->cr0 & CR0_PE)) {
		iret_real(c, size);
	} else if (c->flags & F_VM) {
		if ((c->flags & F_IOPL) != F_IOPL)
			soft_fault(c, V_GP, 0);
		iret_real(c, size);
	} else if (c->flags & F_NT) {
		uint16_t link;

		if (c->efer & EFER_LMA)
			soft_fault(c, V_GP, 0);
		link = soft_system_load(c, c->seg[SEG_TR].base, 2);
		if (link & 4 || !soft_descriptor(c, link, &raw))
			soft_fault(c, V_TS, link & ~3);
		soft_task_switch(c, link, raw, TASK_IRET);
	} else {
		iret_protected(c, size);
	}
	c->after |= AFTER_KEEPS_RF;
	c->break_block = true;
}
