/* SPDX-License-Identifier: MIT */
/*
 * The local APIC (SDM 3A, chapter 11): xAPIC registers at IA32_APIC_BASE, x2APIC MSRs, priorities,
 * the timer (one-shot, periodic, TSC deadline), interprocessor interrupts with INIT and start-up.
 *
 * Of the processors that a lowest-priority message addresses, the one with the lowest PPR gets it,
 * the lowest-numbered of equals.  Left out: error register beyond illegal vectors, SMI.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "cpu/soft/soft.h"

#define TIMER_HZ 1000000000LL /* the bus clock before the divider: VM time in ns */

/* register offsets / 16 */
enum {
	REG_ID = 0x02,
	REG_VERSION,
	REG_TPR = 0x08,
	REG_APR,
	REG_PPR,
	REG_EOI,
	REG_RRD,
	REG_LDR,
	REG_DFR,
	REG_SVR,
	REG_ISR = 0x10,
	REG_TMR = 0x18,
	REG_IRR = 0x20,
	REG_ESR = 0x28,
	REG_CMCI = 0x2f,
	REG_ICR = 0x30,
	REG_ICR_HIGH,
	REG_LVT_TIMER,
	REG_LVT_THERMAL,
	REG_LVT_PMC,
	REG_LVT_LINT0,
	REG_LVT_LINT1,
	REG_LVT_ERROR,
	REG_TIMER_INITIAL,
	REG_TIMER_CURRENT,
	REG_TIMER_DIVIDE = 0x3e,
	REG_SELF_IPI,
};

#define VERSION		     (0x14 | 5 << 16)
#define SVR_ENABLED	     0x100
#define LVT_MASKED	     0x10000
#define LVT_READ_ONLY	     0x5000 /* delivery status, remote IRR */
#define LVT_LEVEL	     0x8000
#define LVT_MODE(v)	     ((v) >> 8 & 7)
#define TIMER_MODE(v)	     ((v) >> 17 & 3)
#define TIMER_ONCE	     0
#define TIMER_PERIODIC	     1
#define TIMER_DEADLINE	     2
#define BASE_ADDRESS	     0xfffffff000ULL /* 40 bits of physical address */
#define BASE_ENABLED	     (1u << 11)
#define BASE_X2APIC	     (1u << 10)
#define BASE_BSP	     (1u << 8)
#define ERROR_SEND_VECTOR    0x20
#define ERROR_RECEIVE_VECTOR 0x40

enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_NMI = 4, MODE_INIT, MODE_STARTUP, MODE_EXTINT };

struct soft_lapic {
	struct soft_cpu *cpu;
	uint32_t id, tpr, ldr, dfr, svr, esr, esr_next, icr, icr_high;
	uint32_t lvt[6]; /* timer, thermal, performance, LINT0, LINT1, error */
	uint32_t isr[8], irr[8], tmr[8];
	uint32_t initial, divide;
	int64_t start; /* VM time at which the count began */
	struct vm_timer timer;
};

static struct machine *machine_of(const struct soft_lapic *l)
{
	return l->cpu->engine->engine.machine;
}

static int highest(const uint32_t set[8])
{
	for (int i = 7; i >= 0; i--)
		if (set[i])
			return i * 32 + 31 - __builtin_clz(set[i]);
	return -1;
}

static void set_bit(uint32_t set[8], unsigned vector, bool on)
{
	if (on)
		set[vector / 32] |= 1u << vector % 32;
	else
		set[vector / 32] &= ~(1u << vector % 32);
}

static bool is_enabled(const struct soft_lapic *l)
{
	return l->cpu->apic_base & BASE_ENABLED;
}

static bool is_x2apic(const struct soft_lapic *l)
{
	return l->cpu->apic_base & BASE_X2APIC;
}

static uint8_t ppr(const struct soft_lapic *l)
{
	int serving = highest(l->isr);
	uint8_t class = serving < 0 ? 0 : serving & 0xf0;

	return (l->tpr & 0xf0) >= class ? l->tpr : class;
}

