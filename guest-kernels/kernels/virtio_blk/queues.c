/* SPDX-License-Identifier: MIT */
/*
 * More than one queue of the block device (virtio 1.4, 5.2.2): each by itself, all at once, from
 * several processors, and resets while requests are under way.
 */
#include "disk.h"
#include "runtime/boot.h"
#include "runtime/smp.h"

#define QUEUES	    4 /* that these TESTs drive */
#define QUEUE_DEPTH 16
#define OWN	    128 /* sectors of each queue, from DISK_SCRATCH on */

struct queues {
	struct virtio_blk first, more[QUEUES - 1];
	unsigned count;
	uint8_t *buffers; /* QUEUE_DEPTH sectors for each queue, guarded */
};

static struct virtio_blk *queue(struct queues *q, unsigned n)
{
	return n ? &q->more[n - 1] : &q->first;
}

static uint8_t *buffer(struct queues *q, unsigned n, unsigned i)
{
	return q->buffers + (n * QUEUE_DEPTH + i) * 512;
}

static uint64_t sector_of(unsigned n, unsigned i)
{
	return DISK_SCRATCH + n * OWN + i;
}

/* The first disk with several queues that can be written: its number. */
static unsigned disk_with_queues(unsigned *count)
{
	struct virtio_device *dev = arena_alloc(sizeof(*dev), 64);

	for (unsigned i = 0; virtio_find(dev, VIRTIO_TRANSPORT_ANY, VIRTIO_ID_BLOCK, i); i++) {
		uint64_t offered = virtio_offered(dev);

		if (!(offered >> BLK_F_MQ & 1) || offered >> BLK_F_RO & 1)
			continue;
		*count = virtio_config16(dev, BLK_C_NUM_QUEUES);
		return i;
	}
	SKIP("no disk with several queues");
	return 0;
}

static void open_again(struct queues *q, unsigned index, enum virtio_irq irq)
{
	if (!virtio_blk_open(&q->first, &(struct virtio_blk_options){.index = index,
						.depth = QUEUE_DEPTH,
						.queue_size = 64,
						.polling = irq == VIRTIO_IRQ_NONE,
						.irq = irq,
						.queues = q->count,
						.more = q->more}))
		FAIL("a disk of %u queues was not opened", q->count);
}

static struct queues *open_queues(enum virtio_irq irq, unsigned *index)
{
	struct queues *q = arena_alloc(sizeof(*q), 64);

	*index = disk_with_queues(&q->count);
	if (q->count > QUEUES)
		q->count = QUEUES;
	open_again(q, *index, irq);
	q->buffers = guarded_alloc(q->count * QUEUE_DEPTH * 512);
	return q;
}

static void submit_all(struct queues *q, unsigned n, bool write)
{
	for (unsigned i = 0; i < QUEUE_DEPTH; i++)
		virtio_blk_submit(queue(q, n), sector_of(n, i), buffer(q, n, i), 512, write,
			(void *)(uint64_t)i);
}

/* Waits for `left` requests of a queue and counts each by its cookie: false when silent. */
static bool reap_all(struct virtio_blk *disk, unsigned left, uint8_t *seen)
{
	struct virtio_blk_done done[QUEUE_DEPTH];

	while (left) {
		unsigned n;

		if (!WAIT_UNTIL((n = virtio_blk_reap(disk, done, QUEUE_DEPTH)) > 0, DISK_ANSWER_US))
			return false;
		for (unsigned i = 0; i < n; i++)
			seen[(uint64_t)done[i].cookie] += done[i].status == BLK_S_OK ? 1 : 0x80;
		left -= n;
	}
	return true;
}

static void run_all(struct queues *q, bool write)
{
	uint8_t seen[QUEUES][QUEUE_DEPTH] = {{0}};

	for (unsigned n = 0; n < q->count; n++)
		submit_all(q, n, write);
	for (unsigned n = 0; n < q->count; n++)
		virtio_blk_kick(queue(q, n));
	for (unsigned n = 0; n < q->count; n++) {
		ASSERT_TRUE(reap_all(queue(q, n), QUEUE_DEPTH, seen[n]));
		if (!EXPECT_TRUE(memory_is(seen[n], 1, QUEUE_DEPTH, NULL)))
			note("queue %u", n);
	}
}

