/* SPDX-License-Identifier: MIT */
/*
 * The packed ring (virtio 1.4, 2.8): used descriptors, wrap counters, lists and indirect tables.
 * The requests are those of a block device, whose answers can be compared byte by byte.
 */
#include "packed.h"

TEST(canonical_list, "PKD-DEV-07",
	"a list of three descriptors is used once, at its first, with the id of its last", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);
	volatile struct packed_descriptor *used = &d->ring.ring[0];

	packed_header(d);
	raw_write(
		&d->ring, (struct raw_place){1, 1}, phys(d->data), 512, 7, RING_NEXT | RING_WRITE);
	raw_write(&d->ring, (struct raw_place){2, 1}, phys(d->status), 1, 9, RING_WRITE);
	raw_write(&d->ring, (struct raw_place){0, 1}, phys(d->header), 16, 8, RING_NEXT);
	raw_kick(&d->ring);
	ASSERT_TRUE(packed_used_at(d, 0, 1));
	EXPECT_EQ(used->id, 9);
	EXPECT_EQ(used->length, 513);
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_FALSE(raw_is_used(&d->ring, (struct raw_place){1, 1}));
	EXPECT_FALSE(raw_is_used(&d->ring, (struct raw_place){2, 1}));
}

TEST(used_says_that_it_wrote, "",
	"the used descriptor of a buffer that was written to has WRITE set, and its length counts",
	DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);

	ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	EXPECT_EQ(d->ring.ring[0].flags & RING_WRITE, RING_WRITE);
	EXPECT_EQ(d->ring.ring[0].length, 513);
	ASSERT_EQ(raw_do(d, BLK_T_OUT, RAW_SCRATCH, d->data, 512), BLK_S_OK);
	EXPECT_EQ(d->ring.ring[3].flags & RING_WRITE, RING_WRITE);
	EXPECT_EQ(d->ring.ring[3].length, 1);
}

static void laps(uint16_t size, unsigned requests, bool indirect)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT | (indirect ? RAW_INDIRECT : 0), size);
	struct ring_descriptor *table = guarded_alloc(48);

	raw_entry(&d->ring, table, 0, phys(d->header), 16, 0);
	raw_entry(&d->ring, table, 1, phys(d->data), 512, RING_WRITE);
	raw_entry(&d->ring, table, 2, phys(d->status), 1, RING_WRITE);
	for (unsigned i = 0; i < requests; i++) {
		struct raw_place at = d->ring.put;
		struct ring_used_element e;

		raw_request(d, 0, BLK_T_IN, i, d->data, 512);
		if (indirect)
			raw_descriptor(&d->ring, 0, phys(table), 48, RING_INDIRECT, 0);
		raw_publish(&d->ring, 0);
		raw_kick(&d->ring);
		ASSERT_TRUE(raw_used(&d->ring, 1));
		EXPECT_TRUE(raw_is_used(&d->ring, at));
		e = raw_take(&d->ring);
		ASSERT_EQ(e.id, 0);
		ASSERT_EQ(e.length, 513);
		ASSERT_EQ(*d->status, BLK_S_OK);
	}
	EXPECT_TRUE(raw_quiet(&d->ring));
}

TEST(ring_of_three, "PKD-DEV-05 PKD-DEV-07",
	"on a ring of three a list of three fills each lap, and every lap is served", DISK)
{
	laps(3, 12, false);
}

TEST(ring_of_five, "PKD-DEV-05 PKD-DEV-07",
	"on a ring of five, lists of three straddle its end at every place", DISK)
{
	laps(5, 20, false);
}

TEST(ring_of_seven, "PKD-DEV-05 PKD-DEV-07", "wrap counters turn at the end of a ring of seven",
	DISK)
{
	laps(7, 21, false);
}

TEST(ring_of_one, "PKD-DEV-05", "on a ring of one descriptor each request is a lap", DISK)
{
	laps(1, 9, true);
}

