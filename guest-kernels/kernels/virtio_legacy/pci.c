/* SPDX-License-Identifier: MIT */
/* The legacy interface of PCI (virtio 1.4, 4.1.2, 4.1.4.10): identity, header, vectors, ISR. */
#include "virtio_legacy.h"

static struct raw_disk *with(enum virtio_irq irq)
{
	struct raw_disk *d = legacy_find();

	virtio_interrupts(&d->dev, irq);
	ASSERT_TRUE(raw_disk_start(d, LEGACY_DEFAULT, 0));
	return d;
}

TEST(transitional_identity, "PCI-DEV-02 PCI-DEV-03",
	"a device with a legacy interface has a transitional id, revision 0, its type as "
	"subsystem, "
	"and BAR 0 in I/O space",
	PCI_DISK)
{
	struct raw_disk *d = legacy_find();
	struct pci_function *f = d->dev.pci;

	EXPECT_EQ(pci_read16(f, PCI_VENDOR), 0x1af4);
	EXPECT_EQ(pci_read16(f, PCI_DEVICE), 0x1001);
	EXPECT_EQ(pci_read8(f, PCI_REVISION), 0);
	EXPECT_EQ(pci_read16(f, PCI_SUBSYSTEM), VIRTIO_ID_BLOCK);
	EXPECT_EQ(pci_read32(f, PCI_BAR0) & 3, 1);
	EXPECT_GE(f->bars[0].size, PCI_LEGACY_MSIX_HEADER + BLK_C_WRITEBACK);
}

TEST(header_by_every_width, "", "the header's fields read the same by bytes, words and doublewords",
	PCI_DISK)
{
	struct raw_disk *d = legacy_find();
	uint32_t features = inl(d->dev.io), bytes = 0;

	if (!raw_strict())
		SKIP("drivers are to read fields by their width");
	for (unsigned i = 0; i < 4; i++)
		bytes |= (uint32_t)inb(d->dev.io + i) << 8 * i;
	EXPECT_NE(features, 0);
	EXPECT_EQ(bytes, features);
	EXPECT_EQ(inw(d->dev.io) | (uint32_t)inw(d->dev.io + 2) << 16, features);
}

TEST(configuration_moves_with_msix, "",
	"the configuration begins at 20, at 24 while MSI-X is enabled, and at 20 again", PCI_DISK)
{
	struct raw_disk *d = legacy_find();
	uint32_t capacity;

	virtio_interrupts(&d->dev, VIRTIO_IRQ_NONE);
	capacity = inl(d->dev.io + PCI_LEGACY_HEADER);
	EXPECT_NE(capacity, 0);
	if (!pci_msix_enable(d->dev.pci))
		SKIP("the function has no MSI-X");
	EXPECT_EQ(inl(d->dev.io + PCI_LEGACY_MSIX_HEADER), capacity);
	EXPECT_EQ(inw(d->dev.io + PCI_LEGACY_CONFIG_VECTOR), VIRTIO_NO_VECTOR);
	pci_msix_disable(d->dev.pci);
	EXPECT_EQ(inl(d->dev.io + PCI_LEGACY_HEADER), capacity);
}

TEST(queue_size_is_the_devices, "",
	"the queue's size is a power of two and does not change when written", PCI_DISK)
{
	struct raw_disk *d = legacy_find();
	uint16_t size;

	outw(d->dev.io + PCI_LEGACY_QUEUE_SELECT, 0);
	size = inw(d->dev.io + PCI_LEGACY_QUEUE_SIZE);
	EXPECT_NE(size, 0);
	EXPECT_EQ(size & (size - 1), 0);
	outw(d->dev.io + PCI_LEGACY_QUEUE_SIZE, size / 2);
	EXPECT_EQ(inw(d->dev.io + PCI_LEGACY_QUEUE_SIZE), size);
}

TEST(read_only_fields, "", "writes to features and ISR of the device change nothing", PCI_DISK)
{
	struct raw_disk *d = legacy_find();
	uint32_t offered = virtio_offered(&d->dev);

	outl(d->dev.io + PCI_LEGACY_DEVICE_FEATURES, ~offered);
	outb(d->dev.io + PCI_LEGACY_ISR, 0xff);
	EXPECT_EQ(virtio_offered(&d->dev), offered);
	EXPECT_EQ(inb(d->dev.io + PCI_LEGACY_ISR), 0);
	raw_recovers(d);
}