static void fill_buffers(struct queues *q, uint64_t seed)
{
	raw_pattern(q->buffers, q->count * QUEUE_DEPTH * 512, seed);
}

static void expect_buffers(struct queues *q, uint64_t seed)
{
	uint32_t bytes = q->count * QUEUE_DEPTH * 512;
	uint8_t *expected = arena_alloc_raw(bytes, 64);

	raw_pattern(expected, bytes, seed);
	EXPECT_MEM(q->buffers, expected, bytes);
}

TEST(number_of_queues, "PCI-DEV-25",
	"num_queues is what the device was made with; that many queues have a size, and no other "
	"has",
	DISK)
{
	struct virtio_device *dev = arena_alloc(sizeof(*dev), 64);
	unsigned count, index = disk_with_queues(&count);

	ASSERT_TRUE(virtio_find(dev, VIRTIO_TRANSPORT_ANY, VIRTIO_ID_BLOCK, index));
	EXPECT_EQ(count, cmdline_number("queues", count));
	EXPECT_GE(count, 2);
	ASSERT_TRUE(virtio_negotiate(dev, DISK_FEATURES | VIRTIO_BIT(BLK_F_MQ)));
	EXPECT_EQ(virtio_config16(dev, BLK_C_NUM_QUEUES), count);
	for (unsigned n = 0; n < count; n++)
		EXPECT_NE(dev->transport->queue_max(dev, n), 0);
	EXPECT_EQ(dev->transport->queue_max(dev, count), 0);
	EXPECT_EQ(dev->transport->queue_max(dev, 1023), 0);
}

TEST(queues_with_one_in_use, "",
	"a driver that does not take MQ uses queue 0 of a disk with several", DISK)
{
	struct disk *d = disk_open(DISK_FEATURES & ~VIRTIO_BIT(BLK_F_MQ));
	unsigned count;

	disk_with_queues(&count);
	disk_fill(d, DISK_SCRATCH, 8, 130);
	disk_verify(d, DISK_SCRATCH, 8, 130);
}

TEST(interrupts_of_each_queue, "PCI-DEV-55",
	"a request on a queue is used on that queue, with one interrupt of that queue's vector and "
	"none of another's",
	DISK)
{
	unsigned index;
	struct queues *q = open_queues(VIRTIO_IRQ_BEST, &index);
	struct virtio_device *dev = &q->first.dev;
	uint32_t own[QUEUES] = {0};

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned n = 0; n < q->count; n++) {
			struct virtio_blk_done done;

			virtio_blk_submit(
				queue(q, n), sector_of(n, 0), buffer(q, n, 0), 512, false, NULL);
			virtio_blk_kick(queue(q, n));
			own[n]++;
			if (dev->irq != VIRTIO_IRQ_MSIX) {
				EXPECT_TRUE(WAIT_UNTIL(dev->line_queue >= round * q->count + n + 1,
					DISK_ANSWER_US));
			} else {
				EXPECT_TRUE(WAIT_UNTIL(
					virtio_queue_interrupts(dev, n) >= own[n], DISK_ANSWER_US));
				for (unsigned i = 0; i < q->count; i++)
					EXPECT_EQ(virtio_queue_interrupts(dev, i), own[i]);
			}
			for (unsigned i = 0; i < q->count; i++)
				EXPECT_EQ(virtio_blk_reap(queue(q, i), &done, 1), i == n);
			EXPECT_EQ(done.status, BLK_S_OK);
		}
	}
	EXPECT_EQ(virtio_config_interrupts(dev), 0);
}

TEST(all_queues_at_once, "VQ-DEV-13 VQ-DEV-14",
	"requests in flight on all queues each come back once, on their queue, with their data",
	DISK)
{
	unsigned index;
	struct queues *q = open_queues(VIRTIO_IRQ_NONE, &index);
	uint64_t seed = test_random();

	fill_buffers(q, seed);
	run_all(q, true);
	memset(q->buffers, 0xee, q->count * QUEUE_DEPTH * 512);
	run_all(q, false);
	expect_buffers(q, seed);
}

