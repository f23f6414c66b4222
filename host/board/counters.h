/* SPDX-License-Identifier: MIT */
/* What the VMM counts, for the probe device. */
#ifndef BOARD_COUNTERS_H
#define BOARD_COUNTERS_H

#include "base/error.h"
#include "machine/machine.h"

/* Adds the probe device; the engine exists.  0 or -errno. */
int counters_add_probe(struct machine *machine, struct error *err);

#endif
