/* SPDX-License-Identifier: MIT */
/* Raw rings and the block device that TESTs put on them (raw.h). */
#include "virtio-drivers/raw.h"
#include "runtime/boot.h"
#include "runtime/memory.h"
#include "runtime/time.h"

#define SIZE_USUAL 64 /* enough for every TEST, and quick to clear */

void raw_ring_alloc(struct raw_ring *ring, struct virtio_device *dev, unsigned queue, uint16_t size)
{
	uint16_t max = dev->transport->queue_max(dev, queue);

	if (max == 0)
		FAIL("the device has no queue %u", queue);
	if (size == 0)
		size = max < SIZE_USUAL ? max : SIZE_USUAL;
	if (size > max)
		SKIP("queue %u has %u entries at most", queue, max);
	memset(ring, 0, sizeof(*ring));
	ring->dev = dev;
	ring->queue = queue;
	if (dev->io)
		size = max;
	ring->size = size;
	if (virtio_has(dev, VIRTIO_F_IN_ORDER))
		ring->order = arena_alloc(size * sizeof(*ring->order), 16);
	if (dev->legacy) {
		uint8_t *piece = guarded_alloc_aligned(
			RING_LEGACY_BYTES(size, RING_LEGACY_ALIGN), RING_LEGACY_ALIGN);

		ring->descriptors = (void *)piece;
		ring->avail = (void *)(piece + RING_DESCRIPTORS_BYTES(size));
		ring->used = (void *)(piece + RING_LEGACY_USED(size, RING_LEGACY_ALIGN));
		return;
	}
	ring->packed = virtio_has(dev, VIRTIO_F_RING_PACKED);
	if (ring->packed) {
		ring->descriptors = arena_alloc(RING_DESCRIPTORS_BYTES(size), 64);
		ring->slots = arena_alloc(size * sizeof(*ring->slots), 16);
		ring->ring = guarded_alloc_aligned(RING_DESCRIPTORS_BYTES(size), 64);
		ring->driver_event = guarded_alloc_aligned(PACKED_EVENT_BYTES, 64);
		ring->device_event = guarded_alloc_aligned(PACKED_EVENT_BYTES, 64);
		ring->put.wrap = ring->look.wrap = ring->take.wrap = 1;
		return;
	}
	ring->descriptors = guarded_alloc_aligned(RING_DESCRIPTORS_BYTES(size), 64);
	ring->avail = guarded_alloc_aligned(RING_AVAIL_BYTES(size), 64);
	ring->used = guarded_alloc_aligned(RING_USED_BYTES(size), 64);
}

void *raw_ring_area(const struct raw_ring *ring, unsigned i, unsigned *bytes)
{
	const struct {
		volatile void *at;
		unsigned bytes;
	} areas[2][3] = {
		{{ring->descriptors, RING_DESCRIPTORS_BYTES(ring->size)},
			{ring->avail, RING_AVAIL_BYTES(ring->size)},
			{ring->used, RING_USED_BYTES(ring->size)}},
		{{ring->ring, RING_DESCRIPTORS_BYTES(ring->size)},
			{ring->driver_event, PACKED_EVENT_BYTES},
			{ring->device_event, PACKED_EVENT_BYTES}},
	};

	*bytes = areas[ring->packed][i].bytes;
	return (void *)areas[ring->packed][i].at;
}

struct virtio_queue_areas raw_ring_areas(const struct raw_ring *ring)
{
	unsigned bytes;

	return (struct virtio_queue_areas){ring->size, phys(raw_ring_area(ring, 0, &bytes)),
		phys(raw_ring_area(ring, 1, &bytes)), phys(raw_ring_area(ring, 2, &bytes))};
}

void raw_ring_enable(struct raw_ring *ring)
{
	struct virtio_queue_areas areas = raw_ring_areas(ring);

	ring->dev->transport->queue_set(ring->dev, ring->queue, &areas);
	ring->dev->transport->queue_enable(ring->dev, ring->queue);
}

