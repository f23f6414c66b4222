/* SPDX-License-Identifier: MIT */
#ifndef BOARD_VIRTUAL_TIME_H
#define BOARD_VIRTUAL_TIME_H

#include "machine/machine.h"

/* After the engine was created and before any device: arranges the host's side for a machine whose
 * clock the engine drives; does nothing for another.  Main thread. */
void virtual_time_arrange(struct machine *machine, uint64_t seed);

/* The state of the model of disks, to go back to. */
uint64_t virtual_time_remember(void);
void virtual_time_recall(uint64_t memory);

#endif
