/* SPDX-License-Identifier: MIT */
/*
 * Rings that break the rules. What must follow is in part inference (virtio 1.4 says that
 * NEEDS_RESET is for errors a device cannot recover from, 2.1.2): our own VMM must show NEEDS_RESET
 * with its notification, use nothing more and work after a reset; others may answer with an error
 * status instead (raw_broken()).
 */
#include "runtime/boot.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK	     NEEDS("disk:virtio")
#define MODERN_DISK  NEEDS("disk:virtio modern")
#define MAY_COMPLETE true

static void publish(struct raw_disk *d, uint16_t head)
{
	raw_publish(&d->ring, head);
	raw_kick(&d->ring);
}

TEST(head_beyond_the_table, "STAT-DEV-02 STAT-DEV-03",
	"an available entry that names no descriptor breaks the queue, not the device", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	publish(d, d->ring.size);
	raw_broken(d, false);
}

TEST(head_of_all_ones, "STAT-DEV-02",
	"an available entry of 0xffff breaks the queue, not the device", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	publish(d, 0xffff);
	raw_broken(d, false);
}

TEST(next_beyond_the_table, "STAT-DEV-02", "a chain that leads out of the table is not followed",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	d->ring.descriptors[1].next = d->ring.size;
	publish(d, 0);
	raw_broken(d, false);
}

TEST(chain_of_two_loops, "VQ-DRV-04 STAT-DEV-02",
	"a chain whose two descriptors name each other is left in bounded time", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_descriptor(&d->ring, 0, phys(d->header), 16, RING_NEXT, 1);
	raw_descriptor(&d->ring, 1, phys(d->header), 16, RING_NEXT, 0);
	publish(d, 0);
	raw_broken(d, false);
}

TEST(descriptor_names_itself, "VQ-DRV-04 STAT-DEV-02",
	"a writable descriptor that names itself is left in bounded time", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_descriptor(&d->ring, 0, phys(d->header), 16, RING_NEXT, 1);
	raw_descriptor(&d->ring, 1, phys(d->data), 512, RING_NEXT | RING_WRITE, 1);
	publish(d, 0);
	raw_broken(d, false);
}

TEST(available_index_jumps_ahead, "STAT-DEV-02",
	"an available index more than the queue's size ahead breaks the queue", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	d->ring.avail->idx = d->ring.size + 1;
	raw_kick(&d->ring);
	raw_broken(d, false);
}

TEST(available_index_goes_back, "VQ-DRV-11",
	"an available index that goes back does not run the old request again", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_serves(d);
	d->ring.avail->idx = d->ring.avail_next - 1;
	raw_kick(&d->ring);
	raw_broken(d, false);
}

TEST(readable_behind_writable, "VQ-DRV-02 VQ-DEV-03a",
	"a readable descriptor behind a writable one is refused and not written", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t *readable = guarded_alloc(512);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	memset(readable, 0x11, 512);
	raw_descriptor(&d->ring, 2, phys(readable), 512, RING_NEXT, 3);
	raw_descriptor(&d->ring, 3, phys(d->status), 1, RING_WRITE, 0);
	publish(d, 0);
	raw_broken(d, false);
	EXPECT_TRUE(memory_is(readable, 0x11, 512, NULL));
}

TEST(buffer_up_to_the_end_of_memory, "VQ-DEV-14",
	"a buffer that ends with the last byte of RAM is served", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint64_t end = 0;
	uint8_t *last, *saved = arena_alloc(512, 64), *expected = arena_alloc(512, 64);

	for (unsigned i = 0; i < boot_info.range_count; i++) {
		struct memory_range *r = &boot_info.ranges[i];

		if (r->type == MEMORY_RAM && r->base + r->size > end &&
			r->base + r->size <= 1ul << 32)
			end = r->base + r->size;
	}
	last = (uint8_t *)(end - 512);
	memcpy(saved, last, 512);
	raw_fill(d, RAW_SCRATCH, 1, 20);
	raw_pattern(expected, 512, 20);
	EXPECT_EQ(raw_do(d, BLK_T_IN, RAW_SCRATCH, last, 512), BLK_S_OK);
	EXPECT_MEM(last, expected, 512);
	memcpy(last, saved, 512);
}

static void bad_address(uint64_t address, uint32_t length)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	d->ring.descriptors[1].address = address;
	d->ring.descriptors[1].length = length;
	publish(d, 0);
	raw_broken(d, MAY_COMPLETE);
}

TEST(buffer_outside_of_memory, "STAT-DEV-02",
	"a buffer where no RAM is leads to no crash and no silence for good", DISK)
{
	bad_address(0x70000000000, 512);
}

TEST(buffer_in_the_hole, "STAT-DEV-02",
	"a buffer in the hole below 4 GiB where nothing answers is refused", DISK)
{
	bad_address(0xd0000000, 512);
}

