/* SPDX-License-Identifier: MIT */
/*
 * Notifications of the split ring and their suppression, both ways
 * (virtio 1.4, 2.7.7, 2.7.9, 2.7.10), with interrupts that are counted where they arrive.
 */
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK NEEDS("disk:virtio")

static void read_one(struct raw_disk *d)
{
	ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
}

TEST(one_interrupt_a_request, "VQ-DEV-09",
	"with the available flags 0 each used buffer brings one interrupt", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	for (unsigned i = 1; i <= 5; i++) {
		read_one(d);
		if (!raw_interrupts(d, i))
			break;
	}
}

TEST(no_interrupt_when_not_wanted, "VQ-DEV-08",
	"with the available flags 1 ten requests bring no interrupt", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	d->ring.avail->flags = RING_NO_INTERRUPT;
	for (int i = 0; i < 10; i++)
		read_one(d);
	delay_us(RAW_QUIET_US);
	if (virtio_queue_interrupts(&d->dev, 0))
		DEVIATES("%u interrupts came", virtio_queue_interrupts(&d->dev, 0));
}

TEST(interrupts_again_when_wanted, "VQ-DEV-09",
	"when the flag is 0 again the next used buffer interrupts", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint32_t before;

	d->ring.avail->flags = RING_NO_INTERRUPT;
	read_one(d);
	delay_us(2000);
	before = virtio_queue_interrupts(&d->dev, 0);
	d->ring.avail->flags = 0;
	full_barrier();
	read_one(d);
	raw_interrupts(d, before + 1);
}

TEST(used_event_is_ignored_without_the_feature, "VQ-DEV-07",
	"without EVENT_IDX what stands in used_event has no effect", DISK)
{
	static const uint16_t nonsense[] = {0xffff, 0, 0x8000, 5, 1234};
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	for (unsigned i = 0; i < 5; i++) {
		*ring_used_event(d->ring.avail, d->ring.size) = nonsense[i];
		read_one(d);
		if (!raw_interrupts(d, i + 1))
			break;
	}
}

TEST(event_index_overrides_the_flag, "VQ-DEV-10 VQ-DEV-11",
	"with EVENT_IDX the available flag 1 is ignored", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_EVENT_IDX);

	d->ring.avail->flags = RING_NO_INTERRUPT;
	*ring_used_event(d->ring.avail, d->ring.size) = 0;
	read_one(d);
	raw_interrupts(d, 1);
}

TEST(event_index_names_the_fifth, "VQ-DEV-11 VQ-DEV-12",
	"with used_event 4 only the fifth used buffer interrupts", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_EVENT_IDX);

	uint32_t early;

	*ring_used_event(d->ring.avail, d->ring.size) = 4;
	for (unsigned i = 0; i < 4; i++)
		read_one(d);
	delay_us(RAW_QUIET_US);
	early = virtio_queue_interrupts(&d->dev, 0);
	if (early)
		DEVIATES("%u interrupts came before the fifth used buffer", early);
	read_one(d);
	raw_interrupts(d, early + 1);
	read_one(d);
	read_one(d);
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), early + 1);
}

TEST(event_index_far_behind, "VQ-DEV-12",
	"with used_event behind the used index no further interrupt comes", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_EVENT_IDX);

	*ring_used_event(d->ring.avail, d->ring.size) = 0;
	read_one(d);
	raw_interrupts(d, 1);
	for (int i = 0; i < 6; i++)
		read_one(d);
	delay_us(RAW_QUIET_US);
	if (virtio_queue_interrupts(&d->dev, 0) != 1)
		DEVIATES(
			"%u interrupts came, 1 was asked for", virtio_queue_interrupts(&d->dev, 0));
}

TEST(event_index_inside_a_batch, "VQ-DEV-11",
	"an event index that a batch passes over brings an interrupt", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_EVENT_IDX);

	*ring_used_event(d->ring.avail, d->ring.size) = 0;
	read_one(d);
	if (!raw_interrupts(d, 1))
		test_leave();
	*ring_used_event(d->ring.avail, d->ring.size) = 3;
	for (int i = 0; i < 6; i++) {
		raw_request(d, 3 * i, BLK_T_IN, 0, d->data, 512);
		raw_publish(&d->ring, 3 * i);
	}
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 6));
	raw_interrupts(d, 2);
}

