/* SPDX-License-Identifier: MIT */
/*
 * The types of the monitor's commands and events, the check of arguments against them, and their
 * description in the form of QEMU's introspection (query-qmp-schema).  Names are QAPI's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "monitor/command.h"

static const char *const run_states[] = {"debug", "inmigrate", "internal-error", "io-error",
	"paused", "postmigrate", "prelaunch", "finish-migrate", "restore-vm", "running", "save-vm",
	"shutdown", "suspended", "watchdog", "guest-panicked", "colo", NULL};
static const char *const shutdown_causes[] = {"none", "host-error", "host-qmp-quit",
	"host-qmp-system-reset", "host-signal", "host-ui", "guest-shutdown", "guest-reset",
	"guest-panic", "subsystem-reset", "snapshot-load", NULL};
static const char *const io_operations[] = {"read", "write", NULL};
static const char *const error_actions[] = {"ignore", "report", "stop", NULL};
static const char *const capabilities[] = {"oob", NULL};
static const char *const stats_targets[] = {"vm", "vcpu", NULL};
static const char *const stats_providers[] = {"kvm", NULL};
static const char *const stats_units[] = {"bytes", "seconds", "cycles", "boolean", NULL};
static const char *const stats_types[] = {
	"cumulative", "instant", "peak", "linear-histogram", "log2-histogram", NULL};
static const char *const data_formats[] = {"utf8", "base64", NULL};

static const char *const migration_states[] = {"none", "setup", "cancelling", "cancelled", "active",
	"postcopy-active", "postcopy-paused", "postcopy-recover", "completed", "failed", "colo",
	"pre-switchover", "device", "wait-unplug", NULL};
static const char *const migration_capabilities[] = {"xbzrle", "rdma-pin-all", "auto-converge",
	"zero-blocks", "compress", "events", "postcopy-ram", "x-colo", "release-ram", "block",
	"return-path", "pause-before-switchover", "multifd", "dirty-bitmaps", "postcopy-blocktime",
	"late-block-activate", "x-ignore-shared", "validate-uuid", "background-snapshot",
	"zero-copy-send", "postcopy-preempt", NULL};

static const char *const chardev_kinds[] = {
	"file", "null", "pipe", "pty", "ringbuf", "serial", "socket", "tty", NULL};
static const char *const replay_modes[] = {"none", "record", "play", NULL};

#define MEMBERS(...) ((const struct qmp_member[]){__VA_ARGS__, {NULL, NULL, false}})

static const struct qmp_type types[] = {
	{"str", META_BUILTIN, .json = "string"},
	{"int", META_BUILTIN, .json = "int"},
	{"bool", META_BUILTIN, .json = "boolean"},
	{"number", META_BUILTIN, .json = "number"},
	{"any", META_BUILTIN, .json = "value"},
	{"RunState", META_ENUM, .values = run_states},
	{"ShutdownCause", META_ENUM, .values = shutdown_causes},
	{"IoOperationType", META_ENUM, .values = io_operations},
	{"BlockErrorAction", META_ENUM, .values = error_actions},
	{"QMPCapability", META_ENUM, .values = capabilities},
	{"StatsTarget", META_ENUM, .values = stats_targets},
	{"StatsProvider", META_ENUM, .values = stats_providers},
	{"StatsType", META_ENUM, .values = stats_types},
	{"StatsUnit", META_ENUM, .values = stats_units},
	{"DataFormat", META_ENUM, .values = data_formats},
	{"ReplayMode", META_ENUM, .values = replay_modes},
	{"ReplayInfo", META_OBJECT,
		.members = MEMBERS(
			{"mode", "ReplayMode"}, {"filename", "str", true}, {"icount", "int"})},
	{"VersionTriple", META_OBJECT,
		.members = MEMBERS({"major", "int"}, {"minor", "int"}, {"micro", "int"})},
	{"VersionInfo", META_OBJECT,
		.members = MEMBERS({"qemu", "VersionTriple"}, {"package", "str"})},
	{"CommandInfo", META_OBJECT, .members = MEMBERS({"name", "str"})},
	{"SchemaInfo", META_OBJECT, .members = MEMBERS({"name", "str"}, {"meta-type", "str"})},
	{"StatusInfo", META_OBJECT,
		.members = MEMBERS({"running", "bool"}, {"singlestep", "bool"},
			{"status", "RunState"}, {"engine", "str"})},
	{"KvmInfo", META_OBJECT,
		.members = MEMBERS({"enabled", "bool"}, {"present", "bool"}, {"engine", "str"})},
	{"NameInfo", META_OBJECT, .members = MEMBERS({"name", "str", true})},
	{"UuidInfo", META_OBJECT, .members = MEMBERS({"UUID", "str"})},
	{"ChardevInfo", META_OBJECT,
		.members =
			MEMBERS({"label", "str"}, {"filename", "str"}, {"frontend-open", "bool"})},
	{"BlockDeviceInfo", META_OBJECT,
		.members = MEMBERS({"file", "str"}, {"ro", "bool"}, {"drv", "str"},
			{"node-name", "str", true}, {"image", "ImageInfo"})},
	{"ImageInfo", META_OBJECT,
		.members =
			MEMBERS({"filename", "str"}, {"format", "str"}, {"virtual-size", "int"})},
	{"BlockInfo", META_OBJECT,
		.members = MEMBERS({"device", "str"}, {"qdev", "str", true}, {"type", "str"},
			{"removable", "bool"}, {"locked", "bool"},
			{"inserted", "BlockDeviceInfo", true})},
	{"ChardevBackendKind", META_ENUM, .values = chardev_kinds},
	{"ChardevBackend", META_OBJECT,
		.members = MEMBERS({"type", "ChardevBackendKind"}, {"data", "any"})},
	{"ChardevReturn", META_OBJECT, .members = MEMBERS({"pty", "str", true})},
	{"CpuInstanceProperties", META_OBJECT,
		.members = MEMBERS({"socket-id", "int", true}, {"core-id", "int", true},
			{"thread-id", "int", true}, {"die-id", "int", true})},
	{"HotpluggableCPU", META_OBJECT,
		.members = MEMBERS({"type", "str"}, {"vcpus-count", "int"},
			{"props", "CpuInstanceProperties"}, {"qom-path", "str", true})},
	{"CpuInfoFast", META_OBJECT,
		.members = MEMBERS({"cpu-index", "int"}, {"qom-path", "str"}, {"thread-id", "int"},
			{"props", "CpuInstanceProperties", true}, {"target", "str"})},
	{"CpuDefinitionInfo", META_OBJECT, .members = MEMBERS({"name", "str"})},
	{"MachineInfo", META_OBJECT,
		.members = MEMBERS({"name", "str"}, {"alias", "str", true},
			{"is-default", "bool", true}, {"cpu-max", "int"},
			{"hotpluggable-cpus", "bool"}, {"numa-mem-supported", "bool"},
			{"deprecated", "bool"})},
	{"CurrentMachineParams", META_OBJECT,
		.members = MEMBERS({"wakeup-suspend-support", "bool"})},
	{"IOThreadInfo", META_OBJECT,
		.members = MEMBERS({"id", "str"}, {"thread-id", "int"}, {"poll-max-ns", "int"},
			{"poll-grow", "int"}, {"poll-shrink", "int"}, {"aio-max-batch", "int"})},
	{"ObjectPropertyInfo", META_OBJECT,
		.members = MEMBERS({"name", "str"}, {"type", "str"}, {"description", "str", true},
			{"default-value", "any", true})},
	{"ObjectTypeInfo", META_OBJECT,
		.members = MEMBERS(
			{"name", "str"}, {"abstract", "bool", true}, {"parent", "str", true})},
	{"StatsRequest", META_OBJECT,
		.members = MEMBERS({"provider", "StatsProvider"}, {"names", "[str]", true})},
	{"StatsValue", META_ALTERNATE,
		.members = MEMBERS({NULL, "int"}, {NULL, "bool"}, {NULL, "[int]"})},
	{"Stats", META_OBJECT, .members = MEMBERS({"name", "str"}, {"value", "StatsValue"})},
	{"StatsResult", META_OBJECT,
		.members = MEMBERS({"provider", "StatsProvider"}, {"qom-path", "str", true},
			{"stats", "[Stats]"})},
	{"StatsSchemaValue", META_OBJECT,
		.members = MEMBERS({"name", "str"}, {"type", "StatsType"},
			{"unit", "StatsUnit", true}, {"base", "int", true}, {"exponent", "int"})},
	{"StatsSchema", META_OBJECT,
		.members = MEMBERS({"provider", "StatsProvider"}, {"target", "StatsTarget"},
			{"stats", "[StatsSchemaValue]"})},
	{"BLOCK_IO_ERROR-data", META_OBJECT,
		.members = MEMBERS({"device", "str"}, {"node-name", "str", true},
			{"operation", "IoOperationType"}, {"action", "BlockErrorAction"},
			{"nospace", "bool", true}, {"reason", "str"})},
	{"MigrationStatus", META_ENUM, .values = migration_states},
	{"MigrationCapability", META_ENUM, .values = migration_capabilities},
	{"MigrationCapabilityStatus", META_OBJECT,
		.members = MEMBERS({"capability", "MigrationCapability"}, {"state", "bool"})},
	{"MigrationStats", META_OBJECT,
		.members = MEMBERS({"transferred", "int"}, {"remaining", "int"}, {"total", "int"},
			{"duplicate", "int"}, {"normal", "int"}, {"normal-bytes", "int"},
			{"page-size", "int"}, {"dirty-pages-rate", "int"})},
	{"MigrationInfo", META_OBJECT,
		.members = MEMBERS({"status", "MigrationStatus", true},
			{"ram", "MigrationStats", true}, {"total-time", "int", true},
			{"setup-time", "int", true}, {"downtime", "int", true},
			{"error-desc", "str", true})},
	{"DEVICE_DELETED-data", META_OBJECT,
		.members = MEMBERS({"device", "str", true}, {"path", "str"})},
	{"MIGRATION-data", META_OBJECT, .members = MEMBERS({"status", "MigrationStatus"})},
	{"SHUTDOWN-data", META_OBJECT,
		.members = MEMBERS({"guest", "bool"}, {"reason", "ShutdownCause"})},
	{"RESET-data", META_OBJECT,
		.members = MEMBERS({"guest", "bool"}, {"reason", "ShutdownCause"})},
};

const struct qmp_event qmp_events[] = {
	{"BLOCK_IO_ERROR", "BLOCK_IO_ERROR-data"},
	{"DEVICE_DELETED", "DEVICE_DELETED-data"},
	{"MIGRATION", "MIGRATION-data"},
	{"POWERDOWN", NULL},
	{"RESET", "RESET-data"},
	{"RESUME", NULL},
	{"SHUTDOWN", "SHUTDOWN-data"},
	{"STOP", NULL},
	{NULL, NULL},
};

const struct qmp_type *qmp_type_find(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!strcmp(types[i].name, name))
			return &types[i];
	}
	return NULL;
}

/* The check of a value against a type. */

