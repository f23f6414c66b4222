/* SPDX-License-Identifier: MIT */
/*
 * The thread pool: runs the blocking form of an operation.  It serves aio=threads, and under the
 * other engines what they do not do (discard, zeroes, unaligned direct I/O).  Threads start when
 * work waits and none is idle, and stay until the last lane goes.
 */
#include <signal.h>

#include "block/internal.h"

#define THREADS_MAX 32
#define STACK_BYTES (256 << 10)

static struct {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list queue;
	unsigned queued, idle, count;
	unsigned users; /* under users_lock, which is held while the threads end */
	pthread_t threads[THREADS_MAX];
	bool ending;
} pool = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.queue = {&pool.queue, &pool.queue},
};

static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER;

static void *worker(void *opaque)
{
	pthread_setname_np(pthread_self(), "block-worker");
	pthread_mutex_lock(&pool.lock);
	for (;;) {
		struct io *io;

		while (list_empty(&pool.queue) && !pool.ending) {
			pool.idle++;
			pthread_cond_wait(&pool.work, &pool.lock);
			pool.idle--;
		}
		if (list_empty(&pool.queue))
			break;
		io = container_of(pool.queue.next, struct io, link);
		list_remove(&io->link);
		pool.queued--;
		pthread_mutex_unlock(&pool.lock);
		file_run(io);
		lane_pool_finished(io->lane, io);
		pthread_mutex_lock(&pool.lock);
	}
	pthread_mutex_unlock(&pool.lock);
	return NULL;
}

/* Under pool.lock.  Signals are the main thread's: a worker starts with all of them blocked. */
static bool start_worker(void)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	rc = pthread_create(&pool.threads[pool.count], &attr, worker, NULL);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!rc)
		pool.count++;
	return !rc;
}

void pool_submit(struct io *io)
{
	bool nobody;

	pthread_mutex_lock(&pool.lock);
	list_add_tail(&pool.queue, &io->link);
	pool.queued++;
	if (pool.queued > pool.idle && pool.count < THREADS_MAX)
		start_worker();
	nobody = pool.count == 0;
	if (nobody) {
		list_remove(&io->link);
		pool.queued--;
	}
	pthread_cond_signal(&pool.work);
	pthread_mutex_unlock(&pool.lock);
	if (nobody) { /* not even one thread: slow is better than never */
		file_run(io);
		lane_pool_finished(io->lane, io);
	}
}

void pool_get(void)
{
	pthread_mutex_lock(&users_lock);
	pool.users++;
	pthread_mutex_unlock(&users_lock);
}

void pool_put(void)
{
	pthread_mutex_lock(&users_lock);
	if (--pool.users == 0) {
		pthread_mutex_lock(&pool.lock);
		pool.ending = true;
		pthread_cond_broadcast(&pool.work);
		pthread_mutex_unlock(&pool.lock);
		for (unsigned i = 0; i < pool.count; i++)
			pthread_join(pool.threads[i], NULL);
		pool.count = 0;
		pool.ending = false;
	}
	pthread_mutex_unlock(&users_lock);
}