TEST(used_flags_are_0_or_1, "VQ-DEV-16",
	"without EVENT_IDX the used flags are 0 or 1 at any moment", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint16_t seen = 0;

	for (int i = 0; i < 8; i++) {
		raw_request(d, 0, BLK_T_IN, 0, d->data, 4096);
		raw_publish(&d->ring, 0);
		raw_kick(&d->ring);
		ASSERT_TRUE(WAIT_UNTIL(
			(seen |= d->ring.used->flags, d->ring.used->idx != d->ring.used_next),
			RAW_ANSWER_US));
		raw_take(&d->ring);
	}
	EXPECT_EQ(seen & ~1, 0);
}

TEST(used_flags_stay_0_with_event_index, "VQ-DEV-18",
	"with EVENT_IDX the used flags are 0 at any moment", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_EVENT_IDX);
	uint16_t seen = 0;

	for (int i = 0; i < 8; i++) {
		raw_request(d, 0, BLK_T_IN, 0, d->data, 4096);
		raw_publish(&d->ring, 0);
		raw_kick(&d->ring);
		ASSERT_TRUE(WAIT_UNTIL(
			(seen |= d->ring.used->flags, d->ring.used->idx != d->ring.used_next),
			RAW_ANSWER_US));
		raw_take(&d->ring);
	}
	EXPECT_EQ(seen, 0);
}

static void kick_when_asked(uint64_t features)
{
	struct raw_disk *d = raw_disk(features);
	uint16_t size = d->ring.size;
	unsigned kicks = 0;

	for (unsigned i = 0; i < 100; i++) {
		uint16_t before = d->ring.avail_next;
		bool asked;

		raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
		raw_publish(&d->ring, 0);
		asked = features & RAW_EVENT_IDX
				? ring_passed(*ring_avail_event(d->ring.used, size),
					  d->ring.avail_next, before)
				: !(d->ring.used->flags & RING_NO_NOTIFY);
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

TEST(doorbell_only_when_the_flag_asks, "", "ringing only while the used flag is 0 stalls nothing",
	DISK)
{
	kick_when_asked(RAW_DEFAULT);
}

TEST(doorbell_only_when_the_index_asks, "",
	"ringing only when avail_event is passed stalls nothing", DISK)
{
	kick_when_asked(RAW_DEFAULT | RAW_EVENT_IDX);
}

TEST(needless_doorbells, "VQ-DEV-20",
	"200 doorbells of an empty queue use nothing, interrupt nothing and harm nothing", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	for (int i = 0; i < 200; i++)
		raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 0);
	raw_serves(d);
	EXPECT_EQ(d->ring.used->idx, 2);
}

TEST(doorbell_before_each_descriptor, "VQ-DEV-20",
	"doorbells while a request is being written use it once, when it is published", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_kick(&d->ring);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_kick(&d->ring);
	EXPECT_EQ(d->ring.used->idx, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	raw_take(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(doorbell_of_an_absent_queue, "VQ-DEV-20",
	"doorbells for queues that do not exist have no effect on those that do", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	static const uint16_t absent[] = {7, 200, 0x7fff, 0xffff};

	raw_serves(d);
	for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
		if (!d->dev.is_pci)
			mmio_write32(d->dev.mmio + MMIO_QUEUE_NOTIFY, absent[i]);
		else if ((absent[i] + 1) * d->dev.notify_multiplier <= d->dev.notify_length)
			mmio_write16(
				d->dev.notify + absent[i] * d->dev.notify_multiplier, absent[i]);
	}
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev));
	raw_serves(d);
	EXPECT_EQ(d->ring.used->idx, 4);
}

TEST(doorbell_of_a_disabled_queue, "MMIO-DEV-07",
	"a doorbell of a queue that is not enabled touches no memory", DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct raw_ring second;

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT | VIRTIO_BIT(BLK_F_MQ)));
	if (d->dev.transport->queue_max(&d->dev, 1) == 0)
		SKIP("the disk has one queue");
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	raw_ring_enable(&d->ring);
	raw_ring_alloc(&second, &d->dev, 1, 0);
	raw_descriptor(&second, 0, phys(d->header), 16, RING_NEXT, 1);
	raw_descriptor(&second, 1, phys(d->data), 512, RING_NEXT | RING_WRITE, 2);
	raw_descriptor(&second, 2, phys(d->status), 1, RING_WRITE, 0);
	*d->header = (struct blk_header){.type = BLK_T_IN};
	*d->status = 0xff;
	raw_publish(&second, 0);
	d->dev.transport->queue_set(&d->dev, 1,
		&(struct virtio_queue_areas){second.size, phys(second.descriptors),
			phys(second.avail), phys(second.used)});
	virtio_driver_ok(&d->dev);
	raw_kick(&second);
	EXPECT_TRUE(raw_quiet(&second));
	EXPECT_EQ(*d->status, 0xff);
	raw_serves(d);
}
