/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO, version 2 (virtio 1.4, 4.2): the registers; on a virtio-blk disk.
 */
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK NEEDS("mmio disk:virtio")

#define get(d, reg)	   mmio_read32((d)->dev.mmio + (reg))
#define set(d, reg, value) mmio_write32((d)->dev.mmio + (reg), (value))

TEST(identity_of_each_slot, "MMIO-DEV-01 MMIO-DEV-02",
	"each announced slot has the magic value, version 2, and a device or id 0", NEEDS("mmio"))
{
	volatile uint8_t *base;
	unsigned pin, n, disks = 0;

	for (n = 0; (base = virtio_mmio_slot(n, &pin)) != NULL; n++) {
		uint32_t id = mmio_read32(base + MMIO_DEVICE_ID);

		EXPECT_EQ(mmio_read32(base + MMIO_MAGIC), MMIO_MAGIC_VALUE);
		EXPECT_EQ(mmio_read32(base + MMIO_VERSION), 2);
		EXPECT_LE(id, 64);
		disks += id == VIRTIO_ID_BLOCK;
	}
	EXPECT_GE(n, 1);
	EXPECT_GE(disks, 1);
}

static struct raw_disk *polled(void)
{
	struct raw_disk *d = raw_disk_find();

	virtio_interrupts(&d->dev, VIRTIO_IRQ_NONE);
	ioapic_mask(d->dev.pin);
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 0));
	return d;
}

static void read_one(struct raw_disk *d)
{
	ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
}

TEST(interrupt_status_stays_until_acknowledged, "MMIO-DEV-03 MMIO-DEV-04",
	"the status is 1 from the used buffer until the acknowledgement, and then 0", DISK)
{
	struct raw_disk *d = polled();

	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 0);
	read_one(d);
	EXPECT_TRUE(WAIT_UNTIL(get(d, MMIO_INTERRUPT_STATUS) != 0, RAW_ANSWER_US));
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 1);
	set(d, MMIO_INTERRUPT_ACK, 1);
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 0);
}

TEST(acknowledging_another_bit, "MMIO-DEV-03",
	"acknowledging the configuration bit leaves the queue bit", DISK)
{
	struct raw_disk *d = polled();

	read_one(d);
	EXPECT_TRUE(WAIT_UNTIL(get(d, MMIO_INTERRUPT_STATUS) != 0, RAW_ANSWER_US));
	set(d, MMIO_INTERRUPT_ACK, 2);
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 1);
	set(d, MMIO_INTERRUPT_ACK, 1);
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 0);
}

TEST(configuration_bit_alone, "MMIO-DEV-03 MMIO-DEV-04 STAT-DEV-03",
	"a configuration notification sets its own bit of the status and not the queues'", DISK)
{
	struct raw_disk *d = polled();

	raw_may_break(d);
	raw_publish(&d->ring, d->ring.size);
	raw_kick(&d->ring);
	if (!WAIT_UNTIL(get(d, MMIO_INTERRUPT_STATUS) != 0, raw_strict() ? RAW_ANSWER_US : 200000))
		FAIL("no notification of a broken ring");
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 2);
	set(d, MMIO_INTERRUPT_ACK, 2);
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 0);
}

TEST(reset_clears_status_and_ready, "MMIO-DEV-05",
	"a reset clears InterruptStatus and QueueReady of every queue", DISK)
{
	struct raw_disk *d = polled();

	read_one(d);
	EXPECT_TRUE(WAIT_UNTIL(get(d, MMIO_INTERRUPT_STATUS) == 1, RAW_ANSWER_US));
	set(d, MMIO_QUEUE_SEL, 0);
	EXPECT_EQ(get(d, MMIO_QUEUE_READY), 1);
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(get(d, MMIO_INTERRUPT_STATUS), 0);
	for (unsigned q = 0; q < 2; q++) {
		set(d, MMIO_QUEUE_SEL, q);
		EXPECT_EQ(get(d, MMIO_QUEUE_READY), 0);
	}
}

