/* SPDX-License-Identifier: MIT */
/*
 * virtio over PCI (virtio 1.4, 4.1): identity, capabilities, the common configuration, ISR, MSI-X, INTx,
 * the configuration-space window, queue reset; on a virtio-blk disk.
 */
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK NEEDS("pci disk:virtio")

#define common16(d, reg)	   mmio_read16((d)->dev.common + (reg))
#define common32(d, reg)	   mmio_read32((d)->dev.common + (reg))
#define set_common16(d, reg, value) mmio_write16((d)->dev.common + (reg), (value))
#define set_common32(d, reg, value) mmio_write32((d)->dev.common + (reg), (value))

/* The disk with interrupts of that kind, running. */
static struct raw_disk *disk_with(enum virtio_irq irq, uint64_t features)
{
	struct raw_disk *d = raw_disk_find();

	virtio_interrupts(&d->dev, irq);
	ASSERT_TRUE(raw_disk_start(d, features, 0));
	return d;
}

TEST(identity, "PCI-DEV-02 PCI-DEV-03 PCI-DEV-05 PCI-DEV-06 PCI-DEV-07",
	"vendor, device, revision and subsystem are those of a modern block device", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;

	EXPECT_EQ(pci_read16(f, PCI_VENDOR), 0x1af4);
	EXPECT_EQ(pci_read16(f, PCI_DEVICE), 0x1042);
	EXPECT_GE(pci_read8(f, PCI_REVISION), 1);
	EXPECT_GE(pci_read16(f, PCI_SUBSYSTEM), 0x40);
	EXPECT_NE(pci_read8(f, PCI_INTERRUPT_PIN), 0);
}

TEST(header_is_read_only, "PCI-DRV-13 PCI-DEV-01", "ids, class, pin and capability pointers do not change when written", DISK)
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
	for (uint8_t at = pci_capability(f, PCI_CAP_VENDOR, 0); at; at = pci_capability(f, PCI_CAP_VENDOR, at)) {
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

TEST(capability_list_is_sane, "PCI-DEV-01", "the capability list ends, is aligned, and no two capabilities overlap", DISK)
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

	for (uint8_t at = pci_capability(f, PCI_CAP_VENDOR, 0); at; at = pci_capability(f, PCI_CAP_VENDOR, at)) {
		unsigned type = pci_read8(f, at + 3);

		if (type < 6)
			seen[type]++;
	}
	for (unsigned type = 1; type < 6; type++) {
		if (!EXPECT_GE(seen[type], 1))
			note("type %u", type);
	}
}

TEST(capabilities_fit, "PCI-DEV-09 PCI-DEV-12 PCI-DEV-43 PCI-DEV-44 PCI-DEV-30",
	"cap_len covers each structure, and offset and length are aligned and inside the BAR", DISK)
{
	static const uint8_t least[] = {0, 16, 20, 16, 16, 20};
	struct raw_disk *d = raw_disk_find();
	struct pci_function *f = d->dev.pci;

	for (uint8_t at = pci_capability(f, PCI_CAP_VENDOR, 0); at; at = pci_capability(f, PCI_CAP_VENDOR, at)) {
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

TEST(doorbells_fit, "PCI-DEV-31 PCI-DEV-32a PCI-DEV-32b PCI-DEV-33", "the multiplier is 0 or a power of two and each queue's doorbell is in the region", DISK)
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
		EXPECT_LE(common16(d, PCI_COMMON_QUEUE_NOTIFY_OFF) * multiplier + 2, d->dev.notify_length);
	}
}

TEST(bars_can_be_sized, "PCI-DEV-01", "sizing all BARs gives powers of two, restores them, and the device still works", DISK)
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

TEST(bar_can_be_moved, "PCI-DEV-01", "after its BAR was moved the registers answer at the new place only", DISK)
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

TEST(bus_master_off, "PCI-DEV-01", "without bus mastering nothing is written to memory and no message comes; with it again requests are served", DISK)
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

