/* SPDX-License-Identifier: MIT */
/*
 * Basic facilities of a virtio device (virtio 1.4, chapters 2 and 3): status, features,
 * configuration, reset; on a virtio-blk disk, over PCI or MMIO, whichever the machine has.
 */
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK	    NEEDS("disk:virtio")
#define MODERN_DISK NEEDS("disk:virtio modern")

TEST(reset_clears_status, "RST-DEV-01 PCI-DEV-18",
	"writing 0 to the status of a running device makes it read 0", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev));
	virtio_set_status(&d->dev, 0);
	EXPECT_TRUE(WAIT_UNTIL(virtio_status(&d->dev) == 0, 2000000));
	EXPECT_EQ(virtio_status(&d->dev), 0);
}

TEST(status_reads_back, "", "each status that initialization writes reads back as written", DISK)
{
	struct raw_disk *d = raw_disk_find();

	virtio_set_status(&d->dev, 1);
	EXPECT_EQ(virtio_status(&d->dev), 1);
	virtio_set_status(&d->dev, 3);
	EXPECT_EQ(virtio_status(&d->dev), 3);
	virtio_accept(&d->dev, VIRTIO_BIT(VIRTIO_F_VERSION_1));
	if (!d->dev.legacy) {
		virtio_set_status(&d->dev, 11);
		EXPECT_EQ(virtio_status(&d->dev), 11);
	}
	virtio_set_status(&d->dev, virtio_running(&d->dev));
	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev));
}

TEST(failed_reads_back, "RST-DEV-01",
	"FAILED stays set until the reset, after which the device works", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	virtio_set_status(&d->dev, virtio_running(&d->dev) | VIRTIO_S_FAILED);
	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev) | VIRTIO_S_FAILED);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	raw_recovers(d);
}

TEST(reset_from_each_stage, "RST-DEV-01",
	"a reset from each stage of initialization leads to status 0 and a device that works", DISK)
{
	static const uint8_t modern[] = {1, 3, 11, 15}, legacy[] = {1, 3, 3, 7};
	struct raw_disk *d = raw_disk_find();
	const uint8_t *stages = d->dev.legacy ? legacy : modern;

	for (unsigned i = 0; i < sizeof(modern); i++) {
		virtio_accept(&d->dev, VIRTIO_BIT(VIRTIO_F_VERSION_1));
		for (unsigned k = 0; k <= i; k++)
			virtio_set_status(&d->dev, stages[k]);
		EXPECT_EQ(virtio_status(&d->dev), stages[i]);
		ASSERT_TRUE(virtio_reset(&d->dev));
	}
	raw_recovers(d);
}

TEST(reset_disables_queues, "PCI-DEV-19 MMIO-DEV-05", "after a reset no queue is enabled", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 1);
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 0);
}

TEST(reset_rewinds_queues, "RST-DEV-02", "after a reset a queue starts at entry 0 of a new ring",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_serves(d);
	raw_serves(d);
	EXPECT_EQ(raw_used_count(&d->ring), 4);
	ASSERT_TRUE(virtio_reset(&d->dev));
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	EXPECT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	EXPECT_EQ(raw_used_count(&d->ring), 1);
	EXPECT_EQ(d->used_length, 513);
}

TEST(reset_with_requests_in_flight, "RST-DEV-02",
	"once the status reads 0 nothing is written to buffers or rings and no interrupt comes",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);
	unsigned count = d->ring.size < 16 ? d->ring.size : 16;
	uint8_t *buffers = guarded_alloc_aligned(count * 4096, 4096),
		*copy = arena_alloc_raw(count * 4096, 4096);
	struct ring_descriptor *tables = arena_alloc(count * 48, 16);
	uint8_t *status = arena_alloc(count, 16);
	uint32_t queue_irqs, total;
	uint16_t idx;

	memset(buffers, 0x5a, count * 4096);
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = 0};
	for (unsigned i = 0; i < count; i++) {
		struct ring_descriptor *t = tables + 3 * i;

		raw_entry(&d->ring, t, 0, phys(d->header), 16, RING_NEXT);
		raw_entry(&d->ring, t, 1, phys(buffers + i * 4096), 4096, RING_NEXT | RING_WRITE);
		raw_entry(&d->ring, t, 2, phys(status + i), 1, RING_WRITE);
		raw_descriptor(&d->ring, i, phys(t), 48, RING_INDIRECT, 0);
		raw_publish(&d->ring, i);
	}
	raw_kick(&d->ring);
	ASSERT_TRUE(virtio_reset(&d->dev));
	idx = raw_used_count(&d->ring);
	queue_irqs = virtio_queue_interrupts(&d->dev, 0);
	memcpy(copy, buffers, count * 4096);
	memset(status, 0x77, count);
	total = irq_total();
	delay_us(RAW_QUIET_US);
	EXPECT_MEM(buffers, copy, count * 4096);
	EXPECT_TRUE(memory_is(status, 0x77, count, NULL));
	EXPECT_EQ(raw_used_count(&d->ring), idx);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), queue_irqs);
	EXPECT_EQ(irq_total(), total);
	raw_recovers(d);
}

