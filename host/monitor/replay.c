/* SPDX-License-Identifier: MIT */
/*
 * Commands that act on the guest are input: a recorded run has them in its log, word for word, and
 * a replayed run executes them from there and refuses others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/outside.h"
#include "migration/rewind.h"
#include "monitor/command.h"

static int apply(void *opaque, const uint8_t *payload, size_t length)
{
	json_t *request = json_loadb((const char *)payload, length, 0, NULL), *result = NULL;
	const char *name = json_string_value(json_object_get(request, "execute"));
	const struct qmp_command *command = name ? qmp_command_find(name) : NULL;
	const json_t *args = json_object_get(request, "arguments");
	struct qmp_error err = {.class = QMP_GENERIC};
	int rc = -EINVAL;

	if (command && command->acts && !qmp_check_arguments(command, args, &err)) {
		/* What it answered is told to nobody: an error then is the same error now. */
		result = command->run(opaque, args, &err);
		rc = 0;
	}
	json_decref(result);
	json_decref(request);
	return rc;
}

static struct outside_source source = {.name = "monitor", .apply = apply};

void qmp_replay_init(struct machine *machine)
{
	if (source.opaque)
		return;
	source.opaque = machine;
	outside_add(&source);
}

/* False: it is refused. */
static bool may_enter(const struct qmp_command *command, const json_t *args)
{
	json_t *request = json_pack("{s:s}", "execute", command->name);
	char *text;
	bool may;

	if (args)
		json_object_set(request, "arguments", (json_t *)args);
	text = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	may = text && outside_enter(&source, (const uint8_t *)text, strlen(text));
	free(text);
	return may;
}

json_t *qmp_command_run(struct machine *machine, const struct qmp_command *command,
	const json_t *args, struct qmp_error *err)
{
	if (command->acts && outside_mode() != OUTSIDE_LIVE && !may_enter(command, args))
		return qmp_fail(err, QMP_GENERIC,
			"'%s' comes from the log of the recorded run, and from nowhere else",
			command->name);
	return command->run(machine, args, err);
}

json_t *query_replay(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	static const char *const modes[] = {
		[OUTSIDE_LIVE] = "none", [OUTSIDE_RECORD] = "record", [OUTSIDE_REPLAY] = "play"};
	struct outside_info info = outside_info();
	json_t *reply = json_pack(
		"{s:s,s:I}", "mode", modes[info.mode], "icount", (json_int_t)info.instructions);

	if (info.path)
		json_object_set_new(reply, "filename", json_string(info.path));
	return reply;
}

/* --- to a place in the run --- */

/* Places to go back to are kept from the first of these commands on. */
static bool may_stop_at(
	struct machine *machine, const json_t *args, uint64_t *icount, struct qmp_error *err)
{
	json_int_t wanted = json_integer_value(json_object_get(args, "icount"));

	*icount = (uint64_t)wanted;
	if (outside_mode() != OUTSIDE_REPLAY)
		qmp_fail(err, QMP_GENERIC, "a place in the run can be named in play mode only");
	else if (wanted < 0)
		qmp_fail(err, QMP_GENERIC, "Parameter 'icount' expects an instruction count");
	else if (!rewind_is_there())
		rewind_prepare(machine);
	return outside_mode() == OUTSIDE_REPLAY && wanted >= 0;
}

json_t *run_replay_break(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	uint64_t icount;

	if (!may_stop_at(machine, args, &icount, err))
		return NULL;
	if (icount <= outside_info().instructions)
		return qmp_fail(
			err, QMP_GENERIC, "cannot set breakpoint at the instruction in the past");
	outside_break(icount);
	return json_object();
}

json_t *run_replay_delete_break(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	if (outside_mode() != OUTSIDE_REPLAY)
		return qmp_fail(err, QMP_GENERIC, "replay is not in play mode");
	outside_break(UINT64_MAX);
	return json_object();
}

/* Forward the machine runs there by itself, as under QEMU; backward it is there at once. */
json_t *run_replay_seek(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	uint64_t icount;
	int rc;

	if (!may_stop_at(machine, args, &icount, err))
		return NULL;
	if (machine->state == RUN_STATE_RUNNING)
		machine_stop(machine, RUN_STATE_PAUSED);
	if (icount > outside_info().instructions) {
		outside_break(icount);
		machine_start(machine);
	} else if (icount < outside_info().instructions) {
		rc = rewind_to(&(struct cpu_goal){-1, icount});
		if (rc == -ENOENT)
			return qmp_fail(
				err, QMP_GENERIC, "no earlier place was kept to go back to");
		if (rc < 0)
			return qmp_fail(err, QMP_GENERIC, "cannot go back: %s", strerror(-rc));
		machine->state = RUN_STATE_PAUSED;
	}
	return json_object();
}
