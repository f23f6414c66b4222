/* SPDX-License-Identifier: MIT */
/*
 * All of a vCPU's state, in a form that belongs to no engine: what is saved under one loads under
 * another.  struct cpu_state is the part of it that boot loaders set and people read.
 */
#ifndef CPU_CONTEXT_H
#define CPU_CONTEXT_H

#include "cpu/model.h"
#include "cpu/state.h"
#include "machine/state-table.h"

enum cpu_activity { CPU_RUNNING, CPU_HALTED, CPU_WAITS_FOR_SIPI };

/* What is on its way into the guest between two instructions. */
enum cpu_event_kind { CPU_EVENT_NONE, CPU_EVENT_INTERRUPT, CPU_EVENT_EXCEPTION, CPU_EVENT_NMI };

/* Interrupts are held back for one instruction; after MOV SS debug exceptions, too. */
enum cpu_shadow { CPU_SHADOW_NONE, CPU_SHADOW_STI, CPU_SHADOW_SS };

/* The local APIC's registers (SDM 3A, 11.4.1), those of xAPIC mode but for what is said. */
struct cpu_lapic {
	uint64_t base; /* IA32_APIC_BASE */
	uint32_t id;   /* as a number in both modes */
	uint32_t tpr, ldr, dfr, svr, esr, icr;
	uint32_t icr_high; /* bits 31..24, or the whole destination in x2APIC mode */
	uint32_t lvt[6];   /* timer, thermal, performance, LINT0, LINT1, error */
	uint32_t isr[8], tmr[8], irr[8];
	uint32_t initial, current, divide; /* of the timer; it counts VM time at 1 GHz / divisor */
};

#define CPU_MTRR_FIXED	  11
#define CPU_MTRR_VARIABLE 16 /* eight pairs */
#define CPU_FXSAVE_SIZE	  512
#define CPU_YMM_HIGH_SIZE 256

struct cpu_context {
	struct cpu_state regs;
	uint64_t dr[8]; /* 4 and 5 are not there */
	uint64_t pdpte[4];

	uint64_t star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable;
	uint64_t mtrr_def_type, mtrr_fixed[CPU_MTRR_FIXED], mtrr_var[CPU_MTRR_VARIABLE];

	uint64_t tsc, tsc_khz, tsc_deadline; /* deadline 0: not armed */

	uint64_t xcr0;
	uint8_t fxsave[CPU_FXSAVE_SIZE];     /* x87, MMX, SSE (SDM 1, 10.5.1) */
	uint8_t ymm_high[CPU_YMM_HIGH_SIZE]; /* AVX's upper halves, if xcr0 has bit 2 */

	uint8_t activity, event_kind; /* enum cpu_activity, cpu_event_kind */
	uint8_t event_vector;
	bool event_has_error;
	uint32_t event_error;
	uint8_t shadow; /* enum cpu_shadow */
	bool nmi_pending, nmi_blocked;

	struct cpu_lapic lapic;

	uint32_t features[FEATURE_WORDS]; /* that -cpu asked for; an engine may have had fewer */
};

/* Its post_load checks what holds on every processor; what one engine cannot do it says itself. */
extern const struct state_table cpu_context_table;

/* `deadline` in ticks of the saved TSC, in those of one that stands at `tsc` and runs at `khz`. */
uint64_t cpu_deadline_at(const struct cpu_context *context, uint64_t tsc, uint64_t khz);

#endif