static int wrong_type(struct qmp_error *err, const char *path, const char *expected)
{
	qmp_fail(err, QMP_GENERIC, "Invalid parameter type for '%s', expected: %s", path, expected);
	return -EINVAL;
}

static int check_members(
	const struct qmp_member *members, const json_t *object, bool more, struct qmp_error *err);

static int check_builtin(
	const struct qmp_type *type, const json_t *value, const char *path, struct qmp_error *err)
{
	if (!strcmp(type->json, "string") && !json_is_string(value))
		return wrong_type(err, path, "string");
	if (!strcmp(type->json, "int") && !json_is_integer(value))
		return wrong_type(err, path, "integer");
	if (!strcmp(type->json, "number") && !json_is_number(value))
		return wrong_type(err, path, "number");
	if (!strcmp(type->json, "boolean") && !json_is_boolean(value))
		return wrong_type(err, path, "boolean");
	return 0;
}

static int check_enum(
	const struct qmp_type *type, const json_t *value, const char *path, struct qmp_error *err)
{
	if (!json_is_string(value))
		return wrong_type(err, path, "string");
	for (unsigned i = 0; type->values[i]; i++) {
		if (!strcmp(type->values[i], json_string_value(value)))
			return 0;
	}
	qmp_fail(err, QMP_GENERIC, "Parameter '%s' does not accept value '%s'", path,
		json_string_value(value));
	return -EINVAL;
}

