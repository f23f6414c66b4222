/* SPDX-License-Identifier: MIT */
/*
 * Delivery through the IDT (SDM 3A, 6.10 to 6.14): gates of real, protected and 64-bit mode, the
 * handler's code segment and stack, task gates, and what is pushed.
 */
#include "base/fault.h"
#include "base/log.h"
#include "cpu/soft/soft.h"

/* gate types */
#define GATE_TASK   0x5
#define GATE_INT16  0x6
#define GATE_TRAP16 0x7
#define GATE_INT32  0xe
#define GATE_TRAP32 0xf

#define EXT 1 /* of an error code: not caused by the program */
#define IDT 2

static uint32_t idt_error(const struct soft_cpu *c, unsigned vector, bool software)
{
	return vector << 3 | IDT | (software ? 0 : EXT);
}

/* Real mode: four bytes a vector. */
static void interrupt_real(struct soft_cpu *c, unsigned vector, uint64_t return_rip)
{
	uint32_t entry, flags = c->flags;

	if (vector * 4 + 3 > c->idt.limit)
		soft_fault(c, V_GP, idt_error(c, vector, true));
	entry = soft_system_load(c, c->idt.base + vector * 4, 4);
	soft_push(c, flags, 2);
	soft_push(c, c->seg[SEG_CS].selector, 2);
	soft_push(c, return_rip, 2);
	c->flags &= ~(F_IF | F_TF | F_AC | F_RF);
	c->seg[SEG_CS].selector = entry >> 16;
	c->seg[SEG_CS].base = entry >> 16 << 4;
	c->next_rip = entry & 0xffff;
	c->break_block = true;
}

/* The handler's code segment: present, code, and no less privileged than we are. */
static unsigned check_handler(
	struct soft_cpu *c, uint16_t selector, struct soft_segment *cs, uint32_t ext)
{
	uint64_t raw;
	unsigned dpl;

	if (!(selector & ~3))
		soft_fault(c, V_GP, ext);
	if (!soft_descriptor(c, selector, &raw))
		soft_fault(c, V_GP, (selector & ~3) | ext);
	soft_unpack(cs, selector, raw);
	dpl = R_DPL(cs->rights);
	if ((cs->rights & (R_S | R_CODE)) != (R_S | R_CODE) || dpl > c->cpl)
		soft_fault(c, V_GP, (selector & ~3) | ext);
	if (c->efer & EFER_LMA && (!(cs->rights & R_L) || cs->rights & R_D))
		soft_fault(c, V_GP, (selector & ~3) | ext);
	if (!(cs->rights & R_PRESENT))
		soft_fault(c, V_NP, (selector & ~3) | ext);
	return cs->rights & R_DOWN ? c->cpl : dpl;
}

/* Stack of an inner level from the TSS: 16- or 32-bit. */
static void stack_of_tss(struct soft_cpu *c, unsigned cpl, uint16_t *ss, uint32_t *esp)
{
	const struct soft_segment *tr = &c->seg[SEG_TR];
	bool wide = tr->rights & 8;
	unsigned at = wide ? 4 + cpl * 8 : 2 + cpl * 4;

	if (at + (wide ? 5 : 3) > tr->limit)
		soft_fault(c, V_TS, tr->selector & ~3);
	*esp = soft_system_load(c, tr->base + at, wide ? 4 : 2);
	*ss = soft_system_load(c, tr->base + at + (wide ? 4 : 2), 2);
}

static void check_inner_stack(
	struct soft_cpu *c, uint16_t selector, unsigned cpl, struct soft_segment *ss, uint32_t ext)
{
	uint64_t raw;

	if (!(selector & ~3))
		soft_fault(c, V_TS, ext);
	if (!soft_descriptor(c, selector, &raw))
		soft_fault(c, V_TS, (selector & ~3) | ext);
	soft_unpack(ss, selector, raw);
	if ((selector & 3) != cpl || R_DPL(ss->rights) != cpl || !(ss->rights & R_S) ||
		ss->rights & R_CODE || !(ss->rights & R_WRITE))
		soft_fault(c, V_TS, (selector & ~3) | ext);
	if (!(ss->rights & R_PRESENT))
		soft_fault(c, V_SS, (selector & ~3) | ext);
}

/* Pushes on a stack that is not loaded yet. */
struct frame {
	struct soft_cpu *c;
	uint64_t base, sp, mask;
	unsigned size;
};