TEST(queue_select_reads_back, "", "the selected queue reads back", PCI_DISK)
{
	struct raw_disk *d = legacy_find();

	for (unsigned q = 0; q < 3; q++) {
		outw(d->dev.io + PCI_LEGACY_QUEUE_SELECT, q);
		EXPECT_EQ(inw(d->dev.io + PCI_LEGACY_QUEUE_SELECT), q);
	}
}

TEST(legacy_vectors, "PCI-DEV-55 PCI-DEV-56 PCI-DEV-57 PCI-DEV-58 PCI-DEV-60",
	"vector registers read back what was mapped, NO_VECTOR when unmapped, when it does not "
	"exist "
	"and after a reset",
	PCI_DISK)
{
	struct raw_disk *d = with(VIRTIO_IRQ_MSIX);
	unsigned count = d->dev.pci->msix_entries;

	for (unsigned vector = 0; vector < count && vector < 3; vector++) {
		for (unsigned reg = PCI_LEGACY_CONFIG_VECTOR; reg <= PCI_LEGACY_QUEUE_VECTOR;
			reg += 2) {
			outw(d->dev.io + reg, vector);
			EXPECT_EQ(inw(d->dev.io + reg), vector);
		}
	}
	for (unsigned reg = PCI_LEGACY_CONFIG_VECTOR; reg <= PCI_LEGACY_QUEUE_VECTOR; reg += 2) {
		outw(d->dev.io + reg, count);
		EXPECT_EQ(inw(d->dev.io + reg), VIRTIO_NO_VECTOR);
		outw(d->dev.io + reg, 0);
		outw(d->dev.io + reg, VIRTIO_NO_VECTOR);
		EXPECT_EQ(inw(d->dev.io + reg), VIRTIO_NO_VECTOR);
		outw(d->dev.io + reg, 0);
	}
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(inw(d->dev.io + PCI_LEGACY_CONFIG_VECTOR), VIRTIO_NO_VECTOR);
	outw(d->dev.io + PCI_LEGACY_QUEUE_SELECT, 0);
	EXPECT_EQ(inw(d->dev.io + PCI_LEGACY_QUEUE_VECTOR), VIRTIO_NO_VECTOR);
}

TEST(legacy_message, "PCI-DEV-55",
	"each request brings one message, of the vector that the queue is mapped to", PCI_DISK)
{
	struct raw_disk *d = with(VIRTIO_IRQ_MSIX);

	for (unsigned i = 1; i <= 3; i++) {
		legacy_reads(d);
		EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == i, RAW_ANSWER_US));
	}
	EXPECT_EQ(virtio_config_interrupts(&d->dev), 0);
}

TEST(legacy_no_vector, "PCI-DEV-61", "a queue without a vector brings no interrupt of any kind",
	PCI_DISK)
{
	struct raw_disk *d = with(VIRTIO_IRQ_MSIX);
	uint32_t before = irq_total();

	outw(d->dev.io + PCI_LEGACY_QUEUE_SELECT, 0);
	outw(d->dev.io + PCI_LEGACY_QUEUE_VECTOR, VIRTIO_NO_VECTOR);
	legacy_reads(d);
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(irq_total(), before);
}

TEST(legacy_isr, "", "without MSI-X the ISR reads 1 after a request, and reading clears it",
	PCI_DISK)
{
	struct raw_disk *d = with(VIRTIO_IRQ_NONE);

	EXPECT_EQ(inb(d->dev.io + PCI_LEGACY_ISR), 0);
	legacy_reads(d);
	EXPECT_TRUE(
		WAIT_UNTIL(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, RAW_ANSWER_US));
	EXPECT_EQ(inb(d->dev.io + PCI_LEGACY_ISR), VIRTIO_ISR_QUEUE);
	EXPECT_EQ(inb(d->dev.io + PCI_LEGACY_ISR), 0);
	EXPECT_EQ(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, 0);
}

TEST(legacy_intx, "", "each request brings one INTx, which ends when the ISR is read", PCI_DISK)
{
	struct raw_disk *d = with(VIRTIO_IRQ_LINE);

	for (unsigned i = 1; i <= 3; i++) {
		legacy_reads(d);
		EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == i, RAW_ANSWER_US));
	}
	EXPECT_EQ(inb(d->dev.io + PCI_LEGACY_ISR), 0);
}