TEST(interrupt_line, "MMIO-DEV-03",
	"each request raises the slot's interrupt once, and acknowledging ends it", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	for (unsigned i = 1; i <= 3; i++) {
		read_one(d);
		EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) == i, RAW_ANSWER_US));
	}
	delay_us(2000);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 3);
	test_metric("spurious", d->dev.line_spurious); /* some hosts' KVM sends an interrupt again
							  after its line fell */
}

TEST(queue_that_is_not_ready, "MMIO-DEV-07",
	"while QueueReady is 0 a doorbell touches neither ring nor buffers", DISK)
{
	struct raw_disk *d = raw_disk_find();

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT));
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	d->dev.transport->queue_set(&d->dev, 0,
		&(struct virtio_queue_areas){d->ring.size, phys(d->ring.descriptors),
			phys(d->ring.avail), phys(d->ring.used)});
	virtio_driver_ok(&d->dev);
	memset(d->data, 0x44, 512);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(*d->status, 0xff);
	EXPECT_TRUE(memory_is(d->data, 0x44, 512, NULL));
	raw_recovers(d);
}

TEST(queue_made_unready, "MMIO-DEV-07 MMIO-DRV-11a MMIO-DRV-11b",
	"after QueueReady was written 0 and reads 0 the queue is not served", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	read_one(d);
	set(d, MMIO_QUEUE_SEL, 0);
	set(d, MMIO_QUEUE_READY, 0);
	ASSERT_TRUE(WAIT_UNTIL(get(d, MMIO_QUEUE_READY) == 0, RAW_ANSWER_US));
	memset(d->data, 0x44, 512);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(*d->status, 0xff);
	EXPECT_TRUE(memory_is(d->data, 0x44, 512, NULL));
	raw_recovers(d);
}

TEST(absent_queue_has_no_size, "", "QueueSizeMax of a queue that does not exist is 0", DISK)
{
	struct raw_disk *d = raw_disk_find();

	set(d, MMIO_QUEUE_SEL, 0);
	EXPECT_NE(get(d, MMIO_QUEUE_SIZE_MAX), 0);
	set(d, MMIO_QUEUE_SEL, 700);
	EXPECT_EQ(get(d, MMIO_QUEUE_SIZE_MAX), 0);
	EXPECT_EQ(get(d, MMIO_QUEUE_READY), 0);
}

TEST(size_beyond_the_maximum, "MMIO-DRV-09",
	"a queue is not run with more entries than QueueSizeMax", DISK)
{
	struct raw_disk *d = raw_disk_find();
	uint32_t max;

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT));
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	set(d, MMIO_QUEUE_SEL, 0);
	max = get(d, MMIO_QUEUE_SIZE_MAX);
	d->dev.transport->queue_set(&d->dev, 0,
		&(struct virtio_queue_areas){
			max, phys(d->ring.descriptors), phys(d->ring.avail), phys(d->ring.used)});
	set(d, MMIO_QUEUE_SIZE, max * 2);
	d->dev.transport->queue_enable(&d->dev, 0);
	virtio_driver_ok(&d->dev);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_TRUE(guarded_check());
	raw_recovers(d);
}

TEST(live_queue_keeps_its_geometry, "MMIO-DRV-10",
	"writes to size and addresses while QueueReady is 1 do not move the queue", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	if (!raw_strict())
		SKIP("the text forbids drivers to write these and says nothing of the device");
	raw_serves(d);
	set(d, MMIO_QUEUE_SEL, 0);
	set(d, MMIO_QUEUE_SIZE, 4);
	set(d, MMIO_QUEUE_DESC, 0x1000);
	set(d, MMIO_QUEUE_READY, 1);
	EXPECT_EQ(get(d, MMIO_QUEUE_READY), 1);
	raw_serves(d);
	EXPECT_EQ(raw_used_count(&d->ring), 4);
}

