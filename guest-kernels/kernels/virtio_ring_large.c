/* SPDX-License-Identifier: MIT */
/*
 * Rings at the ends of their range (virtio 1.4, 2.7 and 2.8): as large as the device has them
 * (32768 entries at most), one entry less on packed rings, and as small as a driver may make them.
 *
 * A request of one descriptor names a table of three, the same for all: a descriptor each of
 * header, buffer and status.  What is done for each entry is done at CPL 3 (runtime/user.h).
 */
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "runtime/user.h"
#include "virtio-drivers/raw.h"

#define DISK	   NEEDS("disk:virtio")
#define LONGEST_US 20000000 /* for so many requests, whatever the host does meanwhile */
#define PATTERNS   128u	    /* sectors of different contents */

/* A disk whose queue 0 has as many entries as it can have, but for `less` (packed rings only). */
static struct raw_disk *largest(uint64_t features, unsigned less)
{
	struct raw_disk *d = raw_disk_find();
	uint16_t max = d->dev.transport->queue_max(&d->dev, 0);

	if (!raw_disk_start(d, RAW_DEFAULT | features, max - less))
		FAIL("FEATURES_OK did not stay");
	if (features & ~d->dev.features & (RAW_INDIRECT | RAW_EVENT_IDX))
		SKIP("the device does not offer features 0x%lx", features);
	metric("entries", d->ring.size);
	return d;
}

/* The table of one request for all. */
static struct ring_descriptor *table_of(struct raw_disk *d, uint32_t type, uint32_t bytes)
{
	struct ring_descriptor *table = arena_alloc(48, 16);

	*d->header = (struct blk_header){.type = type, .sector = RAW_SCRATCH};
	raw_entry(&d->ring, table, 0, phys(d->header), 16, RING_NEXT);
	raw_entry(&d->ring, table, 1, phys(d->data), bytes, RING_NEXT | RING_WRITE);
	raw_entry(&d->ring, table, 2, phys(d->status), 1, RING_WRITE);
	return table;
}

/* A pass over `count` entries of the ring, from `at` on. */
struct work {
	struct raw_ring *ring;
	const struct ring_descriptor *table;
	unsigned count, at, wrap;
	uint32_t length;
	uint8_t *seen;
};

static void step(struct work *w)
{
	if (++w->at == w->ring->size) {
		w->at = 0;
		w->wrap ^= 1;
	}
}

static uint64_t fill(void *arg)
{
	struct work *w = arg;
	struct raw_ring *r = w->ring;

	for (unsigned i = 0; i < w->count; i++, step(w)) {
		if (r->packed) {
			volatile uint64_t *to = (volatile uint64_t *)&r->ring[w->at];

			to[0] = phys(w->table);
			compiler_barrier();
			to[1] = (uint64_t)(RING_INDIRECT | packed_available(w->wrap)) << 48 |
				(uint64_t)w->at << 32 | 48;
			r->slots[w->at] = 1;
		} else {
			r->descriptors[w->at] =
				(struct ring_descriptor){phys(w->table), 48, RING_INDIRECT, 0};
			r->avail->ring[w->at] = w->at;
		}
	}
	return 0;
}

/* Publishes `count` requests of that table, with the next entries of the ring: their number is head
 * and buffer id. */
static void publish_tables(struct raw_disk *d, const struct ring_descriptor *table, unsigned count)
{
	struct raw_ring *r = &d->ring;
	struct work w = {.ring = r, .table = table, .count = count};

	w.at = r->packed ? r->put.index : r->avail_next % r->size;
	w.wrap = r->put.wrap;
	user_call(fill, &w);
	r->put = (struct raw_place){w.at, w.wrap};
	r->avail_next += count;
	compiler_barrier();
	if (!r->packed)
		r->avail->idx = r->avail_next;
	full_barrier();
}

/* Is the last one of `count` used, counted from where taking stands?  Used in any order: of a
 * packed ring's places the last to be written is the last. */
