/* SPDX-License-Identifier: MIT */
/*
 * The event loop: file descriptors (epoll), timers on the host's monotonic clock, and tasks posted
 * from any thread.  The main loop runs its callbacks under the machine lock (loop_set_lock); an
 * iothread is a loop without a lock in a thread of its own.
 *
 * Unless it says "any thread", a function is called on the loop's own thread or, for a loop that
 * has a lock, with that lock held, or before the loop runs.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"

struct loop;

/* A file descriptor under watch.  The owner embeds it, keeps it alive until loop_unwatch(), and
 * keeps the descriptor open until then. */
struct loop_watch {
	int fd;
	void (*ready)(void *opaque, uint32_t events); /* EPOLL* bits */
	void *opaque;
	/* private: */
	struct list link;
	uint32_t events;
	bool watched;
};

/* A one-shot timer; re-arm it in its callback for a period. */
struct loop_timer {
	void (*expired)(void *opaque);
	void *opaque;
	/* private: */
	struct list link;
	int64_t deadline;
	bool armed;
};

/* Work to run on the loop.  Posting one that is pending is harmless: it runs once. */
struct loop_task {
	void (*run)(void *opaque);
	void *opaque;
	/* private: */
	struct loop_task *next;
	bool pending;
};

/* Never returns NULL without having set `err`. */
struct loop *loop_create(const char *name, struct error *err);
void loop_destroy(struct loop *loop); /* the loop no longer runs, nothing is watched */

/* `lock` is held around every callback from then on, released while the loop waits. */
void loop_set_lock(struct loop *loop, pthread_mutex_t *lock);

void loop_run(struct loop *loop);	       /* until loop_stop(); a loop may be run again */
void loop_stop(struct loop *loop);	       /* any thread */
bool loop_is_current(const struct loop *loop); /* does the calling thread run this loop? */

/* A thread that runs the loop until loop_thread_join(), which stops it first.  0 or -errno. */
int loop_thread_start(struct loop *loop, struct error *err);
void loop_thread_join(struct loop *loop);

/* events: EPOLLIN and so on, level-triggered.  0 or -errno (EPERM: a regular file). */
int loop_watch(struct loop *loop, struct loop_watch *watch, uint32_t events);
void loop_watch_change(struct loop *loop, struct loop_watch *watch, uint32_t events);
void loop_unwatch(struct loop *loop, struct loop_watch *watch); /* not watched: nothing happens */

int64_t loop_now(void); /* CLOCK_MONOTONIC, ns; any thread */
void loop_timer_arm(struct loop *loop, struct loop_timer *timer, int64_t deadline_ns);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

void loop_post(struct loop *loop, struct loop_task *task);   /* any thread, no lock needed */
bool loop_has_tasks(struct loop *loop);			     /* any thread */
void loop_cancel(struct loop *loop, struct loop_task *task); /* not pending: nothing happens */

/* For who must know at what place between tasks it is: runs those that wait now, from within one;
 * is one at work; how often some were run. */
void loop_run_tasks(struct loop *loop);
void loop_forget_tasks(struct loop *loop); /* those that wait now do not run */
bool loop_in_tasks(const struct loop *loop);
unsigned loop_rounds(const struct loop *loop);

/* Posts and waits until it ran; runs at once on the loop's own thread.  Not with a lock held that
 * the loop's callbacks take.  Any other thread. */
void loop_call(struct loop *loop, void (*run)(void *opaque), void *opaque);

#endif