int soft_lapic_pending(const struct soft_cpu *c)
{
	const struct soft_lapic *l = c->lapic;
	int vector = highest(l->irr);

	if (vector < 0 || !is_enabled(l) || !(l->svr & SVR_ENABLED) ||
		(vector & 0xf0) <= (ppr(l) & 0xf0))
		return -1;
	return vector;
}

void soft_lapic_accept(struct soft_cpu *c, unsigned vector)
{
	set_bit(c->lapic->irr, vector, false);
	set_bit(c->lapic->isr, vector, true);
}

bool soft_lapic_takes_extint(const struct soft_cpu *c)
{
	const struct soft_lapic *l = c->lapic;
	uint32_t lint0 = l->lvt[3];

	return !is_enabled(l) || (!(lint0 & LVT_MASKED) && LVT_MODE(lint0) == MODE_EXTINT);
}

static void raise_error(struct soft_lapic *l, uint32_t bit);

/* Disabled by software it takes INIT, NMI and start-up messages only (10.4.7.2). */
static bool accepts(const struct soft_lapic *l)
{
	uint64_t enabled = is_enabled(l) && l->svr & SVR_ENABLED;

	fault_cpu("apic-accepts", l->cpu->index, &enabled);
	return enabled;
}

static void deliver_fixed(struct soft_lapic *l, uint8_t vector, bool level)
{
	if (!accepts(l))
		return;
	if (vector < 16) {
		raise_error(l, ERROR_RECEIVE_VECTOR);
		return;
	}
	set_bit(l->irr, vector, true);
	set_bit(l->tmr, vector, level);
	soft_attend(l->cpu);
}

static void raise_error(struct soft_lapic *l, uint32_t bit)
{
	l->esr_next |= bit;
	if (!(l->lvt[5] & LVT_MASKED) && (l->lvt[5] & 0xff) >= 16)
		deliver_fixed(l, l->lvt[5], false);
}

/* The 8259A's INTR on LINT0: other modes than ExtINT take its edge, or its level. */
void soft_lapic_lint0(struct soft_cpu *c, bool level)
{
	struct soft_lapic *l = c->lapic;
	uint32_t lint0 = l->lvt[3];

	if (!level || !is_enabled(l) || lint0 & LVT_MASKED)
		return;
	switch (LVT_MODE(lint0)) {
	case MODE_FIXED: deliver_fixed(l, lint0, lint0 & LVT_LEVEL); break;
	case MODE_NMI:
		c->nmi_pending = true;
		soft_attend(c);
		break;
	default: break;
	}
}

static void start_up(struct soft_cpu *c, uint8_t page)
{
	struct soft_segment *cs = &c->seg[SEG_CS];
	uint64_t waits = c->waits_for_sipi, from = page;

	fault_cpu("sipi-waits", c->index, &waits);
	fault_cpu("sipi-page", c->index, &from);
	if (!waits)
		return;
	page = from;
	c->waits_for_sipi = c->halted = false;
	cs->selector = page << 8;
	cs->base = (uint32_t)page << 12;
	c->rip = 0;
	soft_attend(c);
}

void soft_lapic_init(struct soft_cpu *c)
{
	struct cpu_state state;
	uint64_t base = c->apic_base, cache = c->cr0 & (CR0_CD | CR0_NW);

	c->init_pending = false;
	cpu_state_reset(&state);
	state.cr0 = (state.cr0 & ~(uint64_t)(CR0_CD | CR0_NW)) | cache;
	c->engine->engine.ops->set_state(&c->engine->engine, c->index, &state);
	memset(c->dr, 0, sizeof(c->dr));
	c->dr[6] = 0xffff0ff0;
	c->dr[7] = 0x400;
	soft_debug_changed(c);
	c->nmi_pending = c->nmi_blocked = c->event.active = false;
	c->inhibit = INHIBIT_NONE;
	c->debug_hits = 0;
	soft_lapic_reset(c);
	c->apic_base = base;
	c->halted = c->waits_for_sipi = !(base & BASE_BSP);
	c->break_block = true;
}

