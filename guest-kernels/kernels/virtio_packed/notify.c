/* SPDX-License-Identifier: MIT */
/*
 * Event suppression of the packed ring, both ways (virtio 1.4, 2.8.10 and 2.8.14), with interrupts
 * that are counted where they arrive.
 */
#include "kernels/blk-batches.h"
#include "packed.h"

static void read_one(struct raw_disk *d)
{
	ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
}

static void ask(struct raw_disk *d, uint32_t event)
{
	*d->ring.driver_event = event;
	full_barrier();
}

TEST(enabled_events, "", "with the driver's event flags 0 each used buffer brings one interrupt",
	DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);

	for (unsigned i = 1; i <= 5; i++) {
		read_one(d);
		if (!raw_interrupts(d, i))
			break;
	}
}

TEST(disabled_events, "", "with the driver's event flags 1 ten buffers bring no interrupt", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);

	ask(d, PACKED_EVENT_DISABLE);
	for (int i = 0; i < 10; i++)
		read_one(d);
	delay_us(RAW_QUIET_US);
	if (virtio_queue_interrupts(&d->dev, 0))
		DEVIATES("%u interrupts came", virtio_queue_interrupts(&d->dev, 0));
}

TEST(enabled_again, "", "when the event flags are 0 again the next used buffer interrupts", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);
	uint32_t before;

	ask(d, PACKED_EVENT_DISABLE);
	read_one(d);
	delay_us(2000);
	before = virtio_queue_interrupts(&d->dev, 0);
	ask(d, PACKED_EVENT_ENABLE);
	read_one(d);
	raw_interrupts(d, before + 1);
}

TEST(event_for_one_descriptor, "",
	"an event for a descriptor of the second lap comes when that one is used, and none before",
	DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT | RAW_EVENT_IDX, 7);
	uint32_t early;

	/* The lists begin at 0, 3, 6, then 2 and 5 of the second lap. */
	ask(d, packed_event(5, 0));
	for (unsigned i = 0; i < 4; i++)
		read_one(d);
	delay_us(RAW_QUIET_US);
	early = virtio_queue_interrupts(&d->dev, 0);
	if (early)
		DEVIATES("%u interrupts came before that descriptor was used", early);
	read_one(d);
	raw_interrupts(d, early + 1);
	read_one(d);
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), early + 1);
}

TEST(event_inside_a_batch, "", "an event that a batch passes over brings an interrupt", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT | RAW_EVENT_IDX, 0);

	/* QEMU interrupts at the first decision, whatever the event is (finding 015). */
	ask(d, packed_event(0, 1));
	read_one(d);
	if (!raw_interrupts(d, 1))
		test_leave();
	ask(d, packed_event(9, 1));
	for (unsigned i = 1; i <= 6; i++) {
		raw_request(d, 3 * i, BLK_T_IN, 0, d->data, 512);
		raw_publish(&d->ring, 3 * i);
	}
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 6));
	raw_interrupts(d, 2);
}

TEST(event_of_a_reserved_kind, "",
	"with event flags 3 buffers are used all the same, and flags of 0 bring interrupts again",
	DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);
	uint32_t before;

	ask(d, PACKED_EVENT_DESCRIPTOR | PACKED_EVENT_DISABLE);
	for (unsigned i = 0; i < 5; i++)
		read_one(d);
	delay_us(2000);
	before = virtio_queue_interrupts(&d->dev, 0);
	ask(d, PACKED_EVENT_ENABLE);
	read_one(d);
	raw_interrupts(d, before + 1);
}

/* Every value that the device shows in its structure while requests run. */
static void device_events(uint64_t features, uint32_t allowed_kinds)
{
	struct raw_disk *d = packed_disk(features, 7);

	for (unsigned i = 0; i < 10; i++) {
		uint32_t seen = 0;

		raw_request(d, 0, BLK_T_IN, 0, d->data, 4096);
		raw_publish(&d->ring, 0);
		raw_kick(&d->ring);
		while (!raw_pending(&d->ring)) {
			seen = *d->ring.device_event;
			if (!(allowed_kinds >> (seen >> 16 & 3) & 1) || seen >> 18)
				FAIL("the device's event structure is 0x%x", seen);
			if (seen >> 16 == 2 && (seen & 0x7fff) >= d->ring.size)
				FAIL("an event for descriptor %u is asked for", seen & 0x7fff);
			if (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET)
				FAIL("NEEDS_RESET");
		}
		raw_take(&d->ring);
		ASSERT_EQ(*d->status, BLK_S_OK);
		/* The same once it has come to rest. */
		delay_us(200);
		seen = *d->ring.device_event;
		if (!(allowed_kinds >> (seen >> 16 & 3) & 1) || seen >> 18)
			FAIL("the device's event structure is 0x%x at rest", seen);
	}
}

