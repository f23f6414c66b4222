/* SPDX-License-Identifier: MIT */
/*
 * What a device is: a type with a name, a bus, a table of properties and three functions, and the
 * instances of it.  A device's file ends with its one `const struct device_type`, which stands in
 * the list of board/device-list.c; -device NAME,help and QMP read the same tables.
 */
#ifndef MACHINE_DEVICE_H
#define MACHINE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/keyval.h"
#include "base/list.h"
#include "machine/state-table.h"

struct machine;
struct bus;
struct device;

enum property_kind {
	PROPERTY_BOOL,	   /* bool: on|off|yes|no|true|false */
	PROPERTY_TRISTATE, /* enum tristate: on|off|auto */
	PROPERTY_UINT8,
	PROPERTY_UINT16,
	PROPERTY_UINT32,
	PROPERTY_UINT64,
	PROPERTY_SIZE,	   /* uint64_t, QEMU's sizes */
	PROPERTY_STRING,   /* char *, owned by the device, NULL when not given */
	PROPERTY_CHARDEV,  /* struct chardev *, by id */
	PROPERTY_DRIVE,	   /* struct block_backend *, by id of -drive or node-name of -blockdev */
	PROPERTY_IOTHREAD, /* struct iothread *, by id of -object iothread */
	PROPERTY_RNG,	   /* struct rng_backend *, by id of -object rng-* */
	PROPERTY_PCI_ADDRESS, /* int32_t devfn, "05.0" or "5"; -1: next free */
	PROPERTY_ENUM,	      /* int: index into `names` */
};

enum tristate { TRISTATE_AUTO, TRISTATE_ON, TRISTATE_OFF };

struct property {
	const char *name; /* QEMU's; NULL ends a table */
	enum property_kind kind;
	size_t offset;		  /* in the device's struct */
	const char *initial;	  /* as if given on the command line; NULL: zero */
	const char *help;	  /* one phrase */
	const char *const *names; /* PROPERTY_ENUM: NULL-terminated */
	uint64_t min, max;	  /* for numbers; both 0: what the type holds */
};

#define PROPERTY_END         \
	{                    \
		.name = NULL \
	}

struct device_type {
	const char *name; /* QEMU's: "ide-hd" */
	const char *bus;  /* "PCI", "ISA", "IDE", "virtio-bus", or "System" (the board's own) */
	const char *description; /* for -device help; may be NULL */
	const char
		*category; /* -device help's headings: "Storage", "Network", "Input", "Misc", ... */
	const struct property *properties;	/* PROPERTY_END; NULL: none */
	const struct property *more_properties; /* a bus's or base's own; NULL: none */
	size_t size; /* of the state; its first member is (at depth) struct device */
	const char *const
		*bases; /* NULL-terminated names that -global may use too ("virtio-pci") */
	bool internal;	/* not for -device: the board makes it */
	/* What a saved machine carries of it, in the instance's struct (machine/state-table.h);
	 * &state_nothing for none.  Every type has one. */
	const struct state_table *state;

	/* Properties are set, the bus is chosen.  0 or -errno; on failure nothing is left mapped.
	 */
	int (*realize)(struct device *dev, struct error *err);
	/* To power-on state.  NULL: nothing to do. */
	void (*reset)(struct device *dev);
	/* Undoes realize.  NULL: nothing to do. */
	void (*unrealize)(struct device *dev);
};

struct device {
	const struct device_type *type;
	char *id; /* -device id=; NULL when not given */
	struct machine *machine;
	struct bus *bus;
	bool realized;
	struct list link; /* machine->devices */
};

/* A place where devices plug in.  The controller embeds it. */
struct bus {
	const char *kind; /* "PCI", "IDE", ... */
	char name[24];	  /* "pci.0", "ide.1" */
	struct machine *machine;
	/* Checks and takes a place for `dev` before its realize (PCI slot, IDE unit). 0 or -errno.
	 */
	int (*plug)(struct bus *bus, struct device *dev, struct error *err);
	void (*unplug)(struct bus *bus, struct device *dev);
	/* The bus's part of a reset of `dev`, before the device's own.  NULL: none. */
	void (*reset)(struct bus *bus, struct device *dev);
	bool (*is_full)(struct bus *bus); /* no room for one more; NULL: always room */
	bool hotplug;			  /* devices may come and go while the machine runs */
	struct list link;		  /* the list of all busses */
};

void bus_register(struct bus *bus, struct machine *machine, const char *kind, const char *name);
void bus_unregister(struct bus *bus);
/* By name ("pci.0"), or the first bus of that kind with room when name is NULL. */
struct bus *bus_find(struct machine *machine, const char *kind, const char *name);

/*
 * Makes a device: allocates, sets properties from their initial values, from -global, then from
 * `kv` (takes the pairs it knows, "id" and "bus" too; an unknown property is an error), plugs it
 * in, realizes it and adds it to the machine.  Returns NULL with `err` set; nothing is left then.
 * kv may be NULL.  Machine lock held or machine not started.
 */
struct device *device_create(struct machine *machine, const struct device_type *type,
	struct bus *bus, struct keyvals *kv, struct error *err);
void device_destroy(struct device *dev); /* unrealize, unplug, free */
struct device *device_find(struct machine *machine, const char *id);
void device_reset(struct device *dev);

/* Sets one property from its text, as -device does.  0 or -errno with a sentence. */
int device_set_property(struct device *dev, const char *name, const char *value, struct error *err);
const struct property *device_type_property(const struct device_type *type, const char *name);

/* -global TYPE.PROPERTY=VALUE: applies to devices made later.  Copies its arguments. */
void device_global_add(const char *type, const char *property, const char *value);

#endif
