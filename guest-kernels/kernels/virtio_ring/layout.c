/* SPDX-License-Identifier: MIT */
/*
 * The split ring (virtio 1.4, 2.7): layouts of descriptors, indices, indirect tables. The requests
 * are those of a block device, whose answers can be compared byte by byte.
 */
#include "kernels/blk-batches.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK	    NEEDS("disk:virtio")
#define MODERN_DISK NEEDS("disk:virtio modern")

TEST(canonical_request, "VQ-DEV-13 VQ-DEV-14",
	"a read uses its head once, writes data and status, and tells how many bytes", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	struct ring_used_element e;

	raw_fill(d, RAW_SCRATCH, 1, 1);
	memset(d->data, 0xee, 512);
	raw_request(d, 5, BLK_T_IN, RAW_SCRATCH, d->data, 512);
	raw_publish(&d->ring, 5);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	e = raw_take(&d->ring);
	EXPECT_EQ(e.id, 5);
	EXPECT_EQ(e.length, 513);
	EXPECT_EQ(d->ring.used->idx, 2);
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_FALSE(memory_is(d->data, 0xee, 512, NULL));
	EXPECT_TRUE(raw_quiet(&d->ring));
}

TEST(header_in_single_bytes, "VQ-DEV-01",
	"a header in sixteen descriptors of one byte is understood", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	struct ring_used_element e;
	uint8_t *expected = arena_alloc(512, 64);

	if (d->ring.size < 18)
		SKIP("the queue has %u entries", d->ring.size);
	raw_pattern(expected, 512, 2);
	raw_fill(d, RAW_SCRATCH, 1, 2);
	memset(d->data, 0, 512);
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH};
	*d->status = 0xff;
	for (unsigned i = 0; i < 16; i++)
		raw_descriptor(&d->ring, i, phys(d->header) + i, 1, RING_NEXT, i + 1);
	raw_descriptor(&d->ring, 16, phys(d->data), 512, RING_NEXT | RING_WRITE, 17);
	raw_descriptor(&d->ring, 17, phys(d->status), 1, RING_WRITE, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	e = raw_take(&d->ring);
	EXPECT_EQ(e.length, 513);
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_MEM(d->data, expected, 512);
}

TEST(header_and_data_in_one, "VQ-DEV-01",
	"a write whose header and data are one descriptor is understood", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t *both = guarded_alloc(16 + 512);

	*(struct blk_header *)both = (struct blk_header){.type = BLK_T_OUT, .sector = RAW_SCRATCH};
	raw_pattern(both + 16, 512, 3);
	*d->status = 0xff;
	raw_descriptor(&d->ring, 0, phys(both), 16 + 512, RING_NEXT, 1);
	raw_descriptor(&d->ring, 1, phys(d->status), 1, RING_WRITE, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(raw_take(&d->ring).length, 1);
	EXPECT_EQ(*d->status, BLK_S_OK);
	raw_verify(d, RAW_SCRATCH, 1, 3);
}

TEST(data_and_status_in_one, "VQ-DEV-01 VQ-DEV-14",
	"a read whose data and status are one descriptor has its status in the last byte", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t *both = guarded_alloc(513), *expected = arena_alloc(512, 64);

	raw_fill(d, RAW_SCRATCH, 1, 4);
	raw_pattern(expected, 512, 4);
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH};
	both[512] = 0xff;
	raw_descriptor(&d->ring, 0, phys(d->header), 16, RING_NEXT, 1);
	raw_descriptor(&d->ring, 1, phys(both), 513, RING_WRITE, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(raw_take(&d->ring).length, 513);
	EXPECT_EQ(both[512], BLK_S_OK);
	EXPECT_MEM(both, expected, 512);
}

TEST(data_in_odd_pieces, "VQ-DEV-01 VQ-DEV-14",
	"data in pieces of 1, 510 and 1 bytes at odd addresses arrive in order", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t *a = guarded_alloc(2), *b = guarded_alloc(512), *c = guarded_alloc(2),
		*expected = arena_alloc(512, 64);

	raw_fill(d, RAW_SCRATCH, 1, 5);
	raw_pattern(expected, 512, 5);
	a[0] = b[0] = c[0] = b[511] = 0x42;
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH};
	raw_descriptor(&d->ring, 0, phys(d->header), 16, RING_NEXT, 1);
	raw_descriptor(&d->ring, 1, phys(a + 1), 1, RING_NEXT | RING_WRITE, 2);
	raw_descriptor(&d->ring, 2, phys(b + 1), 510, RING_NEXT | RING_WRITE, 3);
	raw_descriptor(&d->ring, 3, phys(c + 1), 1, RING_NEXT | RING_WRITE, 4);
	raw_descriptor(&d->ring, 4, phys(d->status), 1, RING_WRITE, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(raw_take(&d->ring).length, 513);
	EXPECT_EQ(a[1], expected[0]);
	EXPECT_MEM(b + 1, expected + 1, 510);
	EXPECT_EQ(c[1], expected[511]);
	EXPECT_TRUE(a[0] == 0x42 && b[0] == 0x42 && c[0] == 0x42 && b[511] == 0x42);
}

static void laps(uint16_t size)
{
	struct raw_disk *d = raw_disk_open(RAW_DEFAULT, size);

	raw_fill(d, RAW_SCRATCH, 1, size);
	for (unsigned i = 0; i < 2u * size + 3; i++) {
		unsigned head = i % size < size - 2u ? i % size : 0;

		*d->header = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH};
		*d->status = 0xff;
		raw_request(d, head, BLK_T_IN, RAW_SCRATCH, d->data, 512);
		raw_publish(&d->ring, head);
		raw_kick(&d->ring);
		ASSERT_TRUE(raw_used(&d->ring, 1));
		ASSERT_EQ(raw_take(&d->ring).id, head);
		ASSERT_EQ(*d->status, BLK_S_OK);
	}
	EXPECT_EQ(d->ring.used->idx, 2 * size + 4);
}

