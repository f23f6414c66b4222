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
	PROBE_INSTRUCTIONS, /* that guests executed; 0 where the engine cannot count them */
	PROBE_COUNTERS,
};

/*
 * dev: an assay-probe.  `read` fills all counters as of now; the board sets it, because it knows
 * the engine and devices do not.  Without it they read 0.
 */
void probe_set_source(struct device *dev,
	void (*read)(void *opaque, uint64_t counters[PROBE_COUNTERS]), void *opaque);

#endif