TEST(common_read_only_fields, "PCI-DRV-14", "num_queues, config_generation, queue_notify_off and device_feature do not change when written", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint16_t queues = common16(d, PCI_COMMON_NUM_QUEUES), notify;
	uint8_t generation = mmio_read8(d->dev.common + PCI_COMMON_GENERATION);
	uint64_t offered = virtio_offered(&d->dev);

	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	notify = common16(d, PCI_COMMON_QUEUE_NOTIFY_OFF);
	set_common16(d, PCI_COMMON_NUM_QUEUES, queues + 5);
	mmio_write8(d->dev.common + PCI_COMMON_GENERATION, generation + 1);
	set_common16(d, PCI_COMMON_QUEUE_NOTIFY_OFF, notify + 1);
	set_common32(d, PCI_COMMON_DEVICE_FEATURE, 0);
	EXPECT_EQ(common16(d, PCI_COMMON_NUM_QUEUES), queues);
	EXPECT_EQ(mmio_read8(d->dev.common + PCI_COMMON_GENERATION), generation);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_NOTIFY_OFF), notify);
	EXPECT_EQ(virtio_offered(&d->dev), offered);
}

TEST(address_halves_are_independent, "PCI-DEV-08", "each half of a 64-bit queue address is stored and read by itself", DISK)
{
	struct raw_disk *d = raw_disk_find();

	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	for (unsigned reg = PCI_COMMON_QUEUE_DESC; reg <= PCI_COMMON_QUEUE_DEVICE; reg += 8) {
		set_common32(d, reg + 4, 0x12345678);
		set_common32(d, reg, 0x9abcdef0 + reg);
		EXPECT_EQ(common32(d, reg), 0x9abcdef0 + reg);
		EXPECT_EQ(common32(d, reg + 4), 0x12345678);
		set_common32(d, reg + 4, 0);
		EXPECT_EQ(common32(d, reg), 0x9abcdef0 + reg);
		EXPECT_EQ(common32(d, reg + 4), 0);
	}
}

TEST(absent_queue_has_size_0, "PCI-DEV-25", "the size of a queue that does not exist reads 0, and writes to it touch no other", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint16_t queues = common16(d, PCI_COMMON_NUM_QUEUES);

	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0xffff);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SIZE), 0);
	set_common16(d, PCI_COMMON_QUEUE_SELECT, queues);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SIZE), 0);
	set_common16(d, PCI_COMMON_QUEUE_SIZE, 8);
	set_common32(d, PCI_COMMON_QUEUE_DESC, 0x1000);
	set_common16(d, PCI_COMMON_QUEUE_ENABLE, 1);
	for (unsigned q = 0; q < queues; q++) {
		set_common16(d, PCI_COMMON_QUEUE_SELECT, q);
		EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_ENABLE), 0);
		EXPECT_EQ(common32(d, PCI_COMMON_QUEUE_DESC), 0);
	}
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	raw_serves(d);
}

TEST(queue_sizes_are_powers_of_two, "PCI-DEV-26", "each queue's size is a power of two up to 32768", DISK)
{
	struct raw_disk *d = raw_disk_find();
	unsigned queues = common16(d, PCI_COMMON_NUM_QUEUES);

	for (unsigned q = 0; q < queues; q++) {
		uint16_t size;

		set_common16(d, PCI_COMMON_QUEUE_SELECT, q);
		size = common16(d, PCI_COMMON_QUEUE_SIZE);
		EXPECT_NE(size, 0);
		EXPECT_EQ(size & (size - 1), 0);
		EXPECT_LE(size, 32768);
	}
}

TEST(queue_size_can_be_reduced, "PCI-DEV-26", "a smaller size is kept, and reset brings the maximum back", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint16_t max;

	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	max = common16(d, PCI_COMMON_QUEUE_SIZE);
	set_common16(d, PCI_COMMON_QUEUE_SIZE, max / 2);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SIZE), max / 2);
	ASSERT_TRUE(virtio_reset(&d->dev));
	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SIZE), max);
}

