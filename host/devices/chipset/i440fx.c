/* SPDX-License-Identifier: MIT */
/*
 * The i440FX host bridge (Intel 82441FX, order 290549): the root of PCI bus 0 and configuration
 * mechanism 1 (PCI 3.0, 3.2.2.3.2) at ports 0xCF8 and 0xCFC.
 *
 * Left out: the PAM registers and SMRAM control are kept but move nothing.  The area from 0xC0000
 * on is RAM, where firmware that shadows itself finds its copy already (board/bios.c).
 */
#include "devices/chipset/i440fx.h"

#include "base/log.h"
#include "devices/devices.h"

#define CONFIG_ENABLE  0x80000000u
#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define PAM0	       0x59
#define PAM_COUNT      7
#define SMRAM	       0x72

struct i440fx {
	struct pci_device pci;
	struct pci_bus bus;
	struct region address_region, data_region;
	uint32_t address; /* CONFADD: enable, bus, device, function, register */
};

static struct i440fx *to_i440fx(struct device *dev)
{
	return container_of(dev, struct i440fx, pci.dev);
}

struct pci_bus *i440fx_bus(struct device *dev)
{
	return &to_i440fx(dev)->bus;
}

/* CONFADD takes dwords only; narrower accesses belong to other ports (0xCF9: reset control). */
static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i440fx *fx = opaque;

	return size == 4 && offset == 0 ? fx->address : UINT64_MAX;
}

static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct i440fx *fx = opaque;

	/* Reserved bits 30..24 and 1..0 read as zero. */
	if (size == 4 && offset == 0)
		fx->address = value & 0x80fffffc;
}

/* The function that CONFADD names, or NULL: then reads are all ones (master abort). */
static struct pci_device *target(struct i440fx *fx)
{
	if (!(fx->address & CONFIG_ENABLE) || (fx->address >> 16 & 0xff) != 0)
		return NULL;
	return pci_bus_device(&fx->bus, fx->address >> 8 & 0xff);
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i440fx *fx = opaque;
	struct pci_device *pci = target(fx);

	return pci ? pci_config_read(pci, (fx->address & 0xfc) + offset, size) : UINT64_MAX;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct i440fx *fx = opaque;
	struct pci_device *pci = target(fx);

	if (pci)
		pci_config_write(pci, (fx->address & 0xfc) + offset, value, size);
}

static const struct region_ops address_ops = {
	.read = address_read,
	.write = address_write,
	.max_access = 4,
	.unaligned = true,
};

static const struct region_ops data_ops = {
	.read = data_read,
	.write = data_write,
	.max_access = 4,
	.unaligned = true,
};

static void i440fx_reset(struct device *dev)
{
	struct i440fx *fx = to_i440fx(dev);

	fx->address = 0;
	/* The bridge decodes memory and is a master from power-on (3.2.3, PCICMD). */
	fx->pci.config[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	for (unsigned i = 0; i < PAM_COUNT; i++)
		fx->pci.config[PAM0 + i] = 0;
	fx->pci.config[SMRAM] = 0x02;
}

static int i440fx_realize(struct device *dev, struct error *err)
{
	struct i440fx *fx = to_i440fx(dev);
	struct machine *machine = dev->machine;

	pci_bus_init(&fx->bus, machine, "pci.0");
	/* It is the one device that stands on the bus it makes. */
	fx->pci.devfn = 0;
	dev->bus = &fx->bus.bus;
	if (fx->bus.bus.plug(&fx->bus.bus, dev, err) < 0)
		return -1;
	pci_set_ids(&fx->pci, 0x8086, 0x1237, 0x060000, 0x02);
	pci_set_subsystem(&fx->pci, 0x1af4, 0x1100);
	fx->pci.config[PCI_STATUS + 1] = 0x02; /* medium DEVSEL timing */
	fx->pci.writable[PCI_COMMAND] = 0;     /* both bits are wired (3.2.3) */
	fx->pci.writable[PCI_COMMAND + 1] = 0;
	for (unsigned i = 0; i < PAM_COUNT; i++)
		fx->pci.writable[PAM0 + i] = i ? 0x33 : 0x30;
	fx->pci.writable[SMRAM] = 0x78;
	fx->address_region = (struct region){.name = "pci-config-address",
		.length = 4,
		.ops = &address_ops,
		.opaque = fx,
		.priority = -1}; /* the reset control port lies inside it */
	fx->data_region = (struct region){
		.name = "pci-config-data", .length = 4, .ops = &data_ops, .opaque = fx};
	space_map(&machine->ports, &fx->address_region, CONFIG_ADDRESS);
	space_map(&machine->ports, &fx->data_region, CONFIG_DATA);
	return 0;
}

static void i440fx_unrealize(struct device *dev)
{
	struct i440fx *fx = to_i440fx(dev);

	space_unmap(&fx->address_region);
	space_unmap(&fx->data_region);
	fx->bus.bus.unplug(&fx->bus.bus, dev);
	bus_unregister(&fx->bus.bus);
	dev->bus = NULL;
}

/* The bits that a guest can write. */
static bool valid_address(const void *state, uint64_t value)
{
	return (value & ~UINT64_C(0x80fffffc)) == 0;
}

static const struct state_field state_fields[] = {
	STATE_PART(struct i440fx, pci, pci_state_table),
	STATE_UINT(struct i440fx, address, .valid = valid_address),
	STATE_END,
};

static const struct state_table state = {.name = "i440FX", .version = 1, .fields = state_fields};

const struct device_type i440fx_type = {
	.name = "i440FX",
	.bus = "System",
	.description = "Host bridge",
	.category = "Controller/Bridge/Hub",
	.size = sizeof(struct i440fx),
	.internal = true,
	.realize = i440fx_realize,
	.reset = i440fx_reset,
	.state = &state,
	.unrealize = i440fx_unrealize,
};
