/* SPDX-License-Identifier: MIT */
/*
 * The ISA bus: a place to plug into, and no more.  A device on it maps its own ports and takes the
 * line machine->gsi[irq], which reaches the PIC and the IOAPIC pin of that number.
 */
#ifndef BUS_ISA_H
#define BUS_ISA_H

#include "machine/machine.h"

/* Makes the bus "isa.0".  Board set-up. */
void isa_bus_init(struct bus *bus, struct machine *machine);

#endif