TEST(illegal_queue_sizes, "PCI-DRV-16", "sizes 0, 3 and beyond the maximum are not taken", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint16_t max;

	if (!raw_strict())
		SKIP("the text forbids drivers to write these and says nothing of the device");
	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	max = common16(d, PCI_COMMON_QUEUE_SIZE);
	set_common16(d, PCI_COMMON_QUEUE_SIZE, 0);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SIZE), max);
	set_common16(d, PCI_COMMON_QUEUE_SIZE, 3);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SIZE), max);
	set_common16(d, PCI_COMMON_QUEUE_SIZE, max * 2);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SIZE), max);
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	raw_serves(d);
}

TEST(enabled_queue_keeps_its_geometry, "PCI-DRV-17 PCI-DRV-19", "writes to a live queue's size, addresses and enable do not move it", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	if (!raw_strict())
		SKIP("the text forbids drivers to write these and says nothing of the device");
	raw_serves(d);
	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	set_common16(d, PCI_COMMON_QUEUE_SIZE, 2);
	set_common32(d, PCI_COMMON_QUEUE_DESC, 0x1000);
	set_common16(d, PCI_COMMON_QUEUE_ENABLE, 0);
	set_common16(d, PCI_COMMON_QUEUE_ENABLE, 2);
	set_common16(d, PCI_COMMON_QUEUE_ENABLE, 1);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_ENABLE), 1);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SIZE), d->ring.size);
	raw_serves(d);
	EXPECT_EQ(d->ring.used->idx, 4);
}

TEST(enable_before_addresses, "PCI-DRV-17", "a queue enabled without addresses does not run at address 0, and a reset leads back", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint8_t *low = (uint8_t *)0x600, saved[64];

	memcpy(saved, low, sizeof(saved));
	memset(low, 0x5a, sizeof(saved));
	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT));
	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	set_common16(d, PCI_COMMON_QUEUE_ENABLE, 1);
	virtio_driver_ok(&d->dev);
	mmio_write16(d->dev.doorbell[0], 0);
	delay_us(2000);
	EXPECT_TRUE(memory_is(low, 0x5a, sizeof(saved), NULL));
	memcpy(low, saved, sizeof(saved));
	if (raw_strict())
		EXPECT_TRUE(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET);
	raw_recovers(d);
}

TEST(feature_words_beyond_are_0, "PCI-DEV-14", "device_feature reads 0 for selects beyond the defined words", DISK)
{
	struct raw_disk *d = raw_disk_find();
	static const uint32_t words[] = {2, 3, 4, 0x80000000, 0xffffffff};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		EXPECT_EQ(d->dev.transport->device_feature(&d->dev, words[i]), 0);
		EXPECT_EQ(common32(d, PCI_COMMON_DEVICE_FEATURE_SELECT), words[i]);
	}
	EXPECT_NE(virtio_offered(&d->dev), 0);
}

TEST(driver_features_read_back, "PCI-DEV-15", "driver_feature reads back what was written, for each word", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t offered = virtio_offered(&d->dev);

	virtio_set_status(&d->dev, 3);
	virtio_accept(&d->dev, offered);
	set_common32(d, PCI_COMMON_DRIVER_FEATURE_SELECT, 0);
	EXPECT_EQ(common32(d, PCI_COMMON_DRIVER_FEATURE), offered & 0xffffffff);
	set_common32(d, PCI_COMMON_DRIVER_FEATURE_SELECT, 1);
	EXPECT_EQ(common32(d, PCI_COMMON_DRIVER_FEATURE), offered >> 32);
}

TEST(odd_widths_disturb_no_neighbour, "PCI-DRV-05", "accesses of a wrong width leave the neighbouring registers as they were", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint16_t vector;

	set_common16(d, PCI_COMMON_QUEUE_SELECT, 1);
	vector = common16(d, PCI_COMMON_QUEUE_VECTOR);
	mmio_write8(d->dev.common + PCI_COMMON_QUEUE_SIZE, 8);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SELECT), 1);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_VECTOR), vector);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_ENABLE), 0);
	raw_recovers(d);
}

