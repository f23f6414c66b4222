/* SPDX-License-Identifier: MIT */
/* Character devices on descriptors: stdio, file, pipe, pty and the host's serial port. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "chardev/internal.h"

#define PTY_POLL_NS 200000000 /* a pty does not tell when somebody opens its other end */

struct fd_chardev {
	struct chardev chr;
	struct fd_pair pair;
	char *made; /* file only: its path, if it was not there before */
	/* pty only */
	struct loop_timer poll_timer;
};

static size_t fd_write(struct chardev *chr, const uint8_t *data, size_t length)
{
	return fd_pair_write(&container_of(chr, struct fd_chardev, chr)->pair, data, length);
}

static void fd_update(struct chardev *chr)
{
	fd_pair_update(&container_of(chr, struct fd_chardev, chr)->pair);
}

static void fd_close(struct chardev *chr)
{
	fd_pair_close(&container_of(chr, struct fd_chardev, chr)->pair);
}

/* stdio: the process has one, and its terminal must come back as it was. */

static struct {
	bool in_use, is_terminal, raw, signals;
	struct termios before;
	struct chardev *chr;
} terminal;

static void terminal_raw(void)
{
	struct termios t = terminal.before;
	pid_t foreground = tcgetpgrp(STDIN_FILENO); /* -1: not our controlling terminal */

	/* A job in the background has no say over the terminal (and would be stopped). */
	if (!terminal.is_terminal || (foreground >= 0 && foreground != getpgrp()))
		return;
	t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	t.c_oflag |= OPOST;
	t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
	if (!terminal.signals)
		t.c_lflag &= ~(tcflag_t)ISIG;
	t.c_cflag = (t.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	terminal.raw = !tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

static void take_size(struct chardev *chr)
{
	struct winsize size;

	if (terminal.is_terminal && !ioctl(STDIN_FILENO, TIOCGWINSZ, &size) && size.ws_col &&
		size.ws_row)
		chardev_resize(chr, size.ws_col, size.ws_row);
}

void chardev_terminal_resized(void)
{
	if (terminal.in_use)
		take_size(terminal.chr);
}

void chardev_terminal_resume(void)
{
	if (terminal.in_use)
		terminal_raw();
}

static int stdio_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	struct fd_chardev *fd = container_of(chr, struct fd_chardev, chr);
	int rc = chardev_take_bool(kv, "signal", true, &terminal.signals, err);

	if (rc)
		return rc;
	if (terminal.in_use)
		return error_set(err, EBUSY, "cannot use stdio by multiple character devices");
	terminal.in_use = true;
	terminal.is_terminal = !tcgetattr(STDIN_FILENO, &terminal.before);
	terminal_raw();
	fd_pair_init(&fd->pair, chr, STDIN_FILENO, STDOUT_FILENO);
	chr->opened = true;
	terminal.chr = chr;
	take_size(chr);
	chardev_set_filename(chr, "stdio");
	return 0;
}

static void stdio_close(struct chardev *chr)
{
	fd_close(chr);
	if (terminal.raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
	terminal.raw = terminal.in_use = false;
}

/* file: output only. */

static int take_path(struct keyvals *kv, const char *backend, const char **path, struct error *err)
{
	*path = keyvals_take(kv, "path");
	if (*path && **path)
		return 0;
	return error_set(err, EINVAL, "chardev: %s: no filename given", backend);
}

static int file_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	struct fd_chardev *fd = container_of(chr, struct fd_chardev, chr);
	const char *path;
	int flags = O_WRONLY | O_CREAT | chardev_open_flags(chr);
	bool append;
	int out, rc;

	rc = take_path(kv, "file", &path, err);
	if (!rc)
		rc = chardev_take_bool(kv, "append", false, &append, err);
	if (rc)
		return rc;
	out = open(path, flags | O_EXCL | (append ? O_APPEND : 0), 0666);
	if (out >= 0)
		fd->made = strdup(path);
	else
		out = open(path, flags | (append ? O_APPEND : O_TRUNC), 0666);
	if (out < 0)
		return error_set_errno(err, errno, "Could not open '%s'", path);
	fd_pair_init(&fd->pair, chr, -1, out);
	fd->pair.own_out = true;
	chr->opened = true;
	chardev_set_filename(chr, "file");
	return 0;
}

static void file_close(struct chardev *chr)
{
	free(container_of(chr, struct fd_chardev, chr)->made);
	fd_close(chr);
}

void chardev_file_forget(struct chardev *chr)
{
	struct fd_chardev *fd = container_of(chr, struct fd_chardev, chr);

	if (chr->type == &chardev_file && fd->made)
		unlink(fd->made);
}

/* pipe: PATH.in and PATH.out, or PATH for both ways. */

static int open_joined(const char *path, const char *suffix)
{
	char *full;
	int fd;

	if (asprintf(&full, "%s%s", path, suffix) < 0)
		return -1;
	/* Read and write, so that opening a FIFO does not wait for the other side. */
	fd = open(full, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	free(full);
	return fd;
}

static int pipe_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	struct fd_chardev *fd = container_of(chr, struct fd_chardev, chr);
	const char *path;
	int in, out, rc = take_path(kv, "pipe", &path, err);

	if (rc)
		return rc;
	in = open_joined(path, ".in");
	out = open_joined(path, ".out");
	if (in < 0 || out < 0) {
		if (in >= 0)
			close(in);
		if (out >= 0)
			close(out);
		in = out = open_joined(path, "");
		if (in < 0)
			return error_set_errno(err, errno, "Could not open '%s'", path);
	}
	fd_pair_init(&fd->pair, chr, in, out);
	fd->pair.own_in = fd->pair.own_out = true;
	chr->opened = true;
	chardev_set_filename(chr, "pipe");
	return 0;
}

/* pty: nobody is there until the other end is opened, and again when it is closed. */

static bool pty_has_peer(struct fd_chardev *fd)
{
	struct pollfd p = {.fd = fd->pair.in, .events = POLLIN};

	return poll(&p, 1, 0) < 1 || !(p.revents & POLLHUP);
}

static void pty_poll(void *opaque)
{
	struct fd_chardev *fd = opaque;

	if (!pty_has_peer(fd)) {
		loop_timer_arm(fd->chr.loop, &fd->poll_timer, loop_now() + PTY_POLL_NS);
		return;
	}
	fd->pair.input_ended = false;
	chardev_set_opened(&fd->chr, true);
	fd_pair_update(&fd->pair);
}

static void pty_hung_up(struct fd_pair *pair)
{
	struct fd_chardev *fd = container_of(pair, struct fd_chardev, pair);

	chardev_set_opened(&fd->chr, false);
	loop_timer_arm(fd->chr.loop, &fd->poll_timer, loop_now() + PTY_POLL_NS);
}

static size_t pty_write(struct chardev *chr, const uint8_t *data, size_t length)
{
	struct fd_chardev *fd = container_of(chr, struct fd_chardev, chr);

	if (!chr->opened && pty_has_peer(fd))
		pty_poll(fd);
	return chr->opened ? fd_pair_write(&fd->pair, data, length) : length;
}

static int pty_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	struct fd_chardev *fd = container_of(chr, struct fd_chardev, chr);
	struct termios raw;
	char name[64];
	int master, slave;

	if (openpty(&master, &slave, name, NULL, NULL))
		return error_set_errno(err, errno, "Failed to create PTY");
	if (!tcgetattr(slave, &raw)) {
		cfmakeraw(&raw);
		tcsetattr(slave, TCSAFLUSH, &raw);
	}
	close(slave);
	fcntl(master, F_SETFL, O_NONBLOCK);
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fd_pair_init(&fd->pair, chr, master, master);
	fd->pair.own_in = fd->pair.own_out = true;
	fd->pair.hung_up = pty_hung_up;
	fd->pair.input_ended = true; /* until somebody opens it */
	fd->poll_timer = (struct loop_timer){.expired = pty_poll, .opaque = fd};
	loop_timer_arm(chr->loop, &fd->poll_timer, loop_now() + PTY_POLL_NS);
	chardev_set_filename(chr, "pty:%s", name);
	printf("char device redirected to %s (label %s)\n", name, chr->id);
	fflush(stdout);
	return 0;
}

