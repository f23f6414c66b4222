/* SPDX-License-Identifier: MIT */
/*
 * PCI (Local Bus 3.0) by configuration mechanism 1: finding functions, sizing and placing BARs,
 * capabilities, MSI-X, and INTx through PIIX3's PIRQ registers. Under PVH no firmware may have run,
 * so what firmware has not placed is placed here, and what it has placed stays.
 */
#ifndef ASSAY_RUNTIME_PCI_H
#define ASSAY_RUNTIME_PCI_H

#include "runtime/io.h"

enum {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_ROM = 0x30,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
};
#define PCI_COMMAND_IO	    0x001
#define PCI_COMMAND_MEMORY  0x002
#define PCI_COMMAND_MASTER  0x004
#define PCI_COMMAND_NO_INTX 0x400
#define PCI_STATUS_INTX	    0x008
#define PCI_STATUS_CAPS	    0x010
#define PCI_CAP_MSI	    0x05
#define PCI_CAP_VENDOR	    0x09
#define PCI_CAP_MSIX	    0x11

struct pci_bar {
	uint64_t base; /* 0: not placed */
	uint64_t size; /* 0: there is no such BAR (or it is the upper half of the one before) */
	bool io, wide, prefetch;
};

struct pci_function {
	uint8_t bus, slot, fn;
	uint8_t revision, header_type, pin;
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* class << 16 | subclass << 8 | interface */
	bool sized;
	struct pci_bar bars[6];
	uint16_t command_at_boot;
	uint8_t msix;	       /* offset of the MSI-X capability, 0: none */
	uint16_t msix_entries; /* after pci_msix_enable() */
	uint64_t msix_table, msix_pba;
};

/* Configuration space of bus/slot/fn, any offset the width divides. */
uint8_t pci_read8_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset);
uint16_t pci_read16_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset);
uint32_t pci_read32_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset);
void pci_write8_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset, uint8_t value);
void pci_write16_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset, uint16_t value);
void pci_write32_at(unsigned bus, unsigned slot, unsigned fn, unsigned offset, uint32_t value);

uint8_t pci_read8(const struct pci_function *f, unsigned offset);
uint16_t pci_read16(const struct pci_function *f, unsigned offset);
uint32_t pci_read32(const struct pci_function *f, unsigned offset);
void pci_write8(const struct pci_function *f, unsigned offset, uint8_t value);
void pci_write16(const struct pci_function *f, unsigned offset, uint16_t value);
void pci_write32(const struct pci_function *f, unsigned offset, uint32_t value);

/* True if configuration mechanism 1 is there and has a host bridge. */
bool pci_present(void);
/* Functions of bus 0, in order; the scan is made once. NULL beyond the last. */
struct pci_function *pci_nth(unsigned n);
/* The index-th with these ids (0xffff: any), or NULL. */
struct pci_function *pci_find(uint16_t vendor, uint16_t device, unsigned index);
/* The index-th whose class << 8 | subclass is this, or NULL. */
struct pci_function *pci_find_class(uint16_t class_subclass, unsigned index);
struct pci_function *pci_at(unsigned slot, unsigned fn);
/* A function that was plugged after the scan: forget the scan. */
void pci_rescan(void);

/* Sizes BARs (with decoding off meanwhile) and places those without an address. */
void pci_assign_bars(struct pci_function *f);
/* Assigned BARs, then command bits on: I/O, memory and bus master as BARs ask. INTx stays allowed.
 */
void pci_enable(struct pci_function *f);
/* Address of a memory BAR, mapped; NULL if there is none. */
volatile void *pci_bar(struct pci_function *f, unsigned bar);
uint16_t pci_bar_io(struct pci_function *f, unsigned bar);

/* Offset of the first capability with this id after `after` (0: from the start), or 0. Bounded
 * walk. */
uint8_t pci_capability(const struct pci_function *f, uint8_t id, uint8_t after);

/* MSI-X: on, all entries masked; false if the function has none. */
bool pci_msix_enable(struct pci_function *f);
void pci_msix_disable(struct pci_function *f);
void pci_msix_set(struct pci_function *f, unsigned entry, unsigned vector);
void pci_msix_mask(struct pci_function *f, unsigned entry, bool masked);
bool pci_msix_pending(struct pci_function *f, unsigned entry);

/*
 * The I/O APIC pin of the function's INTx, programming PIIX3's PIRQ registers and ELCR where
 * firmware has not; -1 if it has no pin. Route with ioapic_route(pin, vector, IOAPIC_LEVEL).
 */
int pci_intx_pin(const struct pci_function *f);

/* Before each TEST: command registers as they were found, MSI-X off. */
void pci_isolate(void);

#endif