TEST(list_of_queue_size, "PKD-DEV-05 PKD-DEV-07 PKD-DRV-07",
	"a list as long as the queue is served, element after element, and the next one starts a "
	"lap later",
	DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 8);
	uint8_t *expected = arena_alloc(6 * 512, 64);
	unsigned begin;

	raw_pattern(expected, 6 * 512, 32);
	raw_fill(d, RAW_SCRATCH, 6, 32);
	begin = d->ring.put.index;
	for (unsigned lap = 0; lap < 3; lap++) {
		packed_header(d);
		memset(d->data, 0xee, 6 * 512);
		raw_descriptor(&d->ring, 0, phys(d->header), 16, RING_NEXT, 1);
		for (unsigned i = 1; i < 7; i++)
			raw_descriptor(&d->ring, i, phys(d->data + 512 * (i - 1)), 512,
				RING_NEXT | RING_WRITE, i + 1);
		raw_descriptor(&d->ring, 7, phys(d->status), 1, RING_WRITE, 0);
		raw_publish(&d->ring, 0);
		EXPECT_EQ(d->ring.put.index, begin);
		raw_kick(&d->ring);
		ASSERT_TRUE(raw_used(&d->ring, 1));
		EXPECT_EQ(raw_take(&d->ring).length, 6 * 512 + 1);
		EXPECT_EQ(*d->status, BLK_S_OK);
		EXPECT_MEM(d->data, expected, 6 * 512);
	}
	raw_serves(d);
}

/* The head of a request at the next place with these flags: nothing may happen. */
static void not_taken(struct raw_disk *d, uint16_t flags)
{
	struct raw_place at = d->ring.put;
	volatile struct packed_descriptor *head = &d->ring.ring[at.index];

	packed_header(d);
	raw_advance(&d->ring, &at, 1);
	raw_write(&d->ring, at, phys(d->data), 512, 5, RING_NEXT | RING_WRITE);
	raw_advance(&d->ring, &at, 1);
	raw_write(&d->ring, at, phys(d->status), 1, 5, RING_WRITE);
	head->address = phys(d->header);
	head->length = 16;
	head->id = 5;
	head->flags = RING_NEXT | flags;
	full_barrier();
	raw_kick(&d->ring);
	delay_us(RAW_QUIET_US);
	EXPECT_EQ(*d->status, 0xff);
	EXPECT_EQ(head->flags, RING_NEXT | flags);
	EXPECT_EQ(virtio_status(&d->dev), VIRTIO_S_RUNNING);
	head->flags = RING_NEXT | packed_available(d->ring.put.wrap);
	full_barrier();
	raw_kick(&d->ring);
	ASSERT_TRUE(WAIT_UNTIL(raw_is_used(&d->ring, d->ring.put), RAW_ANSWER_US));
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_EQ(head->id, 5);
}

TEST(both_flags_alike, "PKD-DEV-05",
	"a descriptor whose AVAIL and USED are equal is not taken, until it is available", DISK)
{
	not_taken(packed_disk(RAW_DEFAULT, 0), 0);
}

TEST(both_flags_set, "PKD-DEV-05",
	"a descriptor whose AVAIL and USED are both set is not taken, until it is available", DISK)
{
	not_taken(packed_disk(RAW_DEFAULT, 0), RING_AVAILABLE | RING_IS_USED);
}

TEST(flags_of_the_other_lap, "PKD-DEV-05",
	"a descriptor with the flags of the lap before is not taken, until it is available", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 3);

	ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	EXPECT_EQ(d->ring.put.wrap, 0);
	not_taken(d, packed_available(1));
}

TEST(tail_before_its_head, "PKD-DEV-05 PKD-DRV-11",
	"of a list nothing is consumed before its head is available; then it is used once", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);

	packed_header(d);
	memset(d->data, 0x44, 512);
	raw_write(
		&d->ring, (struct raw_place){1, 1}, phys(d->data), 512, 3, RING_NEXT | RING_WRITE);
	raw_write(&d->ring, (struct raw_place){2, 1}, phys(d->status), 1, 3, RING_WRITE);
	raw_kick(&d->ring);
	delay_us(RAW_QUIET_US);
	EXPECT_TRUE(memory_is(d->data, 0x44, 512, NULL));
	EXPECT_EQ(*d->status, 0xff);
	raw_write(&d->ring, (struct raw_place){0, 1}, phys(d->header), 16, 3, RING_NEXT);
	raw_kick(&d->ring);
	ASSERT_TRUE(packed_used_at(d, 0, 1));
	EXPECT_EQ(*d->status, BLK_S_OK);
	delay_us(2000);
	EXPECT_FALSE(raw_is_used(&d->ring, (struct raw_place){3, 1}));
}

