/* SPDX-License-Identifier: MIT */
/*
 * Requests: checked, walked extent by extent over the host files they concern, flushed behind
 * where the cache mode or the request wants it, and completed on their loop (block.h).
 *
 * A request is one io at a time.  That is all there is for a plain image; only a snapshot's reads
 * of mixed areas, short transfers and very long iovecs take several steps.
 */
#include "block/block.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "block/internal.h"
#include "block/iothread.h"

enum stage { STAGE_DATA, STAGE_SYNC, STAGE_DONE };

/* What a request is while it is under way; it lies in request->private. */
struct op {
	struct io io;
	struct block_request *request;
	enum block_operation operation; /* a write of zeroes may have become BLOCK_WRITE_ZEROES */
	enum stage stage;
	bool sync_after, may_unmap, overwrite;
	bool begun; /* within its limits: what fails now is the host's fault */
	int result;
	uint64_t offset, done;
	struct iovec *slice;
	int slice_room;
	struct loop_task task; /* completes a request that could not even get a lane */
};

static_assert(sizeof(struct op) <= sizeof(((struct block_request *)0)->private),
	"block_request.private must hold struct op");

static struct list backends = {&backends, &backends};

static struct op *op_of(struct block_request *request)
{
	return (struct op *)request->private;
}

static bool has_data(enum block_operation operation)
{
	return operation == BLOCK_READ || operation == BLOCK_WRITE;
}

/* Completion */

static const enum fault_block_op fault_ops[] = {
	[BLOCK_READ] = FAULT_BLOCK_READ,
	[BLOCK_WRITE] = FAULT_BLOCK_WRITE,
	[BLOCK_FLUSH] = FAULT_BLOCK_FLUSH,
	[BLOCK_DISCARD] = FAULT_BLOCK_DISCARD,
	[BLOCK_WRITE_ZEROES] = FAULT_BLOCK_ZEROES,
};

static void complete(struct op *op)
{
	struct block_request *request = op->request;
	struct block_backend *blk = op->io.lane->blk;
	struct lane *lane = op->io.lane;
	enum fault_verdict verdict;

	free(op->slice);
	op->slice = NULL;
	lane->in_flight--;
	verdict = fault_block_complete(blk->id, fault_ops[request->operation], op->offset,
		request->iov, has_data(request->operation) ? request->iov_count : 0, &op->result);
	if (verdict == FAULT_DROP)
		return;
	if (op->begun && op->result < 0 && op->result != -ENOTSUP) {
		switch (policy_apply(lane, request->operation, op->result)) {
		case ON_ERROR_IGNORE: op->result = 0; break;
		case ON_ERROR_STOP: list_add_tail(&lane->held, &op->io.link); return;
		default: break;
		}
	}
	request->done(request, op->result);
}

void block_io_give_up(struct io *io)
{
	struct op *op = container_of(io, struct op, io);

	op->request->done(op->request, op->result);
}

static void complete_without_lane(void *opaque)
{
	struct op *op = opaque;

	op->request->done(op->request, op->result);
}

/* The walk */

/* The part of the request's iovecs from op->done on, at most *bytes of it; NULL: no memory. */
static struct iovec *slice(struct op *op, uint64_t *bytes, int *count)
{
	const struct block_request *request = op->request;
	uint64_t skip = op->done, taken = 0;
	int n = 0;

	if (!skip && *bytes == request->bytes && request->iov_count <= IOV_MAX) {
		*count = request->iov_count;
		return (struct iovec *)request->iov;
	}
	if (!op->slice) {
		op->slice_room = request->iov_count < IOV_MAX ? request->iov_count : IOV_MAX;
		op->slice = calloc(op->slice_room, sizeof(*op->slice));
		if (!op->slice)
			return NULL;
	}
	for (int i = 0; i < request->iov_count && taken < *bytes && n < op->slice_room; i++) {
		size_t length = request->iov[i].iov_len;

		if (skip >= length) {
			skip -= length;
			continue;
		}
		length -= skip;
		if (length > *bytes - taken)
			length = *bytes - taken;
		op->slice[n].iov_base = (char *)request->iov[i].iov_base + skip;
		op->slice[n++].iov_len = length;
		taken += length;
		skip = 0;
	}
	*bytes = taken;
	*count = n;
	return op->slice;
}

