/* SPDX-License-Identifier: MIT */
/* -drive, -hda to -hdd: the backend, and the disk that if= asks for. */
#ifndef BOARD_DRIVE_H
#define BOARD_DRIVE_H

#include "base/error.h"
#include "board/config.h"
#include "machine/machine.h"

/* Opens every drive and makes the devices of those that are not if=none.  default_interface: the
 * board's ("ide", "virtio").  0 or -errno with a sentence that begins with the option. */
int drives_create(struct machine *machine, struct board_config *config,
	const char *default_interface, struct error *err);

#endif
