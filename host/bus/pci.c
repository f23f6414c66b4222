/* SPDX-License-Identifier: MIT */
/*
 * Conventional PCI: the bus, configuration space and BARs (PCI Local Bus 3.0, chapter 6).
 * MSI-X is in msix.c.
 */
#include "bus/pci.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"

#define BAR_IO_FLAG	      0x1u
#define BAR_MEMORY_64	      0x4u
#define BAR_MEMORY_PREFETCH   0x8u
#define FIRST_FREE_CAPABILITY 0x40

const struct property pci_properties[] = {
	{"addr", PROPERTY_PCI_ADDRESS, offsetof(struct pci_device, devfn), NULL,
		"slot and function, such as 06.0; default: the next free slot"},
	{"multifunction", PROPERTY_BOOL, offsetof(struct pci_device, multifunction), "off",
		"the header says that further functions may follow"},
	{"romfile", PROPERTY_STRING, offsetof(struct pci_device, romfile), NULL,
		"option ROM (only none: empty)"},
	{"rombar", PROPERTY_UINT32, offsetof(struct pci_device, rombar), "1",
		"no effect: no device has an option ROM"},
	PROPERTY_END,
};

static int free_slot(const struct pci_bus *bus)
{
	for (int slot = 0; slot < PCI_SLOTS; slot++)
		if (!bus->devices[slot << 3])
			return slot << 3;
	return -1;
}

static bool bus_is_full(struct bus *base)
{
	return free_slot(container_of(base, struct pci_bus, bus)) < 0;
}

static int bus_plug(struct bus *base, struct device *dev, struct error *err)
{
	struct pci_bus *bus = container_of(base, struct pci_bus, bus);
	struct pci_device *pci = (struct pci_device *)dev;
	struct pci_device *there;

	if (pci->romfile && pci->romfile[0])
		return error_set(
			err, ENOTSUP, "romfile=%s: option ROMs are not there yet", pci->romfile);
	if (pci->devfn < 0)
		pci->devfn = free_slot(bus);
	if (pci->devfn < 0)
		return error_set(err, ENOSPC, "PCI: no slot/function available for %s, all in use",
			dev->type->name);
	there = bus->devices[pci->devfn];
	if (there)
		return error_set(err, EBUSY,
			"PCI: slot %d function %d not available for %s, in use by %s",
			pci->devfn >> 3, pci->devfn & 7, dev->type->name, there->dev.type->name);
	bus->devices[pci->devfn] = pci;
	pci->next_capability = FIRST_FREE_CAPABILITY;
	put_le16(pci->writable + PCI_COMMAND,
		PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
	pci->writable[PCI_INTERRUPT_LINE] = 0xff;
	pci->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	if (pci->multifunction)
		pci->config[PCI_HEADER_TYPE] |= 0x80;
	return 0;
}

static void unmap_bars(struct pci_device *pci)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (pci->bars[i].region)
			space_unmap(pci->bars[i].region);
}

static void bus_unplug(struct bus *base, struct device *dev)
{
	struct pci_bus *bus = container_of(base, struct pci_bus, bus);
	struct pci_device *pci = (struct pci_device *)dev;

	pci_set_intx(pci, false);
	unmap_bars(pci);
	bus->devices[pci->devfn] = NULL;
}

struct pci_device *pci_bus_device(struct pci_bus *bus, unsigned devfn)
{
	return devfn < PCI_SLOTS * 8 ? bus->devices[devfn] : NULL;
}

void pci_set_ids(struct pci_device *pci, uint16_t vendor, uint16_t device, uint32_t class_code,
	uint8_t revision)
{
	put_le16(pci->config + PCI_VENDOR_ID, vendor);
	put_le16(pci->config + PCI_DEVICE_ID, device);
	pci->config[PCI_REVISION] = revision;
	pci->config[PCI_CLASS_PROG] = class_code;
	put_le16(pci->config + PCI_CLASS, class_code >> 8);
}

void pci_set_subsystem(struct pci_device *pci, uint16_t vendor, uint16_t id)
{
	put_le16(pci->config + PCI_SUBSYSTEM_VENDOR, vendor);
	put_le16(pci->config + PCI_SUBSYSTEM_ID, id);
}

void pci_set_interrupt_pin(struct pci_device *pci, unsigned pin)
{
	pci->config[PCI_INTERRUPT_PIN] = pin;
}