static void frame_push(struct frame *f, uint64_t value)
{
	f->sp = (f->sp - f->size) & f->mask;
	soft_system_store(f->c, f->base + f->sp, value & soft_mask(f->size), f->size);
}

static uint32_t flags_image(const struct soft_cpu *c, unsigned vector)
{
	uint64_t flags = c->flags | 2;

	fault_cpu("flags", vector, &flags);
	return flags;
}

static void enter_flags(struct soft_cpu *c, unsigned vector, bool interrupt_gate)
{
	uint64_t cleared = F_TF | F_NT | F_RF | F_VM | (interrupt_gate ? F_IF : 0);

	fault_cpu("enter", vector, &cleared);
	c->flags &= ~cleared;
}

static const unsigned vm_segments[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES}; /* as they are pushed */

static uint64_t protected_gate(struct soft_cpu *c, unsigned vector, bool software)
{
	unsigned type;
	uint64_t gate;

	if (vector * 8 + 7 > c->idt.limit)
		soft_fault(c, V_GP, idt_error(c, vector, software));
	gate = soft_system_load(c, c->idt.base + vector * 8, 8);
	fault_cpu("gate", vector, &gate);
	type = gate >> 40 & 0x1f;
	if (type != GATE_TASK && (type & ~8u) != GATE_INT16 && (type & ~8u) != GATE_TRAP16)
		soft_fault(c, V_GP, idt_error(c, vector, software));
	if (software && (gate >> 45 & 3) < c->cpl)
		soft_fault(c, V_GP, idt_error(c, vector, true));
	if (!(gate >> 47 & 1))
		soft_fault(c, V_NP, idt_error(c, vector, software));
	return gate;
}

static void interrupt_task(struct soft_cpu *c, uint16_t selector, uint32_t ext, int64_t error,
	bool has_error, uint64_t return_rip)
{
	uint64_t raw;

	if (selector & 4 || !soft_descriptor(c, selector, &raw))
		soft_fault(c, V_GP, (selector & ~3) | ext);
	c->next_rip = return_rip;
	soft_task_switch(c, selector, raw, TASK_INTERRUPT);
	if (has_error)
		soft_push(c, error, c->seg[SEG_TR].rights & 8 ? 4 : 2);
}

/* 16- and 32-bit gates (6.12.1). */
static void interrupt_protected(struct soft_cpu *c, unsigned vector, bool software, int64_t error,
	bool has_error, uint64_t return_rip)
{
	struct soft_segment cs, ss = c->seg[SEG_SS];
	struct frame f = {.c = c};
	bool was_vm = c->flags & F_VM;
	unsigned type, dpl, old_cpl = c->cpl;
	uint32_t ext = software ? 0 : EXT, esp;
	uint64_t gate = protected_gate(c, vector, software), target;
	uint16_t selector;

	type = gate >> 40 & 0x1f;
	if (type == GATE_TASK) {
		interrupt_task(c, gate >> 16, ext, error, has_error, return_rip);
		return;
	}
	f.size = type & 8 ? 4 : 2;
	target = (gate & 0xffff) | (f.size == 4 ? gate >> 32 & 0xffff0000 : 0);
	dpl = check_handler(c, gate >> 16, &cs, ext);
	if (was_vm && dpl != 0)
		soft_fault(c, V_GP, (cs.selector & ~3) | ext);
	if (dpl < c->cpl) {
		stack_of_tss(c, dpl, &selector, &esp);
		check_inner_stack(c, selector, dpl, &ss, ext);
		f.sp = esp;
	} else {
		f.sp = c->gpr[RSP];
	}
	f.base = ss.base;
	f.mask = ss.rights & R_D ? 0xffffffff : 0xffff;
	f.sp &= f.mask;
	if (target > cs.limit)
		soft_fault(c, V_GP, ext);
	for (unsigned i = 0; was_vm && i < 4; i++)
		frame_push(&f, c->seg[vm_segments[i]].selector);
	if (dpl < old_cpl) {
		frame_push(&f, c->seg[SEG_SS].selector);
		frame_push(&f, c->gpr[RSP]);
	}
	frame_push(&f, flags_image(c, vector));
	frame_push(&f, c->seg[SEG_CS].selector);
	frame_push(&f, return_rip);
	if (has_error)
		frame_push(&f, error);
	for (unsigned i = 0; was_vm && i < 4; i++)
		soft_clear_segment(&c->seg[vm_segments[i]]);
	c->gpr[RSP] = dpl < old_cpl ? f.sp : (c->gpr[RSP] & ~f.mask) | f.sp;
	c->seg[SEG_SS] = ss;
	enter_flags(c, vector, !(type & 1));
	cs.selector = (cs.selector & ~3) | dpl;
	soft_set_cs(c, &cs, dpl);
	c->next_rip = target;
}

