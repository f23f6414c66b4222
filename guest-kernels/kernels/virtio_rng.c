/* SPDX-License-Identifier: MIT */
/*
 * The entropy device (virtio 1.4, 5.4): what it writes and where, buffers it may not have, limits,
 * resets.
 *
 * On machines with a limit the command line says rng_max=BYTES and rng_period=MS, as the device has
 * them.
 */
#include "runtime/boot.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/rng.h"

#define FILL 0xa5

static struct virtio_rng *open_rng(bool interrupts)
{
	struct virtio_rng *rng = arena_alloc(sizeof(*rng), 64);

	if (!virtio_rng_open(rng,
		    &(struct virtio_rng_options){.polling = !interrupts, .irq = VIRTIO_IRQ_BEST}))
		SKIP("no entropy device");
	return rng;
}

/* A guarded buffer with a known content. */
static uint8_t *buffer_of(uint32_t bytes)
{
	uint8_t *buffer = guarded_alloc(bytes);

	memset(buffer, FILL, bytes);
	return buffer;
}

/* At least one byte, none beyond the length, and not what was there or one value throughout. */
static void expect_entropy(const uint8_t *buffer, uint32_t bytes, int64_t got)
{
	ASSERT_TRUE(got >= 0);
	ASSERT_GE(got, 1);
	ASSERT_LE(got, bytes);
	EXPECT_TRUE(memory_is(buffer + got, FILL, bytes - got, NULL));
	if (got >= 16)
		EXPECT_FALSE(memory_is(buffer, buffer[0], got, NULL));
}

static struct virtio_rng *unlimited(bool interrupts)
{
	if (cmdline_number("rng_max", 0))
		SKIP("the device of this machine has a limit");
	return open_rng(interrupts);
}

/* A device that served before a reset serves after it. */
static void expect_recovery(struct virtio_rng *rng)
{
	uint8_t *buffer = buffer_of(32);

	ASSERT_TRUE(virtio_reset(&rng->dev));
	rng = open_rng(false);
	EXPECT_EQ(virtio_status(&rng->dev), virtio_running(&rng->dev));
	expect_entropy(buffer, 32, virtio_rng_read(rng, buffer, 32));
}

TEST(no_features_no_configuration, "FEAT-DEV-03",
	"the device offers no feature of its own and has one queue")
{
	struct virtio_rng *rng = open_rng(false);

	EXPECT_EQ(virtio_offered(&rng->dev) & 0xffffff, 0);
	EXPECT_GE(rng->dev.transport->queue_max(&rng->dev, 0), 1);
	EXPECT_EQ(rng->dev.transport->queue_max(&rng->dev, 1), 0);
}

TEST(fills_a_buffer, "RNG-DEV-01a VQ-DEV-14",
	"a request is answered with at least one byte, and nothing is written beyond its length",
	LIFE)
{
	struct virtio_rng *rng = open_rng(false);
	uint8_t *buffer = buffer_of(64);
	int64_t got = virtio_rng_read(rng, buffer, 64);

	expect_entropy(buffer, 64, got);
	note("entropy %02x%02x%02x%02x", buffer[0], buffer[1], buffer[2], buffer[3]);
	metric("bytes", got);
}

TEST(two_requests_differ, "RNG-DEV-01a", "two requests of 32 bytes do not get the same bytes")
{
	struct virtio_rng *rng = unlimited(false);
	uint8_t *a = buffer_of(32), *b = buffer_of(32);
	int64_t first = virtio_rng_read(rng, a, 32), second = virtio_rng_read(rng, b, 32);

	expect_entropy(a, 32, first);
	expect_entropy(b, 32, second);
	EXPECT_NE(memcmp(a, b, first < second ? first : second), 0);
}