TEST(ring_of_four, "VQ-DEV-13", "a ring of 4 entries wraps at 4", DISK)
{
	laps(4);
}

TEST(ring_of_sixteen, "VQ-DEV-13", "a ring of 16 entries wraps at 16", DISK)
{
	laps(16);
}

/* The whole ring at a time: GET_ID requests by indirect tables, the available ring filled once and
 * for all. */
static struct raw_disk *turn_to(unsigned target, uint64_t features)
{
	struct raw_disk *d = raw_disk_open(features | RAW_INDIRECT, 256);
	unsigned size = d->ring.size;
	struct ring_descriptor *table = arena_alloc(48, 16);

	table[0] = (struct ring_descriptor){phys(d->header), 16, RING_NEXT, 1};
	table[1] = (struct ring_descriptor){phys(d->data), 20, RING_NEXT | RING_WRITE, 2};
	table[2] = (struct ring_descriptor){phys(d->status), 1, RING_WRITE, 0};
	*d->header = (struct blk_header){.type = BLK_T_GET_ID};
	d->ring.avail->flags = RING_NO_INTERRUPT;
	for (unsigned i = 0; i < size; i++) {
		raw_descriptor(&d->ring, i, phys(table), 48, RING_INDIRECT, 0);
		d->ring.avail->ring[i] = i;
	}
	if (features & RAW_EVENT_IDX)
		*ring_used_event(d->ring.avail, size) = target + 0x4000;
	for (unsigned done = 0; done < target;) {
		unsigned batch = target - done < size ? target - done : size;

		done += batch;
		d->ring.avail_next += batch;
		d->ring.avail->idx = d->ring.avail_next;
		full_barrier();
		raw_kick(&d->ring);
		if (!raw_used(&d->ring, batch))
			test_leave();
		d->ring.used_next += batch;
	}
	return d;
}

TEST(indices_wrap, "VQ-DEV-13",
	"after 65536 requests both indices are 0 again and the ring goes on", DISK)
{
	struct raw_disk *d = turn_to(65536, RAW_DEFAULT);

	EXPECT_EQ(d->ring.avail->idx, 0);
	EXPECT_EQ(d->ring.used->idx, 0);
	raw_serves(d);
	EXPECT_EQ(d->ring.used->idx, 2);
}

TEST(event_index_across_the_wrap, "VQ-DEV-11 VQ-DEV-12",
	"with the event index at 65535 one interrupt comes, when entry 65535 is used", DISK)
{
	struct raw_disk *d = turn_to(65530, RAW_DEFAULT | RAW_EVENT_IDX);
	uint32_t before;

	*ring_used_event(d->ring.avail, d->ring.size) = 65535;
	full_barrier();
	before = virtio_queue_interrupts(&d->dev, 0);
	for (unsigned i = 0; i < 10; i++) {
		ASSERT_EQ(raw_do(d, BLK_T_GET_ID, 0, d->data, 20), BLK_S_OK);
		if (i == 4) {
			delay_us(2000);
			EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), before);
		}
	}
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) > before, RAW_ANSWER_US));
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), before + 1);
}

