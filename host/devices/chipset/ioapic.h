/* SPDX-License-Identifier: MIT */
/* The I/O APIC's inputs, for the board.  Machine lock held. */
#ifndef DEVICES_CHIPSET_IOAPIC_H
#define DEVICES_CHIPSET_IOAPIC_H

#include "machine/machine.h"

#define IOAPIC_PINS IOAPIC_PIN_COUNT

void ioapic_set(struct device *dev, unsigned pin, bool level); /* pin: below IOAPIC_PINS */
void ioapic_eoi(struct device *dev, uint8_t vector); /* a local APIC ended a level interrupt */

void ioapic_get(struct device *dev, struct ioapic_state *state);
void ioapic_set_state(struct device *dev, const struct ioapic_state *state);

#endif
