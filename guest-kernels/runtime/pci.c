/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration mechanism 1 (PCI 3.0, 3.2.2.3.2) and what kernels do with it. Bus 0 only:
 * neither machine has bridges yet.
 */
#include "runtime/pci.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/paging.h"
#include "runtime/test.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define ENABLE	       0x80000000u
#define FUNCTIONS_MAX  64

/* Where BARs go that no firmware has placed: below the I/O APIC, above what RAM reaches on i440FX
 * machines. */
#define MEMORY_WINDOW	  0xe0000000ull
#define MEMORY_WINDOW_END 0xfeb00000ull
#define IO_WINDOW	  0xd000
#define IO_WINDOW_END	  0x10000

static struct pci_function functions[FUNCTIONS_MAX];
static unsigned function_count;
static bool scanned;
static uint64_t memory_next = MEMORY_WINDOW, io_next = IO_WINDOW;

static uint16_t select(unsigned bus, unsigned slot, unsigned fn, unsigned offset)
{
	outl(CONFIG_ADDRESS, ENABLE | bus << 16 | slot << 11 | fn << 8 | (offset & 0xfc));
	return CONFIG_DATA + (offset & 3);
}

uint8_t pci_read8_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset)
{
	return inb(select(bus, slot, fn, offset));
}

uint16_t pci_read16_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset)
{
	return inw(select(bus, slot, fn, offset));
}

uint32_t pci_read32_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset)
{
	return inl(select(bus, slot, fn, offset));
}

void pci_write8_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset, uint8_t value)
{
	outb(select(bus, slot, fn, offset), value);
}

void pci_write16_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset, uint16_t value)
{
	outw(select(bus, slot, fn, offset), value);
}

void pci_write32_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset, uint32_t value)
{
	outl(select(bus, slot, fn, offset), value);
}

uint8_t pci_read8(const struct pci_function *f, unsigned offset)
{
	return pci_read8_at(f->bus, f->slot, f->fn, offset);
}

uint16_t pci_read16(const struct pci_function *f, unsigned offset)
{
	return pci_read16_at(f->bus, f->slot, f->fn, offset);
}

uint32_t pci_read32(const struct pci_function *f, unsigned offset)
{
	return pci_read32_at(f->bus, f->slot, f->fn, offset);
}

void pci_write8(const struct pci_function *f, unsigned offset, uint8_t value)
{
	pci_write8_at(f->bus, f->slot, f->fn, offset, value);
}

void pci_write16(const struct pci_function *f, unsigned offset, uint16_t value)
{
	pci_write16_at(f->bus, f->slot, f->fn, offset, value);
}

void pci_write32(const struct pci_function *f, unsigned offset, uint32_t value)
{
	pci_write32_at(f->bus, f->slot, f->fn, offset, value);
}

bool pci_present(void)
{
	static int known;

	if (known == 0) {
		outl(CONFIG_ADDRESS, ENABLE);
		known = inl(CONFIG_ADDRESS) == ENABLE && inw(CONFIG_DATA) != 0xffff ? 1 : -1;
	}
	return known > 0;
}

static void add(unsigned slot, unsigned fn, uint32_t id)
{
	struct pci_function *f = &functions[function_count++];
	uint32_t word;

	memset(f, 0, sizeof(*f));
	f->slot = slot;
	f->fn = fn;
	f->vendor = id;
	f->device = id >> 16;
	word = pci_read32(f, PCI_REVISION);
	f->revision = word;
	f->class_code = word >> 8;
	f->header_type = pci_read8(f, PCI_HEADER_TYPE);
	word = pci_read32(f, PCI_SUBSYSTEM_VENDOR);
	f->subsystem_vendor = word;
	f->subsystem = word >> 16;
	f->pin = pci_read8(f, PCI_INTERRUPT_PIN);
	f->command_at_boot = pci_read16(f, PCI_COMMAND);
	f->msix = pci_capability(f, PCI_CAP_MSIX, 0);
}

static void scan(void)
{
	if (scanned || !pci_present())
		return;
	scanned = true;
	for (unsigned slot = 0; slot < 32; slot++) {
		for (unsigned fn = 0; fn < 8; fn++) {
			uint32_t id = pci_read32_at(0, slot, fn, PCI_VENDOR);

			if ((id & 0xffff) != 0xffff && function_count < FUNCTIONS_MAX)
				add(slot, fn, id);
			if (fn == 0 && ((id & 0xffff) == 0xffff ||
					       !(pci_read8_at(0, slot, 0, PCI_HEADER_TYPE) & 0x80)))
				break;
		}
	}
}

