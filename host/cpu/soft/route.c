/* SPDX-License-Identifier: MIT */
/*
 * The engine as the machine's interrupt chip (machine/interrupt.h): the PIC's INTR, and messages. A
 * message route is an eventfd that the loop watches.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cpu/soft/soft.h"

static void set_intr(void *opaque, bool level)
{
	struct soft_engine *soft = opaque;

	if (level && !soft->intr)
		soft_lapic_lint0(&soft->cpus[0], true);
	soft->intr = level;
	if (level)
		soft_attend(&soft->cpus[0]);
}

static void send_msi(void *opaque, struct msi_message message)
{
	soft_lapic_message(opaque, message);
}

struct route_watch {
	struct loop_watch watch;
	struct soft_engine *soft;
	struct irq_route *route;
	struct list link;
};

static void take_message(struct route_watch *w)
{
	uint64_t count;

	if (read(w->route->fd, &count, sizeof(count)) == sizeof(count))
		soft_lapic_message(w->soft, w->route->message);
}

static void route_fired(void *opaque, uint32_t events)
{
	take_message(opaque);
}

void soft_take_messages(struct soft_engine *soft)
{
	struct list *pos;

	list_for_each (pos, &soft->routes)
		take_message(container_of(pos, struct route_watch, link));
}

static struct route_watch *find_route(struct soft_engine *soft, const struct irq_route *route)
{
	struct list *pos;

	list_for_each (pos, &soft->routes)
		if (container_of(pos, struct route_watch, link)->route == route)
			return container_of(pos, struct route_watch, link);
	return NULL;
}

static int route_attach(void *opaque, struct irq_route *route, struct error *err)
{
	struct soft_engine *soft = opaque;
	struct route_watch *w = find_route(soft, route);

	if (w)
		return 0; /* the message is read when it fires */
	w = calloc(1, sizeof(*w));
	if (!w)
		return error_set(err, ENOMEM, "out of memory");
	w->watch = (struct loop_watch){.fd = route->fd, .ready = route_fired, .opaque = w};
	w->soft = soft;
	w->route = route;
	list_add_tail(&soft->routes, &w->link);
	return loop_watch(soft->engine.machine->loop, &w->watch, EPOLLIN);
}

static void drop(struct route_watch *w)
{
	take_message(w); /* what was sent before arrives */
	loop_unwatch(w->soft->engine.machine->loop, &w->watch);
	list_remove(&w->link);
	free(w);
}

static void route_detach(void *opaque, struct irq_route *route)
{
	struct route_watch *w = find_route(opaque, route);

	if (w)
		drop(w);
}

void soft_routes_drop(struct soft_engine *soft)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, &soft->routes)
		drop(container_of(pos, struct route_watch, link));
}

/* On the main loop the message is there before the next instruction, as on a real bus; what another
 * thread or a peer fires comes by the watch, between two turns. */
static bool route_fire(void *opaque, struct irq_route *route)
{
	struct soft_engine *soft = opaque;
	uint64_t one = 1;

	if (loop_is_current(soft->engine.machine->loop)) {
		if (route->attached)
			soft_lapic_message(soft, route->message);
		return true;
	}
	/* EAGAIN: the counter is full, so it is read anyway. */
	return write(route->fd, &one, sizeof(one)) > 0 || errno == EAGAIN;
}

const struct irq_chip_ops soft_irq_ops = {
	.send_msi = send_msi,
	.route_attach = route_attach,
	.route_detach = route_detach,
	.route_fire = route_fire,
	.set_intr = set_intr,
};
