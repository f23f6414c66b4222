/* SPDX-License-Identifier: MIT */
/* The pair of 8259A: inputs for the board, INTR and INTA for the engine.  Machine lock held. */
#ifndef DEVICES_CHIPSET_I8259_H
#define DEVICES_CHIPSET_I8259_H

#include "machine/machine.h"

void i8259_set(struct device *dev, unsigned irq, bool level); /* irq: 0 to 15, not 2 */

/* First the master.  INTR follows a set. */
void i8259_get(struct device *dev, struct pic_state state[2]);
void i8259_set_state(struct device *dev, const struct pic_state state[2]);

#endif
