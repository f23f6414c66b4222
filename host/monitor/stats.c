/* SPDX-License-Identifier: MIT */
/*
 * query-stats: the counters of each vCPU (target "vcpu") and of the machine (target "vm") under the
 * names that QEMU has for KVM's, with our own behind them.  Exits are returns from the engine to
 * this process, not what the kernel handles by itself.  What the engine does not count is left out.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/count.h"
#include "base/log.h"
#include "cpu/engine.h"
#include "monitor/command.h"

struct counter {
	const char *name;
	const char *unit; /* StatsUnit, or NULL: a plain number */
	int exponent;	  /* of base 10 */
	size_t offset;	  /* in struct engine_counters */
	uint64_t (*read)(const struct machine *machine);
};

#define OF_CPU(name, member)                                              \
	{                                                                 \
		(name), NULL, 0, offsetof(struct engine_counters, member) \
	}

static const struct counter cpu_counters[] = {
	OF_CPU("exits", exits),
	OF_CPU("io_exits", port_exits),
	OF_CPU("mmio_exits", mmio_exits),
	OF_CPU("halt_exits", halt_exits),
	OF_CPU("signal_exits", interrupted_exits),
	OF_CPU("irq_window_exits", window_exits),
	OF_CPU("eoi_exits", eoi_exits),
	{"outside_ns", "seconds", -9, offsetof(struct engine_counters, outside_ns)},
	OF_CPU("instructions", instructions),
	OF_CPU("irq_injections", interrupts),
	OF_CPU("tlb_misses", tlb_misses),
	{NULL},
};

static uint64_t kicks(const struct machine *machine)
{
	return machine->kicks;
}

static uint64_t interrupts(const struct machine *machine)
{
	return machine->interrupts;
}

static uint64_t dma_bytes(const struct machine *machine)
{
	return count_sum(COUNT_DMA_BYTES);
}

static uint64_t copied_bytes(const struct machine *machine)
{
	return count_sum(COUNT_COPIED_BYTES);
}

static uint64_t guest_errors(const struct machine *machine)
{
	return log_guest_error_count();
}

static const struct counter vm_counters[] = {
	{"kicks", .read = kicks},
	{"interrupts", .read = interrupts},
	{"dma_bytes", "bytes", .read = dma_bytes},
	{"copied_bytes", "bytes", .read = copied_bytes},
	{"guest_errors", .read = guest_errors},
	{NULL},
};

/* The names asked for, or NULL for all; *wanted false: only other providers were. */
static const json_t *names_wanted(const json_t *args, bool *wanted)
{
	const json_t *providers = json_object_get(args, "providers");

	*wanted = !providers || json_array_size(providers);
	return json_object_get(json_array_get(providers, 0), "names");
}

static bool has_string(const json_t *array, const char *text)
{
	json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		if (!strcmp(json_string_value(item), text))
			return true;
	}
	return false;
}

static json_t *stat_of(const char *name, uint64_t value)
{
	return json_pack("{s:s,s:I}", "name", name, "value", (json_int_t)value);
}

static uint64_t value_of(const struct counter *counter, const struct machine *machine,
	const struct engine_counters *of_cpu)
{
	uint64_t value = 0;

	if (counter->read)
		return counter->read(machine);
	if (of_cpu)
		memcpy(&value, (const char *)of_cpu + counter->offset, sizeof(value));
	return value;
}

static json_t *stats_of(const struct counter *counter, const struct machine *machine,
	const struct engine_counters *of_cpu, const json_t *names)
{
	json_t *stats = json_array();

	for (; counter->name; counter++) {
		uint64_t value;

		if (names && !has_string(names, counter->name))
			continue;
		value = value_of(counter, machine, of_cpu);
		if (value != COUNTER_ABSENT)
			json_array_append_new(stats, stat_of(counter->name, value));
	}
	return stats;
}

static json_t *vm_stats(struct machine *machine, const json_t *names)
{
	return json_pack("{s:s,s:o}", "provider", "kvm", "stats",
		stats_of(vm_counters, machine, NULL, names));
}

static void add_vcpu_stats(struct machine *machine, const json_t *names, unsigned cpu,
	const json_t *paths, json_t *results)
{
	struct engine_counters now;
	char path[48];

	snprintf(path, sizeof(path), "/machine/unattached/device[%u]", cpu);
	if (paths && !has_string(paths, path))
		return;
	machine->engine->ops->counters(machine->engine, cpu, &now);
	json_array_append_new(
		results, json_pack("{s:s,s:s,s:o}", "provider", "kvm", "qom-path", path, "stats",
				 stats_of(cpu_counters, machine, &now, names)));
}

json_t *query_stats(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *target = json_string_value(json_object_get(args, "target"));
	const json_t *vcpus = json_object_get(args, "vcpus");
	bool wanted;
	const json_t *names = names_wanted(args, &wanted);
	json_t *results = json_array();

	if (vcpus && strcmp(target, "vcpu")) {
		json_decref(results);
		return qmp_fail(err, QMP_GENERIC, "Parameter 'vcpus' is unexpected");
	}
	for (unsigned cpu = 0; wanted && !strcmp(target, "vcpu") && cpu < machine->engine->cpus;
		cpu++)
		add_vcpu_stats(machine, names, cpu, vcpus, results);
	if (wanted && !strcmp(target, "vm"))
		json_array_append_new(results, vm_stats(machine, names));
	return results;
}

static json_t *schema_of(const struct counter *counter)
{
	json_t *schema = json_pack("{s:s,s:s,s:i}", "name", counter->name, "type", "cumulative",
		"exponent", counter->exponent);

	if (counter->unit)
		json_object_set_new(schema, "unit", json_string(counter->unit));
	if (counter->exponent)
		json_object_set_new(schema, "base", json_integer(10));
	return schema;
}

/* Of the counters that this engine has. */
static json_t *schemas_of(const char *target, const struct counter *counter,
	const struct machine *machine, const struct engine_counters *of_cpu)
{
	json_t *stats = json_array();

	for (; counter->name; counter++)
		if (value_of(counter, machine, of_cpu) != COUNTER_ABSENT)
			json_array_append_new(stats, schema_of(counter));
	return json_pack("{s:s,s:o,s:s}", "provider", "kvm", "stats", stats, "target", target);
}

json_t *query_stats_schemas(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	struct engine_counters now;

	machine->engine->ops->counters(machine->engine, 0, &now);
	return json_pack("[o,o]", schemas_of("vm", vm_counters, machine, NULL),
		schemas_of("vcpu", cpu_counters, machine, &now));
}
