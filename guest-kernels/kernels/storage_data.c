/* SPDX-License-Identifier: MIT */
/*
 * Kernel storage_data: much real data through one path. testcases/test_storage_data.py boots it for
 * one TEST at a time and says on the command line what to expect; its docstring is the contract.
 * The path is the TEST's name: PIO and DMA on the first disk of the IDE, virtio on the first
 * virtio-blk.
 *
 * Checksums and patterns are made at CPL 3 (runtime/user.h), where every host is fast.
 */
#include "drivers/ata.h"
#include "runtime/boot.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "runtime/user.h"
#include "virtio-drivers/blk.h"

#define SECTOR 512

/* A way to the disk. Results: 0, or what the driver calls an error. */
struct path {
	bool (*open)(uint64_t *sectors);
	int (*read)(uint64_t lba, uint32_t count, void *to);
	int (*write)(uint64_t lba, uint32_t count, const void *from);
	int (*flush)(void);
	uint32_t sectors_at_once;
};

static struct ata_disk disk;

static bool ata_open(uint64_t *sectors)
{
	if (!ata_disk_init(&disk, 0, 0))
		return false;
	*sectors = disk.sectors;
	return true;
}

static bool pio_open(uint64_t *sectors)
{
	return ata_open(sectors) && ata_set_multiple(&disk, 16) == 0;
}

static int pio_read(uint64_t lba, uint32_t count, void *to)
{
	return ata_pio_read(&disk, lba, count, to);
}

static int pio_write(uint64_t lba, uint32_t count, const void *from)
{
	return ata_pio_write(&disk, lba, count, from);
}

static int dma_read(uint64_t lba, uint32_t count, void *to)
{
	return ata_dma_read(&disk, lba, count, to);
}

static int dma_write(uint64_t lba, uint32_t count, const void *from)
{
	return ata_dma_write(&disk, lba, count, from);
}

static int flush(void)
{
	return ata_flush(&disk);
}

static struct virtio_blk virtio_disk;

static bool virtio_open(uint64_t *sectors)
{
	if (!virtio_blk_open(&virtio_disk, &(struct virtio_blk_options){.polling = true}))
		return false;
	*sectors = virtio_disk.capacity;
	return true;
}

static int virtio_read(uint64_t lba, uint32_t count, void *to)
{
	return virtio_blk_read(&virtio_disk, lba, to, count * SECTOR);
}

static int virtio_write(uint64_t lba, uint32_t count, const void *from)
{
	return virtio_blk_write(&virtio_disk, lba, from, count * SECTOR);
}

static int virtio_flush(void)
{
	return virtio_blk_flush(&virtio_disk);
}

static const struct path pio = {pio_open, pio_read, pio_write, flush, 256};
static const struct path dma = {ata_open, dma_read, dma_write, flush, 1024};
static const struct path virtio = {virtio_open, virtio_read, virtio_write, virtio_flush, 1024};

/* ---- the three phases ---- */

static uint64_t number(const char *key)
{
	if (!cmdline_get(key))
		SKIP("no %s= on the command line", key);
	return cmdline_number(key, 0);
}

static void *open_path(const struct path *path, uint64_t end)
{
	uint64_t sectors = 0;

	if (!path->open(&sectors))
		FAIL("the disk does not answer");
	ASSERT_GE(sectors, end);
	return arena_alloc_raw(path->sectors_at_once * SECTOR, 4096);
}

static uint32_t part_of(const struct path *path, uint64_t left)
{
	return left < path->sectors_at_once ? left : path->sectors_at_once;
}

static void read_all(const struct path *path)
{
	uint64_t bytes = number("disk.bytes"), wanted = number("disk.crc"), count = bytes / SECTOR;
	uint8_t *data = open_path(path, count);
	uint64_t began = rdtsc();
	uint32_t crc = 0, part;

	for (uint64_t lba = 0; lba < count; lba += part) {
		part = part_of(path, count - lba);
		ASSERT_EQ(path->read(lba, part, data), 0);
		crc = user_crc32c(crc, data, part * SECTOR);
	}
	metric("milliseconds", tsc_to_ns(rdtsc() - began) / 1000000);
	EXPECT_EQ(crc, wanted);
}

struct pattern {
	uint64_t *words;
	uint64_t first, count, step;
};

static uint64_t make_pattern(void *opaque)
{
	struct pattern *p = opaque;

	for (uint64_t i = 0; i < p->count; i++)
		p->words[i] = (p->first + i + 1) * p->step;
	return 0;
}

/* The index of the first word that is not the pattern's, or `count`. */
static uint64_t check_pattern(void *opaque)
{
	struct pattern *p = opaque;

	for (uint64_t i = 0; i < p->count; i++)
		if (p->words[i] != (p->first + i + 1) * p->step)
			return i;
	return p->count;
}

static struct pattern pattern_at(void *data, uint64_t sector, uint32_t count)
{
	return (struct pattern){
		.words = data,
		.first = sector * (SECTOR / 8),
		.count = count * (SECTOR / 8),
		.step = 0x9e3779b97f4a7c15 + 2 * cmdline_number("seed", 0),
	};
}

static void write_area(const struct path *path)
{
	uint64_t first = number("area.first"), count = number("area.count");
	uint8_t *data = open_path(path, first + count);
	uint32_t part;

	for (uint64_t at = 0; at < count; at += part) {
		struct pattern p;

		part = part_of(path, count - at);
		p = pattern_at(data, at, part);
		user_call(make_pattern, &p);
		ASSERT_EQ(path->write(first + at, part, data), 0);
	}
	EXPECT_EQ(path->flush(), 0);
}

static void verify_area(const struct path *path)
{
	uint64_t first = number("area.first"), count = number("area.count");
	uint8_t *data = open_path(path, first + count);
	uint32_t part;

	for (uint64_t at = 0; at < count; at += part) {
		struct pattern p;

		part = part_of(path, count - at);
		ASSERT_EQ(path->read(first + at, part, data), 0);
		p = pattern_at(data, at, part);
		ASSERT_EQ(user_call(check_pattern, &p), p.count);
	}
}

TEST(read_pio, "", "every sector read by PIO is what the host wrote: CRC-32C", NEEDS("disk:ata"))
{
	read_all(&pio);
}

TEST(read_dma, "", "every sector read by DMA is what the host wrote: CRC-32C", NEEDS("disk:ata"))
{
	read_all(&dma);
}

TEST(write_pio, "", "an area is written by PIO and flushed", NEEDS("disk:ata"))
{
	write_area(&pio);
}

TEST(write_dma, "", "an area is written by DMA and flushed", NEEDS("disk:ata"))
{
	write_area(&dma);
}

TEST(verify_pio, "", "PIO reads what was written to an area before the machine was started",
	NEEDS("disk:ata"))
{
	verify_area(&pio);
}

TEST(verify_dma, "", "DMA reads what was written to an area before the machine was started",
	NEEDS("disk:ata"))
{
	verify_area(&dma);
}

TEST(read_virtio, "", "every sector read by virtio-blk is what the host wrote: CRC-32C",
	NEEDS("disk:virtio"))
{
	read_all(&virtio);
}

TEST(write_virtio, "", "an area is written by virtio-blk and flushed", NEEDS("disk:virtio"))
{
	write_area(&virtio);
}

TEST(verify_virtio, "",
	"virtio-blk reads what was written to an area before the machine was started",
	NEEDS("disk:virtio"))
{
	verify_area(&virtio);
}
