/* SPDX-License-Identifier: MIT */
/*
 * QMP's session (QEMU's docs/interop/qmp-spec): greeting, negotiation, requests, answers, events.
 * Left out: out-of-band execution, which is not offered.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/command.h"
#include "monitor/session.h"

json_t *qmp_fail(struct qmp_error *err, const char *class, const char *format, ...)
{
	va_list args;

	err->class = class;
	va_start(args, format);
	vsnprintf(err->text.text, sizeof(err->text.text), format, args);
	va_end(args);
	return NULL;
}

static void send_json(struct monitor *mon, const json_t *value)
{
	size_t flags = mon->mode == MONITOR_QMP_PRETTY ? JSON_INDENT(4) : 0;
	char *text = json_dumps(value, flags);
	char *line;
	int length;

	if (!text)
		return;
	length = asprintf(&line, "%s\r\n", text);
	free(text);
	if (length < 0)
		return;
	monitor_send(mon, line, (size_t)length);
	free(line);
}

static json_t *error_object(const struct qmp_error *err)
{
	json_t *desc = json_string(err->text.text);

	/* The sentence was cut in the middle of a character, or quotes a file name in another code.
	 */
	if (!desc)
		desc = json_string("an error whose text is not UTF-8");
	return json_pack("{s:s,s:o}", "class", err->class, "desc", desc);
}

/* result: taken; NULL: `err` says why. */
static void answer(struct monitor *mon, json_t *result, const struct qmp_error *err, json_t *id)
{
	json_t *reply = json_object();

	if (result)
		json_object_set_new(reply, "return", result);
	else
		json_object_set_new(reply, "error", error_object(err));
	if (id)
		json_object_set(reply, "id", id);
	send_json(mon, reply);
	json_decref(reply);
}

/* 0, or -1 with `err`: the request is an object with the members that it may have. */
static int check_request(const json_t *request, struct qmp_error *err)
{
	const char *key;
	json_t *value;

	err->class = QMP_GENERIC;
	if (!json_is_object(request)) {
		qmp_fail(err, QMP_GENERIC, "QMP input must be a JSON object");
		return -1;
	}
	json_object_foreach((json_t *)request, key, value)
	{
		if (!strcmp(key, "execute") && json_is_string(value))
			continue;
		if (!strcmp(key, "arguments") && json_is_object(value))
			continue;
		if (!strcmp(key, "id"))
			continue;
		if (!strcmp(key, "execute"))
			qmp_fail(err, QMP_GENERIC, "QMP input member 'execute' must be a string");
		else if (!strcmp(key, "arguments"))
			qmp_fail(
				err, QMP_GENERIC, "QMP input member 'arguments' must be an object");
		else
			qmp_fail(err, QMP_GENERIC, "QMP input member '%s' is unexpected", key);
		return -1;
	}
	if (!json_object_get(request, "execute")) {
		qmp_fail(err, QMP_GENERIC, "QMP input lacks member 'execute'");
		return -1;
	}
	return 0;
}

static json_t *negotiate(struct monitor *mon, const struct qmp_command *command, const json_t *args,
	struct qmp_error *err)
{
	if (mon->negotiated)
		return qmp_fail(err, QMP_COMMAND_NOT_FOUND,
			"Capabilities negotiation is already complete, command ignored");
	if (qmp_check_arguments(command, args, err))
		return NULL;
	if (json_array_size(json_object_get(args, "enable")))
		return qmp_fail(err, QMP_GENERIC, "Capability oob not available");
	mon->negotiated = true;
	return json_object();
}

static json_t *execute(struct monitor *mon, const json_t *request, struct qmp_error *err)
{
	const json_t *args = json_object_get(request, "arguments");
	const struct qmp_command *command;
	const char *name;
	json_t *result;

	if (check_request(request, err))
		return NULL;
	name = json_string_value(json_object_get(request, "execute"));
	command = qmp_command_find(name);
	if (command && !command->run)
		return negotiate(mon, command, args, err);
	if (!mon->negotiated)
		return qmp_fail(err, QMP_COMMAND_NOT_FOUND,
			"Expecting capabilities negotiation with 'qmp_capabilities'");
	if (!command)
		return qmp_fail(
			err, QMP_COMMAND_NOT_FOUND, "The command %s has not been found", name);
	if (qmp_check_arguments(command, args, err))
		return NULL;
	qmp_fail(err, QMP_GENERIC, "the answer cannot be expressed in JSON");
	result = qmp_command_run(mon->machine, command, args, err);
	return result;
}

static void request(void *opaque, json_t *value, const char *error)
{
	struct monitor *mon = opaque;
	struct qmp_error err = {.class = QMP_GENERIC};
	json_t *result = NULL;

	if (error)
		qmp_fail(&err, QMP_GENERIC, "%s", error);
	else
		result = execute(mon, value, &err);
	answer(mon, result, &err, json_object_get(value, "id"));
	json_decref(value);
}

void qmp_session_begin(struct monitor *mon)
{
	json_t *version = query_version(mon->machine, NULL, NULL);
	json_t *greeting = json_pack("{s:{s:o,s:[]}}", "QMP", "version", version, "capabilities");

	mon->negotiated = false;
	mon->stream.value = request;
	mon->stream.opaque = mon;
	json_stream_reset(&mon->stream);
	send_json(mon, greeting);
	json_decref(greeting);
}

void qmp_session_end(struct monitor *mon)
{
	mon->negotiated = false;
	json_stream_reset(&mon->stream);
}

void qmp_session_receive(struct monitor *mon, const uint8_t *data, size_t length)
{
	json_stream_feed(&mon->stream, data, length);
}

void qmp_session_event(struct monitor *mon, json_t *event)
{
	if (mon->mode != MONITOR_HMP && mon->negotiated)
		send_json(mon, event);
}
