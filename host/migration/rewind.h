/* SPDX-License-Identifier: MIT */
/*
 * Going back in a replayed run (docs/replay.md): places are kept on the way, a machine is put back
 * to one of them and executes from there.  Main loop, lock held, VM stopped.
 */
#ifndef MIGRATION_REWIND_H
#define MIGRATION_REWIND_H

#include "cpu/engine.h"
#include "machine/machine.h"

/* Keeps places from the next comparison with the log on; only when the machine replays. */
void rewind_prepare(struct machine *machine);
bool rewind_is_there(void);
void rewind_forget(void);
/* Devices came or went: what was kept is of another machine.  The next comparison is the first
 * place then. */
void rewind_begin_anew(void);

/* Back, or forward within what was executed already, to `goal`.  0; -ENOENT: that is before the
 * beginning, nothing changed; another -errno: the machine is of no use any more. */
int rewind_to(const struct cpu_goal *goal);

/* Back to the last place before now at which the debugger's points would have stopped it:
 * engine->debug_stop says which; a watchpoint's place is before the access.  0; -ENOENT: there is
 * none, the machine is at its beginning. */
int rewind_to_stop(void);

#endif
