/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share.  From top to bottom:
 *
 *	block.c	   requests are checked, walked extent by extent, flushed behind, completed
 *	open.c	   options become a backend
 *	overlay.c  snapshot=on: which sectors were written, and where they are
 *	error-policy.c	   what becomes of what the host could not do
 *	lane.c	   one backend on one loop: batches, completions, what is in flight
 *	merge.c	   neighbours in a batch become one operation
 *	uring.c, linux-aio.c, threads.c	   the engines that move an io
 *	schedule.c the one that does so in virtual time
 *	file.c	   the image file itself; every operation in a blocking form
 *	lock.c	   byte-range locks on it
 *
 * Nothing is cached here: a write that completed is in the host kernel's hands.
 */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include <libaio.h>
#include <pthread.h>
#include <stdatomic.h>

#include "block/block.h"

/* The image file (file.c). */

struct block_file {
	int fd;
	char *path;
	bool readonly, direct;
	bool is_device; /* a block device: its size cannot be set, discard goes by fallocate too */
	unsigned offset_align, memory_align; /* what O_DIRECT wants; 1 without it */
	pthread_mutex_t rmw_lock; /* read-modify-write of a block smaller than offset_align */
};

enum lock_mode { LOCK_AUTO, LOCK_ON, LOCK_OFF };

struct file_config {
	const char *path;
	bool readonly, auto_readonly, direct;
	bool want_device,
		want_regular; /* driver=host_device, driver=file; neither: what is there */
	enum lock_mode locking;
};

struct block_file *file_open(const struct file_config *config, struct error *err);
struct block_file *file_temporary(struct error *err); /* unlinked, sparse, empty */
void file_close(struct block_file *file);
int64_t file_size(const struct block_file *file); /* bytes or -errno */
int file_resize(struct block_file *file, uint64_t size, struct error *err);

/* The name of the format that the first bytes belong to, or NULL: nothing but raw. */
const char *file_probe_format(const struct block_file *file);

/* lock.c: permissions as QEMU numbers them. */
#define PERM_CONSISTENT_READ 1
#define PERM_WRITE	     2
#define PERM_WRITE_UNCHANGED 4
#define PERM_RESIZE	     8

/* Takes `perm`, keeps others from `unshared`.  0, or -EAGAIN with QEMU's sentence. */
int image_lock(int fd, const char *path, unsigned perm, unsigned unshared, enum lock_mode mode,
	struct error *err);
/* Before the file is closed: the kernel's own references to it (io_uring) may outlive the process
 * for a moment, and with them the locks. */
void image_unlock(int fd);

/* One operation on a host file. */

/* IO_NONE is done without an operation; IO_PUNCH reads as zeroes afterwards, IO_DISCARD as
 * anything. */
enum io_kind { IO_NONE, IO_READ, IO_WRITE, IO_SYNC, IO_PUNCH, IO_ZERO, IO_OVERWRITE, IO_DISCARD };

struct io {
	struct list
		link; /* pool queue, schedule, or one of the lane's; a merged operation's parts */
	struct lane *lane;
	struct block_file *file;
	enum io_kind kind;
	bool by_pool;	/* needs the blocking form: alignment, or an engine's -EAGAIN */
	bool counted;	/* it holds one of the lane's places */
	bool alone;	/* not to be merged (again) */
	bool is_merged; /* merge.c: stands for several */
	uint64_t offset, length;
	struct iovec *iov;
	int iov_count;
	int64_t result;	  /* bytes, or 0, or -errno */
	int64_t due;	  /* ns of virtual time (schedule.c) */
	struct iocb iocb; /* Linux AIO's */
};

/* The blocking form, on any thread: sets io->result. */
void file_run(struct io *io);

/* Can the kernel take this read or write as it is? */
bool file_io_aligned(const struct block_file *file, uint64_t offset, uint64_t length,
	const struct iovec *iov, int iov_count);

/* iovecs: copies between a byte range of them and a flat buffer; NULL source: zeroes. */
void iov_copy_in(const struct iovec *iov, int count, uint64_t skip, const void *from, size_t bytes);
void iov_copy_out(const struct iovec *iov, int count, uint64_t skip, void *to, size_t bytes);

/* A backend on one loop (lane.c). */

enum block_aio { AIO_DEFAULT, AIO_THREADS, AIO_NATIVE, AIO_URING };

struct engine {
	const char *name;
	int (*start)(
		struct lane *lane); /* sets engine_state, engine_watch.fd (or -1); 0 or -errno */
	void (*stop)(struct lane *lane);
	bool (*takes)(const struct io *io);
	void (*add)(struct lane *lane, struct io *io); /* into the batch */
	bool (*flush)(struct lane *lane); /* the batch to the kernel; false: some stay */
	void (*reap)(struct lane *lane);  /* what is done, by lane_io_finished() */
};

extern const struct engine uring_engine, linux_aio_engine;

