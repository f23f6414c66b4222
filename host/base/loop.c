/* SPDX-License-Identifier: MIT */
/*
 * epoll, an eventfd for wake-ups, a sorted list of timers, a queue of posted
 * tasks (loop.h).  Few timers exist (a handful a VM), so a sorted list beats a heap in lines.
 */
#include "base/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 32

struct loop {
	char name[16];
	int epoll_fd, wake_fd;
	pthread_mutex_t *lock;
	pthread_t thread;
	bool thread_started;
	atomic_bool stop;
	struct list timers;  /* by deadline */
	struct list watches; /* those under watch, so that a turn can tell who left */
	pthread_mutex_t tasks_lock;
	struct loop_task *tasks, *tasks_tail;
	struct epoll_event ready[EVENTS_PER_TURN]; /* of this turn; data.ptr NULL: left meanwhile */
	int ready_count;
	unsigned in_tasks, rounds;
};

static _Thread_local struct loop *current;

struct loop *loop_create(const char *name, struct error *err)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop) {
		error_set(err, ENOMEM, "event loop %s: out of memory", name);
		return NULL;
	}
	snprintf(loop->name, sizeof(loop->name), "%s", name);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	list_init(&loop->timers);
	list_init(&loop->watches);
	pthread_mutex_init(&loop->tasks_lock, NULL);
	event.data.ptr = loop;
	if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0) {
		error_set_errno(err, errno, "event loop %s", name);
		loop_destroy(loop);
		return NULL;
	}
	return loop;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_mutex_destroy(&loop->tasks_lock);
	free(loop);
}

void loop_set_lock(struct loop *loop, pthread_mutex_t *lock)
{
	loop->lock = lock;
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	/* A full counter already wakes; nothing else can fail here. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0)
		return;
}

int64_t loop_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

bool loop_is_current(const struct loop *loop)
{
	return current == loop;
}

int loop_watch(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (watch->watched) {
		loop_watch_change(loop, watch, events);
		return 0;
	}
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0)
		return -errno;
	watch->events = events;
	watch->watched = true;
	list_add_tail(&loop->watches, &watch->link);
	return 0;
}

void loop_watch_change(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (!watch->watched || watch->events == events)
		return;
	watch->events = events;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch)
{
	if (!watch->watched)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->watched = false;
	list_remove(&watch->link);
	/* Events of this turn that were not delivered yet must not reach a freed owner. */
	for (int i = 0; i < loop->ready_count; i++)
		if (loop->ready[i].data.ptr == watch)
			loop->ready[i].data.ptr = NULL;
}

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, int64_t deadline_ns)
{
	struct list *pos;

	loop_timer_cancel(loop, timer);
	timer->deadline = deadline_ns;
	timer->armed = true;
	list_for_each (pos, &loop->timers)
		if (container_of(pos, struct loop_timer, link)->deadline > deadline_ns)
			break;
	list_add_tail(pos, &timer->link); /* before pos */
	/* From a vCPU thread, under the lock: the loop waits with the old deadline. */
	if (loop->timers.next == &timer->link && !loop_is_current(loop))
		wake(loop);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	if (!timer->armed)
		return;
	timer->armed = false;
	list_remove(&timer->link);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
	pthread_mutex_lock(&loop->tasks_lock);
	if (!task->pending) {
		task->pending = true;
		task->next = NULL;
		if (loop->tasks)
			loop->tasks_tail->next = task;
		else
			loop->tasks = task;
		loop->tasks_tail = task;
		/* The loop's own thread looks for tasks before it waits. */
		if (!loop_is_current(loop))
			wake(loop);
	}
	pthread_mutex_unlock(&loop->tasks_lock);
}

void loop_cancel(struct loop *loop, struct loop_task *task)
{
	struct loop_task **link, *last = NULL;

	pthread_mutex_lock(&loop->tasks_lock);
	for (link = &loop->tasks; *link; last = *link, link = &(*link)->next) {
		if (*link != task)
			continue;
		*link = task->next;
		if (loop->tasks_tail == task)
			loop->tasks_tail = last;
		task->pending = false;
		break;
	}
	pthread_mutex_unlock(&loop->tasks_lock);
}

/* Takes one at a time, so that a task may free itself or be posted again while it runs. */
static struct loop_task *next_task(struct loop *loop)
{
	struct loop_task *task;

	pthread_mutex_lock(&loop->tasks_lock);
	task = loop->tasks;
	if (task) {
		loop->tasks = task->next;
		task->pending = false;
	}
	pthread_mutex_unlock(&loop->tasks_lock);
	return task;
}

bool loop_has_tasks(struct loop *loop)
{
	bool has;

	pthread_mutex_lock(&loop->tasks_lock);
	has = loop->tasks;
	pthread_mutex_unlock(&loop->tasks_lock);
	return has;
}

struct call {
	struct loop_task task;
	void (*run)(void *opaque);
	void *opaque;
	pthread_mutex_t lock;
	pthread_cond_t done_cond;
	bool done;
};

