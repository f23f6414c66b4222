/* SPDX-License-Identifier: MIT */
/*
 * Garbage from inside a guest, for each virtio device on whatever transport and ring the machine
 * has: registers, configuration space, rings, requests.  After each round the device is reset and
 * has to answer a plain request; around all that it may touch stand canaries.
 *
 * fuzz=N on the command line is the seed, rounds=N how often.  Under `soft` one seed is one run.
 */
#include "victim.h"

#include "runtime/smp.h"

/* Ring features in any combination of what is offered. */
static uint64_t any_features(void)
{
	return random64() | VIRTIO_BIT(VIRTIO_F_VERSION_1);
}

static void start_somehow(struct victim *v)
{
	/* Without ACCESS_PLATFORM a device that offers it may refuse: then none but VERSION_1. */
	if (!victim_start(v, any_features() | VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM))) {
		ASSERT_TRUE(virtio_reset(&v->dev));
		victim_start(v, ~0ul);
	}
}

static void revive(struct victim *v)
{
	v->dev.transport->revive(&v->dev);
	victim_serves(v);
}

static void fuzz_registers(const struct kind *kind)
{
	struct victim *v = victim_find(kind);

	victim_serves(v);
	for (unsigned round = rounds(); round; round--) {
		if (below(3))
			start_somehow(v);
		for (unsigned i = 0; i < 40; i++)
			garbage_register(v);
		revive(v);
	}
}

static void fuzz_rings(const struct kind *kind)
{
	struct victim *v = victim_find(kind);

	victim_serves(v);
	for (unsigned round = rounds(); round; round--) {
		start_somehow(v);
		for (unsigned i = 0; i < 4; i++) {
			garbage_in_rings(v);
			garbage_publish(v, below(QUEUES));
			if (below(2))
				victim_may_take(v);
			if (!below(4))
				garbage_doorbell(v);
		}
		victim_serves(v);
	}
}

#define DISK NEEDS("disk:virtio")

TEST(blk_registers, "RST-DEV-01",
	"after any writes to its registers and a reset the disk answers a plain request", DISK)
{
	fuzz_registers(&kind_block);
}

TEST(blk_rings, "RST-DEV-01",
	"after garbage in its rings and a reset the disk answers a plain request; nothing but what "
	"the descriptors name was written",
	DISK)
{
	fuzz_rings(&kind_block);
}

TEST(rng_registers, "RST-DEV-01",
	"after any writes to its registers and a reset the entropy device answers a plain request")
{
	fuzz_registers(&kind_entropy);
}

TEST(rng_rings, "RST-DEV-01",
	"after garbage in its rings and a reset the entropy device answers a plain request")
{
	fuzz_rings(&kind_entropy);
}

TEST(console_registers, "RST-DEV-01",
	"after any writes to its registers and a reset the console takes a byte")
{
	fuzz_registers(&kind_console);
}

TEST(console_rings, "RST-DEV-01",
	"after garbage in its rings, those of its control messages too, and a reset the console "
	"takes "
	"a byte")
{
	fuzz_rings(&kind_console);
}

TEST(configuration_space, "RST-DEV-01",
	"after any writes to configuration space but its BARs the disk can be set up again and "
	"answers",
	NEEDS("pci disk:virtio"))
{
	struct victim *v = victim_find(&kind_block);

	if (!v->dev.is_pci)
		SKIP("the disk is not on PCI");
	for (unsigned round = rounds(); round; round--) {
		if (below(2))
			start_somehow(v);
		for (unsigned i = 0; i < 20; i++)
			garbage_in_configuration_space(v);
		revive(v);
	}
}

/* --- requests that are sound as rings go --- */

#define PIECES 4u

struct pieces {
	uint32_t at[2 * PIECES], length[2 * PIECES];
	unsigned out, in;
};

/* Pieces of the pool in ascending order with gaps between them. */
static void cut(struct pieces *p)
{
	uint32_t at = below(64);

	p->out = 1 + below(PIECES);
	p->in = 1 + below(PIECES);
	for (unsigned i = 0; i < p->out + p->in; i++) {
		uint32_t length = below(3) ? 1 + below(600) : 512u << below(2);

		/* A header in the first piece; only our own device owes an answer to less. */
		if (i == 0 && (below(4) || !cmdline_number("strict", 0)))
			length = 16 + below(2) * below(32);
		p->at[i] = at;
		p->length[i] = length;
		at += length + 1 + below(32);
	}
}

static void describe_pieces(struct victim *v, const struct pieces *p)
{
	struct ring_descriptor *d = v->rings[0].descriptors;
	unsigned count = p->out + p->in;

	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = (i + 1 < count ? RING_NEXT : 0) | (i >= p->out ? RING_WRITE : 0);

		d[i] = (struct ring_descriptor){
			phys(v->pool + p->at[i]), p->length[i], flags, i + 1};
	}
}