static int check_value(
	const char *name, const json_t *value, const char *path, struct qmp_error *err)
{
	const struct qmp_type *type;
	char element[64];
	json_t *item;
	size_t i;

	if (*name == '[') {
		if (!json_is_array(value))
			return wrong_type(err, path, "array");
		snprintf(element, sizeof(element), "%.*s", (int)strlen(name) - 2, name + 1);
		json_array_foreach(value, i, item)
		{
			if (check_value(element, item, path, err))
				return -EINVAL;
		}
		return 0;
	}
	type = qmp_type_find(name);
	if (!type || type->meta == META_ALTERNATE)
		return 0;
	if (type->meta == META_BUILTIN)
		return check_builtin(type, value, path, err);
	if (type->meta == META_ENUM)
		return check_enum(type, value, path, err);
	return qmp_check_object(type->members, value, path, err);
}

static int check_members(
	const struct qmp_member *members, const json_t *object, bool more, struct qmp_error *err)
{
	const struct qmp_member *m;
	const char *key;
	json_t *value;

	for (m = members; m && m->name; m++) {
		value = json_object_get(object, m->name);
		if (!value && !m->optional) {
			qmp_fail(err, QMP_GENERIC, "Parameter '%s' is missing", m->name);
			return -EINVAL;
		}
		if (value && check_value(m->type, value, m->name, err))
			return -EINVAL;
	}
	json_object_foreach((json_t *)object, key, value)
	{
		for (m = members; m && m->name && strcmp(m->name, key); m++)
			;
		if (!more && (!m || !m->name)) {
			qmp_fail(err, QMP_GENERIC, "Parameter '%s' is unexpected", key);
			return -EINVAL;
		}
	}
	return 0;
}