static void call_run(void *opaque)
{
	struct call *call = opaque;

	call->run(call->opaque);
	pthread_mutex_lock(&call->lock);
	call->done = true;
	pthread_cond_signal(&call->done_cond);
	pthread_mutex_unlock(&call->lock);
}

void loop_call(struct loop *loop, void (*run)(void *opaque), void *opaque)
{
	struct call call = {
		.task = {.run = call_run, .opaque = &call}, .run = run, .opaque = opaque};

	if (loop_is_current(loop)) {
		run(opaque);
		return;
	}
	pthread_mutex_init(&call.lock, NULL);
	pthread_cond_init(&call.done_cond, NULL);
	loop_post(loop, &call.task);
	pthread_mutex_lock(&call.lock);
	while (!call.done)
		pthread_cond_wait(&call.done_cond, &call.lock);
	pthread_mutex_unlock(&call.lock);
	pthread_cond_destroy(&call.done_cond);
	pthread_mutex_destroy(&call.lock);
}

static void wait_for_events(struct loop *loop, bool block)
{
	struct timespec span = {0};
	bool forever = block && list_empty(&loop->timers);
	int count;

	if (block && !forever) {
		struct loop_timer *first = container_of(loop->timers.next, struct loop_timer, link);
		int64_t left = first->deadline - loop_now();

		if (left > 0) {
			span.tv_sec = left / 1000000000;
			span.tv_nsec = left % 1000000000;
		}
	}
	if (loop->lock)
		pthread_mutex_unlock(loop->lock);
	count = epoll_pwait2(
		loop->epoll_fd, loop->ready, EVENTS_PER_TURN, forever ? NULL : &span, NULL);
	if (loop->lock)
		pthread_mutex_lock(loop->lock);
	loop->ready_count = count > 0 ? count : 0;
}

/* While we waited without the lock, a vCPU thread may have unwatched one of the ready ones. */
static bool is_watched(struct loop *loop, const struct loop_watch *watch)
{
	struct list *pos;

	list_for_each (pos, &loop->watches)
		if (pos == &watch->link)
			return true;
	return false;
}

static void deliver(struct loop *loop)
{
	uint64_t count;

	for (int i = 0; i < loop->ready_count; i++) {
		struct loop_watch *watch = loop->ready[i].data.ptr;

		if (loop->ready[i].data.ptr == loop) {
			if (read(loop->wake_fd, &count, sizeof(count)) < 0)
				continue;
		} else if (watch && is_watched(loop, watch)) {
			watch->ready(watch->opaque, loop->ready[i].events);
		}
	}
	loop->ready_count = 0;
}

static void run_timers(struct loop *loop)
{
	int64_t now = loop_now();

	while (!list_empty(&loop->timers)) {
		struct loop_timer *timer = container_of(loop->timers.next, struct loop_timer, link);

		if (timer->deadline > now)
			break;
		loop_timer_cancel(loop, timer);
		timer->expired(timer->opaque);
	}
}

static unsigned tasks_waiting(struct loop *loop)
{
	unsigned count = 0;

	pthread_mutex_lock(&loop->tasks_lock);
	for (struct loop_task *task = loop->tasks; task; task = task->next)
		count++;
	pthread_mutex_unlock(&loop->tasks_lock);
	return count;
}

/* Those that wait now: one that posts itself again must not keep events and timers waiting. */
void loop_run_tasks(struct loop *loop)
{
	unsigned count = tasks_waiting(loop);
	struct loop_task *task;

	loop->in_tasks++;
	loop->rounds += count != 0;
	while (count-- && (task = next_task(loop)))
		task->run(task->opaque);
	loop->in_tasks--;
}

void loop_forget_tasks(struct loop *loop)
{
	while (next_task(loop))
		;
}

bool loop_in_tasks(const struct loop *loop)
{
	return loop->in_tasks;
}

unsigned loop_rounds(const struct loop *loop)
{
	return loop->rounds;
}

void loop_run(struct loop *loop)
{
	struct loop *outer = current;

	current = loop;
	if (loop->lock)
		pthread_mutex_lock(loop->lock);
	while (!atomic_exchange(&loop->stop, false)) {
		wait_for_events(loop, !loop_has_tasks(loop));
		deliver(loop);
		run_timers(loop);
		loop_run_tasks(loop);
	}
	if (loop->lock)
		pthread_mutex_unlock(loop->lock);
	current = outer;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop, true);
	wake(loop);
}

static void *thread_main(void *opaque)
{
	struct loop *loop = opaque;

	pthread_setname_np(pthread_self(), loop->name);
	loop_run(loop);
	return NULL;
}

int loop_thread_start(struct loop *loop, struct error *err)
{
	int rc = pthread_create(&loop->thread, NULL, thread_main, loop);

	if (rc)
		return error_set_errno(err, rc, "cannot start thread %s", loop->name);
	loop->thread_started = true;
	return 0;
}

void loop_thread_join(struct loop *loop)
{
	if (!loop->thread_started)
		return;
	loop_stop(loop);
	pthread_join(loop->thread, NULL);
	loop->thread_started = false;
}
