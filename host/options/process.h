/* SPDX-License-Identifier: MIT */
/* What the process itself does for the command line: signals, the pid file, the background. */
#ifndef OPTIONS_PROCESS_H
#define OPTIONS_PROCESS_H

#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"
#include "machine/machine.h"

/* Whoever starts us may have closed 0, 1 or 2: then they are /dev/null, not the first file opened.
 */
void standard_fds_open(void);

/* Before the first thread: SIGINT, SIGTERM, SIGHUP, SIGCONT and SIGWINCH come by signals_watch()
 * only (or break a ppoll that lets them in). */
void signals_block(void);
/* From now on the first three end the VM, with QEMU's line on stderr. */
int signals_watch(struct loop *loop, struct machine *machine, struct error *err);
void signals_unwatch(void);
/* Prints the line for a signal that broke a wait in start-up.  False: there was none. */
bool signals_tell(void);

/* NULL path: nothing.  0 or -errno. */
int pidfile_create(const char *path, struct error *err);
void pidfile_remove(void);

/*
 * -daemonize: the parent waits, and ends with 0 when the child says daemon_ready() or with 1 when
 * the child ends before that.  Before the first thread.
 */
int daemon_begin(struct error *err);
int daemon_ready(struct error *err);

#endif
