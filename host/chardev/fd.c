/* SPDX-License-Identifier: MIT */
/* Input and output of a character device on a pair of descriptors (internal.h). */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chardev/internal.h"

#define PIECE 4096 /* what a pipe that polls writable takes for certain (PIPE_BUF) */

static void end_input(struct fd_pair *pair)
{
	pair->input_ended = true;
	loop_unwatch(pair->chr->loop, &pair->in_watch);
	if (pair->hung_up)
		pair->hung_up(pair);
	else
		chardev_set_opened(pair->chr, false);
}

static void read_some(struct fd_pair *pair)
{
	uint8_t data[PIECE];
	size_t room = chardev_room(pair->chr);
	ssize_t n;

	if (!room || pair->input_ended)
		return;
	n = read(pair->in, data, room < sizeof(data) ? room : sizeof(data));
	if (n > 0)
		chardev_deliver(pair->chr, data, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		end_input(pair);
}

static void input_ready(void *opaque, uint32_t events)
{
	struct fd_pair *pair = opaque;

	if (!chardev_room(pair->chr)) {
		/* The user said so after the watch was set; it calls update when it changes. */
		loop_unwatch(pair->chr->loop, &pair->in_watch);
		return;
	}
	read_some(pair);
	fd_pair_update(pair);
}

/* A timer that is due at once, and not a task: the loop runs tasks until there is none. */
static void plain_input_turn(void *opaque)
{
	struct fd_pair *pair = opaque;

	read_some(pair);
	fd_pair_update(pair);
}

static void plain_input_later(struct fd_pair *pair)
{
	if (!pair->in_timer.armed)
		loop_timer_arm(pair->chr->loop, &pair->in_timer, loop_now());
}

void fd_pair_update(struct fd_pair *pair)
{
	struct loop *loop = pair->chr->loop;
	bool wanted = pair->in >= 0 && !pair->input_ended && chardev_room(pair->chr);

	if (!wanted) {
		loop_unwatch(loop, &pair->in_watch);
	} else if (pair->plain_input) {
		plain_input_later(pair);
	} else if (!pair->in_watch.watched && loop_watch(loop, &pair->in_watch, EPOLLIN)) {
		/* A regular file or /dev/null: epoll refuses them, and reads never wait. */
		pair->plain_input = true;
		plain_input_later(pair);
	}
}

static void output_ready(void *opaque, uint32_t events)
{
	struct fd_pair *pair = opaque;

	loop_unwatch(pair->chr->loop, &pair->out_watch);
	if (pair->blocked) {
		pair->blocked = false;
		chardev_tell(pair->chr, CHARDEV_WRITABLE);
	}
}

static bool writable_now(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) == 1;
}

size_t fd_pair_write(struct fd_pair *pair, const uint8_t *data, size_t length)
{
	size_t done = 0;

	while (pair->out >= 0 && done < length) {
		size_t piece = length - done < PIECE ? length - done : PIECE;
		ssize_t n = -1;

		if (writable_now(pair->out)) {
			n = write(pair->out, data + done, piece);
			if (n < 0 && errno == EINTR)
				continue;
			/* EPIPE, ENOSPC and the like: nobody can have it any more. */
			if (n < 0 && errno != EAGAIN)
				return length;
		}
		if (n < 0) {
			pair->blocked = true;
			if (!pair->out_watch.watched)
				loop_watch(pair->chr->loop, &pair->out_watch, EPOLLOUT);
			return done;
		}
		done += (size_t)n;
	}
	return length;
}

void fd_pair_init(struct fd_pair *pair, struct chardev *chr, int in, int out)
{
	memset(pair, 0, sizeof(*pair));
	pair->chr = chr;
	pair->in = in;
	pair->out = out;
	pair->in_watch = (struct loop_watch){.fd = in, .ready = input_ready, .opaque = pair};
	/* epoll knows a descriptor once: output of a two-way one is watched by its duplicate. */
	pair->out_watch = (struct loop_watch){.fd = in == out && out >= 0 ? dup(out) : out,
		.ready = output_ready,
		.opaque = pair};
	pair->in_timer = (struct loop_timer){.expired = plain_input_turn, .opaque = pair};
}

void fd_pair_close(struct fd_pair *pair)
{
	loop_timer_cancel(pair->chr->loop, &pair->in_timer);
	loop_unwatch(pair->chr->loop, &pair->in_watch);
	loop_unwatch(pair->chr->loop, &pair->out_watch);
	if (pair->out_watch.fd >= 0 && pair->out_watch.fd != pair->out)
		close(pair->out_watch.fd);
	if (pair->own_in && pair->in >= 0)
		close(pair->in);
	if (pair->own_out && pair->out >= 0 && pair->out != pair->in)
		close(pair->out);
	pair->in = pair->out = pair->out_watch.fd = -1;
}