int qmp_check_arguments(
	const struct qmp_command *command, const json_t *args, struct qmp_error *err)
{
	json_t *none = NULL;
	int rc;

	if (!args)
		args = none = json_object();
	rc = check_members(command->arguments, args, command->more, err);
	json_decref(none);
	return rc;
}

int qmp_check_object(const struct qmp_member *members, const json_t *object, const char *path,
	struct qmp_error *err)
{
	if (!json_is_object(object))
		return wrong_type(err, path, "object");
	return check_members(members, object, false, err);
}

/* Introspection. */

struct schema {
	json_t *list;
	json_t *seen; /* names that stand in the list or will */
};

static void describe(struct schema *schema, const char *name);

static json_t *describe_members(struct schema *schema, const struct qmp_member *members)
{
	json_t *list = json_array();

	for (; members && members->type; members++) {
		json_t *member = json_object();

		if (members->name)
			json_object_set_new(member, "name", json_string(members->name));
		if (members->optional)
			json_object_set_new(member, "default", json_null());
		json_object_set_new(member, "type", json_string(members->type));
		json_array_append_new(list, member);
		describe(schema, members->type);
	}
	return list;
}

static void add(struct schema *schema, const char *name, const char *meta, json_t *entry)
{
	json_object_set_new(entry, "name", json_string(name));
	json_object_set_new(entry, "meta-type", json_string(meta));
	json_array_append_new(schema->list, entry);
}

static void describe_array(struct schema *schema, const char *name)
{
	json_t *entry = json_object();
	char element[64];

	snprintf(element, sizeof(element), "%.*s", (int)strlen(name) - 2, name + 1);
	json_object_set_new(entry, "element-type", json_string(element));
	add(schema, name, "array", entry);
	describe(schema, element);
}

static void describe_enum(struct schema *schema, const struct qmp_type *type)
{
	json_t *entry = json_object(), *values = json_array(), *members = json_array();

	for (unsigned i = 0; type->values[i]; i++) {
		json_array_append_new(values, json_string(type->values[i]));
		json_array_append_new(members, json_pack("{s:s}", "name", type->values[i]));
	}
	json_object_set_new(entry, "members", members);
	json_object_set_new(entry, "values", values);
	add(schema, type->name, "enum", entry);
}

static void describe(struct schema *schema, const char *name)
{
	const struct qmp_type *type = qmp_type_find(name);
	json_t *entry;

	if (json_object_get(schema->seen, name))
		return;
	json_object_set_new(schema->seen, name, json_true());
	if (*name == '[') {
		describe_array(schema, name);
	} else if (type && type->meta == META_ENUM) {
		describe_enum(schema, type);
	} else if (type && type->meta == META_BUILTIN) {
		add(schema, name, "builtin", json_pack("{s:s}", "json-type", type->json));
	} else if (type) {
		entry = json_object();
		json_object_set_new(entry, "members", describe_members(schema, type->members));
		add(schema, name, type->meta == META_OBJECT ? "object" : "alternate", entry);
	}
}

/* What takes or returns nothing refers to the object without members. */
static const char *describe_empty(struct schema *schema)
{
	if (!json_object_get(schema->seen, "q_empty")) {
		json_object_set_new(schema->seen, "q_empty", json_true());
		add(schema, "q_empty", "object", json_pack("{s:[]}", "members"));
	}
	return "q_empty";
}

static void describe_command(struct schema *schema, const struct qmp_command *command)
{
	json_t *entry = json_object();
	char name[96];

	if (command->arguments) {
		json_t *object = json_object();

		snprintf(name, sizeof(name), "q_obj_%s-arg", command->name);
		json_object_set_new(
			object, "members", describe_members(schema, command->arguments));
		add(schema, name, "object", object);
	} else {
		snprintf(name, sizeof(name), "%s", describe_empty(schema));
	}
	json_object_set_new(entry, "arg-type", json_string(name));
	if (command->returns)
		describe(schema, command->returns);
	json_object_set_new(entry, "ret-type",
		json_string(command->returns ? command->returns : describe_empty(schema)));
	add(schema, command->name, "command", entry);
}

json_t *qmp_schema(void)
{
	struct schema schema = {.list = json_array(), .seen = json_object()};

	for (const struct qmp_command *c = qmp_commands; c->name; c++)
		describe_command(&schema, c);
	for (const struct qmp_event *e = qmp_events; e->name; e++) {
		json_t *entry = json_object();

		if (e->data)
			describe(&schema, e->data);
		json_object_set_new(entry, "arg-type",
			json_string(e->data ? e->data : describe_empty(&schema)));
		add(&schema, e->name, "event", entry);
	}
	json_decref(schema.seen);
	return schema.list;
}
