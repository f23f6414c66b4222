/* SPDX-License-Identifier: MIT */
/* What a device owes through either legacy interface: features, status, the ring's place, its use.
 */
#include "virtio_legacy.h"

struct raw_disk *legacy_find(void)
{
	struct raw_disk *d = raw_disk_find();

	if (!d->dev.legacy) {
		if (!d->dev.is_pci || !virtio_pci_use(&d->dev, true))
			SKIP("the disk has no legacy interface");
		virtio_interrupts(&d->dev, VIRTIO_IRQ_BEST);
	}
	return d;
}

struct raw_disk *legacy_disk(uint64_t features)
{
	struct raw_disk *d = legacy_find();

	if (!raw_disk_start(d, features, 0))
		FAIL("the disk does not start");
	return d;
}

void legacy_queue(struct raw_disk *d)
{
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	raw_ring_enable(&d->ring);
}

void legacy_reads(struct raw_disk *d)
{
	memset(d->data, 0x77, 512);
	ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	EXPECT_FALSE(memory_is(d->data, 0x77, 512, NULL));
}

uint32_t legacy_page(struct raw_disk *d)
{
	if (!d->dev.io) {
		mmio_write32(d->dev.mmio + MMIO_QUEUE_SEL, 0);
		return mmio_read32(d->dev.mmio + MMIO_QUEUE_PFN);
	}
	outw(d->dev.io + PCI_LEGACY_QUEUE_SELECT, 0);
	return inl(d->dev.io + PCI_LEGACY_QUEUE_ADDRESS);
}

TEST(status_without_features_ok, "INIT-DRV-01",
	"each status of the legacy sequence, 1, 3 and 7, reads back, and requests are served", DISK)
{
	struct raw_disk *d = legacy_find();

	for (uint8_t status = 1; status <= 3; status += 2) {
		virtio_set_status(&d->dev, status);
		EXPECT_EQ(virtio_status(&d->dev), status);
	}
	virtio_accept(&d->dev, 0);
	legacy_queue(d);
	virtio_set_status(&d->dev, 7);
	EXPECT_EQ(virtio_status(&d->dev), 7);
	legacy_reads(d);
}

TEST(any_layout_is_offered, "", "a transitional device offers ANY_LAYOUT by its legacy interface",
	DISK)
{
	struct raw_disk *d = legacy_find();

	if (!d->dev.common && !raw_strict())
		SKIP("a device that is legacy and no more need not offer it");
	EXPECT_EQ(virtio_offered(&d->dev) >> VIRTIO_F_ANY_LAYOUT & 1, 1);
}

TEST(zoned_is_not_offered, "BLK-DEV-05", "the legacy interface does not offer ZONED", DISK)
{
	struct raw_disk *d = legacy_find();

	EXPECT_NE(virtio_offered(&d->dev), 0);
	EXPECT_EQ(virtio_offered(&d->dev) >> BLK_F_ZONED & 1, 0);
}

