/* SPDX-License-Identifier: MIT */
/*
 * The probe device, ports 0xa50 to 0xa6f (docs/probe.md): marks of measured regions and the VMM's
 * counters.  Not hardware that exists; a guest finds it by its magic, and on other VMMs reads ones.
 *
 * A mark costs one exit, and it has happened when the mark takes the counters: END's own exit is in
 * the region, BEGIN's is not.
 */
#include "devices/test/probe.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "devices/devices.h"
#include "machine/machine.h"

#define PROBE_BASE   0xa50
#define PROBE_LENGTH 0x20
#define MAGIC	     0x59415341 /* "ASAY" */
#define VERSION	     2
#define REGIONS	     64

/* Registers, 32 bits each */
#define REG_MAGIC      0x00 /* read */
#define REG_COMMAND    0x04 /* write; reads give the version */
#define REG_REGION     0x08
#define REG_SELECT     0x0c
#define REG_VALUE      0x10 /* read */
#define REG_VALUE_HIGH 0x14 /* read */
#define REG_COUNTERS   0x18 /* read: how many there are */
#define REG_CPU	       0x1c /* whose counters BEGIN and LATCH take: 0 all, n + 1 vCPU n */

enum { COMMAND_BEGIN = 1, COMMAND_END, COMMAND_LATCH, COMMAND_CLEAR };

#define SELECT_COUNTER 0x00ff
#define SELECT_REGION  0x0100 /* the region's sum instead of the latched counter */
#define SELECT_PASSES  0xff   /* with SELECT_REGION: how often it was measured */

struct probe_region {
	bool open;
	uint32_t cpu; /* whose counters: REG_CPU at BEGIN */
	uint64_t passes;
	uint64_t begin[PROBE_COUNTERS], sum[PROBE_COUNTERS];
};

struct probe {
	struct device dev;
	struct region region;
	probe_source *read;
	void *opaque;
	unsigned cpus;
	uint32_t current, select, cpu;
	uint64_t latched[PROBE_COUNTERS];
	struct probe_region regions[REGIONS];
	uint64_t saved_at[PROBE_COUNTERS]; /* the counters when it was saved */
};

void probe_set_source(struct device *dev, probe_source *read, void *opaque, unsigned cpus)
{
	struct probe *probe = container_of(dev, struct probe, dev);

	probe->read = read;
	probe->opaque = opaque;
	probe->cpus = cpus;
}

static void read_counters(struct probe *probe, uint32_t cpu, uint64_t counters[PROBE_COUNTERS])
{
	memset(counters, 0, PROBE_COUNTERS * sizeof(counters[0]));
	if (probe->read)
		probe->read(probe->opaque, cpu, counters);
}

/* How much more `to` is than `from`. */
static uint64_t since(uint64_t from, uint64_t to)
{
	return from == PROBE_ABSENT || to == PROBE_ABSENT ? PROBE_ABSENT : to - from;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a == PROBE_ABSENT || b == PROBE_ABSENT ? PROBE_ABSENT : a + b;
}

static uint64_t selected(const struct probe *probe)
{
	const struct probe_region *region = &probe->regions[probe->current];
	unsigned index = probe->select & SELECT_COUNTER;

	if ((probe->select & SELECT_REGION) && index == SELECT_PASSES)
		return region->passes;
	if (index >= PROBE_COUNTERS)
		return PROBE_ABSENT;
	return probe->select & SELECT_REGION ? region->sum[index] : probe->latched[index];
}

static void command(struct probe *probe, uint32_t value)
{
	struct probe_region *region = &probe->regions[probe->current];
	uint64_t now[PROBE_COUNTERS];

	switch (value) {
	case COMMAND_BEGIN:
		region->open = true;
		region->cpu = probe->cpu;
		read_counters(probe, region->cpu, region->begin);
		break;
	case COMMAND_END:
		if (!region->open)
			break;
		read_counters(probe, region->cpu, now);
		region->open = false;
		region->passes++;
		for (unsigned i = 0; i < PROBE_COUNTERS; i++)
			region->sum[i] = plus(region->sum[i], since(region->begin[i], now[i]));
		break;
	case COMMAND_LATCH: read_counters(probe, probe->cpu, probe->latched); break;
	case COMMAND_CLEAR: *region = (struct probe_region){0}; break;
	default: log_guest_error("assay-probe", "unknown command %u", value); break;
	}
}

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size)
{
	struct probe *probe = opaque;

	switch (offset) {
	case REG_MAGIC: return MAGIC;
	case REG_COMMAND: return VERSION;
	case REG_REGION: return probe->current;
	case REG_SELECT: return probe->select;
	case REG_VALUE: return (uint32_t)selected(probe);
	case REG_VALUE_HIGH: return selected(probe) >> 32;
	case REG_COUNTERS: return PROBE_COUNTERS;
	case REG_CPU: return probe->cpu;
	default: return 0;
	}
}

static void probe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct probe *probe = opaque;

	switch (offset) {
	case REG_COMMAND: command(probe, value); break;
	case REG_REGION: probe->current = value % REGIONS; break;
	case REG_SELECT: probe->select = value; break;
	case REG_CPU: probe->cpu = value <= probe->cpus ? value : 0; break;
	default: log_guest_error("assay-probe", "write of a read-only register"); break;
	}
}

