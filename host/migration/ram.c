/* SPDX-License-Identifier: MIT */
/*
 * Guest memory in a stream: runs of pages from a block's first to its last, a run either of zero
 * pages, which is only its length, or of pages with their contents.
 */
#include <errno.h>
#include <string.h>

#include "migration/machine-state.h"

#define PAGE	  4096u
#define RUN_MAX	  65536u /* pages */
#define RUN_END	  0
#define RUN_DATA  1
#define RUN_ZEROS 2

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

void ram_save(struct stream *s, const struct ram_block *block, struct migration_counts *counts)
{
	uint64_t pages = block->size / PAGE;

	for (uint64_t at = 0, count; at < pages && !s->rc; at += count) {
		const uint8_t *first = block->host + at * PAGE;
		bool zero = is_zero(first);

		count = 1;
		while (at + count < pages && count < RUN_MAX &&
			is_zero(first + count * PAGE) == zero)
			count++;
		stream_put(s, zero ? RUN_ZEROS : RUN_DATA, 1);
		stream_put(s, count, 4);
		if (!zero)
			stream_write(s, first, count * PAGE);
		*(zero ? &counts->zero_pages : &counts->normal_pages) += count;
	}
	stream_put(s, RUN_END, 1);
}

/* A page that is zero already is not touched, so that it costs no memory. */
static void clear(uint8_t *first, uint64_t pages)
{
	for (uint64_t i = 0; i < pages; i++)
		if (!is_zero(first + i * PAGE))
			memset(first + i * PAGE, 0, PAGE);
}

int ram_load(struct stream *s, struct guest_memory *mem, struct ram_block *block)
{
	uint64_t pages = block->size / PAGE, at = 0;

	while (!s->rc) {
		unsigned kind = stream_get(s, 1);
		uint64_t count = kind == RUN_END ? 0 : stream_get(s, 4);

		if (s->rc)
			break;
		if (kind == RUN_END)
			return at == pages
				       ? 0
				       : stream_fail(s, EINVAL, "%llu of %llu pages are missing",
						 (unsigned long long)(pages - at),
						 (unsigned long long)pages);
		if (kind > RUN_ZEROS)
			return stream_fail(s, EINVAL, "a run of kind %u", kind);
		if (!count || count > RUN_MAX || count > pages - at)
			return stream_fail(s, EINVAL, "a run of %llu pages, with %llu to come",
				(unsigned long long)count, (unsigned long long)(pages - at));
		if (kind == RUN_ZEROS)
			clear(block->host + at * PAGE, count);
		else
			stream_read(s, block->host + at * PAGE, count * PAGE);
		at += count;
	}
	return s->rc;
}