static enum io_kind kind_of(const struct op *op)
{
	switch (op->operation) {
	case BLOCK_READ: return IO_READ;
	case BLOCK_WRITE: return IO_WRITE;
	case BLOCK_DISCARD: return IO_DISCARD;
	default: return op->overwrite ? IO_OVERWRITE : op->may_unmap ? IO_PUNCH : IO_ZERO;
	}
}

/* Fills op->io with the next piece of data.  0 or -errno. */
static int prepare_data(struct op *op, struct block_backend *blk)
{
	struct io *io = &op->io;
	struct extent extent = {.file = blk->file, .length = op->request->bytes - op->done};

	io->offset = op->offset + op->done;
	if (blk->overlay)
		extent = overlay_map(
			blk->overlay, op->operation != BLOCK_READ, io->offset, extent.length);
	io->file = extent.file;
	io->kind = kind_of(op);
	io->length = extent.length;
	if (!has_data(op->operation)) {
		io->by_pool = true;
		return 0;
	}
	io->iov = slice(op, &io->length, &io->iov_count);
	if (!io->iov)
		return -ENOMEM;
	if (!io->length)
		return -EINVAL;
	io->by_pool = !file_io_aligned(io->file, io->offset, io->length, io->iov, io->iov_count);
	return 0;
}

/* Sends the next io on its way; false: the request is at its end. */
static bool step(struct op *op)
{
	struct block_backend *blk = op->io.lane->blk;

	if (op->stage == STAGE_DATA && op->done == op->request->bytes)
		op->stage = op->sync_after ? STAGE_SYNC : STAGE_DONE;
	if (op->stage == STAGE_DATA) {
		op->result = prepare_data(op, blk);
		if (op->result)
			op->stage = STAGE_DONE;
	} else if (op->stage == STAGE_SYNC) {
		op->io.kind = IO_SYNC;
		op->io.file = blk->file;
		op->io.by_pool = false;
	}
	if (op->stage == STAGE_DONE)
		return false;
	lane_submit(op->io.lane, &op->io);
	return true;
}

/* Takes note of what a data io did. */
static void account_data(struct op *op)
{
	struct io *io = &op->io;
	struct block_backend *blk = io->lane->blk;

	if (!has_data(op->operation)) {
		/* A discard is advice: a file that cannot forget still has its data. */
		if (io->result < 0 && op->operation != BLOCK_DISCARD)
			op->result = io->result;
		io->result = io->length;
	} else if (io->result == 0 && op->operation == BLOCK_READ) {
		/* Beyond the end of the file: a last sector that is not whole. */
		iov_copy_in(io->iov, io->iov_count, 0, NULL, io->length);
		io->result = io->length;
	} else if (io->result == 0) {
		op->result = -EIO;
	}
	if (blk->overlay && op->operation != BLOCK_READ && !op->result)
		overlay_written(blk->overlay, io->offset, io->result);
	op->done += io->result;
}

void block_io_done(struct io *io)
{
	struct op *op = container_of(io, struct op, io);

	if (op->stage != STAGE_DONE) {
		if (io->result == -EINTR || io->result == -EAGAIN) {
			io->by_pool = true;
			lane_submit(io->lane, io);
			return;
		}
		if (io->result < 0 && (op->stage == STAGE_SYNC || has_data(op->operation)))
			op->result = io->result;
		else if (op->stage == STAGE_DATA)
			account_data(op);
		if (op->stage == STAGE_SYNC || op->result)
			op->stage = STAGE_DONE;
		if (step(op))
			return;
	}
	complete(op);
}

/* Submission */