TEST(reset_then_ring_memory_is_ours, "RST-DEV-02",
	"ring pages that are reused after a reset keep what is put there", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t *areas[3];
	unsigned bytes[3];

	raw_serves(d);
	ASSERT_TRUE(virtio_reset(&d->dev));
	for (unsigned i = 0; i < 3; i++) {
		areas[i] = raw_ring_area(&d->ring, i, &bytes[i]);
		memset(areas[i], 0xa5, bytes[i]);
	}
	raw_recovers(d);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_TRUE(memory_is(areas[i], 0xa5, bytes[i], NULL));
}

TEST(version_1_is_offered, "RSVD-DEV-01", "the device offers VIRTIO_F_VERSION_1", MODERN_DISK)
{
	struct raw_disk *d = raw_disk_find();

	EXPECT_EQ(virtio_offered(&d->dev) >> VIRTIO_F_VERSION_1 & 1, 1);
}

TEST(version_1_is_required, "RSVD-DRV-01 FEAT-DEV-02b",
	"without VERSION_1 the device refuses FEATURES_OK, or serves all the same", MODERN_DISK)
{
	struct raw_disk *d = raw_disk_find();

	virtio_set_status(&d->dev, 3);
	virtio_accept(&d->dev, 0);
	virtio_set_status(&d->dev, 11);
	if (raw_strict())
		EXPECT_EQ(virtio_status(&d->dev), 3);
	else
		EXPECT_TRUE(virtio_status(&d->dev) == 3 || virtio_status(&d->dev) == 11);
	if (virtio_status(&d->dev) == 11)
		note("unclaimed FEAT-DEV-02b");
	raw_recovers(d);
}

TEST(features_have_prerequisites, "FEAT-DEV-01 BLK-DEV-01b",
	"each offered feature's prerequisites are offered too", DISK)
{
	static const uint8_t needs[][2] = {
		{VIRTIO_F_NOTIF_CONFIG_DATA, VIRTIO_F_VERSION_1},
		{VIRTIO_F_RING_RESET, VIRTIO_F_VERSION_1},
		{BLK_F_CONFIG_WCE, BLK_F_FLUSH},
	};
	struct raw_disk *d = raw_disk_find();
	uint64_t offered = virtio_offered(&d->dev);

	EXPECT_NE(offered, 0);
	for (unsigned i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		if (offered >> needs[i][0] & 1)
			EXPECT_EQ(offered >> needs[i][1] & 1, 1);
	}
}

TEST(reserved_features_are_not_offered, "FEAT-DEV-03 PCI-DEV-14",
	"no reserved bit, no bit of another device type and none beyond the defined words is "
	"offered",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t offered = virtio_offered(&d->dev), ring = 0xc7000000 & ~VIRTIO_BIT(30);

	if (d->dev.legacy)
		ring &= ~VIRTIO_BIT(VIRTIO_F_NOTIFY_ON_EMPTY);
	EXPECT_EQ(offered & 0x00fc0000, 0);	    /* 18 to 23: not of a block device */
	EXPECT_EQ(offered & ring, 0);		    /* 24 to 26, 31: reserved */
	EXPECT_EQ(offered & 0x0003f00000000000, 0); /* 44 to 49 */
	EXPECT_EQ(offered & 0xfffc000000000000, 0); /* 50 to 63: not of a block device */
	for (uint32_t word = 2; word < 5; word++)
		EXPECT_EQ(d->dev.transport->device_feature(&d->dev, word), 0);
	EXPECT_EQ(d->dev.transport->device_feature(&d->dev, 0xffffffff), 0);
}

TEST(feature_not_offered_is_refused, "FEAT-DEV-02b FEAT-DRV-01a",
	"FEATURES_OK does not stay when the driver accepts a bit that was not offered", MODERN_DISK)
{
	static const uint8_t bits[] = {0, 7, 18, 25, 30, 36, 41, 49, 63};
	struct raw_disk *d = raw_disk_find();
	uint64_t offered = virtio_offered(&d->dev);

	for (unsigned i = 0; i < sizeof(bits); i++) {
		if (offered >> bits[i] & 1)
			continue;
		virtio_set_status(&d->dev, 3);
		virtio_accept(&d->dev, VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(bits[i]));
		virtio_set_status(&d->dev, 11);
		if (!EXPECT_EQ(virtio_status(&d->dev) & VIRTIO_S_FEATURES_OK, 0))
			note("with bit %u", bits[i]);
		ASSERT_TRUE(virtio_reset(&d->dev));
	}
	raw_recovers(d);
}