static bool are_used(struct raw_ring *r, unsigned count)
{
	struct raw_place last = r->take;

	if (!r->packed)
		return (uint16_t)(r->used->idx - r->used_next) == (uint16_t)count;
	raw_advance(r, &last, count - 1);
	return raw_is_used(r, last);
}

/* How many are not as they must be: each entry of the ring used at most once. */
static uint64_t count_wrong(void *arg)
{
	struct work *w = arg;
	struct raw_ring *r = w->ring;
	uint64_t wrong = 0;

	for (unsigned i = 0; i < w->count; i++, step(w)) {
		uint32_t id = r->packed ? r->ring[w->at].id : r->used->ring[w->at].id;
		uint32_t length = r->packed ? r->ring[w->at].length : r->used->ring[w->at].length;

		if (r->packed)
			wrong += !raw_is_used(r, (struct raw_place){w->at, w->wrap});
		wrong += id >= r->size || w->seen[id] || length != w->length;
		w->seen[id % r->size] = 1;
	}
	return wrong;
}

/* Waits for `count` requests of one descriptor each, and takes them. */
static void take_tables(struct raw_disk *d, unsigned count, uint32_t length)
{
	struct raw_ring *r = &d->ring;
	struct work w = {.ring = r, .count = count, .length = length};

	w.seen = arena_alloc(r->size, 16);
	w.at = r->packed ? r->take.index : r->used_next % r->size;
	w.wrap = r->take.wrap;
	if (!WAIT_UNTIL(are_used(r, count), LONGEST_US))
		FAIL("%u requests were not used", count);
	EXPECT_EQ(user_call(count_wrong, &w), 0);
	r->take = r->look = (struct raw_place){w.at, w.wrap};
	r->used_next += count;
	r->seen += count;
}

static void pass(struct raw_disk *d, const struct ring_descriptor *table, unsigned count)
{
	*d->status = 0xff;
	publish_tables(d, table, count);
	raw_kick(&d->ring);
	take_tables(d, count, table[1].length + 1);
	EXPECT_EQ(*d->status, BLK_S_OK);
}

TEST(all_in_flight, "",
	"with each entry of the largest ring a read, and one doorbell, each is used exactly once",
	DISK)
{
	struct raw_disk *d = largest(RAW_INDIRECT, 0);

	pass(d, table_of(d, BLK_T_IN, 512), d->ring.size);
	EXPECT_TRUE(raw_quiet(&d->ring));
}

TEST(laps_of_the_largest, "",
	"three laps of the largest ring are served, over the wrap of its indices or counters", DISK,
	LIFE)
{
	struct raw_disk *d = largest(RAW_INDIRECT, 0);
	struct ring_descriptor *table = table_of(d, BLK_T_GET_ID, 20);

	for (unsigned lap = 0; lap < 3; lap++)
		pass(d, table, d->ring.size);
	if (!d->ring.packed)
		EXPECT_EQ(d->ring.used->idx, (3u * d->ring.size) & 0xffff);
	raw_serves(d);
}

/* All but the last entry, then lists that begin there and go on at the start. */
static void over_the_end(struct raw_disk *d)
{
	pass(d, table_of(d, BLK_T_GET_ID, 20), d->ring.size - 1);
	raw_serves(d);
	raw_serves(d);
	EXPECT_TRUE(raw_quiet(&d->ring));
}

TEST(list_over_the_end, "", "lists in the last and first entries of the largest ring are served",
	DISK, LIFE)
{
	over_the_end(largest(RAW_INDIRECT, 0));
}

TEST(no_power_of_two, "PKD-DEV-05",
	"a packed ring of one entry less than the largest is served over its end", DISK, LIFE)
{
	struct raw_disk *d = raw_disk_find();

	if (d->dev.legacy || !(virtio_offered(&d->dev) & RAW_PACKED))
		SKIP("the disk offers no packed ring");
	over_the_end(largest(RAW_INDIRECT, 1));
}