static int check(const struct block_backend *blk, const struct block_request *request)
{
	uint64_t size = block_size(blk), sum = 0;

	if (request->operation == BLOCK_FLUSH)
		return 0;
	if (!blk->file && !blk->null_driver)
		return -ENOMEDIUM;
	if (request->operation != BLOCK_READ && blk->readonly)
		return -EPERM;
	if (request->offset > size || request->bytes > size - request->offset ||
		(request->offset | request->bytes) % BLOCK_SECTOR)
		return -EINVAL;
	if (!has_data(request->operation))
		return 0;
	for (int i = 0; i < request->iov_count && sum <= request->bytes; i++)
		sum += request->iov[i].iov_len;
	return sum == request->bytes ? 0 : -EINVAL;
}

static bool all_zero(const struct block_request *request)
{
	for (int i = 0; i < request->iov_count; i++) {
		const char *bytes = request->iov[i].iov_base;
		size_t length = request->iov[i].iov_len;

		/* Equal to itself moved by one, and the first is zero. */
		if (length && (bytes[0] || memcmp(bytes, bytes + 1, length - 1)))
			return false;
	}
	return true;
}

/* Decides what has to be done, once the request is known to be within its limits. */
static void plan(struct op *op, const struct block_backend *blk)
{
	const struct block_request *request = op->request;
	bool writes = request->operation == BLOCK_WRITE || request->operation == BLOCK_WRITE_ZEROES;

	op->stage = STAGE_DATA;
	op->may_unmap = request->flags & BLOCK_FLAG_UNMAP && blk->discard == DISCARD_UNMAP;
	op->overwrite = request->flags & BLOCK_FLAG_OVERWRITE;
	if (request->operation == BLOCK_WRITE && blk->detect_zeroes != DETECT_OFF &&
		request->bytes && all_zero(request)) {
		op->operation = BLOCK_WRITE_ZEROES;
		op->may_unmap = blk->detect_zeroes == DETECT_UNMAP;
	}
	op->sync_after = writes && (!blk->write_cache || request->flags & BLOCK_FLAG_FUA) &&
			 !blk->no_flush && !blk->overlay;
	if (request->operation == BLOCK_FLUSH)
		op->stage = !blk->file || blk->no_flush || blk->overlay || blk->readonly
				    ? STAGE_DONE
				    : STAGE_SYNC;
	else if (!request->bytes)
		op->stage = STAGE_DONE;
	else if (request->operation == BLOCK_DISCARD &&
		 (blk->discard == DISCARD_IGNORE || blk->overlay))
		op->stage = STAGE_DONE;
	else if (blk->null_driver)
		op->stage = STAGE_DONE;
	if (blk->null_driver && blk->null_read_zeroes && request->operation == BLOCK_READ)
		iov_copy_in(request->iov, request->iov_count, 0, NULL, request->bytes);
}

/* With op->request and op->io.lane set. */
static void begin(struct op *op)
{
	struct block_request *request = op->request;
	struct lane *lane = op->io.lane;
	struct block_backend *blk = lane->blk;

	op->operation = request->operation;
	op->offset = request->offset;
	op->stage = STAGE_DONE;
	list_init(&op->io.link);
	lane->in_flight++;
	if (fault_block_submit(blk->id, fault_ops[request->operation], &op->offset,
		    request->bytes) == FAULT_DROP) {
		lane_post_finished(lane, &op->io);
		return;
	}
	op->result = check(blk, request);
	op->begun = !op->result;
	if (op->begun)
		plan(op, blk);
	if (!step(op))
		lane_post_finished(lane, &op->io);
}

void block_submit(struct block_backend *blk, struct block_request *request)
{
	struct op *op = op_of(request);
	struct lane *lane = lane_get(blk, request->loop);

	memset(op, 0, offsetof(struct op, task));
	op->request = request;
	op->io.lane = lane;
	if (!lane) {
		op->result = -ENOMEM;
		op->task = (struct loop_task){.run = complete_without_lane, .opaque = op};
		loop_post(request->loop, &op->task);
		return;
	}
	begin(op);
}

void block_io_again(struct io *io)
{
	struct op *op = container_of(io, struct op, io);
	struct block_request *request = op->request;
	struct lane *lane = io->lane;

	memset(op, 0, offsetof(struct op, task));
	op->request = request;
	op->io.lane = lane;
	begin(op);
}