TEST(address_wraps, "STAT-DEV-02",
	"a buffer whose end wraps past 2^64 is refused and low memory is left alone", DISK)
{
	uint8_t *low = (uint8_t *)0x600, saved[128];

	memcpy(saved, low, sizeof(saved));
	memset(low, 0x5a, sizeof(saved));
	bad_address(0xffffffffffffff00, 0x800);
	EXPECT_TRUE(memory_is(low, 0x5a, sizeof(saved), NULL));
	memcpy(low, saved, sizeof(saved));
}

TEST(buffer_at_the_device_itself, "STAT-DEV-02",
	"a writable buffer aimed at the device's own registers changes none of them", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint64_t registers = d->dev.is_pci ? phys(d->dev.common) : phys(d->dev.mmio);

	if (!raw_strict())
		SKIP("other VMMs let devices reach each other's registers");
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	d->ring.descriptors[1].address = registers;
	publish(d, 0);
	raw_broken(d, false);
}

TEST(ring_outside_of_memory, "STAT-DEV-02",
	"a queue enabled where no RAM is does not serve, and a reset leads back", MODERN_DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct virtio_queue_areas areas;

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT));
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	areas = (struct virtio_queue_areas){
		d->ring.size, 0x70000000000, 0x70000010000, 0x70000020000};
	d->dev.transport->queue_set(&d->dev, 0, &areas);
	d->dev.transport->queue_enable(&d->dev, 0);
	virtio_driver_ok(&d->dev);
	raw_kick(&d->ring);
	if (raw_strict())
		EXPECT_TRUE(
			WAIT_UNTIL(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET, RAW_ANSWER_US));
	else if (!(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET))
		raw_no_needs_reset();
	raw_recovers(d);
}

TEST(misaligned_ring, "VQ-DRV-01 STAT-DEV-02",
	"ring parts one byte off their alignment are refused or work, but nothing else is written",
	MODERN_DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct virtio_queue_areas areas;

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT));
	raw_ring_alloc(&d->ring, &d->dev, 0, 8);
	areas = (struct virtio_queue_areas){
		8, phys(d->ring.descriptors) + 1, phys(d->ring.avail) + 1, phys(d->ring.used) + 1};
	d->dev.transport->queue_set(&d->dev, 0, &areas);
	d->dev.transport->queue_enable(&d->dev, 0);
	virtio_driver_ok(&d->dev);
	raw_kick(&d->ring);
	delay_us(5000);
	if (raw_strict())
		EXPECT_TRUE(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET);
	else if (!(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET))
		raw_no_needs_reset();
	EXPECT_TRUE(guarded_check());
	raw_recovers(d);
}

static void indirect_table(struct raw_disk *d, struct ring_descriptor *table)
{
	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	memcpy(table, d->ring.descriptors, 48);
	raw_descriptor(&d->ring, 3, phys(table), 48, RING_INDIRECT, 0);
}

TEST(indirect_not_negotiated, "VQ-DRV-06",
	"an indirect descriptor without the feature is not read as a table", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	indirect_table(d, guarded_alloc(48));
	publish(d, 3);
	raw_broken(d, MAY_COMPLETE);
}

TEST(indirect_with_next, "VQ-DRV-09",
	"INDIRECT and NEXT in one descriptor are refused, or NEXT is ignored", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);

	indirect_table(d, guarded_alloc(48));
	d->ring.descriptors[3].flags |= RING_NEXT;
	d->ring.descriptors[3].next = 1;
	publish(d, 3);
	raw_broken(d, MAY_COMPLETE);
}

TEST(indirect_in_indirect, "VQ-DRV-07",
	"a table named inside a table is refused, or its flag is ignored", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);
	struct ring_descriptor *table = guarded_alloc(64), *inner = guarded_alloc(48);

	indirect_table(d, inner);
	table[0] = (struct ring_descriptor){phys(inner), 48, RING_INDIRECT, 0};
	raw_descriptor(&d->ring, 3, phys(table), 16, RING_INDIRECT, 0);
	publish(d, 3);
	raw_broken(d, false);
}

static void bad_table_length(uint32_t length)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);

	indirect_table(d, guarded_alloc(64));
	d->ring.descriptors[3].length = length;
	publish(d, 3);
	raw_broken(d, false);
}

TEST(indirect_table_of_length_0, "STAT-DEV-02", "an indirect table of 0 bytes is refused", DISK)
{
	bad_table_length(0);
}

TEST(indirect_table_of_length_49, "STAT-DEV-02",
	"an indirect table that is not a multiple of 16 bytes is refused", DISK)
{
	bad_table_length(49);
}

TEST(indirect_next_outside, "VQ-DRV-04",
	"a next that leads out of an indirect table is not followed", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);
	struct ring_descriptor *table = guarded_alloc(64);

	indirect_table(d, table);
	table[1].next = 3; /* the table has 3 entries */
	table[3] = table[2];
	publish(d, 3);
	raw_broken(d, false);
}

TEST(indirect_loop, "VQ-DRV-04",
	"a chain that loops inside an indirect table is left in bounded time", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);
	struct ring_descriptor *table = guarded_alloc(64);

	indirect_table(d, table);
	table[1].next = 1;
	publish(d, 3);
	raw_broken(d, false);
}

