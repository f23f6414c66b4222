/* SPDX-License-Identifier: MIT */
/*
 * Going back to what snapshots held earlier in the same process (block.h): once asked for, each
 * operation that writes leaves what it overwrites here, and going back undoes them, the last first.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "block/internal.h"

struct note {
	struct note *before;
	struct overlay *overlay;
	uint64_t offset, bytes, number;
	uint64_t *words;
	uint8_t *data;
};

struct block_memory {
	uint64_t notes, done_count;
	size_t count;
	uint64_t sizes[]; /* of backends, in their order */
};

static struct note *last;
static uint64_t note_count;
static bool keeping, lost; /* lost: there was no memory for a note */

static struct overlay *overlay_of(const struct block_file *file)
{
	struct block_backend *blk = NULL;

	while ((blk = block_next(blk)))
		if (blk->overlay && overlay_file(blk->overlay) == file)
			return blk->overlay;
	return NULL;
}

static void note_free(struct note *note)
{
	free(note->words);
	free(note->data);
	free(note);
}

/* Behind the end of the file `to` stays as it is. */
static int read_whole(int fd, uint8_t *to, uint64_t length, uint64_t offset)
{
	for (uint64_t done = 0; done < length;) {
		ssize_t n = pread(fd, to + done, length - done, (off_t)(offset + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			break;
		done += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

void journal_note(const struct io *io)
{
	struct overlay *overlay;
	struct note *note;

	if (!keeping || io->kind == IO_NONE || io->kind == IO_READ || io->kind == IO_SYNC)
		return;
	overlay = overlay_of(io->file);
	note = overlay ? calloc(1, sizeof(*note)) : NULL;
	if (!note) {
		lost = true;
		return;
	}
	note->overlay = overlay;
	note->offset = io->offset;
	note->bytes = io->length;
	note->words =
		calloc(overlay_words(overlay, io->offset, io->length, NULL), sizeof(*note->words));
	note->data = calloc(1, io->length + 1); /* behind the end of the file: zeroes */
	if (!note->words || !note->data ||
		read_whole(io->file->fd, note->data, io->length, io->offset) < 0) {
		note_free(note);
		lost = true;
		return;
	}
	overlay_words(overlay, io->offset, io->length, note->words);
	note->before = last;
	note->number = note_count++;
	last = note;
}

static bool is_held(const struct block_backend *blk)
{
	for (const struct lane *lane = atomic_load(&blk->lanes); lane; lane = lane->next)
		if (lane->in_flight || !list_empty(&lane->held))
			return true;
	return false;
}

bool block_is_idle(void)
{
	struct block_backend *blk = NULL;

	while ((blk = block_next(blk)))
		if (is_held(blk))
			return false;
	return io_schedule_is_empty();
}

struct block_memory *block_remember(void)
{
	struct block_backend *blk = NULL;
	struct block_memory *memory;
	size_t count = 0;

	while ((blk = block_next(blk)))
		count++;
	memory = calloc(1, sizeof(*memory) + count * sizeof(memory->sizes[0]));
	if (!memory)
		return NULL;
	keeping = true;
	memory->notes = note_count;
	memory->done_count = block_done_count();
	while ((blk = block_next(blk)))
		memory->sizes[memory->count++] = block_size(blk);
	return memory;
}

static int undo(const struct note *note)
{
	const struct block_file *file = overlay_file(note->overlay);

	for (uint64_t done = 0; done < note->bytes;) {
		ssize_t n = pwrite(file->fd, note->data + done, note->bytes - done,
			(off_t)(note->offset + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (uint64_t)n : 0;
	}
	overlay_set_words(note->overlay, note->offset, note->bytes, note->words);
	return 0;
}

int block_recall(const struct block_memory *memory)
{
	struct block_backend *blk = NULL;
	size_t i = 0;
	int rc = lost ? -ENOMEM : 0;

	while (!rc && last && last->number >= memory->notes) {
		struct note *note = last;

		rc = undo(note);
		last = note->before;
		note_count = note->number;
		note_free(note);
	}
	while (i < memory->count && (blk = block_next(blk)))
		atomic_store(&blk->size, memory->sizes[i++]);
	io_set_done_count(memory->done_count);
	return rc;
}
