/* SPDX-License-Identifier: MIT */
/*
 * The PIIX3 PCI-to-ISA bridge (Intel 82371SB, order 290550): routes PIRQA# to PIRQD# to ISA
 * interrupts (PIRQRC, 0x60 to 0x63).  The interrupt controllers are the engine's; an ISA interrupt
 * is a GSI, which reaches the PIC and the IOAPIC pin of the same number.
 *
 * Also at home here, as ports: the reset control register (RC, 0xCF9) and port 0x92.
 */
#include "bus/pci.h"
#include "devices/devices.h"

#define PIRQRC	       0x60
#define PIRQ_DISABLED  0x80
#define XBCS	       0x4e
#define RC_PORT	       0xcf9
#define RC_SYSTEM_HARD 0x02
#define RC_RESET_CPU   0x04
#define PORT92	       0x92
#define PORT92_RESET   0x01
#define PORT92_A20     0x02

struct piix3 {
	struct pci_device pci;
	struct region rc_region, port92_region;
	bool pirq_level[4];
	bool isa_level[16]; /* what the PIRQs together hold up */
	uint8_t rc, port92;
};

static struct piix3 *to_piix3(struct device *dev)
{
	return container_of(dev, struct piix3, pci.dev);
}

/* ISA interrupts that PIRQs may drive (PIRQRC, bits 3:0): not 0, 1, 2, 8, 13. */
static bool is_routable(unsigned irq)
{
	return irq < 16 && (0xdef8u >> irq & 1);
}

static void update_irqs(struct piix3 *piix)
{
	bool level[16] = {0};

	for (unsigned pirq = 0; pirq < 4; pirq++) {
		uint8_t route = piix->pci.config[PIRQRC + pirq];

		if (piix->pirq_level[pirq] && !(route & PIRQ_DISABLED) && is_routable(route & 0xf))
			level[route & 0xf] = true;
	}
	for (unsigned irq = 0; irq < 16; irq++) {
		if (level[irq] == piix->isa_level[irq])
			continue;
		piix->isa_level[irq] = level[irq];
		irq_set(&piix->pci.dev.machine->gsi[irq], level[irq]);
	}
}

static void set_pirq(void *opaque, unsigned pirq, bool level)
{
	struct piix3 *piix = opaque;

	piix->pirq_level[pirq] = level;
	update_irqs(piix);
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	if (offset < PIRQRC + 4 && offset + size > PIRQRC)
		update_irqs(to_piix3(&pci->dev));
}

static uint64_t rc_read(void *opaque, uint64_t offset, unsigned size)
{
	return ((struct piix3 *)opaque)->rc;
}

/* A write that raises bit 2 resets the machine (RC register, bit 2). */
static void rc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct piix3 *piix = opaque;

	if ((value & RC_RESET_CPU) && !(piix->rc & RC_RESET_CPU))
		machine_request_reset(piix->pci.dev.machine, CAUSE_GUEST_RESET);
	piix->rc = value & RC_SYSTEM_HARD;
}

static const struct region_ops rc_ops = {.read = rc_read, .write = rc_write, .max_access = 1};

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
	return ((struct piix3 *)opaque)->port92;
}

/* The bit is always kept; whether it moves the line is the engine's to say. */
static void set_a20(struct piix3 *piix)
{
	struct machine_vcpus *vcpus = &piix->pci.dev.machine->vcpus;

	if (vcpus->a20)
		vcpus->a20(vcpus->opaque, piix->port92 & PORT92_A20);
}

static void port92_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct piix3 *piix = opaque;
	bool rises = (value & PORT92_RESET) && !(piix->port92 & PORT92_RESET);

	piix->port92 = value & (PORT92_RESET | PORT92_A20);
	set_a20(piix);
	if (rises)
		machine_request_reset(piix->pci.dev.machine, CAUSE_GUEST_RESET);
}

static const struct region_ops port92_ops = {
	.read = port92_read,
	.write = port92_write,
	.max_access = 1,
};

static void piix3_reset(struct device *dev)
{
	struct piix3 *piix = to_piix3(dev);

	piix->pci.config[PCI_COMMAND] = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	piix->pci.config[XBCS] = 0x03;
	for (unsigned i = 0; i < 4; i++)
		piix->pci.config[PIRQRC + i] = PIRQ_DISABLED;
	piix->rc = 0;
	piix->port92 = PORT92_A20;
	set_a20(piix);
	update_irqs(piix);
}

static int piix3_realize(struct device *dev, struct error *err)
{
	struct piix3 *piix = to_piix3(dev);
	struct pci_bus *bus = container_of(dev->bus, struct pci_bus, bus);

	pci_set_ids(&piix->pci, 0x8086, 0x7000, 0x060100, 0x00);
	pci_set_subsystem(&piix->pci, 0x1af4, 0x1100);
	piix->pci.config[PCI_HEADER_TYPE] |= 0x80; /* IDE and power management follow */
	piix->pci.config[PCI_STATUS + 1] = 0x02;   /* medium DEVSEL timing */
	piix->pci.writable[PCI_COMMAND] = 0;	   /* wired: I/O, memory, master */
	piix->pci.writable[PCI_COMMAND + 1] = 0;
	for (unsigned i = 0; i < 4; i++)
		piix->pci.writable[PIRQRC + i] = 0x8f;
	piix->pci.config_written = config_written;
	bus->set_pirq = set_pirq;
	bus->pirq_opaque = piix;
	piix->rc_region = (struct region){
		.name = "reset-control", .length = 1, .ops = &rc_ops, .opaque = piix};
	piix->port92_region =
		(struct region){.name = "port92", .length = 1, .ops = &port92_ops, .opaque = piix};
	space_map(&dev->machine->ports, &piix->rc_region, RC_PORT);
	space_map(&dev->machine->ports, &piix->port92_region, PORT92);
	return 0;
}

static void piix3_unrealize(struct device *dev)
{
	struct piix3 *piix = to_piix3(dev);
	struct pci_bus *bus = container_of(dev->bus, struct pci_bus, bus);

	bus->set_pirq = NULL;
	space_unmap(&piix->rc_region);
	space_unmap(&piix->port92_region);
}

/* The levels follow from the functions' pins, and from where their state stands in the stream. */
static int piix3_loaded(void *opaque, unsigned version, struct error *err)
{
	update_irqs(opaque);
	return 0;
}

static const struct state_field state_fields[] = {
	STATE_PART(struct piix3, pci, pci_state_table),
	STATE_UINT(struct piix3, rc),
	STATE_UINT(struct piix3, port92),
	STATE_END,
};

static const struct state_table state = {
	.name = "PIIX3", .version = 1, .fields = state_fields, .post_load = piix3_loaded};

const struct device_type piix3_type = {
	.name = "PIIX3",
	.bus = "PCI",
	.description = "PCI-to-ISA bridge",
	.category = "Controller/Bridge/Hub",
	.more_properties = pci_properties,
	.size = sizeof(struct piix3),
	.internal = true,
	.realize = piix3_realize,
	.reset = piix3_reset,
	.state = &state,
	.unrealize = piix3_unrealize,
};
