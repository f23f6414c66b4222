/* SPDX-License-Identifier: MIT */
/*
 * An address space (port I/O, MMIO): a table of regions that devices map, and the dispatch of an
 * access to one of them.  Called under the machine lock, always.
 *
 * Overlaps: the region mapped with the higher priority wins; of two with the same priority the one
 * mapped later.  (A PCI BAR that a guest moves over another device then wins, as on a bus where the
 * newest decoder answers, and the other returns when it leaves.)  An access belongs to the region
 * of its first byte and never runs into the next region: it is cut at the region's end and the
 * bytes beyond read as ones.
 *
 * An access that a region does not take is split (too wide) or widened (too narrow, read only; a
 * narrow write is passed on with its own size only if `min_access` allows it, else dropped and
 * counted as a guest error).  Values are little-endian numbers of `size` bytes.
 */
#ifndef MACHINE_SPACE_H
#define MACHINE_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"

struct region_ops {
	/* offset: from the region's base; size: 1, 2, 4 or 8 within the bounds below. */
	uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
	void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
	uint8_t min_access, max_access; /* bytes; 0 means 1 and 4 */
	bool unaligned;			/* takes accesses that are not a multiple of their size */
};

/* Owned and kept alive by the device while mapped.  Zero-initialise. */
struct region {
	const char *name; /* for guest errors and fault injection: "ide0-command",
			     "virtio-pci-common" */
	uint64_t length;  /* bytes, > 0; set before mapping */
	const struct region_ops *ops;
	void *opaque;
	int priority; /* 0 for devices; -1 for what others may cover */
	/* private: */
	struct list link;
	struct list events; /* of struct region_event */
	uint64_t base;
	struct address_space *space; /* NULL: not mapped */
};

/* A write that an engine turns into a signal of `fd` without calling the region (ioeventfd). */
struct region_event {
	uint64_t offset;
	unsigned size; /* 0: any */
	bool match;    /* only for `value`; else for each value */
	uint64_t value;
	int fd; /* an eventfd, owned by the device */
	/* private: */
	struct list link;
	struct region *region;
};

/* The engine hears of events as they come into and go out of force (a region's unmap removes, its
 * map restores).  0 or -errno from event_added: then the write goes to the region's write(). */
struct space_listener {
	int (*event_added)(void *opaque, struct address_space *space, uint64_t address,
		const struct region_event *event);
	void (*event_removed)(void *opaque, struct address_space *space, uint64_t address,
		const struct region_event *event);
	void *opaque;
};

struct address_space {
	const char *name;
	bool is_port;
	struct list regions; /* by priority, newest first within one */
	/* Who answered where last, until the table changes: string I/O stays at one address. */
	struct region *last;
	uint64_t last_address;
	struct space_listener *listener;
};

void space_init(struct address_space *space, const char *name, bool is_port);
void space_listen(struct address_space *space, struct space_listener *listener);

void space_map(struct address_space *space, struct region *region, uint64_t base);
void space_unmap(struct region *region); /* not mapped: nothing happens */

/* Adds to a region, mapped or not.  The caller keeps `event` alive until region_event_remove(). */
void region_event_add(struct region *region, struct region_event *event);
void region_event_remove(struct region_event *event);

/* size: 1, 2, 4, 8.  No region: reads give all ones, writes go nowhere (as on a PC's bus). */
uint64_t space_read(struct address_space *space, uint64_t address, unsigned size);
void space_write(struct address_space *space, uint64_t address, uint64_t value, unsigned size);

#endif
