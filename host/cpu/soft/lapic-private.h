/* SPDX-License-Identifier: MIT */
/* What the files of the local APIC share: lapic.c, lapic-message.c, lapic-timer.c. */
#ifndef CPU_SOFT_LAPIC_PRIVATE_H
#define CPU_SOFT_LAPIC_PRIVATE_H

#include "cpu/soft/soft.h"

#define SVR_ENABLED	     0x100
#define LVT_MASKED	     0x10000
#define LVT_LEVEL	     0x8000
#define LVT_MODE(v)	     ((v) >> 8 & 7)
#define TIMER_MODE(v)	     ((v) >> 17 & 3)
#define TIMER_ONCE	     0
#define TIMER_PERIODIC	     1
#define TIMER_DEADLINE	     2
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

static inline struct machine *lapic_machine_of(const struct soft_lapic *l)
{
	return l->cpu->engine->engine.machine;
}

static inline int lapic_highest(const uint32_t set[8])
{
	for (int i = 7; i >= 0; i--)
		if (set[i])
			return i * 32 + 31 - __builtin_clz(set[i]);
	return -1;
}

static inline void lapic_set_bit(uint32_t set[8], unsigned vector, bool on)
{
	if (on)
		set[vector / 32] |= 1u << vector % 32;
	else
		set[vector / 32] &= ~(1u << vector % 32);
}

static inline bool lapic_is_enabled(const struct soft_lapic *l)
{
	return l->cpu->apic_base & BASE_ENABLED;
}

static inline bool lapic_is_x2apic(const struct soft_lapic *l)
{
	return l->cpu->apic_base & BASE_X2APIC;
}

/* lapic.c: the processor's priority (SDM 3A, 11.8.3.1). */
uint8_t lapic_ppr(const struct soft_lapic *l);

/* lapic-message.c */
void lapic_deliver_fixed(struct soft_lapic *l, uint8_t vector, bool level);
void lapic_raise_error(struct soft_lapic *l, uint32_t bit); /* ERROR_... */
void lapic_send_ipi(struct soft_lapic *l);		    /* as ICR says */

/* lapic-timer.c */
unsigned lapic_divider(const struct soft_lapic *l);
uint32_t lapic_current(const struct soft_lapic *l); /* the current-count register */
void lapic_arm(struct soft_lapic *l);		    /* after any change of count, divider or mode */
void lapic_timer_expired(void *opaque);

#endif
