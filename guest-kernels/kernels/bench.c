/* SPDX-License-Identifier: MIT */
/*
 * The storage benchmark's guest: the same requests by ATA PIO, ATA DMA and virtio-blk.
 *
 * Each TEST is one cell of the table (docs/performance.md).  Requests go out in batches of the
 * depth and the next batch starts when all of one have completed; for DMA and virtio the processor
 * halts until an interrupt.  A batch is what an operating system's plug does, and it is what a
 * depth of 32 can mean without threads.  The image has its sector number in the first word of each
 * sector; 4 KiB requests stay in the first half of the disk and 128 KiB requests in the second, so
 * each kind finds the words it wrote.  Every read is checked by its first and last sector.
 *
 * virtio-blk is driven by a split ring, by a packed one, and by four queues with the whole depth
 * on each; the second disk has nothing behind it (null-co, reads as zeroes), so that its cells cost
 * what the path through the VMM does.
 *
 * Command line: ms=N, how long a cell runs (default 300).  ops=N: so many operations instead (whole
 * batches), and what the probe device counted in them as metrics count_x; under virtual time, which
 * `soft` has, these are the same in every run.
 *
 * The measured region is marked on the control port: "REQ n mark begin CELL" and "mark end".  While
 * the host takes its counters the guest touches no device, so that what a mark costs is the same
 * each time; the TEST `nothing` measures that cost.
 */
#include "drivers/ata.h"
#include "runtime/boot.h"
#include "runtime/ctl.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/probe.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/blk.h"

#define DEPTH_MAX  32
#define QUEUES_MAX 4
#define COM2	   0x2f8

enum path {
	PATH_PIO,
	PATH_DMA,
	PATH_VIRTIO,
	PATH_PACKED,
	PATH_QUEUES,
	PATH_PACKED_QUEUES,
	PATH_NULL,
	PATH_NULL_PACKED
};

struct cell {
	enum path path;
	bool write, random;
	uint32_t bytes, depth; /* of each queue */
};

struct request {
	uint64_t sector;
	uint8_t *data;
};

static struct ata_disk ata;
static struct virtio_blk virtio, others[QUEUES_MAX - 1];
static struct request batch[QUEUES_MAX * DEPTH_MAX];
static unsigned batch_size; /* depth times queues */
static uint64_t operations;

/* Marks */

static unsigned mark_number = 9000;

static void send(const char *text)
{
	for (; *text; text++) {
		WAIT_UNTIL(inb(COM2 + 5) & 0x20, 100000);
		outb(COM2, *text);
	}
}

/* The answer is "OK n": short enough for the receiver's FIFO, which keeps it until the guest looks.
 */
static void mark(const char *what)
{
	char text[80], c = 0;

	if (!ctl_present())
		return;
	format(text, sizeof(text), "REQ %u mark %s\n", ++mark_number, what);
	send(text);
	/* Seldom looked at, so that a slow host is not counted as exits of the cell. */
	delay_us(30000);
	for (int patience = 5000; c != '\n' && patience; patience--) {
		if (inb(COM2 + 5) & 1)
			c = inb(COM2);
		else
			delay_us(2000);
	}
	if (c != '\n')
		ERROR("no answer to mark %s", what);
}

/* With the cell's name: before the host takes its counters, so that its length costs nothing. */
static void mark_begin(void)
{
	char text[48];

	format(text, sizeof(text), "begin %s", test_name());
	mark(text);
}

/* Waiting: the processor halts, an interrupt wakes it. */

static void halt_while(volatile uint32_t *count, uint32_t seen)
{
	irq_disable();
	while (*count == seen)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	irq_enable();
}

/* One batch on each path: 0, or what went wrong */

static int pio_batch(const struct cell *cell)
{
	uint32_t sectors = cell->bytes / 512;

	if (cell->write)
		return ata_pio_write(&ata, batch[0].sector, sectors, batch[0].data);
	return ata_pio_read(&ata, batch[0].sector, sectors, batch[0].data);
}

static int dma_batch(const struct cell *cell)
{
	struct ata_channel *c = ata.channel;

	ata_dma_submit(&ata, cell->write ? ATA_WRITE : ATA_READ, batch[0].sector, cell->bytes / 512,
		batch[0].data);
	halt_while(&irq_counts[c->vector], c->irqs_seen);
	return ata_dma_wait(&ata);
}

static volatile uint32_t *virtio_interrupt_count(void)
{
	if (virtio.dev.irq == VIRTIO_IRQ_MSIX)
		return &irq_counts[virtio.dev.queue_vector[0]];
	return &virtio.dev.line_queue;
}