void raw_descriptor(struct raw_ring *ring, unsigned i, uint64_t address, uint32_t length,
	uint16_t flags, uint16_t next)
{
	ring->descriptors[i] = (struct ring_descriptor){address, length, flags, next};
}

void raw_entry(struct raw_ring *ring, struct ring_descriptor *table, unsigned i, uint64_t address,
	uint32_t length, uint16_t flags)
{
	if (ring->packed) /* no NEXT there, and the flags stand where `next` does */
		table[i] = (struct ring_descriptor){address, length, 0, flags & RING_WRITE};
	else
		table[i] = (struct ring_descriptor){address, length, flags, i + 1};
}

void raw_advance(const struct raw_ring *ring, struct raw_place *place, unsigned n)
{
	place->index += n;
	if (place->index >= ring->size) {
		place->index -= ring->size;
		place->wrap ^= 1;
	}
}

void raw_write(struct raw_ring *ring, struct raw_place at, uint64_t address, uint32_t length,
	uint16_t id, uint16_t flags)
{
	volatile struct packed_descriptor *to = &ring->ring[at.index];

	to->address = address;
	to->length = length;
	to->id = id;
	compiler_barrier();
	to->flags = flags | packed_available(at.wrap);
	full_barrier();
}

void raw_put(struct raw_ring *ring, uint64_t address, uint32_t length, uint16_t id, uint16_t flags)
{
	raw_write(ring, ring->put, address, length, id, flags);
	raw_advance(ring, &ring->put, 1);
}

bool raw_is_used(const struct raw_ring *ring, struct raw_place at)
{
	return (ring->ring[at.index].flags & (RING_AVAILABLE | RING_IS_USED)) ==
	       packed_used(at.wrap);
}

/* A packed ring has no heads that could be wrong: a table of no possible length stands for one. */
static void publish_nonsense(struct raw_ring *ring, uint16_t head)
{
	volatile struct packed_descriptor *to = &ring->ring[ring->put.index];

	*to = (struct packed_descriptor){.address = phys((void *)to), .length = 17, .id = head};
	compiler_barrier();
	to->flags = RING_INDIRECT | packed_available(ring->put.wrap);
	raw_advance(ring, &ring->put, 1);
}

static void publish_list(struct raw_ring *ring, uint16_t head)
{
	struct raw_place at = ring->put;
	uint16_t flags, first = 0, n = 0, i = head;

	do {
		const struct ring_descriptor *d = &ring->descriptors[i];
		volatile struct packed_descriptor *to = &ring->ring[at.index];

		flags = d->flags & ~(RING_AVAILABLE | RING_IS_USED);
		to->address = d->address;
		to->length = d->length;
		to->id = head;
		if (n == 0)
			first = flags | packed_available(at.wrap);
		else
			to->flags = flags | packed_available(at.wrap);
		raw_advance(ring, &at, 1);
		i = d->next;
	} while (++n < ring->size && flags & RING_NEXT && i < ring->size);
	ring->slots[head] = n;
	compiler_barrier();
	ring->ring[ring->put.index].flags = first;
	ring->put = at;
}

/* The place, and on to the next. */
static unsigned order_step(const struct raw_ring *ring, uint16_t *place)
{
	unsigned at = *place;

	*place = at + 1u == ring->size ? 0 : at + 1u;
	return at;
}

void raw_publish(struct raw_ring *ring, uint16_t head)
{
	if (ring->packed && head >= ring->size) {
		publish_nonsense(ring, head);
	} else if (ring->packed) {
		publish_list(ring, head);
	} else {
		ring->avail->ring[ring->avail_next % ring->size] = head;
		compiler_barrier();
		ring->avail->idx = ring->avail_next + 1;
	}
	ring->avail_next++;
	if (ring->order)
		ring->order[order_step(ring, &ring->order_put)] = head;
	full_barrier();
}

void raw_kick(struct raw_ring *ring)
{
	uint16_t next = ring->packed ? ring->put.index | ring->put.wrap << 15 : ring->avail_next;

	virtio_notify_next(ring->dev, ring->queue, next);
	checkpoint();
}

