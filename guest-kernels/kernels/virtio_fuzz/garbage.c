/* SPDX-License-Identifier: MIT */
/*
 * Garbage with structure, so that it gets far: mostly values that mean something where they stand,
 * now and then any.  Addresses are those of victim.h: of the pool, of rings and tables as the
 * format allows it, or where nothing is.
 */
#include "victim.h"

/* Not where a write of a device is an interrupt (0xfee00000) or moves one (an I/O APIC). */
static uint64_t nowhere(void)
{
	switch (below(4)) {
	case 0: return 0xe0000000u;
	case 1: return UINT64_MAX - below(64);
	case 2: return (random64() | 1ul << 52) & ~15ul;
	default: return DISTANT + below(64);
	}
}

/* `length` bytes of the pool, or less by chance. */
static uint64_t in_pool(const struct victim *v, uint32_t *length)
{
	uint32_t at = below(POOL);

	if (*length > POOL - at)
		*length = POOL - at;
	return phys(v->pool) + at;
}

void garbage_descriptor(struct victim *v, struct ring_descriptor *to, uint16_t size)
{
	static const uint32_t lengths[] = {0, 1, 15, 16, 17, 20, 32, 511, 512, 513, 1024, 4096};
	uint32_t length = below(3) ? lengths[below(12)] : below(2048);
	uint16_t flags = below(8) ? below(4) : below(8), next = below(size);
	uint64_t address;

	if (flags & RING_INDIRECT) {
		unsigned first = below(TABLES);

		address = phys(v->tables + first);
		length = 16 * (1 + below(TABLES - first)) + (below(8) ? 0 : below(16));
	} else if (below(12)) {
		address = in_pool(v, &length);
	} else {
		address = nowhere();
		/* QEMU 7.2 makes 4 GiB of entropy before it looks where they go. */
		if (below(2) && (v->kind != &kind_entropy || cmdline_number("strict", 0)))
			length = UINT32_MAX - below(64);
		if (v->dev.mmio && !below(3)) {
			/* Its own registers, up to those that could name other memory. */
			address = phys(v->dev.mmio);
			length = 16;
		} else if (v->dev.common && !below(3)) {
			address = phys(v->dev.common);
			length = 16;
		}
	}
	if (!below(16))
		next = random64();
	if (!below(16))
		flags |= random64() & ~7u;
	if (virtio_has(&v->dev, VIRTIO_F_RING_PACKED))
		*to = (struct ring_descriptor){address, length, next,
			(flags & 7) | (below(4) ? 0x80 : random64() & 0x8080)};
	else
		*to = (struct ring_descriptor){address, length, flags, next};
}

/* Headers that mean something to a disk lie all over the pool. */
static void headers(struct victim *v)
{
	static const uint32_t types[] = {0, 1, 4, 8, 11, 13, 14, 15, 16, 0x80000000};

	for (unsigned i = 0; i < 12; i++) {
		uint64_t *at = (uint64_t *)(v->pool + 16 * below(POOL / 16 - 2));

		at[0] = types[below(10)];
		at[1] = below(6) ? below(1024) : random64();
		at[2] = below(1024);
		at[3] = below(16) | (uint64_t)below(3) << 32;
	}
}

void garbage_in_rings(struct victim *v)
{
	for (unsigned q = 0; q < QUEUES; q++) {
		struct garbage_ring *ring = &v->rings[q];
		uint16_t count = ring->size < ENTRIES ? ring->size : ENTRIES;

		if (q != v->kind->queue && below(3))
			continue;
		for (unsigned i = 0; i < count; i++)
			garbage_descriptor(v, &ring->descriptors[i], count);
		if (virtio_has(&v->dev, VIRTIO_F_RING_PACKED) || !count)
			continue;
		for (unsigned i = 0; i < count; i++)
			ring->avail->ring[i] = below(20) ? below(count) : random64();
		*ring_used_event(ring->avail, ring->size) = random64();
		ring->avail->flags = below(2);
	}
	for (unsigned i = 0; i < TABLES; i++)
		garbage_descriptor(v, &v->tables[i], TABLES);
	headers(v);
}

void garbage_publish(struct victim *v, unsigned queue)
{
	struct garbage_ring *ring = &v->rings[queue];

	if (!ring->size)
		return;
	if (!virtio_has(&v->dev, VIRTIO_F_RING_PACKED)) {
		uint16_t more = below(10) ? 1 + below(4) : random64();

		compiler_barrier();
		ring->avail->idx += more;
	} else {
		uint32_t *event = (uint32_t *)ring->avail;

		*event = below(3) | (uint32_t)below(0x10000) << 16;
	}
	full_barrier();
	virtio_notify(&v->dev, queue);
}

void garbage_doorbell(struct victim *v)
{
	uint32_t value = below(2) ? below(4) : random64();

	if (!v->dev.is_pci)
		mmio_write32(v->dev.mmio + MMIO_QUEUE_NOTIFY, value);
	else if (v->dev.legacy)
		outw(v->dev.io + PCI_LEGACY_QUEUE_NOTIFY, value);
	else if (v->dev.notify)
		mmio_write16(v->dev.notify + (below(v->dev.notify_length) & ~1u), value);
}

/* --- registers --- */

static uint32_t any_value(void)
{
	static const uint32_t values[] = {
		0, 1, 2, 3, 4, 7, 8, 11, 15, 16, 64, 128, 255, 256, 0x7fff, 0xffff, 0xffffffff};

	return below(4) ? values[below(17)] : random64();
}

/* Half of a queue's address: with its other half it is the tables (for what the device reads), the
 * pool (for what it writes) or nowhere. */
