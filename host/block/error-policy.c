/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a request that the host could not carry out (werror=, rerror=): it is reported to
 * the guest, taken for done, or held until the VM goes on (block.h).  Requests are held on their
 * lane, by its loop; who wants to hear of failures does so on the main loop.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/internal.h"

/* A failure on its way to the main loop. */
struct report {
	struct report *next;
	struct block_failure failure;
};

static pthread_mutex_t reports_lock = PTHREAD_MUTEX_INITIALIZER;
static struct report *first_report, **report_end = &first_report;
static struct list observers = {&observers, &observers};
static struct loop *main_loop;

/* All that there are, oldest first. */
static struct report *take_reports(void)
{
	struct report *reports;

	pthread_mutex_lock(&reports_lock);
	reports = first_report;
	first_report = NULL;
	report_end = &first_report;
	pthread_mutex_unlock(&reports_lock);
	return reports;
}

static void tell_observers(void *opaque)
{
	struct report *report = take_reports(), *next;
	struct list *pos;

	for (; report; report = next) {
		next = report->next;
		list_for_each (pos, &observers) {
			struct block_observer *o = container_of(pos, struct block_observer, link);

			o->failed(o->opaque, &report->failure);
		}
		free(report);
	}
}

static struct loop_task report_task = {.run = tell_observers};

/* Without memory nobody hears of it; a request that is held is so all the same. */
static void tell(const struct block_failure *failure)
{
	struct report *report = main_loop ? malloc(sizeof(*report)) : NULL;

	if (!report)
		return;
	*report = (struct report){.failure = *failure};
	pthread_mutex_lock(&reports_lock);
	*report_end = report;
	report_end = &report->next;
	pthread_mutex_unlock(&reports_lock);
	loop_post(main_loop, &report_task);
}

void block_observe(struct loop *loop, struct block_observer *observer)
{
	main_loop = loop;
	/* The newest hears first: the monitor's event goes out before the VM stops. */
	list_add_tail(observers.next, &observer->link);
}

void block_forget_observers(void)
{
	struct report *report = take_reports(), *next;

	for (; report; report = next) {
		next = report->next;
		free(report);
	}
	if (main_loop)
		loop_cancel(main_loop, &report_task);
	list_init(&observers);
	main_loop = NULL;
}

void block_set_on_error(
	struct block_backend *blk, enum block_on_error write, enum block_on_error read)
{
	if (write != ON_ERROR_AUTO)
		blk->on_write_error = write;
	if (read != ON_ERROR_AUTO)
		blk->on_read_error = read;
}

enum block_on_error policy_apply(struct lane *lane, enum block_operation operation, int error)
{
	struct block_backend *blk = lane->blk;
	enum block_on_error action =
		operation == BLOCK_READ ? blk->on_read_error : blk->on_write_error;
	struct block_failure failure = {.blk = blk, .operation = operation, .error = -error};

	if (action == ON_ERROR_ENOSPC)
		action = error == -ENOSPC ? ON_ERROR_STOP : ON_ERROR_REPORT;
	/* Whoever drains takes the memory back: there will be no second try. */
	if (action == ON_ERROR_STOP && lane->draining)
		return ON_ERROR_REPORT;
	failure.action = action;
	tell(&failure);
	return action;
}

static void retry_lane(void *opaque)
{
	struct lane *lane = opaque;
	struct list held;

	list_init(&held);
	while (!list_empty(&lane->held)) {
		struct list *link = lane->held.next;

		list_remove(link);
		list_add_tail(&held, link);
	}
	while (!list_empty(&held)) {
		struct io *io = container_of(held.next, struct io, link);

		list_remove(&io->link);
		block_io_again(io);
	}
}

void policy_lane_init(struct lane *lane)
{
	list_init(&lane->held);
	lane->retry_task = (struct loop_task){.run = retry_lane, .opaque = lane};
}

bool block_holds_any(void)
{
	for (struct block_backend *blk = block_next(NULL); blk; blk = block_next(blk))
		for (struct lane *lane = atomic_load(&blk->lanes); lane; lane = lane->next)
			if (!list_empty(&lane->held))
				return true;
	return false;
}

void block_retry_all(void)
{
	for (struct block_backend *blk = block_next(NULL); blk; blk = block_next(blk))
		for (struct lane *lane = atomic_load(&blk->lanes); lane; lane = lane->next)
			loop_post(lane->loop, &lane->retry_task);
}