/* packed: past a buffer, or past a batch that ends with it. */
static void look_over(struct raw_ring *ring, uint16_t id)
{
	uint16_t head = id;

	do {
		if (ring->order)
			head = ring->order[order_step(ring, &ring->order_look)];
		raw_advance(ring, &ring->look, ring->slots[head]);
		ring->seen++;
	} while (head != id && ring->seen != ring->avail_next);
}

uint16_t raw_used_count(struct raw_ring *ring)
{
	volatile struct packed_descriptor *d;

	if (!ring->packed)
		return ring->used->idx;
	while (d = &ring->ring[ring->look.index],
		(d->flags & (RING_AVAILABLE | RING_IS_USED)) == packed_used(ring->look.wrap) &&
			d->id < ring->size && ring->seen != ring->avail_next)
		look_over(ring, d->id);
	return ring->seen;
}

bool raw_used(struct raw_ring *ring, unsigned n)
{
	uint16_t wanted = ring->used_next + n;

	if (WAIT_UNTIL((uint16_t)(raw_used_count(ring) - ring->used_next) >= n, RAW_ANSWER_US))
		return true;
	return EXPECT_EQ(raw_used_count(ring), wanted);
}

static struct ring_used_element element_here(const struct raw_ring *ring)
{
	volatile struct ring_used_element *e = &ring->used->ring[ring->used_next % ring->size];
	volatile struct packed_descriptor *d = &ring->ring[ring->take.index];

	return ring->packed ? (struct ring_used_element){d->id, d->length}
			    : (struct ring_used_element){e->id, e->length};
}

/* What the device may write of a chain. */
static uint32_t room_of(const struct raw_ring *ring, uint16_t head)
{
	const struct ring_descriptor *table = ring->descriptors, *d = &table[head];
	unsigned left = ring->size;
	bool list = ring->packed && d->flags & RING_INDIRECT; /* all of the table */
	uint32_t room = 0;

	if (d->flags & RING_INDIRECT) {
		left = d->length / sizeof(*d);
		d = table = (const void *)d->address;
	}
	for (; left--; d = list ? d + 1 : &table[d->next]) {
		if ((list ? d->next : d->flags) & RING_WRITE)
			room += d->length;
		if (!list && !(d->flags & RING_NEXT))
			break;
	}
	return room;
}

/* Is `id` among the published ones that are used and were not taken? */
static bool ends_a_batch(struct raw_ring *ring, uint32_t id)
{
	uint16_t at = ring->order_take, left = raw_used_count(ring) - ring->used_next;

	while (left--)
		if (ring->order[order_step(ring, &at)] == id)
			return true;
	return false;
}

static struct ring_used_element take_in_order(struct raw_ring *ring)
{
	uint16_t head = ring->order[ring->order_take];

	if (!ring->in_batch) {
		ring->batch = element_here(ring);
		ring->elements++;
		ring->in_batch = true;
		if (!ends_a_batch(ring, ring->batch.id))
			head = ring->batch.id;
	}
	order_step(ring, &ring->order_take);
	ring->used_next++;
	if (ring->packed)
		raw_advance(ring, &ring->take, head < ring->size ? ring->slots[head] : 1);
	if (head != ring->batch.id)
		return (struct ring_used_element){head, room_of(ring, head)};
	ring->in_batch = false;
	return ring->batch;
}

struct ring_used_element raw_take(struct raw_ring *ring)
{
	struct ring_used_element e;

	if (ring->order)
		return take_in_order(ring);
	e = element_here(ring);
	ring->used_next++;
	if (ring->packed)
		raw_advance(ring, &ring->take, e.id < ring->size ? ring->slots[e.id] : 1);
	return e;
}

bool raw_quiet(struct raw_ring *ring)
{
	return !WAIT_UNTIL(raw_pending(ring), RAW_QUIET_US);
}