static unsigned reap(struct virtio_blk *disk, int *status)
{
	struct virtio_blk_done done[DEPTH_MAX];
	unsigned count = virtio_blk_reap(disk, done, DEPTH_MAX);

	for (unsigned i = 0; i < count; i++)
		if (done[i].status)
			*status = done[i].status;
	return count;
}

static int virtio_batch(const struct cell *cell)
{
	volatile uint32_t *interrupts = virtio_interrupt_count();
	unsigned left = cell->depth;
	int status = 0;

	for (unsigned i = 0; i < cell->depth; i++)
		virtio_blk_submit(
			&virtio, batch[i].sector, batch[i].data, cell->bytes, cell->write, NULL);
	virtio_blk_kick(&virtio);
	while (left) {
		uint32_t seen;
		unsigned count = reap(&virtio, &status);

		left -= count;
		if (count || !left)
			continue;
		seen = *interrupts;
		if (virtqueue_interrupt_after(&virtio.vq, left))
			halt_while(interrupts, seen);
		virtqueue_interrupts(&virtio.vq, false);
	}
	return status;
}

static struct virtio_blk *queue(unsigned n)
{
	return n ? &others[n - 1] : &virtio;
}

static uint32_t interrupts_of_all(void)
{
	uint32_t sum = 0;

	if (virtio.dev.irq != VIRTIO_IRQ_MSIX)
		return virtio.dev.line_queue;
	for (unsigned n = 0; n < QUEUES_MAX; n++)
		sum += irq_counts[virtio.dev.queue_vector[n]];
	return sum;
}

/* Asks each queue with requests in flight for an interrupt behind its last one, and halts until any
 * comes. */
static void halt_for_any(const unsigned *left)
{
	uint32_t seen = interrupts_of_all();
	bool all_come = true;

	for (unsigned n = 0; n < QUEUES_MAX; n++)
		if (left[n] && !virtqueue_interrupt_after(&queue(n)->vq, left[n]))
			all_come = false;
	irq_disable();
	while (all_come && interrupts_of_all() == seen)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	irq_enable();
	for (unsigned n = 0; n < QUEUES_MAX; n++)
		virtqueue_interrupts(&queue(n)->vq, false);
}

static int queues_batch(const struct cell *cell)
{
	unsigned left[QUEUES_MAX], all = batch_size;
	int status = 0;

	for (unsigned i = 0; i < batch_size; i++)
		virtio_blk_submit(queue(i / cell->depth), batch[i].sector, batch[i].data,
			cell->bytes, cell->write, NULL);
	for (unsigned n = 0; n < QUEUES_MAX; n++) {
		left[n] = cell->depth;
		virtio_blk_kick(queue(n));
	}
	while (all) {
		unsigned count = 0;

		for (unsigned n = 0; n < QUEUES_MAX; n++) {
			unsigned came = left[n] ? reap(queue(n), &status) : 0;

			left[n] -= came;
			count += came;
		}
		all -= count;
		if (all && !count)
			halt_for_any(left);
	}
	return status;
}

static const struct path_type {
	int (*batch)(const struct cell *cell);
	unsigned queues;
	bool packed, null;
} paths[] = {
	[PATH_PIO] = {pio_batch, 0, false, false},
	[PATH_DMA] = {dma_batch, 0, false, false},
	[PATH_VIRTIO] = {virtio_batch, 1, false, false},
	[PATH_PACKED] = {virtio_batch, 1, true, false},
	[PATH_QUEUES] = {queues_batch, QUEUES_MAX, false, false},
	[PATH_PACKED_QUEUES] = {queues_batch, QUEUES_MAX, true, false},
	[PATH_NULL] = {virtio_batch, 1, false, true},
	[PATH_NULL_PACKED] = {virtio_batch, 1, true, true},
};

/* Addresses and contents */

static uint64_t first_sector, sector_span, next_sector;

static void place_requests(const struct cell *cell)
{
	uint32_t sectors = cell->bytes / 512;

	for (unsigned i = 0; i < batch_size; i++) {
		if (cell->random) {
			/* Knuth's multiplier; the high bits are the good ones. */
			next_sector = next_sector * 6364136223846793005ull + 1442695040888963407ull;
			batch[i].sector = first_sector +
					  (next_sector >> 33) % (sector_span / sectors) * sectors;
		} else {
			if (next_sector + sectors > first_sector + sector_span)
				next_sector = first_sector;
			batch[i].sector = next_sector;
			next_sector += sectors;
		}
		if (cell->write) {
			*(uint64_t *)batch[i].data = batch[i].sector;
			*(uint64_t *)(batch[i].data + cell->bytes - 512) =
				batch[i].sector + sectors - 1;
		}
	}
}

