/* SPDX-License-Identifier: MIT */
/*
 * What local APICs send and take (SDM 3A, 11.6 to 11.11): fixed and lowest-priority interrupts,
 * NMI, INIT and start-up, from the ICR, from devices' messages and from the pin LINT0.
 *
 * Of the processors that a lowest-priority message addresses, the one with the lowest PPR gets it,
 * the lowest-numbered of equals.  Left out: SMI.
 */
#include <string.h>

#include "base/fault.h"
#include "cpu/soft/lapic-private.h"

/* Disabled by software it takes INIT, NMI and start-up messages only (10.4.7.2). */
static bool accepts(const struct soft_lapic *l)
{
	uint64_t enabled = lapic_is_enabled(l) && l->svr & SVR_ENABLED;

	fault_cpu("apic-accepts", l->cpu->index, &enabled);
	return enabled;
}

void lapic_deliver_fixed(struct soft_lapic *l, uint8_t vector, bool level)
{
	if (!accepts(l))
		return;
	if (vector < 16) {
		lapic_raise_error(l, ERROR_RECEIVE_VECTOR);
		return;
	}
	lapic_set_bit(l->irr, vector, true);
	lapic_set_bit(l->tmr, vector, level);
	soft_attend(l->cpu);
}

void lapic_raise_error(struct soft_lapic *l, uint32_t bit)
{
	l->esr_next |= bit;
	if (!(l->lvt[5] & LVT_MASKED) && (l->lvt[5] & 0xff) >= 16)
		lapic_deliver_fixed(l, l->lvt[5], false);
}

/* The 8259A's INTR on LINT0: other modes than ExtINT take its edge, or its level. */
void soft_lapic_lint0(struct soft_cpu *c, bool level)
{
	struct soft_lapic *l = c->lapic;
	uint32_t lint0 = l->lvt[3];

	if (!level || !lapic_is_enabled(l) || lint0 & LVT_MASKED)
		return;
	switch (LVT_MODE(lint0)) {
	case MODE_FIXED: lapic_deliver_fixed(l, lint0, lint0 & LVT_LEVEL); break;
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
	case MODE_LOWEST: lapic_deliver_fixed(l, vector, level); break;
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
	if (lapic_is_x2apic(l))
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
			(!best || lapic_ppr(l) < lapic_ppr(best)))
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
			lapic_deliver_fixed(least, m->vector, m->level);
		return;
	}
	for (unsigned i = 0; i < soft->engine.cpus; i++) {
		struct soft_lapic *l = soft->cpus[i].lapic;

		if (lapic_is_enabled(l) && addressed(l, m->destination, m->logical, m->x2))
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

void lapic_send_ipi(struct soft_lapic *l)
{
	struct soft_engine *soft = l->cpu->engine;
	uint64_t shorthand = l->icr >> 18 & 3, asserted = l->icr >> 14 & 1;
	bool x2 = lapic_is_x2apic(l), level = l->icr >> 15 & 1;
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
		lapic_raise_error(l, ERROR_SEND_VECTOR);
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

		if (lapic_is_enabled(to) &&
			(shorthand == TO_SELF ? to == l : shorthand == TO_ALL || to != l))
			deliver(to, m.mode, m.vector, false);
	}
}
