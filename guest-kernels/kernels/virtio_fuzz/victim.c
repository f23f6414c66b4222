/* SPDX-License-Identifier: MIT */
/* Devices of three kinds: found, started, and asked for something plain (victim.h). */
#include "victim.h"

#define PAGE 4096u

const struct kind kind_block = {VIRTIO_ID_BLOCK, "virtio-blk disk", 0, 16, 513};
const struct kind kind_entropy = {VIRTIO_ID_ENTROPY, "entropy device", 0, 0, 64};
const struct kind kind_console = {VIRTIO_ID_CONSOLE, "console", 1, 1, 0};

static uint64_t state;
static const char *state_of;

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ul;
	x = (x ^ x >> 27) * 0x94d049bb133111ebul;
	return x ^ x >> 31;
}

uint64_t random64(void)
{
	if (state_of != test_name()) {
		state_of = test_name();
		state = cmdline_number("fuzz", 1);
		for (const char *c = state_of; *c; c++)
			state = mix(state + (uint8_t)*c);
	}
	state += 0x9e3779b97f4a7c15ul;
	return mix(state);
}

unsigned rounds(void)
{
	return cmdline_number("rounds", 12);
}

static void ring_alloc(struct garbage_ring *ring, uint16_t size)
{
	uint32_t used_at = RING_DESCRIPTORS_BYTES(size) + RING_AVAIL_BYTES(size);

	/* As 2.7.2 wants it of a legacy ring; any other may lie so too. */
	used_at = (used_at + PAGE - 1) & ~(PAGE - 1);
	ring->size = size;
	ring->bytes = used_at + RING_USED_BYTES(size);
	ring->area = guarded_alloc_aligned(ring->bytes, PAGE);
	ring->descriptors = (void *)ring->area;
	ring->avail = (void *)(ring->area + RING_DESCRIPTORS_BYTES(size));
	ring->used = (void *)(ring->area + used_at);
}

struct victim *victim_find(const struct kind *kind)
{
	struct victim *v = arena_alloc(sizeof(*v), 64);

	if (!virtio_find(&v->dev, VIRTIO_TRANSPORT_ANY, kind->id, 0))
		SKIP("no %s", kind->name);
	v->kind = kind;
	v->pool = guarded_alloc_aligned(POOL, PAGE);
	v->tables = guarded_alloc_aligned(TABLES_BYTES, PAGE);
	v->out = guarded_alloc(kind->out + 1);
	v->in = guarded_alloc(kind->in + 1);
	for (unsigned q = 0; q < QUEUES; q++) {
		uint16_t max = v->dev.transport->queue_max(&v->dev, q);

		if (max)
			ring_alloc(&v->rings[q], max);
	}
	return v;
}

bool victim_start(struct victim *v, uint64_t features)
{
	if (!virtio_negotiate(&v->dev, features))
		return false;
	for (unsigned q = 0; q < QUEUES; q++) {
		struct garbage_ring *ring = &v->rings[q];
		struct virtio_queue_areas areas = {
			ring->size, phys(ring->descriptors), phys(ring->avail), phys(ring->used)};

		if (!ring->size)
			continue;
		memset(ring->area, 0, ring->bytes);
		v->dev.transport->queue_set(&v->dev, q, &areas);
		v->dev.transport->queue_enable(&v->dev, q);
	}
	virtio_driver_ok(&v->dev);
	return true;
}

void victim_may_take(struct victim *v)
{
	struct garbage_ring *ring = &v->rings[v->kind->queue];
	uint16_t before = ring->used->idx;

	WAIT_UNTIL(ring->used->idx != before || virtio_status(&v->dev) & VIRTIO_S_NEEDS_RESET,
		HALF_WAY);
}

static bool answered(struct victim *v, uint32_t *length)
{
	struct garbage_ring *ring = &v->rings[v->kind->queue];
	volatile struct ring_descriptor *first = ring->descriptors;

	if (!virtio_has(&v->dev, VIRTIO_F_RING_PACKED)) {
		if (!WAIT_UNTIL(ring->used->idx == 1, SOON))
			return EXPECT_EQ(ring->used->idx, 1);
		EXPECT_EQ(ring->used->ring[0].id, 0);
		*length = ring->used->ring[0].length;
		return true;
	}
	/* The flags stand where a split descriptor has `next`, the id where it has the flags. */
	if (!WAIT_UNTIL((first->next & 0x8080) == 0x8080, SOON))
		return EXPECT_EQ(first->next & 0x8080, 0x8080);
	EXPECT_EQ(first->flags, 7);
	*length = first->length;
	return true;
}

static void describe(struct victim *v, unsigned n, void *at, uint32_t length, uint16_t flags)
{
	struct ring_descriptor *to = &v->rings[v->kind->queue].descriptors[n];

	if (virtio_has(&v->dev, VIRTIO_F_RING_PACKED))
		*to = (struct ring_descriptor){phys(at), length, 7, flags | 0x80};
	else
		*to = (struct ring_descriptor){phys(at), length, flags, n + 1};
}

void victim_serves(struct victim *v)
{
	struct garbage_ring *ring = &v->rings[v->kind->queue];
	uint32_t length = 0;
	unsigned n = 0;

	ASSERT_TRUE(virtio_reset(&v->dev));
	if (!victim_start(v, VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_PACKED)))
		FAIL("no FEATURES_OK after the reset");
	EXPECT_EQ(virtio_status(&v->dev) & ~VIRTIO_S_FEATURES_OK,
		VIRTIO_S_RUNNING & ~VIRTIO_S_FEATURES_OK);
	memset(v->out, 0, v->kind->out);
	memset(v->in, 0xee, v->kind->in);
	v->out[0] = v->kind->id == VIRTIO_ID_CONSOLE ? '.' : 0;
	if (v->kind->out)
		describe(v, n++, v->out, v->kind->out, v->kind->in ? RING_NEXT : 0);
	if (v->kind->in)
		describe(v, n++, v->in, v->kind->in, RING_WRITE);
	if (!virtio_has(&v->dev, VIRTIO_F_RING_PACKED)) {
		compiler_barrier();
		ring->avail->idx = 1;
	}
	full_barrier();
	virtio_notify(&v->dev, v->kind->queue);
	if (!answered(v, &length))
		test_leave();
	if (v->kind->id == VIRTIO_ID_BLOCK) {
		EXPECT_EQ(length, v->kind->in);
		EXPECT_EQ(v->in[512], 0);
	} else if (v->kind->in) {
		EXPECT_GE(length, 1);
		EXPECT_LE(length, v->kind->in);
	}
}
