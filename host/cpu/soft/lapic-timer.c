/* SPDX-License-Identifier: MIT */
/* The local APIC's timer (SDM 3A, 11.5.4): one-shot, periodic, TSC deadline. */
#include "cpu/soft/lapic-private.h"

unsigned lapic_divider(const struct soft_lapic *l)
{
	unsigned code = (l->divide & 3) | (l->divide >> 1 & 4);

	return code == 7 ? 1 : 2u << code;
}

static int64_t ticks(const struct soft_lapic *l)
{
	return (vm_clock_now(&lapic_machine_of(l)->clock) - l->start) / lapic_divider(l);
}

uint32_t lapic_current(const struct soft_lapic *l)
{
	int64_t gone = ticks(l);

	if (!l->initial || TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE)
		return 0;
	if (TIMER_MODE(l->lvt[0]) == TIMER_PERIODIC)
		return l->initial - gone % l->initial;
	return gone < l->initial ? l->initial - gone : 0;
}

void lapic_arm(struct soft_lapic *l)
{
	int64_t now = vm_clock_now(&lapic_machine_of(l)->clock), period;

	vm_timer_cancel(&l->timer);
	if (TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE) {
		if (l->cpu->tsc_deadline)
			vm_timer_arm(&l->timer, l->cpu->tsc_deadline - l->cpu->tsc_offset);
		return;
	}
	if (!l->initial)
		return;
	period = (int64_t)l->initial * lapic_divider(l);
	if (TIMER_MODE(l->lvt[0]) == TIMER_PERIODIC)
		vm_timer_arm(&l->timer, l->start + ((now - l->start) / period + 1) * period);
	else if (now - l->start < period)
		vm_timer_arm(&l->timer, l->start + period);
}

void lapic_timer_expired(void *opaque)
{
	struct soft_lapic *l = opaque;

	if (TIMER_MODE(l->lvt[0]) == TIMER_DEADLINE)
		l->cpu->tsc_deadline = 0;
	else if (TIMER_MODE(l->lvt[0]) == TIMER_PERIODIC)
		lapic_arm(l);
	if (!(l->lvt[0] & LVT_MASKED))
		lapic_deliver_fixed(l, l->lvt[0], false);
}

void soft_lapic_set_deadline(struct soft_cpu *c, uint64_t tsc)
{
	if (TIMER_MODE(c->lapic->lvt[0]) != TIMER_DEADLINE)
		return;
	c->tsc_deadline = tsc;
	lapic_arm(c->lapic);
}
