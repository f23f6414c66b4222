/* SPDX-License-Identifier: MIT */
/*
 * snapshot=on: what the guest writes goes to an unlinked sparse file, sector for sector at the
 * same place, and one bit a sector tells which file has it.  With the sector as the unit no write
 * ever has to copy anything first.  The bitmap is a reservation of address space: only what is
 * touched costs memory (one page of it covers 16 MiB of disk).
 *
 * Bits are set after the data landed, by any loop, so they are atomic.  Nothing survives the
 * process, and a flush has nothing to do.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "block/internal.h"

#define MIN_REACH (64ull << 30) /* room to grow by block_resize */

struct overlay {
	struct block_file *base, *file;
	uint64_t reach; /* bytes of disk that the bitmap covers */
	_Atomic uint64_t *words;
	size_t words_bytes;
};

struct overlay *overlay_create(struct block_file *base, uint64_t size, struct error *err)
{
	struct overlay *overlay = calloc(1, sizeof(*overlay));
	void *map;

	if (!overlay) {
		error_set(err, ENOMEM, "snapshot: out of memory");
		return NULL;
	}
	overlay->base = base;
	overlay->reach = size > MIN_REACH / 4 && size < UINT64_MAX / 8 ? size * 4 : MIN_REACH;
	if (overlay->reach < size)
		overlay->reach = size;
	overlay->words_bytes = overlay->reach / BLOCK_SECTOR / 8 + sizeof(uint64_t);
	map = mmap(NULL, overlay->words_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		error_set_errno(err, errno, "snapshot of %llu bytes", (unsigned long long)size);
		free(overlay);
		return NULL;
	}
	overlay->words = map;
	overlay->file = file_temporary(err);
	if (!overlay->file) {
		overlay_free(overlay);
		return NULL;
	}
	return overlay;
}

void overlay_free(struct overlay *overlay)
{
	if (!overlay)
		return;
	file_close(overlay->file);
	munmap((void *)overlay->words, overlay->words_bytes);
	free(overlay);
}

int overlay_resize(struct overlay *overlay, uint64_t size, struct error *err)
{
	if (size > overlay->reach)
		return error_set(err, ENOSPC, "a snapshot of this drive can be at most %llu bytes",
			(unsigned long long)overlay->reach);
	return 0;
}

static bool is_ours(const struct overlay *overlay, uint64_t sector)
{
	return atomic_load_explicit(&overlay->words[sector / 64], memory_order_relaxed) >>
		       (sector % 64) &
	       1;
}

struct extent overlay_map(struct overlay *overlay, bool for_write, uint64_t offset, uint64_t bytes)
{
	uint64_t sector = offset / BLOCK_SECTOR;
	uint64_t end = (offset + bytes + BLOCK_SECTOR - 1) / BLOCK_SECTOR;
	uint64_t next = sector + 1;
	bool ours = for_write || is_ours(overlay, sector);
	struct extent extent = {.file = ours ? overlay->file : overlay->base, .length = bytes};

	if (for_write)
		return extent;
	while (next < end && is_ours(overlay, next) == ours)
		next++;
	if (next < end)
		extent.length = next * BLOCK_SECTOR - offset;
	return extent;
}

void overlay_written(struct overlay *overlay, uint64_t offset, uint64_t bytes)
{
	uint64_t end = (offset + bytes) / BLOCK_SECTOR;

	for (uint64_t sector = offset / BLOCK_SECTOR; sector < end; sector++)
		atomic_fetch_or_explicit(
			&overlay->words[sector / 64], 1ull << (sector % 64), memory_order_release);
}

const struct block_file *overlay_file(const struct overlay *overlay)
{
	return overlay->file;
}

static size_t first_word(uint64_t offset)
{
	return offset / BLOCK_SECTOR / 64;
}

static size_t word_count(uint64_t offset, uint64_t bytes)
{
	return first_word(offset + bytes + BLOCK_SECTOR - 1) - first_word(offset) + 1;
}

size_t overlay_words(const struct overlay *overlay, uint64_t offset, uint64_t bytes, uint64_t *to)
{
	size_t count = word_count(offset, bytes);

	for (size_t i = 0; to && i < count; i++)
		to[i] = atomic_load(&overlay->words[first_word(offset) + i]);
	return count;
}

void overlay_set_words(
	struct overlay *overlay, uint64_t offset, uint64_t bytes, const uint64_t *from)
{
	for (size_t i = 0; i < word_count(offset, bytes); i++)
		atomic_store(&overlay->words[first_word(offset) + i], from[i]);
}