TEST(each_feature_alone_is_accepted, "FEAT-DEV-02a",
	"VERSION_1 with any one more offered feature and what it needs is accepted", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t offered = virtio_offered(&d->dev);

	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t set = VIRTIO_BIT(bit) | VIRTIO_BIT(VIRTIO_F_VERSION_1);

		if (!(offered >> bit & 1))
			continue;
		if (bit == BLK_F_CONFIG_WCE)
			set |= VIRTIO_BIT(BLK_F_FLUSH);
		if (bit == VIRTIO_F_RING_PACKED) /* these rings are split */
			continue;
		if (!EXPECT_TRUE(virtio_negotiate(&d->dev, set)))
			note("bit %u", bit);
	}
}

TEST(version_1_alone_works, "FEAT-DEV-02a RSVD-DEV-01", "with VERSION_1 alone requests are served",
	DISK)
{
	struct raw_disk *d = raw_disk(VIRTIO_BIT(VIRTIO_F_VERSION_1));

	EXPECT_EQ(d->dev.features, d->dev.legacy ? 0 : VIRTIO_BIT(VIRTIO_F_VERSION_1));
	raw_serves(d);
}

TEST(features_stay_acceptable, "FEAT-DEV-04",
	"a set that was negotiated once is offered and accepted again after each reset", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t offered = virtio_offered(&d->dev);

	for (int i = 0; i < 10; i++) {
		EXPECT_TRUE(virtio_negotiate(&d->dev, offered));
		ASSERT_TRUE(virtio_reset(&d->dev));
		EXPECT_EQ(virtio_offered(&d->dev), offered);
	}
}

TEST(features_are_fixed_by_features_ok, "INIT-DRV-03",
	"what is written to the features after FEATURES_OK changes nothing", MODERN_DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct ring_descriptor *table = arena_alloc(48, 16);

	if (!(virtio_offered(&d->dev) & RAW_INDIRECT))
		SKIP("no indirect descriptors");
	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT | RAW_INDIRECT));
	if (raw_strict())
		virtio_accept(&d->dev, VIRTIO_BIT(VIRTIO_F_VERSION_1));
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	raw_ring_enable(&d->ring);
	virtio_driver_ok(&d->dev);
	*d->header = (struct blk_header){.type = BLK_T_IN};
	*d->status = 0xff;
	raw_entry(&d->ring, table, 0, phys(d->header), 16, RING_NEXT);
	raw_entry(&d->ring, table, 1, phys(d->data), 512, RING_NEXT | RING_WRITE);
	raw_entry(&d->ring, table, 2, phys(d->status), 1, RING_WRITE);
	raw_descriptor(&d->ring, 0, phys(table), 48, RING_INDIRECT, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(configuration_is_readable_early, "CFG-DEV-01 INIT-DRV-02a",
	"the configuration reads the same before ACKNOWLEDGE, before FEATURES_OK and when running",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint32_t first[BLK_C_WRITEBACK / 4];

	for (unsigned i = 0; i < BLK_C_WRITEBACK / 4; i++)
		first[i] = virtio_config32(&d->dev, 4 * i);
	EXPECT_NE(first[0] | first[1], 0);
	for (uint8_t status = 1; status <= 3; status += 2) {
		virtio_set_status(&d->dev, status);
		for (unsigned i = 0; i < BLK_C_WRITEBACK / 4; i++)
			EXPECT_EQ(virtio_config32(&d->dev, 4 * i), first[i]);
	}
	ASSERT_TRUE(raw_disk_start(d, ~0ul & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED), 0));
	for (unsigned i = 0; i < BLK_C_WRITEBACK / 4; i++)
		EXPECT_EQ(virtio_config32(&d->dev, 4 * i), first[i]);
}

TEST(configuration_by_every_width, "", "a 64-bit field reads the same by bytes, words and halves",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint64_t whole = virtio_config64(&d->dev, BLK_C_CAPACITY), bytes = 0, words = 0;

	for (unsigned i = 0; i < 8; i++)
		bytes |= (uint64_t)virtio_config8(&d->dev, i) << 8 * i;
	for (unsigned i = 0; i < 4; i++)
		words |= (uint64_t)virtio_config16(&d->dev, 2 * i) << 16 * i;
	EXPECT_NE(whole, 0);
	EXPECT_EQ(bytes, whole);
	EXPECT_EQ(words, whole);
}