TEST(reset_unmaps_vectors, "PCI-DEV-58 PCI-DEV-19", "after a reset every vector register reads NO_VECTOR and no queue is enabled", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	unsigned queues = common16(d, PCI_COMMON_NUM_QUEUES);

	EXPECT_EQ(common16(d, PCI_COMMON_CONFIG_VECTOR), 0);
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(common16(d, PCI_COMMON_CONFIG_VECTOR), VIRTIO_NO_VECTOR);
	for (unsigned q = 0; q < queues; q++) {
		set_common16(d, PCI_COMMON_QUEUE_SELECT, q);
		EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_VECTOR), VIRTIO_NO_VECTOR);
		EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_ENABLE), 0);
	}
}

TEST(vector_count, "PCI-DEV-52 PCI-DEV-53", "MSI-X has between 2 and 2048 vectors, table and PBA inside their BAR", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;
	uint32_t table = pci_read32(f, f->msix + 4), pba = pci_read32(f, f->msix + 8);

	EXPECT_GE(f->msix_entries, 2);
	EXPECT_LE(f->msix_entries, 2048);
	EXPECT_LE((table & ~7u) + 16 * f->msix_entries, f->bars[table & 7].size);
	EXPECT_LE((pba & ~7u) + (f->msix_entries + 63) / 64 * 8, f->bars[pba & 7].size);
}

TEST(any_event_to_any_vector, "PCI-DEV-55 PCI-DEV-57 PCI-DEV-59", "the queue can be mapped to each vector in turn, which reads back and is the one that comes", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;

	for (unsigned entry = 0; entry < f->msix_entries && entry < 4; entry++) {
		unsigned vector = irq_vector();

		pci_msix_set(f, entry, vector);
		set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
		set_common16(d, PCI_COMMON_QUEUE_VECTOR, entry);
		EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_VECTOR), entry);
		set_common16(d, PCI_COMMON_CONFIG_VECTOR, entry);
		EXPECT_EQ(common16(d, PCI_COMMON_CONFIG_VECTOR), entry);
		EXPECT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
		EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, RAW_ANSWER_US));
	}
}

TEST(no_vector_no_interrupt, "PCI-DEV-56 PCI-DEV-61", "a queue mapped to NO_VECTOR brings no interrupt of any kind", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	uint32_t before = irq_total();

	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	set_common16(d, PCI_COMMON_QUEUE_VECTOR, VIRTIO_NO_VECTOR);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_VECTOR), VIRTIO_NO_VECTOR);
	raw_serves(d);
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(irq_total(), before);
}

static void break_ring(struct raw_disk *d)
{
	raw_publish(&d->ring, d->ring.size);
	raw_kick(&d->ring);
	if (!WAIT_UNTIL(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET, RAW_ANSWER_US))
		SKIP("this device does not set NEEDS_RESET, so nothing here changes its configuration");
}

TEST(no_config_vector_no_interrupt, "PCI-DEV-56 PCI-DEV-62", "with the configuration vector unmapped a configuration change brings no interrupt", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	uint32_t before = irq_total();

	set_common16(d, PCI_COMMON_CONFIG_VECTOR, VIRTIO_NO_VECTOR);
	break_ring(d);
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(irq_total(), before);
}

TEST(isr_shows_configuration_changes_with_msix, "PCI-DEV-39", "the ISR's configuration bit is set although MSI-X is on", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);

	break_ring(d);
	EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&d->dev) == 1, RAW_ANSWER_US));
	EXPECT_EQ(mmio_read8(d->dev.isr) & 2, 2);
	EXPECT_EQ(mmio_read8(d->dev.isr), 0);
}

TEST(vectors_beyond_the_table, "PCI-DEV-60 PCI-DRV-33", "mapping to a vector that does not exist reads back as NO_VECTOR", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	uint16_t bad[] = {d->dev.pci->msix_entries, d->dev.pci->msix_entries + 1, 0xfffe};

	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	for (unsigned i = 0; i < 3; i++) {
		set_common16(d, PCI_COMMON_QUEUE_VECTOR, bad[i]);
		EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_VECTOR), VIRTIO_NO_VECTOR);
		set_common16(d, PCI_COMMON_CONFIG_VECTOR, bad[i]);
		EXPECT_EQ(common16(d, PCI_COMMON_CONFIG_VECTOR), VIRTIO_NO_VECTOR);
	}
	raw_recovers(d);
}