static const struct region_ops probe_ops = {
	.read = probe_read,
	.write = probe_write,
	.min_access = 4,
	.max_access = 4,
};

static void probe_reset(struct device *dev)
{
	struct probe *probe = container_of(dev, struct probe, dev);

	probe->current = probe->select = probe->cpu = 0;
	memset(probe->latched, 0, sizeof(probe->latched));
	memset(probe->regions, 0, sizeof(probe->regions));
}

static int probe_realize(struct device *dev, struct error *err)
{
	struct probe *probe = container_of(dev, struct probe, dev);

	probe->region = (struct region){
		.name = "assay-probe",
		.length = PROBE_LENGTH,
		.ops = &probe_ops,
		.opaque = probe,
	};
	space_map(&dev->machine->ports, &probe->region, PROBE_BASE);
	return 0;
}

static void probe_unrealize(struct device *dev)
{
	space_unmap(&container_of(dev, struct probe, dev)->region);
}

/* What an open region has counted so far goes to its sum: other counters follow after a load. */
static void settle(struct probe *probe, bool add)
{
	for (unsigned r = 0; r < REGIONS; r++) {
		struct probe_region *region = &probe->regions[r];
		uint64_t now[PROBE_COUNTERS];

		if (!region->open)
			continue;
		read_counters(probe, region->cpu, now);
		for (unsigned i = 0; i < PROBE_COUNTERS; i++) {
			if (add)
				region->sum[i] =
					plus(region->sum[i], since(region->begin[i], now[i]));
			region->begin[i] = now[i];
		}
	}
}

static void probe_prepare(void *opaque)
{
	struct probe *probe = opaque;

	settle(probe, true);
	read_counters(probe, 0, probe->saved_at);
}

/* Version 1 had not settled, and had fewer counters, all of all vCPUs. */
static void settle_version1(struct probe *probe)
{
	for (unsigned r = 0; r < REGIONS; r++) {
		struct probe_region *region = &probe->regions[r];

		for (unsigned i = 0; i < PROBE_COUNTERS_V1 && region->open; i++)
			region->sum[i] += probe->saved_at[i] - region->begin[i];
		for (unsigned i = PROBE_COUNTERS_V1; i < PROBE_COUNTERS; i++)
			region->sum[i] = PROBE_ABSENT;
	}
}

static int probe_loaded(void *opaque, unsigned version, struct error *err)
{
	struct probe *probe = opaque;

	if (probe->cpu > probe->cpus)
		return error_set(err, EINVAL, "cpu: there is no such vCPU");
	for (unsigned r = 0; r < REGIONS; r++)
		if (probe->regions[r].cpu > probe->cpus)
			return error_set(err, EINVAL, "newer.%u.cpu: there is no such vCPU", r);
	if (version == 1)
		settle_version1(probe);
	settle(probe, false);
	return 0;
}

/* The counters of version 1, and those after them, are two fields of one array. */
#define SOME_COUNTERS(type, member, what, first, end, version)                     \
	{                                                                          \
		.name = (what), .kind = STATE_NUMBER, .since = (version),          \
		.offset = offsetof(type, member[first]), .size = sizeof(uint64_t), \
		.count = (end) - (first),                                          \
	}
#define OLD_COUNTERS(type, member) SOME_COUNTERS(type, member, #member, 0, PROBE_COUNTERS_V1, 0)
#define NEW_COUNTERS(type, member) \
	SOME_COUNTERS(type, member, #member "_more", PROBE_COUNTERS_V1, PROBE_COUNTERS, 2)

static const struct state_field region_fields[] = {
	STATE_BOOL(struct probe_region, open),
	STATE_UINT(struct probe_region, passes),
	OLD_COUNTERS(struct probe_region, begin),
	OLD_COUNTERS(struct probe_region, sum),
	STATE_END,
};

static const struct state_table region_table = {
	.name = "region", .version = 1, .fields = region_fields};

static const struct state_field newer_fields[] = {
	STATE_UINT(struct probe_region, cpu),
	NEW_COUNTERS(struct probe_region, begin),
	NEW_COUNTERS(struct probe_region, sum),
	STATE_END,
};

static const struct state_table newer_table = {
	.name = "newer", .version = 2, .fields = newer_fields};

static const struct state_field state_fields[] = {
	STATE_UINT(struct probe, current, .max = REGIONS - 1),
	STATE_UINT(struct probe, select),
	OLD_COUNTERS(struct probe, latched),
	OLD_COUNTERS(struct probe, saved_at),
	STATE_PARTS(struct probe, regions, region_table),
	STATE_UINT(struct probe, cpu, .since = 2),
	NEW_COUNTERS(struct probe, latched),
	{.name = "newer",
		.kind = STATE_GROUP,
		.offset = offsetof(struct probe, regions),
		.size = sizeof(struct probe_region),
		.count = REGIONS,
		.table = &newer_table,
		.since = 2},
	STATE_END,
};

static const struct state_table state = {
	.name = "assay-probe",
	.version = 2,
	.fields = state_fields,
	.pre_save = probe_prepare,
	.post_load = probe_loaded,
};

const struct device_type assay_probe_type = {
	.name = "assay-probe",
	.bus = "System",
	.category = "Misc",
	.size = sizeof(struct probe),
	.internal = true,
	.realize = probe_realize,
	.reset = probe_reset,
	.state = &state,
	.unrealize = probe_unrealize,
};