static void drain(struct block_backend *blk, struct loop *loop, bool give_up)
{
	for (struct lane *lane = atomic_load(&blk->lanes); lane; lane = lane->next)
		if (lane->loop == loop)
			lane_drain(lane, give_up);
}

void block_drain(struct block_backend *blk, struct loop *loop)
{
	drain(blk, loop, true);
}

void block_settle(struct block_backend *blk, struct loop *loop)
{
	drain(blk, loop, false);
}

/* What front-ends ask */

uint64_t block_size(const struct block_backend *blk)
{
	return atomic_load_explicit(&blk->size, memory_order_acquire);
}

bool block_is_readonly(const struct block_backend *blk)
{
	return blk->readonly;
}

bool block_write_cache(const struct block_backend *blk)
{
	return blk->write_cache;
}

bool block_can_discard(const struct block_backend *blk)
{
	return blk->discard == DISCARD_UNMAP && !blk->readonly;
}

const char *block_id(const struct block_backend *blk)
{
	return blk->id;
}

bool block_is_node(const struct block_backend *blk)
{
	return blk->is_node;
}

const char *block_serial(const struct block_backend *blk)
{
	return blk->serial;
}

int block_attach(struct block_backend *blk, struct block_user *user, struct error *err)
{
	if (!blk->file && !blk->null_driver)
		return error_set(err, ENOMEDIUM, "Device needs media, but drive is empty");
	if (blk->user || blk->parents)
		return error_set(
			err, EBUSY, "Drive '%s' is already in use by another device", blk->id);
	blk->user = user;
	return 0;
}

void block_detach(struct block_backend *blk, struct block_user *user)
{
	if (blk->user == user)
		blk->user = NULL;
}

int block_resize(struct block_backend *blk, uint64_t size, struct error *err)
{
	int rc;

	if (!blk->file)
		return error_set(err, ENOTSUP, "Image format driver does not support resize");
	if (blk->readonly)
		return error_set(err, EACCES, "Image is read-only");
	if (size > INT64_MAX - BLOCK_SECTOR)
		return error_set(err, EINVAL, "Parameter 'size' expects a >0 size");
	if (size == block_size(blk))
		return 0;
	rc = blk->overlay ? overlay_resize(blk->overlay, size, err)
			  : file_resize(blk->file, size, err);
	if (rc)
		return rc;
	if (!blk->file->is_device || blk->overlay)
		atomic_store(&blk->size, (size + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1ull));
	if (blk->user && blk->user->resized)
		blk->user->resized(blk->user->opaque);
	return 0;
}

/* All backends */

void block_register(struct block_backend *blk)
{
	list_add_tail(&backends, &blk->link);
}

struct block_backend *block_next(const struct block_backend *blk)
{
	const struct list *link = blk ? blk->link.next : backends.next;

	return link == &backends ? NULL : container_of(link, struct block_backend, link);
}

struct block_backend *block_find(const char *id)
{
	struct list *pos;

	list_for_each (pos, &backends) {
		struct block_backend *blk = container_of(pos, struct block_backend, link);

		if (!strcmp(blk->id, id))
			return blk;
	}
	return NULL;
}

static void destroy_lane(void *opaque)
{
	lane_destroy(opaque);
}

void block_close(struct block_backend *blk)
{
	struct lane *lane = atomic_load(&blk->lanes), *next;

	for (; lane; lane = next) {
		next = lane->next;
		iothread_call(lane->loop, destroy_lane, lane);
	}
	list_remove(&blk->link);
	overlay_free(blk->overlay);
	if (blk->child)
		blk->child->parents--;
	else
		file_close(blk->file);
	pthread_mutex_destroy(&blk->lanes_lock);
	free(blk->id);
	free(blk->serial);
	free(blk);
}

void block_close_all(void)
{
	/* From the last opened on: a node goes before the node it refers to. */
	while (!list_empty(&backends))
		block_close(container_of(backends.prev, struct block_backend, link));
	block_forget_observers();
}