TEST(many_in_flight, "VQ-DEV-13 VQ-DEV-14",
	"32 reads in flight of sectors in any order each come back once with their own data", DISK)
{
	struct virtio_blk *disk = arena_alloc(sizeof(*disk), 64);
	uint8_t *buffers = guarded_alloc(32 * 512), *expected = arena_alloc_raw(32 * 512, 64);
	struct virtio_blk_done done[32];
	unsigned seen[32] = {0}, back = 0;

	for (unsigned i = 0; virtio_blk_open(
		     disk, &(struct virtio_blk_options){.depth = 32, .polling = true, .index = i});
		i++) {
		if (!disk->read_only)
			break;
	}
	if (disk->depth < 32 || disk->read_only)
		SKIP("no writable disk of that depth");
	raw_pattern(expected, 32 * 512, 121);
	ASSERT_EQ(virtio_blk_write(disk, DISK_SCRATCH, expected, 32 * 512), BLK_S_OK);
	for (unsigned i = 0; i < 32; i++) {
		unsigned n = i * 11 % 32;

		ASSERT_TRUE(virtio_blk_submit(disk, DISK_SCRATCH + n, buffers + 512 * n, 512, false,
			(void *)(uint64_t)n));
	}
	virtio_blk_kick(disk);
	while (back < 32) {
		unsigned n;

		if (!WAIT_UNTIL((n = virtio_blk_reap(disk, done, 32)) > 0, DISK_ANSWER_US))
			FAIL("%u of 32 came back", back);
		for (unsigned i = 0; i < n; i++) {
			EXPECT_EQ(done[i].status, BLK_S_OK);
			EXPECT_EQ(seen[(uint64_t)done[i].cookie]++, 0);
		}
		back += n;
	}
	EXPECT_MEM(buffers, expected, 32 * 512);
}

/* --- several processors --- */

struct worker {
	struct queues *q;
	unsigned n;
	uint64_t seed;
};

/* On any processor: rounds of writes and reads on its own queue. 0, or what went wrong: 1 silent,
 * 2 a request that failed or came twice, 3 other data. */
static uint64_t work(void *arg)
{
	struct worker *w = arg;
	struct virtio_blk *disk = queue(w->q, w->n);

	for (unsigned round = 0; round < 4; round++) {
		uint8_t *own = buffer(w->q, w->n, 0);

		for (unsigned write = 2; write--;) {
			uint8_t seen[QUEUE_DEPTH] = {0};

			for (unsigned i = 0; i < QUEUE_DEPTH; i++)
				*(uint64_t *)(own + 512 * i + 256) =
					write ? w->seed + round * QUEUE_DEPTH + i : 0;
			submit_all(w->q, w->n, write);
			virtio_blk_kick(disk);
			if (!reap_all(disk, QUEUE_DEPTH, seen))
				return 1;
			for (unsigned i = 0; i < QUEUE_DEPTH; i++)
				if (seen[i] != 1)
					return 2;
		}
		for (unsigned i = 0; i < QUEUE_DEPTH; i++)
			if (*(uint64_t *)(own + 512 * i + 256) != w->seed + round * QUEUE_DEPTH + i)
				return 3;
	}
	return 0;
}

TEST(queues_of_several_processors, "VQ-DEV-13",
	"each processor writes and reads on a queue of its own, all at the same time",
	NEEDS("smp>=2 disk:virtio"))
{
	unsigned index;
	struct queues *q = open_queues(VIRTIO_IRQ_NONE, &index);
	struct worker workers[QUEUES];
	unsigned count = smp_count() < q->count ? smp_count() : q->count;

	smp_start_all();
	for (unsigned n = 0; n < count; n++)
		workers[n] = (struct worker){q, n, test_random()};
	for (unsigned n = 1; n < count; n++)
		smp_run(n, work, &workers[n]);
	EXPECT_EQ(work(&workers[0]), 0);
	for (unsigned n = 1; n < count; n++)
		EXPECT_EQ(smp_wait(n, 4 * DISK_ANSWER_US), 0);
}

/* --- a header that changes while it is looked at --- */

struct changing {
	volatile uint64_t *sector;
	uint64_t values[2];
	volatile uint64_t turns;
	volatile bool stop;
};

static uint64_t keep_changing(void *arg)
{
	struct changing *c = arg;

	while (!c->stop)
		*c->sector = c->values[++c->turns % 2];
	return 0;
}