void pci_rescan(void)
{
	scanned = false;
	function_count = 0;
}

struct pci_function *pci_nth(unsigned n)
{
	scan();
	return n < function_count ? &functions[n] : NULL;
}

struct pci_function *pci_find(uint16_t vendor, uint16_t device, unsigned index)
{
	scan();
	for (unsigned i = 0; i < function_count; i++) {
		struct pci_function *f = &functions[i];

		if ((vendor == 0xffff || f->vendor == vendor) &&
			(device == 0xffff || f->device == device) && index-- == 0)
			return f;
	}
	return NULL;
}

struct pci_function *pci_find_class(uint16_t class_subclass, unsigned index)
{
	scan();
	for (unsigned i = 0; i < function_count; i++) {
		if (functions[i].class_code >> 8 == class_subclass && index-- == 0)
			return &functions[i];
	}
	return NULL;
}

struct pci_function *pci_at(unsigned slot, unsigned fn)
{
	scan();
	for (unsigned i = 0; i < function_count; i++) {
		if (functions[i].slot == slot && functions[i].fn == fn)
			return &functions[i];
	}
	return NULL;
}

/* PCI 3.0, 6.2.5.1: write all ones, read the mask back, restore. Returns the number of BARs used.
 */
static unsigned size_bar(struct pci_function *f, unsigned n)
{
	unsigned at = PCI_BAR0 + n * 4;
	uint32_t old = pci_read32(f, at), mask, high_old = 0, high_mask = 0xffffffff;
	struct pci_bar *bar = &f->bars[n];

	bar->io = old & 1;
	bar->wide = !bar->io && (old & 6) == 4 && n < 5;
	bar->prefetch = !bar->io && old & 8;
	pci_write32(f, at, 0xffffffff);
	mask = pci_read32(f, at);
	pci_write32(f, at, old);
	if (bar->wide) {
		high_old = pci_read32(f, at + 4);
		pci_write32(f, at + 4, 0xffffffff);
		high_mask = pci_read32(f, at + 4);
		pci_write32(f, at + 4, high_old);
	}
	if (mask == 0 || (mask == 0xffffffff && !bar->wide))
		return 1;
	if (bar->io) {
		bar->size = -(mask & 0xfffffffc) & 0xffff;
		bar->base = old & 0xfffc;
	} else {
		bar->size = -((uint64_t)high_mask << 32 | (mask & 0xfffffff0));
		bar->base = (uint64_t)high_old << 32 | (old & 0xfffffff0);
	}
	return bar->wide ? 2 : 1;
}

static void place_bar(struct pci_function *f, unsigned n)
{
	struct pci_bar *bar = &f->bars[n];
	uint64_t *next = bar->io ? &io_next : &memory_next;
	uint64_t at = (*next + bar->size - 1) & ~(bar->size - 1);

	if (at + bar->size > (bar->io ? IO_WINDOW_END : MEMORY_WINDOW_END))
		ERROR("no room for a BAR of 0x%lx bytes", bar->size);
	*next = at + bar->size;
	bar->base = at;
	pci_write32(f, PCI_BAR0 + n * 4, at);
	if (bar->wide)
		pci_write32(f, PCI_BAR0 + n * 4 + 4, at >> 32);
}

