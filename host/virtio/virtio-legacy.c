/* SPDX-License-Identifier: MIT */
/*
 * What a device owes a driver that comes by the legacy interface (virtio 1.4, "Legacy Interface" of
 * 2.2, 2.7.2, 3.1 and 6), the same for PCI and MMIO: features of one word that count at once, no
 * FEATURES_OK, a ring in one piece, use before DRIVER_OK.  Fields are little-endian: so are the
 * guests that these machines can run.
 *
 * Choices: the features are final at the first use, which is DRIVER_OK or a doorbell; bits that
 * were not offered are dropped, as there is no way to refuse them; a broken ring sets NEEDS_RESET
 * here too, which an old driver will not understand and a new one may.
 */
#include "base/log.h"
#include "virtio/virtio.h"

#define STATUS_BY_DRIVER (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK | STATUS_FAILED)
#define DESCRIPTOR_BYTES 16
#define AVAIL_BYTES	 6 /* flags, idx and used_event; and two more an entry */

/* From now until reset the driver is a legacy one, unless it has negotiated as a modern one. */
static bool become_legacy(struct virtio_device *vdev)
{
	if (vdev->status & STATUS_FEATURES_OK) {
		log_guest_error(vdev->name, "the legacy interface is used after FEATURES_OK");
		return false;
	}
	vdev->legacy = true;
	return true;
}

void virtio_legacy_set_status(struct virtio_device *vdev, uint8_t value)
{
	uint8_t added;

	if (value == 0) {
		virtio_reset(vdev);
		return;
	}
	if (!become_legacy(vdev))
		return;
	added = value & STATUS_BY_DRIVER & ~vdev->status;
	if (added & STATUS_DRIVER_OK && vdev->ops->negotiated)
		vdev->ops->negotiated(vdev, vdev->features);
	atomic_fetch_or(&vdev->status, added);
	if (added & STATUS_DRIVER_OK) {
		vdev->in_use = true;
		virtio_unpark(vdev);
	}
}

uint32_t virtio_legacy_offered(struct virtio_device *vdev)
{
	uint32_t bits = virtio_offered(vdev, 0);

	if (vdev->conf->any_layout)
		bits |= FEATURE(VIRTIO_F_ANY_LAYOUT);
	if (vdev->conf->notify_on_empty)
		bits |= FEATURE(VIRTIO_F_NOTIFY_ON_EMPTY);
	return bits;
}

void virtio_legacy_accept(struct virtio_device *vdev, uint32_t value)
{
	if (!become_legacy(vdev))
		return;
	if (vdev->in_use) {
		log_guest_error(vdev->name, "features written while in use");
		return;
	}
	vdev->driver_features[0] = value & virtio_legacy_offered(vdev);
	vdev->features = vdev->driver_features[0];
}

void virtio_legacy_config_write(
	struct virtio_device *vdev, uint64_t offset, unsigned size, uint64_t value)
{
	if (become_legacy(vdev))
		virtio_config_write(vdev, offset, size, value);
}

void virtio_legacy_queue(struct virtio_queue *vq, uint64_t address, uint32_t align)
{
	struct queue *ring = &vq->ring;

	if (!become_legacy(vq->vdev))
		return;
	if (!address) {
		if (vq->enabled)
			virtio_queue_disable(vq);
		ring->descriptor_area = ring->driver_area = ring->device_area = 0;
		return;
	}
	if (vq->enabled) {
		log_guest_error(vq->vdev->name, "queue %u: moved while enabled", ring->index);
		return;
	}
	ring->descriptor_area = address;
	ring->driver_area = address + (uint64_t)DESCRIPTOR_BYTES * ring->size;
	ring->device_area = ring->driver_area + AVAIL_BYTES + 2 * ring->size;
	ring->device_area = (ring->device_area + align - 1) & ~(uint64_t)(align - 1);
	virtio_queue_enable(vq);
}