TEST(header_that_changes, "",
	"while another processor turns the header's sector between one on the disk and one beyond "
	"it, a read gives the whole of the first or is refused, and breaks nothing",
	NEEDS("smp>=2 disk:virtio"))
{
	struct disk *d = disk_open(DISK_FEATURES);
	uint8_t *expected = arena_alloc_raw(2048, 64);
	struct changing c = {&d->header->sector, {DISK_SCRATCH, d->capacity - 1}, 0, false};

	raw_pattern(expected, 2048, 133);
	disk_fill(d, DISK_SCRATCH, 4, 133);
	smp_start(1);
	smp_run(1, keep_changing, &c);
	ASSERT_TRUE(WAIT_UNTIL(c.turns, DISK_ANSWER_US));
	for (unsigned i = 0; i < 24; i++) {
		uint8_t status;

		*(uint64_t *)d->data = *(uint64_t *)(d->data + 1536) = 0xeeeeeeee;
		status = disk_do(d, BLK_T_IN, DISK_SCRATCH, d->data, 2048);
		if (status == BLK_S_OK) {
			EXPECT_EQ(d->used_length, 2049);
			EXPECT_MEM(d->data, expected, 2048);
		} else {
			EXPECT_EQ(status, BLK_S_IOERR);
		}
	}
	c.stop = true;
	EXPECT_EQ(smp_wait(1, DISK_ANSWER_US), 0);
	EXPECT_FALSE(virtio_status(&d->dev) & VIRTIO_S_NEEDS_RESET);
	disk_serves(d);
}

/* --- resets --- */

/* Reads on every queue go out; what their buffers held before is 0x5c. */
static void send_reads(struct queues *q)
{
	memset(q->buffers, 0x5c, q->count * QUEUE_DEPTH * 512);
	for (unsigned n = 0; n < q->count; n++)
		submit_all(q, n, false);
	for (unsigned n = 0; n < q->count; n++)
		virtio_blk_kick(queue(q, n));
}

TEST(reset_amid_requests, "RST-DEV-02",
	"after a reset with requests in flight on every queue nothing more is written, and the "
	"device serves anew",
	DISK)
{
	unsigned index;
	struct queues *q = open_queues(VIRTIO_IRQ_NONE, &index);
	uint32_t bytes = q->count * QUEUE_DEPTH * 512;
	uint8_t *before = q->buffers, *after = guarded_alloc(bytes);

	fill_buffers(q, 131);
	run_all(q, true);
	send_reads(q);
	ASSERT_TRUE(virtio_reset(&q->first.dev));
	memset(before, 0x5d, bytes);
	q->buffers = after;
	open_again(q, index, VIRTIO_IRQ_NONE);
	run_all(q, false);
	expect_buffers(q, 131);
	EXPECT_TRUE(memory_is(before, 0x5d, bytes, NULL));
}

TEST(queue_reset_amid_requests, "VQR-DEV-01",
	"after the reset of a queue with requests in flight nothing more is written for it, and "
	"the "
	"other queues' requests all come back",
	DISK)
{
	unsigned index;
	struct queues *q = open_queues(VIRTIO_IRQ_NONE, &index);
	struct virtio_device *dev = &q->first.dev;
	uint8_t *own, seen[QUEUES][QUEUE_DEPTH] = {{0}};

	if (!virtio_has(dev, VIRTIO_F_RING_RESET))
		SKIP("RING_RESET is not offered");
	own = buffer(q, 1, 0);
	fill_buffers(q, 132);
	run_all(q, true);
	send_reads(q);
	dev->transport->queue_reset(dev, 1);
	ASSERT_TRUE(WAIT_UNTIL(dev->transport->queue_reset_state(dev, 1) == 0, DISK_ANSWER_US));
	EXPECT_EQ(dev->transport->queue_enabled(dev, 1), 0);
	memset(own, 0x5d, QUEUE_DEPTH * 512);
	for (unsigned n = 0; n < q->count; n++)
		if (n != 1)
			ASSERT_TRUE(reap_all(queue(q, n), QUEUE_DEPTH, seen[n]));
	for (unsigned n = 0; n < q->count; n++)
		if (n != 1)
			EXPECT_TRUE(memory_is(seen[n], 1, QUEUE_DEPTH, NULL));
	EXPECT_EQ(virtio_blk_read(&q->first, DISK_SCRATCH, buffer(q, 0, 0), 512), BLK_S_OK);
	EXPECT_TRUE(memory_is(own, 0x5d, QUEUE_DEPTH * 512, NULL));
	EXPECT_FALSE(virtio_status(dev) & VIRTIO_S_NEEDS_RESET);
}
