/* SPDX-License-Identifier: MIT */
/* virtio over PCI: MSI-X, INTx and the ISR (4.1.4.5, 4.1.5.1; PCI 3.0, 6.8). */
#include "virtio_pci.h"

#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"

/* The disk with interrupts of that kind, running. */
static struct raw_disk *disk_with(enum virtio_irq irq, uint64_t features)
{
	struct raw_disk *d = raw_disk_find();

	virtio_interrupts(&d->dev, irq);
	ASSERT_TRUE(raw_disk_start(d, features, 0));
	return d;
}

TEST(reset_unmaps_vectors, "PCI-DEV-58 PCI-DEV-19",
	"after a reset every vector register reads NO_VECTOR and no queue is enabled", DISK)
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

TEST(vector_count, "PCI-DEV-52",
	"MSI-X has between 2 and 2048 vectors, table and PBA inside their BAR", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;
	uint32_t table = pci_read32(f, f->msix + 4), pba = pci_read32(f, f->msix + 8);

	EXPECT_GE(f->msix_entries, 2);
	EXPECT_LE(f->msix_entries, 2048);
	EXPECT_LE((table & ~7u) + 16 * f->msix_entries, f->bars[table & 7].size);
	EXPECT_LE((pba & ~7u) + (f->msix_entries + 63) / 64 * 8, f->bars[pba & 7].size);
}

TEST(any_event_to_any_vector, "PCI-DEV-53 PCI-DEV-55 PCI-DEV-57 PCI-DEV-59",
	"the queue can be mapped to each vector in turn, which reads back and is the one that "
	"comes",
	DISK)
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

TEST(no_vector_no_interrupt, "PCI-DEV-56 PCI-DEV-61",
	"a queue mapped to NO_VECTOR brings no interrupt of any kind", DISK)
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
		SKIP("this device does not set NEEDS_RESET, so nothing here changes its "
		     "configuration");
}

TEST(no_config_vector_no_interrupt, "PCI-DEV-56 PCI-DEV-62",
	"with the configuration vector unmapped a configuration change brings no interrupt", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);
	uint32_t before = irq_total();

	set_common16(d, PCI_COMMON_CONFIG_VECTOR, VIRTIO_NO_VECTOR);
	break_ring(d);
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(irq_total(), before);
}

TEST(isr_shows_configuration_changes_with_msix, "PCI-DEV-39",
	"the ISR's configuration bit is set although MSI-X is on", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_MSIX, RAW_DEFAULT);

	break_ring(d);
	EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&d->dev) == 1, RAW_ANSWER_US));
	EXPECT_EQ(mmio_read8(d->dev.isr) & 2, 2);
	EXPECT_EQ(mmio_read8(d->dev.isr), 0);
}

TEST(vectors_beyond_the_table, "PCI-DEV-53 PCI-DEV-60 PCI-DRV-33",
	"mapping to a vector that does not exist reads back as NO_VECTOR", DISK)
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

TEST(masked_vector_is_pending, "PCI-DEV-01",
	"a masked vector is pending after a completion, and sends one message when unmasked", DISK)
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

TEST(masked_function_is_pending, "PCI-DEV-01",
	"the function mask holds all vectors back, and lifting it sends what is pending", DISK)
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

TEST(pending_message_uses_the_new_data, "PCI-DEV-01",
	"an entry rewritten while masked and pending sends its new data", DISK)
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

TEST(isr_is_set_and_cleared_by_reading, "PCI-DEV-40 PCI-DEV-42",
	"with INTx the ISR reads 1 after a request and then 0", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_NONE, RAW_DEFAULT);

	EXPECT_EQ(mmio_read8(d->dev.isr), 0);
	several(d, 1);
	EXPECT_TRUE(
		WAIT_UNTIL(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, RAW_ANSWER_US));
	EXPECT_EQ(mmio_read8(d->dev.isr), 1);
	EXPECT_EQ(mmio_read8(d->dev.isr), 0);
}

TEST(interrupt_status_follows_the_isr, "PCI-DEV-41",
	"the PCI status register's interrupt bit is the OR of the ISR's bits", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_NONE, RAW_DEFAULT);

	EXPECT_EQ(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, 0);
	several(d, 1);
	EXPECT_TRUE(
		WAIT_UNTIL(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, RAW_ANSWER_US));
	mmio_read8(d->dev.isr);
	EXPECT_EQ(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, 0);
}

TEST(intx_comes_and_goes, "PCI-DEV-40 PCI-DEV-41",
	"each request brings one INTx, which ends when the ISR is read", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_LINE, RAW_DEFAULT);

	for (unsigned i = 1; i <= 3; i++) {
		several(d, 1);
		EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == i, RAW_ANSWER_US));
	}
	delay_us(2000);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 3);
	test_metric("spurious", d->dev.line_spurious); /* some hosts' KVM sends an interrupt again
							  after its line fell */
}

TEST(intx_disable, "PCI-DEV-41",
	"INTx Disable keeps the line low while the status bit still shows the interrupt", DISK)
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

TEST(reset_drops_intx, "RST-DEV-02 PCI-DEV-41",
	"a reset with INTx asserted drops the line and clears the ISR", DISK)
{
	struct raw_disk *d = disk_with(VIRTIO_IRQ_NONE, RAW_DEFAULT);

	several(d, 1);
	EXPECT_TRUE(
		WAIT_UNTIL(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, RAW_ANSWER_US));
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(pci_read16(d->dev.pci, PCI_STATUS) & PCI_STATUS_INTX, 0);
	EXPECT_EQ(mmio_read8(d->dev.isr), 0);
}

TEST(msix_off_then_intx, "PCI-DEV-40", "with MSI-X switched off the next completion comes by INTx",
	DISK)
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