/* The sender's own INIT comes behind the instruction that sent it. */
static void initialise(struct soft_cpu *c)
{
	if (c == c->engine->current) {
		c->init_pending = true;
		soft_attend(c);
	} else {
		soft_lapic_init(c);
		soft_attend(c);
	}
}

static void deliver(struct soft_lapic *l, unsigned mode, uint8_t vector, bool level)
{
	struct soft_cpu *c = l->cpu;

	switch (mode) {
	case MODE_FIXED:
	case MODE_LOWEST: deliver_fixed(l, vector, level); break;
	case MODE_NMI:
		c->nmi_pending = true;
		soft_attend(c);
		break;
	case MODE_INIT: initialise(c); break;
	case MODE_STARTUP: start_up(c, vector); break;
	default: break;
	}
}

static bool addressed(const struct soft_lapic *l, uint32_t destination, bool logical, bool x2)
{
	uint32_t broadcast = x2 ? 0xffffffff : 0xff;

	if (destination == broadcast)
		return true;
	if (!logical)
		return destination == l->id;
	if (is_x2apic(l))
		return destination >> 16 == l->id >> 4 && destination & 1u << (l->id & 15);
	if (l->dfr >> 28 == 0xf)
		return destination & l->ldr >> 24;
	/* Cluster model: four bits say which cluster, four who of it; cluster 15 is all. */
	return (destination >> 4 == l->ldr >> 28 || destination >> 4 == 15) &&
	       destination & l->ldr >> 24 & 0xf;
}

/* What a message becomes on its way, for those that have a vector. */
struct message {
	uint32_t destination;
	bool logical, x2; /* x2: 32 bits of destination */
	unsigned mode;
	uint8_t vector;
	bool level;
};

static struct soft_lapic *least_busy(struct soft_engine *soft, const struct message *m)
{
	struct soft_lapic *best = NULL;

	for (unsigned i = 0; i < soft->engine.cpus; i++) {
		struct soft_lapic *l = soft->cpus[i].lapic;

		if (accepts(l) && addressed(l, m->destination, m->logical, m->x2) &&
			(!best || ppr(l) < ppr(best)))
			best = l;
	}
	return best;
}

/* The seams of faults: each IPI, by its delivery mode. */
static bool spoil(struct message *m)
{
	uint64_t vector = m->vector, destination = m->destination, mode = m->mode,
		 logical = m->logical;

	if (fault_cpu("ipi", m->mode, &vector) == FAULT_DROP)
		return false;
	fault_cpu("ipi-destination", m->mode, &destination);
	fault_cpu("ipi-logical", m->mode, &logical);
	fault_cpu("ipi-mode", m->mode, &mode);
	m->vector = vector;
	m->destination = destination;
	m->logical = logical;
	m->mode = mode;
	return true;
}

static void send(struct soft_engine *soft, const struct message *m)
{
	struct soft_lapic *least = m->mode == MODE_LOWEST ? least_busy(soft, m) : NULL;

	if (m->mode == MODE_LOWEST) {
		if (least)
			deliver_fixed(least, m->vector, m->level);
		return;
	}
	for (unsigned i = 0; i < soft->engine.cpus; i++) {
		struct soft_lapic *l = soft->cpus[i].lapic;

		if (is_enabled(l) && addressed(l, m->destination, m->logical, m->x2))
			deliver(l, m->mode, m->vector, m->level);
	}
}

void soft_lapic_message(struct soft_engine *soft, struct msi_message message)
{
	struct message m = {
		.destination = message.address >> 12 & 0xff,
		.logical = message.address >> 2 & 1,
		.mode = message.data >> 8 & 7,
		.vector = message.data,
		.level = message.data >> 15 & 1,
	};

	if (message.address >> 20 == 0xfee) /* else it is not an interrupt message */
		send(soft, &m);
}

enum { TO_SELF = 1, TO_ALL, TO_OTHERS };

