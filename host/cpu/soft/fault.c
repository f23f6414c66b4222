/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and interrupts (SDM 3A, chapter 6): delivery through the IDT in real, protected and
 * 64-bit mode, error codes, double and triple fault, and IRET in every form.
 */
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "cpu/report.h"
#include "cpu/situation.h"
#include "cpu/soft/soft.h"

/* gate types */
#define GATE_TASK   0x5
#define GATE_INT16  0x6
#define GATE_TRAP16 0x7
#define GATE_INT32  0xe
#define GATE_TRAP32 0xf

#define EXT 1 /* of an error code: not caused by the program */
#define IDT 2

_Noreturn void soft_fault(struct soft_cpu *c, enum vector vector, int64_t error)
{
	c->fault_vector = vector;
	c->fault_error = error;
	c->implicit = false;
	c->debug_hits = 0; /* the instruction is done again, and meets them again */
	longjmp(c->escape, 1);
}

_Noreturn void soft_page_fault(struct soft_cpu *c, uint64_t linear, uint32_t error)
{
	c->cr2 = linear;
	soft_fault(c, V_PF, error);
}

static bool is_contributory(int vector)
{
	return vector == V_DE || (vector >= V_TS && vector <= V_GP);
}

static bool has_error_code(unsigned vector)
{
	return vector == V_DF || (vector >= V_TS && vector <= V_PF) || vector == V_AC;
}

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

static void clear_segment(struct soft_segment *s)
{
	*s = (struct soft_segment){.unusable = true};
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
		clear_segment(&c->seg[vm_segments[i]]);
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
		clear_segment(&c->seg[SEG_SS]);
		c->seg[SEG_SS].selector = dpl;
	}
	c->gpr[RSP] = f.sp;
	enter_flags(c, vector, !(type & 1));
	cs.selector = (cs.selector & ~3) | dpl;
	soft_set_cs(c, &cs, dpl);
	c->next_rip = target;
}

static void deliver(struct soft_cpu *c, unsigned vector, bool software, int64_t error,
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
	deliver(c, vector, checked, 0, false, c->next_rip);
	c->after |= AFTER_STEP_BY_RESULT; /* the handler is not stepped into (17.3.1.4) */
}

static void triple_fault(struct soft_cpu *c)
{
	struct machine *machine = c->engine->engine.machine;
	struct cpu_state state;

	if (!soft_engine_ops.get_state(&c->engine->engine, c->index, &state))
		cpu_report(&machine->memory, c->index, &state, "triple fault");
	cpu_situation_at_end(machine, c->index, "triple fault");
	c->halted = true;
	machine_request_reset(machine, CAUSE_GUEST_RESET);
}

/* What a fault while delivering another event becomes (table 6-5).  -1: a triple fault. */
static int combine(int first, int second)
{
	if (first == V_DF)
		return -1;
	if (first == V_PF)
		return second == V_PF || is_contributory(second) ? V_DF : second;
	if (is_contributory(first))
		return is_contributory(second) ? V_DF : second;
	return second;
}

/* For the tests of the tests: what is raised is not what should be. */
static void change_fault(struct soft_cpu *c)
{
	uint64_t vector = c->fault_vector, error = c->fault_error;

	fault_cpu("error", vector, &error);
	if (vector == V_PF)
		fault_cpu("cr2", vector, &c->cr2);
	fault_cpu("vector", vector, &vector);
	c->fault_vector = vector;
	c->fault_error = error;
}

void soft_take_fault(struct soft_cpu *c)
{
	struct soft_event *event = &c->event;
	uint64_t first, combined;

	change_fault(c);
	soft_trail_note(c, c->fault_vector, c->fault_error, false);
	if (!event->active) {
		*event = (struct soft_event){.active = true,
			.fault = true,
			.vector = c->fault_vector,
			.error = c->fault_error,
			.rsp = c->gpr[RSP],
			.flags = c->flags};
		return;
	}
	/* The delivery is undone; what it had loaded of segments it loads last. */
	c->gpr[RSP] = event->rsp;
	c->flags = event->flags;
	first = event->vector;
	event->vector = event->fault ? combine(event->vector, c->fault_vector) : c->fault_vector;
	combined = event->vector;
	fault_cpu("combine", first, &combined);
	event->vector = (int)combined;
	event->error = event->vector == V_DF ? 0 : c->fault_error;
	event->fault = true;
	if (event->vector < 0) {
		event->active = false;
		triple_fault(c);
	}
}

void soft_deliver(struct soft_cpu *c)
{
	const struct soft_event *event = &c->event;
	bool with_error = event->fault && has_error_code(event->vector) && c->cr0 & CR0_PE;

	/* Faults restart the instruction, so RF is set in the image (17.3.1.1). */
	if (event->fault && event->vector != V_DB && event->vector != V_DF)
		c->flags |= F_RF;
	c->next_rip = c->rip;
	deliver(c, event->vector, false, event->error, with_error, c->rip);
	c->rip = c->next_rip;
	if (event->fault)
		c->inhibit = INHIBIT_NONE;
	if (event->fault && event->vector == V_DB)
		soft_debug_entered(c);
	c->halted = false;
	c->event.active = false;
}

void soft_post_interrupt(struct soft_cpu *c, unsigned vector)
{
	c->event = (struct soft_event){
		.active = true, .vector = vector, .rsp = c->gpr[RSP], .flags = c->flags};
}

void soft_post_trap(struct soft_cpu *c, enum vector vector)
{
	soft_post_interrupt(c, vector);
	c->event.fault = true;
	c->event.error = NO_ERROR_CODE;
}

/* --- IRET --- */

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
			clear_segment(s);
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