/* 64-bit gates (6.14): 16 bytes each, with an interrupt stack table. */
static void interrupt_long(struct soft_cpu *c, unsigned vector, bool software, int64_t error,
	bool has_error, uint64_t return_rip)
{
	struct soft_segment cs;
	struct frame f = {.c = c, .mask = UINT64_MAX, .size = 8};
	uint64_t low, high, at = c->idt.base + vector * 16, target;
	unsigned type, dpl, ist, old_cpl = c->cpl;
	uint32_t ext = software ? 0 : EXT;
	uint64_t saved_cs = c->seg[SEG_CS].selector;

	if (vector * 16 + 15 > c->idt.limit)
		soft_fault(c, V_GP, idt_error(c, vector, software));
	low = soft_system_load(c, at, 8);
	fault_cpu("gate", vector, &low);
	high = soft_system_load(c, at + 8, 8);
	type = low >> 40 & 0x1f;
	if (type != GATE_INT32 && type != GATE_TRAP32)
		soft_fault(c, V_GP, idt_error(c, vector, software));
	if (software && (low >> 45 & 3) < c->cpl)
		soft_fault(c, V_GP, idt_error(c, vector, true));
	if (!(low >> 47 & 1))
		soft_fault(c, V_NP, idt_error(c, vector, software));
	target = (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32;
	dpl = check_handler(c, low >> 16, &cs, ext);
	ist = low >> 32 & 7;
	if (ist || dpl < c->cpl) {
		unsigned offset = ist ? 36 + ist * 8 - 8 : 4 + dpl * 8;

		if (offset + 7 > c->seg[SEG_TR].limit)
			soft_fault(c, V_TS, (c->seg[SEG_TR].selector & ~3) | ext);
		f.sp = soft_system_load(c, c->seg[SEG_TR].base + offset, 8);
		if ((int64_t)(f.sp << 16) >> 16 != (int64_t)f.sp)
			soft_fault(c, V_SS, ext);
	} else {
		f.sp = c->gpr[RSP];
	}
	if ((int64_t)(target << 16) >> 16 != (int64_t)target)
		soft_fault(c, V_GP, ext);
	f.sp &= ~0xfULL;
	fault_cpu("stack", vector, &f.sp);
	frame_push(&f, c->seg[SEG_SS].selector);
	frame_push(&f, c->gpr[RSP]);
	frame_push(&f, flags_image(c, vector));
	fault_cpu("cs", vector, &saved_cs);
	frame_push(&f, saved_cs);
	frame_push(&f, return_rip);
	if (has_error)
		frame_push(&f, error);
	if (dpl < old_cpl) {
		/* A null selector with the new level as its RPL. */
		soft_clear_segment(&c->seg[SEG_SS]);
		c->seg[SEG_SS].selector = dpl;
	}
	c->gpr[RSP] = f.sp;
	enter_flags(c, vector, !(type & 1));
	cs.selector = (cs.selector & ~3) | dpl;
	soft_set_cs(c, &cs, dpl);
	c->next_rip = target;
}

void soft_through_gate(struct soft_cpu *c, unsigned vector, bool software, int64_t error,
	bool has_error, uint64_t return_rip)
{
	fault_cpu("rip", vector, &return_rip);
	if (log_wants(LOG_INT))
		soft_trace_interrupt(c, vector, software, has_error ? error : 0, return_rip);
	if (!(c->cr0 & CR0_PE))
		interrupt_real(c, vector, return_rip);
	else if (c->efer & EFER_LMA)
		interrupt_long(c, vector, software, error, has_error, return_rip);
	else
		interrupt_protected(c, vector, software, error, has_error, return_rip);
	c->break_block = true;
}

void soft_interrupt(struct soft_cpu *c, unsigned vector, bool checked)
{
	soft_through_gate(c, vector, checked, 0, false, c->next_rip);
	c->after |= AFTER_STEP_BY_RESULT; /* the handler is not stepped into (17.3.1.4) */
}
