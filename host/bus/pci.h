/* SPDX-License-Identifier: MIT */
/*
 * Conventional PCI (PCI Local Bus 3.0): configuration space, BARs, capabilities, INTx, MSI-X.
 * A PCI device's state struct begins with `struct pci_device`.  Machine lock held, but for
 * msix_fire().
 */
#ifndef BUS_PCI_H
#define BUS_PCI_H

#include "machine/device.h"
#include "machine/irq.h"
#include "machine/machine.h"
#include "machine/space.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS	6
#define PCI_SLOTS	32

/* Configuration header (PCI 3.0, 6.1) */
#define PCI_VENDOR_ID	     0x00
#define PCI_DEVICE_ID	     0x02
#define PCI_COMMAND	     0x04
#define PCI_COMMAND_IO	     0x0001
#define PCI_COMMAND_MEMORY   0x0002
#define PCI_COMMAND_MASTER   0x0004
#define PCI_COMMAND_INTX_OFF 0x0400
#define PCI_STATUS	     0x06
#define PCI_STATUS_INTERRUPT 0x0008
#define PCI_STATUS_CAP_LIST  0x0010
#define PCI_REVISION	     0x08
#define PCI_CLASS_PROG	     0x09
#define PCI_CLASS	     0x0a /* 16 bits: class << 8 | subclass */
#define PCI_CACHE_LINE_SIZE  0x0c
#define PCI_HEADER_TYPE	     0x0e
#define PCI_BAR0	     0x10
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM_ID     0x2e
#define PCI_CAPABILITIES     0x34
#define PCI_INTERRUPT_LINE   0x3c
#define PCI_INTERRUPT_PIN    0x3d
#define PCI_CAP_MSIX	     0x11
#define PCI_CAP_VENDOR	     0x09

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEMORY32, PCI_BAR_MEMORY64 };

struct pci_bar {
	struct region *region;
	enum pci_bar_kind kind;
	bool prefetchable;
	uint64_t size; /* a power of two: >= 4 (I/O) or >= 16 */
};

struct msix_vector {
	struct irq_route route;
	atomic_bool pending; /* the PBA bit; set while masked */
	unsigned used;	     /* how many msix_use(): its route is attached while it is not masked */
	atomic_bool masked;  /* by its own bit, the function's, or MSI-X being off */
};

struct msix {
	unsigned count; /* 0: the device has none */
	uint8_t capability;
	uint8_t *table; /* count entries of 16 bytes, as the guest wrote them */
	struct msix_vector *vectors;
	struct region bar; /* table at 0, PBA at half of it */
	bool enabled, function_masked;
};

struct pci_device {
	struct device dev;
	int32_t devfn; /* property "addr" */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits the guest may write */
	uint8_t clears[PCI_CONFIG_SIZE];   /* bits that a written 1 clears */
	struct pci_bar bars[PCI_BARS];
	uint8_t next_capability; /* where pci_add_capability() goes on, from 0x40 */
	struct msix msix;
	uint8_t saved_config[PCI_CONFIG_SIZE]; /* on its way out of or into `config` */
	bool multifunction;
	char *romfile; /* properties that QEMU has for an option ROM: there is none */
	uint32_t rombar;
	bool intx_wanted; /* what the device says, whether or not the pin may follow */
	bool intx_level;  /* the pin */

	/* Optional: the device sees configuration accesses after (write) or before (read) the
	 * generic part, for registers of its own.  offset and size as the guest used them. */
	void (*config_written)(struct pci_device *pci, unsigned offset, unsigned size);
	void (*config_reading)(struct pci_device *pci, unsigned offset, unsigned size);
	/* Optional: MSI-X was enabled, disabled, masked or unmasked (vector, or -1 for all). */
	void (*msix_changed)(struct pci_device *pci, int vector);
};

/* What is saved of the function: the first part of a device's own table. */
extern const struct state_table pci_state_table;

extern const struct property pci_properties[]; /* addr, ...: device_type.more_properties */

/* Identity, in realize before anything else.  class_code: class << 16 | subclass << 8 | prog-if. */
void pci_set_ids(struct pci_device *pci, uint16_t vendor, uint16_t device, uint32_t class_code,
	uint8_t revision);
void pci_set_subsystem(struct pci_device *pci, uint16_t vendor, uint16_t id);
void pci_set_interrupt_pin(struct pci_device *pci, unsigned pin); /* 1 = INTA */

/* The BAR's region is mapped where the guest puts it, while the command register lets it decode. */
void pci_register_bar(struct pci_device *pci, unsigned bar, enum pci_bar_kind kind,
	bool prefetchable, uint64_t size, struct region *region);
/* Where the guest put the BAR, or UINT64_MAX while it does not decode. */
uint64_t pci_bar_address(const struct pci_device *pci, unsigned bar);

/* Appends a capability of `length` bytes (id and next included) in front of the list; returns its
 * offset, or -ENOSPC.  The caller fills the bytes and their writable masks. */
int pci_add_capability(struct pci_device *pci, uint8_t id, uint8_t length);

/* The device's INTx pin.  Held low while the command register disables it; the status bit follows.
 */
void pci_set_intx(struct pci_device *pci, bool level);

/* May it reach memory and send messages?  Any thread. */
bool pci_is_master(const struct pci_device *pci);

/*
 * MSI-X (PCI 3.0, 6.8): the capability, and a BAR of its own (32-bit memory, 4 KiB for up to 128
 * vectors) with the table at its start and the PBA at half of it.  vectors: 1 to 2048.
 */
int msix_init(struct pci_device *pci, unsigned vectors, unsigned bar, struct error *err);
void msix_destroy(struct pci_device *pci);
void msix_config_written(struct pci_device *pci, unsigned offset, unsigned size); /* pci.c */
void msix_reset(struct pci_device *pci);
/* The table and the pending bits were loaded, and the capability's control with them. */
void msix_loaded(struct pci_device *pci);
extern const struct state_table msix_state_table; /* of a struct msix */
bool msix_enabled(const struct pci_device *pci);
/* Under the lock: sends or marks pending.  vector >= count: nothing happens. */
void msix_notify(struct pci_device *pci, unsigned vector);
/*
 * A path for loops without the lock: between msix_use() and msix_unuse() (counted) the vector can
 * be fired from any thread; while it is masked the PBA bit is set instead, and the message goes out
 * when the guest unmasks.  Also when MSI-X is off the fire is kept as pending: the caller decides
 * by msix_enabled() whether INTx is meant.
 */
int msix_use(struct pci_device *pci, unsigned vector, struct error *err);
void msix_unuse(struct pci_device *pci, unsigned vector);
void msix_fire(struct pci_device *pci, unsigned vector);

/* Configuration space as the host bridge reaches it. */
uint32_t pci_config_read(struct pci_device *pci, unsigned offset, unsigned size);
void pci_config_write(struct pci_device *pci, unsigned offset, uint32_t value, unsigned size);

struct pci_bus {
	struct bus bus;
	struct pci_device *devices[PCI_SLOTS * 8]; /* by devfn */
	/* The bridge's routing of (slot, pin 0..3) to its own inputs; levels are counted there. */
	void (*set_pirq)(void *opaque, unsigned pirq, bool level);
	void *pirq_opaque;
	unsigned pirq_count[4]; /* how many devices hold each input up */
};

void pci_bus_init(struct pci_bus *bus, struct machine *machine, const char *name);
struct pci_device *pci_bus_device(struct pci_bus *bus, unsigned devfn); /* NULL: absent */

#endif
