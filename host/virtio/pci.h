/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport as devices use it: a device's state begins with a struct virtio_pci.
 * pci.c: identity and vectors; pci-modern.c: BAR 4; pci-common.c: its common configuration;
 * pci-legacy.c: BAR 0.
 */
#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "bus/pci.h"
#include "virtio/virtio.h"

struct virtio_pci {
	struct pci_device pci;
	struct virtio_device *vdev;

	/* properties */
	int disable_legacy;
	bool disable_modern, ioeventfd, page_per_vq, modern_pio_notify;
	uint32_t vectors;

	bool has_legacy, has_modern; /* which interfaces there are */
	struct region legacy;	     /* BAR 0 */
	struct region notify_io;     /* BAR 2, with modern-pio-notify=on */
	struct region modern;	     /* BAR 4 */
	uint8_t cfg_capability;	     /* offset of VIRTIO_PCI_CAP_PCI_CFG */

	/* registers */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector;
	uint16_t *queue_vector;	 /* one a queue, as the driver reads it */
	atomic_int *queue_route; /* one a queue: a vector, or ROUTE_*; for the loops */
	atomic_uchar isr;
	struct loop_task intx_task;
};

#define VIRTIO_PCI_PROPERTIES(type, member)                                                   \
	{"disable-modern", PROPERTY_BOOL, offsetof(type, member.disable_modern), "off",       \
		"no virtio 1 interface", NULL, 0, 0},                                         \
		{"ioeventfd", PROPERTY_BOOL, offsetof(type, member.ioeventfd), "on",          \
			"doorbells without an exit", NULL, 0, 0},                             \
		{"vectors", PROPERTY_UINT32, offsetof(type, member.vectors), "4294967295",    \
			"MSI-X vectors; 0: none; default: one a queue and one", NULL, 0, 0},  \
		{"page-per-vq", PROPERTY_BOOL, offsetof(type, member.page_per_vq), "off",     \
			"each doorbell on a page of its own", NULL, 0, 0},                    \
	{                                                                                     \
		"modern-pio-notify", PROPERTY_BOOL, offsetof(type, member.modern_pio_notify), \
			"off", "a doorbell in I/O space, too", NULL, 0, 0                     \
	}

/* Types of both kinds of name have the next one too, "-non-transitional" with "on". */
#define VIRTIO_PCI_DISABLE_LEGACY(type, member, initial)                                    \
	{                                                                                   \
		"disable-legacy", PROPERTY_TRISTATE, offsetof(type, member.disable_legacy), \
			initial, "no legacy interface; auto: off", NULL, 0, 0               \
	}

/* Refuses what is not there; before virtio_init().  0 or -errno. */
int virtio_pci_check(struct virtio_pci *p, struct error *err);
/* After virtio_init(): identity, BARs and capabilities.  class_code as for pci_set_ids(). */
int virtio_pci_realize(
	struct virtio_pci *p, struct virtio_device *vdev, uint32_t class_code, struct error *err);
void virtio_pci_unrealize(struct virtio_pci *p);
void virtio_pci_reset(struct virtio_pci *p); /* the device's power-on reset */

/* --- between pci.c and the interfaces --- */

#define VIRTIO_PCI_NO_VECTOR 0xffff

/* Reads and clears. */
uint32_t virtio_pci_isr(struct virtio_pci *p);
void virtio_pci_set_queue_vector(struct virtio_pci *p, unsigned queue, uint32_t vector);
void virtio_pci_set_config_vector(struct virtio_pci *p, uint32_t vector);
/* The device id of a transitional device (4.1.2.1), or 0: there is no legacy form of that type. */
uint16_t virtio_pci_legacy_id(uint16_t type);
/* BAR 4 and what tells of it.  0 or -errno. */
int virtio_pci_modern_realize(struct virtio_pci *p, struct error *err);
/* Where a queue's doorbell is in the modern interface, for an ioeventfd: the region of *event. */
struct region *virtio_pci_modern_doorbell(
	struct virtio_pci *p, const struct virtio_queue *vq, struct region_event *event);
/* Bytes of the configuration space have been written: the access through the window, if there. */
void virtio_pci_window_written(struct virtio_pci *p, unsigned offset, unsigned size);
/* The common configuration, any offset and size. */
uint64_t virtio_pci_common_read(struct virtio_pci *p, unsigned offset, unsigned size);
void virtio_pci_common_write(struct virtio_pci *p, unsigned offset, unsigned size, uint64_t value);
/* BAR 0. */
void virtio_pci_legacy_realize(struct virtio_pci *p);
/* Where the doorbells of the legacy interface are, for ioeventfds. */
struct region_event virtio_pci_legacy_doorbell(const struct virtio_queue *vq);

/* For the tables of device types: of a struct virtio_pci; its virtio device comes after it. */
extern const struct state_table virtio_pci_state_table;

#endif
