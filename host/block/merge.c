/* SPDX-License-Identifier: MIT */
/*
 * Neighbours in a batch go to the host as one operation: a guest that reads or writes a file in
 * pieces rings once for many of them, and most of what the host does is by the operation.
 *
 * Requests that are in flight together have no order among them, so those that stand side by side
 * in the file and in the batch may move together.  What comes out of it is each one's own again:
 * where the whole was not moved as asked, its parts are done singly, so that an error concerns the
 * one request that has it.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "block/internal.h"

/* The first request of a merged operation completes with its last: not too much of it.  (QEMU's
 * virtio-blk knows no bound in bytes.) */
#define MERGED_MAX (4u << 20)

/* An operation that stands for several. */
struct merged {
	struct io io; /* link in lane->merged_free while it is not in use */
	struct list parts;
	struct iovec iov[IOV_MAX];
};

static bool may_follow(const struct io *io, const struct io *next)
{
	return next->kind == io->kind && next->file == io->file && !next->alone &&
	       next->offset == io->offset + io->length;
}

/* How many from `first` on can be one operation, and how many pieces of memory that is. */
static unsigned neighbours(struct lane *lane, struct io *first, int *pieces, uint64_t *length)
{
	struct io *last = first;
	unsigned count = 1;

	*pieces = first->iov_count;
	*length = first->length;
	if (first->alone || (first->kind != IO_READ && first->kind != IO_WRITE))
		return 1;
	while (last->link.next != &lane->batch) {
		struct io *next = container_of(last->link.next, struct io, link);

		if (!may_follow(last, next) || *pieces + next->iov_count > IOV_MAX ||
			*length + next->length > MERGED_MAX)
			break;
		*pieces += next->iov_count;
		*length += next->length;
		last = next;
		count++;
	}
	return count;
}

static struct merged *take(struct lane *lane)
{
	struct list *link = lane->merged_free.next;
	struct merged *merged;

	if (link == &lane->merged_free)
		return malloc(sizeof(*merged));
	list_remove(link);
	return container_of(link, struct merged, io.link);
}

static struct io *merge(struct lane *lane, struct io *first, unsigned count, uint64_t length)
{
	struct merged *merged = take(lane);
	struct io *io;

	if (!merged)
		return NULL;
	io = &merged->io;
	memset(io, 0, sizeof(*io));
	io->lane = lane;
	io->file = first->file;
	io->kind = first->kind;
	io->is_merged = true;
	io->offset = first->offset;
	io->length = length;
	io->iov = merged->iov;
	list_init(&merged->parts);
	while (count--) {
		struct io *part = container_of(lane->batch.next, struct io, link);

		memcpy(io->iov + io->iov_count, part->iov, part->iov_count * sizeof(*part->iov));
		io->iov_count += part->iov_count;
		list_remove(&part->link);
		list_add_tail(&merged->parts, &part->link);
	}
	return io;
}

struct io *merge_next(struct lane *lane)
{
	struct io *first, *io = NULL;
	unsigned count;
	uint64_t length;
	int pieces;

	if (list_empty(&lane->batch))
		return NULL;
	first = container_of(lane->batch.next, struct io, link);
	count = neighbours(lane, first, &pieces, &length);
	if (count > 1)
		io = merge(lane, first, count, length);
	if (io)
		return io;
	list_remove(&first->link);
	return first;
}

void merge_undo(struct io *io, struct list *finished, struct list *again)
{
	struct merged *merged = container_of(io, struct merged, io);
	bool whole = io->result == (int64_t)io->length;

	while (!list_empty(&merged->parts)) {
		struct io *part = container_of(merged->parts.next, struct io, link);

		list_remove(&part->link);
		part->result = part->length;
		part->alone = !whole;
		list_add_tail(whole ? finished : again, &part->link);
	}
	list_add_tail(&io->lane->merged_free, &io->link);
}

void merge_free(struct lane *lane)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, &lane->merged_free)
		free(container_of(pos, struct merged, io.link));
	list_init(&lane->merged_free);
}
