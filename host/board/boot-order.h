/* SPDX-License-Identifier: MIT */
/* What firmware is told of where to boot from (-boot, bootindex=). */
#ifndef BOARD_BOOT_ORDER_H
#define BOARD_BOOT_ORDER_H

#include "base/error.h"
#include "board/config.h"
#include "machine/machine.h"

/* The CMOS bytes and fw_cfg's items; again at each reset (-boot once= counts the first time only).
 * 0 or -errno. */
int boot_order_load(struct machine *machine, struct device *fw_cfg,
	const struct board_config *config, struct error *err);

/* The file "bootorder": a line with the firmware's name of each device with a bootindex, in its
 * order, ended by a NUL.  *length 0: there is none.  malloc'ed; NULL: no memory. */
char *boot_order_text(struct machine *machine, bool strict, size_t *length);

#endif
