/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of virtio, what all devices share (virtio 1.4, chapters 2, 3 and 4): finding a
 * device on either transport, its life cycle, features, configuration, interrupts.
 *
 * With interface=legacy on the command line, and with a device that has nothing else, a device is
 * driven by its legacy interface: dev->legacy; features of one word, no FEATURES_OK, rings in one
 * piece.
 *
 *	struct virtio_device dev;
 *	if (!virtio_find(&dev, VIRTIO_TRANSPORT_ANY, VIRTIO_ID_BLOCK, 0)) SKIP("no disk");
 *	virtio_interrupts(&dev, VIRTIO_IRQ_BEST);
 *	if (!virtio_negotiate(&dev, ~0ul)) FAIL("features refused");
 *	... set up virtqueues (virtqueue.h) or raw rings (raw.h) ...
 *	virtio_driver_ok(&dev);
 *
 * A device that was found is reset before the next TEST by the runtime.
 */
#ifndef VIRTIO_DRIVERS_VIRTIO_H
#define VIRTIO_DRIVERS_VIRTIO_H

#include "runtime/io.h"
#include "runtime/pci.h"
#include "runtime/test.h"

#define VIRTIO_ID_BLOCK	  2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_ENTROPY 4

#define VIRTIO_S_ACKNOWLEDGE 1u
#define VIRTIO_S_DRIVER	     2u
#define VIRTIO_S_DRIVER_OK   4u
#define VIRTIO_S_FEATURES_OK 8u
#define VIRTIO_S_NEEDS_RESET 0x40u
#define VIRTIO_S_FAILED	     0x80u
#define VIRTIO_S_RUNNING     15u /* of the modern interface: see virtio_running() */

#define VIRTIO_F_INDIRECT_DESC	   28
#define VIRTIO_F_EVENT_IDX	   29
#define VIRTIO_F_VERSION_1	   32
#define VIRTIO_F_ACCESS_PLATFORM   33
#define VIRTIO_F_RING_PACKED	   34
#define VIRTIO_F_IN_ORDER	   35
#define VIRTIO_F_ORDER_PLATFORM	   36
#define VIRTIO_F_SR_IOV		   37
#define VIRTIO_F_NOTIFICATION_DATA 38
#define VIRTIO_F_NOTIF_CONFIG_DATA 39
#define VIRTIO_F_RING_RESET	   40
#define VIRTIO_F_ADMIN_VQ	   41
#define VIRTIO_F_SUSPEND	   43
#define VIRTIO_BIT(n)		   (1ul << (n))
#define VIRTIO_F_NOTIFY_ON_EMPTY   24 /* the legacy interface only, as the next */
#define VIRTIO_F_ANY_LAYOUT	   27
/* What these drivers can do with a ring. */
#define VIRTIO_RING_FEATURES                                                        \
	(VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |      \
		VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_PACKED) | \
		VIRTIO_BIT(VIRTIO_F_IN_ORDER) | VIRTIO_BIT(VIRTIO_F_RING_RESET))

#define VIRTIO_ISR_QUEUE  1u
#define VIRTIO_ISR_CONFIG 2u
#define VIRTIO_NO_VECTOR  0xffffu
#define VIRTIO_QUEUES	  10 /* that these drivers use; a device may have more */

/* struct virtio_pci_common_cfg (4.1.4.3) */
enum {
	PCI_COMMON_DEVICE_FEATURE_SELECT = 0x00,
	PCI_COMMON_DEVICE_FEATURE = 0x04,
	PCI_COMMON_DRIVER_FEATURE_SELECT = 0x08,
	PCI_COMMON_DRIVER_FEATURE = 0x0c,
	PCI_COMMON_CONFIG_VECTOR = 0x10,
	PCI_COMMON_NUM_QUEUES = 0x12,
	PCI_COMMON_STATUS = 0x14,
	PCI_COMMON_GENERATION = 0x15,
	PCI_COMMON_QUEUE_SELECT = 0x16,
	PCI_COMMON_QUEUE_SIZE = 0x18,
	PCI_COMMON_QUEUE_VECTOR = 0x1a,
	PCI_COMMON_QUEUE_ENABLE = 0x1c,
	PCI_COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	PCI_COMMON_QUEUE_DESC = 0x20,
	PCI_COMMON_QUEUE_DRIVER = 0x28,
	PCI_COMMON_QUEUE_DEVICE = 0x30,
	PCI_COMMON_QUEUE_NOTIF_DATA = 0x38,
	PCI_COMMON_QUEUE_RESET = 0x3a,
};

