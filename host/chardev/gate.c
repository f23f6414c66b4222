/* SPDX-License-Identifier: MIT */
/*
 * The gate before the guest's devices (chardev.h).  It numbers devices in the order in which they
 * attach.  That an output can take more again is no input: a machine whose input is recorded
 * stands still while output waits.
 */
#include <errno.h>

#include "chardev/internal.h"

#define DEVICES	  64
#define SWALLOWED 4096 /* bytes at a time */

static const struct chardev_gate *gate;
static struct {
	struct chardev *chr;
	struct chardev_user *user;
} devices[DEVICES];
static unsigned device_count;

static unsigned number_of(const struct chardev_user *user)
{
	unsigned n = 0;

	while (n < device_count && devices[n].user != user)
		n++;
	return n;
}

static bool is_gated(const struct chardev_user *user)
{
	return gate && !user->is_host && number_of(user) < device_count;
}

void chardev_set_gate(const struct chardev_gate *new_gate)
{
	gate = new_gate;
}

int gate_attach(struct chardev *chr, struct chardev_user *user)
{
	unsigned n = 0;

	if (user->is_host)
		return 0;
	/* The number of one that has gone is the first to be given again. */
	while (n < device_count && devices[n].user)
		n++;
	if (n == DEVICES)
		return gate ? -ENOSPC : 0;
	devices[n].chr = chr;
	devices[n].user = user;
	if (n == device_count)
		device_count++;
	return 0;
}

void gate_detach(struct chardev_user *user)
{
	unsigned n = number_of(user);

	if (n < device_count)
		devices[n].user = NULL;
}

static void ask_again(void *opaque)
{
	for (unsigned n = 0; n < device_count; n++)
		if (devices[n].user)
			chardev_accept_input(devices[n].chr);
}

static struct loop_timer again = {.expired = ask_again}; /* somebody was refused */

size_t gate_room(struct chardev_user *user)
{
	if (!is_gated(user))
		return user->can_receive(user->opaque);
	if (gate->swallows)
		return SWALLOWED;
	if (gate->is_open(gate->opaque))
		return user->can_receive(user->opaque);
	/* Amid the guest's work; a timer waits for the loop itself. */
	loop_timer_arm(devices[number_of(user)].chr->loop, &again, loop_now());
	return 0;
}

void gate_receive(struct chardev_user *user, const uint8_t *data, size_t length)
{
	if (!is_gated(user) ||
		gate->offer(gate->opaque, number_of(user), CHARDEV_OPENED, data, length))
		user->receive(user->opaque, data, length);
}

void gate_tell(struct chardev_user *user, enum chardev_event event)
{
	if (is_gated(user) && event != CHARDEV_WRITABLE &&
		!gate->offer(gate->opaque, number_of(user), event, NULL, 0))
		return;
	if (user->event)
		user->event(user->opaque, event);
}

bool gate_is_known(const struct chardev_user *user)
{
	return user && is_gated(user) && gate->is_known(gate->opaque);
}

void gate_size(uint16_t *cols, uint16_t *rows)
{
	if (gate)
		gate->size(gate->opaque, cols, rows);
}

int chardev_enter(unsigned device, enum chardev_event event, const uint8_t *data, size_t length)
{
	struct chardev_user *user = device < device_count ? devices[device].user : NULL;

	if (!user)
		return -ENODEV;
	if (data && length > user->can_receive(user->opaque))
		return -EINVAL;
	if (data)
		user->receive(user->opaque, data, length);
	else if (user->event)
		user->event(user->opaque, event);
	return 0;
}

void chardev_offer_peers(void)
{
	for (unsigned n = 0; n < device_count; n++)
		if (devices[n].user && devices[n].chr->opened)
			gate_tell(devices[n].user, CHARDEV_OPENED);
}