static void send_ipi(struct soft_lapic *l)
{
	struct soft_engine *soft = l->cpu->engine;
	uint64_t shorthand = l->icr >> 18 & 3, asserted = l->icr >> 14 & 1;
	bool x2 = is_x2apic(l), level = l->icr >> 15 & 1;
	struct message m = {
		.destination = x2 ? l->icr_high : l->icr_high >> 24,
		.logical = l->icr >> 11 & 1,
		.x2 = x2,
		.mode = LVT_MODE(l->icr),
		.vector = l->icr,
	};

	/* INIT level de-assert does nothing on processors of today. */
	fault_cpu("ipi-assert", m.mode, &asserted);
	if (m.mode == MODE_INIT && level && !asserted)
		return;
	if (m.vector < 16 && (m.mode == MODE_FIXED || m.mode == MODE_LOWEST)) {
		raise_error(l, ERROR_SEND_VECTOR);
		return;
	}
	if (!spoil(&m))
		return;
	fault_cpu("ipi-shorthand", m.mode, &shorthand);
	if (!shorthand) {
		send(soft, &m);
		return;
	}
	for (unsigned i = 0; i < soft->engine.cpus; i++) {
		struct soft_lapic *to = soft->cpus[i].lapic;

		if (is_enabled(to) &&
			(shorthand == TO_SELF ? to == l : shorthand == TO_ALL || to != l))
			deliver(to, m.mode, m.vector, false);
	}
}

static void end_of_interrupt(struct soft_lapic *l)
{
	int vector = highest(l->isr);

	if (vector < 0)
		return;
	set_bit(l->isr, vector, false);
	if (l->tmr[vector / 32] >> vector % 32 & 1 && machine_of(l)->eoi)
		machine_of(l)->eoi(machine_of(l), vector);
	soft_attend(l->cpu);
}

/* --- timer --- */

static unsigned divider(const struct soft_lapic *l)
{
	unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

	return code == 7 ? 1 : 2u << code;
}

static int64_t ticks(const struct soft_lapic *l)
{
	return (vm_clock_now(&machine_of(l)->clock) - l->start) / divider(l);
}

static uint32_t current(const struct soft_lapic *l)
{
	int64_t gone = ticks(l);

	if (!l->initial || TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE)
		return 0;
	if (TIMER_MODE(l->lvt[0]) == TIMER_PERIODIC)
		return l->initial - gone % l->initial;
	return gone < l->initial ? l->initial - gone : 0;
}

static void arm(struct soft_lapic *l)
{
	int64_t now = vm_clock_now(&machine_of(l)->clock), period;

	vm_timer_cancel(&l->timer);
	if (TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE) {
		if (l->cpu->tsc_deadline)
			vm_timer_arm(&l->timer, l->cpu->tsc_deadline - l->cpu->tsc_offset);
		return;
	}
	if (!l->initial)
		return;
	period = (int64_t)l->initial * divider(l);
	if (TIMER_MODE(l->lvt[0]) == TIMER_PERIODIC)
		vm_timer_arm(&l->timer, l->start + ((now - l->start) / period + 1) * period);
	else if (now - l->start < period)
		vm_timer_arm(&l->timer, l->start + period);
}

static void timer_expired(void *opaque)
{
	struct soft_lapic *l = opaque;

	if (TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE)
		l->cpu->tsc_deadline = 0;
	else if (TIMER_MODE(l->lvt[0]) == TIMER_PERIODIC)
		arm(l);
	if (!(l->lvt[0] & LVT_MASKED))
		deliver_fixed(l, l->lvt[0], false);
}

/* --- registers --- */

static int lvt_index(unsigned reg)
{
	return reg >= REG_LVT_TIMER && reg <= REG_LVT_ERROR ? (int)(reg - REG_LVT_TIMER) : -1;
}