/* A batch of reads of one sector each, three descriptors a request; `order` decides the heads. */
static void batch(struct raw_disk *d, unsigned count, const uint8_t *order)
{
	uint8_t *buffers = guarded_alloc(count * 512), *status = guarded_alloc(count),
		seen[64] = {0};
	struct blk_header *headers = arena_alloc(count * 16, 16);

	memset(status, 0xff, count);
	for (unsigned i = 0; i < count; i++) {
		unsigned head = 3 * order[i];

		headers[i] = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH + i % 8};
		raw_descriptor(&d->ring, head, phys(headers + i), 16, RING_NEXT, head + 1);
		raw_descriptor(&d->ring, head + 1, phys(buffers + 512 * i), 512,
			RING_NEXT | RING_WRITE, head + 2);
		raw_descriptor(&d->ring, head + 2, phys(status + i), 1, RING_WRITE, 0);
		d->ring.avail->ring[d->ring.avail_next++ % d->ring.size] = head;
	}
	compiler_barrier();
	d->ring.avail->idx = d->ring.avail_next;
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, count));
	for (unsigned i = 0; i < count; i++) {
		struct ring_used_element e = raw_take(&d->ring);

		ASSERT_EQ(e.id % 3, 0);
		ASSERT_LT(e.id / 3, count);
		EXPECT_EQ(seen[e.id / 3]++, 0);
		EXPECT_EQ(e.length, 513);
	}
	EXPECT_TRUE(memory_is(status, BLK_S_OK, count, NULL));
	raw_pattern(d->data, 4096, 7);
	for (unsigned i = 0; i < count; i++)
		EXPECT_MEM(buffers + 512 * i, d->data + 512 * (i % 8), 512);
	EXPECT_TRUE(raw_quiet(&d->ring));
}

TEST(full_ring_in_one_kick, "VQ-DEV-13 VQ-DEV-14",
	"with all descriptors in use and one doorbell each head is used exactly once", DISK)
{
	struct raw_disk *d = raw_disk_open(RAW_DEFAULT, 64);
	uint8_t order[21];

	raw_fill(d, RAW_SCRATCH, 8, 7);
	for (unsigned i = 0; i < sizeof(order); i++)
		order[i] = i;
	batch(d, sizeof(order), order);
}

TEST(heads_in_any_order, "VQ-DEV-13",
	"heads that are not in the table's order are each used exactly once", DISK)
{
	struct raw_disk *d = raw_disk_open(RAW_DEFAULT, 64);
	uint8_t order[21];

	raw_fill(d, RAW_SCRATCH, 8, 7);
	for (unsigned i = 0; i < sizeof(order); i++)
		order[i] = i * 8 % 21; /* 8 and 21 have no common divisor */
	batch(d, sizeof(order), order);
	batch(d, sizeof(order), order);
}

TEST(descriptors_are_not_modified, "VQ-DEV-04",
	"the descriptor table, the available ring and indirect tables stay as the driver wrote "
	"them",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);
	unsigned table_bytes = RING_DESCRIPTORS_BYTES(d->ring.size),
		 avail_bytes = RING_AVAIL_BYTES(d->ring.size);
	struct ring_descriptor *table = guarded_alloc(48);
	uint8_t *copy = arena_alloc(table_bytes, 16), *avail = arena_alloc(avail_bytes, 16),
		indirect[48];

	raw_request(d, 0, BLK_T_IN, 0, d->data, 512);
	memcpy(table, d->ring.descriptors, 48);
	raw_descriptor(&d->ring, 7, phys(table), 48, RING_INDIRECT, 0);
	raw_publish(&d->ring, 0);
	raw_publish(&d->ring, 7);
	memcpy(copy, d->ring.descriptors, table_bytes);
	memcpy(avail, d->ring.avail, avail_bytes);
	memcpy(indirect, table, 48);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 2));
	EXPECT_MEM(d->ring.descriptors, copy, table_bytes);
	EXPECT_MEM(d->ring.avail, avail, avail_bytes);
	EXPECT_MEM(table, indirect, 48);
}

TEST(readable_buffers_are_not_written, "VQ-DEV-03a",
	"header and data of a write stay as the driver wrote them", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	struct blk_header header = {.type = BLK_T_OUT, .sector = RAW_SCRATCH};
	uint8_t *expected = arena_alloc(4096, 64);

	raw_pattern(d->data, 4096, 8);
	raw_pattern(expected, 4096, 8);
	EXPECT_EQ(raw_do(d, BLK_T_OUT, RAW_SCRATCH, d->data, 4096), BLK_S_OK);
	EXPECT_EQ(d->used_length, 1);
	EXPECT_MEM(d->data, expected, 4096);
	EXPECT_MEM(d->header, &header, sizeof(header));
}

