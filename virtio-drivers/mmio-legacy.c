/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO, version 1 (virtio 1.4, 4.2.4), in what it differs from version 2: a queue lies
 * in one piece and is told by the number of its first page.
 */
#include "virtio-drivers/ring.h"
#include "virtio-drivers/virtio.h"

static uint32_t rd(struct virtio_device *dev, unsigned reg)
{
	return mmio_read32(dev->mmio + reg);
}

static void wr(struct virtio_device *dev, unsigned reg, uint32_t value)
{
	mmio_write32(dev->mmio + reg, value);
}

static uint32_t legacy_generation(struct virtio_device *dev)
{
	(void)dev;
	return 0;
}

static void legacy_queue_set(
	struct virtio_device *dev, unsigned queue, const struct virtio_queue_areas *areas)
{
	uint64_t base = areas->descriptors;

	if (base & (RING_LEGACY_ALIGN - 1) || base >> 44 ||
		areas->driver != base + RING_DESCRIPTORS_BYTES(areas->size) ||
		areas->device != base + RING_LEGACY_USED(areas->size, RING_LEGACY_ALIGN))
		ERROR("not a ring of the legacy interface");
	wr(dev, MMIO_GUEST_PAGE_SIZE, RING_LEGACY_ALIGN);
	wr(dev, MMIO_QUEUE_SEL, queue);
	wr(dev, MMIO_QUEUE_SIZE, areas->size);
	wr(dev, MMIO_QUEUE_ALIGN, RING_LEGACY_ALIGN);
	dev->legacy_page[queue] = base / RING_LEGACY_ALIGN;
}

static void legacy_queue_enable(struct virtio_device *dev, unsigned queue)
{
	wr(dev, MMIO_QUEUE_SEL, queue);
	wr(dev, MMIO_QUEUE_PFN, dev->legacy_page[queue]);
}

static uint32_t legacy_queue_enabled(struct virtio_device *dev, unsigned queue)
{
	wr(dev, MMIO_QUEUE_SEL, queue);
	return rd(dev, MMIO_QUEUE_PFN) != 0;
}

static void legacy_queue_reset(struct virtio_device *dev, unsigned queue)
{
	(void)dev;
	(void)queue;
	ERROR("version 1 resets no single queue");
}

static uint32_t legacy_queue_reset_state(struct virtio_device *dev, unsigned queue)
{
	(void)dev;
	(void)queue;
	return 0;
}

const struct virtio_transport virtio_mmio_legacy = {
	.name = "mmio-legacy",
	.status = virtio_mmio_status,
	.set_status = virtio_mmio_set_status,
	.device_feature = virtio_mmio_device_feature,
	.driver_feature = virtio_mmio_driver_feature,
	.generation = legacy_generation,
	.queue_max = virtio_mmio_queue_max,
	.queue_set = legacy_queue_set,
	.queue_enable = legacy_queue_enable,
	.queue_enabled = legacy_queue_enabled,
	.queue_reset = legacy_queue_reset,
	.queue_reset_state = legacy_queue_reset_state,
	.config_read = virtio_config_load,
	.config_write = virtio_config_store,
	.interrupt_status = virtio_mmio_interrupt_status,
	.interrupts = virtio_mmio_interrupts,
	.revive = virtio_mmio_revive,
};