static uint32_t read_register(struct soft_lapic *l, unsigned reg)
{
	int lvt = lvt_index(reg);

	if (lvt >= 0)
		return l->lvt[lvt];
	if (reg >= REG_ISR && reg < REG_ISR + 8)
		return l->isr[reg - REG_ISR];
	if (reg >= REG_TMR && reg < REG_TMR + 8)
		return l->tmr[reg - REG_TMR];
	if (reg >= REG_IRR && reg < REG_IRR + 8)
		return l->irr[reg - REG_IRR];
	switch (reg) {
	case REG_ID: return is_x2apic(l) ? l->id : l->id << 24;
	case REG_VERSION: return VERSION;
	case REG_TPR: return l->tpr;
	case REG_PPR: return ppr(l);
	case REG_LDR: return is_x2apic(l) ? (l->id >> 4) << 16 | 1u << (l->id & 15) : l->ldr;
	case REG_DFR: return l->dfr;
	case REG_SVR: return l->svr;
	case REG_ESR: return l->esr;
	case REG_ICR: return l->icr;
	case REG_ICR_HIGH: return l->icr_high;
	case REG_TIMER_INITIAL: return l->initial;
	case REG_TIMER_CURRENT: return current(l);
	case REG_TIMER_DIVIDE: return l->divide;
	default: return 0;
	}
}

static const uint32_t lvt_writable[6] = {0x710ff, 0x117ff, 0x117ff, 0x1b7ff, 0x1b7ff, 0x110ff};

static void write_lvt(struct soft_lapic *l, unsigned n, uint32_t value)
{
	value &= lvt_writable[n];
	if (!(l->svr & SVR_ENABLED))
		value |= LVT_MASKED;
	/* To or from TSC deadline mode disarms. */
	if (n == 0 && (TIMER_MODE(value) == TIMER_DEADLINE) !=
			      (TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE)) {
		l->initial = 0;
		l->cpu->tsc_deadline = 0;
	}
	l->lvt[n] = value;
	if (n == 0)
		arm(l);
	soft_attend(l->cpu);
}

static void write_svr(struct soft_lapic *l, uint32_t value)
{
	l->svr = value & 0x1ff;
	if (!(value & SVR_ENABLED))
		for (unsigned i = 0; i < 6; i++)
			l->lvt[i] |= LVT_MASKED;
	soft_attend(l->cpu);
}

static void write_register(struct soft_lapic *l, unsigned reg, uint32_t value)
{
	int lvt = lvt_index(reg);

	if (lvt >= 0) {
		write_lvt(l, lvt, value);
		return;
	}
	switch (reg) {
	case REG_ID: l->id = value >> 24; break;
	case REG_TPR:
		l->tpr = value & 0xff;
		soft_attend(l->cpu);
		break;
	case REG_EOI: end_of_interrupt(l); break;
	case REG_LDR: l->ldr = value & 0xff000000; break;
	case REG_DFR: l->dfr = value | 0x0fffffff; break;
	case REG_SVR: write_svr(l, value); break;
	case REG_ESR:
		l->esr = l->esr_next;
		l->esr_next = 0;
		break;
	case REG_ICR:
		l->icr = value & 0xccfff;
		send_ipi(l);
		break;
	case REG_ICR_HIGH: l->icr_high = value & 0xff000000; break;
	case REG_TIMER_INITIAL:
		if (TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE)
			break;
		l->initial = value;
		l->start = vm_clock_now(&machine_of(l)->clock);
		arm(l);
		break;
	case REG_TIMER_DIVIDE:
		l->divide = value & 0xb;
		arm(l);
		break;
	}
}

bool soft_lapic_covers(const struct soft_cpu *c, uint64_t physical)
{
	return (c->apic_base & (BASE_ENABLED | BASE_X2APIC)) == BASE_ENABLED &&
	       (physical ^ c->apic_base) >> 12 == 0;
}

/* Registers are dwords on 16-byte boundaries; other accesses read zero and write nothing. */
uint64_t soft_lapic_read(struct soft_cpu *c, uint64_t physical, unsigned size)
{
	unsigned offset = physical & 0xfff;
	uint64_t value;

	if ((offset & 15) + size > 4)
		return 0;
	value = read_register(c->lapic, offset >> 4);
	fault_cpu("apic-read", offset & 0xff0, &value);
	value >>= (offset & 3) * 8;
	return value & soft_mask(size);
}

