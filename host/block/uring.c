/* SPDX-License-Identifier: MIT */
/*
 * The io_uring engine: one ring a lane.  Operations are put into the submission queue and handed
 * over together; the ring's descriptor is readable while completions wait, so it stands in the loop
 * by itself and needs no eventfd.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "block/internal.h"

static int uring_start(struct lane *lane)
{
	struct io_uring *ring = calloc(1, sizeof(*ring));
	int rc;

	if (!ring)
		return -ENOMEM;
	/* No cooperative task work: a vCPU thread may submit, and computes for long before it
	 * enters the kernel again. */
	rc = io_uring_queue_init(LANE_DEPTH, ring, 0);
	if (rc < 0) {
		free(ring);
		return rc;
	}
	io_uring_ring_dontfork(ring);
	lane->engine_state = ring;
	lane->engine_watch.fd = ring->ring_fd;
	return 0;
}

static void uring_stop(struct lane *lane)
{
	io_uring_queue_exit(lane->engine_state);
	free(lane->engine_state);
}

static bool uring_takes(const struct io *io)
{
	return io->kind == IO_READ || io->kind == IO_WRITE || io->kind == IO_SYNC;
}

/* One piece of memory needs no list of pieces in the kernel. */
static void add_transfer(struct io_uring_sqe *sqe, const struct io *io, int plain, int vectored)
{
	bool one = io->iov_count == 1 && io->iov[0].iov_len <= INT32_MAX;

	if (one)
		io_uring_prep_rw(plain, sqe, io->file->fd, io->iov[0].iov_base, io->iov[0].iov_len,
			io->offset);
	else
		io_uring_prep_rw(vectored, sqe, io->file->fd, io->iov, io->iov_count, io->offset);
}

static void uring_add(struct lane *lane, struct io *io)
{
	/* Never NULL: the queue has a place for each of LANE_DEPTH operations. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(lane->engine_state);

	switch (io->kind) {
	case IO_READ: add_transfer(sqe, io, IORING_OP_READ, IORING_OP_READV); break;
	case IO_WRITE: add_transfer(sqe, io, IORING_OP_WRITE, IORING_OP_WRITEV); break;
	default: io_uring_prep_fsync(sqe, io->file->fd, IORING_FSYNC_DATASYNC); break;
	}
	io_uring_sqe_set_data(sqe, io);
}

static bool uring_flush(struct lane *lane)
{
	int rc;

	do
		rc = io_uring_submit(lane->engine_state);
	while (rc == -EINTR);
	return rc >= 0 && !io_uring_sq_ready(lane->engine_state);
}

static void uring_reap(struct lane *lane)
{
	struct io_uring *ring = lane->engine_state;
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(ring, &cqe) == 0) {
		struct io *io = io_uring_cqe_get_data(cqe);

		io->result = cqe->res;
		io_uring_cqe_seen(ring, cqe);
		lane_io_finished(lane, io);
	}
}

const struct engine uring_engine = {
	.name = "io_uring",
	.start = uring_start,
	.stop = uring_stop,
	.takes = uring_takes,
	.add = uring_add,
	.flush = uring_flush,
	.reap = uring_reap,
};
