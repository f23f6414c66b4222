/* SPDX-License-Identifier: MIT */
/*
 * The Linux AIO engine (aio=native): io_submit(2) of direct reads and writes, completions by an
 * eventfd.  Without O_DIRECT io_submit would block, so it is not chosen then.  Flushes go to the
 * thread pool: not every file system does IOCB_CMD_FDSYNC.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "block/internal.h"

struct native {
	io_context_t context;
	unsigned count;
	struct iocb *batch[LANE_DEPTH];
};

static int native_start(struct lane *lane)
{
	struct native *native = calloc(1, sizeof(*native));
	int rc;

	if (!native)
		return -ENOMEM;
	lane->engine_watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = lane->engine_watch.fd < 0 ? -errno : io_setup(LANE_DEPTH, &native->context);
	if (rc < 0) {
		if (lane->engine_watch.fd >= 0)
			close(lane->engine_watch.fd);
		free(native);
		return rc;
	}
	lane->engine_state = native;
	return 0;
}

static void native_stop(struct lane *lane)
{
	struct native *native = lane->engine_state;

	io_destroy(native->context);
	close(lane->engine_watch.fd);
	free(native);
}

static bool native_takes(const struct io *io)
{
	return (io->kind == IO_READ || io->kind == IO_WRITE) && io->file->direct;
}

static void native_add(struct lane *lane, struct io *io)
{
	struct native *native = lane->engine_state;

	if (io->kind == IO_READ)
		io_prep_preadv(&io->iocb, io->file->fd, io->iov, io->iov_count, io->offset);
	else
		io_prep_pwritev(&io->iocb, io->file->fd, io->iov, io->iov_count, io->offset);
	io_set_eventfd(&io->iocb, lane->engine_watch.fd);
	io->iocb.data = io;
	native->batch[native->count++] = &io->iocb;
}

static bool native_flush(struct lane *lane)
{
	struct native *native = lane->engine_state;
	unsigned sent = 0;

	while (sent < native->count) {
		int rc = io_submit(native->context, native->count - sent, native->batch + sent);

		if (rc > 0) {
			sent += rc;
		} else if (rc == -EAGAIN) { /* the kernel has no place: after some completed */
			break;
		} else if (rc != -EINTR) { /* this one is refused; those behind it may not be */
			struct io *io = native->batch[sent++]->data;

			io->result = rc ? rc : -EIO;
			lane_io_finished(lane, io);
		}
	}
	for (unsigned i = sent; i < native->count; i++)
		native->batch[i - sent] = native->batch[i];
	native->count -= sent;
	return native->count == 0;
}

static void native_reap(struct lane *lane)
{
	struct native *native = lane->engine_state;
	struct io_event events[32];
	struct timespec none = {0};
	uint64_t signals;
	int count;

	if (read(lane->engine_watch.fd, &signals, sizeof(signals)) < 0 && errno != EAGAIN)
		return;
	do {
		count = io_getevents(native->context, 0, 32, events, &none);
		for (int i = 0; i < count; i++) {
			struct io *io = events[i].data;

			io->result = (int64_t)events[i].res;
			lane_io_finished(lane, io);
		}
	} while (count == 32 || count == -EINTR);
}

const struct engine linux_aio_engine = {
	.name = "native",
	.start = native_start,
	.stop = native_stop,
	.takes = native_takes,
	.add = native_add,
	.flush = native_flush,
	.reap = native_reap,
};
