/* SPDX-License-Identifier: MIT */
/*
 * Block backends: what lies behind a disk.  A front-end (IDE, virtio-blk) submits requests; a
 * format maps guest extents to host extents; the data moves through one engine (io_uring, Linux
 * AIO, or threads).  No guest address ever gets here: data is iovecs of host memory.
 *
 * Threads: a backend serves any number of loops.  block_submit() is called on the thread of
 * request->loop, or under the machine lock when that is the main loop; `done` is called on that
 * loop, never from within block_submit().  Opening, closing, resizing: main loop, lock held.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/keyval.h"
#include "base/list.h"
#include "base/loop.h"

#define BLOCK_SECTOR 512

enum block_operation {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,	    /* what was written and completed before is stable afterwards */
	BLOCK_DISCARD,	    /* contents undefined or zero afterwards */
	BLOCK_WRITE_ZEROES, /* reads as zeroes afterwards */
};

#define BLOCK_FLAG_FUA	 1 /* write: stable when it completes */
#define BLOCK_FLAG_UNMAP 2 /* write zeroes: may deallocate */
#define BLOCK_FLAG_OVERWRITE                                                                     \
	4 /* write zeroes: by writing them where the data lies, never by the file system's leave \
	   */

struct block_request {
	enum block_operation operation;
	unsigned flags;
	uint64_t offset;	 /* bytes, a multiple of 512 */
	uint64_t bytes;		 /* a multiple of 512; the sum of iov for read and write */
	const struct iovec *iov; /* kept alive by the caller until done */
	int iov_count;
	struct loop *loop;
	void (*done)(struct block_request *request, int result); /* 0 or -errno */
	void *opaque;
	uint64_t private[36]; /* block.c's */
};

struct block_backend; /* opaque: block.c */

/* A request that breaks a limit (beyond the end, unaligned, write to read-only) completes with
 * -EINVAL or -EPERM as any other: the front-end need not check, but usually must say why. */
void block_submit(struct block_backend *blk, struct block_request *request);

uint64_t block_size(const struct block_backend *blk); /* bytes, rounded up to 512 as QEMU does */
bool block_is_readonly(const struct block_backend *blk);
bool block_write_cache(const struct block_backend *blk);   /* cache= is a write-back mode */
bool block_can_discard(const struct block_backend *blk);   /* discard=unmap: worth announcing */
const char *block_id(const struct block_backend *blk);	   /* drive id or node name; never NULL */
bool block_is_node(const struct block_backend *blk);	   /* -blockdev's: the id is a node name */
const char *block_serial(const struct block_backend *blk); /* -drive serial=, or NULL */

/* One front-end a backend: 0, or -EBUSY (or -ENOMEDIUM) with QEMU's sentence.  `resized` is called
 * on the main loop after the size changed. */
struct block_user {
	void (*resized)(void *opaque);
	void *opaque;
};
int block_attach(struct block_backend *blk, struct block_user *user, struct error *err);
void block_detach(struct block_backend *blk, struct block_user *user);

/* Waits until no request of that loop is in flight (running that loop's completions meanwhile);
 * those that are held after an error complete with it.  On the loop's thread or, for the main
 * loop, under the lock. */
void block_drain(struct block_backend *blk, struct loop *loop);

/* The same for a VM that stops and may go on: what is held stays held. */
void block_settle(struct block_backend *blk, struct loop *loop);

/*
 * What becomes of a request that the host could not carry out.  Held requests (stop, or enospc when
 * the disk is full) wait for block_retry_all() or a drain; whoever observes stops the VM meanwhile.
 */
enum block_on_error {
	ON_ERROR_AUTO, /* as the backend was opened with */
	ON_ERROR_REPORT,
	ON_ERROR_IGNORE,
	ON_ERROR_ENOSPC,
	ON_ERROR_STOP,
};
#define BLOCK_ON_ERROR_NAMES "auto", "report", "ignore", "enospc", "stop", NULL

/* The front-end's own wish; before the first request. */
void block_set_on_error(
	struct block_backend *blk, enum block_on_error write, enum block_on_error read);

struct block_failure {
	const struct block_backend *blk;
	enum block_operation operation;
	enum block_on_error action; /* what was done: REPORT, IGNORE or STOP */
	int error;		    /* positive errno */
};

/* Is told of every failure, on the loop `main` with its lock held.  The last to come hears first.
 */
struct block_observer {
	void (*failed)(void *opaque, const struct block_failure *failure);
	void *opaque;
	struct list link;
};
void block_observe(struct loop *main, struct block_observer *observer);
void block_forget_observers(void);

/* Submits all held requests again, each on its loop.  Any thread. */
void block_retry_all(void);
bool block_holds_any(void); /* and is there something to be tried again */

/*
 * I/O in virtual time.  With a schedule an operation is done when it is due, by block_run_due() and
 * in its blocking form; all loops are then the main loop.  Set before the first request; it stays.
 */
struct block_schedule {
	int64_t (*now)(void *opaque);			/* ns */
	int64_t (*delay)(void *opaque, uint64_t bytes); /* what an operation takes, ns */
	void (*wake)(void *opaque, int64_t due);	/* calls block_run_due() at that time */
	/* Operation `number`, counted from 0, gave `result` where `usual` was hoped for: what is
	 * taken for its result.  NULL: that. */
	int64_t (*outcome)(void *opaque, uint64_t number, int64_t usual, int64_t result);
	void *opaque;
};
void block_set_schedule(const struct block_schedule *schedule);
void block_run_due(void);	 /* main loop, lock held */
uint64_t block_done_count(void); /* operations so far */

bool block_is_idle(void); /* no operation waits until it is due, none is held */

/*
 * Contents of the images that are written, to go back to in the same process: from the first time
 * on all that is overwritten is kept.  Nothing is in flight.
 */
struct block_memory;
struct block_memory *block_remember(void);	     /* free(); NULL: no memory */
int block_recall(const struct block_memory *memory); /* 0 or -errno; later ones are void then */

/* What an image holds, in a number; its size.  Backends without a file have 0 and their size.  0 or
 * -errno. */
int block_fingerprint(struct block_backend *blk, uint64_t *size, uint64_t *hash);
bool block_is_written(const struct block_backend *blk); /* its file can be, by the guest */
struct block_backend *block_walk(const struct block_backend *blk); /* after it; NULL: the first */

/*
 * Opening.  `kv` carries -drive's keys (file, format, if, index, bus, unit, media, cache, aio,
 * snapshot, readonly/read-only, id, serial, discard, detect-zeroes, werror, rerror, ...) or
 * -blockdev's (driver, node-name, filename, file.driver, cache.direct, read-only, ...).  What
 * belongs to the board (if, index, bus, unit, media) is left untaken; the rest is taken. A -drive
 * without id is named driveN: the board gives QEMU's names ("ide0-hd0") by setting id first.  NULL
 * with `err` set; nothing stays open then.
 */
struct block_backend *block_open_drive(struct keyvals *kv, bool snapshot_all, struct error *err);
struct block_backend *block_open_node(struct keyvals *kv, struct error *err);
void block_close(struct block_backend *blk);	  /* no user, nothing in flight */
struct block_backend *block_find(const char *id); /* by drive id or node name */
void block_close_all(void);			  /* before iothread_destroy_all() */

/* QMP block_resize: sets the size of the image (bytes), up or down.  0 or -errno. */
int block_resize(struct block_backend *blk, uint64_t size, struct error *err);

#endif
