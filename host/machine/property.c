/* SPDX-License-Identifier: MIT */
/* The text of a property into its place in the device's state (property.h). */
#include "machine/property.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "block/iothread.h"
#include "chardev/chardev.h"
#include "chardev/rng.h"

struct global {
	struct list link;
	char *type, *property, *value;
};

static struct list globals = {&globals, &globals};

void device_global_add(const char *type, const char *property, const char *value)
{
	struct global *global = calloc(1, sizeof(*global));

	if (!global)
		return;
	global->type = strdup(type);
	global->property = strdup(property);
	global->value = strdup(value);
	list_add_tail(&globals, &global->link);
}

static const char *const kind_names[] = {
	[PROPERTY_BOOL] = "bool",
	[PROPERTY_TRISTATE] = "OnOffAuto",
	[PROPERTY_UINT8] = "uint8",
	[PROPERTY_UINT16] = "uint16",
	[PROPERTY_UINT32] = "uint32",
	[PROPERTY_UINT64] = "uint64",
	[PROPERTY_SIZE] = "size",
	[PROPERTY_STRING] = "str",
	[PROPERTY_CHARDEV] = "str",
	[PROPERTY_DRIVE] = "str",
	[PROPERTY_IOTHREAD] = "link<iothread>",
	[PROPERTY_RNG] = "link<rng-backend>",
	[PROPERTY_PCI_ADDRESS] = "int32",
	[PROPERTY_ENUM] = "enum",
};

const char *property_kind_name(enum property_kind kind)
{
	return kind_names[kind];
}