TEST(one_byte_requests, "RNG-DEV-01a",
	"as many requests of one byte as the queue holds are each answered once, with length 1")
{
	struct virtio_rng *rng = unlimited(false);
	unsigned count = rng->vq.slots < 64 ? rng->vq.slots : 64, done = 0;
	uint8_t *buffer = buffer_of(64);
	uint64_t seen = 0;

	for (unsigned i = 0; i < count; i++) {
		int slot = virtio_rng_submit(rng, &(struct rng_buffer){buffer + i, 1, false}, 1);

		ASSERT_TRUE(slot >= 0 && slot < 64);
	}
	while (done < count) {
		uint32_t got = 0;
		int slot = -1;

		if (!WAIT_UNTIL((slot = virtqueue_reap(&rng->vq, &got)) >= 0, SOON_US))
			FAIL("%u of %u requests were answered", done, count);
		EXPECT_EQ(got, 1);
		EXPECT_EQ(seen >> slot & 1, 0);
		seen |= 1ul << slot;
		done++;
	}
	EXPECT_TRUE(memory_is(buffer + count, FILL, 64 - count, NULL));
}

TEST(several_in_flight, "RNG-DEV-01a VQ-DEV-14",
	"requests of several sizes at once are each answered within their own buffer", LIFE)
{
	struct virtio_rng *rng = unlimited(false);
	unsigned count = rng->vq.slots < 8 ? rng->vq.slots : 8;
	uint8_t *buffers[64];
	uint32_t sizes[64];

	for (unsigned i = 0; i < count; i++) {
		uint32_t bytes = 16u << i;
		uint8_t *at = buffer_of(bytes);
		int slot = virtio_rng_submit(rng, &(struct rng_buffer){at, bytes, false}, 1);

		ASSERT_TRUE(slot >= 0 && slot < 64);
		buffers[slot] = at;
		sizes[slot] = bytes;
	}
	checkpoint();
	for (unsigned i = 0; i < count; i++) {
		uint32_t got = 0;
		int slot = -1;

		if (!WAIT_UNTIL((slot = virtqueue_reap(&rng->vq, &got)) >= 0, SOON_US))
			FAIL("%u of %u requests were answered", i, count);
		ASSERT_LT(slot, 64);
		expect_entropy(buffers[slot], sizes[slot], got);
	}
}

TEST(scattered_buffers, "VQ-DEV-01 VQ-DEV-14",
	"a request of five unaligned buffers of three bytes is filled from its start without gaps")
{
	struct virtio_rng *rng = unlimited(false);
	uint8_t *area[RNG_SEGMENTS];
	struct rng_buffer buffers[RNG_SEGMENTS];
	uint32_t got = 0, left;
	bool moved = false;

	for (unsigned i = 0; i < RNG_SEGMENTS; i++) {
		area[i] = buffer_of(5);
		buffers[i] = (struct rng_buffer){area[i] + 1, 3, false};
	}
	ASSERT_TRUE(virtio_rng_submit(rng, buffers, RNG_SEGMENTS) >= 0);
	ASSERT_TRUE(WAIT_UNTIL(virtio_rng_reap(rng, &got) >= 0, SOON_US));
	ASSERT_GE(got, 1);
	ASSERT_LE(got, 3 * RNG_SEGMENTS);
	left = got;
	for (unsigned i = 0; i < RNG_SEGMENTS; i++) {
		uint32_t here = left < 3 ? left : 3;

		EXPECT_EQ(area[i][0], FILL);
		EXPECT_TRUE(memory_is(area[i] + 1 + here, FILL, 4 - here, NULL));
		moved |= !memory_is(area[i] + 1, FILL, here, NULL);
		/* Three bytes keep their value once in 16 million times; all fifteen never do. */
		left -= here;
	}
	EXPECT_TRUE(moved);
}

TEST(every_byte_is_reached, "VQ-DEV-14",
	"what counts as written is written: no byte keeps its old value over 40 requests")
{
	struct virtio_rng *rng = unlimited(false);
	uint8_t *buffer = guarded_alloc(16);
	uint64_t changed = 0;
	int64_t least = 16;

	/* A byte keeps its value by chance in 40 draws once in 2^320. */
	for (unsigned i = 0; i < 40; i++) {
		int64_t got;

		memset(buffer, FILL, 16);
		got = virtio_rng_read(rng, buffer, 16);
		ASSERT_TRUE(got >= 1 && got <= 16);
		least = got < least ? got : least;
		for (unsigned j = 0; j < 16; j++)
			changed |= (uint64_t)(buffer[j] != FILL) << j;
		if ((changed & 0xffff) == 0xffff)
			break;
	}
	EXPECT_EQ(changed & ((1ul << least) - 1), (1ul << least) - 1);
}

