/* SPDX-License-Identifier: MIT */
/* Task switches in 16- and 32-bit protected mode (SDM 3A, chapter 7). */
#include "cpu/soft/soft.h"

#define BUSY 0x2

/* Offsets of a 32-bit TSS (figure 7-2); a 16-bit one has words from 14 on (figure 7-10). */
#define TSS32_CR3    28
#define TSS32_EIP    32
#define TSS32_LDT    96
#define TSS32_TRAP   100
#define TSS16_IP     14
#define TSS16_LDT    42
#define TSS32_LENGTH 104
#define TSS16_LENGTH 44

static const uint8_t segment_order[] = {SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS};

struct task {
	bool wide;
	uint32_t cr3, ip, flags, gpr[8];
	uint16_t segment[6], ldt;
	bool trap;
};

static void set_busy(struct soft_cpu *c, uint16_t selector, bool busy)
{
	uint64_t at = c->gdt.base + (selector & ~7u) + 5;
	uint8_t byte = soft_system_load(c, at, 1);

	soft_system_store(c, at, busy ? byte | BUSY : byte & ~BUSY, 1);
}

static void save(struct soft_cpu *c, uint32_t flags)
{
	const struct soft_segment *tr = &c->seg[SEG_TR];
	bool wide = tr->rights & 8;
	unsigned size = wide ? 4 : 2, at = wide ? TSS32_EIP : TSS16_IP;

	soft_system_store(c, tr->base + at, c->next_rip & soft_mask(size), size);
	soft_system_store(c, tr->base + (at += size), flags & soft_mask(size), size);
	for (unsigned i = 0; i < 8; i++)
		soft_system_store(c, tr->base + (at += size), c->gpr[i] & soft_mask(size), size);
	for (unsigned i = 0; i < (wide ? 6 : 4); i++)
		soft_system_store(c, tr->base + (at += size), c->seg[segment_order[i]].selector, 2);
}

static void read_task(struct soft_cpu *c, const struct soft_segment *tr, struct task *t)
{
	unsigned size, at;

	*t = (struct task){.wide = tr->rights & 8};
	size = t->wide ? 4 : 2;
	at = t->wide ? TSS32_EIP : TSS16_IP;
	if (t->wide) {
		t->cr3 = soft_system_load(c, tr->base + TSS32_CR3, 4);
		t->trap = soft_system_load(c, tr->base + TSS32_TRAP, 2) & 1;
	}
	t->ip = soft_system_load(c, tr->base + at, size);
	t->flags = soft_system_load(c, tr->base + (at += size), size);
	for (unsigned i = 0; i < 8; i++)
		t->gpr[i] = soft_system_load(c, tr->base + (at += size), size);
	for (unsigned i = 0; i < (t->wide ? 6 : 4); i++)
		t->segment[i] = soft_system_load(c, tr->base + (at += size), 2);
	t->ldt = soft_system_load(c, tr->base + (t->wide ? TSS32_LDT : TSS16_LDT), 2);
}

/* In a task switch what is wrong with a selector is #TS, what is absent #NP or #SS (table 7-1). */
static void read_segment(struct soft_cpu *c, uint16_t selector, struct soft_segment *s)
{
	uint64_t raw;

	if (!(selector & ~3) || !soft_descriptor(c, selector, &raw))
		soft_fault(c, V_TS, selector & ~3);
	soft_unpack(s, selector, raw);
}

static void load_code(struct soft_cpu *c, uint16_t selector)
{
	unsigned rpl = selector & 3, dpl;
	struct soft_segment cs;

	read_segment(c, selector, &cs);
	dpl = R_DPL(cs.rights);
	if ((cs.rights & (R_S | R_CODE)) != (R_S | R_CODE) ||
		(cs.rights & R_DOWN ? dpl > rpl : dpl != rpl))
		soft_fault(c, V_TS, selector & ~3);
	if (!(cs.rights & R_PRESENT))
		soft_fault(c, V_NP, selector & ~3);
	soft_set_cs(c, &cs, rpl);
}

static void load_stack(struct soft_cpu *c, uint16_t selector)
{
	struct soft_segment ss;

	read_segment(c, selector, &ss);
	if ((selector & 3) != c->cpl || R_DPL(ss.rights) != c->cpl || !(ss.rights & R_S) ||
		ss.rights & R_CODE || !(ss.rights & R_WRITE))
		soft_fault(c, V_TS, selector & ~3);
	if (!(ss.rights & R_PRESENT))
		soft_fault(c, V_SS, selector & ~3);
	soft_load_segment(c, SEG_SS, selector);
}