void pci_register_bar(struct pci_device *pci, unsigned bar, enum pci_bar_kind kind,
	bool prefetchable, uint64_t size, struct region *region)
{
	unsigned at = PCI_BAR0 + bar * 4;
	uint64_t mask = ~(size - 1);
	uint32_t flags = kind == PCI_BAR_IO	    ? BAR_IO_FLAG
			 : kind == PCI_BAR_MEMORY64 ? BAR_MEMORY_64
						    : 0;

	if (prefetchable)
		flags |= BAR_MEMORY_PREFETCH;
	region->length = size;
	pci->bars[bar] = (struct pci_bar){region, kind, prefetchable, size};
	put_le32(pci->config + at, flags);
	put_le32(pci->writable + at, mask);
	if (kind == PCI_BAR_MEMORY64)
		put_le32(pci->writable + at + 4, mask >> 32);
}

static uint64_t bar_base(const struct pci_device *pci, unsigned bar)
{
	const struct pci_bar *b = &pci->bars[bar];
	unsigned at = PCI_BAR0 + bar * 4;
	uint64_t base = get_le32(pci->config + at) & ~(b->kind == PCI_BAR_IO ? 0x3u : 0xfu);

	if (b->kind == PCI_BAR_MEMORY64)
		base |= (uint64_t)get_le32(pci->config + at + 4) << 32;
	return base;
}

/* All ones is what a guest writes to learn the size; no device decodes there. */
static bool is_sizing(const struct pci_bar *bar, uint64_t base)
{
	uint64_t top = bar->kind == PCI_BAR_IO	       ? 0xffff
		       : bar->kind == PCI_BAR_MEMORY32 ? 0xffffffff
						       : UINT64_MAX;

	return base == 0 || base + bar->size - 1 < base || base + bar->size - 1 >= top;
}

uint64_t pci_bar_address(const struct pci_device *pci, unsigned bar)
{
	const struct pci_bar *b = &pci->bars[bar];
	uint16_t enable = b->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	uint64_t base;

	if (!b->region || !(get_le16(pci->config + PCI_COMMAND) & enable))
		return UINT64_MAX;
	base = bar_base(pci, bar);
	return is_sizing(b, base) ? UINT64_MAX : base;
}

static void update_bars(struct pci_device *pci)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &pci->bars[i];
		uint64_t base = pci_bar_address(pci, i);
		struct machine *machine = pci->dev.machine;

		if (!bar->region)
			continue;
		if (base == UINT64_MAX)
			space_unmap(bar->region);
		else if (!bar->region->space || bar->region->base != base)
			space_map(bar->kind == PCI_BAR_IO ? &machine->ports : &machine->mmio,
				bar->region, base);
	}
}

int pci_add_capability(struct pci_device *pci, uint8_t id, uint8_t length)
{
	unsigned at = pci->next_capability;
	unsigned end = at + ((length + 3) & ~3u);

	if (end > PCI_CONFIG_SIZE)
		return -ENOSPC;
	pci->config[at] = id;
	pci->config[at + 1] = pci->config[PCI_CAPABILITIES];
	pci->config[PCI_CAPABILITIES] = at;
	pci->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	/* 256 does not fit the byte, but then no further capability fits either. */
	pci->next_capability = end == PCI_CONFIG_SIZE ? PCI_CONFIG_SIZE - 1 : end;
	return at;
}

/* Device pin to bridge input: rotated by the slot, as PIIX boards wire it. */
static unsigned pirq_of(const struct pci_device *pci)
{
	return ((pci->devfn >> 3) + pci->config[PCI_INTERRUPT_PIN] - 1 + 3) & 3;
}

static void drive_pirq(struct pci_device *pci, bool level)
{
	struct pci_bus *bus = container_of(pci->dev.bus, struct pci_bus, bus);
	unsigned pirq = pirq_of(pci);
	unsigned before = bus->pirq_count[pirq];

	if (level)
		bus->pirq_count[pirq]++;
	else
		bus->pirq_count[pirq]--;
	if (bus->set_pirq && !before != !bus->pirq_count[pirq])
		bus->set_pirq(bus->pirq_opaque, pirq, bus->pirq_count[pirq] > 0);
}

/* The pin is what the device wants, unless the command register holds it back. */
static void update_intx(struct pci_device *pci)
{
	bool level =
		pci->intx_wanted && !(get_le16(pci->config + PCI_COMMAND) & PCI_COMMAND_INTX_OFF);

	if (pci->intx_wanted)
		pci->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	else
		pci->config[PCI_STATUS] &= ~PCI_STATUS_INTERRUPT;
	if (level == pci->intx_level)
		return;
	pci->intx_level = level;
	drive_pirq(pci, level);
}

void pci_set_intx(struct pci_device *pci, bool level)
{
	if (!pci->config[PCI_INTERRUPT_PIN])
		return;
	pci->intx_wanted = level;
	update_intx(pci);
}