static void several(struct raw_disk *d, unsigned n)
{
	while (n--)
		ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
}

TEST(masked_vector_is_pending, "PCI-DEV-01", "a masked vector is pending after a completion, and sends one message when unmasked", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;

	pci_msix_mask(f, 1, true);
	EXPECT_FALSE(pci_msix_pending(f, 1));
	several(d, 3);
	EXPECT_TRUE(WAIT_UNTIL(pci_msix_pending(f, 1), RAW_ANSWER_US));
	delay_us(2000);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 0);
	pci_msix_mask(f, 1, false);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == 1, RAW_ANSWER_US));
	EXPECT_FALSE(pci_msix_pending(f, 1));
	delay_us(2000);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 1);
	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == 2, RAW_ANSWER_US));
}

TEST(masked_function_is_pending, "PCI-DEV-01", "the function mask holds all vectors back, and lifting it sends what is pending", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;

	pci_write16(f, f->msix + 2, 0xc000);
	several(d, 2);
	EXPECT_TRUE(WAIT_UNTIL(pci_msix_pending(f, 1), RAW_ANSWER_US));
	delay_us(2000);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 0);
	pci_write16(f, f->msix + 2, 0x8000);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == 1, RAW_ANSWER_US));
	EXPECT_FALSE(pci_msix_pending(f, 1));
}

TEST(pending_message_uses_the_new_data, "PCI-DEV-01", "an entry rewritten while masked and pending sends its new data", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;
	unsigned fresh = irq_vector();

	pci_msix_mask(f, 1, true);
	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(pci_msix_pending(f, 1), RAW_ANSWER_US));
	mmio_write32((volatile uint8_t *)f->msix_table + 16 + 8, fresh);
	pci_msix_mask(f, 1, false);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(fresh) == 1, RAW_ANSWER_US));
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 0);
}

TEST(pending_bits_are_read_only, "PCI-DEV-01", "writes to the pending bits change nothing", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;

	mmio_write32((volatile uint8_t *)f->msix_pba, 0xffffffff);
	EXPECT_EQ(mmio_read32((volatile uint8_t *)f->msix_pba), 0);
	pci_msix_mask(f, 1, true);
	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(pci_msix_pending(f, 1), RAW_ANSWER_US));
	mmio_write32((volatile uint8_t *)f->msix_pba, 0);
	EXPECT_TRUE(pci_msix_pending(f, 1));
}

TEST(isr_is_set_and_cleared_by_reading, "PCI-DEV-40 PCI-DEV-42", "with INTx the ISR reads 1 after a request and then 0", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_NONE, RAW_DEFAULT);

	EXPECT_EQ(mmio_read8(d->dev.isr), 0);
	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, RAW_ANSWER_US));
	EXPECT_EQ(mmio_read8(d->dev.isr), 1);
	EXPECT_EQ(mmio_read8(d->dev.isr), 0);
}

TEST(interrupt_status_follows_the_isr, "PCI-DEV-41", "the PCI status register's interrupt bit is the OR of the ISR's bits", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_NONE, RAW_DEFAULT);

	EXPECT_EQ(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, 0);
	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, RAW_ANSWER_US));
	mmio_read8(d->dev.isr);
	EXPECT_EQ(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, 0);
}

TEST(intx_comes_and_goes, "PCI-DEV-40 PCI-DEV-41", "each request brings one INTx, which ends when the ISR is read", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_LINE, RAW_DEFAULT);

	for (unsigned i = 1; i <= 3; i++) {
		several(d, 1);
		EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == i, RAW_ANSWER_US));
	}
	delay_us(2000);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 3);
	test_metric("spurious", d->dev.line_spurious); /* some hosts' KVM sends an interrupt again after its line fell */
}

