/* SPDX-License-Identifier: MIT */
/*
 * virtio over PCI (virtio 1.4, 4.1): finding a device, vectors, and the modern interface; the
 * legacy one is pci-legacy.c.  The first capability of each type is used,
 * as the device lists the better one first (4.1.4.2).
 */
#include "virtio-drivers/virtio.h"
#include "runtime/irq.h"
#include "runtime/memory.h"

#define VENDOR 0x1af4

enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE };

static uint8_t pci_status(struct virtio_device *dev)
{
	return mmio_read8(dev->common + PCI_COMMON_STATUS);
}

static void pci_set_status(struct virtio_device *dev, uint8_t status)
{
	mmio_write8(dev->common + PCI_COMMON_STATUS, status);
}

static uint32_t pci_device_feature(struct virtio_device *dev, uint32_t word)
{
	mmio_write32(dev->common + PCI_COMMON_DEVICE_FEATURE_SELECT, word);
	return mmio_read32(dev->common + PCI_COMMON_DEVICE_FEATURE);
}

static void pci_driver_feature(struct virtio_device *dev, uint32_t word, uint32_t bits)
{
	mmio_write32(dev->common + PCI_COMMON_DRIVER_FEATURE_SELECT, word);
	mmio_write32(dev->common + PCI_COMMON_DRIVER_FEATURE, bits);
}

static uint32_t pci_generation(struct virtio_device *dev)
{
	return mmio_read8(dev->common + PCI_COMMON_GENERATION);
}

static void select(struct virtio_device *dev, unsigned queue)
{
	mmio_write16(dev->common + PCI_COMMON_QUEUE_SELECT, queue);
}

static uint16_t pci_queue_max(struct virtio_device *dev, unsigned queue)
{
	select(dev, queue);
	return mmio_read16(dev->common + PCI_COMMON_QUEUE_SIZE);
}

static void set_address(struct virtio_device *dev, unsigned reg, uint64_t address)
{
	mmio_write32(dev->common + reg, address);
	mmio_write32(dev->common + reg + 4, address >> 32);
}

static void pci_queue_set(
	struct virtio_device *dev, unsigned queue, const struct virtio_queue_areas *areas)
{
	uint32_t offset;

	select(dev, queue);
	mmio_write16(dev->common + PCI_COMMON_QUEUE_SIZE, areas->size);
	set_address(dev, PCI_COMMON_QUEUE_DESC, areas->descriptors);
	set_address(dev, PCI_COMMON_QUEUE_DRIVER, areas->driver);
	set_address(dev, PCI_COMMON_QUEUE_DEVICE, areas->device);
	if (dev->irq == VIRTIO_IRQ_MSIX)
		mmio_write16(dev->common + PCI_COMMON_QUEUE_VECTOR, 1 + queue);
	offset = mmio_read16(dev->common + PCI_COMMON_QUEUE_NOTIFY_OFF) * dev->notify_multiplier;
	dev->doorbell[queue] = dev->notify + offset;
	if (virtio_has(dev, VIRTIO_F_NOTIF_CONFIG_DATA))
		dev->names[queue] = mmio_read16(dev->common + PCI_COMMON_QUEUE_NOTIF_DATA);
}

static void pci_queue_enable(struct virtio_device *dev, unsigned queue)
{
	select(dev, queue);
	mmio_write16(dev->common + PCI_COMMON_QUEUE_ENABLE, 1);
}

static uint32_t pci_queue_enabled(struct virtio_device *dev, unsigned queue)
{
	select(dev, queue);
	return mmio_read16(dev->common + PCI_COMMON_QUEUE_ENABLE);
}

static void pci_queue_reset(struct virtio_device *dev, unsigned queue)
{
	select(dev, queue);
	mmio_write16(dev->common + PCI_COMMON_QUEUE_RESET, 1);
}

static uint32_t pci_queue_reset_state(struct virtio_device *dev, unsigned queue)
{
	select(dev, queue);
	return mmio_read16(dev->common + PCI_COMMON_QUEUE_RESET);
}

static void pci_set_config_vector(struct virtio_device *dev, unsigned entry)
{
	mmio_write16(dev->common + PCI_COMMON_CONFIG_VECTOR, entry);
}

static uint32_t pci_interrupt_status(struct virtio_device *dev)
{
	return mmio_read8(dev->isr);
}

void virtio_pci_interrupts(struct virtio_device *dev)
{
	int pin;

	if (dev->irq == VIRTIO_IRQ_MSIX) {
		if (!pci_msix_enable(dev->pci))
			SKIP("the function has no MSI-X");
		dev->config_vector = irq_vector();
		pci_msix_set(dev->pci, 0, dev->config_vector);
		for (unsigned i = 0; i < VIRTIO_QUEUES && i + 1 < dev->pci->msix_entries; i++) {
			dev->queue_vector[i] = irq_vector();
			pci_msix_set(dev->pci, i + 1, dev->queue_vector[i]);
		}
		return;
	}
	pci_msix_disable(dev->pci);
	if (dev->irq == VIRTIO_IRQ_NONE)
		return;
	pin = pci_intx_pin(dev->pci);
	if (pin < 0)
		SKIP("INTx is not routed on this machine");
	dev->line_vector = virtio_line_vector(dev);
	dev->pin = pin;
	ioapic_route(pin, dev->line_vector, IOAPIC_LEVEL);
}

