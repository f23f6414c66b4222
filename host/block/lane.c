/* SPDX-License-Identifier: MIT */
/*
 * A lane: one backend as one loop sees it.  It has an engine of its own, so that nothing is shared
 * between loops on the way of a request.
 *
 * Batches: what is submitted on the loop's own thread is collected until the turn's callbacks ran
 * (a posted task comes after them), then handed over by one system call, and the completions that
 * are there already (page cache) are taken at once.  Another thread, a vCPU that holds the machine
 * lock, hands over what it has right away: its next request comes after an exit anyway.
 *
 * All of it runs on the loop's thread or under the loop's lock, but for lane_pool_finished().
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "block/internal.h"

static void start_io(struct lane *lane, struct io *io)
{
	lane->depth++;
	io->counted = true;
	if (io_is_scheduled()) {
		io_schedule(io);
	} else if (lane->engine && !io->by_pool && lane->engine->takes(io)) {
		list_add_tail(&lane->batch, &io->link);
	} else {
		pool_submit(io);
	}
}

static bool must_flush(const struct lane *lane)
{
	return lane->batched || !list_empty(&lane->batch);
}

static void start_backlog(struct lane *lane)
{
	while (lane->depth < LANE_DEPTH && !list_empty(&lane->backlog)) {
		struct io *io = container_of(lane->backlog.next, struct io, link);

		list_remove(&io->link);
		start_io(lane, io);
	}
	/* Whoever delivers has handed over its batch already. */
	if (must_flush(lane))
		loop_post(lane->loop, &lane->task);
}

/* Each callback of a request may submit, drain, or close what is not in flight. */
void lane_deliver(struct lane *lane)
{
	while (!list_empty(&lane->done)) {
		struct io *io = container_of(lane->done.next, struct io, link);

		list_remove(&io->link);
		if (io->counted) {
			io->counted = false;
			lane->depth--;
			start_backlog(lane);
		}
		block_io_done(io);
	}
}

static void flush(struct lane *lane)
{
	struct io *io;

	if (!must_flush(lane))
		return;
	while ((io = merge_next(lane)))
		lane->engine->add(lane, io);
	lane->batched = !lane->engine->flush(lane);
	if (must_flush(lane))
		loop_post(lane->loop, &lane->task);
}

static void take_pool_done(struct lane *lane)
{
	uint64_t count;

	pthread_mutex_lock(&lane->pool_lock);
	if (read(lane->pool_watch.fd, &count, sizeof(count)) == sizeof(count)) {
		while (!list_empty(&lane->pool_done)) {
			struct list *link = lane->pool_done.next;

			list_remove(link);
			list_add_tail(&lane->done, link);
		}
	}
	pthread_mutex_unlock(&lane->pool_lock);
}

static void lane_task(void *opaque)
{
	struct lane *lane = opaque;

	flush(lane);
	if (lane->engine)
		lane->engine->reap(lane);
	lane_deliver(lane);
}

static void engine_ready(void *opaque, uint32_t events)
{
	struct lane *lane = opaque;

	lane->engine->reap(lane);
	lane_deliver(lane);
}

static void pool_ready(void *opaque, uint32_t events)
{
	struct lane *lane = opaque;

	take_pool_done(lane);
	lane_deliver(lane);
}

/* Parts of a merged operation that have to be done singly are still counted in `depth`. */
void lane_io_finished(struct lane *lane, struct io *io)
{
	if (!io->is_merged) {
		list_add_tail(&lane->done, &io->link);
		return;
	}
	merge_undo(io, &lane->done, &lane->batch);
	if (must_flush(lane))
		loop_post(lane->loop, &lane->task);
}

void lane_pool_finished(struct lane *lane, struct io *io)
{
	uint64_t one = 1;

	pthread_mutex_lock(&lane->pool_lock);
	/* The descriptor is written under the lock: whoever takes the list may free the lane. */
	if (list_empty(&lane->pool_done) &&
		write(lane->pool_watch.fd, &one, sizeof(one)) != sizeof(one))
		log_error("block: cannot wake the loop: %s", strerror(errno));
	list_add_tail(&lane->pool_done, &io->link);
	pthread_mutex_unlock(&lane->pool_lock);
}

void lane_post_finished(struct lane *lane, struct io *io)
{
	if (io_is_scheduled()) {
		io->kind = IO_NONE;
		io_schedule(io);
		return;
	}
	lane_io_finished(lane, io);
	loop_post(lane->loop, &lane->task);
}

