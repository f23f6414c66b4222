/* SPDX-License-Identifier: MIT */
/* virtio over PCI: doorbells wherever the device has them, and several queues (4.1.4.4, 4.1.5.2).
 */
#include "virtio_pci.h"

#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define CAP_NOTIFY 2

static struct raw_disk *msix_disk(void)
{
	struct raw_disk *d = raw_disk_find();

	virtio_interrupts(&d->dev, VIRTIO_IRQ_MSIX);
	return d;
}

/* Rings the doorbell of queue 0 that this capability describes. */
static void ring(struct raw_disk *d, uint8_t at)
{
	struct pci_function *f = d->dev.pci;
	unsigned bar = pci_read8(f, at + 4);
	uint32_t offset = pci_read32(f, at + 8), multiplier = pci_read32(f, at + 16);

	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	offset += common16(d, PCI_COMMON_QUEUE_NOTIFY_OFF) * multiplier;
	if (f->bars[bar].io)
		outw(pci_bar_io(f, bar) + offset, 0);
	else
		mmio_write16((volatile uint8_t *)pci_bar(f, bar) + offset, 0);
}

TEST(each_doorbell_structure, "PCI-DEV-11 PCI-DEV-29",
	"each notification capability, from the one listed first on, announces a buffer", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	unsigned seen = 0;

	for (uint8_t at = pci_capability(d->dev.pci, PCI_CAP_VENDOR, 0); at;
		at = pci_capability(d->dev.pci, PCI_CAP_VENDOR, at)) {
		if (pci_read8(d->dev.pci, at + 3) != CAP_NOTIFY)
			continue;
		seen++;
		raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
		raw_publish(&d->ring, 0);
		ring(d, at);
		ASSERT_TRUE(raw_used(&d->ring, 1));
		raw_take(&d->ring);
		EXPECT_EQ(*d->status, BLK_S_OK);
	}
	EXPECT_GE(seen, 1);
}

/* Queue 1 beside queue 0, both on the vectors given. */
static struct raw_disk *second_queue(struct raw_disk *d, uint16_t config, uint16_t vector)
{
	struct raw_disk *other = arena_alloc(sizeof(*other), 64);

	if (common16(d, PCI_COMMON_NUM_QUEUES) < 2)
		SKIP("the disk has one queue");
	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT | VIRTIO_BIT(BLK_F_MQ)));
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	raw_ring_enable(&d->ring);
	*other = *d;
	other->header = guarded_alloc(sizeof(*other->header));
	other->data = guarded_alloc(RAW_DATA);
	other->status = guarded_alloc(1);
	raw_ring_alloc(&other->ring, &d->dev, 1, 0);
	raw_ring_enable(&other->ring);
	if (vector != VIRTIO_NO_VECTOR) {
		set_common16(d, PCI_COMMON_CONFIG_VECTOR, config);
		for (unsigned q = 0; q < 2; q++) {
			set_common16(d, PCI_COMMON_QUEUE_SELECT, q);
			set_common16(d, PCI_COMMON_QUEUE_VECTOR, vector);
			EXPECT_EQ(common16(d, PCI_COMMON_QUEUE_VECTOR), vector);
		}
	}
	virtio_driver_ok(&d->dev);
	return other;
}

TEST(doorbells_are_apart, "PCI-DEV-32b PCI-DEV-33",
	"the doorbell of each queue announces the buffers of that queue", DISK)
{
	struct raw_disk *d = raw_disk_find(), *other = second_queue(d, 0, VIRTIO_NO_VECTOR);

	/* A device may look at its rings once more after DRIVER_OK: that is over with the second
	 * answer, at the latest. */
	for (unsigned i = 0; i < 2; i++)
		EXPECT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	EXPECT_EQ(raw_do(other, BLK_T_IN, 1, other->data, 512), BLK_S_OK);
	if (raw_strict()) /* a device may look at a ring without being asked to */
		EXPECT_TRUE(raw_quiet(&d->ring));
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(queues_share_a_vector, "PCI-DEV-55",
	"two queues mapped to one vector bring one message each, and no other vector fires", DISK)
{
	struct raw_disk *d = msix_disk(), *other = second_queue(d, 1, 0);

	EXPECT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(d->dev.config_vector) == 1, RAW_ANSWER_US));
	EXPECT_EQ(raw_do(other, BLK_T_IN, 0, other->data, 512), BLK_S_OK);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(d->dev.config_vector) == 2, RAW_ANSWER_US));
	EXPECT_EQ(irq_count(d->dev.queue_vector[0]), 0);
}

TEST(everything_on_one_vector, "PCI-DEV-55 PCI-DEV-59",
	"configuration and queues mapped to the last vector all bring that one", DISK)
{
	struct raw_disk *d = msix_disk(), *other;
	unsigned last = d->dev.pci->msix_entries - 1, vector = irq_vector();

	other = second_queue(d, last, last);
	pci_msix_set(d->dev.pci, last, vector);
	EXPECT_EQ(raw_do(other, BLK_T_IN, 0, other->data, 512), BLK_S_OK);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, RAW_ANSWER_US));
	raw_publish(&d->ring, d->ring.size); /* breaks the ring: NEEDS_RESET, announced */
	raw_kick(&d->ring);
	if (!WAIT_UNTIL(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET, RAW_ANSWER_US))
		SKIP("this device does not set NEEDS_RESET");
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 2, RAW_ANSWER_US));
}

TEST(window_to_the_io_doorbell, "PCI-DEV-50",
	"a write through the PCI access capability reaches a doorbell in a BAR of I/O space", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	struct pci_function *f = d->dev.pci;
	uint8_t window = 0, doorbell = 0;

	for (uint8_t at = pci_capability(f, PCI_CAP_VENDOR, 0); at;
		at = pci_capability(f, PCI_CAP_VENDOR, at)) {
		unsigned type = pci_read8(f, at + 3), bar = pci_read8(f, at + 4);

		if (type == 5)
			window = at;
		else if (type == CAP_NOTIFY && bar < 6 && f->bars[bar].io)
			doorbell = at;
	}
	if (!window || !doorbell)
		SKIP("no doorbell in I/O space");
	/* A device may look at its ring once more after DRIVER_OK: that is over with the first
	 * answer. */
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	pci_write8(f, window + 4, pci_read8(f, doorbell + 4));
	pci_write32(f, window + 8, pci_read32(f, doorbell + 8));
	pci_write32(f, window + 12, 2);
	pci_write16(f, window + 16, 0);
	EXPECT_TRUE(raw_used(&d->ring, 2));
	EXPECT_EQ(*d->status, BLK_S_OK);
}
