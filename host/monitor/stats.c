/* SPDX-License-Identifier: MIT */
/*
 * query-stats: the engine's counters of each vCPU under the names that QEMU has for KVM's.  They
 * count returns from the engine to this process, not what the kernel handles by itself.  Of the VM
 * as a whole: "kicks", doorbells that came as a signal instead of an exit, and "interrupts".
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cpu/engine.h"
#include "monitor/command.h"

static const struct {
	const char *name;
	size_t offset; /* in struct engine_counters */
} counters[] = {
	{"exits", offsetof(struct engine_counters, exits)},
	{"io_exits", offsetof(struct engine_counters, port_exits)},
	{"mmio_exits", offsetof(struct engine_counters, mmio_exits)},
	{"halt_exits", offsetof(struct engine_counters, halt_exits)},
	{"signal_exits", offsetof(struct engine_counters, interrupted_exits)},
	{"outside_ns", offsetof(struct engine_counters, outside_ns)},
	{"instructions", offsetof(struct engine_counters, instructions)},
};

#define COUNTERS (sizeof(counters) / sizeof(counters[0]))

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

static json_t *vm_stats(struct machine *machine, const json_t *names)
{
	json_t *stats = json_array();

	if (!names || has_string(names, "kicks"))
		json_array_append_new(stats, stat_of("kicks", machine->kicks));
	if (!names || has_string(names, "interrupts"))
		json_array_append_new(stats, stat_of("interrupts", machine->interrupts));
	return json_pack("{s:s,s:o}", "provider", "kvm", "stats", stats);
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
		cpu++) {
		struct engine_counters now;
		json_t *stats = json_array();
		char path[48];

		snprintf(path, sizeof(path), "/machine/unattached/device[%u]", cpu);
		if (vcpus && !has_string(vcpus, path)) {
			json_decref(stats);
			continue;
		}
		machine->engine->ops->counters(machine->engine, cpu, &now);
		for (size_t i = 0; i < COUNTERS; i++) {
			uint64_t value;

			if (names && !has_string(names, counters[i].name))
				continue;
			memcpy(&value, (char *)&now + counters[i].offset, sizeof(value));
			json_array_append_new(stats, stat_of(counters[i].name, value));
		}
		json_array_append_new(results, json_pack("{s:s,s:s,s:o}", "provider", "kvm",
						       "qom-path", path, "stats", stats));
	}
	if (wanted && !strcmp(target, "vm"))
		json_array_append_new(results, vm_stats(machine, names));
	return results;
}

json_t *query_stats_schemas(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	json_t *stats = json_array();

	for (size_t i = 0; i < COUNTERS; i++)
		json_array_append_new(stats, json_pack("{s:s,s:i,s:s}", "name", counters[i].name,
						     "exponent", 0, "type", "cumulative"));
	return json_pack("[{s:s,s:o,s:s}]", "provider", "kvm", "stats", stats, "target", "vcpu");
}
