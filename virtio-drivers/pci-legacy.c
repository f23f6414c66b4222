/* SPDX-License-Identifier: MIT */
/*
 * virtio over PCI, legacy interface (virtio 1.4, 4.1.4.10 and 4.1.5.1.3.1): a header in BAR 0, in
 * I/O space; with MSI-X enabled two registers more, and the configuration behind what there is.
 */
#include "runtime/irq.h"
#include "virtio-drivers/ring.h"
#include "virtio-drivers/virtio.h"

static uint8_t legacy_status(struct virtio_device *dev)
{
	return inb(dev->io + PCI_LEGACY_STATUS);
}

static void legacy_set_status(struct virtio_device *dev, uint8_t status)
{
	outb(dev->io + PCI_LEGACY_STATUS, status);
}

static uint32_t legacy_device_feature(struct virtio_device *dev, uint32_t word)
{
	return word == 0 ? inl(dev->io + PCI_LEGACY_DEVICE_FEATURES) : 0;
}

static void legacy_driver_feature(struct virtio_device *dev, uint32_t word, uint32_t bits)
{
	if (word == 0)
		outl(dev->io + PCI_LEGACY_DRIVER_FEATURES, bits);
}

static uint32_t legacy_generation(struct virtio_device *dev)
{
	(void)dev;
	return 0;
}

static void select(struct virtio_device *dev, unsigned queue)
{
	outw(dev->io + PCI_LEGACY_QUEUE_SELECT, queue);
}

static uint16_t legacy_queue_max(struct virtio_device *dev, unsigned queue)
{
	select(dev, queue);
	return inw(dev->io + PCI_LEGACY_QUEUE_SIZE);
}

static void legacy_queue_set(
	struct virtio_device *dev, unsigned queue, const struct virtio_queue_areas *areas)
{
	uint64_t base = areas->descriptors;

	if (base & (RING_LEGACY_ALIGN - 1) || base >> 44 ||
		areas->driver != base + RING_DESCRIPTORS_BYTES(areas->size) ||
		areas->device != base + RING_LEGACY_USED(areas->size, RING_LEGACY_ALIGN))
		ERROR("not a ring of the legacy interface");
	select(dev, queue);
	if (dev->irq == VIRTIO_IRQ_MSIX)
		outw(dev->io + PCI_LEGACY_QUEUE_VECTOR, 1 + queue);
	dev->legacy_page[queue] = base / RING_LEGACY_ALIGN;
}

static void legacy_queue_enable(struct virtio_device *dev, unsigned queue)
{
	select(dev, queue);
	outl(dev->io + PCI_LEGACY_QUEUE_ADDRESS, dev->legacy_page[queue]);
}

static uint32_t legacy_queue_enabled(struct virtio_device *dev, unsigned queue)
{
	select(dev, queue);
	return inl(dev->io + PCI_LEGACY_QUEUE_ADDRESS) != 0;
}

static void legacy_queue_reset(struct virtio_device *dev, unsigned queue)
{
	(void)dev;
	(void)queue;
	ERROR("the legacy interface resets no single queue");
}

static uint32_t legacy_queue_reset_state(struct virtio_device *dev, unsigned queue)
{
	(void)dev;
	(void)queue;
	return 0;
}

static uint16_t config_at(const struct virtio_device *dev, unsigned offset)
{
	return dev->io + offset +
	       (dev->irq == VIRTIO_IRQ_MSIX ? PCI_LEGACY_MSIX_HEADER : PCI_LEGACY_HEADER);
}

static uint32_t legacy_config_read(struct virtio_device *dev, unsigned offset, unsigned size)
{
	uint16_t port = config_at(dev, offset);

	if (size == 1)
		return inb(port);
	return size == 2 ? inw(port) : inl(port);
}

static void legacy_config_write(
	struct virtio_device *dev, unsigned offset, unsigned size, uint32_t value)
{
	uint16_t port = config_at(dev, offset);

	if (size == 1)
		outb(port, value);
	else if (size == 2)
		outw(port, value);
	else
		outl(port, value);
}

static void legacy_set_config_vector(struct virtio_device *dev, unsigned entry)
{
	outw(dev->io + PCI_LEGACY_CONFIG_VECTOR, entry);
}

static uint32_t legacy_interrupt_status(struct virtio_device *dev)
{
	return inb(dev->io + PCI_LEGACY_ISR);
}

static const struct virtio_transport transport = {
	.name = "legacy",
	.status = legacy_status,
	.set_status = legacy_set_status,
	.device_feature = legacy_device_feature,
	.driver_feature = legacy_driver_feature,
	.generation = legacy_generation,
	.queue_max = legacy_queue_max,
	.queue_set = legacy_queue_set,
	.queue_enable = legacy_queue_enable,
	.queue_enabled = legacy_queue_enabled,
	.queue_reset = legacy_queue_reset,
	.queue_reset_state = legacy_queue_reset_state,
	.config_read = legacy_config_read,
	.config_write = legacy_config_write,
	.set_config_vector = legacy_set_config_vector,
	.interrupt_status = legacy_interrupt_status,
	.interrupts = virtio_pci_interrupts,
	.revive = virtio_pci_revive,
};

bool virtio_pci_legacy_attach(struct virtio_device *dev)
{
	uint16_t io = pci_bar_io(dev->pci, 0);

	/* 4.1.2.3: ids from 0x1040 on are those of devices without a legacy interface. */
	if (!io || dev->pci->device >= 0x1040)
		return false;
	dev->transport = &transport;
	dev->legacy = true;
	dev->io = io;
	return true;
}
