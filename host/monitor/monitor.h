/* SPDX-License-Identifier: MIT */
/*
 * The monitor: QMP for programs, HMP for people, on a character device, over one command table
 * (command.h).  Main loop, machine lock held.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "base/error.h"
#include "chardev/chardev.h"
#include "machine/machine.h"

enum monitor_mode { MONITOR_HMP, MONITOR_QMP, MONITOR_QMP_PRETTY };

/* Takes the character device as its user.  0 or -errno. */
int monitor_create(
	struct machine *machine, struct chardev *chr, enum monitor_mode mode, struct error *err);
/* Sends what can still be sent without waiting.  Before the character devices close. */
void monitor_destroy_all(void);

/* -name and -uuid, for query-name and query-uuid; kept by the caller, NULL: none. */
void monitor_set_names(const char *name, const char *uuid);

#endif