TEST(features_are_remembered, "",
	"accepted features are in force without FEATURES_OK: an indirect request is served", DISK)
{
	struct raw_disk *d = legacy_find();
	struct ring_descriptor *table = arena_alloc(48, 16);

	if (!(virtio_offered(&d->dev) & RAW_INDIRECT))
		SKIP("no indirect descriptors");
	ASSERT_TRUE(raw_disk_start(d, LEGACY_DEFAULT | RAW_INDIRECT, 0));
	*d->header = (struct blk_header){.type = BLK_T_IN};
	*d->status = 0xff;
	table[0] = (struct ring_descriptor){phys(d->header), 16, RING_NEXT, 1};
	table[1] = (struct ring_descriptor){phys(d->data), 512, RING_NEXT | RING_WRITE, 2};
	table[2] = (struct ring_descriptor){phys(d->status), 1, RING_WRITE, 0};
	raw_descriptor(&d->ring, 0, phys(table), 48, RING_INDIRECT, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(high_features_are_not_accepted, "",
	"bits 32 and up count as not accepted: the ring is a split one and is served in any order",
	DISK)
{
	struct raw_disk *d = legacy_disk(~0ul);

	EXPECT_EQ(d->dev.features >> 32, 0);
	for (unsigned i = 0; i < 3; i++)
		legacy_reads(d);
	EXPECT_EQ(d->ring.used->idx, 3);
}

TEST(ring_in_one_piece, "",
	"available and used parts lie where 2.7.2 says, and stay there when the indices go round",
	DISK)
{
	struct raw_disk *d = legacy_disk(LEGACY_DEFAULT);
	uint8_t *piece = (uint8_t *)d->ring.descriptors;

	EXPECT_EQ((uint8_t *)d->ring.avail - piece, 16 * d->ring.size);
	EXPECT_EQ((uint8_t *)d->ring.used - piece,
		(16 * d->ring.size + 6 + 2 * d->ring.size + 4095) / 4096 * 4096);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	for (unsigned i = 0; i <= d->ring.size; i++) {
		raw_publish(&d->ring, 0);
		virtio_notify(&d->dev, 0);
		ASSERT_TRUE(raw_used(&d->ring, 1));
		EXPECT_EQ(raw_take(&d->ring).id, 0);
	}
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_EQ(d->ring.used->idx, d->ring.size + 1);
}

TEST(used_before_driver_ok, "",
	"a request that is published and announced before DRIVER_OK is served", DISK)
{
	struct raw_disk *d = legacy_find();

	virtio_set_status(&d->dev, 3);
	virtio_accept(&d->dev, 0);
	legacy_queue(d);
	legacy_reads(d);
	EXPECT_EQ(virtio_status(&d->dev), 3);
	virtio_set_status(&d->dev, 7);
	legacy_reads(d);
	EXPECT_EQ(d->ring.used->idx, 2);
}

TEST(used_before_features, "",
	"a driver that never writes features is served, with none of them in force", DISK)
{
	struct raw_disk *d = legacy_find();

	legacy_queue(d);
	legacy_reads(d);
	EXPECT_EQ(d->ring.used->idx, 1);
}

TEST(configuration_written_early, "",
	"the cache mode can be written before features are read, and neither features nor "
	"DRIVER_OK change it then",
	DISK)
{
	struct raw_disk *d = legacy_find();
	uint8_t was;

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(BLK_F_CONFIG_WCE)))
		SKIP("CONFIG_WCE is not offered");
	ASSERT_TRUE(virtio_reset(&d->dev));
	was = virtio_config8(&d->dev, BLK_C_WRITEBACK);
	virtio_config_write8(&d->dev, BLK_C_WRITEBACK, !was);
	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), !was);
	virtio_config_write8(&d->dev, BLK_C_WRITEBACK, 1);
	virtio_set_status(&d->dev, 3);
	virtio_accept(&d->dev, VIRTIO_BIT(BLK_F_CONFIG_WCE));
	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), 1);
	legacy_queue(d);
	virtio_set_status(&d->dev, 7);
	EXPECT_EQ(virtio_config8(&d->dev, BLK_C_WRITEBACK), 1);
	legacy_reads(d);
}

TEST(reset_forgets_everything, "RST-DEV-01 RST-DEV-02",
	"after a reset status, page number and interrupt status read 0, and the device starts anew",
	DISK)
{
	struct raw_disk *d = legacy_disk(LEGACY_DEFAULT);

	legacy_reads(d);
	EXPECT_NE(legacy_page(d), 0);
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(virtio_status(&d->dev), 0);
	EXPECT_EQ(legacy_page(d), 0);
	EXPECT_EQ(d->dev.transport->interrupt_status(&d->dev), 0);
	virtio_interrupts(&d->dev, d->dev.irq);
	ASSERT_TRUE(raw_disk_start(d, LEGACY_DEFAULT, 0));
	legacy_reads(d);
	EXPECT_EQ(d->ring.used->idx, 1);
}

TEST(page_number_reads_back, "", "the page number reads back, until 0 is written", DISK)
{
	struct raw_disk *d = legacy_find();

	EXPECT_EQ(legacy_page(d), 0);
	virtio_set_status(&d->dev, 3);
	legacy_queue(d);
	EXPECT_EQ(legacy_page(d), phys(d->ring.descriptors) / RING_LEGACY_ALIGN);
	d->dev.legacy_page[0] = 0;
	d->dev.transport->queue_enable(&d->dev, 0);
	EXPECT_EQ(legacy_page(d), 0);
}

TEST(queue_that_ended, "", "after its page number became 0 a queue is not served", DISK)
{
	struct raw_disk *d = legacy_disk(LEGACY_DEFAULT);

	legacy_reads(d);
	d->dev.legacy_page[0] = 0;
	d->dev.transport->queue_enable(&d->dev, 0);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	memset(d->data, 0x44, 512);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_TRUE(memory_is(d->data, 0x44, 512, NULL));
	raw_recovers(d);
}

