/* SPDX-License-Identifier: MIT */
/* One page that says what the guest was doing when it could not go on, or does not go on. */
#ifndef CPU_SITUATION_H
#define CPU_SITUATION_H

#include <stdio.h>

#include "cpu/engine.h"

/* On `out`, of one vCPU; it is stopped, or it is the one that calls.  Each line is indented by two
 * blanks and ends with "\n".  Machine lock held. */
void cpu_situation_print(FILE *out, struct machine *machine, unsigned cpu, const char *what);

/* The same of all vCPUs, which stand still meanwhile.  Main loop, lock held. */
void cpu_situation_print_all(FILE *out, struct machine *machine);

/* After the one line of cpu_report(): the page on stderr, if this is the machine's end. */
void cpu_situation_at_end(struct machine *machine, unsigned cpu, const char *what);

#endif