TEST(device_asks_by_flags, "",
	"without EVENT_IDX the device's event flags are 0 or 1, reserved bits 0", DISK)
{
	device_events(RAW_DEFAULT, 3);
}

TEST(device_asks_by_descriptor, "",
	"with EVENT_IDX the device's event flags are 0 to 2, its descriptor is one of the ring",
	DISK)
{
	device_events(RAW_DEFAULT | RAW_EVENT_IDX, 7);
}

static void kick_when_asked(uint64_t features)
{
	struct raw_disk *d = packed_disk(features, 7);
	unsigned kicks = 0;

	for (unsigned i = 0; i < 60; i++) {
		bool asked;

		raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
		raw_publish(&d->ring, 0);
		asked = packed_wanted(*d->ring.device_event, d->ring.put.index, d->ring.put.wrap,
			d->ring.size, 3);
		if (asked)
			raw_kick(&d->ring);
		kicks += asked;
		ASSERT_TRUE(raw_used(&d->ring, 1));
		raw_take(&d->ring);
		ASSERT_EQ(*d->status, BLK_S_OK);
	}
	EXPECT_GE(kicks, 1);
	test_metric("kicks", kicks);
}

TEST(doorbell_only_when_flags_ask, "",
	"ringing only while the device's event flags are 0 stalls nothing", DISK)
{
	kick_when_asked(RAW_DEFAULT);
}

TEST(doorbell_only_when_the_descriptor_asks, "",
	"ringing only when the device's descriptor is passed stalls nothing", DISK)
{
	kick_when_asked(RAW_DEFAULT | RAW_EVENT_IDX);
}

TEST(needless_doorbells, "PKD-DRV-05",
	"100 doorbells of an empty ring use nothing, interrupt nothing and harm nothing", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);

	for (int i = 0; i < 100; i++)
		raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 0);
	raw_serves(d);
	EXPECT_EQ(raw_used_count(&d->ring), 2);
}

static void batches(uint64_t without)
{
	struct virtio_blk *disk = arena_alloc(sizeof(*disk), 64);

	if (!virtio_blk_open(disk,
		    &(struct virtio_blk_options){
			    .depth = 16, .polling = true, .without = without}) ||
		disk->read_only)
		SKIP("no writable disk");
	if (!virtio_has(&disk->dev, VIRTIO_F_RING_PACKED))
		SKIP("the disk offers no packed ring");
	blk_moves_in_batches(disk);
}

TEST(driver_in_batches, "", "the driver library moves 64 requests in batches of 16, data compared",
	DISK)
{
	batches(0);
}

TEST(driver_without_tables, "PKD-DEV-07",
	"the same with lists in the ring, and without the event index", DISK)
{
	batches(RAW_INDIRECT | RAW_EVENT_IDX);
}

TEST(driver_by_interrupts, "",
	"the driver library that sleeps until an interrupt misses no completion", DISK)
{
	struct virtio_blk *disk = arena_alloc(sizeof(*disk), 64);
	struct virtio_blk_done done;
	uint8_t *buffer = guarded_alloc(512);

	if (!virtio_blk_open(disk, &(struct virtio_blk_options){
					   .depth = 4, .queue_size = 5, .irq = VIRTIO_IRQ_BEST}))
		SKIP("no disk");
	if (!virtio_has(&disk->dev, VIRTIO_F_RING_PACKED))
		SKIP("the disk offers no packed ring");
	for (unsigned i = 0; i < 20; i++) {
		uint32_t before = virtio_queue_interrupts(&disk->dev, 0);

		ASSERT_TRUE(virtio_blk_submit(disk, i, buffer, 512, false, NULL));
		virtio_blk_kick(disk);
		ASSERT_TRUE(
			WAIT_UNTIL(virtio_queue_interrupts(&disk->dev, 0) > before, RAW_ANSWER_US));
		ASSERT_EQ(virtio_blk_reap(disk, &done, 1), 1);
		EXPECT_EQ(done.status, BLK_S_OK);
		EXPECT_EQ(virtio_blk_reap(disk, &done, 1), 0);
	}
}
