/* SPDX-License-Identifier: MIT */
/*
 * The common configuration of the PCI transport's modern interface (virtio 1.4, 4.1.4.3): a table
 * of its registers, read at any width and written at their own.
 *
 * Not here: administration queues.
 */
#include "base/log.h"
#include "virtio/pci.h"

#define NO_VECTOR VIRTIO_PCI_NO_VECTOR

enum common_register {
	DEVICE_FEATURE_SELECT,
	DEVICE_FEATURE,
	DRIVER_FEATURE_SELECT,
	DRIVER_FEATURE,
	CONFIG_MSIX_VECTOR,
	NUM_QUEUES,
	DEVICE_STATUS,
	CONFIG_GENERATION,
	QUEUE_SELECT,
	QUEUE_SIZE,
	QUEUE_MSIX_VECTOR,
	QUEUE_ENABLE,
	QUEUE_NOTIFY_OFF,
	QUEUE_DESC,
	QUEUE_DESC_HIGH,
	QUEUE_DRIVER,
	QUEUE_DRIVER_HIGH,
	QUEUE_DEVICE,
	QUEUE_DEVICE_HIGH,
	QUEUE_NOTIF_CONFIG_DATA,
	QUEUE_RESET,
};

static const struct {
	uint8_t offset, width;
} common_registers[] = {
	[DEVICE_FEATURE_SELECT] = {0x00, 4},
	[DEVICE_FEATURE] = {0x04, 4},
	[DRIVER_FEATURE_SELECT] = {0x08, 4},
	[DRIVER_FEATURE] = {0x0c, 4},
	[CONFIG_MSIX_VECTOR] = {0x10, 2},
	[NUM_QUEUES] = {0x12, 2},
	[DEVICE_STATUS] = {0x14, 1},
	[CONFIG_GENERATION] = {0x15, 1},
	[QUEUE_SELECT] = {0x16, 2},
	[QUEUE_SIZE] = {0x18, 2},
	[QUEUE_MSIX_VECTOR] = {0x1a, 2},
	[QUEUE_ENABLE] = {0x1c, 2},
	[QUEUE_NOTIFY_OFF] = {0x1e, 2},
	[QUEUE_DESC] = {0x20, 4},
	[QUEUE_DESC_HIGH] = {0x24, 4},
	[QUEUE_DRIVER] = {0x28, 4},
	[QUEUE_DRIVER_HIGH] = {0x2c, 4},
	[QUEUE_DEVICE] = {0x30, 4},
	[QUEUE_DEVICE_HIGH] = {0x34, 4},
	[QUEUE_NOTIF_CONFIG_DATA] = {0x38, 2},
	[QUEUE_RESET] = {0x3a, 2},
};

#define COMMON_REGISTERS (sizeof(common_registers) / sizeof(common_registers[0]))

static uint32_t queue_register(struct virtio_pci *p, enum common_register reg)
{
	struct virtio_queue *vq = virtio_queue(p->vdev, p->queue_select);

	if (!vq)
		return reg == QUEUE_MSIX_VECTOR ? NO_VECTOR : 0;
	switch (reg) {
	case QUEUE_SIZE: return vq->ring.size;
	case QUEUE_MSIX_VECTOR: return p->queue_vector[p->queue_select];
	case QUEUE_ENABLE: return vq->enabled;
	case QUEUE_NOTIFY_OFF: return p->queue_select;
	case QUEUE_DESC: return vq->ring.descriptor_area;
	case QUEUE_DESC_HIGH: return vq->ring.descriptor_area >> 32;
	case QUEUE_DRIVER: return vq->ring.driver_area;
	case QUEUE_DRIVER_HIGH: return vq->ring.driver_area >> 32;
	case QUEUE_DEVICE: return vq->ring.device_area;
	case QUEUE_DEVICE_HIGH: return vq->ring.device_area >> 32;
	case QUEUE_NOTIF_CONFIG_DATA: return virtio_doorbell_name(vq);
	default: return 0; /* QUEUE_RESET: a reset is complete when its write returns */
	}
}

