/* SPDX-License-Identifier: MIT */
/*
 * Character devices: a byte stream between a device (or a monitor) and the host's side, with
 * back-pressure in both directions.  Main loop, machine lock held.
 */
#ifndef CHARDEV_CHARDEV_H
#define CHARDEV_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/keyval.h"
#include "base/loop.h"

struct chardev; /* opaque */

enum chardev_event {
	CHARDEV_OPENED, /* a peer is there (a connection, or at once for stdio and files) */
	CHARDEV_CLOSED,
	CHARDEV_BREAK,	  /* the line signalled a break */
	CHARDEV_WRITABLE, /* chardev_write() had returned less than all and can take more */
	CHARDEV_RESIZED,  /* the terminal behind it has another size: chardev_size() */
};

struct chardev_user {
	size_t (*can_receive)(void *opaque); /* how many bytes the user takes now */
	void (*receive)(void *opaque, const uint8_t *data, size_t length);
	void (*event)(void *opaque, enum chardev_event event); /* may be NULL */
	void *opaque;
	bool is_host; /* a monitor, a debugger: no gate stands before it */
};

/* One user a character device (a mux has several).  0, or -EBUSY with a sentence. */
int chardev_attach(struct chardev *chr, struct chardev_user *user, struct error *err);
void chardev_detach(struct chardev *chr, struct chardev_user *user);

/*
 * Writes as much as the host side takes without waiting and returns that count; with nobody
 * connected everything is taken and dropped.  After a short write CHARDEV_WRITABLE comes.
 * When it returns, what it took is with the kernel: a VM that ends right after loses nothing.
 */
size_t chardev_write(struct chardev *chr, const uint8_t *data, size_t length);

/*
 * For a guest that must not see how fast its output is read: from now on chardev_write() takes
 * everything and keeps what the host side does not, and `changed` tells when some is kept and when
 * none is any more.  Whoever asks for it stops the guest meanwhile, which bounds what is kept, but
 * for what one request of a guest holds: a user that has more than a little to write asks
 * chardev_is_full() before each piece, and if so waits for CHARDEV_WRITABLE.
 */
void chardev_keep_output(void (*changed)(void *opaque, bool kept), void *opaque);

bool chardev_is_full(struct chardev *chr);

/*
 * What stands between the host's side and the guest's devices, where input is recorded or replayed:
 * bytes, and a peer that comes, goes or signals a break, are offered to it.  A device is a number,
 * the same in each run of the same command line.
 */
struct chardev_gate {
	bool (*is_open)(void *opaque); /* else nothing is offered for now */
	/* event: data is NULL.  True: it enters. */
	bool (*offer)(void *opaque, unsigned device, enum chardev_event event, const uint8_t *data,
		size_t length);
	/* A device asks for the size of its terminal: what it is told. */
	void (*size)(void *opaque, uint16_t *cols, uint16_t *rows);
	bool (*is_known)(void *opaque); /* what a device writes now was written before */
	bool swallows; /* nothing ever enters: it is taken at once, to be thrown away */
	void *opaque;
};
void chardev_set_gate(const struct chardev_gate *gate); /* before devices attach; it stays */
/* Past the gate: -ENODEV if there is no device of that number, -EINVAL if it has no room. */
int chardev_enter(unsigned device, enum chardev_event event, const uint8_t *data, size_t length);
/* The gate's first moment: peers that are there already are offered. */
void chardev_offer_peers(void);

/* Nothing that is written goes out: what a machine that goes back says once more is known. */
void chardev_mute(bool muted);

/* The user can take input again after can_receive() gave 0. */
void chardev_accept_input(struct chardev *chr);

/* The size of the terminal behind it, if that is known (the host's terminal, or what
 * chardev_resize() said); else nothing is changed. */
void chardev_size(const struct chardev *chr, uint16_t *cols, uint16_t *rows);
void chardev_resize(struct chardev *chr, uint16_t cols, uint16_t rows);

/* -chardev BACKEND,id=...: stdio, null, file, pipe, pty, socket (unix and tcp, server, wait,
 * reconnect), udp no, ringbuf, serial, mux=on.  `kv` has "backend" and the rest.  0 or -errno. */
int chardev_create(struct loop *loop, struct keyvals *kv, struct error *err);

/* The same while the machine runs: nothing is waited for but the resolution of a host's name.  A
 * FIFO that nobody reads is refused (ENXIO), a TCP connection comes about later; mux=on is refused,
 * and wait=on is the caller's to leave out. */
int chardev_plug(struct loop *loop, struct keyvals *kv, struct error *err);

/* 0; -ENOENT: there is none of that id; -EBUSY: it has a user, or is one of a mux. */
int chardev_remove(const char *id);

/* The short forms of -serial, -monitor, -qmp: "stdio", "mon:stdio", "null", "none", "file:PATH",
 * "pipe:PATH", "pty", "unix:PATH,server=on,wait=off", "tcp:HOST:PORT,...", "chardev:ID", "vc".
 * Makes a character device with `id` (or finds it, for chardev:); NULL with `err` set, or NULL with
 * err->text empty for "none". */
struct chardev *chardev_create_short(
	struct loop *loop, const char *id, const char *text, struct error *err);
struct chardev *chardev_find(const char *id);
/* The start failed: files that -chardev file made go away again.  Before chardev_close_all(). */
void chardev_forget_files(void);
void chardev_close_all(void); /* restores the terminal, removes sockets */

/* Ctrl-A x on a mux asks for the end of the VM by calling this.  Set before the loop runs. */
void chardev_on_terminate(void (*terminate)(void *opaque), void *opaque);
void chardev_set_escape(uint8_t key); /* -echr; Ctrl-A unless told */
/* After the process was stopped and continued (SIGCONT): the terminal is raw again. */
void chardev_terminal_resume(void);
void chardev_terminal_resized(void); /* SIGWINCH */

/* For -h and the monitor. */
struct chardev_info {
	const char *label, *filename; /* "serial0", "unix:/tmp/x,server=on" */
	bool frontend_open;
};
void chardev_for_each(void (*visit)(void *opaque, const struct chardev_info *info), void *opaque);
const char *chardev_id(const struct chardev *chr);
void chardev_print_backends(void); /* -chardev help */

/* Ring buffers only: -EINVAL for another kind.  Reads at most `size` bytes, returns how many. */
long chardev_ring_read(struct chardev *chr, uint8_t *data, size_t size);

#endif
