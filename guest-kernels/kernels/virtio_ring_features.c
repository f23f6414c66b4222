/* SPDX-License-Identifier: MIT */
/*
 * Feature bits about rings and doorbells (virtio 1.4, chapter 6, 2.9 and 4.1.5.2), on split and on
 * packed rings: IN_ORDER, NOTIFICATION_DATA, NOTIF_CONFIG_DATA, ACCESS_PLATFORM, ORDER_PLATFORM.
 * With IN_ORDER a device may write one used element for a batch; our own does.
 */
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK	    NEEDS("disk:virtio")
#define IN_ORDER    VIRTIO_BIT(VIRTIO_F_IN_ORDER)
#define NOTIFY_DATA VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA)
#define NOTIFY_NAME VIRTIO_BIT(VIRTIO_F_NOTIF_CONFIG_DATA)

/* A disk that took all of `must`; SKIPs where they are not offered. */
static struct raw_disk *disk_with(uint64_t must)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t missing = must & ~virtio_offered(&d->dev);

	if (missing)
		SKIP("the disk does not offer features 0x%lx", missing);
	if (!raw_disk_start(d, RAW_DEFAULT | must, 0))
		FAIL("FEATURES_OK did not stay");
	EXPECT_EQ(d->dev.features & must, must);
	return d;
}

/* Eight pairs of a slow request and one that is answered at once, in one kick. */
static void slow_and_fast(struct raw_disk *d, uint8_t *status, uint8_t *ids)
{
	struct blk_header *fast = guarded_alloc(sizeof(*fast));

	memset(status, 0xff, 16);
	*d->header = (struct blk_header){.type = BLK_T_IN};
	*fast = (struct blk_header){.type = BLK_T_GET_ID};
	for (unsigned i = 0; i < 16; i++) {
		bool slow = i % 2 == 0;

		raw_descriptor(
			&d->ring, 3 * i, phys(slow ? d->header : fast), 16, RING_NEXT, 3 * i + 1);
		raw_descriptor(&d->ring, 3 * i + 1, phys(slow ? d->data : ids), slow ? 4096 : 20,
			RING_NEXT | RING_WRITE, 3 * i + 2);
		raw_descriptor(&d->ring, 3 * i + 2, phys(status + i), 1, RING_WRITE, 0);
		raw_publish(&d->ring, 3 * i);
	}
	raw_kick(&d->ring);
}

TEST(used_in_order, "RSVD-DEV-05",
	"with IN_ORDER slow and fast requests are used in the order in which they were made "
	"available",
	DISK)
{
	struct raw_disk *d = disk_with(IN_ORDER);
	uint8_t *status = guarded_alloc(16), *ids = guarded_alloc(20);

	if (d->ring.size < 48)
		SKIP("the queue has %u entries", d->ring.size);
	slow_and_fast(d, status, ids);
	for (unsigned i = 0; i < 16; i++) {
		struct ring_used_element e;

		ASSERT_TRUE(WAIT_UNTIL(raw_pending(&d->ring), RAW_ANSWER_US));
		e = raw_take(&d->ring);
		if (!EXPECT_EQ(e.id, 3 * i))
			return;
		EXPECT_EQ(e.length, i % 2 ? 21 : 4097);
		EXPECT_EQ(status[i], BLK_S_OK);
	}
	EXPECT_TRUE(memory_is(status, 0, 16, NULL));
}

TEST(order_across_the_wrap, "RSVD-DEV-05",
	"with IN_ORDER the order holds over several laps of the ring", DISK, LIFE)
{
	struct raw_disk *d = disk_with(IN_ORDER);
	uint8_t *status = guarded_alloc(16), *ids = guarded_alloc(20);

	if (d->ring.size < 48)
		SKIP("the queue has %u entries", d->ring.size);
	for (unsigned lap = 0; lap < 3; lap++) {
		slow_and_fast(d, status, ids);
		ASSERT_TRUE(raw_used(&d->ring, 16));
		for (unsigned i = 0; i < 16; i++)
			if (!EXPECT_EQ(raw_take(&d->ring).id, 3 * i))
				return;
		EXPECT_TRUE(memory_is(status, 0, 16, NULL));
	}
}

/* Batches among sixteen requests of three descriptors, in a ring where nothing was used before:
 * each has an element where its first one would be, and the places behind it stay as they were. */
static unsigned count_batches(struct raw_disk *d)
{
	struct raw_ring *r = &d->ring;
	unsigned batches = 0;

	for (unsigned next = 0; next < 16; batches++) {
		uint32_t id = r->packed ? r->ring[3 * next].id : r->used->ring[next].id;

		if (!EXPECT_EQ(id % 3, 0) || !EXPECT_GE(id / 3, next) || !EXPECT_LT(id / 3, 16))
			return 0;
		if (r->packed)
			EXPECT_TRUE(raw_is_used(r, (struct raw_place){3 * next, 1}));
		while (next++ < id / 3) {
			if (r->packed)
				EXPECT_FALSE(raw_is_used(r, (struct raw_place){3 * next, 1}));
			else
				EXPECT_EQ(r->used->ring[next].id, 0xeeeeeeee);
		}
	}
	return batches;
}