static bool contents_right(const struct cell *cell)
{
	uint32_t sectors = cell->bytes / 512;
	bool null = paths[cell->path].null;

	for (unsigned i = 0; i < batch_size; i++) {
		uint64_t sector = batch[i].sector;

		if (*(uint64_t *)batch[i].data != (null ? 0 : sector) ||
			*(uint64_t *)(batch[i].data + cell->bytes - 512) !=
				(null ? 0 : sector + sectors - 1))
			return false;
	}
	return true;
}

/* A cell */

static void open_virtio(const struct path_type *path)
{
	struct virtio_blk_options options = {.depth = DEPTH_MAX,
		.irq = VIRTIO_IRQ_BEST,
		.index = path->null,
		.queues = path->queues,
		.more = others,
		.without = path->packed ? 0 : VIRTIO_BIT(VIRTIO_F_RING_PACKED)};

	if (!virtio_blk_open(&virtio, &options))
		SKIP("no virtio disk with %u queues", path->queues);
	if (path->packed && !virtio_has(&virtio.dev, VIRTIO_F_RING_PACKED))
		SKIP("no packed ring");
	for (unsigned n = 0; n < path->queues; n++)
		virtqueue_interrupts(&queue(n)->vq, false);
}

static void open_path(const struct cell *cell)
{
	const struct path_type *path = &paths[cell->path];
	uint64_t sectors;

	batch_size = cell->depth * (path->queues ? path->queues : 1);
	if (path->queues) {
		open_virtio(path);
		sectors = virtio.capacity;
	} else {
		if (!ata_disk_init(&ata, 0, 0))
			SKIP("no ATA disk");
		if (cell->path == PATH_PIO)
			ata_set_multiple(&ata, 16);
		sectors = ata.sectors;
	}
	sector_span = sectors / 2;
	first_sector = cell->bytes <= 16384 ? 0 : sectors - sector_span;
	next_sector = cell->random ? 1 : first_sector;
	for (unsigned i = 0; i < batch_size; i++)
		batch[i].data = arena_alloc(cell->bytes, 4096);
}

/* The counters that a cell reports; names of metrics. */
static const struct {
	const char *name;
	unsigned counter;
} counted[] = {
	{"count_instructions", PROBE_INSTRUCTIONS},
	{"count_exits", PROBE_EXITS},
	{"count_kicks", PROBE_KICKS},
	{"count_interrupts", PROBE_INTERRUPTS_TAKEN},
	{"count_dma_bytes", PROBE_DMA_BYTES},
	{"count_copied_bytes", PROBE_COPIED_BYTES},
	{"count_tlb_misses", PROBE_TLB_MISSES},
	{"count_ns", PROBE_TIME_NS},
};

static void report_counts(void)
{
	for (unsigned i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
		uint64_t sum = probe_sum(counted[i].counter);

		/* END's own exit is in the region. */
		if (sum != PROBE_ABSENT)
			metric(counted[i].name, sum - (counted[i].counter == PROBE_EXITS));
	}
}

static void run_cell(const struct cell *cell)
{
	uint64_t most = cmdline_number("ops", 0);
	bool counts = most && probe_present();
	uint64_t begin, end, interrupts;
	bool right = true;
	int status = 0;

	open_path(cell);
	operations = 0;
	place_requests(cell);
	status = paths[cell->path].batch(cell); /* once unmeasured: first touches */
	EXPECT_EQ(status, 0);
	mark_begin();
	if (counts) {
		probe_clear(0);
		probe_begin();
	}
	interrupts = irq_total();
	begin = rdtsc();
	end = begin + cmdline_number("ms", 300) * 1000 * tsc_per_us();
	do {
		place_requests(cell);
		status = paths[cell->path].batch(cell);
		if (!cell->write)
			right = right && contents_right(cell);
		operations += batch_size;
	} while (!status && right && (most ? operations < most : !time_passed(end)));
	end = rdtsc();
	interrupts = irq_total() - interrupts;
	if (counts)
		probe_end();
	mark("end");
	EXPECT_EQ(status, 0);
	EXPECT_TRUE(right);
	metric("operations", operations);
	metric("ns", tsc_to_ns(end - begin));
	metric("interrupts", interrupts);
	metric("batch", batch_size);
	if (counts)
		report_counts();
}

