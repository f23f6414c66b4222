/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO, version 2 (virtio 1.4, 4.2); version 1 is mmio-legacy.c.  Slots are what the
 * command line announces in Linux' form, virtio_mmio.device=512@0xfeb00000:5; without such words
 * the eight slots of QEMU's microvm are tried where no PCI is (they are at these addresses with
 * ACPI too).
 */
#include "virtio-drivers/virtio.h"
#include "runtime/boot.h"
#include "runtime/irq.h"
#include "runtime/paging.h"

#define MICROVM_BASE  0xfeb00000ul
#define MICROVM_STEP  0x200
#define MICROVM_SLOTS 8
#define MICROVM_PIN   5

volatile uint8_t *virtio_mmio_slot(unsigned n, unsigned *pin)
{
	const char *word = cmdline_get_nth("virtio_mmio.device", n), *end;
	uint64_t base;

	if (!word) {
		if (n >= MICROVM_SLOTS || cmdline_get("virtio_mmio.device") || pci_present())
			return NULL;
		*pin = MICROVM_PIN + n;
		return (volatile uint8_t *)(MICROVM_BASE + MICROVM_STEP * n);
	}
	parse_number(word, &end);
	if (*end != '@')
		return NULL;
	base = parse_number(end + 1, &end);
	if (*end != ':')
		return NULL;
	*pin = parse_number(end + 1, &end);
	if (base >= 1ull << 32)
		paging_identity(base, 4096);
	return (volatile uint8_t *)base;
}

static uint32_t rd(struct virtio_device *dev, unsigned reg)
{
	return mmio_read32(dev->mmio + reg);
}

static void wr(struct virtio_device *dev, unsigned reg, uint32_t value)
{
	mmio_write32(dev->mmio + reg, value);
}

uint8_t virtio_mmio_status(struct virtio_device *dev)
{
	return rd(dev, MMIO_STATUS);
}

void virtio_mmio_set_status(struct virtio_device *dev, uint8_t status)
{
	wr(dev, MMIO_STATUS, status);
}

uint32_t virtio_mmio_device_feature(struct virtio_device *dev, uint32_t word)
{
	wr(dev, MMIO_DEVICE_FEATURES_SEL, word);
	return rd(dev, MMIO_DEVICE_FEATURES);
}

void virtio_mmio_driver_feature(struct virtio_device *dev, uint32_t word, uint32_t bits)
{
	wr(dev, MMIO_DRIVER_FEATURES_SEL, word);
	wr(dev, MMIO_DRIVER_FEATURES, bits);
}

static uint32_t mmio_generation(struct virtio_device *dev)
{
	return rd(dev, MMIO_GENERATION);
}

uint16_t virtio_mmio_queue_max(struct virtio_device *dev, unsigned queue)
{
	wr(dev, MMIO_QUEUE_SEL, queue);
	return rd(dev, MMIO_QUEUE_SIZE_MAX);
}

static void set_address(struct virtio_device *dev, unsigned reg, uint64_t address)
{
	wr(dev, reg, address);
	wr(dev, reg + 4, address >> 32);
}

static void mmio_queue_set(
	struct virtio_device *dev, unsigned queue, const struct virtio_queue_areas *areas)
{
	wr(dev, MMIO_QUEUE_SEL, queue);
	wr(dev, MMIO_QUEUE_SIZE, areas->size);
	set_address(dev, MMIO_QUEUE_DESC, areas->descriptors);
	set_address(dev, MMIO_QUEUE_DRIVER, areas->driver);
	set_address(dev, MMIO_QUEUE_DEVICE, areas->device);
}

static void mmio_queue_enable(struct virtio_device *dev, unsigned queue)
{
	wr(dev, MMIO_QUEUE_SEL, queue);
	wr(dev, MMIO_QUEUE_READY, 1);
}

static uint32_t mmio_queue_enabled(struct virtio_device *dev, unsigned queue)
{
	wr(dev, MMIO_QUEUE_SEL, queue);
	return rd(dev, MMIO_QUEUE_READY);
}

static void mmio_queue_reset(struct virtio_device *dev, unsigned queue)
{
	wr(dev, MMIO_QUEUE_SEL, queue);
	wr(dev, MMIO_QUEUE_RESET, 1);
}

static uint32_t mmio_queue_reset_state(struct virtio_device *dev, unsigned queue)
{
	wr(dev, MMIO_QUEUE_SEL, queue);
	return rd(dev, MMIO_QUEUE_RESET);
}

uint32_t virtio_mmio_interrupt_status(struct virtio_device *dev)
{
	uint32_t status = rd(dev, MMIO_INTERRUPT_STATUS);

	if (status)
		wr(dev, MMIO_INTERRUPT_ACK, status);
	return status;
}

void virtio_mmio_interrupts(struct virtio_device *dev)
{
	if (dev->irq == VIRTIO_IRQ_MSIX)
		SKIP("virtio-mmio has no MSI-X");
	if (dev->irq == VIRTIO_IRQ_NONE)
		return;
	dev->line_vector = virtio_line_vector(dev);
	ioapic_route(dev->pin, dev->line_vector, IOAPIC_LEVEL);
}

void virtio_mmio_revive(struct virtio_device *dev)
{
	(void)dev;
}

static const struct virtio_transport transport = {
	.name = "mmio",
	.status = virtio_mmio_status,
	.set_status = virtio_mmio_set_status,
	.device_feature = virtio_mmio_device_feature,
	.driver_feature = virtio_mmio_driver_feature,
	.generation = mmio_generation,
	.queue_max = virtio_mmio_queue_max,
	.queue_set = mmio_queue_set,
	.queue_enable = mmio_queue_enable,
	.queue_enabled = mmio_queue_enabled,
	.queue_reset = mmio_queue_reset,
	.queue_reset_state = mmio_queue_reset_state,
	.config_read = virtio_config_load,
	.config_write = virtio_config_store,
	.interrupt_status = virtio_mmio_interrupt_status,
	.interrupts = virtio_mmio_interrupts,
	.revive = virtio_mmio_revive,
};

bool virtio_mmio_find(struct virtio_device *dev, uint32_t id, unsigned index)
{
	volatile uint8_t *base;
	unsigned pin;

	for (unsigned n = 0; (base = virtio_mmio_slot(n, &pin)) != NULL; n++) {
		if (mmio_read32(base + MMIO_MAGIC) != MMIO_MAGIC_VALUE ||
			mmio_read32(base + MMIO_DEVICE_ID) != id || index-- != 0)
			continue;
		dev->legacy = mmio_read32(base + MMIO_VERSION) == 1;
		dev->transport = dev->legacy ? &virtio_mmio_legacy : &transport;
		dev->mmio = base;
		dev->pin = pin;
		dev->config = base + MMIO_CONFIG;
		dev->config_length = 0x100;
		for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
			dev->doorbell[i] = base + MMIO_QUEUE_NOTIFY;
		return true;
	}
	return false;
}
