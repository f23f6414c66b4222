/* SPDX-License-Identifier: MIT */
/*
 * Character devices that come and go while the machine runs: chardev-add and chardev-remove.  A
 * backend's members are QAPI's, and are turned into the pairs that -chardev has for them.  Left
 * out: a mux (QAPI's mux is over another device), TLS, and what -chardev leaves out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/keyval.h"
#include "chardev/chardev.h"
#include "monitor/command.h"

#define MEMBERS(...) ((const struct qmp_member[]){__VA_ARGS__, {NULL, NULL, false}})

/* A backend's own members, each with a comma behind it, and those that all have. */
#define WITH_LOG(...) MEMBERS(__VA_ARGS__{"logfile", "str", true}, {"logappend", "bool", true})

/* A backend's members.  Where -chardev has another name for one, `key` is that. */
static const struct backend {
	const char *type;
	const struct qmp_member *members;
	const char *member, *key;
} backends[] = {
	{"file", WITH_LOG({"out", "str"}, {"append", "bool", true}, ), "out", "path"},
	{"null", WITH_LOG()},
	{"pipe", WITH_LOG({"device", "str"}, ), "device", "path"},
	{"pty", WITH_LOG()},
	{"ringbuf", WITH_LOG({"size", "int", true}, )},
	{"serial", WITH_LOG({"device", "str"}, ), "device", "path"},
	{"socket", WITH_LOG({"addr", "any"}, {"server", "bool", true}, {"wait", "bool", true},
			   {"nodelay", "bool", true}, {"telnet", "bool", true},
			   {"websocket", "bool", true}, {"reconnect", "int", true}, )},
	{"tty", WITH_LOG({"device", "str"}, ), "device", "path"},
};

/* A socket's addresses. */
static const struct backend addresses[] = {
	{"inet", MEMBERS({"host", "str"}, {"port", "str"}, {"ipv4", "bool", true},
			 {"ipv6", "bool", true})},
	{"unix", MEMBERS({"path", "str"}, {"abstract", "bool", true})},
};

static const struct qmp_member *const address_members = MEMBERS({"type", "str"}, {"data", "any"});

static const struct backend *find(const struct backend *table, size_t length, const char *type)
{
	for (size_t i = 0; i < length; i++)
		if (!strcmp(table[i].type, type))
			return &table[i];
	return NULL;
}

#define FIND(table, type) find(table, sizeof(table) / sizeof((table)[0]), type)

static void put(struct keyvals *kv, const char *key, const json_t *value)
{
	char number[32];

	if (json_is_string(value)) {
		keyvals_set(kv, key, json_string_value(value));
	} else if (json_is_boolean(value)) {
		keyvals_set(kv, key, json_is_true(value) ? "on" : "off");
	} else {
		snprintf(
			number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		keyvals_set(kv, key, number);
	}
}

/* All members of `data`, which is of that type, but those that are not scalar.  0 or -EINVAL. */
static int put_all(struct keyvals *kv, const struct backend *backend, const json_t *data,
	const char *path, struct qmp_error *err)
{
	const char *key;
	json_t *value;

	if (qmp_check_object(backend->members, data, path, err))
		return -EINVAL;
	json_object_foreach((json_t *)data, key, value)
	{
		bool renamed = backend->member && !strcmp(key, backend->member);

		if (!json_is_object(value))
			put(kv, renamed ? backend->key : key, value);
	}
	return 0;
}

/* "addr" of a socket: {"type": "unix", "data": {"path": ...}} or "inet" with host and port. */
static int put_address(struct keyvals *kv, const json_t *address, struct qmp_error *err)
{
	const struct backend *found;
	const char *type;

	if (qmp_check_object(address_members, address, "addr", err))
		return -EINVAL;
	type = json_string_value(json_object_get(address, "type"));
	found = FIND(addresses, type);
	if (found)
		return put_all(kv, found, json_object_get(address, "data"), "addr.data", err);
	qmp_fail(err, QMP_GENERIC, "Parameter 'type' does not accept value '%s'", type);
	return -EINVAL;
}

/* The main loop serves everybody, and so no server waits for its first client. */
static int put_socket(struct keyvals *kv, const json_t *data, struct qmp_error *err)
{
	const json_t *server = json_object_get(data, "server");

	if (put_address(kv, json_object_get(data, "addr"), err))
		return -EINVAL;
	if (json_is_true(json_object_get(data, "wait"))) {
		qmp_fail(err, QMP_GENERIC,
			"'wait' is for the command line: the machine exists already");
		return -EINVAL;
	}
	/* QAPI's default is a server, -chardev's a client. */
	if (!server || json_is_true(server)) {
		keyvals_set(kv, "server", "on");
		keyvals_set(kv, "wait", "off");
	}
	return 0;
}

static int put_backend(
	struct keyvals *kv, const char *type, const json_t *data, struct qmp_error *err)
{
	const struct backend *backend = FIND(backends, type);

	if (!backend) {
		qmp_fail(err, QMP_GENERIC, "Parameter 'type' does not accept value '%s'", type);
		return -EINVAL;
	}
	if (put_all(kv, backend, data, "backend.data", err))
		return -EINVAL;
	return strcmp(type, "socket") ? 0 : put_socket(kv, data, err);
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
	kv = keyvals_new("chardev-add");
	rc = put_backend(kv, type, data, err);
	if (rc) {
		keyvals_free(kv);
		return NULL;
	}
	keyvals_set(kv, "backend", type);
	keyvals_set(kv, "id", id);
	rc = chardev_plug(machine->loop, kv, &why);
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