#define CELL(name, path_, direction, order, bytes_, depth_)                                   \
	TEST(name, "", "requests of this kind complete with the data of their sectors")       \
	{                                                                                     \
		static const struct cell cell = {                                             \
			PATH_##path_, (direction) == ATA_WRITE, (order), (bytes_), (depth_)}; \
		run_cell(&cell);                                                              \
	}
#define RANDOM	   true
#define SEQUENTIAL false

TEST(nothing, "", "two marks with nothing between them")
{
	for (int i = 0; i < 3; i++) {
		mark_begin();
		mark("end");
	}
}

/* The table */
CELL(pio_read_4k_1, PIO, ATA_READ, RANDOM, 4096, 1)
CELL(dma_read_4k_1, DMA, ATA_READ, RANDOM, 4096, 1)
CELL(virtio_read_4k_1, VIRTIO, ATA_READ, RANDOM, 4096, 1)
CELL(virtio_read_4k_32, VIRTIO, ATA_READ, RANDOM, 4096, 32)
CELL(pio_write_4k_1, PIO, ATA_WRITE, RANDOM, 4096, 1)
CELL(dma_write_4k_1, DMA, ATA_WRITE, RANDOM, 4096, 1)
CELL(virtio_write_4k_1, VIRTIO, ATA_WRITE, RANDOM, 4096, 1)
CELL(virtio_write_4k_32, VIRTIO, ATA_WRITE, RANDOM, 4096, 32)
CELL(pio_read_128k_1, PIO, ATA_READ, SEQUENTIAL, 128 << 10, 1)
CELL(dma_read_128k_1, DMA, ATA_READ, SEQUENTIAL, 128 << 10, 1)
CELL(virtio_read_128k_1, VIRTIO, ATA_READ, SEQUENTIAL, 128 << 10, 1)
CELL(virtio_read_128k_32, VIRTIO, ATA_READ, SEQUENTIAL, 128 << 10, 32)
CELL(pio_write_128k_1, PIO, ATA_WRITE, SEQUENTIAL, 128 << 10, 1)
CELL(dma_write_128k_1, DMA, ATA_WRITE, SEQUENTIAL, 128 << 10, 1)
CELL(virtio_write_128k_1, VIRTIO, ATA_WRITE, SEQUENTIAL, 128 << 10, 1)
CELL(virtio_write_128k_32, VIRTIO, ATA_WRITE, SEQUENTIAL, 128 << 10, 32)

CELL(packed_read_4k_1, PACKED, ATA_READ, RANDOM, 4096, 1)
CELL(packed_read_4k_32, PACKED, ATA_READ, RANDOM, 4096, 32)
CELL(packed_write_4k_1, PACKED, ATA_WRITE, RANDOM, 4096, 1)
CELL(packed_write_4k_32, PACKED, ATA_WRITE, RANDOM, 4096, 32)
CELL(packed_read_128k_1, PACKED, ATA_READ, SEQUENTIAL, 128 << 10, 1)
CELL(packed_read_128k_32, PACKED, ATA_READ, SEQUENTIAL, 128 << 10, 32)
CELL(packed_write_128k_1, PACKED, ATA_WRITE, SEQUENTIAL, 128 << 10, 1)
CELL(packed_write_128k_32, PACKED, ATA_WRITE, SEQUENTIAL, 128 << 10, 32)
CELL(queues_read_4k_32, QUEUES, ATA_READ, RANDOM, 4096, 32)
CELL(queues_write_4k_32, QUEUES, ATA_WRITE, RANDOM, 4096, 32)
CELL(packedqueues_read_4k_32, PACKED_QUEUES, ATA_READ, RANDOM, 4096, 32)
CELL(packedqueues_write_4k_32, PACKED_QUEUES, ATA_WRITE, RANDOM, 4096, 32)
CELL(null_read_4k_1, NULL, ATA_READ, RANDOM, 4096, 1)
CELL(null_read_4k_32, NULL, ATA_READ, RANDOM, 4096, 32)
CELL(null_write_4k_1, NULL, ATA_WRITE, RANDOM, 4096, 1)
CELL(null_write_4k_32, NULL, ATA_WRITE, RANDOM, 4096, 32)
CELL(nullpacked_read_4k_1, NULL_PACKED, ATA_READ, RANDOM, 4096, 1)
CELL(nullpacked_read_4k_32, NULL_PACKED, ATA_READ, RANDOM, 4096, 32)
CELL(nullpacked_write_4k_1, NULL_PACKED, ATA_WRITE, RANDOM, 4096, 1)
CELL(nullpacked_write_4k_32, NULL_PACKED, ATA_WRITE, RANDOM, 4096, 32)

/* With ALL=1 */
CELL(virtio_read_4k_8, VIRTIO, ATA_READ, RANDOM, 4096, 8)
CELL(virtio_write_4k_8, VIRTIO, ATA_WRITE, RANDOM, 4096, 8)
CELL(virtio_read_128k_8, VIRTIO, ATA_READ, SEQUENTIAL, 128 << 10, 8)
CELL(virtio_write_128k_8, VIRTIO, ATA_WRITE, SEQUENTIAL, 128 << 10, 8)
