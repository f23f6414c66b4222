/* SPDX-License-Identifier: MIT */
/*
 * The probe device: a guest marks the region that it measures, and reads what the VMM counted in
 * it.  The guest's side is docs/probe.md.
 */
#ifndef DEVICES_TEST_PROBE_H
#define DEVICES_TEST_PROBE_H

#include <stdint.h>

#include "machine/device.h"

enum probe_counter {
	PROBE_TIME_NS, /* VM time */
	PROBE_EXITS,   /* all returns of vCPUs to the VMM */
	PROBE_PORT_EXITS,
	PROBE_MMIO_EXITS,
	PROBE_HALT_EXITS,
	PROBE_KICKS,	    /* doorbells that came as a signal instead of an exit */
	PROBE_INTERRUPTS,   /* lines raised and messages sent */
	PROBE_GUEST_ERRORS, /* what -d guest_errors would print */
	PROBE_INSTRUCTIONS, /* that guests executed */
	PROBE_COUNTERS_V1,
	PROBE_DMA_BYTES = PROBE_COUNTERS_V1, /* base/count.h */
	PROBE_COPIED_BYTES,
	PROBE_TLB_MISSES,
	PROBE_INTERRUPTS_TAKEN, /* by vCPUs */
	PROBE_SIGNAL_EXITS,
	PROBE_WINDOW_EXITS,
	PROBE_EOI_EXITS,
	PROBE_COUNTERS,
};

/*
 * Fills all counters as of now; those of vCPUs are of the one with number `cpu` - 1, or with 0 the
 * sum of all.  What is not counted here is PROBE_ABSENT.
 */
#define PROBE_ABSENT UINT64_MAX
typedef void probe_source(void *opaque, unsigned cpu, uint64_t counters[PROBE_COUNTERS]);

/* dev: an assay-probe.  The board sets it, because it knows the engine and devices do not.  Without
 * it counters read 0.  `cpus`: how many vCPUs there are. */
void probe_set_source(struct device *dev, probe_source *read, void *opaque, unsigned cpus);

#endif
