/* SPDX-License-Identifier: MIT */
/* The I/O APIC's inputs, for the board.  Machine lock held. */
#ifndef DEVICES_CHIPSET_IOAPIC_H
#define DEVICES_CHIPSET_IOAPIC_H

#include "machine/machine.h"

#define IOAPIC_PINS 24

void ioapic_set(struct device *dev, unsigned pin, bool level); /* pin: below IOAPIC_PINS */
void ioapic_eoi(struct device *dev, uint8_t vector); /* a local APIC ended a level interrupt */

#endif
