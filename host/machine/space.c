/* SPDX-License-Identifier: MIT */
/* Regions of an address space and the dispatch of an access (space.h). */
#include "machine/space.h"

#include "base/fault.h"
#include "base/log.h"

void space_init(struct address_space *space, const char *name, bool is_port)
{
	*space = (struct address_space){.name = name, .is_port = is_port};
	list_init(&space->regions);
}

static void tell_added(struct region *region, struct region_event *event)
{
	struct space_listener *listener = region->space ? region->space->listener : NULL;

	/* A refusal is no error: the write then reaches the region's write() instead. */
	if (listener)
		listener->event_added(
			listener->opaque, region->space, region->base + event->offset, event);
}

static void tell_removed(struct region *region, struct region_event *event)
{
	struct space_listener *listener = region->space ? region->space->listener : NULL;

	if (listener)
		listener->event_removed(
			listener->opaque, region->space, region->base + event->offset, event);
}

/* A region that was never given an event has no list yet. */
static bool has_events(const struct region *region)
{
	return region->events.next && !list_empty(&region->events);
}

void space_listen(struct address_space *space, struct space_listener *listener)
{
	struct list *r, *e;

	space->listener = listener;
	list_for_each (r, &space->regions) {
		struct region *region = container_of(r, struct region, link);

		if (!has_events(region))
			continue;
		list_for_each (e, &region->events)
			tell_added(region, container_of(e, struct region_event, link));
	}
}

void space_map(struct address_space *space, struct region *region, uint64_t base)
{
	struct list *pos;

	space_unmap(region);
	region->base = base;
	region->space = space;
	list_for_each (pos, &space->regions)
		if (container_of(pos, struct region, link)->priority <= region->priority)
			break;
	list_add_tail(pos, &region->link); /* in front of pos */
	space->last = NULL;
	if (!has_events(region))
		return;
	list_for_each (pos, &region->events)
		tell_added(region, container_of(pos, struct region_event, link));
}

void space_unmap(struct region *region)
{
	struct list *pos;

	if (!region->space)
		return;
	if (has_events(region))
		list_for_each (pos, &region->events)
			tell_removed(region, container_of(pos, struct region_event, link));
	region->space->last = NULL;
	region->space = NULL;
	list_remove(&region->link);
}

void region_event_add(struct region *region, struct region_event *event)
{
	if (!region->events.next)
		list_init(&region->events);
	event->region = region;
	list_add_tail(&region->events, &event->link);
	tell_added(region, event);
}

void region_event_remove(struct region_event *event)
{
	if (!event->region)
		return;
	tell_removed(event->region, event);
	list_remove(&event->link);
	event->region = NULL;
}

static struct region *find(struct address_space *space, uint64_t address)
{
	struct list *pos;

	if (space->last && space->last_address == address)
		return space->last;
	list_for_each (pos, &space->regions) {
		struct region *region = container_of(pos, struct region, link);

		if (address - region->base >= region->length)
			continue;
		space->last = region;
		space->last_address = address;
		return region;
	}
	return NULL;
}

static unsigned min_access(const struct region *region)
{
	return region->ops->min_access ? region->ops->min_access : 1;
}

static unsigned max_access(const struct region *region)
{
	return region->ops->max_access ? region->ops->max_access : 4;
}

static uint64_t ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ULL << (size * 8)) - 1;
}

/* The widest access the region takes that starts at `offset` and stays within `size` bytes. */
static unsigned step(const struct region *region, uint64_t offset, unsigned size)
{
	unsigned width = max_access(region);

	while (width > size || (!region->ops->unaligned && offset % width))
		width /= 2;
	return width ? width : 1;
}

static uint64_t read_one(const struct region *region, uint64_t offset, unsigned size)
{
	unsigned min = min_access(region);

	if (size < min) {
		uint64_t base = offset & ~(uint64_t)(min - 1);

		return region->ops->read(region->opaque, base, min) >> ((offset - base) * 8);
	}
	return region->ops->read(region->opaque, offset, size);
}

uint64_t space_read(struct address_space *space, uint64_t address, unsigned size)
{
	struct region *region = find(space, address);
	uint64_t value = ones(size), offset;
	unsigned done = 0;

	if (!region || !region->ops->read)
		return value;
	offset = address - region->base;
	while (done < size && offset + done < region->length) {
		unsigned width = step(region, offset + done, size - done);
		uint64_t part = read_one(region, offset + done, width) & ones(width);

		value &= ~(ones(width) << (done * 8));
		value |= part << (done * 8);
		done += width;
	}
	fault_region_read(region->name, offset, size, &value);
	return value & ones(size);
}

static void write_one(const struct region *region, uint64_t offset, uint64_t value, unsigned size)
{
	if (size < min_access(region)) {
		log_guest_error(region->name, "write of %u bytes at 0x%llx is too narrow", size,
			(unsigned long long)offset);
		return;
	}
	region->ops->write(region->opaque, offset, value, size);
}

static void write_region(struct address_space *space, struct region *region, uint64_t offset,
	uint64_t value, unsigned size)
{
	unsigned done = 0;

	while (done < size && offset + done < region->length) {
		unsigned width = step(region, offset + done, size - done);

		write_one(region, offset + done, (value >> (done * 8)) & ones(width), width);
		/* The write may have moved or removed the region (a BAR, a reset). */
		if (region->space != space)
			return;
		done += width;
	}
}

/* An event that no engine turns into a signal is the region's own affair: it sees the write. */
void space_write(struct address_space *space, uint64_t address, uint64_t value, unsigned size)
{
	struct region *region = find(space, address);
	enum fault_verdict verdict;
	uint64_t offset;

	if (!region || !region->ops->write)
		return;
	offset = address - region->base;
	verdict = fault_region_write(region->name, offset, size, &value);
	if (verdict == FAULT_DROP)
		return;
	write_region(space, region, offset, value, size);
	if (verdict == FAULT_TWICE && region->space == space)
		write_region(space, region, offset, value, size);
}
