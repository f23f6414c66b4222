/* SPDX-License-Identifier: MIT */
/* Gathers the engine's and the machine's counters for the probe device. */
#include "board/counters.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/count.h"
#include "base/fault.h"
#include "base/log.h"
#include "cpu/engine.h"
#include "devices/devices.h"
#include "devices/test/probe.h"

static const struct {
	enum probe_counter counter;
	size_t offset; /* in struct engine_counters */
} of_cpus[] = {
	{PROBE_EXITS, offsetof(struct engine_counters, exits)},
	{PROBE_PORT_EXITS, offsetof(struct engine_counters, port_exits)},
	{PROBE_MMIO_EXITS, offsetof(struct engine_counters, mmio_exits)},
	{PROBE_HALT_EXITS, offsetof(struct engine_counters, halt_exits)},
	{PROBE_SIGNAL_EXITS, offsetof(struct engine_counters, interrupted_exits)},
	{PROBE_WINDOW_EXITS, offsetof(struct engine_counters, window_exits)},
	{PROBE_EOI_EXITS, offsetof(struct engine_counters, eoi_exits)},
	{PROBE_INSTRUCTIONS, offsetof(struct engine_counters, instructions)},
	{PROBE_INTERRUPTS_TAKEN, offsetof(struct engine_counters, interrupts)},
	{PROBE_TLB_MISSES, offsetof(struct engine_counters, tlb_misses)},
};

/* The seam `value` of fault injection. */
static const char *const fault_names[PROBE_COUNTERS] = {
	[PROBE_TIME_NS] = "count:time",
	[PROBE_EXITS] = "count:exits",
	[PROBE_PORT_EXITS] = "count:port-exits",
	[PROBE_MMIO_EXITS] = "count:mmio-exits",
	[PROBE_HALT_EXITS] = "count:halt-exits",
	[PROBE_KICKS] = "count:kicks",
	[PROBE_INTERRUPTS] = "count:interrupts",
	[PROBE_GUEST_ERRORS] = "count:guest-errors",
	[PROBE_INSTRUCTIONS] = "count:instructions",
	[PROBE_DMA_BYTES] = "count:dma-bytes",
	[PROBE_COPIED_BYTES] = "count:copied-bytes",
	[PROBE_TLB_MISSES] = "count:tlb-misses",
	[PROBE_INTERRUPTS_TAKEN] = "count:interrupts-taken",
	[PROBE_SIGNAL_EXITS] = "count:signal-exits",
	[PROBE_WINDOW_EXITS] = "count:window-exits",
	[PROBE_EOI_EXITS] = "count:eoi-exits",
};

static void add_cpu(
	const struct cpu_engine *engine, unsigned cpu, uint64_t counters[PROBE_COUNTERS])
{
	struct engine_counters now = {0};

	engine->ops->counters(engine, cpu, &now);
	for (size_t i = 0; i < sizeof(of_cpus) / sizeof(of_cpus[0]); i++) {
		uint64_t *sum = &counters[of_cpus[i].counter], value;

		memcpy(&value, (const char *)&now + of_cpus[i].offset, sizeof(value));
		*sum = value == COUNTER_ABSENT ? PROBE_ABSENT : *sum + value;
	}
}

static void read_counters(void *opaque, unsigned only, uint64_t counters[PROBE_COUNTERS])
{
	struct machine *machine = opaque;
	const struct cpu_engine *engine = machine->engine;

	for (unsigned cpu = 0; cpu < engine->cpus; cpu++)
		if (!only || only == cpu + 1)
			add_cpu(engine, cpu, counters);
	counters[PROBE_DMA_BYTES] = count_sum(COUNT_DMA_BYTES);
	counters[PROBE_COPIED_BYTES] = count_sum(COUNT_COPIED_BYTES);
	counters[PROBE_TIME_NS] = vm_clock_now(&machine->clock);
	counters[PROBE_KICKS] = machine->kicks;
	counters[PROBE_INTERRUPTS] = machine->interrupts;
	counters[PROBE_GUEST_ERRORS] = log_guest_error_count();
	for (unsigned i = 0; i < PROBE_COUNTERS; i++)
		fault_value(fault_names[i], &counters[i]);
}

int counters_add_probe(struct machine *machine, struct error *err)
{
	struct device *probe = device_create(machine, &assay_probe_type, NULL, NULL, err);

	if (!probe)
		return -EINVAL;
	probe_set_source(probe, read_counters, machine, machine->engine->cpus);
	return 0;
}