void soft_lapic_write(struct soft_cpu *c, uint64_t physical, uint64_t value, unsigned size)
{
	if (!(physical & 15) && size == 4 &&
		fault_cpu("apic-write", physical & 0xff0, &value) != FAULT_DROP)
		write_register(c->lapic, (physical & 0xfff) >> 4, value);
}

/* What an x2APIC MSR is (table 10-6): bits that a write may have, or none at all. */
static bool x2apic_readable(unsigned reg)
{
	if (reg >= REG_ISR && reg < REG_IRR + 8)
		return true;
	if (reg >= REG_LVT_TIMER && reg <= REG_TIMER_CURRENT)
		return true;
	return reg == REG_ID || reg == REG_VERSION || reg == REG_TPR || reg == REG_PPR ||
	       reg == REG_LDR || reg == REG_SVR || reg == REG_ESR || reg == REG_ICR ||
	       reg == REG_TIMER_DIVIDE;
}

static bool x2apic_writable(unsigned reg, uint64_t *bits)
{
	int lvt = lvt_index(reg);

	if (lvt >= 0) {
		*bits = lvt_writable[lvt] | LVT_READ_ONLY;
		return true;
	}
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI: *bits = 0xff; return true;
	case REG_EOI:
	case REG_ESR: *bits = 0; return true;
	case REG_SVR: *bits = 0x1ff; return true;
	case REG_ICR: *bits = 0xffffffff000ccfff; return true;
	case REG_TIMER_INITIAL: *bits = 0xffffffff; return true;
	case REG_TIMER_DIVIDE: *bits = 0xb; return true;
	default: return false;
	}
}

bool soft_lapic_msr(struct soft_cpu *c, uint32_t msr, uint64_t *value, bool write)
{
	unsigned reg = msr - 0x800;
	struct soft_lapic *l = c->lapic;
	uint64_t bits;

	if (!is_x2apic(l))
		return false;
	if (!write) {
		if (!x2apic_readable(reg))
			return false;
		*value = read_register(l, reg);
		if (reg == REG_ICR)
			*value |= (uint64_t)l->icr_high << 32;
		return true;
	}
	if (!x2apic_writable(reg, &bits) || *value & ~bits)
		return false;
	if (reg == REG_ICR)
		l->icr_high = *value >> 32;
	if (reg == REG_SELF_IPI)
		deliver_fixed(l, *value, false);
	else
		write_register(l, reg, *value);
	return true;
}

uint8_t soft_lapic_tpr(const struct soft_cpu *c)
{
	return c->lapic->tpr;
}

void soft_lapic_set_tpr(struct soft_cpu *c, uint8_t tpr)
{
	c->lapic->tpr = tpr;
	soft_attend(c);
}

void soft_lapic_set_deadline(struct soft_cpu *c, uint64_t tsc)
{
	if (TIMER_MODE(c->lapic->lvt[0]) != TIMER_DEADLINE)
		return;
	c->tsc_deadline = tsc;
	arm(c->lapic);
}

void soft_lapic_set_base(struct soft_cpu *c, uint64_t base)
{
	bool offers_x2apic = c->cpuid_features[FEATURE_1_ECX] >> 21 & 1;
	uint64_t known = BASE_ADDRESS | BASE_ENABLED | BASE_BSP | (offers_x2apic ? BASE_X2APIC : 0);
	uint64_t old = c->apic_base;

	if (base & ~known)
		soft_fault(c, V_GP, 0);
	/* x2APIC only from an enabled APIC, and back only by disabling it (figure 10-27). */
	if (base & BASE_X2APIC && (!(base & BASE_ENABLED) || !(old & BASE_ENABLED)))
		soft_fault(c, V_GP, 0);
	if (old & BASE_X2APIC && base & BASE_ENABLED && !(base & BASE_X2APIC))
		soft_fault(c, V_GP, 0);
	/* Enabled again it is as after a reset (10.4.3). */
	if (old & BASE_ENABLED && !(base & BASE_ENABLED))
		soft_lapic_reset(c);
	c->apic_base = base;
	soft_tlb_flush(c, true);
	soft_attend(c);
}