TEST(wrong_widths, "", "accesses of a wrong width to the header leave the device as it was",
	PCI_DISK)
{
	struct raw_disk *d = with(VIRTIO_IRQ_NONE);

	if (!raw_strict())
		SKIP("the text forbids drivers to write these and says nothing of the device");
	outb(d->dev.io + PCI_LEGACY_QUEUE_ADDRESS, 0);
	outw(d->dev.io + PCI_LEGACY_QUEUE_ADDRESS, 0);
	outb(d->dev.io + PCI_LEGACY_QUEUE_SELECT, 1);
	outl(d->dev.io + PCI_LEGACY_QUEUE_NOTIFY, 0);
	outl(d->dev.io + 1, 0);
	EXPECT_EQ(virtio_status(&d->dev), 7);
	EXPECT_EQ(legacy_page(d), phys(d->ring.descriptors) / RING_LEGACY_ALIGN);
	legacy_reads(d);
}

static bool both(struct raw_disk *d)
{
	if (!virtio_pci_use(&d->dev, false))
		return false;
	return virtio_pci_use(&d->dev, true);
}

static void serve_by(struct raw_disk *d, bool legacy)
{
	ASSERT_TRUE(virtio_pci_use(&d->dev, legacy));
	virtio_interrupts(&d->dev, VIRTIO_IRQ_BEST);
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev));
	raw_serves(d);
	EXPECT_EQ(d->ring.used->idx, 2);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) >= 1, RAW_ANSWER_US));
	ASSERT_TRUE(virtio_reset(&d->dev));
}

TEST(one_interface_after_the_other, "RST-DEV-02",
	"a device that was driven by one interface and reset works by the other, and back",
	PCI_DISK)
{
	struct raw_disk *d = legacy_find();

	if (!both(d))
		SKIP("the disk has no modern interface");
	serve_by(d, true);
	serve_by(d, false);
	serve_by(d, true);
}

TEST(interfaces_share_the_status, "RST-DEV-01",
	"a reset by either interface shows in the status of both", PCI_DISK)
{
	struct raw_disk *d = legacy_find();
	uint16_t io = d->dev.io;

	if (!both(d))
		SKIP("the disk has no modern interface");
	virtio_set_status(&d->dev, 3);
	EXPECT_EQ(mmio_read8(d->dev.common + PCI_COMMON_STATUS), 3);
	mmio_write8(d->dev.common + PCI_COMMON_STATUS, 0);
	EXPECT_TRUE(WAIT_UNTIL(inb(io + PCI_LEGACY_STATUS) == 0, RAW_ANSWER_US));
	mmio_write8(d->dev.common + PCI_COMMON_STATUS, 1);
	EXPECT_EQ(inb(io + PCI_LEGACY_STATUS), 1);
	outb(io + PCI_LEGACY_STATUS, 0);
	EXPECT_TRUE(WAIT_UNTIL(mmio_read8(d->dev.common + PCI_COMMON_STATUS) == 0, RAW_ANSWER_US));
}

TEST(modern_interface_offers_more, "RSVD-DEV-01",
	"VERSION_1 is offered by the modern interface of a transitional device, and the bits that "
	"only the legacy one has are not",
	PCI_DISK)
{
	struct raw_disk *d = legacy_find();
	uint64_t legacy = virtio_offered(&d->dev), modern;

	if (!both(d))
		SKIP("the disk has no modern interface");
	virtio_pci_use(&d->dev, false);
	modern = virtio_offered(&d->dev);
	EXPECT_EQ(modern >> VIRTIO_F_VERSION_1 & 1, 1);
	EXPECT_EQ(modern >> VIRTIO_F_NOTIFY_ON_EMPTY & 1, 0);
	EXPECT_EQ(modern & 0xffffffff & ~legacy, 0);
}

TEST(legacy_only_has_no_capabilities, "",
	"a device without a modern interface has no virtio capability", PCI_DISK)
{
	struct raw_disk *d = legacy_find();

	if (both(d))
		SKIP("the disk is transitional");
	EXPECT_EQ(pci_capability(d->dev.pci, PCI_CAP_VENDOR, 0), 0);
	legacy_reads((raw_disk_start(d, LEGACY_DEFAULT, 0), d));
}