static void load_data(struct soft_cpu *c, unsigned segment, uint16_t selector)
{
	struct soft_segment s;
	bool conforming;
	unsigned dpl;

	if (selector & ~3) {
		read_segment(c, selector, &s);
		dpl = R_DPL(s.rights);
		conforming = (s.rights & (R_CODE | R_DOWN)) == (R_CODE | R_DOWN);
		if (!(s.rights & R_S) || (s.rights & R_CODE && !(s.rights & R_WRITE)) ||
			(!conforming && (dpl < (selector & 3) || dpl < c->cpl)))
			soft_fault(c, V_TS, selector & ~3);
	}
	soft_load_segment(c, segment, selector);
}

static void load_table(struct soft_cpu *c, uint16_t selector)
{
	struct soft_segment s;

	if (selector & ~3) {
		if (selector & 4)
			soft_fault(c, V_TS, selector & ~3);
		read_segment(c, selector, &s);
		if ((s.rights & (R_S | R_TYPE)) != 2 || !(s.rights & R_PRESENT))
			soft_fault(c, V_TS, selector & ~3);
	}
	soft_load_ldt(c, selector);
}

/* The new task's segments; faults belong to it already. */
static void load_segments(struct soft_cpu *c, const struct task *t)
{
	for (unsigned i = 0; i < 6; i++)
		c->seg[segment_order[i]] =
			(struct soft_segment){.selector = t->segment[i], .unusable = true};
	c->seg[SEG_LDT] = (struct soft_segment){.selector = t->ldt, .unusable = true};
	c->cpl = c->flags & F_VM ? 3 : t->segment[1] & 3;
	soft_mode_changed(c);
	load_table(c, t->ldt);
	if (c->flags & F_VM) {
		for (unsigned i = 0; i < 6; i++)
			c->seg[segment_order[i]] = (struct soft_segment){.selector = t->segment[i],
				.base = (uint32_t)t->segment[i] << 4,
				.limit = 0xffff,
				.rights = 0xf3};
		soft_mode_changed(c);
		return;
	}
	load_code(c, t->segment[1]);
	load_stack(c, t->segment[2]);
	load_data(c, SEG_ES, t->segment[0]);
	load_data(c, SEG_DS, t->segment[3]);
	load_data(c, SEG_FS, t->segment[4]);
	load_data(c, SEG_GS, t->segment[5]);
}

static void check_new(struct soft_cpu *c, uint16_t selector, const struct soft_segment *tr,
	enum task_reason reason)
{
	unsigned type = tr->rights & R_TYPE;
	bool wants_busy = reason == TASK_IRET;

	if (tr->rights & R_S || (type & ~8u) != (wants_busy ? 3 : 1))
		soft_fault(c, reason == TASK_IRET ? V_TS : V_GP, selector & ~3);
	if (!(tr->rights & R_PRESENT))
		soft_fault(c, V_NP, selector & ~3);
	if (tr->limit < (type & 8 ? TSS32_LENGTH : TSS16_LENGTH) - 1)
		soft_fault(c, V_TS, selector & ~3);
}

void soft_task_switch(struct soft_cpu *c, uint16_t selector, uint64_t raw, enum task_reason reason)
{
	uint16_t old = c->seg[SEG_TR].selector;
	bool nests = reason == TASK_CALL || reason == TASK_INTERRUPT;
	uint32_t flags = c->flags;
	struct soft_segment tr;
	struct task t;

	soft_unpack(&tr, selector, raw);
	check_new(c, selector, &tr, reason);
	read_task(c, &tr, &t);
	if (!nests)
		set_busy(c, old, false);
	if (reason == TASK_IRET)
		flags &= ~F_NT;
	save(c, flags);
	if (nests)
		soft_system_store(c, tr.base, old, 2);
	if (reason != TASK_IRET)
		set_busy(c, selector, true);
	/* From here on it is the new task. */
	tr.rights |= BUSY;
	c->seg[SEG_TR] = tr;
	c->cr0 |= CR0_TS;
	if (t.wide && c->cr0 & CR0_PG)
		soft_set_cr3(c, t.cr3);
	soft_set_flags(c, (t.wide ? t.flags & 0x3f7fd5 : t.flags & 0x7fd5) | (nests ? F_NT : 0),
		UINT32_MAX);
	for (unsigned i = 0; i < 8; i++)
		c->gpr[i] = t.wide ? t.gpr[i] : (c->gpr[i] & 0xffff0000) | t.gpr[i];
	c->next_rip = c->rip = t.ip;
	/* A fault from here on finds the new task's stack, not that of the event's beginning. */
	c->event.rsp = c->gpr[RSP];
	c->event.flags = c->flags;
	load_segments(c, &t);
	if (c->next_rip > c->seg[SEG_CS].limit)
		soft_fault(c, V_GP, 0);
	soft_debug_new_task(c, t.trap);
	c->after |= AFTER_KEEPS_RF;
	c->break_block = true;
}
