/* SPDX-License-Identifier: MIT */
/* The stub that gdb talks to, on a character device.  Main loop, machine lock held. */
#ifndef DEBUG_GDB_H
#define DEBUG_GDB_H

#include "base/error.h"
#include "chardev/chardev.h"
#include "machine/machine.h"

/* Takes the character device as its user; one stub a process.  `command` runs a line of the
 * monitor's and returns what it prints (freed by us); NULL: there is none.  0 or -errno. */
int gdb_create(struct machine *machine, struct chardev *chr,
	char *(*command)(struct machine *machine, const char *line), struct error *err);
/* Tells gdb that the machine has ended.  Before the character devices close. */
void gdb_destroy(void);

#endif