TEST(writes_stay_inside_buffers, "", "nothing beside the writable buffers is written", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);
	uint8_t *page = guarded_alloc_aligned(4096, 4096), *small = guarded_alloc(512);

	EXPECT_EQ(raw_do(d, BLK_T_IN, 0, page, 4096), BLK_S_OK);
	EXPECT_EQ(raw_do(d, BLK_T_IN, 0, small, 512), BLK_S_OK);
	EXPECT_EQ(raw_do(d, BLK_T_GET_ID, 0, d->data, 20), BLK_S_OK);
	EXPECT_TRUE(guarded_check());
}

TEST(ring_parts_in_distant_pages, "VQ-DEV-13",
	"the three parts of a ring may lie far apart, each at its least alignment", MODERN_DISK)
{
	struct raw_disk *d = raw_disk_find();

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT));
	raw_ring_alloc(&d->ring, &d->dev, 0, 16);
	d->ring.used = (void *)((uint8_t *)arena_alloc_raw(0x200000, 4096) + 0x1ff004);
	d->ring.avail = (void *)((uint8_t *)arena_alloc_raw(0x100000, 4096) + 0xff002);
	d->ring.descriptors = (void *)((uint8_t *)arena_alloc_raw(0x100000, 4096) + 0x7f010);
	memset(d->ring.used, 0, RING_USED_BYTES(16));
	memset(d->ring.avail, 0, RING_AVAIL_BYTES(16));
	raw_ring_enable(&d->ring);
	virtio_driver_ok(&d->dev);
	for (int i = 0; i < 10; i++)
		raw_serves(d);
	EXPECT_EQ(d->ring.used->idx, 20);
}

TEST(chain_of_queue_size, "VQ-DEV-14",
	"a chain of exactly as many descriptors as the queue has is served", DISK)
{
	struct raw_disk *d = raw_disk_open(RAW_DEFAULT, 8);
	uint8_t *expected = arena_alloc(6 * 512, 64);

	raw_fill(d, RAW_SCRATCH, 6, 9);
	raw_pattern(expected, 6 * 512, 9);
	memset(d->data, 0, 4096);
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH};
	raw_descriptor(&d->ring, 0, phys(d->header), 16, RING_NEXT, 1);
	for (unsigned i = 1; i < 7; i++)
		raw_descriptor(&d->ring, i, phys(d->data + 512 * (i - 1)), 512,
			RING_NEXT | RING_WRITE, i + 1);
	raw_descriptor(&d->ring, 7, phys(d->status), 1, RING_WRITE, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(raw_take(&d->ring).length, 6 * 512 + 1);
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_MEM(d->data, expected, 6 * 512);
}

/* header | data | status in an indirect table at `table`, named by descriptor `slot` with `flags`.
 */
static void indirect_read(
	struct raw_disk *d, struct ring_descriptor *table, unsigned slot, uint16_t flags)
{
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH};
	*d->status = 0xff;
	memset(d->data, 0, 512);
	table[0] = (struct ring_descriptor){phys(d->header), 16, RING_NEXT, 1};
	table[1] = (struct ring_descriptor){phys(d->data), 512, RING_NEXT | RING_WRITE, 2};
	table[2] = (struct ring_descriptor){phys(d->status), 1, RING_WRITE, 0};
	raw_descriptor(&d->ring, slot, phys(table), 48, RING_INDIRECT | flags, 0);
	raw_publish(&d->ring, slot);
	raw_kick(&d->ring);
}

static void expect_indirect(struct raw_disk *d, unsigned slot, uint64_t seed)
{
	struct ring_used_element e;
	uint8_t *expected = arena_alloc(512, 64);

	raw_pattern(expected, 512, seed);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	e = raw_take(&d->ring);
	EXPECT_EQ(e.id, slot);
	EXPECT_EQ(e.length, 513);
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_MEM(d->data, expected, 512);
}

TEST(indirect_request, "VQ-DEV-01 VQ-DEV-14",
	"a request by an indirect table has the result of a direct one", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);

	raw_fill(d, RAW_SCRATCH, 1, 10);
	indirect_read(d, guarded_alloc(48), 3, 0);
	expect_indirect(d, 3, 10);
}