TEST(huge_request, "RNG-DEV-01a",
	"a request of 8 MiB is answered soon with one byte or more, and a small one after it too")
{
	struct virtio_rng *rng = unlimited(false);
	uint32_t bytes = 8u << 20;
	uint8_t *big = guarded_alloc(bytes), *small = buffer_of(32);
	int64_t got = virtio_rng_read(rng, big, bytes);

	ASSERT_GE(got, 1);
	ASSERT_LE(got, bytes);
	metric("bytes", got);
	expect_entropy(small, 32, virtio_rng_read(rng, small, 32));
}

TEST(interrupt_for_each_answer, "VQ-DEV-11 VQ-DEV-12",
	"an answer brings a used buffer notification, a suppressed one brings none")
{
	struct virtio_rng *rng = unlimited(true);
	uint8_t *buffer = buffer_of(16);

	ASSERT_TRUE(virtio_rng_read(rng, buffer, 16) >= 1);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&rng->dev, 0) == 1, SOON_US));
	virtqueue_interrupts(&rng->vq, false);
	for (unsigned i = 0; i < 8; i++)
		ASSERT_TRUE(virtio_rng_read(rng, buffer, 16) >= 1);
	virtqueue_interrupts(&rng->vq, true);
	/* Their interrupts would come before that of the last answer; two of them may come as one.
	 */
	ASSERT_TRUE(virtio_rng_read(rng, buffer, 16) >= 1);
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&rng->dev, 0) >= 2, SOON_US));
	EXPECT_EQ(virtio_queue_interrupts(&rng->dev, 0), 2);
	EXPECT_EQ(virtio_config_interrupts(&rng->dev), 0);
}

/* Such a buffer can hold no byte, so the text owes it nothing: ours answers it with length 0,
 * elsewhere it may break the queue or wait for ever. */
TEST(empty_buffer, "VQ-DEV-14",
	"a buffer of length 0 is answered with length 0 or not at all, and a reset gives it back")
{
	struct virtio_rng *rng = unlimited(false);
	bool strict = cmdline_number("strict", 0);
	uint8_t *buffer = buffer_of(1);
	uint32_t got = ~0u;
	int slot = -1;

	ASSERT_TRUE(virtio_rng_submit(rng, &(struct rng_buffer){buffer, 0, false}, 1) >= 0);
	WAIT_UNTIL((slot = virtio_rng_reap(rng, &got)) >= 0 ||
			   virtio_status(&rng->dev) & VIRTIO_S_NEEDS_RESET,
		strict ? SOON_US : 100000);
	if (slot >= 0 || strict)
		EXPECT_EQ(got, 0);
	EXPECT_EQ(buffer[0], FILL);
	expect_recovery(rng);
}

/* Ours takes such a request for a broken ring; elsewhere it may be ignored, answered with nothing,
 * or have its writable part filled. */
static void readable_request(const struct rng_buffer *buffers, unsigned count, uint32_t writable)
{
	struct virtio_rng *rng = unlimited(true);
	bool strict = cmdline_number("strict", 0);
	uint32_t got = 0;
	int slot = -1;

	ASSERT_TRUE(virtio_rng_submit(rng, buffers, count) >= 0);
	WAIT_UNTIL((slot = virtio_rng_reap(rng, &got)) >= 0 ||
			   virtio_status(&rng->dev) & VIRTIO_S_NEEDS_RESET,
		strict ? SOON_US : 100000);
	if (strict) {
		EXPECT_TRUE(virtio_status(&rng->dev) & VIRTIO_S_NEEDS_RESET);
		EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&rng->dev) >= 1, SOON_US));
		EXPECT_EQ(slot, (uint64_t)-1);
	} else if (slot >= 0) {
		EXPECT_LE(got, writable);
	}
	for (unsigned i = 0; i < count; i++)
		if (buffers[i].readable)
			EXPECT_TRUE(memory_is(buffers[i].at, FILL, buffers[i].bytes, NULL));
	expect_recovery(rng);
}