static uint32_t any_half(const struct victim *v, unsigned offset)
{
	unsigned device_area = v->dev.is_pci ? PCI_COMMON_QUEUE_DEVICE : MMIO_QUEUE_DEVICE;

	if (offset & 4)
		return below(3) ? 0 : 0xffff0000u + below(0x10000);
	if (!below(4))
		return DISTANT;
	return offset == device_area ? phys(v->pool) : phys(v->tables);
}

static void write_register(volatile uint8_t *at, unsigned size, uint32_t value)
{
	switch (size) {
	case 1: mmio_write8(at, value); break;
	case 2: mmio_write16(at, value); break;
	default: mmio_write32(at, value);
	}
}

static void read_register(volatile uint8_t *at, unsigned size)
{
	switch (size) {
	case 1: mmio_read8(at); break;
	case 2: mmio_read16(at); break;
	default: mmio_read32(at);
	}
}

/* Where a whole ring lies, in pages. */
static uint32_t any_page(const struct victim *v)
{
	switch (below(4)) {
	case 0: return 0;
	case 1: return UINT32_MAX >> below(8);
	default: return phys(v->rings[below(QUEUES)].area) >> 12;
	}
}

/* By the legacy interface of PCI.  A ring has the size that the device says. */
static void garbage_port(struct victim *v)
{
	unsigned size = 1u << below(3), offset = below(0x40) & ~(size - 1);
	uint16_t port = v->dev.io + offset;
	uint32_t value = any_value();

	if (!below(4)) {
		(void)(size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port));
	} else if ((offset & ~3u) == PCI_LEGACY_QUEUE_ADDRESS) {
		outl(v->dev.io + PCI_LEGACY_QUEUE_ADDRESS, any_page(v));
	} else if (size == 1) {
		outb(port, value);
	} else if (size == 2) {
		outw(port, value);
	} else {
		outl(port, value);
	}
}

/* Of version 1: with its pages and its alignment a ring stays in its area. */
static bool garbage_of_version_1(struct victim *v, unsigned offset)
{
	switch (offset & ~3u) {
	case MMIO_GUEST_PAGE_SIZE: mmio_write32(v->dev.mmio + MMIO_GUEST_PAGE_SIZE, 4096); break;
	case MMIO_QUEUE_ALIGN: mmio_write32(v->dev.mmio + MMIO_QUEUE_ALIGN, 1u << below(13)); break;
	case MMIO_QUEUE_PFN: mmio_write32(v->dev.mmio + MMIO_QUEUE_PFN, any_page(v)); break;
	default: return false;
	}
	return true;
}

/* Offsets of queue addresses, where only whole halves that lead nowhere are written. */
static bool is_address(const struct victim *v, unsigned offset)
{
	if (v->dev.is_pci)
		return offset >= PCI_COMMON_QUEUE_DESC && offset < PCI_COMMON_QUEUE_DEVICE + 8;
	return offset >= MMIO_QUEUE_DESC && offset < MMIO_QUEUE_DEVICE + 8;
}

static bool is_size(const struct victim *v, unsigned offset)
{
	return (offset & ~3u) ==
	       (v->dev.is_pci ? (unsigned)PCI_COMMON_QUEUE_SIZE : MMIO_QUEUE_SIZE);
}

void garbage_register(struct victim *v)
{
	static const uint8_t mmio[] = {0x14, 0x24, 0x20, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70, 0xac,
		0xc0, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4};
	unsigned size = 1u << below(3), offset;
	volatile uint8_t *registers = v->dev.is_pci ? v->dev.common : v->dev.mmio;
	bool config = v->dev.config && !below(6);

	if (v->dev.is_pci && v->dev.legacy) {
		garbage_port(v);
		return;
	}
	if (config) {
		registers = v->dev.config;
		offset = below(64);
	} else if (v->dev.is_pci) {
		offset = below(0x40);
	} else {
		offset = below(3) ? mmio[below(17)] : below(0x100);
	}
	offset &= ~(size - 1);
	if (!below(4)) {
		read_register(registers + offset, size);
	} else if (!config && !v->dev.is_pci && garbage_of_version_1(v, offset)) {
		return;
	} else if (!config && is_size(v, offset)) {
		/* No larger than the areas have room for. */
		offset &= ~3u;
		write_register(registers + offset, v->dev.is_pci ? 2 : 4,
			any_value() % (v->rings[0].size + 1u));
	} else if (!config && is_address(v, offset)) {
		offset &= ~3u;
		write_register(registers + offset, 4, any_half(v, offset));
	} else {
		write_register(registers + offset, size, any_value());
	}
}

/* All but BARs, and the window of 4.1.4.9, which reaches any register of any BAR: through it
 * everything is read, and all ones are written. */
void garbage_in_configuration_space(struct victim *v)
{
	struct pci_function *f = v->dev.pci;
	unsigned offset = below(256) & ~3u, at = 0;

	do
		at = pci_capability(f, PCI_CAP_VENDOR, at);
	while (at && pci_read8(f, at + 3) != 5);
	if (at && below(2)) {
		pci_write8(f, at + 4, below(3) ? 4 : below(8));
		pci_write32(f, at + 8, below(2) ? below(0x40) : random64());
		pci_write32(f, at + 12, below(3) ? 1u << below(3) : random64());
		if (below(2))
			(void)pci_read32(f, at + 16);
		else
			pci_write32(f, at + 16, UINT32_MAX);
		return;
	}
	if (offset >= PCI_BAR0 && offset < PCI_CAPABILITIES)
		offset = PCI_COMMAND;
	if (f->msix && offset == (f->msix & ~3u))
		return; /* its table was not filled in */
	if (at && offset >= at + 16 && offset < at + 20)
		return;
	if (offset == PCI_COMMAND)
		pci_write16(f, offset, random64() & 0x7ff);
	else
		pci_write32(f, offset, any_value());
}
