/* SPDX-License-Identifier: MIT */
/* What the kinds of character devices share.  Private to host/chardev. */
#ifndef CHARDEV_INTERNAL_H
#define CHARDEV_INTERNAL_H

#include "base/list.h"
#include "chardev/chardev.h"

struct chardev_type {
	const char *name, *alias; /* "file"; "serial" has the alias "tty" */
	size_t size;		  /* of the state, which begins with struct chardev */
	/* Opens the host's side; takes its keys from `kv`.  0 or -errno, nothing left open. */
	int (*open)(struct chardev *chr, struct keyvals *kv, struct error *err);
	size_t (*write)(struct chardev *chr, const uint8_t *data, size_t length);
	/* The user came, went, or takes input again.  NULL: no input at all. */
	void (*update)(struct chardev *chr);
	void (*close)(struct chardev *chr); /* NULL: nothing to do */
	/* Mux only: several users. */
	int (*attach)(struct chardev *chr, struct chardev_user *user, struct error *err);
	void (*detach)(struct chardev *chr, struct chardev_user *user);
};

struct chardev {
	const struct chardev_type *type;
	char *id;
	char *filename; /* as query-chardev shows it */
	struct loop *loop;
	struct chardev_user *user; /* NULL: nobody listens */
	bool opened;		   /* a peer is there */
	uint16_t cols, rows;	   /* of the terminal; 0: not known */
	bool plugged;		   /* made while the machine runs: its opening must not wait */
	int log_fd;		   /* logfile=, or -1 */
	uint8_t *kept;		   /* output that waits (chardev_keep_output) */
	size_t kept_bytes;
	bool awaited; /* somebody waits until none is kept */
	struct list link;
};

extern const struct chardev_type chardev_null, chardev_ring, chardev_stdio, chardev_file,
	chardev_pipe, chardev_pty, chardev_serial, chardev_socket, chardev_mux;

void chardev_set_filename(struct chardev *chr, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* How many bytes the user takes now (0 without one). */
size_t chardev_room(struct chardev *chr);
void chardev_deliver(struct chardev *chr, const uint8_t *data, size_t length);
void chardev_set_opened(struct chardev *chr, bool opened); /* tells the user of a change */
void chardev_tell(struct chardev *chr, enum chardev_event event);

/* gate.c: a user as the host's side sees it, through the gate. */
/* 0, or -ENOSPC: there is a gate, and it knows as many devices as it can. */
int gate_attach(struct chardev *chr, struct chardev_user *user);
void gate_detach(struct chardev_user *user);
size_t gate_room(struct chardev_user *user);
void gate_receive(struct chardev_user *user, const uint8_t *data, size_t length);
void gate_tell(struct chardev_user *user, enum chardev_event event);
bool gate_is_known(const struct chardev_user *user);
void gate_size(uint16_t *cols, uint16_t *rows);

/* chardev_size() for who is no device. */
void chardev_size_now(const struct chardev *chr, uint16_t *cols, uint16_t *rows);

/* Takes a boolean key; absent: `initial`.  0 or -EINVAL. */
int chardev_take_bool(
	struct keyvals *kv, const char *key, bool initial, bool *out, struct error *err);

/* Makes a device of `type` and registers it under `id`, which must be free.  NULL with `err`. */
struct chardev *chardev_new(struct loop *loop, const struct chardev_type *type, const char *id,
	struct keyvals *kv, struct error *err);

/* For open(2): a FIFO without a reader makes a machine's start wait, as in QEMU, and nothing else.
 */
int chardev_open_flags(const struct chardev *chr);

/* A mux named `id` over `base`. */
struct chardev *chardev_mux_over(
	struct loop *loop, const char *id, struct chardev *base, struct error *err);

void chardev_file_forget(struct chardev *chr); /* another kind: nothing happens */
void chardev_terminate(void);		       /* Ctrl-A x */

/*
 * Input and output on a pair of descriptors, for all kinds but sockets.  The descriptors stay as
 * they are found (O_NONBLOCK on a shared terminal would reach the shell): a read follows poll, and
 * a write is cut into pieces that a ready descriptor takes without blocking.
 */
struct fd_pair {
	struct chardev *chr;
	int in, out;	      /* -1: none */
	bool own_in, own_out; /* close them */
	bool input_ended;
	bool plain_input; /* a file: always ready, epoll refuses it */
	bool blocked;	  /* a write was cut short */
	struct loop_watch in_watch, out_watch;
	struct loop_timer in_timer;
	void (*hung_up)(struct fd_pair *pair); /* end of input or an error; may be NULL */
};

void fd_pair_init(struct fd_pair *pair, struct chardev *chr, int in, int out);
size_t fd_pair_write(struct fd_pair *pair, const uint8_t *data, size_t length);
void fd_pair_update(struct fd_pair *pair);
void fd_pair_close(struct fd_pair *pair);

#endif