TEST(event_at_the_last_place, "",
	"with the event at the last entry of the largest ring, one interrupt comes for a lap", DISK)
{
	struct raw_disk *d = largest(RAW_INDIRECT | RAW_EVENT_IDX, 0);
	struct ring_descriptor *table = table_of(d, BLK_T_GET_ID, 20);
	unsigned last = d->ring.size - 1;

	/* The first is told by all devices, some of them whatever the event. */
	pass(d, table, 1);
	EXPECT_TRUE(raw_interrupts(d, 1));
	if (d->ring.packed)
		*d->ring.driver_event = packed_event(last, 1);
	else
		*ring_used_event(d->ring.avail, d->ring.size) = last;
	full_barrier();
	pass(d, table, last - 1);
	EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), 1);
	pass(d, table, 1);
	EXPECT_TRUE(raw_interrupts(d, 2));
}

/* --- chains as long as the ring --- */

/* Of a request of as many sectors as fit, from RAW_SCRATCH on: contents repeat after PATTERNS. */
struct chain {
	struct raw_disk *disk;
	struct ring_descriptor *at;
	uint8_t *patterns;
	bool table, reads;
};

static uint64_t fill_chain(void *arg)
{
	const struct chain *c = arg;
	struct raw_disk *d = c->disk;
	unsigned size = d->ring.size;
	uint16_t flags = c->reads ? RING_NEXT | RING_WRITE : RING_NEXT;

	c->at[0] = (struct ring_descriptor){phys(d->header), sizeof(*d->header), RING_NEXT, 1};
	for (unsigned i = 1; i < size - 1; i++)
		c->at[i] = (struct ring_descriptor){
			phys(c->patterns) + 512 * (i % PATTERNS), 512, flags, i + 1};
	c->at[size - 1] = (struct ring_descriptor){phys(d->status), 1, RING_WRITE, 0};
	for (unsigned i = 0; c->table && i < size; i++)
		raw_entry(&d->ring, c->at, i, c->at[i].address, c->at[i].length, c->at[i].flags);
	if (!c->table)
		raw_publish(&d->ring, 0);
	return 0;
}

static void send_chain(struct chain *c, bool reads, uint32_t length)
{
	struct raw_disk *d = c->disk;
	struct ring_used_element e;

	c->reads = reads;
	*d->header = (struct blk_header){reads ? BLK_T_IN : BLK_T_OUT, 0, RAW_SCRATCH};
	*d->status = 0xff;
	user_call(fill_chain, c);
	if (c->table) {
		raw_descriptor(&d->ring, 0, phys(c->at), 16u * d->ring.size, RING_INDIRECT, 0);
		raw_publish(&d->ring, 0);
	}
	raw_kick(&d->ring);
	if (!WAIT_UNTIL(raw_pending(&d->ring), LONGEST_US))
		FAIL("the longest chain was not used");
	e = raw_take(&d->ring);
	EXPECT_EQ(e.id, 0);
	EXPECT_EQ(e.length, length);
	ASSERT_EQ(*d->status, BLK_S_OK);
}

static void longest(bool indirect)
{
	struct raw_disk *d = largest(indirect ? RAW_INDIRECT : 0, 0);
	unsigned sectors = d->ring.size - 2, bytes = PATTERNS * 512;
	uint8_t *patterns = guarded_alloc(bytes), *expected = arena_alloc_raw(bytes, 64);
	struct chain chain = {d, d->ring.descriptors, patterns, indirect, false};

	if (d->ring.size < 3 || d->capacity < RAW_SCRATCH + sectors)
		SKIP("a ring of %u entries, a disk of %lu sectors", d->ring.size, d->capacity);
	if (indirect)
		chain.at = arena_alloc_raw(16u * d->ring.size, 16);
	user_fill(patterns, bytes, d->ring.size);
	user_fill(expected, bytes, d->ring.size);
	send_chain(&chain, false, 1);
	user_memset(patterns, 0xee, bytes);
	send_chain(&chain, true, sectors * 512 + 1);
	/* Sector s lies where buffer s + 1 does, over and over. */
	EXPECT_EQ(user_memcmp(patterns, expected, bytes), 0);
	/* By a short request: the last sector, which lies beyond what a host takes at once. */
	memset(d->data, 0xee, 512);
	ASSERT_EQ(raw_do(d, BLK_T_IN, RAW_SCRATCH + sectors - 1, d->data, 512), BLK_S_OK);
	EXPECT_MEM(d->data, expected + 512 * (sectors % PATTERNS), 512);
}

