/* SPDX-License-Identifier: MIT */
/* The local APIC of a vCPU (lapic.c).  Main loop, under the machine lock. */
#ifndef CPU_SOFT_LAPIC_H
#define CPU_SOFT_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cpu/context.h"
#include "machine/irq.h"

struct soft_cpu;
struct soft_engine;

bool soft_lapic_covers(const struct soft_cpu *c, uint64_t physical); /* is xAPIC mapped there? */
uint64_t soft_lapic_read(struct soft_cpu *c, uint64_t physical, unsigned size);
void soft_lapic_write(struct soft_cpu *c, uint64_t physical, uint64_t value, unsigned size);
bool soft_lapic_msr(struct soft_cpu *c, uint32_t msr, uint64_t *value, bool write); /* x2APIC */
int soft_lapic_pending(const struct soft_cpu *c);	     /* vector to deliver now, or -1 */
void soft_lapic_accept(struct soft_cpu *c, unsigned vector); /* IRR to ISR */
void soft_lapic_lint0(struct soft_cpu *c, bool level);	/* the PIC's INTR, on the first processor */
bool soft_lapic_takes_extint(const struct soft_cpu *c); /* LINT0 or a disabled APIC passes INTR */
void soft_lapic_message(struct soft_engine *engine, struct msi_message message);
void soft_lapic_reset(struct soft_cpu *c);
void soft_lapic_init(struct soft_cpu *c); /* INIT, between two instructions */
int soft_lapic_create(struct soft_cpu *c, struct error *err);
void soft_lapic_destroy(struct soft_cpu *c);
uint8_t soft_lapic_tpr(const struct soft_cpu *c);
void soft_lapic_set_tpr(struct soft_cpu *c, uint8_t tpr);
void soft_lapic_set_base(struct soft_cpu *c, uint64_t base);	/* IA32_APIC_BASE */
void soft_lapic_set_deadline(struct soft_cpu *c, uint64_t tsc); /* IA32_TSC_DEADLINE */
void soft_lapic_get(const struct soft_cpu *c, struct cpu_lapic *to);
void soft_lapic_set(struct soft_cpu *c, const struct cpu_lapic *from); /* and arms its timer */

#endif
