/* SPDX-License-Identifier: MIT */
/* Busses, and the life of a device from its options to its end (device.h). */
#include "machine/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/machine.h"
#include "machine/property.h"

static struct list busses = {&busses, &busses};

void bus_register(struct bus *bus, struct machine *machine, const char *kind, const char *name)
{
	bus->kind = kind;
	bus->machine = machine;
	strncpy(bus->name, name, sizeof(bus->name) - 1);
	list_add_tail(&busses, &bus->link);
}

void bus_unregister(struct bus *bus)
{
	if (bus->link.next)
		list_remove(&bus->link);
}

struct bus *bus_find(struct machine *machine, const char *kind, const char *name)
{
	struct list *pos;

	list_for_each (pos, &busses) {
		struct bus *bus = container_of(pos, struct bus, link);

		if (bus->machine != machine)
			continue;
		if (name ? strcmp(bus->name, name) == 0 : strcmp(bus->kind, kind) == 0)
			if (name || !bus->is_full || !bus->is_full(bus))
				return bus;
	}
	return NULL;
}

struct device *device_find(struct machine *machine, const char *id)
{
	struct list *pos;

	list_for_each (pos, &machine->devices) {
		struct device *dev = container_of(pos, struct device, link);

		if (dev->id && strcmp(dev->id, id) == 0)
			return dev;
	}
	return NULL;
}

void device_reset(struct device *dev)
{
	if (dev->bus && dev->bus->reset)
		dev->bus->reset(dev->bus, dev);
	if (dev->type->reset)
		dev->type->reset(dev);
}

static int choose_bus(struct machine *machine, const struct device_type *type, struct bus **bus,
	struct keyvals *kv, struct error *err)
{
	const char *name = kv ? keyvals_take(kv, "bus") : NULL;

	if (*bus)
		return 0;
	if (!type->bus || strcmp(type->bus, "System") == 0)
		return name ? error_set(err, EINVAL, "Device '%s' can't go on a bus", type->name)
			    : 0;
	*bus = bus_find(machine, type->bus, name);
	if (!*bus && name)
		return error_set(err, ENODEV, "Bus '%s' not found", name);
	if (!*bus)
		return error_set(
			err, ENODEV, "No '%s' bus found for device '%s'", type->bus, type->name);
	if (strcmp((*bus)->kind, type->bus) != 0)
		return error_set(
			err, EINVAL, "Device '%s' can't go on %s bus", type->name, (*bus)->kind);
	return 0;
}

static int take_options(struct device *dev, struct keyvals *kv, struct error *err)
{
	struct list *pos;
	const char *id;
	int rc;

	if (!kv)
		return 0;
	id = keyvals_take(kv, "id");
	if (id && device_find(dev->machine, id))
		return error_set(err, EEXIST, "Duplicate device ID '%s'", id);
	if (id && !(dev->id = strdup(id)))
		return error_set(err, ENOMEM, "out of memory");
	list_for_each (pos, &kv->pairs) {
		struct keyval *pair = container_of(pos, struct keyval, link);

		if (pair->taken)
			continue;
		rc = device_set_property(dev, pair->key, pair->value, err);
		if (rc < 0)
			return rc;
		pair->taken = true;
	}
	return 0;
}

static void device_free(struct device *dev)
{
	properties_free(dev);
	free(dev->id);
	free(dev);
}

static int bring_up(struct device *dev, struct keyvals *kv, struct error *err)
{
	int rc = properties_init(dev, err);

	if (rc == 0)
		rc = take_options(dev, kv, err);
	if (rc == 0 && dev->bus && dev->bus->plug)
		rc = dev->bus->plug(dev->bus, dev, err);
	if (rc < 0)
		return rc;
	rc = dev->type->realize ? dev->type->realize(dev, err) : 0;
	if (rc < 0 && dev->bus && dev->bus->unplug)
		dev->bus->unplug(dev->bus, dev);
	return rc;
}

struct device *device_create(struct machine *machine, const struct device_type *type,
	struct bus *bus, struct keyvals *kv, struct error *err)
{
	struct device *dev = calloc(1, type->size);

	if (!dev) {
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	dev->type = type;
	dev->machine = machine;
	if (choose_bus(machine, type, &bus, kv, err) < 0) {
		device_free(dev);
		return NULL;
	}
	dev->bus = bus;
	if (bring_up(dev, kv, err) < 0) {
		device_free(dev);
		return NULL;
	}
	dev->realized = true;
	list_add_tail(&machine->devices, &dev->link);
	device_reset(dev);
	return dev;
}

void device_destroy(struct device *dev)
{
	list_remove(&dev->link);
	if (dev->type->unrealize)
		dev->type->unrealize(dev);
	if (dev->bus && dev->bus->unplug)
		dev->bus->unplug(dev->bus, dev);
	device_free(dev);
}
