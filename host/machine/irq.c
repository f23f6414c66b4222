/* SPDX-License-Identifier: MIT */
/* Lines and messages on their way to the interrupt controllers (irq.h). */
#include "machine/irq.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"

void irq_set(const struct irq_line *line, bool level)
{
	uint32_t pin = line->pin;
	int wanted = level;

	if (!line->set || fault_irq(line->name ? line->name : "", &pin, &wanted) == FAULT_DROP)
		return;
	line->set(line->opaque, pin, wanted);
}

/* The vector is what a row of the fault table matches and changes. */
static enum fault_verdict fault_msi(struct msi_message *message)
{
	uint32_t vector = message->data & 0xff;
	int level = 1;
	enum fault_verdict verdict = fault_irq("msi", &vector, &level);

	message->data = (message->data & ~0xffU) | (vector & 0xff);
	return level ? verdict : FAULT_DROP;
}

void irq_chip_send_msi(struct irq_chip *chip, struct msi_message message)
{
	enum fault_verdict verdict = fault_msi(&message);

	if (chip->counter)
		atomic_fetch_add_explicit(chip->counter, 1, memory_order_relaxed);
	if (verdict != FAULT_DROP)
		chip->ops->send_msi(chip->opaque, message);
	if (verdict == FAULT_TWICE)
		chip->ops->send_msi(chip->opaque, message);
}

int irq_route_init(struct irq_route *route, struct error *err)
{
	*route = (struct irq_route){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (route->fd < 0)
		return error_set_errno(err, errno, "cannot create an eventfd");
	return 0;
}

void irq_route_destroy(struct irq_chip *chip, struct irq_route *route)
{
	irq_route_detach(chip, route);
	if (route->fd >= 0)
		close(route->fd);
	route->fd = -1;
}

int irq_route_attach(struct irq_chip *chip, struct irq_route *route, struct msi_message message,
	struct error *err)
{
	int rc;

	if (route->attached && route->message.address == message.address &&
		route->message.data == message.data)
		return 0;
	route->message = message;
	route->chip = chip;
	rc = chip->ops->route_attach(chip->opaque, route, err);
	route->attached = rc == 0;
	return rc;
}

void irq_route_detach(struct irq_chip *chip, struct irq_route *route)
{
	if (route->attached)
		chip->ops->route_detach(chip->opaque, route);
	route->attached = false;
}

void irq_route_fire(struct irq_route *route)
{
	struct msi_message message = route->message;
	uint64_t one = 1;

	/* The message itself is with the kernel: here it can only be lost. */
	if (fault_msi(&message) == FAULT_DROP)
		return;
	if (route->chip && route->chip->counter)
		atomic_fetch_add_explicit(route->chip->counter, 1, memory_order_relaxed);
	if (route->chip && route->chip->ops->route_fire &&
		route->chip->ops->route_fire(route->chip->opaque, route))
		return;
	/* EAGAIN means that the counter is full: then it already fires. */
	if (write(route->fd, &one, sizeof(one)) < 0)
		return;
}