TEST(readable_buffer, "RNG-DRV-01 VQ-DEV-03a STAT-DEV-02",
	"a buffer that the device may only read is not written, and a reset mends what it broke")
{
	readable_request(&(struct rng_buffer){buffer_of(64), 64, true}, 1, 0);
}

TEST(readable_before_writable, "RNG-DRV-01 VQ-DEV-03a",
	"of a request with both kinds of buffer the readable one is not written")
{
	readable_request(
		(struct rng_buffer[]){{buffer_of(32), 32, true}, {buffer_of(32), 32, false}}, 2,
		32);
}

/* --- limits --- */

static uint32_t limit_bytes;
static uint64_t period_us;

/* The device with its quota used up: an answer shorter than its buffer says so. */
static struct virtio_rng *exhausted(void)
{
	struct virtio_rng *rng;
	uint8_t *buffer;

	limit_bytes = cmdline_number("rng_max", 0);
	period_us = cmdline_number("rng_period", 0) * 1000;
	if (!limit_bytes || !period_us)
		SKIP("the device of this machine has no limit");
	rng = open_rng(false);
	buffer = guarded_alloc(limit_bytes + 1);
	ASSERT_LE(virtio_rng_read(rng, buffer, limit_bytes + 1), limit_bytes);
	return rng;
}

TEST(limit_holds, "RNG-DEV-01b",
	"no more than max-bytes come in a period, and the next ones come when it has ended", LIFE)
{
	struct virtio_rng *rng = exhausted();
	uint64_t begin = rdtsc(), last = begin, least = ~0ul;
	uint8_t *buffer = guarded_alloc(limit_bytes);

	for (unsigned i = 0; i < 4; i++) {
		int64_t got = virtio_rng_read(rng, buffer, limit_bytes);
		uint64_t now = rdtsc();

		ASSERT_GE(got, 1);
		EXPECT_LE(got, limit_bytes);
		if (got < limit_bytes)
			SKIP("the device gives less than the limit at a time");
		/* The first answer needs the end of one period, each further one another. */
		EXPECT_GE((now - begin) / tsc_per_us() + 1000, i * period_us);
		if (i && now - last < least)
			least = now - last;
		last = now;
	}
	metric("least_us", least / tsc_per_us());
	EXPECT_LE(least / tsc_per_us(), 10 * period_us);
}

TEST(limit_outlasts_a_reset, "", "a reset of the device does not renew what max-bytes allows")
{
	struct virtio_rng *rng = exhausted();
	uint64_t begin = rdtsc();
	uint8_t *buffer = guarded_alloc(limit_bytes);

	for (unsigned i = 0; i < 3; i++) {
		ASSERT_TRUE(virtio_reset(&rng->dev));
		rng = open_rng(false);
		ASSERT_GE(virtio_rng_read(rng, buffer, limit_bytes), 1);
		EXPECT_GE((rdtsc() - begin) / tsc_per_us() + 1000, i * period_us);
	}
}

TEST(reset_while_waiting, "RST-DEV-02",
	"a request that waits when the device is reset is never written to, and the next driver is "
	"served")
{
	uint8_t *old = buffer_of(64), *fresh = buffer_of(64);
	struct virtio_rng *rng;
	uint32_t got;
	bool waited = false;

	/* On a busy host the period may end before the reset comes. */
	for (unsigned tries = 0; tries < 20 && !waited; tries++) {
		rng = exhausted();
		memset(old, FILL, 64);
		ASSERT_TRUE(virtio_rng_submit(rng, &(struct rng_buffer){old, 64, false}, 1) >= 0);
		ASSERT_TRUE(virtio_reset(&rng->dev));
		waited = virtio_rng_reap(rng, &got) < 0;
	}
	if (!waited)
		SKIP("the host was too busy to reset the device within a period");
	EXPECT_TRUE(memory_is(old, FILL, 64, NULL));
	rng = open_rng(false);
	/* Who was reset would have been served first. */
	expect_entropy(fresh, 64, virtio_rng_read(rng, fresh, 64));
	EXPECT_TRUE(memory_is(old, FILL, 64, NULL));
}
