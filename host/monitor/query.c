/* SPDX-License-Identifier: MIT */
/* Commands that only look: version, run state, and what the machine consists of. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "block/block.h"
#include "block/iothread.h"
#include "board/board.h"
#include "chardev/chardev.h"
#include "cpu/engine.h"
#include "cpu/model.h"
#include "machine/property.h"
#include "monitor/command.h"

json_t *query_version(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "micro", QEMU_MICRO, "minor", QEMU_MINOR,
		"major", QEMU_MAJOR, "package", "assay " ASSAY_VERSION);
}

json_t *query_commands(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	json_t *list = json_array();

	for (const struct qmp_command *c = qmp_commands; c->name; c++)
		json_array_append_new(list, json_pack("{s:s}", "name", c->name));
	return list;
}

json_t *query_schema(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	return qmp_schema();
}

json_t *query_status(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	return json_pack("{s:s,s:b,s:b,s:s}", "status", run_state_name(machine->state),
		"singlestep", 0, "running", machine->state == RUN_STATE_RUNNING, "engine",
		machine->engine->ops->name);
}

json_t *query_kvm(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *engine = machine->engine->ops->name;
	bool enabled = !strcmp(engine, "kvm");

	return json_pack("{s:b,s:b,s:s}", "enabled", enabled, "present",
		enabled || !access("/dev/kvm", F_OK), "engine", engine);
}

json_t *query_name(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	return monitor_name();
}

json_t *query_uuid(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	return json_pack("{s:s}", "UUID", monitor_uuid());
}

static void add_chardev(void *opaque, const struct chardev_info *info)
{
	json_array_append_new(
		opaque, json_pack("{s:b,s:s,s:s}", "frontend-open", info->frontend_open, "filename",
				info->filename, "label", info->label));
}

json_t *query_chardev(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	json_t *list = json_array();

	chardev_for_each(add_chardev, list);
	return list;
}

/* The drive that a device is made on, if its type has such a property. */
static struct block_backend *drive_of(struct device *dev)
{
	const struct property *p = dev->type->properties;

	while (p && p->name && p->kind != PROPERTY_DRIVE)
		p++;
	return p && p->name ? *(struct block_backend **)((char *)dev + p->offset) : NULL;
}

json_t *query_block(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	json_t *list = json_array();
	struct list *pos;

	list_for_each (pos, &machine->devices) {
		struct device *dev = container_of(pos, struct device, link);
		struct block_backend *blk = drive_of(dev);
		json_t *entry;

		if (!blk)
			continue;
		entry = json_pack("{s:s,s:s,s:b,s:b,s:{s:s,s:b,s:s,s:{s:s,s:s,s:I}}}", "device",
			block_id(blk), "type", "unknown", "removable", 0, "locked", 0, "inserted",
			"file", block_id(blk), "ro", block_is_readonly(blk), "drv", "raw", "image",
			"filename", block_id(blk), "format", "raw", "virtual-size",
			(json_int_t)block_size(blk));
		if (dev->id)
			json_object_set_new(entry, "qdev", json_string(dev->id));
		json_array_append_new(list, entry);
	}
	return list;
}

static json_t *place_of(const struct cpu_engine *engine, unsigned cpu)
{
	struct cpu_place place = topology_place(&engine->smp, cpu);
	json_t *props = json_pack("{s:i,s:i,s:i}", "core-id", (int)place.core, "thread-id",
		(int)place.thread, "socket-id", (int)place.socket);

	if (engine->smp.dies > 1)
		json_object_set_new(props, "die-id", json_integer(place.die));
	return props;
}

json_t *query_cpus_fast(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const struct cpu_engine *engine = machine->engine;
	json_t *list = json_array();

	for (unsigned i = 0; i < engine->cpus; i++) {
		char path[48];

		snprintf(path, sizeof(path), "/machine/unattached/device[%u]", i);
		json_array_append_new(list,
			json_pack("{s:i,s:o,s:s,s:i,s:s}", "thread-id",
				engine->ops->thread_id(engine, i), "props", place_of(engine, i),
				"qom-path", path, "cpu-index", (int)i, "target", "x86_64"));
	}
	return list;
}