TEST(one_element_a_batch, "RSVD-DEV-05",
	"with IN_ORDER what is used at once has one used element, that of its last, and the "
	"places of the others are skipped",
	DISK)
{
	struct raw_disk *d = disk_with(IN_ORDER);
	uint8_t *status = guarded_alloc(16), *ids = guarded_alloc(20);
	unsigned batches;

	if (d->ring.size < 48)
		SKIP("the queue has %u entries", d->ring.size);
	if (!d->ring.packed)
		memset((void *)d->ring.used->ring, 0xee, 8 * d->ring.size);
	slow_and_fast(d, status, ids);
	ASSERT_TRUE(raw_used(&d->ring, 16));
	EXPECT_TRUE(memory_is(status, 0, 16, NULL));
	batches = count_batches(d);
	metric("batches", batches);
	/* A fast one has waited for the slow one before it.  Other devices need not have batches.
	 */
	if (raw_strict())
		EXPECT_LE(batches, 8);
}

/* A read, a read beyond the end and a GET_ID, five times, in one kick. */
static void good_and_bad(struct raw_disk *d, uint8_t *status)
{
	struct blk_header *bad = guarded_alloc(sizeof(*bad)), *fast = guarded_alloc(sizeof(*fast));
	struct blk_header *headers[] = {d->header, bad, fast};

	memset(status, 0xff, 15);
	*d->header = (struct blk_header){.type = BLK_T_IN};
	*bad = (struct blk_header){.type = BLK_T_IN, .sector = d->capacity};
	*fast = (struct blk_header){.type = BLK_T_GET_ID};
	for (unsigned i = 0; i < 15; i++) {
		raw_descriptor(&d->ring, 3 * i, phys(headers[i % 3]), 16, RING_NEXT, 3 * i + 1);
		raw_descriptor(&d->ring, 3 * i + 1, phys(d->data), i % 3 == 2 ? 20 : 512,
			RING_NEXT | RING_WRITE, 3 * i + 2);
		raw_descriptor(&d->ring, 3 * i + 2, phys(status + i), 1, RING_WRITE, 0);
		raw_publish(&d->ring, 3 * i);
	}
	raw_kick(&d->ring);
}

TEST(no_batch_over_a_short_one, "",
	"with IN_ORDER a buffer that was not written completely is not skipped over: its length "
	"is told",
	DISK)
{
	static const uint32_t lengths[] = {513, 0, 21};
	struct raw_disk *d = disk_with(IN_ORDER);
	uint8_t *status = guarded_alloc(15);

	if (d->ring.size < 45)
		SKIP("the queue has %u entries", d->ring.size);
	good_and_bad(d, status);
	ASSERT_TRUE(raw_used(&d->ring, 15));
	for (unsigned i = 0; i < 15; i++) {
		struct ring_used_element e = raw_take(&d->ring);

		EXPECT_EQ(e.id, 3 * i);
		EXPECT_EQ(e.length, lengths[i % 3]);
		EXPECT_EQ(status[i], i % 3 == 1 ? BLK_S_IOERR : BLK_S_OK);
	}
}

TEST(event_inside_a_batch, "VQ-DEV-11",
	"with IN_ORDER and the event index one interrupt comes when the entry is used that the "
	"driver named, skipped over or not",
	DISK)
{
	struct raw_disk *d = disk_with(IN_ORDER | RAW_EVENT_IDX);
	uint8_t *status = guarded_alloc(16), *ids = guarded_alloc(20);

	if (d->ring.size < 48)
		SKIP("the queue has %u entries", d->ring.size);
	if (d->ring.packed)
		*d->ring.driver_event = packed_event(3 * 6, 1);
	else
		*ring_used_event(d->ring.avail, d->ring.size) = 6; /* slow: fast 7 ends its batch */
	slow_and_fast(d, status, ids);
	ASSERT_TRUE(raw_used(&d->ring, 16));
	EXPECT_TRUE(raw_interrupts(d, 1));
}

TEST(reset_while_one_waits_for_another, "RST-DEV-02",
	"with IN_ORDER a reset in the middle leaves nothing behind: the disk serves again", DISK)
{
	struct raw_disk *d = disk_with(IN_ORDER);
	uint8_t *status = guarded_alloc(16), *ids = guarded_alloc(20);

	if (d->ring.size < 48)
		SKIP("the queue has %u entries", d->ring.size);
	for (unsigned i = 0; i < 4; i++) {
		slow_and_fast(d, status, ids);
		ASSERT_TRUE(virtio_reset(&d->dev));
		ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT | IN_ORDER, 0));
	}
	raw_serves(d);
	EXPECT_EQ(raw_used_count(&d->ring), 2);
}