void soft_lapic_reset(struct soft_cpu *c)
{
	struct soft_lapic *l = c->lapic;

	vm_timer_cancel(&l->timer);
	c->apic_base = 0xfee00000 | BASE_ENABLED | (c->index ? 0 : BASE_BSP);
	c->tsc_deadline = 0;
	l->id = topology_apic_id(&c->engine->engine.smp, c->index);
	l->tpr = l->ldr = l->esr = l->esr_next = l->icr = l->icr_high = 0;
	l->dfr = 0xffffffff;
	l->svr = 0xff;
	l->initial = l->divide = 0;
	memset(l->isr, 0, sizeof(l->isr));
	memset(l->irr, 0, sizeof(l->irr));
	memset(l->tmr, 0, sizeof(l->tmr));
	for (unsigned i = 0; i < 6; i++)
		l->lvt[i] = LVT_MASKED;
	/* As the kernel's: the first processor's LINT0 takes the PIC from the start. */
	if (!c->index)
		l->lvt[3] = MODE_EXTINT << 8;
}

void soft_lapic_get(const struct soft_cpu *c, struct cpu_lapic *to)
{
	const struct soft_lapic *l = c->lapic;

	*to = (struct cpu_lapic){
		.base = c->apic_base,
		.id = l->id,
		.tpr = l->tpr,
		.ldr = l->ldr,
		.dfr = l->dfr,
		.svr = l->svr,
		.esr = l->esr,
		.icr = l->icr,
		.icr_high = l->icr_high,
		.initial = l->initial,
		.current = current(l),
		.divide = l->divide,
	};
	/* It has run out, and its interrupt is only on its way: the last tick is still to come. */
	if (!to->current && l->initial && vm_timer_is_armed(&l->timer) &&
		TIMER_MODE(l->lvt[0]) == TIMER_ONCE)
		to->current = 1;
	memcpy(to->lvt, l->lvt, sizeof(to->lvt));
	memcpy(to->isr, l->isr, sizeof(to->isr));
	memcpy(to->tmr, l->tmr, sizeof(to->tmr));
	memcpy(to->irr, l->irr, sizeof(to->irr));
}

/* The timer goes on where it stood; a count of 0 has run out.  c->tsc_deadline is set before. */
void soft_lapic_set(struct soft_cpu *c, const struct cpu_lapic *from)
{
	struct soft_lapic *l = c->lapic;

	c->apic_base = from->base;
	l->id = from->id;
	l->tpr = from->tpr;
	l->ldr = from->ldr;
	l->dfr = from->dfr;
	l->svr = from->svr & 0x1ff;
	l->esr = from->esr;
	l->esr_next = 0;
	l->icr = from->icr;
	l->icr_high = from->icr_high;
	for (unsigned i = 0; i < 6; i++)
		l->lvt[i] = from->lvt[i] & lvt_writable[i];
	memcpy(l->isr, from->isr, sizeof(l->isr));
	memcpy(l->tmr, from->tmr, sizeof(l->tmr));
	memcpy(l->irr, from->irr, sizeof(l->irr));
	l->initial = from->initial;
	l->divide = from->divide & 0xb;
	l->start = vm_clock_now(&machine_of(l)->clock) -
		   (int64_t)(from->initial - from->current) * divider(l);
	arm(l);
	soft_attend(c);
}

int soft_lapic_create(struct soft_cpu *c, struct error *err)
{
	c->lapic = calloc(1, sizeof(*c->lapic));
	if (!c->lapic)
		return error_set(err, 12, "out of memory");
	c->lapic->cpu = c;
	vm_timer_init(&c->lapic->timer, &c->engine->engine.machine->clock, timer_expired, c->lapic);
	return 0;
}

void soft_lapic_destroy(struct soft_cpu *c)
{
	if (c->lapic)
		vm_timer_cancel(&c->lapic->timer);
	free(c->lapic);
	c->lapic = NULL;
}