TEST(any_buffer_id, "", "buffer ids 0, size - 1, size, 0x8000 and 0xffff come back as sent", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 8);
	const uint16_t ids[] = {0, 7, 8, 0x8000, 0xffff};

	for (unsigned i = 0; i < 5; i++) {
		struct raw_place at = d->ring.put, head = at;

		packed_header(d);
		raw_advance(&d->ring, &at, 1);
		raw_write(&d->ring, at, phys(d->data), 512, ids[i], RING_NEXT | RING_WRITE);
		raw_advance(&d->ring, &at, 1);
		raw_write(&d->ring, at, phys(d->status), 1, ids[i], RING_WRITE);
		raw_advance(&d->ring, &at, 1);
		raw_write(&d->ring, head, phys(d->header), 16, ids[i], RING_NEXT);
		d->ring.put = at;
		raw_kick(&d->ring);
		ASSERT_TRUE(packed_used_at(d, head.index, head.wrap));
		EXPECT_EQ(d->ring.ring[head.index].id, ids[i]);
		EXPECT_EQ(*d->status, BLK_S_OK);
	}
}

TEST(many_in_one_kick, "PKD-DEV-02 PKD-DEV-01",
	"sixteen lists in one kick are used once each, one after the other in the ring", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 48);
	uint8_t *status = guarded_alloc(16);
	uint32_t seen = 0;

	memset(status, 0xff, 16);
	*d->header = (struct blk_header){.type = BLK_T_IN};
	for (unsigned i = 0; i < 16; i++) {
		raw_descriptor(&d->ring, 3 * i, phys(d->header), 16, RING_NEXT, 3 * i + 1);
		raw_descriptor(
			&d->ring, 3 * i + 1, phys(d->data), 512, RING_NEXT | RING_WRITE, 3 * i + 2);
		raw_descriptor(&d->ring, 3 * i + 2, phys(status + i), 1, RING_WRITE, 0);
		raw_publish(&d->ring, 3 * i);
	}
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 16));
	for (unsigned i = 0; i < 16; i++) {
		struct ring_used_element e = raw_take(&d->ring);

		EXPECT_EQ(e.id % 3, 0);
		EXPECT_EQ(seen >> e.id / 3 & 1, 0);
		seen |= 1u << e.id / 3;
		EXPECT_EQ(e.length, 513);
	}
	EXPECT_EQ(seen, 0xffff);
	EXPECT_TRUE(memory_is(status, 0, 16, NULL));
	EXPECT_TRUE(raw_quiet(&d->ring));
}

TEST(used_slot_is_left_alone, "PKD-DEV-06",
	"a descriptor that was used is not written again, whatever the driver puts there", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);
	struct packed_descriptor mine = {
		0x1111111111111111, 0x22222222, 0x3333, RING_AVAILABLE | RING_IS_USED | RING_WRITE};

	ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	for (unsigned i = 0; i < 3; i++)
		memcpy((void *)&d->ring.ring[i], &mine, sizeof(mine));
	raw_serves(d);
	raw_serves(d);
	for (unsigned i = 0; i < 3; i++)
		EXPECT_MEM((void *)&d->ring.ring[i], &mine, sizeof(mine));
}

TEST(readable_buffers_stay, "PKD-DEV-04a",
	"header and data of a write keep every byte, and the data is stored", DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);
	uint8_t *copy = arena_alloc(512, 64);
	struct blk_header header;

	raw_pattern(d->data, 512, 31);
	memcpy(copy, d->data, 512);
	raw_request(d, 0, BLK_T_OUT, RAW_SCRATCH, d->data, 512);
	header = *d->header;
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	ASSERT_TRUE(raw_used(&d->ring, 1));
	EXPECT_EQ(raw_take(&d->ring).length, 1);
	EXPECT_MEM(d->data, copy, 512);
	EXPECT_MEM(d->header, &header, sizeof(header));
	raw_verify(d, RAW_SCRATCH, 1, 31);
}