TEST(doorbell_with_data, "PCI-DRV-37 PCI-DRV-39",
	"with NOTIFICATION_DATA doorbells of 32 bits that carry the next place are served", DISK)
{
	struct raw_disk *d = disk_with(NOTIFY_DATA);

	for (unsigned i = 0; i < 30; i++) /* more than one lap */
		ASSERT_EQ(raw_do(d, BLK_T_IN, i, d->data, 512), BLK_S_OK);
	raw_serves(d);
	EXPECT_EQ(raw_used_count(&d->ring), 32);
}

TEST(doorbell_structure_with_data, "PCI-DEV-34 PCI-DEV-35 PCI-DEV-36a PCI-DEV-36b PCI-DEV-37",
	"with NOTIFICATION_DATA offered, the doorbells' structure has room for 32 bits of each "
	"queue",
	NEEDS("disk:virtio pci"))
{
	struct raw_disk *d = disk_with(NOTIFY_DATA);
	uint32_t m = d->dev.notify_multiplier;

	EXPECT_EQ(m & (m - 1), 0);
	EXPECT_EQ(m % 4, 0);
	EXPECT_EQ(phys(d->dev.notify) % 4, 0);
	EXPECT_GE(d->dev.notify_length, 4);
	for (unsigned i = 0; i < mmio_read16(d->dev.common + PCI_COMMON_NUM_QUEUES); i++) {
		mmio_write16(d->dev.common + PCI_COMMON_QUEUE_SELECT, i);
		EXPECT_LE(mmio_read16(d->dev.common + PCI_COMMON_QUEUE_NOTIFY_OFF) * m + 4,
			d->dev.notify_length);
	}
}

TEST(doorbell_by_name, "PCI-DRV-40",
	"with NOTIF_CONFIG_DATA doorbells that carry the queue's name are served", DISK)
{
	struct raw_disk *d = disk_with(NOTIFY_NAME);

	for (unsigned i = 0; i < 4; i++)
		ASSERT_EQ(raw_do(d, BLK_T_IN, i, d->data, 512), BLK_S_OK);
	mmio_write16(d->dev.common + PCI_COMMON_QUEUE_SELECT, 0);
	EXPECT_EQ(mmio_read16(d->dev.common + PCI_COMMON_QUEUE_NOTIF_DATA), d->dev.names[0]);
	mmio_write16(d->dev.common + PCI_COMMON_QUEUE_NOTIF_DATA, ~d->dev.names[0]);
	EXPECT_EQ(mmio_read16(d->dev.common + PCI_COMMON_QUEUE_NOTIF_DATA), d->dev.names[0]);
}

TEST(doorbell_by_name_with_data, "PCI-DRV-41",
	"with NOTIF_CONFIG_DATA and NOTIFICATION_DATA doorbells that carry both are served", DISK)
{
	struct raw_disk *d = disk_with(NOTIFY_NAME | NOTIFY_DATA);

	for (unsigned i = 0; i < 4; i++)
		ASSERT_EQ(raw_do(d, BLK_T_IN, i, d->data, 512), BLK_S_OK);
}

TEST(platform_features, "RSVD-DEV-06",
	"ACCESS_PLATFORM and ORDER_PLATFORM can be taken, and without an IOMMU addresses are "
	"physical",
	DISK)
{
	struct raw_disk *d = disk_with(
		VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) | VIRTIO_BIT(VIRTIO_F_ORDER_PLATFORM));

	raw_serves(d);
	EXPECT_EQ(virtio_status(&d->dev), VIRTIO_S_RUNNING);
}

TEST(platform_features_declined, "RSVD-DEV-04 RSVD-DEV-06",
	"a driver that declines both is refused at FEATURES_OK, or served", DISK)
{
	struct raw_disk *d = raw_disk_find();

	if (!raw_disk_start(d, RAW_DEFAULT, 0)) {
		EXPECT_EQ(virtio_status(&d->dev) & VIRTIO_S_FEATURES_OK, 0);
		return;
	}
	raw_serves(d);
}

TEST(all_at_once, "RSVD-DEV-05", "with every one of these features 24 requests are served in order",
	DISK)
{
	uint64_t all = IN_ORDER | NOTIFY_DATA | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) |
		       VIRTIO_BIT(VIRTIO_F_ORDER_PLATFORM) | RAW_EVENT_IDX | RAW_INDIRECT;
	struct raw_disk *d = disk_with(all);

	for (unsigned i = 0; i < 24; i++) {
		struct ring_used_element e;
		unsigned first = 3 * (i % 8);

		raw_request(d, first, BLK_T_IN, i, d->data, 512);
		raw_publish(&d->ring, first);
		raw_kick(&d->ring);
		ASSERT_TRUE(raw_used(&d->ring, 1));
		e = raw_take(&d->ring);
		EXPECT_EQ(e.id, first);
		EXPECT_EQ(e.length, 513);
	}
}
