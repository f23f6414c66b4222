/* SPDX-License-Identifier: MIT */
/*
 * What a driver must not do, done (virtio 1.4, the driver's side of chapters 2 to 4): each TEST
 * breaks one rule and states which outcomes a device may show then. Ours (strict=1) shows the one
 * of docs/virtio.md; all work again after a reset. Broken rings are in the kernels of the rings.
 */
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK	  NEEDS("disk:virtio")
#define MMIO_DISK NEEDS("mmio disk:virtio")

TEST(status_bit_dropped, "STAT-DRV-02",
	"a status bit that the driver takes back stays, or is taken back; a reset leads back from "
	"both",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t running = virtio_status(&d->dev), less = running & ~VIRTIO_S_DRIVER_OK, now;

	virtio_set_status(&d->dev, less);
	now = virtio_status(&d->dev);
	EXPECT_TRUE(now == running || (now == less && !raw_strict()));
	if (now == running)
		raw_serves(d);
	raw_recovers(d);
}

TEST(features_without_version_1, "FEAT-DRV-01b RSVD-DRV-01",
	"a feature of the modern interface without VERSION_1 is refused, or does no harm", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t offered = virtio_offered(&d->dev);

	if (!(offered >> VIRTIO_F_VERSION_1 & 1))
		SKIP("the legacy interface has no VERSION_1");
	for (unsigned bit = VIRTIO_F_VERSION_1; bit < 42; bit++) {
		if (!(offered >> bit & 1))
			continue;
		ASSERT_TRUE(virtio_reset(&d->dev));
		virtio_set_status(&d->dev, 3);
		virtio_accept(&d->dev, bit == VIRTIO_F_VERSION_1 ? 0 : VIRTIO_BIT(bit));
		virtio_set_status(&d->dev, 11);
		if (raw_strict() && !EXPECT_EQ(virtio_status(&d->dev), 3))
			note("bit %u", bit);
	}
	raw_recovers(d);
}

TEST(configuration_written_during_negotiation, "INIT-DRV-02b",
	"fields that are written before FEATURES_OK keep their values, and negotiation goes on",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t capacity = virtio_config64(&d->dev, BLK_C_CAPACITY);

	virtio_set_status(&d->dev, 1);
	virtio_set_status(&d->dev, 3);
	virtio_config_write32(&d->dev, BLK_C_CAPACITY, 0x12345678);
	virtio_config_write32(&d->dev, BLK_C_BLK_SIZE, 0x12345678);
	EXPECT_EQ(virtio_config64(&d->dev, BLK_C_CAPACITY), capacity);
	raw_recovers(d);
	EXPECT_EQ(d->capacity, capacity);
}

TEST(configuration_by_odd_accesses, "MMIO-DRV-03 PCI-DRV-05",
	"accesses to the configuration that are no field's leave every field as it was", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	if (d->dev.legacy)
		SKIP("the legacy interface lets a driver access the configuration byte by byte");
	(void)mmio_read16(d->dev.config + BLK_C_CAPACITY + 1);
	(void)mmio_read32(d->dev.config + BLK_C_CAPACITY + 2);
	mmio_write8(d->dev.config + BLK_C_CAPACITY + 1, 0x55);
	mmio_write16(d->dev.config + BLK_C_CAPACITY + 3, 0x5555);
	mmio_write32(d->dev.config + BLK_C_CAPACITY + 6, 0x55555555);
	EXPECT_EQ(virtio_config64(&d->dev, BLK_C_CAPACITY), d->capacity);
	raw_serves(d);
}

TEST(queue_memory_after_its_reset, "VQR-DRV-02 VQR-DEV-01",
	"once a queue's reset is confirmed its memory is the driver's: what is put there stays",
	DISK)
{
	const uint64_t features = RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_RING_RESET);
	struct raw_disk *d = raw_disk(features);
	struct raw_ring old;
	uint32_t interrupts;
	unsigned bytes;

	raw_serves(d);
	d->dev.transport->queue_reset(&d->dev, 0);
	ASSERT_TRUE(
		WAIT_UNTIL(d->dev.transport->queue_reset_state(&d->dev, 0) == 0, RAW_ANSWER_US));
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 0);
	old = d->ring;
	for (unsigned i = 0; i < 3; i++) {
		void *area = raw_ring_area(&old, i, &bytes);

		memset(area, 0xa5, bytes);
	}
	interrupts = virtio_queue_interrupts(&d->dev, 0);
	virtio_notify(&d->dev, 0);
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	raw_ring_enable(&d->ring);
	raw_serves(d);
	for (unsigned i = 0; i < 3; i++) {
		void *area = raw_ring_area(&old, i, &bytes);

		EXPECT_TRUE(memory_is(area, 0xa5, bytes, NULL));
	}
	EXPECT_LE(virtio_queue_interrupts(&d->dev, 0), interrupts + 2);
}

TEST(registers_that_do_not_exist, "MMIO-DRV-01a",
	"reads and writes of offsets without a register change nothing", MMIO_DISK)
{
	static const uint16_t nowhere[] = {0x018, 0x02c, 0x048, 0x058, 0x068, 0x078, 0x0d0, 0x0f8};
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	for (unsigned i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		(void)mmio_read32(d->dev.mmio + nowhere[i]);
		mmio_write32(d->dev.mmio + nowhere[i], 0xffffffff);
	}
	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev));
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 1);
	raw_serves(d);
}

TEST(undefined_bits_acknowledged, "MMIO-DRV-13b",
	"an acknowledgement of bits that mean nothing takes none away that means something",
	MMIO_DISK)
{
	struct raw_disk *d = raw_disk_find();

	virtio_interrupts(&d->dev, VIRTIO_IRQ_NONE);
	ioapic_mask(d->dev.pin); /* looked at, not delivered */
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	EXPECT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	ASSERT_TRUE(WAIT_UNTIL(mmio_read32(d->dev.mmio + MMIO_INTERRUPT_STATUS), RAW_ANSWER_US));
	mmio_write32(d->dev.mmio + MMIO_INTERRUPT_ACK, 0xfffffffc);
	EXPECT_EQ(mmio_read32(d->dev.mmio + MMIO_INTERRUPT_STATUS), VIRTIO_ISR_QUEUE);
	mmio_write32(d->dev.mmio + MMIO_INTERRUPT_ACK, VIRTIO_ISR_QUEUE);
	EXPECT_EQ(mmio_read32(d->dev.mmio + MMIO_INTERRUPT_STATUS), 0);
}
