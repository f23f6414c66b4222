/* SPDX-License-Identifier: MIT */
/*
 * Packed rings that break the rules.  As for split rings (virtio_ring/broken.c) NEEDS_RESET is what
 * our own VMM must show; others are only asked for what cannot hang them (raw_may_break()).
 */
#include "packed.h"

#define MAY_COMPLETE true

static struct raw_disk *breakable(uint64_t features, uint16_t size)
{
	struct raw_disk *d = packed_disk(features, size);

	raw_may_break(d);
	return d;
}

/* A list of header, data and status, whose second and third descriptor can be given away. */
static void put_list(struct raw_disk *d, uint64_t data, uint32_t bytes, uint16_t data_flags)
{
	struct raw_place head = d->ring.put;

	packed_header(d);
	raw_advance(&d->ring, &d->ring.put, 1);
	raw_put(&d->ring, data, bytes, 1, data_flags);
	raw_put(&d->ring, phys(d->status), 1, 1, RING_WRITE);
	raw_write(&d->ring, head, phys(d->header), 16, 1, RING_NEXT);
	raw_kick(&d->ring);
}

TEST(list_without_an_end, "PKD-DRV-07 STAT-DEV-02",
	"a list with NEXT in every descriptor of the ring is left in bounded time", DISK)
{
	struct raw_disk *d = breakable(RAW_DEFAULT, 8);

	packed_header(d);
	for (unsigned i = 7; i < 8; i--)
		raw_write(&d->ring, (struct raw_place){i, 1}, phys(d->header), 16, 0, RING_NEXT);
	raw_kick(&d->ring);
	raw_broken(d, false);
}

TEST(list_that_meets_itself, "PKD-DRV-07 STAT-DEV-02",
	"a list that leads into the descriptors of one in flight is refused", DISK)
{
	struct raw_disk *d = breakable(RAW_DEFAULT, 3);

	ASSERT_EQ(raw_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
	packed_header(d);
	for (unsigned i = 2; i < 3; i--)
		raw_write(&d->ring, (struct raw_place){i, 0}, phys(d->header), 16, 0, RING_NEXT);
	raw_kick(&d->ring);
	raw_broken(d, false);
}

TEST(list_into_a_hole, "STAT-DEV-02",
	"a list that goes on in a descriptor that is not available is refused", DISK)
{
	struct raw_disk *d = breakable(RAW_DEFAULT, 0);

	packed_header(d);
	raw_write(
		&d->ring, (struct raw_place){1, 0}, phys(d->data), 512, 1, RING_NEXT | RING_WRITE);
	raw_write(&d->ring, (struct raw_place){2, 1}, phys(d->status), 1, 1, RING_WRITE);
	raw_write(&d->ring, (struct raw_place){0, 1}, phys(d->header), 16, 1, RING_NEXT);
	raw_kick(&d->ring);
	raw_broken(d, MAY_COMPLETE);
}

TEST(readable_behind_writable, "PKD-DRV-08 PKD-DEV-04a",
	"a readable element behind a writable one is refused and not written", DISK)
{
	struct raw_disk *d = breakable(RAW_DEFAULT, 0);
	uint8_t *readable = guarded_alloc(512);

	packed_header(d);
	memset(readable, 0x11, 512);
	raw_write(
		&d->ring, (struct raw_place){1, 1}, phys(d->data), 512, 1, RING_NEXT | RING_WRITE);
	raw_write(&d->ring, (struct raw_place){2, 1}, phys(readable), 512, 1, RING_NEXT);
	raw_write(&d->ring, (struct raw_place){3, 1}, phys(d->status), 1, 1, RING_WRITE);
	raw_write(&d->ring, (struct raw_place){0, 1}, phys(d->header), 16, 1, RING_NEXT);
	raw_kick(&d->ring);
	raw_broken(d, false);
	EXPECT_TRUE(memory_is(readable, 0x11, 512, NULL));
}

TEST(id_that_is_in_flight, "STAT-DEV-02",
	"two lists in one kick with one buffer id are refused, or both are served", DISK)
{
	struct raw_disk *d = breakable(RAW_DEFAULT, 0);

	raw_request(d, 0, BLK_T_IN, 0, d->data, 4096);
	raw_publish(&d->ring, 0);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	WAIT_UNTIL(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET || raw_used_count(&d->ring) == 2,
		RAW_ANSWER_US);
	if (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET)
		EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&d->dev) >= 1, RAW_ANSWER_US));
	else
		EXPECT_EQ(raw_used_count(&d->ring), 2);
	raw_recovers(d);
}

TEST(buffer_outside_of_memory, "STAT-DEV-02", "an element where no RAM is is refused", DISK)
{
	struct raw_disk *d = breakable(RAW_DEFAULT, 0);

	put_list(d, 0x70000000000, 512, RING_NEXT | RING_WRITE);
	raw_broken(d, MAY_COMPLETE);
}

TEST(address_wraps, "STAT-DEV-02", "an element whose end wraps past 2^64 is refused", DISK)
{
	struct raw_disk *d = breakable(RAW_DEFAULT, 0);

	put_list(d, 0xffffffffffffff00, 0x800, RING_NEXT | RING_WRITE);
	raw_broken(d, MAY_COMPLETE);
}

static void bad_table(uint64_t features, uint64_t address, uint32_t length, uint16_t flags)
{
	struct raw_disk *d = breakable(features, 0);
	struct ring_descriptor *table = guarded_alloc(64);

	packed_header(d);
	raw_entry(&d->ring, table, 0, phys(d->header), 16, 0);
	raw_entry(&d->ring, table, 1, phys(d->data), 512, RING_WRITE);
	raw_entry(&d->ring, table, 2, phys(d->status), 1, RING_WRITE);
	raw_put(&d->ring, address ? address : phys(table), length, 1, RING_INDIRECT | flags);
	raw_kick(&d->ring);
	raw_broken(d, false);
}

