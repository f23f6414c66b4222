/* SPDX-License-Identifier: MIT */
/* -object iothread,id=: an event loop in a thread of its own, to which devices pin queues. */
#ifndef BLOCK_IOTHREAD_H
#define BLOCK_IOTHREAD_H

#include "base/error.h"
#include "base/keyval.h"
#include "base/loop.h"

struct iothread {
	struct list link;
	char *id;
	struct loop *loop;
};

/* Takes "id" and the poll-* keys that QEMU knows.  Starts the thread.  Main thread. */
int iothread_create(struct keyvals *kv, struct error *err);
struct iothread *iothread_find(const char *id); /* NULL: none */
void iothread_for_each(void (*visit)(void *opaque, struct iothread *thread), void *opaque);
void iothread_destroy_all(void); /* nothing may use their loops any more */

/* From now on the loop of every iothread, also of those to come, is this one: a machine of software
 * processors has one thread.  Before any queue is pinned.  Main thread. */
void iothread_map_to(struct loop *loop);

/* Runs it on the loop's thread and waits, if the loop is an iothread's; else at once, right here
 * (the main loop's work, under the machine lock).  Main thread. */
void iothread_call(struct loop *loop, void (*run)(void *opaque), void *opaque);

#endif