TEST(longest_chain, "",
	"a chain of all entries of the largest ring is served: a write of as many sectors, a read",
	DISK)
{
	longest(false);
}

TEST(longest_table, "",
	"a table with as many entries as the largest ring is served: a write, and a read", DISK)
{
	longest(true);
}

static uint64_t fill_endless(void *arg)
{
	struct raw_disk *d = arg;
	struct raw_ring *r = &d->ring;

	for (unsigned i = 0; i < r->size; i++) {
		if (r->packed)
			raw_put(r, phys(d->header), 1, 0, RING_NEXT);
		else
			raw_descriptor(r, i, phys(d->header), 1, RING_NEXT, (i + 1) % r->size);
	}
	if (!r->packed)
		raw_publish(r, 0);
	return 0;
}

TEST(endless_chain, "",
	"a chain without an end in the largest ring breaks the device, which recovers", DISK)
{
	struct raw_disk *d = largest(0, 0);

	raw_may_break(d);
	user_call(fill_endless, d);
	raw_kick(&d->ring);
	raw_broken(d, false);
}

/* --- more than a device may hold --- */

struct held {
	struct raw_disk *disk;
	struct ring_descriptor *table;
	unsigned entries;
};

static uint64_t fill_held(void *arg)
{
	const struct held *h = arg;
	struct raw_disk *d = h->disk;
	unsigned last = h->entries - 1;

	raw_entry(&d->ring, h->table, 0, phys(d->header), sizeof(*d->header), RING_NEXT);
	for (unsigned i = 1; i < last; i++)
		raw_entry(&d->ring, h->table, i, phys(d->data), 1, RING_NEXT);
	raw_entry(&d->ring, h->table, last, phys(d->status), 1, RING_WRITE);
	return 0;
}

TEST(more_than_may_be_pinned, "",
	"sixteen requests of as many buffers as the ring may have entries are all served, whether "
	"or not the device can hold them at once",
	DISK)
{
	struct raw_disk *d = raw_disk(RAW_DEFAULT | RAW_INDIRECT);
	struct held held = {d, NULL, d->dev.transport->queue_max(&d->dev, 0)};
	unsigned left = 16;

	if (held.entries < 3 || d->ring.size < left)
		SKIP("the queue has %u entries", d->ring.size);
	held.table = arena_alloc_raw(16u * held.entries, 16);
	/* A flush leaves data alone, so the buffers cost nothing but to be held. */
	*d->header = (struct blk_header){.type = BLK_T_FLUSH};
	*d->status = 0xff;
	user_call(fill_held, &held);
	for (unsigned i = 0; i < left; i++) {
		raw_descriptor(&d->ring, i, phys(held.table), 16u * held.entries, RING_INDIRECT, 0);
		raw_publish(&d->ring, i);
	}
	raw_kick(&d->ring);
	while (left--) {
		if (!WAIT_UNTIL(raw_pending(&d->ring), LONGEST_US))
			FAIL("%u requests were not used", left + 1);
		EXPECT_EQ(raw_take(&d->ring).length, 1);
	}
	EXPECT_EQ(*d->status, BLK_S_OK);
	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev));
	raw_serves(d);
}

/* --- the smallest --- */

static void small(uint16_t size)
{
	struct raw_disk *d = raw_disk_open(RAW_DEFAULT | RAW_INDIRECT, size);
	struct ring_descriptor *table;

	if (d->ring.size != size)
		SKIP("the queue has %u entries, whatever the driver wants", d->ring.size);
	table = table_of(d, BLK_T_IN, 512);
	for (unsigned lap = 0; lap < 5; lap++)
		pass(d, table, size);
	EXPECT_TRUE(raw_quiet(&d->ring));
}

TEST(ring_of_one, "", "a ring of one entry is served, lap by lap", DISK)
{
	small(1);
}

TEST(ring_of_two, "", "a ring of two entries is served, two requests at a time", DISK)
{
	small(2);
}