TEST(indirect_with_next, "PKD-DRV-15 STAT-DEV-02",
	"INDIRECT and NEXT in one descriptor are refused", DISK)
{
	bad_table(RAW_DEFAULT | RAW_INDIRECT, 0, 48, RING_NEXT);
}

TEST(indirect_not_negotiated, "PKD-DRV-12",
	"an indirect descriptor without the feature is not read as a table", DISK)
{
	bad_table(RAW_DEFAULT, 0, 48, 0);
}

TEST(table_of_length_0, "STAT-DEV-02", "an indirect table of 0 bytes is refused", DISK)
{
	bad_table(RAW_DEFAULT | RAW_INDIRECT, 0, 0, 0);
}

TEST(table_of_length_49, "STAT-DEV-02", "an indirect table of 49 bytes is refused", DISK)
{
	bad_table(RAW_DEFAULT | RAW_INDIRECT, 0, 49, 0);
}

TEST(table_outside_of_memory, "STAT-DEV-02", "an indirect table where no RAM is is refused", DISK)
{
	bad_table(RAW_DEFAULT | RAW_INDIRECT, 0x70000000000, 48, 0);
}

TEST(table_of_4_gib, "PKD-DRV-14 STAT-DEV-02",
	"a table that claims 4 GiB is refused in bounded time and memory", DISK)
{
	bad_table(RAW_DEFAULT | RAW_INDIRECT, 0, 0xfffffff0, 0);
}

TEST(table_in_split_layout, "PKD-DRV-08",
	"a table in the split ring's layout is read as packed: its order is refused", DISK)
{
	struct raw_disk *d = breakable(RAW_DEFAULT | RAW_INDIRECT, 0);
	struct ring_descriptor *table = guarded_alloc(64);

	packed_header(d);
	/* Read as packed `next` is the flags: 1, 2, 1 and 0, so that a readable one follows. */
	table[0] = (struct ring_descriptor){phys(d->header), 16, RING_NEXT, 1};
	table[1] = (struct ring_descriptor){phys(d->data), 512, RING_NEXT | RING_WRITE, 2};
	table[2] = (struct ring_descriptor){phys(d->status), 1, RING_WRITE, 0};
	raw_put(&d->ring, phys(table), 48, 1, RING_INDIRECT);
	raw_kick(&d->ring);
	raw_broken(d, false);
}

/* A read into one buffer whose descriptor is then aimed at another: it may have been looked at or
 * not. */
TEST(altered_in_flight, "PKD-DRV-02",
	"a list whose element is altered while the device has it is served as it was or as it is, "
	"or refused; a reset leads back",
	DISK)
{
	struct raw_disk *d = packed_disk(RAW_DEFAULT, 0);
	uint8_t *buffers[2] = {guarded_alloc(512), guarded_alloc(512)};
	uint8_t *expected = arena_alloc(512, 64);

	raw_pattern(expected, 512, 34);
	raw_fill(d, RAW_SCRATCH, 1, 34);
	for (unsigned i = 0; i < 4; i++) {
		struct raw_place at = d->ring.put;
		unsigned into;

		memset(buffers[0], 0x60, 512);
		memset(buffers[1], 0x61, 512);
		raw_request(d, 0, BLK_T_IN, RAW_SCRATCH, buffers[0], 512);
		raw_publish(&d->ring, 0);
		raw_kick(&d->ring);
		raw_advance(&d->ring, &at, 1);
		delay_us(20 * i);
		/* The used element stands at the list's head, so this place stays the driver's. */
		d->ring.ring[at.index].address = phys(buffers[1]);
		full_barrier();
		WAIT_UNTIL(raw_pending(&d->ring) || virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET,
			RAW_ANSWER_US);
		if (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET && !raw_strict())
			break;
		ASSERT_TRUE(raw_used(&d->ring, 1));
		EXPECT_EQ(raw_take(&d->ring).id, 0);
		if (*d->status != BLK_S_OK && !raw_strict())
			continue;
		EXPECT_EQ(*d->status, BLK_S_OK);
		into = memory_is(buffers[0], 0x60, 512, NULL);
		EXPECT_MEM(buffers[into], expected, 512);
		EXPECT_TRUE(memory_is(buffers[!into], 0x60 + !into, 512, NULL));
	}
	raw_recovers(d);
}

static void misaligned(unsigned ring, unsigned events)
{
	struct raw_disk *d = raw_disk_find();
	struct virtio_queue_areas areas;

	ASSERT_TRUE(virtio_negotiate(&d->dev, RAW_DEFAULT));
	raw_ring_alloc(&d->ring, &d->dev, 0, 8);
	if (!d->ring.packed)
		SKIP("the disk offers no packed ring");
	raw_may_break(d);
	areas = raw_ring_areas(&d->ring);
	areas.descriptors += ring;
	areas.driver += events;
	areas.device += events;
	d->dev.transport->queue_set(&d->dev, 0, &areas);
	d->dev.transport->queue_enable(&d->dev, 0);
	virtio_driver_ok(&d->dev);
	raw_kick(&d->ring);
	EXPECT_TRUE(WAIT_UNTIL(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET, RAW_ANSWER_US));
	EXPECT_TRUE(guarded_check());
	raw_recovers(d);
}

TEST(misaligned_ring, "PKD-DRV-01 STAT-DEV-02",
	"a ring 8 bytes off its alignment is refused, and nothing is written", DISK)
{
	misaligned(8, 0);
}

TEST(misaligned_events, "PKD-DRV-01 STAT-DEV-02",
	"event structures 2 bytes off their alignment are refused, and nothing is written", DISK)
{
	misaligned(0, 2);
}