/* What the device had no right to write. */
static void others_are_untouched(struct victim *v, const struct pieces *p, uint32_t end)
{
	uint32_t at = p->at[p->out - 1] + p->length[p->out - 1];

	for (unsigned i = p->out; i < p->out + p->in; i++) {
		EXPECT_TRUE(memory_is(v->pool + at, 0xa5, p->at[i] - at, NULL));
		at = p->at[i] + p->length[i];
	}
	EXPECT_TRUE(memory_is(v->pool + at, 0xa5, end - at, NULL));
}

static void odd_request(struct victim *v, uint16_t turn)
{
	static const uint32_t types[] = {0, 0, 0, 1, 1, 4, 8, 11, 13, 14, 15, 16, 17, 0xffffffff};
	struct pieces p;
	struct garbage_ring *ring = &v->rings[0];
	uint32_t header[4] = {types[below(14)], random64(), below(8192), below(8) ? 0 : random64()};
	uint32_t end, in = 0, last;

	/* Ranges of a wrong length are the driver's fault: only ours owes them an answer. */
	if ((header[0] == 11 || header[0] == 13) && !cmdline_number("strict", 0))
		header[0] = 15;
	cut(&p);
	last = p.out + p.in - 1;
	end = p.at[last] + p.length[last] + 64;
	memset(v->pool, 0xa5, end);
	for (unsigned i = 0, done = 0; i < p.out && done < 16; i++) {
		uint32_t part = p.length[i] < 16 - done ? p.length[i] : 16 - done;

		memcpy(v->pool + p.at[i], (uint8_t *)header + done, part);
		done += part;
	}
	for (unsigned i = p.out; i <= last; i++)
		in += p.length[i];
	describe_pieces(v, &p);
	ring->avail->ring[turn % ring->size] = 0;
	compiler_barrier();
	ring->avail->idx = turn + 1;
	full_barrier();
	virtio_notify(&v->dev, 0);
	if (!WAIT_UNTIL(ring->used->idx == (uint16_t)(turn + 1), SOON)) {
		EXPECT_EQ(ring->used->idx, turn + 1);
		test_leave();
	}
	EXPECT_LE(ring->used->ring[turn % ring->size].length, in);
	EXPECT_LE(v->pool[p.at[last] + p.length[last] - 1], 2);
	others_are_untouched(v, &p, end);
}

TEST(odd_requests, "RST-DEV-01",
	"each request of any type, size and layout gets a status of 0 to 2, and no byte beside its "
	"writable buffers changes",
	DISK)
{
	struct victim *v = victim_find(&kind_block);

	if (!victim_start(v, ~VIRTIO_BIT(VIRTIO_F_RING_PACKED)))
		FAIL("FEATURES_OK did not stay");
	for (unsigned i = 0; i < 5 * rounds(); i++)
		odd_request(v, i);
	EXPECT_EQ(virtio_status(&v->dev) & VIRTIO_S_NEEDS_RESET, 0);
	victim_serves(v);
}

/* --- another processor writes meanwhile --- */

static volatile bool enough;
static volatile uint64_t rewritten;

static uint64_t rewrite(void *opaque)
{
	struct victim *v = opaque;
	struct garbage_ring *ring = &v->rings[0];
	uint64_t x = 88172645463325252ul, count = 0;

	while (!enough) {
		volatile struct ring_descriptor *d;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		d = &ring->descriptors[x & 15 & (ring->size - 1)];
		/* One word each, as a device that looks twice would see it change. */
		if (x & 0x100)
			d->length = x >> 16 & 0xfff;
		else if (x & 0x200)
			d->address = phys(v->pool) + (x >> 16 & 0x3fff);
		else if (x & 0x400)
			d->address = DISTANT;
		else
			d->next = x >> 20 & 15;
		if (x & 0x800)
			*(volatile uint32_t *)(v->pool + (x >> 24 & 0x3ff) * 16) = x >> 40 & 15;
		rewritten = ++count;
	}
	return count;
}

TEST(rewritten_while_serving, "RST-DEV-01",
	"while another processor rewrites descriptors and headers the device stays within the "
	"pool, and serves after a reset",
	NEEDS("disk:virtio smp>=2"))
{
	struct victim *v = victim_find(&kind_block);

	smp_start(1);
	victim_serves(v);
	enough = false;
	rewritten = 0;
	if (!victim_start(v, VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_PACKED)))
		FAIL("FEATURES_OK did not stay");
	garbage_in_rings(v);
	smp_run(1, rewrite, v);
	EXPECT_TRUE(WAIT_UNTIL(rewritten != 0, SOON_US));
	for (unsigned round = 4 * rounds(); round; round--) {
		garbage_publish(v, 0);
		victim_may_take(v);
		if (!(virtio_status(&v->dev) & VIRTIO_S_NEEDS_RESET))
			continue;
		ASSERT_TRUE(virtio_reset(&v->dev));
		victim_start(v, VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_PACKED));
		garbage_in_rings(v);
	}
	enough = true;
	EXPECT_GE(smp_wait(1, SOON_US), 1);
	victim_serves(v);
}