/* BARs as they were placed, decoding on, MSI-X off. */
void virtio_pci_revive(struct virtio_device *dev)
{
	struct pci_function *f = dev->pci;

	pci_write16(f, PCI_COMMAND, 0);
	for (unsigned n = 0; n < 6; n++) {
		if (!f->bars[n].size)
			continue;
		pci_write32(f, PCI_BAR0 + 4 * n, f->bars[n].base);
		if (f->bars[n].wide)
			pci_write32(f, PCI_BAR0 + 4 * n + 4, f->bars[n].base >> 32);
	}
	pci_msix_disable(f);
	pci_enable(f);
}

static const struct virtio_transport transport = {
	.name = "pci",
	.status = pci_status,
	.set_status = pci_set_status,
	.device_feature = pci_device_feature,
	.driver_feature = pci_driver_feature,
	.generation = pci_generation,
	.queue_max = pci_queue_max,
	.queue_set = pci_queue_set,
	.queue_enable = pci_queue_enable,
	.queue_enabled = pci_queue_enabled,
	.queue_reset = pci_queue_reset,
	.queue_reset_state = pci_queue_reset_state,
	.interrupt_status = pci_interrupt_status,
	.config_read = virtio_config_load,
	.config_write = virtio_config_store,
	.set_config_vector = pci_set_config_vector,
	.interrupts = virtio_pci_interrupts,
	.revive = virtio_pci_revive,
};

static void use_capability(struct virtio_device *dev, uint8_t at)
{
	uint32_t head = pci_read32(dev->pci, at), offset = pci_read32(dev->pci, at + 8);
	uint32_t length = pci_read32(dev->pci, at + 12);
	volatile uint8_t *bar = NULL;

	/* 4.1.4: capabilities with a BAR above 5 are reserved, to be passed over. */
	if ((head >> 24) < CAP_COMMON || (head >> 24) > CAP_DEVICE ||
		pci_read8(dev->pci, at + 4) > 5)
		return;
	if ((head >> 24) == CAP_NOTIFY && !dev->notify && !dev->notify_port) {
		uint16_t port = pci_bar_io(dev->pci, pci_read8(dev->pci, at + 4));

		/* One register for all queues, or none that these drivers use. */
		if (port && pci_read32(dev->pci, at + 16) == 0)
			dev->notify_port = port + offset;
	}
	bar = pci_bar(dev->pci, pci_read8(dev->pci, at + 4));
	if (!bar)
		return;
	switch (head >> 24) {
	case CAP_COMMON:
		if (!dev->common) {
			dev->common = bar + offset;
			dev->common_length = length;
		}
		break;
	case CAP_NOTIFY:
		if (!dev->notify) {
			dev->notify = bar + offset;
			dev->notify_length = length;
			dev->notify_multiplier = pci_read32(dev->pci, at + 16);
		}
		break;
	case CAP_ISR:
		if (!dev->isr)
			dev->isr = bar + offset;
		break;
	case CAP_DEVICE:
		if (!dev->config) {
			dev->config = bar + offset;
			dev->config_length = length;
		}
		break;
	}
}

/* What was read of a function's capabilities stays true: it is not read again for each TEST. */
static struct virtio_device known[8];
static unsigned known_count;

static bool recall(struct virtio_device *dev, struct pci_function *f)
{
	for (unsigned i = 0; i < known_count; i++) {
		if (known[i].pci == f) {
			*dev = known[i];
			return true;
		}
	}
	return false;
}

/* 4.1.2.1: what a device of that type is called by its transitional id. */
static uint16_t transitional_id(uint32_t id)
{
	static const uint16_t ids[] = {[1] = 0x1000,
		[2] = 0x1001,
		[3] = 0x1003,
		[4] = 0x1005,
		[5] = 0x1002,
		[8] = 0x1004,
		[9] = 0x1009};

	return id < sizeof(ids) / sizeof(ids[0]) ? ids[id] : 0;
}

static struct pci_function *find_function(uint32_t id, unsigned index)
{
	struct pci_function *f;
	uint16_t old = transitional_id(id);

	for (unsigned n = 0; (f = pci_nth(n)); n++) {
		if (f->vendor != VENDOR || (f->device != 0x1040 + id && (!old || f->device != old)))
			continue;
		if (index-- == 0)
			return f;
	}
	return NULL;
}

static bool is_modern(const struct virtio_device *dev)
{
	return dev->common && dev->notify && dev->isr;
}

bool virtio_pci_use(struct virtio_device *dev, bool legacy)
{
	if (legacy)
		return virtio_pci_legacy_attach(dev);
	if (!is_modern(dev))
		return false;
	dev->transport = &transport;
	dev->legacy = false;
	dev->io = 0;
	return true;
}

bool virtio_pci_find(struct virtio_device *dev, uint32_t id, unsigned index)
{
	struct pci_function *f;

	if (!pci_present())
		return false;
	f = find_function(id, index);
	if (!f)
		return false;
	pci_enable(f);
	if (recall(dev, f))
		return true;
	dev->is_pci = true;
	dev->pci = f;
	for (uint8_t at = pci_capability(f, PCI_CAP_VENDOR, 0); at;
		at = pci_capability(f, PCI_CAP_VENDOR, at))
		use_capability(dev, at);
	for (unsigned i = 0; dev->notify && i < VIRTIO_QUEUES; i++)
		dev->doorbell[i] = dev->notify;
	if (!virtio_pci_use(dev, virtio_wants_legacy() || !is_modern(dev)))
		return false;
	if (known_count < sizeof(known) / sizeof(known[0]))
		known[known_count++] = *dev;
	return true;
}
