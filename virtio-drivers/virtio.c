/* SPDX-License-Identifier: MIT */
/*
 * Life cycle, features and configuration on either transport (virtio 1.4, 2.1 to 2.5 and 3.1).
 */
#include "virtio-drivers/virtio.h"
#include "runtime/boot.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/time.h"

#define RESET_US 2000000
#define DEVICES	 8

/* Devices that the running TEST found: by vector for the handler, and for the reset before the
 * next. */
static struct virtio_device *by_vector[256];
static struct virtio_device found[DEVICES];
static unsigned found_count;

static void reset_found(void *opaque)
{
	(void)opaque;
	/* A line that rises while decoding is off cannot be served: its status is out of reach. */
	irq_disable();
	memset(by_vector, 0, sizeof(by_vector));
	for (unsigned i = 0; i < found_count; i++) {
		struct virtio_device *dev = &found[i];

		dev->transport->revive(dev);
		virtio_reset(dev);
		dev->transport->interrupt_status(dev);
	}
	found_count = 0;
	irq_enable();
}

static struct test_reset_hook hook = {.reset = reset_found};

bool virtio_wants_legacy(void)
{
	const char *wish = cmdline_get("interface");

	return wish && strcmp(wish, "legacy") == 0;
}

bool virtio_find(
	struct virtio_device *dev, enum virtio_transport_kind kind, uint32_t id, unsigned index)
{
	const char *wish = cmdline_get("transport");
	bool ok = false;

	memset(dev, 0, sizeof(*dev));
	if (kind == VIRTIO_TRANSPORT_ANY && wish)
		kind = strcmp(wish, "mmio") == 0 ? VIRTIO_TRANSPORT_MMIO : VIRTIO_TRANSPORT_PCI;
	if (kind != VIRTIO_TRANSPORT_MMIO)
		ok = virtio_pci_find(dev, id, index);
	if (!ok && kind != VIRTIO_TRANSPORT_PCI)
		ok = virtio_mmio_find(dev, id, index);
	if (!ok)
		return false;
	dev->id = id;
	test_reset_hook(&hook);
	if (found_count < DEVICES)
		found[found_count++] = *dev; /* its own copy: a TEST's device lives on its stack */
	return true;
}

/* Level-triggered: the status is read and acknowledged before the end of interrupt. */
static void line_interrupt(unsigned vector)
{
	struct virtio_device *dev = by_vector[vector];
	uint32_t status = dev ? dev->transport->interrupt_status(dev) : 0;

	if (dev) {
		dev->line_queue += status & VIRTIO_ISR_QUEUE;
		dev->line_config += (status & VIRTIO_ISR_CONFIG) != 0;
		dev->line_spurious += status == 0;
	}
	lapic_eoi();
}

unsigned virtio_line_vector(struct virtio_device *dev)
{
	unsigned vector = irq_vector();

	by_vector[vector] = dev;
	irq_handler(vector, line_interrupt);
	return vector;
}

void virtio_interrupts(struct virtio_device *dev, enum virtio_irq irq)
{
	const char *wish = cmdline_get("irq");

	if (irq == VIRTIO_IRQ_BEST) {
		bool intx = wish && strcmp(wish, "intx") == 0;

		irq = dev->is_pci && dev->pci->msix && !intx ? VIRTIO_IRQ_MSIX : VIRTIO_IRQ_LINE;
	}
	dev->irq = irq;
	dev->line_queue = dev->line_config = dev->line_spurious = 0;
	dev->transport->interrupts(dev);
}

uint32_t virtio_queue_interrupts(const struct virtio_device *dev, unsigned queue)
{
	if (dev->irq == VIRTIO_IRQ_MSIX)
		return irq_count(dev->queue_vector[queue]);
	return dev->line_queue;
}

uint32_t virtio_config_interrupts(const struct virtio_device *dev)
{
	return dev->irq == VIRTIO_IRQ_MSIX ? irq_count(dev->config_vector) : dev->line_config;
}

bool virtio_reset(struct virtio_device *dev)
{
	virtio_set_status(dev, 0);
	dev->features = 0;
	return WAIT_UNTIL(virtio_status(dev) == 0, RESET_US);
}

uint64_t virtio_offered(struct virtio_device *dev)
{
	if (dev->legacy)
		return dev->transport->device_feature(dev, 0);
	return dev->transport->device_feature(dev, 0) |
	       (uint64_t)dev->transport->device_feature(dev, 1) << 32;
}

void virtio_accept(struct virtio_device *dev, uint64_t features)
{
	dev->transport->driver_feature(dev, 0, features);
	if (!dev->legacy)
		dev->transport->driver_feature(dev, 1, features >> 32);
}

static uint64_t unwanted_ring(void)
{
	const char *wish = cmdline_get("ring");

	return wish && strcmp(wish, "split") == 0 ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0;
}

bool virtio_negotiate(struct virtio_device *dev, uint64_t wanted)
{
	uint64_t features;

	if (!virtio_reset(dev))
		return false;
	virtio_set_status(dev, VIRTIO_S_ACKNOWLEDGE);
	virtio_set_status(dev, VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER);
	features = virtio_offered(dev) & wanted & ~unwanted_ring();
	virtio_accept(dev, features);
	if (!dev->legacy) {
		virtio_set_status(
			dev, VIRTIO_S_ACKNOWLEDGE | VIRTIO_S_DRIVER | VIRTIO_S_FEATURES_OK);
		if (!(virtio_status(dev) & VIRTIO_S_FEATURES_OK))
			return false;
	}
	dev->features = features;
	if (dev->irq == VIRTIO_IRQ_MSIX)
		dev->transport->set_config_vector(dev, 0);
	return true;
}

void virtio_driver_ok(struct virtio_device *dev)
{
	virtio_set_status(dev, virtio_running(dev));
	checkpoint();
}

uint8_t virtio_config8(struct virtio_device *dev, unsigned offset)
{
	return dev->transport->config_read(dev, offset, 1);
}

uint16_t virtio_config16(struct virtio_device *dev, unsigned offset)
{
	return dev->transport->config_read(dev, offset, 2);
}

uint32_t virtio_config32(struct virtio_device *dev, unsigned offset)
{
	return dev->transport->config_read(dev, offset, 4);
}

uint32_t virtio_config_load(struct virtio_device *dev, unsigned offset, unsigned size)
{
	if (size == 1)
		return mmio_read8(dev->config + offset);
	return size == 2 ? mmio_read16(dev->config + offset) : mmio_read32(dev->config + offset);
}

void virtio_config_store(struct virtio_device *dev, unsigned offset, unsigned size, uint32_t value)
{
	if (size == 1)
		mmio_write8(dev->config + offset, value);
	else if (size == 2)
		mmio_write16(dev->config + offset, value);
	else
		mmio_write32(dev->config + offset, value);
}

/* 2.5.4: the legacy interface has no generation. */
static uint64_t legacy_config64(struct virtio_device *dev, unsigned offset)
{
	uint32_t low, high, again;

	again = virtio_config32(dev, offset + 4);
	do {
		high = again;
		low = virtio_config32(dev, offset);
		again = virtio_config32(dev, offset + 4);
	} while (again != high);
	return (uint64_t)high << 32 | low;
}

uint64_t virtio_config64(struct virtio_device *dev, unsigned offset)
{
	uint32_t before, low, high;

	if (dev->legacy)
		return legacy_config64(dev, offset);
	do {
		before = dev->transport->generation(dev);
		low = virtio_config32(dev, offset);
		high = virtio_config32(dev, offset + 4);
	} while (dev->transport->generation(dev) != before);
	return (uint64_t)high << 32 | low;
}