static const struct property *find_in(const struct property *table, const char *name)
{
	for (; table && table->name; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

const struct property *device_type_property(const struct device_type *type, const char *name)
{
	const struct property *found = find_in(type->properties, name);

	return found ? found : find_in(type->more_properties, name);
}

static int set_tristate(const char *key, const char *value, int *out, struct error *err)
{
	bool on;

	if (strcmp(value, "auto") == 0) {
		*out = TRISTATE_AUTO;
		return 0;
	}
	if (parse_bool(key, value, &on, NULL) < 0)
		return error_set(err, EINVAL,
			"Parameter '%s' does not accept value '%s' (on, off or auto)", key, value);
	*out = on ? TRISTATE_ON : TRISTATE_OFF;
	return 0;
}

static int set_number(const struct property *prop, const char *value, void *at, struct error *err)
{
	static const uint64_t limits[] = {
		[PROPERTY_UINT8] = UINT8_MAX,
		[PROPERTY_UINT16] = UINT16_MAX,
		[PROPERTY_UINT32] = UINT32_MAX,
		[PROPERTY_UINT64] = UINT64_MAX,
	};
	uint64_t number;
	int rc;

	if (prop->kind == PROPERTY_SIZE)
		rc = parse_size(prop->name, value, 1, &number, err);
	else
		rc = parse_uint(prop->name, value, limits[prop->kind], &number, err);
	if (rc < 0)
		return rc;
	if ((prop->min || prop->max) && (number < prop->min || number > prop->max))
		return error_set(err, EINVAL,
			"Property '%s' takes values from %llu to %llu, not %s", prop->name,
			(unsigned long long)prop->min, (unsigned long long)prop->max, value);
	switch (prop->kind) {
	case PROPERTY_UINT8: *(uint8_t *)at = number; break;
	case PROPERTY_UINT16: *(uint16_t *)at = number; break;
	case PROPERTY_UINT32: *(uint32_t *)at = number; break;
	default: *(uint64_t *)at = number; break;
	}
	return 0;
}

/* "SLOT[.FUNCTION]" in hexadecimal, as QEMU takes it. */
static int set_pci_address(const char *key, const char *value, int32_t *out, struct error *err)
{
	char *end;
	unsigned long slot, function = 0;

	slot = strtoul(value, &end, 16);
	if (end != value && *end == '.' && end[1])
		function = strtoul(end + 1, &end, 16);
	if (end == value || *end || *value == '-' || slot > 31 || function > 7)
		return error_set(
			err, EINVAL, "Property '%s' takes SLOT[.FUNCTION], not '%s'", key, value);
	*out = slot << 3 | function;
	return 0;
}

static int set_enum(const struct property *prop, const char *value, int *out, struct error *err)
{
	for (int i = 0; prop->names[i]; i++)
		if (strcmp(prop->names[i], value) == 0) {
			*out = i;
			return 0;
		}
	return error_set(err, EINVAL, "Property '%s' doesn't take value '%s'", prop->name, value);
}

static int set_backend(const struct device *dev, const struct property *prop, const char *value,
	void **out, struct error *err)
{
	void *found;

	switch (prop->kind) {
	case PROPERTY_CHARDEV: found = chardev_find(value); break;
	case PROPERTY_DRIVE: found = block_find(value); break;
	case PROPERTY_RNG: found = rng_find(value); break;
	default: found = iothread_find(value); break;
	}
	if (!found)
		return error_set(err, ENOENT, "Property '%s.%s' can't find value '%s'",
			dev->type->name, prop->name, value);
	*out = found;
	return 0;
}

static int set_string(char **out, const char *value, struct error *err)
{
	char *copy = strdup(value);

	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	free(*out);
	*out = copy;
	return 0;
}

static int set(
	struct device *dev, const struct property *prop, const char *value, struct error *err)
{
	void *at = (char *)dev + prop->offset;

	switch (prop->kind) {
	case PROPERTY_BOOL: return parse_bool(prop->name, value, at, err);
	case PROPERTY_TRISTATE: return set_tristate(prop->name, value, at, err);
	case PROPERTY_STRING: return set_string(at, value, err);
	case PROPERTY_PCI_ADDRESS: return set_pci_address(prop->name, value, at, err);
	case PROPERTY_ENUM: return set_enum(prop, value, at, err);
	case PROPERTY_CHARDEV:
	case PROPERTY_DRIVE:
	case PROPERTY_RNG:
	case PROPERTY_IOTHREAD: return set_backend(dev, prop, value, at, err);
	default: return set_number(prop, value, at, err);
	}
}

int device_set_property(struct device *dev, const char *name, const char *value, struct error *err)
{
	const struct property *prop = device_type_property(dev->type, name);

	if (!prop)
		return error_set(err, ENOENT, "Property '%s.%s' not found", dev->type->name, name);
	return set(dev, prop, value, err);
}

static int init_table(struct device *dev, const struct property *table, struct error *err)
{
	for (; table && table->name; table++) {
		int rc = 0;

		if (table->initial)
			rc = set(dev, table, table->initial, err);
		else if (table->kind == PROPERTY_PCI_ADDRESS)
			*(int32_t *)((char *)dev + table->offset) = -1;
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* -global virtio-pci.x applies to every type that derives from it. */
static bool global_applies(const struct global *global, const struct device_type *type)
{
	if (strcmp(global->type, type->name) == 0)
		return true;
	for (const char *const *base = type->bases; base && *base; base++)
		if (strcmp(*base, global->type) == 0)
			return true;
	return false;
}

int properties_init(struct device *dev, struct error *err)
{
	struct list *pos;
	int rc = init_table(dev, dev->type->properties, err);

	if (rc == 0)
		rc = init_table(dev, dev->type->more_properties, err);
	list_for_each (pos, &globals) {
		struct global *global = container_of(pos, struct global, link);

		if (rc < 0)
			break;
		if (!global_applies(global, dev->type))
			continue;
		rc = device_set_property(dev, global->property, global->value, err);
		if (rc < 0)
			error_prefix(err, rc, "-global %s.%s=%s: ", global->type, global->property,
				global->value);
	}
	return rc;
}

static void free_strings(struct device *dev, const struct property *table)
{
	for (; table && table->name; table++)
		if (table->kind == PROPERTY_STRING)
			free(*(char **)((char *)dev + table->offset));
}

void properties_free(struct device *dev)
{
	free_strings(dev, dev->type->properties);
	free_strings(dev, dev->type->more_properties);
}
