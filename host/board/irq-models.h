/* SPDX-License-Identifier: MIT */
/* Interrupt controllers and timer of our own, where the engine does not bring them. */
#ifndef BOARD_IRQ_MODELS_H
#define BOARD_IRQ_MODELS_H

#include "machine/machine.h"

/* Makes 8259s, IOAPIC and 8254 and leads machine->gsi[] to them.  0 or -errno. */
int irq_models_create(struct machine *machine, struct error *err);

#endif
