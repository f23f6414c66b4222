/* SPDX-License-Identifier: MIT */
/* Gathers the engine's and the machine's counters for the probe device. */
#include "board/counters.h"

#include <errno.h>

#include "base/log.h"
#include "cpu/engine.h"
#include "devices/devices.h"
#include "devices/test/probe.h"

static void read_counters(void *opaque, uint64_t counters[PROBE_COUNTERS])
{
	struct machine *machine = opaque;
	const struct cpu_engine *engine = machine->engine;

	for (unsigned cpu = 0; cpu < engine->cpus; cpu++) {
		struct engine_counters of_cpu = {0};

		engine->ops->counters(engine, cpu, &of_cpu);
		counters[PROBE_EXITS] += of_cpu.exits;
		counters[PROBE_PORT_EXITS] += of_cpu.port_exits;
		counters[PROBE_MMIO_EXITS] += of_cpu.mmio_exits;
		counters[PROBE_HALT_EXITS] += of_cpu.halt_exits;
		counters[PROBE_INSTRUCTIONS] += of_cpu.instructions;
	}
	counters[PROBE_TIME_NS] = vm_clock_now(&machine->clock);
	counters[PROBE_KICKS] = machine->kicks;
	counters[PROBE_INTERRUPTS] = machine->interrupts;
	counters[PROBE_GUEST_ERRORS] = log_guest_error_count();
}

int counters_add_probe(struct machine *machine, struct error *err)
{
	struct device *probe = device_create(machine, &assay_probe_type, NULL, NULL, err);

	if (!probe)
		return -EINVAL;
	probe_set_source(probe, read_counters, machine);
	return 0;
}
