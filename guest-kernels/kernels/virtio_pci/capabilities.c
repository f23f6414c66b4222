/* SPDX-License-Identifier: MIT */
/* virtio over PCI: identity, header, capabilities, BARs, bus mastering (4.1.2, 4.1.4; PCI 3.0, 6).
 */
#include "virtio_pci.h"

#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"

TEST(identity, "PCI-DEV-02 PCI-DEV-03 PCI-DEV-05 PCI-DEV-06 PCI-DEV-07",
	"vendor, device, revision and subsystem are those of a block device, modern or "
	"transitional",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;

	EXPECT_EQ(pci_read16(f, PCI_VENDOR), 0x1af4);
	if (pci_read16(f, PCI_DEVICE) == 0x1001) {
		EXPECT_EQ(pci_read8(f, PCI_REVISION), 0);
		EXPECT_EQ(pci_read16(f, PCI_SUBSYSTEM), VIRTIO_ID_BLOCK);
	} else {
		EXPECT_EQ(pci_read16(f, PCI_DEVICE), 0x1042);
		EXPECT_GE(pci_read8(f, PCI_REVISION), 1);
		EXPECT_GE(pci_read16(f, PCI_SUBSYSTEM), 0x40);
	}
	EXPECT_NE(pci_read8(f, PCI_INTERRUPT_PIN), 0);
}

TEST(header_is_read_only, "PCI-DRV-13 PCI-DEV-01",
	"ids, class, pin and capability pointers do not change when written", DISK)
{
	static const uint8_t fields[] = {0x00, 0x08, 0x2c, 0x34};
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;

	for (unsigned i = 0; i < sizeof(fields); i++) {
		uint32_t before = pci_read32(f, fields[i]);

		pci_write32(f, fields[i], ~before);
		EXPECT_EQ(pci_read32(f, fields[i]), before);
	}
	pci_write8(f, PCI_INTERRUPT_PIN, 3);
	EXPECT_EQ(pci_read8(f, PCI_INTERRUPT_PIN), f->pin);
	for (uint8_t at = pci_capability(f, PCI_CAP_VENDOR, 0); at;
		at = pci_capability(f, PCI_CAP_VENDOR, at)) {
		uint32_t before = pci_read32(f, at);

		if (before >> 24 == 5)
			continue;
		pci_write32(f, at, ~before);
		pci_write32(f, at + 8, 0x10);
		EXPECT_EQ(pci_read32(f, at), before);
		EXPECT_NE(pci_read32(f, at + 12), 0);
	}
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	raw_serves(d);
}

TEST(capability_list_is_sane, "PCI-DEV-01",
	"the capability list ends, is aligned, and no two capabilities overlap", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;
	uint8_t used[256] = {0}, at = pci_read8(f, PCI_CAPABILITIES);
	unsigned steps = 0;

	while (at) {
		unsigned length = 4, id = pci_read8(f, at);

		ASSERT_LT(steps++, 48);
		ASSERT_GE(at, 0x40);
		EXPECT_EQ(at & 3, 0);
		if (id == PCI_CAP_VENDOR)
			length = pci_read8(f, at + 2);
		else if (id == PCI_CAP_MSIX)
			length = 12;
		for (unsigned i = at; i < at + length && i < 256; i++)
			EXPECT_EQ(used[i]++, 0);
		EXPECT_LE(at + length, 256);
		at = pci_read8(f, at + 1);
	}
	EXPECT_GE(steps, 5);
}

TEST(structures_are_present, "PCI-DEV-13 PCI-DEV-29 PCI-DEV-38 PCI-DEV-49 PCI-DEV-64",
	"there is a capability for each of common, notify, ISR, device and PCI access", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;
	unsigned seen[6] = {0};

	for (uint8_t at = pci_capability(f, PCI_CAP_VENDOR, 0); at;
		at = pci_capability(f, PCI_CAP_VENDOR, at)) {
		unsigned type = pci_read8(f, at + 3);

		if (type < 6)
			seen[type]++;
	}
	for (unsigned type = 1; type < 6; type++) {
		if (!EXPECT_GE(seen[type], 1))
			note("type %u", type);
	}
}

