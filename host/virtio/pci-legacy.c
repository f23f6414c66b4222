/* SPDX-License-Identifier: MIT */
/*
 * The legacy interface of the PCI transport (virtio 1.4, 4.1.4.10): BAR 0 in I/O space, region
 * "virtio-pci-legacy".  A header of 20 bytes, two vector registers more while MSI-X is enabled, and
 * the device's configuration right behind what there is.
 *
 * Reads take any width.  A write counts if it is of the register's own width: a stray one changes
 * no neighbour.  A queue's size is the device's to choose, and its ring lies in one piece, the used
 * part at a multiple of 4096.
 */
#include <string.h>

#include "base/log.h"
#include "virtio/pci.h"

#define LEGACY_BAR  0
#define HEADER_SIZE 20
#define VECTORS_END 24 /* of the two vector registers */
#define PAGE	    4096
#define NOTIFY	    0x10

enum legacy_register {
	DEVICE_FEATURES,
	DRIVER_FEATURES,
	QUEUE_ADDRESS,
	QUEUE_SIZE,
	QUEUE_SELECT,
	QUEUE_NOTIFY,
	DEVICE_STATUS,
	ISR_STATUS,
	CONFIG_MSIX_VECTOR,
	QUEUE_MSIX_VECTOR,
	LEGACY_REGISTERS,
};

static const struct {
	uint8_t offset, width;
} registers[] = {
	[DEVICE_FEATURES] = {0x00, 4},
	[DRIVER_FEATURES] = {0x04, 4},
	[QUEUE_ADDRESS] = {0x08, 4},
	[QUEUE_SIZE] = {0x0c, 2},
	[QUEUE_SELECT] = {0x0e, 2},
	[QUEUE_NOTIFY] = {NOTIFY, 2},
	[DEVICE_STATUS] = {0x12, 1},
	[ISR_STATUS] = {0x13, 1},
	[CONFIG_MSIX_VECTOR] = {0x14, 2},
	[QUEUE_MSIX_VECTOR] = {0x16, 2},
};

/* 4.1.2.1, and the two that drivers know besides */
uint16_t virtio_pci_legacy_id(uint16_t type)
{
	static const uint16_t ids[] = {
		[1] = 0x1000, /* network */
		[2] = 0x1001, /* block */
		[3] = 0x1003, /* console */
		[4] = 0x1005, /* entropy */
		[5] = 0x1002, /* balloon */
		[8] = 0x1004, /* SCSI */
		[9] = 0x1009, /* 9P */
	};

	return type < sizeof(ids) / sizeof(ids[0]) ? ids[type] : 0;
}

static unsigned header_size(const struct virtio_pci *p)
{
	return msix_enabled(&p->pci) ? VECTORS_END : HEADER_SIZE;
}

static uint32_t register_read(struct virtio_pci *p, enum legacy_register reg)
{
	struct virtio_device *vdev = p->vdev;
	struct virtio_queue *vq = virtio_queue(vdev, p->queue_select);

	switch (reg) {
	case DEVICE_FEATURES: return virtio_legacy_offered(vdev);
	case DRIVER_FEATURES: return vdev->legacy ? vdev->driver_features[0] : 0;
	case QUEUE_ADDRESS: return vq ? vq->ring.descriptor_area / PAGE : 0;
	case QUEUE_SIZE: return vq ? vq->ring.size : 0;
	case QUEUE_SELECT: return p->queue_select;
	case DEVICE_STATUS: return vdev->status;
	case ISR_STATUS: return virtio_pci_isr(p);
	case CONFIG_MSIX_VECTOR: return p->config_vector;
	case QUEUE_MSIX_VECTOR: return vq ? p->queue_vector[p->queue_select] : VIRTIO_PCI_NO_VECTOR;
	default: return 0;
	}
}

static void queue_register_write(struct virtio_pci *p, enum legacy_register reg, uint32_t value)
{
	struct virtio_queue *vq = virtio_queue(p->vdev, p->queue_select);

	if (!vq)
		log_guest_error(p->vdev->name, "queue %u does not exist", p->queue_select);
	else if (reg == QUEUE_ADDRESS)
		virtio_legacy_queue(vq, (uint64_t)value * PAGE, PAGE);
	else
		virtio_pci_set_queue_vector(p, p->queue_select, value);
}

static void register_write(struct virtio_pci *p, enum legacy_register reg, uint32_t value)
{
	struct virtio_queue *vq;

	switch (reg) {
	case DRIVER_FEATURES: virtio_legacy_accept(p->vdev, value); break;
	case QUEUE_SELECT: p->queue_select = value; break;
	case QUEUE_NOTIFY:
		vq = virtio_queue(p->vdev, value);
		if (vq)
			virtio_queue_kick(vq);
		break;
	case DEVICE_STATUS: virtio_legacy_set_status(p->vdev, value); break;
	case CONFIG_MSIX_VECTOR: virtio_pci_set_config_vector(p, value); break;
	case QUEUE_ADDRESS:
	case QUEUE_MSIX_VECTOR: queue_register_write(p, reg, value); break;
	default: log_guest_error(p->vdev->name, "write to a read-only register");
	}
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_pci *p = opaque;
	unsigned header = header_size(p);
	uint64_t value = 0;

	if (offset >= header)
		return virtio_config_read(p->vdev, offset - header, size);
	for (unsigned i = 0; i < LEGACY_REGISTERS && registers[i].offset < header; i++) {
		unsigned at = registers[i].offset, width = registers[i].width;
		uint64_t part;

		if (at >= offset + size || at + width <= offset)
			continue; /* none of its bytes */
		part = register_read(p, i) & ((UINT64_C(1) << 8 * width) - 1);
		value |= at >= offset ? part << 8 * (at - offset) : part >> 8 * (offset - at);
	}
	return value;
}

static void legacy_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_pci *p = opaque;
	unsigned header = header_size(p);

	if (offset >= header) {
		virtio_legacy_config_write(p->vdev, offset - header, size, value);
		return;
	}
	for (unsigned i = 0; i < LEGACY_REGISTERS; i++) {
		if (registers[i].offset != offset || registers[i].width != size)
			continue;
		register_write(p, i, value);
		return;
	}
	log_guest_error(p->vdev->name, "write of %u bytes at 0x%lx of the legacy registers", size,
		(long)offset);
}

static const struct region_ops legacy_ops = {
	.read = legacy_read,
	.write = legacy_write,
	.min_access = 1,
	.max_access = 4,
};

/* One register serves all queues: the value tells them apart. */
struct region_event virtio_pci_legacy_doorbell(const struct virtio_queue *vq)
{
	return (struct region_event){
		.offset = NOTIFY,
		.size = 2,
		.match = true,
		.value = vq->ring.index,
		.fd = vq->doorbell.fd,
	};
}

void virtio_pci_legacy_realize(struct virtio_pci *p)
{
	unsigned used = VECTORS_END + p->vdev->ops->config_size, size = 32;

	while (size < used)
		size *= 2;
	p->legacy.name = "virtio-pci-legacy";
	p->legacy.ops = &legacy_ops;
	p->legacy.opaque = p;
	pci_register_bar(&p->pci, LEGACY_BAR, PCI_BAR_IO, false, size, &p->legacy);
}
