/* SPDX-License-Identifier: MIT */
/* What an image holds, in a number: the same for a sparse file and a copy that is not sparse. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "block/internal.h"

#define PIECE (64u << 10) /* pieces of zeroes do not count */

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

/* The next piece from `offset` on that may hold anything but zeroes. */
static uint64_t skip_hole(const struct block_file *file, uint64_t offset)
{
	off_t data = lseek(file->fd, (off_t)offset, SEEK_DATA);

	if (data < 0)
		return errno == ENXIO ? UINT64_MAX : offset;
	return (uint64_t)data & ~(uint64_t)(PIECE - 1);
}

static int hash_pieces(const struct block_file *file, uint8_t *piece, XXH3_state_t *state)
{
	for (uint64_t offset = 0;; offset += PIECE) {
		ssize_t n;

		offset = skip_hole(file, offset);
		if (offset == UINT64_MAX)
			return 0;
		do
			n = pread(file->fd, piece, PIECE, (off_t)offset);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (is_zero(piece, (size_t)n))
			continue;
		XXH3_64bits_update(state, &offset, sizeof(offset));
		XXH3_64bits_update(state, piece, (size_t)n);
	}
}

int block_fingerprint(struct block_backend *blk, uint64_t *size, uint64_t *hash)
{
	XXH3_state_t *state;
	uint8_t *piece;
	int rc = -ENOMEM;

	*size = block_size(blk);
	*hash = 0;
	if (!blk->file)
		return 0;
	state = XXH3_createState();
	piece = aligned_alloc(4096, PIECE);
	if (state && piece) {
		XXH3_64bits_reset(state);
		rc = hash_pieces(blk->file, piece, state);
		*hash = XXH3_64bits_digest(state);
	}
	XXH3_freeState(state);
	free(piece);
	return rc;
}

bool block_is_written(const struct block_backend *blk)
{
	return blk->file && !blk->overlay && !blk->readonly && !blk->parents;
}

struct block_backend *block_walk(const struct block_backend *blk)
{
	return block_next(blk);
}
