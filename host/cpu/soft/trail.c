/* SPDX-License-Identifier: MIT */
/* What led a vCPU to where it is, for reports (cpu/situation.h): two short rings. */
#include "cpu/soft/soft.h"

void soft_trail_note(struct soft_cpu *c, unsigned vector, int64_t error, bool interrupt)
{
	c->trail_events[c->trail_event++ % CPU_TRAIL] = (struct cpu_trail_event){
		.rip = c->rip,
		.cr2 = c->cr2,
		.instruction = c->instructions,
		.error = error,
		.vector = vector,
		.interrupt = interrupt,
	};
}

void soft_trail(const struct cpu_engine *engine, unsigned cpu, struct cpu_trail *out)
{
	const struct soft_cpu *c =
		&container_of(engine, const struct soft_engine, engine)->cpus[cpu];

	out->events = c->trail_event < CPU_TRAIL ? c->trail_event : CPU_TRAIL;
	out->blocks = c->trail_block < CPU_TRAIL ? c->trail_block : CPU_TRAIL;
	for (unsigned i = 0; i < out->events; i++)
		out->event[i] = c->trail_events[(c->trail_event - 1 - i) % CPU_TRAIL];
	for (unsigned i = 0; i < out->blocks; i++)
		out->block[i] = c->trail_blocks[(c->trail_block - 1 - i) % CPU_TRAIL];
}
