/* SPDX-License-Identifier: MIT */
/*
 * Interrupts: lines that devices set, message-signalled interrupts, and the seam to the interrupt
 * controllers, which are the kernel's under KVM and models of ours under `soft`.
 */
#ifndef MACHINE_IRQ_H
#define MACHINE_IRQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Where a line leads.  A device holds a copy; an all-zero line leads nowhere. */
struct irq_line {
	void (*set)(void *opaque, unsigned pin, bool level);
	void *opaque;
	unsigned pin;
	const char *name; /* for fault injection: "isa4", "pci0.3.A"; may be NULL */
};

/* Level of the line from now on; repeating a level is harmless.  Under the machine lock. */
void irq_set(const struct irq_line *line, bool level);

struct msi_message {
	uint64_t address;
	uint32_t data;
};

struct irq_chip;

/*
 * A message with a descriptor of its own, so that a thread without the machine lock can send it.
 * Under KVM a write to `fd` goes straight to the kernel (irqfd).
 */
struct irq_route {
	int fd; /* eventfd; owned by the route */
	struct msi_message message;
	bool attached;		     /* a write to fd reaches the guest */
	unsigned gsi;		     /* private to the engine */
	const struct irq_chip *chip; /* where it was attached */
};

/* What an engine (or the models under `soft`) provides. */
struct irq_chip_ops {
	void (*set_gsi)(void *opaque, unsigned gsi, bool level); /* 0..23 */
	void (*send_msi)(void *opaque, struct msi_message message);
	/* route_attach also updates: it is called again when the message changed. */
	int (*route_attach)(void *opaque, struct irq_route *route, struct error *err);
	void (*route_detach)(void *opaque, struct irq_route *route);
	/* Sends at once where the calling thread may; false: by a write to the route's fd.  NULL:
	 * always by the fd.  Any thread. */
	bool (*route_fire)(void *opaque, struct irq_route *route);
	/* The rest only of an engine whose PIC and IOAPIC are models of ours; else NULL.
	 * INTR: the PIC asks for an acknowledge (machine->ext_int). */
	void (*set_intr)(void *opaque, bool level);
	/* IOAPIC pin (0 to 23) sends this level-triggered message: its end is to be told to
	 * machine->eoi.  message NULL: no longer. */
	void (*watch_eoi)(void *opaque, unsigned pin, const struct msi_message *message);
};

struct irq_chip {
	const struct irq_chip_ops *ops;
	void *opaque;
	atomic_uint_fast64_t *counter; /* of messages sent and lines raised; may be NULL */
};

void irq_chip_send_msi(struct irq_chip *chip, struct msi_message message); /* machine lock */

/* Under the machine lock, all but fire. */
int irq_route_init(struct irq_route *route, struct error *err); /* creates fd, detached */
void irq_route_destroy(struct irq_chip *chip, struct irq_route *route);
int irq_route_attach(struct irq_chip *chip, struct irq_route *route, struct msi_message message,
	struct error *err);
void irq_route_detach(struct irq_chip *chip, struct irq_route *route);
void irq_route_fire(struct irq_route *route); /* any thread; detached: nothing reaches the guest */

#endif