/* A driver that wants no interrupts; true if one came for the last buffer. */
static bool interrupts_when_empty(struct raw_disk *d, uint64_t features)
{
	ASSERT_TRUE(raw_disk_start(d, features, 0));
	d->ring.avail->flags = RING_NO_INTERRUPT;
	full_barrier();
	legacy_reads(d);
	return WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) != 0,
		features >> VIRTIO_F_NOTIFY_ON_EMPTY & 1 ? RAW_ANSWER_US : RAW_QUIET_US);
}

TEST(notify_on_empty, "",
	"with NOTIFY_ON_EMPTY an interrupt comes when no buffer is left although the driver wants "
	"none, and without it none comes",
	DISK)
{
	struct raw_disk *d = legacy_find();

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(VIRTIO_F_NOTIFY_ON_EMPTY)))
		SKIP("NOTIFY_ON_EMPTY is not offered");
	EXPECT_FALSE(interrupts_when_empty(d, LEGACY_DEFAULT));
	ASSERT_TRUE(virtio_reset(&d->dev));
	virtio_interrupts(&d->dev, d->dev.irq);
	EXPECT_TRUE(
		interrupts_when_empty(d, LEGACY_DEFAULT | VIRTIO_BIT(VIRTIO_F_NOTIFY_ON_EMPTY)));
}

TEST(any_layout, "VQ-DEV-01",
	"with ANY_LAYOUT a header in two pieces and a status behind the data in one are served",
	DISK)
{
	struct raw_disk *d = legacy_find();
	uint8_t *buffer = guarded_alloc(513);

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT)))
		SKIP("ANY_LAYOUT is not offered");
	ASSERT_TRUE(raw_disk_start(d, LEGACY_DEFAULT, 0));
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = 5};
	memset(buffer, 0xff, 513);
	raw_descriptor(&d->ring, 0, phys(d->header), 5, RING_NEXT, 1);
	raw_descriptor(&d->ring, 1, phys(d->header) + 5, 11, RING_NEXT, 2);
	raw_descriptor(&d->ring, 2, phys(buffer), 513, RING_WRITE, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(raw_take(&d->ring).id, 0);
	EXPECT_EQ(buffer[512], BLK_S_OK);
	legacy_reads(d);
}

TEST(old_layout, "VQ-DEV-01",
	"without ANY_LAYOUT the layout that old drivers use is served: header, data and status "
	"each "
	"in a descriptor",
	DISK)
{
	struct raw_disk *d = legacy_disk(RAW_DEFAULT);

	EXPECT_EQ(d->dev.features >> VIRTIO_F_ANY_LAYOUT & 1, 0);
	raw_serves(d);
}

TEST(absent_queue, "", "a queue that does not exist has size 0 and no page number", DISK)
{
	struct raw_disk *d = legacy_find();

	EXPECT_NE(d->dev.transport->queue_max(&d->dev, 0), 0);
	EXPECT_EQ(d->dev.transport->queue_max(&d->dev, 700), 0);
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 700), 0);
}

TEST(broken_ring_and_reset, "RST-DEV-01",
	"a ring that cannot be understood stops the device, and a reset leads back", DISK)
{
	struct raw_disk *d = legacy_disk(LEGACY_DEFAULT);

	legacy_reads(d);
	raw_publish(&d->ring, d->ring.size); /* no such descriptor */
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	raw_recovers(d);
}

TEST(resize_by_two_readings, "BLK-DEV-19",
	"without a generation the new capacity is read, and a configuration interrupt comes",
	NEEDS("disk:virtio ctl"))
{
	struct raw_disk *d = legacy_disk(LEGACY_DEFAULT);
	uint64_t before = d->capacity, after = before + 2048;
	uint32_t interrupts = virtio_config_interrupts(&d->dev);

	if (!ctl_request("resize", "disk0 %lu", after * 512))
		SKIP("the host cannot resize: %s", ctl_reason());
	EXPECT_TRUE(WAIT_UNTIL(virtio_config64(&d->dev, BLK_C_CAPACITY) == after, RAW_ANSWER_US));
	EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&d->dev) > interrupts, RAW_ANSWER_US));
	ASSERT_TRUE(ctl_request("resize", "disk0 %lu", before * 512) != NULL);
}