/* All there are: none can be added later.  The last first, as QEMU lists them. */
json_t *query_hotpluggable_cpus(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const struct cpu_engine *engine = machine->engine;
	json_t *list = json_array();

	for (unsigned i = engine->cpus; i--;) {
		char path[48];

		snprintf(path, sizeof(path), "/machine/unattached/device[%u]", i);
		json_array_append_new(list,
			json_pack("{s:o,s:i,s:s,s:s}", "props", place_of(engine, i), "vcpus-count",
				1, "qom-path", path, "type", "qemu64-x86_64-cpu"));
	}
	return list;
}

json_t *query_cpu_definitions(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	json_t *list = json_array();

	for (const struct cpu_model *model = cpu_models; model->name; model++)
		json_array_append_new(list, json_pack("{s:s}", "name", model->name));
	return list;
}

json_t *query_machines(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	json_t *list = json_array();

	for (unsigned i = 0; board_types[i]; i++) {
		const struct board_type *type = board_types[i];
		json_t *entry = json_pack("{s:b,s:s,s:b,s:i,s:b}", "hotpluggable-cpus", 0, "name",
			type->name, "numa-mem-supported", 0, "cpu-max", (int)type->max_cpus,
			"deprecated", 0);

		if (!i)
			json_object_set_new(entry, "is-default", json_true());
		if (type->alias)
			json_object_set_new(entry, "alias", json_string(type->alias));
		json_array_append_new(list, entry);
	}
	return list;
}

json_t *query_current_machine(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	return json_pack("{s:b}", "wakeup-suspend-support", 0);
}

static void ask_thread_id(void *opaque)
{
	*(int *)opaque = gettid();
}

static void add_iothread(void *opaque, struct iothread *iothread)
{
	int id = 0;

	loop_call(iothread->loop, ask_thread_id, &id);
	json_array_append_new(opaque,
		json_pack("{s:i,s:i,s:i,s:i,s:i,s:s}", "poll-shrink", 0, "thread-id", id,
			"aio-max-batch", 0, "poll-grow", 0, "poll-max-ns", 0, "id", iothread->id));
}

json_t *query_iothreads(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	json_t *list = json_array();

	iothread_for_each(add_iothread, list);
	return list;
}

/* Device types. */

/* An enumeration is a string to who sets it. */
static const char *type_name(enum property_kind kind)
{
	return kind == PROPERTY_ENUM ? "str" : property_kind_name(kind);
}

static void add_properties(json_t *list, const struct property *p)
{
	for (; p && p->name; p++) {
		json_t *entry = json_pack("{s:s,s:s}", "name", p->name, "type", type_name(p->kind));
		uint64_t number;
		bool on;

		if (p->help)
			json_object_set_new(entry, "description", json_string(p->help));
		if (p->initial && p->kind == PROPERTY_BOOL &&
			!parse_bool("", p->initial, &on, NULL))
			json_object_set_new(entry, "default-value", json_boolean(on));
		else if (p->initial && p->kind >= PROPERTY_UINT8 && p->kind <= PROPERTY_UINT64 &&
			 !parse_uint("", p->initial, INT64_MAX, &number, NULL))
			json_object_set_new(
				entry, "default-value", json_integer((json_int_t)number));
		else if (p->initial)
			json_object_set_new(entry, "default-value", json_string(p->initial));
		json_array_append_new(list, entry);
	}
}

json_t *query_list_properties(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *name = json_string_value(json_object_get(args, "typename"));
	const struct device_type *type = device_type_find(name);
	json_t *list;

	if (!type)
		return qmp_fail(err, QMP_DEVICE_NOT_FOUND, "Device '%s' not found", name);
	list = json_array();
	add_properties(list, type->properties);
	add_properties(list, type->more_properties);
	return list;
}

json_t *query_list_types(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *implements = json_string_value(json_object_get(args, "implements"));
	json_t *list = json_array();

	for (unsigned i = 0; device_types[i]; i++) {
		const char *name = device_types[i]->name;

		if (implements && strcmp(implements, "device") && strcmp(implements, "object") &&
			strcmp(implements, name))
			continue;
		json_array_append_new(
			list, json_pack("{s:s,s:s}", "name", name, "parent", "device"));
	}
	return list;
}
