/* SPDX-License-Identifier: MIT */
/* The one line that says where a processor was when it could not go on. */
#ifndef CPU_REPORT_H
#define CPU_REPORT_H

#include <stddef.h>

#include "cpu/state.h"
#include "machine/memory.h"

/* WHAT " on vCPU N: CS:RIP ... CR0 ... CR2 ... CR3 ... bytes ...: disassembly" on stderr.  What of
 * it cannot be had is left out: the bytes where RIP is not in memory, the disassembly without
 * libZydis.  Machine lock held; no vCPU need be stopped but this one. */
void cpu_report(
	struct guest_memory *mem, unsigned cpu, const struct cpu_state *state, const char *what);

/* The physical address of `linear` by the page tables in memory, as a debugger looks: no rights,
 * no side effect.  0, or -EFAULT: it has none. */
int cpu_translate(struct guest_memory *mem, const struct cpu_state *state, uint64_t linear,
	uint64_t *physical);

/* Code of the mode that `state` is in (Intel syntax).  `bytes` are `length` from `rip` on.
 * Machine lock held.  The length of the instruction; 0: none begins there, or there is no library;
 * `text` is empty. */
unsigned cpu_disassemble(const struct cpu_state *state, uint64_t rip, const uint8_t *bytes,
	size_t length, char *text, size_t size);

#endif