TEST(capabilities_fit, "PCI-DEV-09 PCI-DEV-12 PCI-DEV-43 PCI-DEV-30",
	"cap_len covers each structure, and offset and length are aligned and inside the BAR", DISK)
{
	static const uint8_t least[] = {0, 16, 20, 16, 16, 20};
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;

	for (uint8_t at = pci_capability(f, PCI_CAP_VENDOR, 0); at;
		at = pci_capability(f, PCI_CAP_VENDOR, at)) {
		unsigned type = pci_read8(f, at + 3), bar = pci_read8(f, at + 4);
		uint32_t offset = pci_read32(f, at + 8), length = pci_read32(f, at + 12);

		if (type < 1 || type > 5)
			continue;
		EXPECT_GE(pci_read8(f, at + 2), least[type]);
		if (type == 5)
			continue;
		ASSERT_LT(bar, 6);
		EXPECT_NE(f->bars[bar].size, 0);
		EXPECT_LE((uint64_t)offset + length, f->bars[bar].size);
		EXPECT_EQ(offset & (type == 3 ? 0 : type == 2 ? 1 : 3), 0);
		if (type == 1)
			EXPECT_GE(length, 56);
		if (type == 4)
			EXPECT_GE(length, BLK_C_SECTORS);
	}
}

TEST(doorbells_fit, "PCI-DEV-31 PCI-DEV-32a PCI-DEV-32b PCI-DEV-33",
	"the multiplier is 0 or a power of two and each queue's doorbell is in the region", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint32_t multiplier = d->dev.notify_multiplier;
	unsigned queues = common16(d, PCI_COMMON_NUM_QUEUES);

	EXPECT_EQ(multiplier & (multiplier - 1), 0);
	EXPECT_NE(multiplier, 1);
	EXPECT_GE(d->dev.notify_length, 2);
	EXPECT_GE(queues, 1);
	for (unsigned q = 0; q < queues; q++) {
		set_common16(d, PCI_COMMON_QUEUE_SELECT, q);
		EXPECT_LE(common16(d, PCI_COMMON_QUEUE_NOTIFY_OFF) * multiplier + 2,
			d->dev.notify_length);
	}
}

TEST(bars_can_be_sized, "PCI-DEV-01",
	"sizing all BARs gives powers of two, restores them, and the device still works", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;
	uint16_t command = pci_read16(f, PCI_COMMAND);

	pci_write16(f, PCI_COMMAND, 0);
	for (unsigned n = 0; n < 6; n++) {
		uint32_t before = pci_read32(f, PCI_BAR0 + 4 * n), mask;

		pci_write32(f, PCI_BAR0 + 4 * n, 0xffffffff);
		mask = pci_read32(f, PCI_BAR0 + 4 * n) & ~0xfu;
		pci_write32(f, PCI_BAR0 + 4 * n, before);
		EXPECT_EQ(pci_read32(f, PCI_BAR0 + 4 * n), before);
		if (mask)
			EXPECT_EQ(-mask & (-mask - 1), 0);
	}
	pci_write16(f, PCI_COMMAND, command);
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	raw_serves(d);
}

TEST(bar_can_be_moved, "PCI-DEV-01",
	"after its BAR was moved the registers answer at the new place only", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;
	uint64_t place = 0xe8000000;
	uint16_t command = pci_read16(f, PCI_COMMAND);
	unsigned bar = 0, queues = common16(d, PCI_COMMON_NUM_QUEUES);
	int64_t delta;

	while (bar < 6 && (!f->bars[bar].size || phys(d->dev.common) < f->bars[bar].base ||
				  phys(d->dev.common) >= f->bars[bar].base + f->bars[bar].size))
		bar++;
	ASSERT_LT(bar, 6);
	delta = place - f->bars[bar].base;
	pci_write16(f, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
	pci_write32(f, PCI_BAR0 + 4 * bar, place);
	if (f->bars[bar].wide)
		pci_write32(f, PCI_BAR0 + 4 * bar + 4, 0);
	pci_write16(f, PCI_COMMAND, command);
	EXPECT_NE(mmio_read16(d->dev.common + PCI_COMMON_NUM_QUEUES), queues);
	d->dev.common += delta;
	d->dev.isr += delta;
	d->dev.config += delta;
	d->dev.notify += delta;
	EXPECT_EQ(common16(d, PCI_COMMON_NUM_QUEUES), queues);
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	raw_serves(d);
	ASSERT_TRUE(virtio_reset(&d->dev));
}

TEST(bus_master_off, "PCI-DEV-01",
	"without bus mastering nothing is written to memory and no message comes; with it again "
	"requests are served",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;
	uint16_t command = pci_read16(f, PCI_COMMAND);
	uint32_t before;

	raw_serves(d);
	delay_us(2000);
	before = virtio_queue_interrupts(&d->dev, 0);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	memset(d->data, 0x66, 512);
	pci_write16(f, PCI_COMMAND, command & ~PCI_COMMAND_MASTER);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_TRUE(memory_is(d->data, 0x66, 512, NULL));
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), before);
	pci_write16(f, PCI_COMMAND, command);
	if (raw_strict()) {
		raw_kick(&d->ring);
		ASSERT_TRUE(raw_used(&d->ring, 1));
		EXPECT_EQ(*d->status, BLK_S_OK);
	}
	raw_recovers(d);
}