TEST(narrow_and_wide_accesses, "MMIO-DRV-02",
	"accesses of other widths to control registers change no neighbour", DISK)
{
	struct raw_disk *d = raw_disk_find();

	set(d, MMIO_STATUS, 3);
	mmio_write8(d->dev.mmio + MMIO_QUEUE_SIZE, 8);
	mmio_write16(d->dev.mmio + MMIO_QUEUE_SEL, 1);
	mmio_read8(d->dev.mmio + MMIO_MAGIC + 1);
	mmio_read64(d->dev.mmio + MMIO_MAGIC);
	EXPECT_EQ(get(d, MMIO_STATUS), 3);
	EXPECT_EQ(get(d, MMIO_MAGIC), MMIO_MAGIC_VALUE);
	EXPECT_EQ(get(d, MMIO_VERSION), 2);
	raw_recovers(d);
}

TEST(read_only_registers, "MMIO-DRV-01b", "writes to read-only registers change nothing", DISK)
{
	static const uint16_t regs[] = {MMIO_MAGIC, MMIO_VERSION, MMIO_DEVICE_ID, MMIO_VENDOR_ID,
		MMIO_INTERRUPT_STATUS, MMIO_GENERATION};
	struct raw_disk *d = raw_disk_find();

	for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		uint32_t before = get(d, regs[i]);

		set(d, regs[i], ~before);
		EXPECT_EQ(get(d, regs[i]), before);
	}
	EXPECT_EQ(get(d, MMIO_MAGIC), MMIO_MAGIC_VALUE);
}

TEST(write_only_registers, "MMIO-DRV-01c", "reads of write-only registers change no state", DISK)
{
	static const uint16_t regs[] = {MMIO_DRIVER_FEATURES, MMIO_QUEUE_NOTIFY, MMIO_INTERRUPT_ACK,
		MMIO_QUEUE_SEL, MMIO_DEVICE_FEATURES_SEL};
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		get(d, regs[i]);
	EXPECT_EQ(get(d, MMIO_STATUS), VIRTIO_S_RUNNING);
	raw_serves(d);
	EXPECT_EQ(raw_used_count(&d->ring), 2);
}

TEST(no_shared_memory, "",
	"length and base of a shared memory region that does not exist are all ones", DISK)
{
	struct raw_disk *d = raw_disk_find();

	set(d, MMIO_SHM_SEL, 0);
	EXPECT_EQ(get(d, MMIO_SHM_LEN), 0xffffffff);
	EXPECT_EQ(get(d, MMIO_SHM_LEN + 4), 0xffffffff);
	EXPECT_EQ(get(d, MMIO_SHM_BASE), 0xffffffff);
	EXPECT_EQ(get(d, MMIO_SHM_BASE + 4), 0xffffffff);
}

TEST(mmio_queue_reset,
	"MMIO-DEV-08 MMIO-DEV-09 MMIO-DEV-10 MMIO-DEV-12 VQR-DEV-01 VQR-DEV-02 VQR-DEV-03",
	"QueueReset stops the queue, reads 0 afterwards, and the queue can be enabled anew", DISK)
{
	struct raw_disk *d = raw_disk_find();

	if (!(virtio_offered(&d->dev) & VIRTIO_BIT(VIRTIO_F_RING_RESET)))
		SKIP("RING_RESET is not offered");
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_RING_RESET), 0));
	EXPECT_EQ(d->dev.transport->queue_reset_state(&d->dev, 0), 0);
	raw_serves(d);
	d->dev.transport->queue_reset(&d->dev, 0);
	EXPECT_TRUE(
		WAIT_UNTIL(d->dev.transport->queue_reset_state(&d->dev, 0) == 0, RAW_ANSWER_US));
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 0);
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	EXPECT_TRUE(raw_quiet(&d->ring));
	EXPECT_EQ(*d->status, 0xff);
	raw_ring_alloc(&d->ring, &d->dev, 0, 16);
	raw_ring_enable(&d->ring);
	EXPECT_EQ(d->dev.transport->queue_enabled(&d->dev, 0), 1);
	EXPECT_EQ(d->dev.transport->queue_reset_state(&d->dev, 0), 0);
	for (unsigned i = 0; i < 20; i++) /* more than a lap of its new size */
		ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	EXPECT_EQ(raw_used_count(&d->ring), 20);
	ASSERT_TRUE(virtio_reset(&d->dev));
	EXPECT_EQ(d->dev.transport->queue_reset_state(&d->dev, 0), 0);
}