void lane_submit(struct lane *lane, struct io *io)
{
	io->lane = lane;
	if (lane->depth >= LANE_DEPTH) {
		list_add_tail(&lane->backlog, &io->link);
		return;
	}
	start_io(lane, io);
	if (!must_flush(lane))
		return;
	if (loop_is_current(lane->loop))
		loop_post(lane->loop, &lane->task);
	else
		flush(lane);
	/* A refusal at submission (Linux AIO) is delivered by the loop, not from in here. */
	if (!list_empty(&lane->done))
		loop_post(lane->loop, &lane->task);
}

/* False: there was none. */
static bool give_up_held(struct lane *lane)
{
	struct io *io;

	if (list_empty(&lane->held))
		return false;
	io = container_of(lane->held.next, struct io, link);
	list_remove(&io->link);
	block_io_give_up(io);
	return true;
}

void lane_drain(struct lane *lane, bool give_up)
{
	bool was = lane->draining;

	lane->draining = give_up;
	while ((give_up && give_up_held(lane)) || lane->in_flight) {
		if (io_run_first_of(lane))
			continue;
		struct pollfd fds[] = {
			{.fd = lane->pool_watch.fd, .events = POLLIN},
			{.fd = lane->engine ? lane->engine_watch.fd : -1, .events = POLLIN},
		};

		flush(lane);
		if (lane->engine)
			lane->engine->reap(lane);
		take_pool_done(lane);
		if (!list_empty(&lane->done))
			lane_deliver(lane);
		else if (!must_flush(lane) && lane->in_flight)
			poll(fds, 2, -1);
	}
	lane->draining = was;
}

/* The engines in the order they are tried for each aio=. */
static int start_engine(struct lane *lane, const struct engine *engine)
{
	int rc = engine->start(lane);

	if (rc)
		return rc;
	lane->engine = engine;
	lane->engine_watch.ready = engine_ready;
	lane->engine_watch.opaque = lane;
	rc = loop_watch(lane->loop, &lane->engine_watch, EPOLLIN);
	if (rc) {
		engine->stop(lane);
		lane->engine = NULL;
	}
	return rc;
}

static void choose_engine(struct lane *lane)
{
	struct block_backend *blk = lane->blk;
	bool native = blk->file && blk->file->direct;
	int rc = 0;

	if (!blk->file || blk->aio == AIO_THREADS)
		return;
	if (blk->aio != AIO_NATIVE)
		rc = start_engine(lane, &uring_engine);
	if ((rc || blk->aio == AIO_NATIVE) && native)
		rc = start_engine(lane, &linux_aio_engine);
	/* Silent unless the user asked for this engine. */
	if (rc && blk->aio != AIO_DEFAULT && !blk->aio_warned) {
		blk->aio_warned = true;
		log_error("drive '%s': the kernel refuses the engine asked for by aio= (%s); "
			  "threads are used",
			blk->id, strerror(-rc));
	}
}

static struct lane *lane_create(struct block_backend *blk, struct loop *loop)
{
	struct lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->blk = blk;
	lane->loop = loop;
	list_init(&lane->backlog);
	list_init(&lane->done);
	list_init(&lane->batch);
	list_init(&lane->merged_free);
	list_init(&lane->pool_done);
	lane->task.run = lane_task;
	lane->task.opaque = lane;
	policy_lane_init(lane);
	lane->pool_watch.ready = pool_ready;
	lane->pool_watch.opaque = lane;
	lane->pool_watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lane->pool_watch.fd < 0 || loop_watch(loop, &lane->pool_watch, EPOLLIN)) {
		if (lane->pool_watch.fd >= 0)
			close(lane->pool_watch.fd);
		free(lane);
		return NULL;
	}
	pthread_mutex_init(&lane->pool_lock, NULL);
	pool_get();
	choose_engine(lane);
	return lane;
}

struct lane *lane_get(struct block_backend *blk, struct loop *loop)
{
	struct lane *lane;

	/* Lanes are only ever added, at the head, so reading the list needs no lock. */
	for (lane = atomic_load(&blk->lanes); lane; lane = lane->next)
		if (lane->loop == loop)
			return lane;
	lane = lane_create(blk, loop);
	if (!lane)
		return NULL;
	pthread_mutex_lock(&blk->lanes_lock);
	lane->next = atomic_load(&blk->lanes);
	atomic_store(&blk->lanes, lane);
	pthread_mutex_unlock(&blk->lanes_lock);
	return lane;
}

void lane_destroy(struct lane *lane)
{
	lane_drain(lane, true);
	loop_cancel(lane->loop, &lane->task);
	loop_cancel(lane->loop, &lane->retry_task);
	loop_unwatch(lane->loop, &lane->pool_watch);
	close(lane->pool_watch.fd);
	if (lane->engine) {
		loop_unwatch(lane->loop, &lane->engine_watch);
		lane->engine->stop(lane);
	}
	merge_free(lane);
	pthread_mutex_destroy(&lane->pool_lock);
	pool_put();
	free(lane);
}
