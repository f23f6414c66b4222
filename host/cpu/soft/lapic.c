/* SPDX-License-Identifier: MIT */
/*
 * The local APIC (SDM 3A, chapter 11): xAPIC registers at IA32_APIC_BASE, x2APIC MSRs, priorities,
 * reset, what is saved.  Messages are in lapic-message.c, the timer is in lapic-timer.c.
 *
 * Left out: error register beyond illegal vectors.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "cpu/soft/lapic-private.h"

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

#define VERSION	      (0x14 | 5 << 16)
#define LVT_READ_ONLY 0x5000	      /* delivery status, remote IRR */
#define BASE_ADDRESS  0xfffffff000ULL /* 40 bits of physical address */

uint8_t lapic_ppr(const struct soft_lapic *l)
{
	int serving = lapic_highest(l->isr);
	uint8_t class = serving < 0 ? 0 : serving & 0xf0;

	return (l->tpr & 0xf0) >= class ? l->tpr : class;
}

int soft_lapic_pending(const struct soft_cpu *c)
{
	const struct soft_lapic *l = c->lapic;
	int vector = lapic_highest(l->irr);

	if (vector < 0 || !lapic_is_enabled(l) || !(l->svr & SVR_ENABLED) ||
		(vector & 0xf0) <= (lapic_ppr(l) & 0xf0))
		return -1;
	return vector;
}

void soft_lapic_accept(struct soft_cpu *c, unsigned vector)
{
	lapic_set_bit(c->lapic->irr, vector, false);
	lapic_set_bit(c->lapic->isr, vector, true);
}

bool soft_lapic_takes_extint(const struct soft_cpu *c)
{
	const struct soft_lapic *l = c->lapic;
	uint32_t lint0 = l->lvt[3];

	return !lapic_is_enabled(l) || (!(lint0 & LVT_MASKED) && LVT_MODE(lint0) == MODE_EXTINT);
}

static void end_of_interrupt(struct soft_lapic *l)
{
	int vector = lapic_highest(l->isr);

	if (vector < 0)
		return;
	lapic_set_bit(l->isr, vector, false);
	if (l->tmr[vector / 32] >> vector % 32 & 1 && lapic_machine_of(l)->eoi)
		lapic_machine_of(l)->eoi(lapic_machine_of(l), vector);
	soft_attend(l->cpu);
}

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
	case REG_ID: return lapic_is_x2apic(l) ? l->id : l->id << 24;
	case REG_VERSION: return VERSION;
	case REG_TPR: return l->tpr;
	case REG_PPR: return lapic_ppr(l);
	case REG_LDR: return lapic_is_x2apic(l) ? (l->id >> 4) << 16 | 1u << (l->id & 15) : l->ldr;
	case REG_DFR: return l->dfr;
	case REG_SVR: return l->svr;
	case REG_ESR: return l->esr;
	case REG_ICR: return l->icr;
	case REG_ICR_HIGH: return l->icr_high;
	case REG_TIMER_INITIAL: return l->initial;
	case REG_TIMER_CURRENT: return lapic_current(l);
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
		lapic_arm(l);
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
		lapic_send_ipi(l);
		break;
	case REG_ICR_HIGH: l->icr_high = value & 0xff000000; break;
	case REG_TIMER_INITIAL:
		if (TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE)
			break;
		l->initial = value;
		l->start = vm_clock_now(&lapic_machine_of(l)->clock);
		lapic_arm(l);
		break;
	case REG_TIMER_DIVIDE:
		l->divide = value & 0xb;
		lapic_arm(l);
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

	if (!lapic_is_x2apic(l))
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
		lapic_deliver_fixed(l, *value, false);
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
		.current = lapic_current(l),
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
	l->start = vm_clock_now(&lapic_machine_of(l)->clock) -
		   (int64_t)(from->initial - from->current) * lapic_divider(l);
	lapic_arm(l);
	soft_attend(c);
}

int soft_lapic_create(struct soft_cpu *c, struct error *err)
{
	c->lapic = calloc(1, sizeof(*c->lapic));
	if (!c->lapic)
		return error_set(err, ENOMEM, "out of memory");
	c->lapic->cpu = c;
	vm_timer_init(
		&c->lapic->timer, &c->engine->engine.machine->clock, lapic_timer_expired, c->lapic);
	return 0;
}

void soft_lapic_destroy(struct soft_cpu *c)
{
	if (c->lapic)
		vm_timer_cancel(&c->lapic->timer);
	free(c->lapic);
	c->lapic = NULL;
}