/* The header of the legacy interface in BAR 0 (4.1.4.10) */
enum {
	PCI_LEGACY_DEVICE_FEATURES = 0x00,
	PCI_LEGACY_DRIVER_FEATURES = 0x04,
	PCI_LEGACY_QUEUE_ADDRESS = 0x08,
	PCI_LEGACY_QUEUE_SIZE = 0x0c,
	PCI_LEGACY_QUEUE_SELECT = 0x0e,
	PCI_LEGACY_QUEUE_NOTIFY = 0x10,
	PCI_LEGACY_STATUS = 0x12,
	PCI_LEGACY_ISR = 0x13,
	PCI_LEGACY_CONFIG_VECTOR = 0x14, /* with MSI-X, as the next */
	PCI_LEGACY_QUEUE_VECTOR = 0x16,
};
#define PCI_LEGACY_HEADER      20u /* the configuration follows; */
#define PCI_LEGACY_MSIX_HEADER 24u /* with MSI-X enabled here */

/* Registers of virtio-mmio (4.2.2; version 1: 4.2.4) */
enum {
	MMIO_MAGIC = 0x000,
	MMIO_VERSION = 0x004,
	MMIO_DEVICE_ID = 0x008,
	MMIO_VENDOR_ID = 0x00c,
	MMIO_DEVICE_FEATURES = 0x010,
	MMIO_DEVICE_FEATURES_SEL = 0x014,
	MMIO_DRIVER_FEATURES = 0x020,
	MMIO_DRIVER_FEATURES_SEL = 0x024,
	MMIO_GUEST_PAGE_SIZE = 0x028, /* version 1 */
	MMIO_QUEUE_SEL = 0x030,
	MMIO_QUEUE_SIZE_MAX = 0x034,
	MMIO_QUEUE_SIZE = 0x038,
	MMIO_QUEUE_ALIGN = 0x03c, /* version 1 */
	MMIO_QUEUE_PFN = 0x040,	  /* version 1 */
	MMIO_QUEUE_READY = 0x044,
	MMIO_QUEUE_NOTIFY = 0x050,
	MMIO_INTERRUPT_STATUS = 0x060,
	MMIO_INTERRUPT_ACK = 0x064,
	MMIO_STATUS = 0x070,
	MMIO_QUEUE_DESC = 0x080,
	MMIO_QUEUE_DRIVER = 0x090,
	MMIO_QUEUE_DEVICE = 0x0a0,
	MMIO_SHM_SEL = 0x0ac,
	MMIO_SHM_LEN = 0x0b0,
	MMIO_SHM_BASE = 0x0b8,
	MMIO_QUEUE_RESET = 0x0c0,
	MMIO_GENERATION = 0x0fc,
	MMIO_CONFIG = 0x100,
};
#define MMIO_MAGIC_VALUE 0x74726976u

struct virtio_device;

struct virtio_queue_areas {
	uint16_t size;
	uint64_t descriptors, driver, device;
};

struct virtio_transport {
	const char *name;
	uint8_t (*status)(struct virtio_device *dev);
	void (*set_status)(struct virtio_device *dev, uint8_t status);
	uint32_t (*device_feature)(struct virtio_device *dev, uint32_t word);
	void (*driver_feature)(struct virtio_device *dev, uint32_t word, uint32_t bits);
	uint32_t (*generation)(struct virtio_device *dev);
	/* 0: the device has no such queue. */
	uint16_t (*queue_max)(struct virtio_device *dev, unsigned queue);
	/* Size, areas and vector, without enabling. */
	void (*queue_set)(
		struct virtio_device *dev, unsigned queue, const struct virtio_queue_areas *areas);
	void (*queue_enable)(struct virtio_device *dev, unsigned queue);
	uint32_t (*queue_enabled)(struct virtio_device *dev, unsigned queue);
	void (*queue_reset)(struct virtio_device *dev, unsigned queue);
	uint32_t (*queue_reset_state)(struct virtio_device *dev, unsigned queue);
	/* Bytes of the device's configuration: size 1, 2 or 4. */
	uint32_t (*config_read)(struct virtio_device *dev, unsigned offset, unsigned size);
	void (*config_write)(
		struct virtio_device *dev, unsigned offset, unsigned size, uint32_t value);
	/* MSI-X: the entry for the configuration. NULL: there is none. */
	void (*set_config_vector)(struct virtio_device *dev, unsigned entry);
	/* Reads and acknowledges the interrupt status. */
	uint32_t (*interrupt_status)(struct virtio_device *dev);
	/* Routes interrupts as dev->irq says. */
	void (*interrupts)(struct virtio_device *dev);
	/* Makes the registers answer again, whatever a TEST did to them. */
	void (*revive)(struct virtio_device *dev);
};