static struct raw_disk *find(bool read_only)
{
	struct raw_disk *d = arena_alloc(sizeof(*d), 64);

	for (unsigned i = 0; virtio_find(&d->dev, VIRTIO_TRANSPORT_ANY, VIRTIO_ID_BLOCK, i); i++) {
		if ((virtio_offered(&d->dev) >> BLK_F_RO & 1) != read_only)
			continue;
		virtio_reset(&d->dev);
		virtio_interrupts(&d->dev, VIRTIO_IRQ_BEST);
		d->header = guarded_alloc(sizeof(*d->header));
		d->data = guarded_alloc(RAW_DATA);
		d->status = guarded_alloc(1);
		return d;
	}
	SKIP("no %s virtio-blk disk", read_only ? "read-only" : "writable");
	return NULL;
}

struct raw_disk *raw_disk_find(void)
{
	return find(false);
}

bool raw_disk_start(struct raw_disk *d, uint64_t features, uint16_t size)
{
	if (!virtio_negotiate(&d->dev, features | VIRTIO_BIT(VIRTIO_F_VERSION_1)))
		return false;
	raw_ring_alloc(&d->ring, &d->dev, 0, size);
	raw_ring_enable(&d->ring);
	d->capacity = virtio_config64(&d->dev, BLK_C_CAPACITY);
	virtio_driver_ok(&d->dev);
	return true;
}

struct raw_disk *raw_disk_open(uint64_t features, uint16_t size)
{
	struct raw_disk *d = find(false);
	uint64_t lacking;

	if (!raw_disk_start(d, features, size))
		FAIL("FEATURES_OK did not stay");
	lacking = features & ~d->dev.features & VIRTIO_RING_FEATURES & ~RAW_PACKED;
	if (d->dev.legacy)
		lacking &= ~VIRTIO_BIT(VIRTIO_F_VERSION_1);
	if (lacking)
		SKIP("the device does not offer features 0x%lx", lacking);
	return d;
}

struct raw_disk *raw_disk_read_only(uint64_t features)
{
	struct raw_disk *d = find(true);

	if (!raw_disk_start(d, features, 0))
		FAIL("FEATURES_OK did not stay");
	return d;
}

bool raw_writes(uint32_t type)
{
	return type == BLK_T_IN || type == BLK_T_GET_ID || type == BLK_T_GET_LIFETIME;
}

void raw_request(struct raw_disk *d, unsigned first, uint32_t type, uint64_t sector, void *data,
	uint32_t bytes)
{
	struct raw_ring *r = &d->ring;
	unsigned n = first;

	*d->header = (struct blk_header){.type = type, .sector = sector};
	*d->status = 0xff;
	raw_descriptor(r, n, phys(d->header), sizeof(*d->header), RING_NEXT, n + 1);
	n++;
	if (bytes) {
		raw_descriptor(r, n, phys(data), bytes,
			RING_NEXT | (raw_writes(type) ? RING_WRITE : 0), n + 1);
		n++;
	}
	raw_descriptor(r, n, phys(d->status), 1, RING_WRITE, 0);
}

uint8_t raw_do(struct raw_disk *d, uint32_t type, uint64_t sector, void *data, uint32_t bytes)
{
	struct ring_used_element e;

	raw_request(d, 0, type, sector, data, bytes);
	raw_publish(&d->ring, 0);
	raw_kick(&d->ring);
	if (!raw_used(&d->ring, 1))
		test_leave();
	e = raw_take(&d->ring);
	EXPECT_EQ(e.id, 0);
	d->used_length = e.length;
	return *d->status;
}

void raw_pattern(void *to, uint32_t bytes, uint64_t seed)
{
	uint64_t *word = to, value = seed * 0x9e3779b97f4a7c15ull | 1;
	uint32_t count = bytes / 512;

	/* Constant within a sector: one string instruction for each. */
	while (count--) {
		uint64_t n = 64;

		__asm__ volatile("rep stosq" : "+D"(word), "+c"(n) : "a"(value) : "memory");
		value += 0x0101010101010101ull;
	}
}

