/* SPDX-License-Identifier: MIT */
/* Commands that save the machine and go on from a saved one (docs/migration.md). */
#include <stdio.h>
#include <string.h>

#include "machine/outside.h"
#include "migration/migration.h"
#include "monitor/command.h"

json_t *run_migrate(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *uri = json_string_value(json_object_get(args, "uri"));
	struct error why = {.text = ""};

	if (outside_mode() != OUTSIDE_LIVE)
		return qmp_fail(
			err, QMP_GENERIC, "a run that is recorded or replayed cannot be migrated");
	if (migration_save(machine, uri, &why) < 0)
		return qmp_fail(err, QMP_GENERIC, "%s", why.text);
	return json_object();
}

json_t *run_migrate_cancel(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	migration_cancel(machine);
	return json_object();
}

json_t *run_migrate_incoming(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *uri = json_string_value(json_object_get(args, "uri"));
	struct error why = {.text = ""};

	if (migration_load_soon(machine, uri, &why) < 0)
		return qmp_fail(err, QMP_GENERIC, "%s", why.text);
	return json_object();
}

static json_t *ram_info(const struct migration_info *info)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "transferred",
		(json_int_t)info->bytes, "remaining", (json_int_t)0, "total",
		(json_int_t)info->ram_bytes, "duplicate", (json_int_t)info->zero_pages, "normal",
		(json_int_t)info->normal_pages, "normal-bytes",
		(json_int_t)info->normal_pages * 4096, "page-size", (json_int_t)4096,
		"dirty-pages-rate", (json_int_t)0);
}

json_t *query_migrate(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const struct migration_info *info = migration_info();
	json_t *result = json_object();

	if (info->status == MIGRATION_NONE)
		return result;
	json_object_set_new(result, "status", json_string(migration_status_name(info->status)));
	if (info->status == MIGRATION_FAILED && info->error[0])
		json_object_set_new(result, "error-desc", json_string(info->error));
	/* Of a state that came in only the status is known. */
	if (info->status != MIGRATION_COMPLETED || !info->bytes)
		return result;
	json_object_set_new(result, "total-time", json_integer((json_int_t)info->total_ms));
	json_object_set_new(result, "setup-time", json_integer((json_int_t)info->setup_ms));
	json_object_set_new(result, "downtime", json_integer((json_int_t)info->downtime_ms));
	json_object_set_new(result, "ram", ram_info(info));
	return result;
}

static bool wants_events;

bool monitor_wants_migration_events(void)
{
	return wants_events;
}

/* "events" is the one that there is; the others may be switched off. */
json_t *run_migrate_set_capabilities(
	struct machine *machine, const json_t *args, struct qmp_error *err)
{
	json_t *list = json_object_get(args, "capabilities"), *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "capability"));
		bool on = json_is_true(json_object_get(item, "state"));

		if (!name)
			return qmp_fail(err, QMP_GENERIC, "Parameter 'capability' is missing");
		if (!strcmp(name, "events"))
			wants_events = on;
		else if (on)
			return qmp_fail(err, QMP_GENERIC, "Capability '%s' is not there", name);
	}
	return json_object();
}

json_t *query_migrate_capabilities(
	struct machine *machine, const json_t *args, struct qmp_error *err)
{
	return json_pack("[{s:s,s:b}]", "capability", "events", "state", (int)wants_events);
}
