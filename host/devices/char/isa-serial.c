/* SPDX-License-Identifier: MIT */
/*
 * isa-serial: a 16550A at one of a PC's four places (COM1 to COM4) or wherever iobase= and irq=
 * say.
 */
#include <errno.h>
#include <stdio.h>

#include "devices/char/serial.h"
#include "devices/devices.h"

#define ISA_IRQS   16
#define ISA_PLACES 4

struct isa_serial {
	struct device dev;
	uint32_t iobase, irq, index; /* UINT32_MAX: by the next place */
	struct serial serial;
	char name[12];
};

static const struct {
	uint16_t iobase;
	uint8_t irq;
} places[ISA_PLACES] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};

static uint32_t next_index(const struct machine *machine)
{
	uint32_t count = 0;
	struct list *pos;

	list_for_each (pos, &machine->devices) {
		if (container_of(pos, struct device, link)->type == &isa_serial_type)
			count++;
	}
	return count;
}

static int isa_serial_realize(struct device *dev, struct error *err)
{
	struct isa_serial *isa = container_of(dev, struct isa_serial, dev);
	struct machine *machine = dev->machine;
	int rc;

	if (isa->index == UINT32_MAX)
		isa->index = next_index(machine);
	if (isa->index >= ISA_PLACES)
		return error_set(err, EINVAL, "Max. supported number of ISA serial ports is %d.",
			ISA_PLACES);
	if (isa->iobase == UINT32_MAX)
		isa->iobase = places[isa->index].iobase;
	if (isa->irq == UINT32_MAX)
		isa->irq = places[isa->index].irq;
	if (isa->irq >= ISA_IRQS)
		return error_set(
			err, EINVAL, "irq %u is beyond the ISA bus's %d", isa->irq, ISA_IRQS);
	if (isa->iobase > 0x10000 - SERIAL_PORTS)
		return error_set(err, EINVAL, "iobase 0x%x is beyond the I/O space", isa->iobase);

	snprintf(isa->name, sizeof(isa->name), "serial%u", isa->index);
	isa->serial.irq = machine->gsi[isa->irq];
	rc = serial_init(&isa->serial, machine, err);
	if (rc)
		return rc;
	isa->serial.region.name = isa->name;
	space_map(&machine->ports, &isa->serial.region, isa->iobase);
	return 0;
}

int isa_serial_place(const struct device *dev)
{
	const struct isa_serial *isa = (const struct isa_serial *)dev;

	for (int i = 0; i < ISA_PLACES; i++) {
		if (places[i].iobase == isa->iobase)
			return i;
	}
	return -1;
}

static void isa_serial_reset(struct device *dev)
{
	serial_reset(&container_of(dev, struct isa_serial, dev)->serial);
}

static void isa_serial_unrealize(struct device *dev)
{
	struct isa_serial *isa = container_of(dev, struct isa_serial, dev);

	space_unmap(&isa->serial.region);
	serial_destroy(&isa->serial);
}

/* A property that is left out follows from the index. */
#define BY_INDEX "4294967295"

static const struct property isa_serial_properties[] = {
	{.name = "chardev",
		.kind = PROPERTY_CHARDEV,
		.offset = offsetof(struct isa_serial, serial.chr),
		.help = "ID of a chardev to use as a backend"},
	{.name = "index",
		.kind = PROPERTY_UINT32,
		.offset = offsetof(struct isa_serial, index),
		.initial = BY_INDEX,
		.help = "which of the PC's four places"},
	{.name = "iobase",
		.kind = PROPERTY_UINT32,
		.offset = offsetof(struct isa_serial, iobase),
		.initial = BY_INDEX,
		.help = "first I/O port"},
	{.name = "irq",
		.kind = PROPERTY_UINT32,
		.offset = offsetof(struct isa_serial, irq),
		.initial = BY_INDEX,
		.help = "ISA interrupt"},
	PROPERTY_END,
};

static bool is_iobase(const void *state, uint64_t value)
{
	return ((const struct isa_serial *)state)->iobase == value;
}

static const struct state_field state_fields[] = {
	STATE_UINT(struct isa_serial, iobase, .valid = is_iobase),
	STATE_PART(struct isa_serial, serial, serial_state_table),
	STATE_END,
};

static const struct state_table state = {
	.name = "isa-serial", .version = 1, .fields = state_fields};

const struct device_type isa_serial_type = {
	.name = "isa-serial",
	.bus = "ISA",
	.category = "Input",
	.properties = isa_serial_properties,
	.size = sizeof(struct isa_serial),
	.realize = isa_serial_realize,
	.reset = isa_serial_reset,
	.state = &state,
	.unrealize = isa_serial_unrealize,
};
