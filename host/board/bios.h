/* SPDX-License-Identifier: MIT */
/* -bios: firmware that the machine starts with. */
#ifndef BOARD_BIOS_H
#define BOARD_BIOS_H

#include "base/error.h"
#include "board/config.h"
#include "machine/machine.h"

/* Does this machine start with firmware?  With -kernel it does not. */
bool bios_wanted(const struct board_config *config);

/* ROM below 4 GiB, as large as the image (-bios NAME: a file, or one in -L's folder or in Debian's
 * folders of firmware).  Before the engine.  0 or -errno with a sentence. */
int bios_create(struct machine *machine, const struct board_config *config, struct error *err);

/* What power-on finds: the image, and a copy of its last 128 KiB below 1 MiB.  0 or -errno. */
int bios_load(struct machine *machine, struct error *err);

#endif