static void pty_close(struct chardev *chr)
{
	struct fd_chardev *fd = container_of(chr, struct fd_chardev, chr);

	loop_timer_cancel(chr->loop, &fd->poll_timer);
	fd_close(chr);
}

/* serial: a terminal device of the host, raw. */

static int serial_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	struct fd_chardev *fd = container_of(chr, struct fd_chardev, chr);
	struct termios raw;
	const char *path;
	int tty, rc = take_path(kv, "serial/tty", &path, err);

	if (rc)
		return rc;
	tty = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (tty < 0)
		return error_set_errno(err, errno, "Could not open '%s'", path);
	if (!tcgetattr(tty, &raw)) {
		cfmakeraw(&raw);
		tcsetattr(tty, TCSANOW, &raw);
	}
	fd_pair_init(&fd->pair, chr, tty, tty);
	fd->pair.own_in = fd->pair.own_out = true;
	chr->opened = true;
	chardev_set_filename(chr, "serial");
	return 0;
}

const struct chardev_type chardev_stdio = {
	.name = "stdio",
	.size = sizeof(struct fd_chardev),
	.open = stdio_open,
	.write = fd_write,
	.update = fd_update,
	.close = stdio_close,
};

const struct chardev_type chardev_file = {
	.name = "file",
	.size = sizeof(struct fd_chardev),
	.open = file_open,
	.write = fd_write,
	.close = file_close,
};

const struct chardev_type chardev_pipe = {
	.name = "pipe",
	.size = sizeof(struct fd_chardev),
	.open = pipe_open,
	.write = fd_write,
	.update = fd_update,
	.close = fd_close,
};

const struct chardev_type chardev_pty = {
	.name = "pty",
	.size = sizeof(struct fd_chardev),
	.open = pty_open,
	.write = pty_write,
	.update = fd_update,
	.close = pty_close,
};

const struct chardev_type chardev_serial = {
	.name = "serial",
	.alias = "tty",
	.size = sizeof(struct fd_chardev),
	.open = serial_open,
	.write = fd_write,
	.update = fd_update,
	.close = fd_close,
};
