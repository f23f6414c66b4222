/* SPDX-License-Identifier: MIT */
/* -icount rr=record|replay: what a machine is known by, and the gates of its input. */
#ifndef BOARD_REPLAY_H
#define BOARD_REPLAY_H

#include "board/config.h"
#include "machine/machine.h"

/* Without rr= both do nothing.  0 or -errno with a sentence that begins with the option. */
int replay_prepare(struct machine *machine, const struct board_config *config,
	struct error *err); /* before the first device */
int replay_begin(struct machine *machine, const struct board_config *config,
	struct error *err); /* behind the last, and before the first instruction */

#endif