/* A read through a table whose entries have these flags besides WRITE. */
static void indirect_read(uint16_t entry_flags, uint16_t ring_flags)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT | RAW_INDIRECT, 0);
	struct packed_descriptor *table = guarded_alloc(48), copy[3];
	uint8_t *expected = arena_alloc(512, 64);

	raw_fill(d, RAW_SCRATCH, 1, 33);
	raw_pattern(expected, 512, 33);
	packed_header(d);
	memset(d->data, 0xee, 512);
	table[0] = (struct packed_descriptor){phys(d->header), 16, 0xaaaa, entry_flags};
	table[1] = (struct packed_descriptor){phys(d->data), 512, 0x5555, entry_flags | RING_WRITE};
	table[2] = (struct packed_descriptor){phys(d->status), 1, 0, entry_flags | RING_WRITE};
	memcpy(copy, table, 48);
	raw_put(&d->ring, phys(table), 48, 6, RING_INDIRECT | ring_flags);
	raw_kick(&d->ring);
	ASSERT_TRUE(packed_used_at(d, 3, 1));
	EXPECT_EQ(d->ring.ring[3].id, 6);
	EXPECT_EQ(d->ring.ring[3].length, 513);
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_MEM(d->data, expected, 512);
	EXPECT_MEM(table, copy, 48);
}

TEST(indirect_list, "", "a list in an indirect table is one descriptor of the ring", DISK)
{
	indirect_read(0, 0);
}

TEST(flags_inside_a_table, "PKD-DRV-13",
	"in an indirect table every flag but WRITE, and the id, is ignored", DISK)
{
	indirect_read((uint16_t)~RING_WRITE, 0);
}

TEST(write_flag_of_a_table, "", "WRITE in the descriptor that names a table is ignored", DISK)
{
	indirect_read(0, RING_WRITE);
}

TEST(reset_starts_with_wrap_1, "RST-DEV-02",
	"after a reset in the second lap the first list is taken at slot 0 with wrap counter 1",
	DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 5);

	for (unsigned i = 0; i < 3; i++)
		ASSERT_EQ(raw_do(d, BLK_T_IN, i, d->data, 512), BLK_S_OK);
	EXPECT_EQ(d->ring.put.wrap, 0);
	ASSERT_TRUE(virtio_reset(&d->dev));
	ASSERT_TRUE(raw_disk_start(d, RAW_DEFAULT, 5));
	EXPECT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	EXPECT_TRUE(raw_is_used(&d->ring, (struct raw_place){0, 1}));
}

TEST(queue_reset_starts_with_wrap_1, "VQR-DEV-02 VQR-DEV-03",
	"after a queue reset in the second lap a ring of another size starts at slot 0 with wrap "
	"counter 1",
	DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_RING_RESET), 5);

	if (!d->dev.is_pci && !raw_strict())
		SKIP("QEMU has no register for it: docs/findings/005");
	for (unsigned i = 0; i < 3; i++)
		ASSERT_EQ(raw_do(d, BLK_T_IN, i, d->data, 512), BLK_S_OK);
	d->dev.transport->queue_reset(&d->dev, 0);
	ASSERT_TRUE(
		WAIT_UNTIL(d->dev.transport->queue_reset_state(&d->dev, 0) == 0, RAW_ANSWER_US));
	ASSERT_GE(d->dev.transport->queue_max(&d->dev, 0), 11);
	raw_ring_alloc(&d->ring, &d->dev, 0, 11);
	raw_ring_enable(&d->ring);
	for (unsigned i = 0; i < 5; i++)
		EXPECT_EQ(raw_do(d, BLK_T_IN, i, d->data, 512), BLK_S_OK);
	EXPECT_TRUE(raw_is_used(&d->ring, (struct raw_place){9, 1}));
}

TEST(places_survive_a_save, "PKD-DEV-05",
	"requests in the lap of wrap counter 0 are taken at the right place, saved in between or "
	"not",
	DISK, LIFE)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 7);

	for (unsigned i = 0; i < 8; i++) {
		raw_fill(d, RAW_SCRATCH + i, 1, 40 + i);
		raw_verify(d, RAW_SCRATCH + i, 1, 40 + i);
	}
	EXPECT_TRUE(raw_quiet(&d->ring));
}
