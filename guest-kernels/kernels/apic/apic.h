/* SPDX-License-Identifier: MIT */
/* Kernel apic: what its files share. */
#ifndef ASSAY_APIC_APIC_H
#define ASSAY_APIC_APIC_H

#include <stdbool.h>
#include <stdint.h>

/* Takes vectors until `wanted` is the one; to be asked for in rising order within a TEST. */
unsigned vector_at(unsigned wanted);
/* Whether the local APIC is one inside KVM, for what such a one is known to do otherwise. */
bool under_kvm(void);
/* Skips where the host's KVM keeps no in-service register (kernels/timers says more). */
void need_isr(void);
/* Puts the APIC back into xAPIC mode, enabled, before each TEST. */
void apic_ready(void);

/* COM1's transmitter-empty interrupt on IRQ 4: a line that stays high until it is dropped. */
void line_raise(void);
void line_drop(void);

/* NMIs are counted from here on, until the TEST ends. */
void nmi_count_begin(void);
uint32_t nmi_count(void);

#endif
