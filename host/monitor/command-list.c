/* SPDX-License-Identifier: MIT */
/* The table of commands (command.h). */
#include <string.h>

#include "monitor/command.h"

#define ARGS(...) ((const struct qmp_member[]){__VA_ARGS__, {NULL, NULL, false}})

const struct qmp_command qmp_commands[] = {
	{"block_resize", ARGS({"device", "str", true}, {"node-name", "str", true}, {"size", "int"}),
		NULL, run_block_resize, true},
	{"chardev-add", ARGS({"id", "str"}, {"backend", "ChardevBackend"}), "ChardevReturn",
		run_chardev_add, true},
	{"chardev-remove", ARGS({"id", "str"}), NULL, run_chardev_remove, true},
	/* Ours: QEMU 7.2 has no way to say it. */
	{"chardev-resize", ARGS({"id", "str"}, {"cols", "int"}, {"rows", "int"}), NULL,
		run_chardev_resize, true},
	{"cont", NULL, NULL, run_cont},
	{"device-list-properties", ARGS({"typename", "str"}), "[ObjectPropertyInfo]",
		query_list_properties},
	{"device_add", ARGS({"driver", "str"}, {"bus", "str", true}, {"id", "str", true}), NULL,
		run_device_add, true, true},
	{"device_del", ARGS({"id", "str"}), NULL, run_device_del, true},
	{"human-monitor-command", ARGS({"command-line", "str"}, {"cpu-index", "int", true}), "str",
		run_human_monitor_command},
	{"inject-nmi", NULL, NULL, run_inject_nmi, true},
	{"migrate",
		ARGS({"uri", "str"}, {"blk", "bool", true}, {"inc", "bool", true},
			{"detach", "bool", true}, {"resume", "bool", true}),
		NULL, run_migrate},
	{"migrate-incoming", ARGS({"uri", "str"}), NULL, run_migrate_incoming},
	{"migrate-set-capabilities", ARGS({"capabilities", "[MigrationCapabilityStatus]"}), NULL,
		run_migrate_set_capabilities},
	{"migrate_cancel", NULL, NULL, run_migrate_cancel},
	/* Its place is the negotiation: afterwards the session itself refuses it. */
	{"qmp_capabilities", ARGS({"enable", "[QMPCapability]", true}), NULL, NULL},
	{"qom-list-types", ARGS({"implements", "str", true}, {"abstract", "bool", true}),
		"[ObjectTypeInfo]", query_list_types},
	{"query-block", NULL, "[BlockInfo]", query_block},
	{"query-chardev", NULL, "[ChardevInfo]", query_chardev},
	{"query-commands", NULL, "[CommandInfo]", query_commands},
	{"query-cpu-definitions", NULL, "[CpuDefinitionInfo]", query_cpu_definitions},
	{"query-cpus-fast", NULL, "[CpuInfoFast]", query_cpus_fast},
	{"query-current-machine", NULL, "CurrentMachineParams", query_current_machine},
	{"query-hotpluggable-cpus", NULL, "[HotpluggableCPU]", query_hotpluggable_cpus},
	{"query-iothreads", NULL, "[IOThreadInfo]", query_iothreads},
	{"query-kvm", NULL, "KvmInfo", query_kvm},
	{"query-machines", NULL, "[MachineInfo]", query_machines},
	{"query-migrate", NULL, "MigrationInfo", query_migrate},
	{"query-migrate-capabilities", NULL, "[MigrationCapabilityStatus]",
		query_migrate_capabilities},
	{"query-name", NULL, "NameInfo", query_name},
	{"query-qmp-schema", NULL, "[SchemaInfo]", query_schema},
	{"query-replay", NULL, "ReplayInfo", query_replay},
	{"query-stats",
		ARGS({"target", "StatsTarget"}, {"vcpus", "[str]", true},
			{"providers", "[StatsRequest]", true}),
		"[StatsResult]", query_stats},
	{"query-stats-schemas", ARGS({"provider", "StatsProvider", true}), "[StatsSchema]",
		query_stats_schemas},
	{"query-status", NULL, "StatusInfo", query_status},
	{"query-uuid", NULL, "UuidInfo", query_uuid},
	{"query-version", NULL, "VersionInfo", query_version},
	{"quit", NULL, NULL, run_quit},
	{"replay-break", ARGS({"icount", "int"}), NULL, run_replay_break},
	{"replay-delete-break", NULL, NULL, run_replay_delete_break},
	{"replay-seek", ARGS({"icount", "int"}), NULL, run_replay_seek},
	{"ringbuf-read", ARGS({"device", "str"}, {"size", "int"}, {"format", "DataFormat", true}),
		"str", run_ringbuf_read},
	{"stop", NULL, NULL, run_stop},
	{"system_powerdown", NULL, NULL, run_system_powerdown, true},
	{"system_reset", NULL, NULL, run_system_reset, true},
	{NULL, NULL, NULL, NULL},
};

const struct qmp_command *qmp_command_find(const char *name)
{
	for (const struct qmp_command *c = qmp_commands; c->name; c++) {
		if (!strcmp(c->name, name))
			return c;
	}
	return NULL;
}