enum virtio_transport_kind { VIRTIO_TRANSPORT_ANY, VIRTIO_TRANSPORT_PCI, VIRTIO_TRANSPORT_MMIO };
enum virtio_irq {
	VIRTIO_IRQ_NONE, /* polling */
	VIRTIO_IRQ_LINE, /* INTx, or the one line of a virtio-mmio device */
	VIRTIO_IRQ_MSIX, /* entry 0 for the configuration, 1 + queue for the queues */
	VIRTIO_IRQ_BEST, /* MSI-X where there is one (unless irq=intx stands on the command line),
			    else the line */
};

struct virtio_device {
	const struct virtio_transport *transport;
	uint32_t id;
	uint64_t features;	  /* negotiated */
	volatile uint8_t *config; /* device-specific configuration; NULL: in I/O space */
	uint32_t config_length;
	bool legacy;

	/* interrupts, as counted: for a line by the bits of the interrupt status */
	enum virtio_irq irq;
	unsigned line_vector, config_vector, queue_vector[VIRTIO_QUEUES];
	volatile uint32_t line_queue, line_config, line_spurious;

	bool is_pci;
	volatile uint8_t *doorbell[VIRTIO_QUEUES];
	uint16_t names[VIRTIO_QUEUES]; /* queue_notif_config_data */

	/* PCI */
	struct pci_function *pci;
	uint16_t io;			     /* BAR 0, when driven by the legacy interface */
	uint32_t legacy_page[VIRTIO_QUEUES]; /* of a queue that was set and not enabled yet */
	volatile uint8_t *common, *isr, *notify;
	uint32_t notify_multiplier, notify_length, common_length;
	uint16_t notify_port; /* a doorbell in I/O space, which the device prefers; 0: none */

	/* MMIO */
	volatile uint8_t *mmio;
	unsigned pin;
};

/* The index-th device of that type.  transport=pci|mmio on the command line decides for ANY. */
bool virtio_find(
	struct virtio_device *dev, enum virtio_transport_kind kind, uint32_t id, unsigned index);

/* Before virtio_negotiate(): vectors for counting and for delivery. */
void virtio_interrupts(struct virtio_device *dev, enum virtio_irq irq);
/* Interrupts that came since virtio_interrupts(); a line tells queues apart from the rest only. */
uint32_t virtio_queue_interrupts(const struct virtio_device *dev, unsigned queue);
uint32_t virtio_config_interrupts(const struct virtio_device *dev);

/* Writes 0 and waits until the status reads 0 (2.4.2); false if it does not. */
bool virtio_reset(struct virtio_device *dev);
uint64_t virtio_offered(struct virtio_device *dev);
void virtio_accept(struct virtio_device *dev, uint64_t features);
/* Reset, ACKNOWLEDGE, DRIVER, features (offered & wanted), FEATURES_OK; false: FEATURES_OK did not
 * stay.  ring=split on the command line leaves RING_PACKED out. */
bool virtio_negotiate(struct virtio_device *dev, uint64_t wanted);
void virtio_driver_ok(struct virtio_device *dev);

static inline bool virtio_has(const struct virtio_device *dev, unsigned bit)
{
	return dev->features >> bit & 1;
}

static inline uint8_t virtio_status(struct virtio_device *dev)
{
	return dev->transport->status(dev);
}

static inline void virtio_set_status(struct virtio_device *dev, uint8_t status)
{
	dev->transport->set_status(dev, status);
}

