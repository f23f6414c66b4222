/* SPDX-License-Identifier: MIT */
/*
 * Devices that come and go while the machine runs: device_add and device_del.  Only on busses that
 * say so (struct bus, hotplug); there a device goes at once, nobody asks the guest.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/keyval.h"
#include "board/board.h"
#include "migration/migration.h"
#include "migration/rewind.h"
#include "monitor/command.h"

#define PERIPHERAL "/machine/peripheral/" /* where QEMU's object tree has devices with an id */

/* 0, or -EBUSY: the state that is being saved has the devices of now. */
static int refuse_while_saving(const char *command, struct qmp_error *err)
{
	enum migration_status status = migration_info()->status;

	if (status != MIGRATION_SETUP && status != MIGRATION_ACTIVE)
		return 0;
	qmp_fail(err, QMP_GENERIC, "%s not allowed while migrating", command);
	return -EBUSY;
}

/* A property's value as -device would have it; false: nothing that it could be. */
static bool value_text(const json_t *value, char *text, size_t size)
{
	if (json_is_integer(value))
		snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_boolean(value))
		snprintf(text, size, "%s", json_is_true(value) ? "on" : "off");
	else
		return false;
	return true;
}

/* NULL with `err`. */
static struct keyvals *properties(const json_t *args, struct qmp_error *err)
{
	struct keyvals *kv = keyvals_new("device_add");
	const char *key, *id;
	json_t *value;
	char number[32];

	json_object_foreach((json_t *)args, key, value)
	{
		const char *text = json_string_value(value);

		if (!text && value_text(value, number, sizeof(number)))
			text = number;
		if (!text) {
			qmp_fail(err, QMP_GENERIC,
				"Parameter '%s' expects a string, an integer or a boolean", key);
			keyvals_free(kv);
			return NULL;
		}
		keyvals_set(kv, key, text);
	}
	keyvals_take(kv, "driver");
	id = keyvals_get(kv, "id");
	if (!id || id_is_wellformed(id))
		return kv;
	qmp_fail(err, QMP_GENERIC, "Parameter 'id' expects an identifier");
	keyvals_free(kv);
	return NULL;
}

/* Can devices of that type come now?  0 or -errno. */
static int check_type(struct machine *machine, const char *driver, const char *bus_name,
	const struct device_type **type, struct qmp_error *err)
{
	struct bus *bus;

	*type = device_type_find(driver);
	if (!*type) {
		qmp_fail(err, QMP_GENERIC, "'%s' is not a valid device model name", driver);
		return -ENODEV;
	}
	if ((*type)->internal || !(*type)->bus || strcmp((*type)->bus, "System") == 0) {
		qmp_fail(err, QMP_GENERIC, "Parameter 'driver' expects a pluggable device type");
		return -EINVAL;
	}
	/* Without one, or with one of another kind, device_create() says what is wrong. */
	bus = bus_find(machine, (*type)->bus, bus_name);
	if (!bus || bus->hotplug || strcmp(bus->kind, (*type)->bus) != 0)
		return 0;
	qmp_fail(err, QMP_GENERIC, "Bus '%s' does not support hotplugging", bus->name);
	return -ENOTSUP;
}

json_t *run_device_add(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *driver = json_string_value(json_object_get(args, "driver"));
	const char *bus = json_string_value(json_object_get(args, "bus"));
	const struct device_type *type;
	struct error why = {.text = ""};
	struct keyvals *kv;
	struct device *dev;

	if (refuse_while_saving("device_add", err) || check_type(machine, driver, bus, &type, err))
		return NULL;
	kv = properties(args, err);
	if (!kv)
		return NULL;
	dev = device_create(machine, type, NULL, kv, &why);
	keyvals_free(kv);
	if (!dev)
		return qmp_fail(err, QMP_GENERIC, "%s", why.text);
	rewind_begin_anew();
	return json_object();
}

json_t *run_device_del(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *given = json_string_value(json_object_get(args, "id")), *id = given;
	struct device *dev;
	json_t *data;

	if (!strncmp(id, PERIPHERAL, strlen(PERIPHERAL)))
		id += strlen(PERIPHERAL);
	dev = device_find(machine, id);
	if (!dev)
		return qmp_fail(err, QMP_DEVICE_NOT_FOUND, "Device '%s' not found", given);
	if (refuse_while_saving("device_del", err))
		return NULL;
	if (!dev->bus || !dev->bus->hotplug)
		return qmp_fail(err, QMP_GENERIC, "Bus '%s' does not support hotplugging",
			dev->bus ? dev->bus->name : "System");
	data = json_pack("{s:s,s:s+}", "device", dev->id, "path", PERIPHERAL, dev->id);
	device_destroy(dev);
	rewind_begin_anew();
	monitor_event("DEVICE_DELETED", data);
	return json_object();
}
