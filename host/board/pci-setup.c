/* SPDX-License-Identifier: MIT */
/*
 * In the place of firmware: PCI resources as SeaBIOS leaves them, so that a kernel that is loaded
 * directly finds the machine that it would find under QEMU.
 */
#include "board/pc.h"

#define IO_START     0xc000u
#define IO_END	     0x10000u
#define MEMORY_START 0xfe000000u /* below: the LAPIC and IOAPIC at 0xfec00000 stay clear */
#define MEMORY_END   0xfec00000u
#define PIRQRC	     0x60

/* PIRQA# to PIRQD#, as SeaBIOS routes them on this board. */
static const uint8_t pirq_irq[4] = {10, 10, 11, 11};

struct window {
	uint64_t next, end;
};

/* Naturally aligned, upwards; 0 when the window is full (the BAR then stays unset). */
static uint64_t take(struct window *window, uint64_t size)
{
	uint64_t at = (window->next + size - 1) & ~(size - 1);

	if (at + size > window->end)
		return 0;
	window->next = at + size;
	return at;
}

static void set_bars(struct pci_device *pci, struct window *io, struct window *memory)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &pci->bars[i];
		uint64_t at;

		if (bar->kind == PCI_BAR_NONE)
			continue;
		at = take(bar->kind == PCI_BAR_IO ? io : memory,
			bar->kind == PCI_BAR_IO || bar->size >= 4096 ? bar->size : 4096);
		pci_config_write(pci, PCI_BAR0 + i * 4, at, 4);
	}
}

static void set_up_function(struct pci_device *pci, struct window *io, struct window *memory)
{
	unsigned pin = pci_config_read(pci, PCI_INTERRUPT_PIN, 1);
	unsigned slot = pci->devfn >> 3;

	set_bars(pci, io, memory);
	/* Power management's pin is not a PIRQ: it is the SCI, which comes out of reset as IRQ 9.
	 */
	if (pin && pci_config_read(pci, PCI_CLASS, 2) != 0x0680)
		pci_config_write(pci, PCI_INTERRUPT_LINE, pirq_irq[(slot + pin - 1 + 3) & 3], 1);
	pci_config_write(pci, PCI_COMMAND,
		pci_config_read(pci, PCI_COMMAND, 2) | PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 2);
}

void pci_setup(struct pci_bus *bus)
{
	struct window io = {IO_START, IO_END};
	struct window memory = {MEMORY_START, MEMORY_END};

	for (unsigned devfn = 0; devfn < PCI_SLOTS * 8; devfn++) {
		struct pci_device *pci = pci_bus_device(bus, devfn);

		if (!pci)
			continue;
		/* The ISA bridge routes; it has neither BARs nor a pin. */
		if (pci_config_read(pci, PCI_CLASS, 2) == 0x0601)
			for (unsigned i = 0; i < 4; i++)
				pci_config_write(pci, PIRQRC + i, pirq_irq[i], 1);
		set_up_function(pci, &io, &memory);
	}
}