TEST(indirect_table_outside_of_memory, "STAT-DEV-02",
	"an indirect table where no RAM is is refused", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);

	indirect_table(d, guarded_alloc(48));
	d->ring.descriptors[3].address = 0x70000000000;
	publish(d, 3);
	raw_broken(d, false);
}

TEST(indirect_table_of_4_gib, "VQ-DRV-08",
	"a table that claims 4 GiB and ends at its third entry costs nothing: refused, or read no "
	"further",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);

	indirect_table(d, guarded_alloc(48));
	d->ring.descriptors[3].length = 0xfffffff0;
	publish(d, 3);
	raw_tolerated(d);
}

TEST(chain_longer_than_the_queue, "VQ-DRV-08",
	"a chain of more descriptors than the queue has is refused, or served", DISK)
{
	struct raw_disk *d = raw_disk_open(RAW_DEFAULT | RAW_INDIRECT, 8);
	struct ring_descriptor *table = arena_alloc(16 * 9, 16);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	table[0] = (struct ring_descriptor){phys(d->header), 16, RING_NEXT, 1};
	for (unsigned i = 1; i < 8; i++)
		table[i] = (struct ring_descriptor){
			phys(d->data + 512 * (i - 1)), 512, RING_NEXT | RING_WRITE, i + 1};
	table[8] = (struct ring_descriptor){phys(d->status), 1, RING_WRITE, 0};
	raw_descriptor(&d->ring, 0, phys(table), 16 * 9, RING_INDIRECT, 0);
	publish(d, 0);
	raw_tolerated(d);
}

TEST(chain_of_more_than_4_gib, "VQ-DRV-04",
	"one large buffer listed until the chain exceeds 4 GiB is refused", DISK)
{
	struct raw_disk *d = raw_disk_open(RAW_DEFAULT, 256);
	uint8_t *large = arena_alloc_raw(32u << 20, 4096);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	for (unsigned i = 1; i <= 130; i++)
		raw_descriptor(&d->ring, i, phys(large), 32u << 20, RING_NEXT | RING_WRITE, i + 1);
	raw_descriptor(&d->ring, 131, phys(d->status), 1, RING_WRITE, 0);
	publish(d, 0);
	raw_broken(d, false);
}

TEST(same_head_fills_the_ring, "",
	"one head listed as often as the ring is long is used that often at most", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 4096);
	for (unsigned i = 0; i < d->ring.size; i++)
		raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	WAIT_UNTIL(d->ring.used->idx == d->ring.size ||
			   (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET),
		RAW_ANSWER_US);
	delay_us(2000);
	EXPECT_LE(d->ring.used->idx, d->ring.size);
	EXPECT_TRUE(guarded_check());
	raw_recovers(d);
}

TEST(empty_descriptor, "", "a descriptor of length 0 in a chain is passed over or refused", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	d->ring.descriptors[1].next = 3;
	raw_descriptor(&d->ring, 3, phys(d->data), 0, RING_NEXT | RING_WRITE, 2);
	publish(d, 0);
	WAIT_UNTIL(
		d->ring.used->idx != 0 || (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET), 200000);
	if (d->ring.used->idx)
		EXPECT_EQ(d->ring.used->idx, 1);
	else if (raw_strict() || !d->dev.legacy) /* NEEDS_RESET came with the modern interface */
		EXPECT_TRUE(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET);
	raw_recovers(d);
}

TEST(same_head_twice, "",
	"a head listed twice is used at most twice, and nothing outside its buffers is written",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	raw_publish(&d->ring, 0);
	publish(d, 0);
	WAIT_UNTIL(d->ring.used->idx == 2 || (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET),
		RAW_ANSWER_US);
	delay_us(2000);
	EXPECT_LE(d->ring.used->idx, 2);
	for (unsigned i = 0; i < d->ring.used->idx; i++)
		EXPECT_EQ(d->ring.used->ring[i].id, 0);
	EXPECT_TRUE(guarded_check());
	raw_recovers(d);
}

TEST(read_into_the_ring, "",
	"data read over the queue's own table leaves a device that a reset brings back", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_fill(d, RAW_SCRATCH, 1, 21);
	raw_request(d, 0, BLK_T_IN, RAW_SCRATCH, d->ring.descriptors, 512);
	publish(d, 0);
	WAIT_UNTIL(d->ring.used->idx == 2 || (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET),
		RAW_ANSWER_US);
	publish(d, 0);
	delay_us(2000);
	raw_recovers(d);
}

TEST(other_disk_is_not_disturbed, "STAT-DEV-02",
	"while one device needs a reset the other one serves", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT), *other = raw_disk_read_only(RAW_DEFAULT);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	publish(d, d->ring.size);
	WAIT_UNTIL(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET, 100000);
	EXPECT_EQ(raw_do(other, BLK_T_IN, 0, other->data, 512), BLK_S_OK);
	EXPECT_EQ(virtio_status(&other->dev), virtio_running(&other->dev));
	raw_broken(d, false);
}
