/* SPDX-License-Identifier: MIT */
/* virtio over PCI: the common configuration, and the reset of one queue (4.1.4.3). */
#include "virtio_pci.h"

#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"

TEST(common_read_only_fields, "PCI-DRV-14",
	"num_queues, config_generation, queue_notify_off and device_feature do not change when "
	"written",
	DISK)
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

TEST(address_halves_are_independent, "PCI-DEV-08",
	"each half of a 64-bit queue address is stored and read by itself", DISK)
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

TEST(absent_queue_has_size_0, "PCI-DEV-25",
	"the size of a queue that does not exist reads 0, and writes to it touch no other", DISK)
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

TEST(queue_sizes_are_powers_of_two, "PCI-DEV-26", "each queue's size is a power of two up to 32768",
	DISK)
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

TEST(queue_size_can_be_reduced, "PCI-DEV-26",
	"a smaller size is kept, and reset brings the maximum back", DISK)
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

TEST(packed_queue_of_size_0, "PCI-DRV-15",
	"a packed queue that the driver gave size 0 does not run, or runs with its old size, and a "
	"reset leads back",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint16_t max, size;

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(VIRTIO_F_RING_PACKED)))
		SKIP("packed rings are not offered");
	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_RING_PACKED)));
	set_common16(d, PCI_COMMON_QUEUE_SELECT, 0);
	max = common16(d, PCI_COMMON_QUEUE_SIZE);
	set_common16(d, PCI_COMMON_QUEUE_SIZE, 0);
	size = common16(d, PCI_COMMON_QUEUE_SIZE);
	EXPECT_TRUE(size == max || (!raw_strict() && size == 0));
	raw_recovers(d);
}

TEST(enabled_queue_keeps_its_geometry, "PCI-DRV-17 PCI-DRV-19",
	"writes to a live queue's size, addresses and enable do not move it", DISK)
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
	EXPECT_EQ(raw_used_count(&d->ring), 4);
}

TEST(enable_before_addresses, "PCI-DRV-17",
	"a queue enabled without addresses does not run at address 0, and a reset leads back", DISK)
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

TEST(feature_words_beyond_are_0, "PCI-DEV-14",
	"device_feature reads 0 for selects beyond the defined words", DISK)
{
	struct raw_disk *d = raw_disk_find();
	static const uint32_t words[] = {2, 3, 4, 0x80000000, 0xffffffff};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		EXPECT_EQ(d->dev.transport->device_feature(&d->dev, words[i]), 0);
		EXPECT_EQ(common32(d, PCI_COMMON_DEVICE_FEATURE_SELECT), words[i]);
	}
	EXPECT_NE(virtio_offered(&d->dev), 0);
}

TEST(driver_features_read_back, "PCI-DEV-15",
	"driver_feature reads back what was written, for each word", DISK)
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

TEST(odd_widths_disturb_no_neighbour, "PCI-DRV-05",
	"accesses of a wrong width leave the neighbouring registers as they were", DISK)
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

TEST(queue_reset, "PCI-DEV-20 PCI-DEV-22 PCI-DEV-24 VQR-DEV-01",
	"a queue reset ends with queue_reset 0 and queue_enable 0, and the queue uses nothing "
	"until it is enabled again",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint32_t interrupts;

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(VIRTIO_F_RING_RESET)))
		SKIP("RING_RESET is not offered");
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_RING_RESET), 0));
	raw_serves(d);
	EXPECT_EQ(d->dev.transport->queue_reset_state(&d->dev, 0), 0);
	d->dev.transport->queue_reset(&d->dev, 0);
	EXPECT_TRUE(
		WAIT_UNTIL(d->dev.transport->queue_reset_state(&d->dev, 0) == 0, RAW_ANSWER_US));
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 0);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	interrupts = virtio_queue_interrupts(&d->dev, 0);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(*d->status, 0xff);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), interrupts);
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(d->dev.transport->queue_reset_state(&d->dev, 0), 0);
}

TEST(queue_enabled_again, "PCI-DEV-21 VQR-DEV-02 VQR-DEV-03",
	"after a queue reset the queue runs at another place, with another size, from entry 0",
	DISK)
{
	struct raw_disk *d = raw_disk_find();

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(VIRTIO_F_RING_RESET)))
		SKIP("RING_RESET is not offered");
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_RING_RESET), 0));
	raw_serves(d);
	d->dev.transport->queue_reset(&d->dev, 0);
	EXPECT_TRUE(
		WAIT_UNTIL(d->dev.transport->queue_reset_state(&d->dev, 0) == 0, RAW_ANSWER_US));
	raw_ring_alloc(&d->ring, &d->dev, 0, 16);
	raw_ring_enable(&d->ring);
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 1);
	EXPECT_EQ(d->dev.transport->queue_reset_state(&d->dev, 0), 0);
	EXPECT_EQ(d->dev.transport->queue_max(&d->dev, 0), 16);
	raw_serves(d);
	EXPECT_EQ(raw_used_count(&d->ring), 2);
	/* More than a lap: a ring of any other size would end or turn elsewhere. */
	for (unsigned i = 0; i < 18; i++)
		ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	EXPECT_EQ(raw_used_count(&d->ring), 20);
	EXPECT_EQ(virtio_status(&d->dev), VIRTIO_S_RUNNING);
}