void raw_fill(struct raw_disk *d, uint64_t sector, unsigned sectors, uint64_t seed)
{
	raw_pattern(d->data, sectors * 512, seed);
	ASSERT_EQ(raw_do(d, BLK_T_OUT, sector, d->data, sectors * 512), BLK_S_OK);
}

void raw_verify(struct raw_disk *d, uint64_t sector, unsigned sectors, uint64_t seed)
{
	uint8_t *expected = arena_alloc_raw(sectors * 512, 64);

	raw_pattern(expected, sectors * 512, seed);
	memset(d->data, 0xee, sectors * 512);
	ASSERT_EQ(raw_do(d, BLK_T_IN, sector, d->data, sectors * 512), BLK_S_OK);
	EXPECT_MEM(d->data, expected, sectors * 512);
}

void raw_serves(struct raw_disk *d)
{
	uint64_t seed = test_random();

	raw_fill(d, RAW_SCRATCH, 1, seed);
	raw_verify(d, RAW_SCRATCH, 1, seed);
}

void raw_recovers(struct raw_disk *d)
{
	ASSERT_TRUE(virtio_reset(&d->dev));
	virtio_interrupts(&d->dev, d->dev.irq);
	if (!raw_disk_start(d, RAW_DEFAULT, 0))
		FAIL("no FEATURES_OK after the reset");
	EXPECT_EQ(virtio_status(&d->dev), virtio_running(&d->dev));
	raw_serves(d);
}

bool raw_strict(void)
{
	return cmdline_number("strict", 0) != 0;
}

/* Ends when the device shows NEEDS_RESET or uses something. */
static bool reacted(struct raw_disk *d)
{
	return (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET) || raw_pending(&d->ring);
}

static enum raw_outcome outcome_of(struct raw_disk *d, bool may_complete)
{
	enum raw_outcome outcome = RAW_DONE;

	WAIT_UNTIL(reacted(d), raw_strict() ? RAW_ANSWER_US : 100000);
	if (virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET) {
		uint16_t used = raw_used_count(&d->ring);

		outcome = RAW_NEEDS_RESET;
		EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&d->dev) >= 1, RAW_ANSWER_US));
		raw_kick(&d->ring);
		delay_us(2000);
		EXPECT_EQ(raw_used_count(&d->ring), used);
		EXPECT_TRUE(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET);
	} else if (raw_pending(&d->ring)) {
		outcome = *d->status == BLK_S_OK ? RAW_DONE : RAW_ERROR;
		EXPECT_TRUE(outcome == RAW_ERROR || may_complete);
	} else { /* it waits: it did not do what was asked, at least */
		outcome = RAW_ERROR;
	}
	return outcome;
}

void raw_may_break(const struct raw_disk *d)
{
	if (d->ring.packed && !raw_strict())
		SKIP("QEMU spins for ever on a packed ring that breaks: "
		     "docs/differences.md#packed-livelock");
}

void raw_no_needs_reset(void)
{
	note("unclaimed STAT-DEV-02 STAT-DEV-03");
}

enum raw_outcome raw_broken(struct raw_disk *d, bool may_complete)
{
	enum raw_outcome outcome = outcome_of(d, may_complete);

	if (raw_strict())
		EXPECT_EQ(outcome, RAW_NEEDS_RESET);
	else if (outcome != RAW_NEEDS_RESET)
		raw_no_needs_reset();
	raw_recovers(d);
	return outcome;
}

enum raw_outcome raw_tolerated(struct raw_disk *d)
{
	enum raw_outcome outcome = outcome_of(d, true);

	raw_recovers(d);
	return outcome;
}

bool raw_interrupts(struct raw_disk *d, uint32_t n)
{
	if (!WAIT_UNTIL(virtio_queue_interrupts(&d->dev, 0) >= n, RAW_ANSWER_US))
		return EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), n);
	delay_us(1000);
	return EXPECT_EQ(virtio_queue_interrupts(&d->dev, 0), n);
}