TEST(intx_disable, "PCI-DEV-41", "INTx Disable keeps the line low while the status bit still shows the interrupt", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_LINE, RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;
	uint16_t command = pci_read16(f, PCI_COMMAND);

	pci_write16(f, PCI_COMMAND, command | PCI_COMMAND_NO_INTX);
	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(pci_read16(f, PCI_STATUS) & PCI_STATUS_INTX, RAW_ANSWER_US));
	delay_us(2000);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 0);
	pci_write16(f, PCI_COMMAND, command);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == 1, RAW_ANSWER_US));
}

TEST(reset_drops_intx, "RST-DEV-02 PCI-DEV-41", "a reset with INTx asserted drops the line and clears the ISR", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_NONE, RAW_DEFAULT);

	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, RAW_ANSWER_US));
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, 0);
	EXPECT_EQ(mmio_read8(d->dev.isr), 0);
}

TEST(msix_off_then_intx, "PCI-DEV-40", "with MSI-X switched off the next completion comes by INTx", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	unsigned message = d->dev.queue_vector[0];

	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(message) == 1, RAW_ANSWER_US));
	virtio_interrupts(&d->dev, VIRTIO_IRQ_LINE);
	several(d, 1);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == 1, RAW_ANSWER_US));
	EXPECT_EQ(irq_count(message), 1);
}

struct window {
	struct pci_function *f;
	uint8_t at;
	uint8_t bar;
	uint32_t offset; /* of the common configuration in its BAR */
};

static struct window window_of(struct raw_disk *d)
{
	struct window w = {.f = d->dev.pci};

	for (uint8_t at = pci_capability(w.f, PCI_CAP_VENDOR, 0); at; at = pci_capability(w.f, PCI_CAP_VENDOR, at)) {
		if (pci_read8(w.f, at + 3) == 5)
			w.at = at;
		if (pci_read8(w.f, at + 3) == 1) {
			w.bar = pci_read8(w.f, at + 4);
			w.offset = pci_read32(w.f, at + 8);
		}
	}
	ASSERT_NE(w.at, 0);
	return w;
}

static void window_set(const struct window *w, unsigned reg, uint32_t length)
{
	pci_write8(w->f, w->at + 4, w->bar);
	pci_write32(w->f, w->at + 8, w->offset + reg);
	pci_write32(w->f, w->at + 12, length);
}

static uint32_t window_read(const struct window *w, unsigned reg, unsigned length)
{
	window_set(w, reg, length);
	if (length == 1)
		return pci_read8(w->f, w->at + 16);
	return length == 2 ? pci_read16(w->f, w->at + 16) : pci_read32(w->f, w->at + 16);
}

static void window_write(const struct window *w, unsigned reg, unsigned length, uint32_t value)
{
	window_set(w, reg, length);
	if (length == 1)
		pci_write8(w->f, w->at + 16, value);
	else if (length == 2)
		pci_write16(w->f, w->at + 16, value);
	else
		pci_write32(w->f, w->at + 16, value);
}

TEST(window_reads, "PCI-DEV-51", "reads through the PCI access capability give what the registers give, in 1, 2 and 4 bytes", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct window w = window_of(d);

	virtio_set_status(&d->dev, 3);
	EXPECT_EQ(window_read(&w, PCI_COMMON_STATUS, 1), 3);
	EXPECT_EQ(window_read(&w, PCI_COMMON_NUM_QUEUES, 2), common16(d, PCI_COMMON_NUM_QUEUES));
	set_common32(d, PCI_COMMON_DEVICE_FEATURE_SELECT, 0);
	EXPECT_EQ(window_read(&w, PCI_COMMON_DEVICE_FEATURE, 4), common32(d, PCI_COMMON_DEVICE_FEATURE));
}