static uint32_t common_register(struct virtio_pci *p, enum common_register reg)
{
	struct virtio_device *vdev = p->vdev;

	switch (reg) {
	case DEVICE_FEATURE_SELECT: return p->device_feature_select;
	case DEVICE_FEATURE: return virtio_offered(vdev, p->device_feature_select);
	case DRIVER_FEATURE_SELECT: return p->driver_feature_select;
	case DRIVER_FEATURE: return virtio_accepted(vdev, p->driver_feature_select);
	case CONFIG_MSIX_VECTOR: return p->config_vector;
	case NUM_QUEUES: return vdev->queue_count;
	case DEVICE_STATUS: return vdev->status;
	case CONFIG_GENERATION: return virtio_config_generation(vdev);
	case QUEUE_SELECT: return p->queue_select;
	default: return queue_register(p, reg);
	}
}

/* Any width: whatever registers the bytes belong to. */
uint64_t virtio_pci_common_read(struct virtio_pci *p, unsigned offset, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < COMMON_REGISTERS; i++) {
		unsigned at = common_registers[i].offset, width = common_registers[i].width;
		uint64_t part;

		if (at >= offset + size || at + width <= offset)
			continue; /* none of its bytes */
		part = common_register(p, i) & ((UINT64_C(1) << 8 * width) - 1);
		value |= at >= offset ? part << 8 * (at - offset) : part >> 8 * (offset - at);
	}
	return value;
}

static void queue_register_write(struct virtio_pci *p, enum common_register reg, uint32_t value)
{
	struct virtio_queue *vq = virtio_queue(p->vdev, p->queue_select);

	if (!vq) {
		log_guest_error(p->vdev->name, "queue %u does not exist", p->queue_select);
		return;
	}
	switch (reg) {
	case QUEUE_SIZE: virtio_queue_set_size(vq, value); break;
	case QUEUE_MSIX_VECTOR: virtio_pci_set_queue_vector(p, p->queue_select, value); break;
	case QUEUE_DESC:
	case QUEUE_DESC_HIGH:
		virtio_queue_set_address(
			vq, &vq->ring.descriptor_area, reg == QUEUE_DESC_HIGH, value);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER_HIGH:
		virtio_queue_set_address(
			vq, &vq->ring.driver_area, reg == QUEUE_DRIVER_HIGH, value);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE_HIGH:
		virtio_queue_set_address(
			vq, &vq->ring.device_area, reg == QUEUE_DEVICE_HIGH, value);
		break;
	case QUEUE_ENABLE:
		if (value == 1) /* nothing else is the driver's to write (4.1.4.3.2) */
			virtio_queue_enable(vq);
		break;
	case QUEUE_RESET:
		if (value != 1 || !(p->vdev->features & FEATURE(VIRTIO_F_RING_RESET)))
			break;
		virtio_queue_reset(vq);
		virtio_pci_set_queue_vector(p, p->queue_select, NO_VECTOR);
		break;
	default: log_guest_error(p->vdev->name, "write to a read-only register");
	}
}

static void common_register_write(struct virtio_pci *p, enum common_register reg, uint32_t value)
{
	switch (reg) {
	case DEVICE_FEATURE_SELECT: p->device_feature_select = value; break;
	case DRIVER_FEATURE_SELECT: p->driver_feature_select = value; break;
	case DRIVER_FEATURE: virtio_accept(p->vdev, p->driver_feature_select, value); break;
	case CONFIG_MSIX_VECTOR: virtio_pci_set_config_vector(p, value); break;
	case DEVICE_STATUS: virtio_set_status(p->vdev, value); break;
	case QUEUE_SELECT: p->queue_select = value; break;
	default: queue_register_write(p, reg, value);
	}
}

/* Only a write of a register's own width counts: a stray one changes no neighbour. */
void virtio_pci_common_write(struct virtio_pci *p, unsigned offset, unsigned size, uint64_t value)
{
	if (size == 8 && offset >= common_registers[QUEUE_DESC].offset &&
		offset <= common_registers[QUEUE_DEVICE].offset) {
		virtio_pci_common_write(p, offset, 4, value);
		virtio_pci_common_write(p, offset + 4, 4, value >> 32);
		return;
	}
	for (unsigned i = 0; i < COMMON_REGISTERS; i++) {
		if (common_registers[i].offset != offset || common_registers[i].width != size)
			continue;
		common_register_write(p, i, value);
		return;
	}
	log_guest_error(p->vdev->name, "write of %u bytes at 0x%x of the common configuration",
		size, offset);
}