#define LANE_DEPTH 128 /* operations with the kernel at once; more wait in the backlog */

struct lane {
	struct lane *next;
	struct block_backend *blk;
	struct loop *loop;
	const struct engine *engine; /* NULL: the thread pool only */
	void *engine_state;
	struct loop_watch engine_watch, pool_watch;
	struct loop_task task;
	struct list backlog, done; /* of io */
	unsigned depth;		   /* operations with the engine or the pool */
	struct list batch;	   /* of them, for the engine */
	bool batched;		   /* the engine has some that are not with the kernel yet */
	struct list merged_free;
	unsigned in_flight; /* requests; those that are held not among them */
	struct list held;   /* of io: requests that failed and wait for a second try */
	struct loop_task retry_task;
	bool draining;

	pthread_mutex_t pool_lock;
	struct list pool_done; /* under pool_lock */
};

struct lane *lane_get(struct block_backend *blk, struct loop *loop); /* NULL: no memory */
void lane_destroy(struct lane *lane);				     /* drains first */
void lane_submit(struct lane *lane, struct io *io);
void lane_post_finished(struct lane *lane, struct io *io); /* its result is known already */
void lane_io_finished(struct lane *lane, struct io *io);   /* from an engine */
/* give_up: what is held too, with its error; else it stays held. */
void lane_drain(struct lane *lane, bool give_up);
void lane_deliver(struct lane *lane); /* what is finished: completes or goes on */

/* merge.c: takes the next operation out of lane->batch, which may stand for several; NULL: none. */
struct io *merge_next(struct lane *lane);
/* One that stands for several has its result: its parts go to one of the lists. */
void merge_undo(struct io *io, struct list *finished, struct list *again);
void merge_free(struct lane *lane);

/* schedule.c */
bool io_is_scheduled(void); /* virtual time rules */
bool io_schedule_is_empty(void);
void io_set_done_count(uint64_t count);
void io_schedule(struct io *io);
bool io_run_first_of(const struct lane *lane); /* before its time; false: none waits */

/* threads.c: the pool, shared by all lanes; it ends with the last of them. */
void pool_get(void);
void pool_put(void);
void pool_submit(struct io *io); /* runs file_run(), then lane_pool_finished() */
void lane_pool_finished(struct lane *lane, struct io *io);

/* snapshot=on (overlay.c). */

struct overlay;
struct extent {
	struct block_file *file;
	uint64_t length;
};

struct overlay *overlay_create(struct block_file *base, uint64_t size, struct error *err);
void overlay_free(struct overlay *overlay); /* the base is not its */
int overlay_resize(struct overlay *overlay, uint64_t size, struct error *err);
/* The file that has this range's first byte, and for how many bytes from there. */
struct extent overlay_map(struct overlay *overlay, bool for_write, uint64_t offset, uint64_t bytes);
void overlay_written(struct overlay *overlay, uint64_t offset, uint64_t bytes);
const struct block_file *overlay_file(const struct overlay *overlay);
/* The words of the bitmap for this range: get, or set again; how many there are. */
size_t overlay_words(const struct overlay *overlay, uint64_t offset, uint64_t bytes, uint64_t *to);
void overlay_set_words(
	struct overlay *overlay, uint64_t offset, uint64_t bytes, const uint64_t *from);

/* journal.c: before an operation writes. */
void journal_note(const struct io *io);

/* The backend (block.c). */

enum block_discard { DISCARD_IGNORE, DISCARD_UNMAP };
enum block_detect { DETECT_OFF, DETECT_ON, DETECT_UNMAP };

struct block_backend {
	struct list link; /* of all */
	char *id, *serial;
	struct block_file *file;     /* NULL: no medium, or null-co */
	struct overlay *overlay;     /* or NULL */
	struct block_backend *child; /* -blockdev raw,file=NODE: the node whose file this is */
	unsigned parents;
	bool null_driver, null_read_zeroes;
	bool readonly, write_cache, no_flush;
	bool is_node;
	enum block_on_error on_read_error, on_write_error;
	enum block_discard discard;
	enum block_detect detect_zeroes;
	enum block_aio aio;
	bool aio_warned;
	_Atomic uint64_t size;
	struct block_user *user;
	struct lane *_Atomic lanes;
	pthread_mutex_t lanes_lock;
};

/* A finished io of a request: the walk goes on, or the request completes. */
void block_io_done(struct io *io);

/* The request of a held io: from its beginning once more, or completed with its error. */
void block_io_again(struct io *io);
void block_io_give_up(struct io *io);

void block_register(struct block_backend *blk);
struct block_backend *block_next(const struct block_backend *blk); /* after it; NULL: the first */

/* error-policy.c, on the lane's loop. */
void policy_lane_init(struct lane *lane);
/* A request failed: tells who observes.  REPORT, IGNORE, or STOP: hold it. */
enum block_on_error policy_apply(struct lane *lane, enum block_operation operation, int error);

#endif
