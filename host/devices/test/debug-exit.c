/* SPDX-License-Identifier: MIT */
/*
 * isa-debug-exit (QEMU's): a write of v ends the process with status (v << 1) | 1, so that a guest
 * cannot report success by accident.  Reads give 0.
 */
#include <errno.h>

#include "devices/devices.h"
#include "machine/machine.h"

struct debug_exit {
	struct device dev;
	uint32_t iobase, iosize;
	struct region region;
};

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct debug_exit *exit_port = opaque;

	machine_request_exit(exit_port->dev.machine, ((value << 1) | 1) & 0xff);
}

static const struct region_ops debug_exit_ops = {
	.read = debug_exit_read,
	.write = debug_exit_write,
	.min_access = 1,
	.max_access = 4,
	.unaligned = true,
};

static int debug_exit_realize(struct device *dev, struct error *err)
{
	struct debug_exit *exit_port = container_of(dev, struct debug_exit, dev);

	if (!exit_port->iosize || exit_port->iobase > 0xffff ||
		exit_port->iosize > 0x10000 - exit_port->iobase)
		return error_set(err, EINVAL, "iobase 0x%x with iosize %u is beyond the I/O space",
			exit_port->iobase, exit_port->iosize);
	exit_port->region.name = "isa-debug-exit";
	exit_port->region.length = exit_port->iosize;
	exit_port->region.ops = &debug_exit_ops;
	exit_port->region.opaque = exit_port;
	space_map(&dev->machine->ports, &exit_port->region, exit_port->iobase);
	return 0;
}

static void debug_exit_unrealize(struct device *dev)
{
	space_unmap(&container_of(dev, struct debug_exit, dev)->region);
}

static const struct property debug_exit_properties[] = {
	{.name = "iobase",
		.kind = PROPERTY_UINT32,
		.offset = offsetof(struct debug_exit, iobase),
		.initial = "0x501",
		.help = "first I/O port"},
	{.name = "iosize",
		.kind = PROPERTY_UINT32,
		.offset = offsetof(struct debug_exit, iosize),
		.initial = "0x02",
		.help = "ports it takes"},
	PROPERTY_END,
};

const struct device_type isa_debug_exit_type = {
	.name = "isa-debug-exit",
	.bus = "ISA",
	.category = "Misc",
	.properties = debug_exit_properties,
	.size = sizeof(struct debug_exit),
	.realize = debug_exit_realize,
	.state = &state_nothing,
	.unrealize = debug_exit_unrealize,
};