TEST(configuration_is_read_only, "",
	"writes to read-only fields of the configuration change nothing", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint64_t capacity = d->capacity;

	virtio_config_write32(&d->dev, BLK_C_CAPACITY, 0x12345678);
	virtio_config_write32(&d->dev, BLK_C_SEG_MAX, 0);
	EXPECT_EQ(virtio_config64(&d->dev, BLK_C_CAPACITY), capacity);
	raw_serves(d);
}

TEST(generation_is_still, "", "without a change of the configuration its generation does not move",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint32_t generation = d->dev.transport->generation(&d->dev);

	for (unsigned i = 0; i < 8; i++) {
		virtio_config32(&d->dev, BLK_C_CAPACITY);
		EXPECT_EQ(d->dev.transport->generation(&d->dev), generation);
	}
}

TEST(nothing_before_driver_ok, "STAT-DEV-01 INIT-DRV-06",
	"before DRIVER_OK a kicked buffer is not used and no interrupt comes; after it, it is used "
	"once",
	MODERN_DISK)
{
	struct raw_disk *d = raw_disk_find();

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT));
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	raw_ring_enable(&d->ring);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	memset(d->data, 0x33, 512);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(*d->status, 0xff);
	EXPECT_TRUE(memory_is(d->data, 0x33, 512, NULL));
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 0);
	virtio_driver_ok(&d->dev);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(*d->status, BLK_S_OK);
	raw_take(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 1);
}

TEST(driver_ok_without_features_ok, "INIT-DRV-01",
	"a jump from ACKNOWLEDGE to DRIVER_OK does not make the device half alive: a reset leads "
	"back",
	MODERN_DISK)
{
	struct raw_disk *d = raw_disk_find();

	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	virtio_set_status(&d->dev, 1);
	raw_ring_enable(&d->ring);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	virtio_set_status(&d->dev, 7);
	raw_kick(&d->ring);
	if (raw_strict())
		EXPECT_TRUE(raw_quiet(&d->ring));
	raw_recovers(d);
}

TEST(no_configuration_interrupt_without_a_change, "MMIO-DEV-04",
	"neither DRIVER_OK nor requests bring a configuration interrupt", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_serves(d);
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(virtio_config_interrupts(&d->dev), 0);
	EXPECT_GE(virtio_queue_interrupts(&d->dev, 0), 1);
}

TEST(idle_device_is_silent, "", "a running device without requests sends no interrupt", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint32_t before = irq_total();

	delay_us(2 * RAW_QUIET_US);
	EXPECT_EQ(irq_total(), before);
	raw_serves(d);
}

static void break_ring(struct raw_disk *d)
{
	raw_may_break(d);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, d->ring.size); /* no such descriptor */
	raw_kick(&d->ring);
}

TEST(needs_reset_is_notified, "STAT-DEV-02 STAT-DEV-03",
	"a ring that cannot be understood sets NEEDS_RESET, and a configuration interrupt follows",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	break_ring(d);
	if (!WAIT_UNTIL(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET, RAW_ANSWER_US)) {
		DEVIATES("NEEDS_RESET is not set");
		return;
	}
	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev) | VIRTIO_S_NEEDS_RESET);
	EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&d->dev) == 1, RAW_ANSWER_US));
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 0);
}

TEST(needs_reset_lasts, "STAT-DEV-02",
	"NEEDS_RESET stays, with nothing used, until the reset; then the device works", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	break_ring(d);
	if (!WAIT_UNTIL(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET, RAW_ANSWER_US)) {
		DEVIATES("NEEDS_RESET is not set");
		return;
	}
	raw_publish(&d->ring, 0);
	for (int i = 0; i < 5; i++)
		raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(*d->status, 0xff);
	if (raw_strict()) { /* elsewhere a driver that drops a bit, against 2.1.1, may succeed in
			       that */
		virtio_set_status(&d->dev, virtio_running(&d->dev));
		EXPECT_TRUE(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET);
	}
	raw_recovers(d);
}

TEST(broken_and_reset_many_times, "RST-DEV-01",
	"twenty times broken and reset, the device works each time", DISK)
{
	struct raw_disk *d = raw_disk_find();

	for (int i = 0; i < 20; i++) {
		ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 8));
		EXPECT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
		break_ring(d);
		ASSERT_TRUE(virtio_reset(&d->dev));
	}
	raw_recovers(d);
}
