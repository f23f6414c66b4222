/* SPDX-License-Identifier: MIT */
/*
 * The probe device, ports 0xa50 to 0xa6f (docs/probe.md): marks of measured regions and the VMM's
 * counters.  Not hardware that exists; a guest finds it by its magic, and on other VMMs reads ones.
 *
 * A mark costs one exit, and it has happened when the mark takes the counters: END's own exit is in
 * the region, BEGIN's is not.
 */
#include "devices/test/probe.h"

#include <string.h>

#include "base/log.h"
#include "devices/devices.h"
#include "machine/machine.h"

#define PROBE_BASE   0xa50
#define PROBE_LENGTH 0x20
#define MAGIC	     0x59415341 /* "ASAY" */
#define VERSION	     1
#define REGIONS	     64

/* Registers, 32 bits each */
#define REG_MAGIC      0x00 /* read */
#define REG_COMMAND    0x04 /* write; reads give the version */
#define REG_REGION     0x08
#define REG_SELECT     0x0c
#define REG_VALUE      0x10 /* read */
#define REG_VALUE_HIGH 0x14 /* read */
#define REG_COUNTERS   0x18 /* read: how many there are */

enum { COMMAND_BEGIN = 1, COMMAND_END, COMMAND_LATCH, COMMAND_CLEAR };

#define SELECT_COUNTER 0x00ff
#define SELECT_REGION  0x0100 /* the region's sum instead of the latched counter */
#define SELECT_PASSES  0xff   /* with SELECT_REGION: how often it was measured */

struct probe_region {
	bool open;
	uint64_t passes;
	uint64_t begin[PROBE_COUNTERS], sum[PROBE_COUNTERS];
};

struct probe {
	struct device dev;
	struct region region;
	void (*read)(void *opaque, uint64_t counters[PROBE_COUNTERS]);
	void *opaque;
	uint32_t current, select;
	uint64_t latched[PROBE_COUNTERS];
	struct probe_region regions[REGIONS];
	uint64_t saved_at[PROBE_COUNTERS]; /* the counters when it was saved */
};

void probe_set_source(struct device *dev,
	void (*read)(void *opaque, uint64_t counters[PROBE_COUNTERS]), void *opaque)
{
	struct probe *probe = container_of(dev, struct probe, dev);

	probe->read = read;
	probe->opaque = opaque;
}

static void read_counters(struct probe *probe, uint64_t counters[PROBE_COUNTERS])
{
	memset(counters, 0, PROBE_COUNTERS * sizeof(counters[0]));
	if (probe->read)
		probe->read(probe->opaque, counters);
}

static uint64_t selected(const struct probe *probe)
{
	const struct probe_region *region = &probe->regions[probe->current];
	unsigned index = probe->select & SELECT_COUNTER;

	if ((probe->select & SELECT_REGION) && index == SELECT_PASSES)
		return region->passes;
	if (index >= PROBE_COUNTERS)
		return 0;
	return probe->select & SELECT_REGION ? region->sum[index] : probe->latched[index];
}

static void command(struct probe *probe, uint32_t value)
{
	struct probe_region *region = &probe->regions[probe->current];
	uint64_t now[PROBE_COUNTERS];

	switch (value) {
	case COMMAND_BEGIN:
		region->open = true;
		read_counters(probe, region->begin);
		break;
	case COMMAND_END:
		if (!region->open)
			break;
		read_counters(probe, now);
		region->open = false;
		region->passes++;
		for (unsigned i = 0; i < PROBE_COUNTERS; i++)
			region->sum[i] += now[i] - region->begin[i];
		break;
	case COMMAND_LATCH: read_counters(probe, probe->latched); break;
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

	probe->current = probe->select = 0;
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

static void probe_prepare(void *opaque)
{
	struct probe *probe = opaque;

	read_counters(probe, probe->saved_at);
}

/* The counters of this process began anew: what an open region has counted so far stays. */
static int probe_loaded(void *opaque, unsigned version, struct error *err)
{
	struct probe *probe = opaque;
	uint64_t now[PROBE_COUNTERS];

	read_counters(probe, now);
	for (unsigned r = 0; r < REGIONS; r++)
		for (unsigned i = 0; i < PROBE_COUNTERS && probe->regions[r].open; i++)
			probe->regions[r].begin[i] += now[i] - probe->saved_at[i];
	return 0;
}

static const struct state_field region_fields[] = {
	STATE_BOOL(struct probe_region, open),
	STATE_UINT(struct probe_region, passes),
	STATE_UINTS(struct probe_region, begin),
	STATE_UINTS(struct probe_region, sum),
	STATE_END,
};

static const struct state_table region_table = {
	.name = "region", .version = 1, .fields = region_fields};

static const struct state_field state_fields[] = {
	STATE_UINT(struct probe, current, .max = REGIONS - 1),
	STATE_UINT(struct probe, select),
	STATE_UINTS(struct probe, latched),
	STATE_UINTS(struct probe, saved_at),
	STATE_PARTS(struct probe, regions, region_table),
	STATE_END,
};

static const struct state_table state = {
	.name = "assay-probe",
	.version = 1,
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