/* The status of a device that was started. */
static inline uint8_t virtio_running(const struct virtio_device *dev)
{
	return dev->legacy ? VIRTIO_S_RUNNING & ~VIRTIO_S_FEATURES_OK : VIRTIO_S_RUNNING;
}

/* With `next` for NOTIFICATION_DATA: where the driver will make the next buffer available, as an
 * index and, of a packed ring, its wrap counter in bit 15 (2.9). */
static inline void virtio_notify_next(struct virtio_device *dev, unsigned queue, uint16_t next)
{
	uint32_t value = virtio_has(dev, VIRTIO_F_NOTIF_CONFIG_DATA) ? dev->names[queue] : queue;

	if (virtio_has(dev, VIRTIO_F_NOTIFICATION_DATA)) {
		value |= (uint32_t)next << 16;
		if (dev->notify_port)
			outl(dev->notify_port, value);
		else
			mmio_write32(dev->doorbell[queue], value);
	} else if (dev->io) {
		outw(dev->io + PCI_LEGACY_QUEUE_NOTIFY, value);
	} else if (dev->notify_port) {
		outw(dev->notify_port, value);
	} else if (dev->is_pci) {
		mmio_write16(dev->doorbell[queue], value);
	} else {
		mmio_write32(dev->doorbell[queue], value);
	}
}

static inline void virtio_notify(struct virtio_device *dev, unsigned queue)
{
	virtio_notify_next(dev, queue, 0);
}

/* Fields of the device-specific configuration by their width; a 64-bit one by the generation loop
 * (2.5.1), or until two readings agree. */
uint8_t virtio_config8(struct virtio_device *dev, unsigned offset);
uint16_t virtio_config16(struct virtio_device *dev, unsigned offset);
uint32_t virtio_config32(struct virtio_device *dev, unsigned offset);
uint64_t virtio_config64(struct virtio_device *dev, unsigned offset);

static inline void virtio_config_write8(struct virtio_device *dev, unsigned offset, uint8_t value)
{
	dev->transport->config_write(dev, offset, 1, value);
}

static inline void virtio_config_write32(struct virtio_device *dev, unsigned offset, uint32_t value)
{
	dev->transport->config_write(dev, offset, 4, value);
}

/* By MMIO, whatever the width. */
uint32_t virtio_config_load(struct virtio_device *dev, unsigned offset, unsigned size);
void virtio_config_store(struct virtio_device *dev, unsigned offset, unsigned size, uint32_t value);

/* interface=legacy stands on the command line. */
bool virtio_wants_legacy(void);
/* Drives a transitional PCI device, from its next reset on, by the one interface or the other.
 * False: it has no such interface. */
bool virtio_pci_use(struct virtio_device *dev, bool legacy);

/* For virtio_find(). */
bool virtio_pci_find(struct virtio_device *dev, uint32_t id, unsigned index);
bool virtio_pci_legacy_attach(struct virtio_device *dev);
/* Messages and lines of a function, for both interfaces. */
void virtio_pci_interrupts(struct virtio_device *dev);
void virtio_pci_revive(struct virtio_device *dev);
bool virtio_mmio_find(struct virtio_device *dev, uint32_t id, unsigned index);
extern const struct virtio_transport virtio_mmio_legacy; /* version 1 */
/* What both versions of MMIO have the same. */
uint8_t virtio_mmio_status(struct virtio_device *dev);
void virtio_mmio_set_status(struct virtio_device *dev, uint8_t status);
uint32_t virtio_mmio_device_feature(struct virtio_device *dev, uint32_t word);
void virtio_mmio_driver_feature(struct virtio_device *dev, uint32_t word, uint32_t bits);
uint16_t virtio_mmio_queue_max(struct virtio_device *dev, unsigned queue);
uint32_t virtio_mmio_interrupt_status(struct virtio_device *dev);
void virtio_mmio_interrupts(struct virtio_device *dev);
void virtio_mmio_revive(struct virtio_device *dev);
/* The n-th slot of the command line, or NULL; *pin gets its interrupt. */
volatile uint8_t *virtio_mmio_slot(unsigned n, unsigned *pin);
/* Claims a vector for a line and counts by the interrupt status. */
unsigned virtio_line_vector(struct virtio_device *dev);

#endif