bool pci_is_master(const struct pci_device *pci)
{
	return __atomic_load_n(&pci->config[PCI_COMMAND], __ATOMIC_RELAXED) & PCI_COMMAND_MASTER;
}

uint32_t pci_config_read(struct pci_device *pci, unsigned offset, unsigned size)
{
	uint32_t value = 0;

	if (pci->config_reading)
		pci->config_reading(pci, offset, size);
	for (unsigned i = 0; i < size && offset + i < PCI_CONFIG_SIZE; i++)
		value |= (uint32_t)pci->config[offset + i] << (i * 8);
	return value;
}

void pci_config_write(struct pci_device *pci, unsigned offset, uint32_t value, unsigned size)
{
	for (unsigned i = 0; i < size && offset + i < PCI_CONFIG_SIZE; i++) {
		uint8_t byte = value >> (i * 8);
		uint8_t *at = &pci->config[offset + i];
		uint8_t writable = pci->writable[offset + i];
		uint8_t after = (*at & ~writable) | (byte & writable);

		after &= ~(byte & pci->clears[offset + i]);
		/* One store: pci_is_master() is asked on other threads, too. */
		__atomic_store_n(at, after, __ATOMIC_RELAXED);
	}
	update_bars(pci);
	update_intx(pci);
	if (pci->msix.count)
		msix_config_written(pci, offset, size);
	if (pci->config_written)
		pci->config_written(pci, offset, size);
}

static void reset_common(struct pci_device *pci)
{
	pci_set_intx(pci, false);
	put_le16(pci->config + PCI_COMMAND, 0);
	pci->config[PCI_INTERRUPT_LINE] = 0;
	pci->config[PCI_CACHE_LINE_SIZE] = 0;
	for (unsigned i = 0; i < PCI_BARS; i++) {
		unsigned at = PCI_BAR0 + i * 4;

		if (pci->bars[i].kind == PCI_BAR_NONE)
			continue;
		/* What stays are the bits that tell the kind. */
		put_le32(pci->config + at, get_le32(pci->config + at) & 0xf);
		if (pci->bars[i].kind == PCI_BAR_MEMORY64)
			put_le32(pci->config + at + 4, 0);
	}
	update_bars(pci);
	if (pci->msix.count)
		msix_reset(pci);
}

static void bus_reset(struct bus *base, struct device *dev)
{
	reset_common((struct pci_device *)dev);
}

void pci_bus_init(struct pci_bus *bus, struct machine *machine, const char *name)
{
	bus->bus.plug = bus_plug;
	bus->bus.unplug = bus_unplug;
	bus->bus.reset = bus_reset;
	bus->bus.is_full = bus_is_full;
	bus_register(&bus->bus, machine, "PCI", name);
}

/* --- saved state --- */

static bool is_devfn(const void *state, uint64_t value)
{
	return (uint64_t)((const struct pci_device *)state)->devfn == value;
}

static void pci_prepare(void *state)
{
	struct pci_device *pci = state;

	memcpy(pci->saved_config, pci->config, sizeof(pci->config));
}

/* Only what a guest can change may differ: another device, other capabilities or BARs of another
 * size are another machine. */
static int check_config(const struct pci_device *pci, struct error *err)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
		uint8_t fixed = ~(pci->writable[i] | pci->clears[i]);

		if (i == PCI_STATUS)
			fixed &= ~PCI_STATUS_INTERRUPT;
		if ((pci->saved_config[i] ^ pci->config[i]) & fixed)
			return error_set(err, EINVAL,
				"saved_config: byte 0x%02x is 0x%02x, 0x%02x in this machine", i,
				pci->saved_config[i], pci->config[i]);
	}
	return 0;
}

static int pci_loaded(void *state, unsigned version, struct error *err)
{
	struct pci_device *pci = state;
	bool intx = pci->intx_wanted;
	int rc = check_config(pci, err);

	if (rc < 0)
		return rc;
	if (intx && !pci->config[PCI_INTERRUPT_PIN])
		return error_set(err, EINVAL, "intx_wanted: the function has no pin");
	memcpy(pci->config, pci->saved_config, sizeof(pci->config));
	update_bars(pci);
	update_intx(pci);
	if (pci->msix.count)
		msix_loaded(pci);
	return 0;
}

static const struct state_field pci_fields[] = {
	STATE_UINT(struct pci_device, devfn, .valid = is_devfn),
	STATE_UINTS(struct pci_device, saved_config),
	STATE_BOOL(struct pci_device, intx_wanted),
	STATE_PART(struct pci_device, msix, msix_state_table),
	STATE_END,
};

const struct state_table pci_state_table = {
	.name = "pci",
	.version = 1,
	.fields = pci_fields,
	.pre_save = pci_prepare,
	.post_load = pci_loaded,
};
