/* SPDX-License-Identifier: MIT */
/*
 * One character device for several users (a serial port and the monitor on one terminal).  Output
 * of all goes through; input goes to the one in focus, which Ctrl-A c moves on.  The first that
 * attaches has the focus at the start.  The keys after Ctrl-A are QEMU's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chardev/internal.h"

#define USERS 4
#define QUEUE 64 /* input held for a user that takes none, so that Ctrl-A still gets through */

struct mux {
	struct chardev chr;
	struct chardev *base;
	struct chardev_user base_user;
	struct chardev_user *users[USERS];
	unsigned focus;
	bool escaped; /* Ctrl-A was the last byte */
	uint8_t queue[QUEUE];
	unsigned queued;
};

static uint8_t escape_key = 0x01; /* Ctrl-A */

void chardev_set_escape(uint8_t key)
{
	escape_key = key;
}

static struct mux *to_mux(struct chardev *chr)
{
	return container_of(chr, struct mux, chr);
}

static void deliver(struct mux *mux)
{
	struct chardev_user *user = mux->users[mux->focus];
	size_t room;

	while (user && mux->queued && (room = gate_room(user))) {
		size_t n = room < mux->queued ? room : mux->queued;
		uint8_t data[QUEUE];

		memcpy(data, mux->queue, n);
		mux->queued -= n;
		memmove(mux->queue, mux->queue + n, mux->queued);
		gate_receive(user, data, n);
		user = mux->users[mux->focus];
	}
}

static void say(struct mux *mux, const char *text)
{
	chardev_write(mux->base, (const uint8_t *)text, strlen(text));
}

static void move_focus(struct mux *mux)
{
	for (unsigned i = 1; i <= USERS; i++) {
		unsigned next = (mux->focus + i) % USERS;

		if (mux->users[next] && next != mux->focus) {
			struct chardev_user *user = mux->users[next];

			mux->focus = next;
			mux->queued = 0;
			/* The monitor greets anew, as QEMU's prompt does. */
			gate_tell(user, CHARDEV_OPENED);
			return;
		}
	}
}

static void send_break(struct mux *mux)
{
	struct chardev_user *user = mux->users[mux->focus];

	if (user)
		gate_tell(user, CHARDEV_BREAK);
}

static void after_escape(struct mux *mux, uint8_t key)
{
	if (key == escape_key) {
		if (mux->queued < QUEUE)
			mux->queue[mux->queued++] = key;
		return;
	}
	switch (key) {
	case '?':
	case 'h':
		say(mux, "\n\r"
			 "C-a h    print this help\n\r"
			 "C-a x    exit emulator\n\r"
			 "C-a s    save disk data back to file (if -snapshot)\n\r"
			 "C-a b    send break\n\r"
			 "C-a c    switch between console and monitor\n\r"
			 "C-a C-a  sends C-a\n\r");
		break;
	case 'x':
		say(mux, "assay: Terminated\n\r");
		chardev_terminate();
		break;
	case 'b': send_break(mux); break;
	case 'c': move_focus(mux); break;
	default: /* 's': there is nothing to commit; others are ignored, as in QEMU */ break;
	}
}

static size_t base_can_receive(void *opaque)
{
	const struct mux *mux = opaque;

	/* One byte always: a Ctrl-A must arrive when the guest does not read. */
	return mux->queued < QUEUE ? QUEUE - mux->queued : 1;
}

static void base_receive(void *opaque, const uint8_t *data, size_t length)
{
	struct mux *mux = opaque;

	for (size_t i = 0; i < length; i++) {
		if (mux->escaped) {
			mux->escaped = false;
			after_escape(mux, data[i]);
		} else if (data[i] == escape_key) {
			mux->escaped = true;
		} else if (mux->queued < QUEUE) {
			mux->queue[mux->queued++] = data[i];
		}
		deliver(mux);
	}
}

static void base_event(void *opaque, enum chardev_event event)
{
	struct mux *mux = opaque;

	if (event == CHARDEV_OPENED || event == CHARDEV_CLOSED)
		mux->chr.opened = event == CHARDEV_OPENED;
	if (event == CHARDEV_RESIZED)
		chardev_size_now(mux->base, &mux->chr.cols, &mux->chr.rows);
	if (event == CHARDEV_BREAK) {
		send_break(mux);
		return;
	}
	for (unsigned i = 0; i < USERS; i++) {
		struct chardev_user *user = mux->users[i];

		/* Only the one in focus greets a new peer. */
		if (user && (event != CHARDEV_OPENED || i == mux->focus))
			gate_tell(user, event);
	}
}

static int mux_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	struct mux *mux = to_mux(chr);
	const char *base = keyvals_take(kv, "chardev");

	mux->base = base ? chardev_find(base) : NULL;
	if (!base)
		return error_set(err, EINVAL, "chardev: mux: no chardev given");
	if (!mux->base)
		return error_set(err, ENOENT, "mux: base chardev %s not found", base);
	mux->base_user = (struct chardev_user){.can_receive = base_can_receive,
		.receive = base_receive,
		.event = base_event,
		.opaque = mux,
		.is_host = true};
	chardev_set_filename(chr, "mux");
	return chardev_attach(mux->base, &mux->base_user, err);
}

static void mux_close(struct chardev *chr)
{
	chardev_detach(to_mux(chr)->base, &to_mux(chr)->base_user);
}

static size_t mux_write(struct chardev *chr, const uint8_t *data, size_t length)
{
	return chardev_write(to_mux(chr)->base, data, length);
}

static void mux_update(struct chardev *chr)
{
	deliver(to_mux(chr));
	chardev_accept_input(to_mux(chr)->base);
}

static int mux_attach(struct chardev *chr, struct chardev_user *user, struct error *err)
{
	struct mux *mux = to_mux(chr);

	for (unsigned i = 0; i < USERS; i++) {
		if (mux->users[i])
			continue;
		mux->users[i] = user;
		chr->user = mux->users[0];
		if (!mux->users[mux->focus])
			mux->focus = i;
		if (chr->opened && mux->focus == i)
			gate_tell(user, CHARDEV_OPENED);
		deliver(mux);
		return 0;
	}
	return error_set(err, EBUSY, "too many uses of multiplexed chardev '%s' (maximum is %d)",
		chr->id, USERS);
}

static void mux_detach(struct chardev *chr, struct chardev_user *user)
{
	struct mux *mux = to_mux(chr);

	for (unsigned i = 0; i < USERS; i++) {
		if (mux->users[i] == user) {
			if (mux->focus == i)
				move_focus(mux);
			mux->users[i] = NULL;
		}
	}
}

const struct chardev_type chardev_mux = {
	.name = "mux",
	.size = sizeof(struct mux),
	.open = mux_open,
	.write = mux_write,
	.update = mux_update,
	.close = mux_close,
	.attach = mux_attach,
	.detach = mux_detach,
};
