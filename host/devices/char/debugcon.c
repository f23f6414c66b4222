/* SPDX-License-Identifier: MIT */
/*
 * isa-debugcon (QEMU's): one port whose writes go to a character device, and which reads 0xe9 so
 * that a program finds it.  SeaBIOS writes its log to iobase=0x402.
 */
#include <errno.h>

#include "chardev/chardev.h"
#include "devices/devices.h"
#include "machine/machine.h"

struct debugcon {
	struct device dev;
	uint32_t iobase, readback;
	struct chardev *chr;
	struct chardev_user user;
	struct region region;
};

static size_t can_receive(void *opaque)
{
	return 0;
}

static void receive(void *opaque, const uint8_t *data, size_t length)
{
}

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct debugcon *con = opaque;

	return con->readback;
}

/* There is no way to hold the guest back: what a slow peer does not take is lost. */
static void debugcon_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct debugcon *con = opaque;
	uint8_t byte = value;

	chardev_write(con->chr, &byte, 1);
}

static const struct region_ops debugcon_ops = {
	.read = debugcon_read,
	.write = debugcon_write,
	.min_access = 1,
	.max_access = 1,
};

static int debugcon_realize(struct device *dev, struct error *err)
{
	struct debugcon *con = container_of(dev, struct debugcon, dev);
	int rc;

	if (!con->chr)
		return error_set(err, EINVAL, "Can't create debugcon device, empty char device");
	if (con->iobase > 0xffff)
		return error_set(err, EINVAL, "iobase 0x%x is beyond the I/O space", con->iobase);
	con->user = (struct chardev_user){
		.can_receive = can_receive, .receive = receive, .opaque = con};
	rc = chardev_attach(con->chr, &con->user, err);
	if (rc < 0)
		return rc;
	con->region = (struct region){
		.name = "isa-debugcon", .length = 1, .ops = &debugcon_ops, .opaque = con};
	space_map(&dev->machine->ports, &con->region, con->iobase);
	return 0;
}

static void debugcon_unrealize(struct device *dev)
{
	struct debugcon *con = container_of(dev, struct debugcon, dev);

	space_unmap(&con->region);
	chardev_detach(con->chr, &con->user);
}

#define FIELD(member) offsetof(struct debugcon, member)
static const struct property debugcon_properties[] = {
	{.name = "chardev",
		.kind = PROPERTY_CHARDEV,
		.offset = FIELD(chr),
		.help = "ID of a chardev to use as a backend"},
	{.name = "iobase",
		.kind = PROPERTY_UINT32,
		.offset = FIELD(iobase),
		.initial = "0xe9",
		.help = "its port"},
	{.name = "readback",
		.kind = PROPERTY_UINT32,
		.offset = FIELD(readback),
		.initial = "0xe9",
		.help = "what the port reads"},
	PROPERTY_END,
};

const struct device_type isa_debugcon_type = {
	.name = "isa-debugcon",
	.bus = "ISA",
	.category = "Misc",
	.properties = debugcon_properties,
	.size = sizeof(struct debugcon),
	.realize = debugcon_realize,
	.state = &state_nothing,
	.unrealize = debugcon_unrealize,
};