TEST(window_writes, "PCI-DEV-50", "writes through the PCI access capability reach exactly the register that was named", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct window w = window_of(d);

	window_write(&w, PCI_COMMON_STATUS, 1, 1);
	EXPECT_EQ(virtio_status(&d->dev), 1);
	window_write(&w, PCI_COMMON_STATUS, 1, 3);
	EXPECT_EQ(virtio_status(&d->dev), 3);
	window_write(&w, PCI_COMMON_QUEUE_SELECT, 2, 1);
	EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_SELECT), 1);
	window_write(&w, PCI_COMMON_DRIVER_FEATURE_SELECT, 4, 1);
	EXPECT_EQ(common32(d, PCI_COMMON_DRIVER_FEATURE_SELECT), 1);
	EXPECT_EQ(virtio_status(&d->dev), 3);
	window_write(&w, PCI_COMMON_STATUS, 1, 0);
	EXPECT_EQ(virtio_status(&d->dev), 0);
}

TEST(window_doorbell, "PCI-DEV-50", "a doorbell through the PCI access capability is a doorbell", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	struct window w = window_of(d);
	uint32_t away = phys(d->dev.doorbell[0]) - phys(d->dev.common);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	window_write(&w, away, 2, 0);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(window_illegal_use, "PCI-DRV-28a PCI-DRV-28b PCI-DRV-29", "odd lengths and places beyond the BAR access nothing, and legal use works afterwards", DISK)
{
	static const uint32_t lengths[] = {0, 3, 8, 0xffffffff};
	struct raw_disk *d = raw_disk_find();
	struct window w = window_of(d);

	virtio_set_status(&d->dev, 3);
	for (unsigned i = 0; i < 4; i++) {
		window_set(&w, PCI_COMMON_STATUS, lengths[i]);
		pci_write32(w.f, w.at + 16, 0);
		EXPECT_EQ(virtio_status(&d->dev), 3);
	}
	pci_write32(w.f, w.at + 8, 0xfffffffc);
	pci_write32(w.f, w.at + 12, 4);
	pci_write32(w.f, w.at + 16, 0x55);
	pci_read32(w.f, w.at + 16);
	pci_write8(w.f, w.at + 4, 7);
	pci_write32(w.f, w.at + 16, 0x55);
	EXPECT_EQ(window_read(&w, PCI_COMMON_STATUS, 1), 3);
	raw_recovers(d);
}

TEST(queue_reset, "PCI-DEV-20 PCI-DEV-22 PCI-DEV-24 VQR-DEV-01",
	"a queue reset ends with queue_reset 0 and queue_enable 0, and the queue uses nothing until it is enabled again", DISK)
{
	struct raw_disk *d = raw_disk_find();

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(VIRTIO_F_RING_RESET)))
		SKIP("RING_RESET is not offered");
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_RING_RESET), 0));
	raw_serves(d);
	EXPECT_EQ(d->dev.transport->queue_reset_state(&d->dev, 0), 0);
	d->dev.transport->queue_reset(&d->dev, 0);
	EXPECT_TRUE(WAIT_UNTIL(d->dev.transport->queue_reset_state(&d->dev, 0) == 0, RAW_ANSWER_US));
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 0);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(*d->status, 0xff);
}

TEST(queue_enabled_again, "PCI-DEV-21 VQR-DEV-02 VQR-DEV-03", "after a queue reset the queue runs at another place, with another size, from entry 0", DISK)
{
	struct raw_disk *d = raw_disk_find();

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(VIRTIO_F_RING_RESET)))
		SKIP("RING_RESET is not offered");
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_RING_RESET), 0));
	raw_serves(d);
	d->dev.transport->queue_reset(&d->dev, 0);
	EXPECT_TRUE(WAIT_UNTIL(d->dev.transport->queue_reset_state(&d->dev, 0) == 0, RAW_ANSWER_US));
	raw_ring_alloc(&d->ring, &d->dev, 0, 16);
	raw_ring_enable(&d->ring);
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 1);
	EXPECT_EQ(d->dev.transport->queue_reset_state(&d->dev, 0), 0);
	raw_serves(d);
	EXPECT_EQ(d->ring.used->idx, 2);
	EXPECT_EQ(virtio_status(&d->dev), VIRTIO_S_RUNNING);
}
