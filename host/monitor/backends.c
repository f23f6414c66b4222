/* SPDX-License-Identifier: MIT */
/*
 * Character devices that come and go while the machine runs: chardev-add and chardev-remove.  A
 * backend's members are turned into the pairs that -chardev has for it.  Left out: a mux, and what
 * -chardev leaves out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/keyval.h"
#include "chardev/chardev.h"
#include "monitor/command.h"

/* Where QAPI has another name than -chardev. */
static const struct renamed {
	const char *backend, *member, *key;
} renamed[] = {
	{"file", "out", "path"},
	{"pipe", "device", "path"},
	{"serial", "device", "path"},
	{"tty", "device", "path"},
};

static const char *key_of(const char *backend, const char *member)
{
	for (size_t i = 0; i < sizeof(renamed) / sizeof(renamed[0]); i++)
		if (!strcmp(renamed[i].backend, backend) && !strcmp(renamed[i].member, member))
			return renamed[i].key;
	return member;
}

static int put(struct keyvals *kv, const char *key, const json_t *value, struct error *err)
{
	char number[32];

	if (json_is_string(value)) {
		keyvals_set(kv, key, json_string_value(value));
	} else if (json_is_boolean(value)) {
		keyvals_set(kv, key, json_is_true(value) ? "on" : "off");
	} else if (json_is_integer(value)) {
		snprintf(
			number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		keyvals_set(kv, key, number);
	} else {
		return error_set(err, EINVAL, "Invalid parameter type for '%s'", key);
	}
	return 0;
}

/* "addr" of a socket: {"type": "unix", "data": {"path": ...}} or "inet" with host and port. */
static int put_address(struct keyvals *kv, const json_t *address, struct error *err)
{
	const char *type = json_string_value(json_object_get(address, "type"));
	json_t *data = json_object_get(address, "data"), *value;
	const char *key;
	int rc = 0;

	if (!type || !json_is_object(data))
		return error_set(err, EINVAL, "Parameter 'addr' expects a type and its data");
	if (strcmp(type, "unix") != 0 && strcmp(type, "inet") != 0)
		return error_set(err, EINVAL, "Parameter 'type' does not accept value '%s'", type);
	json_object_foreach(data, key, value)
	{
		rc = put(kv, key, value, err);
		if (rc)
			break;
	}
	return rc;
}

/* The main loop serves everybody, and waits for nobody. */
static int put_wait(const json_t *value, struct error *err)
{
	if (json_is_false(value))
		return 0;
	return error_set(err, EINVAL, "'wait' is for the command line: the machine exists already");
}

static int put_all(struct keyvals *kv, const char *backend, const json_t *data, struct error *err)
{
	bool is_socket = !strcmp(backend, "socket");
	const char *key;
	json_t *value;
	int rc = 0;

	json_object_foreach((json_t *)data, key, value)
	{
		if (is_socket && !strcmp(key, "addr"))
			rc = put_address(kv, value, err);
		else if (is_socket && !strcmp(key, "wait"))
			rc = put_wait(value, err);
		else
			rc = put(kv, key_of(backend, key), value, err);
		if (rc)
			return rc;
	}
	/* QAPI's default is a server, -chardev's a client. */
	if (!is_socket)
		return 0;
	value = json_object_get(data, "server");
	if (!value)
		keyvals_set(kv, "server", "on");
	if (!value || json_is_true(value))
		keyvals_set(kv, "wait", "off");
	return 0;
}

struct wanted {
	const char *id, *filename;
};

static void look(void *opaque, const struct chardev_info *info)
{
	struct wanted *wanted = opaque;

	if (!strcmp(info->label, wanted->id))
		wanted->filename = info->filename;
}

/* Where the other end is of a pseudo terminal. */
static json_t *made(const char *id, const char *backend)
{
	struct wanted wanted = {.id = id};

	if (strcmp(backend, "pty") != 0)
		return json_object();
	chardev_for_each(look, &wanted);
	if (!wanted.filename || strncmp(wanted.filename, "pty:", 4) != 0)
		return json_object();
	return json_pack("{s:s}", "pty", wanted.filename + 4);
}

json_t *run_chardev_add(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *id = json_string_value(json_object_get(args, "id"));
	const json_t *backend = json_object_get(args, "backend");
	const char *type = json_string_value(json_object_get(backend, "type"));
	const json_t *data = json_object_get(backend, "data");
	struct error why = {.text = ""};
	struct keyvals *kv;
	int rc;

	if (chardev_find(id))
		return qmp_fail(err, QMP_GENERIC, "Chardev with id '%s' already exists", id);
	if (!json_is_object(data))
		return qmp_fail(err, QMP_GENERIC,
			"Invalid parameter type for 'backend.data', expected: object");
	kv = keyvals_new("chardev-add");
	rc = put_all(kv, type, data, &why);
	if (rc == 0) {
		keyvals_set(kv, "backend", type);
		keyvals_set(kv, "id", id);
		rc = chardev_create(machine->loop, kv, &why);
	}
	keyvals_free(kv);
	if (rc)
		return qmp_fail(err, QMP_GENERIC, "Failed to add chardev '%s': %s", id, why.text);
	return made(id, type);
}

json_t *run_chardev_remove(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *id = json_string_value(json_object_get(args, "id"));
	int rc = chardev_remove(id);

	if (rc == -ENOENT)
		return qmp_fail(err, QMP_GENERIC, "Chardev '%s' not found", id);
	if (rc)
		return qmp_fail(err, QMP_GENERIC, "Chardev '%s' is busy", id);
	return json_object();
}