void pci_assign_bars(struct pci_function *f)
{
	uint16_t command;

	if (f->sized || (f->header_type & 0x7f) != 0)
		return;
	command = pci_read16(f, PCI_COMMAND);
	pci_write16(f, PCI_COMMAND, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	for (unsigned n = 0; n < 6;)
		n += size_bar(f, n);
	for (unsigned n = 0; n < 6; n++) {
		if (f->bars[n].size && f->bars[n].base == 0)
			place_bar(f, n);
	}
	pci_write16(f, PCI_COMMAND, command);
	f->sized = true;
}

void pci_enable(struct pci_function *f)
{
	uint16_t command = pci_read16(f, PCI_COMMAND);

	pci_assign_bars(f);
	for (unsigned n = 0; n < 6; n++) {
		if (f->bars[n].size)
			command |= f->bars[n].io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	}
	pci_write16(f, PCI_COMMAND, (command | PCI_COMMAND_MASTER) & ~PCI_COMMAND_NO_INTX);
}

volatile void *pci_bar(struct pci_function *f, unsigned n)
{
	pci_assign_bars(f);
	if (n >= 6 || f->bars[n].size == 0 || f->bars[n].io)
		return NULL;
	if (f->bars[n].base + f->bars[n].size > 1ull << 32)
		paging_identity(f->bars[n].base, f->bars[n].size);
	return (volatile void *)f->bars[n].base;
}

uint16_t pci_bar_io(struct pci_function *f, unsigned n)
{
	pci_assign_bars(f);
	return n < 6 && f->bars[n].io ? f->bars[n].base : 0;
}

uint8_t pci_capability(const struct pci_function *f, uint8_t id, uint8_t after)
{
	uint8_t at;

	if (!(pci_read16(f, PCI_STATUS) & PCI_STATUS_CAPS))
		return 0;
	at = after ? pci_read8(f, after + 1) : pci_read8(f, PCI_CAPABILITIES);
	for (int i = 0; i < 48 && (at & 0xfc) >= 0x40; i++) {
		uint16_t head = pci_read16(f, at & 0xfc);

		if ((head & 0xff) == id)
			return at & 0xfc;
		at = head >> 8;
	}
	return 0;
}

static uint64_t msix_where(struct pci_function *f, unsigned offset)
{
	uint32_t word = pci_read32(f, f->msix + offset);
	volatile void *bar = pci_bar(f, word & 7);

	return bar ? (uint64_t)bar + (word & ~7u) : 0;
}

bool pci_msix_enable(struct pci_function *f)
{
	uint16_t control;

	if (!f->msix)
		return false;
	pci_enable(f);
	control = pci_read16(f, f->msix + 2);
	f->msix_entries = (control & 0x7ff) + 1;
	f->msix_table = msix_where(f, 4);
	f->msix_pba = msix_where(f, 8);
	if (!f->msix_table || !f->msix_pba)
		return false;
	pci_write16(f, f->msix + 2, 0xc000); /* enabled, all masked, while the entries are set */
	for (unsigned i = 0; i < f->msix_entries; i++)
		pci_msix_mask(f, i, true);
	pci_write16(f, f->msix + 2, 0x8000);
	return true;
}

void pci_msix_disable(struct pci_function *f)
{
	if (f->msix)
		pci_write16(f, f->msix + 2, 0);
}

void pci_msix_set(struct pci_function *f, unsigned entry, unsigned vector)
{
	volatile uint8_t *at = (volatile uint8_t *)f->msix_table + entry * 16;

	mmio_write32(at + 12, 1);
	mmio_write32(at, LAPIC_BASE | (uint32_t)lapic_id() << 12);
	mmio_write32(at + 4, 0);
	mmio_write32(at + 8, vector);
	mmio_write32(at + 12, 0);
}

void pci_msix_mask(struct pci_function *f, unsigned entry, bool masked)
{
	mmio_write32((volatile uint8_t *)f->msix_table + entry * 16 + 12, masked);
}

bool pci_msix_pending(struct pci_function *f, unsigned entry)
{
	return mmio_read32((volatile uint8_t *)f->msix_pba + entry / 32 * 4) >> (entry & 31) & 1;
}

/*
 * Slot and pin to PIRQ as i440FX boards wire them (one further a slot, counted from slot 1), and
 * the PIRQ to an ISA interrupt by PIIX3's PIRQRC (82371SB, 2.2.9). 10 and 11 are what PC firmware
 * chooses.
 */
int pci_intx_pin(const struct pci_function *f)
{
	struct pci_function *bridge = pci_find(0x8086, 0x7000, 0);
	unsigned pirq, route, elcr;

	if (f->pin < 1 || f->pin > 4 || !bridge)
		return -1;
	pirq = (f->pin - 1 + f->slot + 3) & 3;
	route = pci_read8(bridge, 0x60 + pirq);
	if (route & 0x80) {
		route = pirq < 2 ? 10 : 11;
		pci_write8(bridge, 0x60 + pirq, route);
	}
	route &= 0xf;
	elcr = inb(0x4d0 + route / 8);
	if (!(elcr >> (route & 7) & 1))
		outb(0x4d0 + route / 8, elcr | 1u << (route & 7));
	return route;
}

void pci_isolate(void)
{
	for (unsigned i = 0; i < function_count; i++) {
		struct pci_function *f = &functions[i];

		if (f->msix && f->msix_entries) {
			pci_write16(f, f->msix + 2, 0);
			f->msix_entries = 0;
		}
		if (f->sized)
			pci_write16(f, PCI_COMMAND, f->command_at_boot);
	}
}