TEST(indirect_table_at_an_odd_offset, "VQ-DEV-01",
	"an indirect table may stand at any address and cross a page", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);
	uint8_t *pages = arena_alloc(8192, 4096);

	raw_fill(d, RAW_SCRATCH, 1, 11);
	indirect_read(d, (void *)(pages + 4096 - 17), 0, 0);
	expect_indirect(d, 0, 11);
}

TEST(indirect_write_flag_is_ignored, "VQ-DEV-05",
	"the WRITE flag of the descriptor that names a table is ignored", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);

	raw_fill(d, RAW_SCRATCH, 1, 12);
	indirect_read(d, guarded_alloc(48), 1, RING_WRITE);
	expect_indirect(d, 1, 12);
}

TEST(direct_then_indirect, "VQ-DEV-06",
	"direct descriptors that end in an indirect one make one request", DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);
	struct ring_descriptor *table = guarded_alloc(32);

	raw_fill(d, RAW_SCRATCH, 1, 13);
	*d->header = (struct blk_header){.type = BLK_T_IN, .sector = RAW_SCRATCH};
	*d->status = 0xff;
	memset(d->data, 0, 512);
	table[0] = (struct ring_descriptor){phys(d->data), 512, RING_NEXT | RING_WRITE, 1};
	table[1] = (struct ring_descriptor){phys(d->status), 1, RING_WRITE, 0};
	raw_descriptor(&d->ring, 0, phys(d->header), 16, RING_NEXT, 1);
	raw_descriptor(&d->ring, 1, phys(table), 32, RING_INDIRECT, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	if (!WAIT_UNTIL(d->ring.used->idx != d->ring.used_next, 200000))
		FAIL("the request was not used; status 0x%x", virtio_status(&d->dev));
	expect_indirect(d, 0, 13);
}

TEST(reserved_descriptor_flags, "", "reserved flag bits of a descriptor do not disturb a request",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT);

	raw_fill(d, RAW_SCRATCH, 1, 14);
	raw_request(d, 0, BLK_T_IN, RAW_SCRATCH, d->data, 512);
	for (unsigned i = 0; i < 3; i++)
		d->ring.descriptors[i].flags |= 0xfff8;
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	raw_take(&d->ring);
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(second_queue_serves, "VQ-DEV-13", "each queue of a device is served through its own ring",
	DISK)
{
	struct raw_disk *d = raw_disk_find();
	struct raw_ring second, first;

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT | VIRTIO_BIT(BLK_F_MQ)));
	if (!virtio_has(&d->dev, BLK_F_MQ) || d->dev.transport->queue_max(&d->dev, 1) == 0)
		SKIP("the disk has one queue");
	raw_ring_alloc(&d->ring, &d->dev, 0, 0);
	raw_ring_enable(&d->ring);
	raw_ring_alloc(&second, &d->dev, 1, 16);
	raw_ring_enable(&second);
	virtio_driver_ok(&d->dev);
	raw_serves(d);
	EXPECT_EQ(second.used->idx, 0);
	first = d->ring;
	d->ring = second;
	raw_serves(d);
	EXPECT_EQ(first.used->idx, 2);
	EXPECT_EQ(d->ring.used->idx, 2);
	delay_us(2000);
	if (d->dev.irq == VIRTIO_IRQ_MSIX) {
		uint32_t before = virtio_queue_interrupts(&d->dev, 0);

		EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 1) >= 1, RAW_ANSWER_US));
		raw_serves(d);
		delay_us(2000);
		EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), before);
	}
}

TEST(driver_in_batches, "VQ-DEV-13",
	"the driver library moves 64 requests in batches of 16, by polling, data compared", DISK)
{
	struct virtio_blk *disk = arena_alloc(sizeof(*disk), 64);

	if (!virtio_blk_open(disk, &(struct virtio_blk_options){.depth = 16, .polling = true}) ||
		disk->read_only)
		SKIP("no writable disk");
	blk_moves_in_batches(disk);
}

TEST(driver_by_interrupts, "VQ-DEV-11 VQ-DEV-09",
	"the driver library that sleeps until an interrupt misses no completion", DISK)
{
	struct virtio_blk *disk = arena_alloc(sizeof(*disk), 64);
	struct virtio_blk_done done;
	uint8_t *buffer = guarded_alloc(512);

	if (!virtio_blk_open(
		    disk, &(struct virtio_blk_options){.depth = 4, .irq = VIRTIO_IRQ_BEST}))
		SKIP("no disk");
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
