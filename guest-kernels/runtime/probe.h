/* SPDX-License-Identifier: MIT */
/*
 * The probe device of Assay (docs/probe.md): what the VMM counted between two marks.
 *
 *	if (probe_present()) {
 *		probe_clear(0);
 *		probe_begin();
 *		...
 *		probe_end();
 *		metric("instructions", probe_sum(PROBE_INSTRUCTIONS));
 *	}
 *
 * A region with nothing in it holds the END mark: one instruction or a few, and one port exit.
 */
#ifndef ASSAY_RUNTIME_PROBE_H
#define ASSAY_RUNTIME_PROBE_H

#include "runtime/io.h"

#define PROBE_BASE   0xa50
#define PROBE_MAGIC  0x59415341u
#define PROBE_ABSENT UINT64_MAX /* a counter that this engine does not have */

enum {
	PROBE_R_MAGIC = 0,
	PROBE_R_COMMAND = 4,
	PROBE_R_REGION = 8,
	PROBE_R_SELECT = 12,
	PROBE_R_VALUE = 16,
	PROBE_R_HIGH = 20,
	PROBE_R_COUNT = 24,
	PROBE_R_CPU = 28,
};
enum { PROBE_BEGIN = 1, PROBE_END, PROBE_LATCH, PROBE_CLEAR };
#define PROBE_SELECT_REGION 0x100

enum {
	PROBE_TIME_NS,
	PROBE_EXITS,
	PROBE_PORT_EXITS,
	PROBE_MMIO_EXITS,
	PROBE_HALT_EXITS,
	PROBE_KICKS,
	PROBE_INTERRUPTS,
	PROBE_GUEST_ERRORS,
	PROBE_INSTRUCTIONS,
	PROBE_DMA_BYTES,
	PROBE_COPIED_BYTES,
	PROBE_TLB_MISSES,
	PROBE_INTERRUPTS_TAKEN,
	PROBE_SIGNAL_EXITS,
	PROBE_WINDOW_EXITS,
	PROBE_EOI_EXITS,
	PROBE_COUNTERS,
	PROBE_PASSES = 0xff, /* with PROBE_SELECT_REGION */
};

static inline uint32_t probe_in(unsigned reg)
{
	return inl(PROBE_BASE + reg);
}

static inline void probe_out(unsigned reg, uint32_t value)
{
	outl(PROBE_BASE + reg, value);
}

static inline bool probe_present(void)
{
	return probe_in(PROBE_R_MAGIC) == PROBE_MAGIC;
}

static inline void probe_clear(unsigned region)
{
	probe_out(PROBE_R_REGION, region);
	probe_out(PROBE_R_COMMAND, PROBE_CLEAR);
}

/* The region is that of the last probe_clear(). */
static inline void probe_begin(void)
{
	probe_out(PROBE_R_COMMAND, PROBE_BEGIN);
}

static inline void probe_end(void)
{
	probe_out(PROBE_R_COMMAND, PROBE_END);
}

static inline uint64_t probe_value(unsigned select)
{
	probe_out(PROBE_R_SELECT, select);
	return probe_in(PROBE_R_VALUE) | (uint64_t)probe_in(PROBE_R_HIGH) << 32;
}

/* Of the region since it was cleared. */
static inline uint64_t probe_sum(unsigned counter)
{
	return probe_value(PROBE_SELECT_REGION | counter);
}

#endif
