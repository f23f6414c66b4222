/* SPDX-License-Identifier: MIT */
/*
 * The command table of the monitor.  A row says what a command takes and returns; argument checks,
 * query-commands and query-qmp-schema come from it.  To add a command: a row in command-list.c, its
 * function, and in types.c the types that are not there yet.
 */
#ifndef MONITOR_COMMAND_H
#define MONITOR_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "machine/machine.h"

/* QEMU's classes; what else goes wrong is a GenericError. */
#define QMP_GENERIC	      "GenericError"
#define QMP_COMMAND_NOT_FOUND "CommandNotFound"
#define QMP_DEVICE_NOT_FOUND  "DeviceNotFound"

struct qmp_error {
	const char *class;
	struct error text;
};

/* Sets class and sentence, and returns NULL for the handler to return. */
json_t *qmp_fail(struct qmp_error *err, const char *class, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* An argument or a member of an object type. */
struct qmp_member {
	const char *name;
	const char *type; /* "str", "int", "[str]", or a name of types.c */
	bool optional;
};

struct qmp_command {
	const char *name;
	const struct qmp_member *arguments; /* a NULL name ends it; NULL: none */
	const char *returns;		    /* type; NULL: an empty object */
	/* A new value, or NULL with `err`.  args is checked against `arguments`. */
	json_t *(*run)(struct machine *machine, const json_t *args, struct qmp_error *err);
	bool acts; /* the guest may see it: it is input from outside (machine/outside.h) */
	bool more; /* takes members beyond `arguments`, which it checks itself */
};

extern const struct qmp_command qmp_commands[]; /* alphabetical; a NULL name ends it */
const struct qmp_command *qmp_command_find(const char *name);

struct qmp_event {
	const char *name;
	const char *data; /* type of its data; NULL: none */
};
extern const struct qmp_event qmp_events[];

enum qmp_meta { META_BUILTIN, META_ENUM, META_OBJECT, META_ALTERNATE };

struct qmp_type {
	const char *name;
	enum qmp_meta meta;
	const char *json;		  /* builtin: "string", "int", ... */
	const char *const *values;	  /* enum */
	const struct qmp_member *members; /* object, alternate */
};
const struct qmp_type *qmp_type_find(const char *name); /* not for arrays */

/* 0, or -EINVAL with QEMU's sentence.  args may be NULL. */
int qmp_check_arguments(
	const struct qmp_command *command, const json_t *args, struct qmp_error *err);

/* The same for an object with these members and no others; `path` is what it is called.  For what
 * the type "any" stands for. */
int qmp_check_object(const struct qmp_member *members, const json_t *object, const char *path,
	struct qmp_error *err);

/* Runs it, and is where commands that act are recorded, or refused while the log rules. */
json_t *qmp_command_run(struct machine *machine, const struct qmp_command *command,
	const json_t *args, struct qmp_error *err);
void qmp_replay_init(struct machine *machine); /* once */

json_t *qmp_schema(void); /* query-qmp-schema */

/* Runs one line of HMP; its output, to be freed by the caller, with "\r\n" ends. */
char *hmp_run(struct machine *machine, const char *line);

/* monitor.c */
json_t *monitor_name(void);
const char *monitor_uuid(void);

/* monitor.c: an event to all who listen; takes `data`, which may be NULL. */
void monitor_event(const char *name, json_t *data);

/* The commands by file: query.c, run.c, stats.c, migrate.c, plug.c, backends.c. */
typedef json_t *qmp_run(struct machine *machine, const json_t *args, struct qmp_error *err);
qmp_run run_block_resize, run_cont, run_human_monitor_command, run_inject_nmi, run_quit, run_stop,
	run_system_powerdown, run_system_reset, run_ringbuf_read, run_chardev_resize;
qmp_run query_version, query_commands, query_schema, query_status, query_kvm, query_name,
	query_uuid, query_chardev, query_block, query_cpus_fast, query_hotpluggable_cpus,
	query_machines, query_current_machine, query_iothreads, query_list_properties,
	query_list_types, query_cpu_definitions;
qmp_run query_stats, query_stats_schemas, query_replay;
qmp_run run_replay_break, run_replay_delete_break, run_replay_seek;
qmp_run run_device_add, run_device_del, run_chardev_add, run_chardev_remove;
qmp_run run_migrate, run_migrate_cancel, run_migrate_incoming, run_migrate_set_capabilities,
	query_migrate, query_migrate_capabilities;

/* migrate.c: does anybody want the event MIGRATION? */
bool monitor_wants_migration_events(void);

#endif
