/* SPDX-License-Identifier: MIT */
/* The timer's state, in the form that the kernel's timer has too. */
#ifndef DEVICES_CHIPSET_I8254_H
#define DEVICES_CHIPSET_I8254_H

#include "machine/chips.h"
#include "machine/device.h"

void i8254_get(struct device *dev, struct pit_state *state);
int i8254_set(struct device *dev, const struct pit_state *state, struct error *err);

#endif
