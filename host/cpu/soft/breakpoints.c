/* SPDX-License-Identifier: MIT */
/*
 * The debugger's breakpoints, watchpoints and steps.  They are found where debug.c finds those of
 * the debug registers, and nothing is asked of an instruction while there are none; the guest
 * cannot tell that they are there.
 */
#include <errno.h>

#include "cpu/soft/soft.h"

#define WATCH_MAX 4096 /* bytes */

static const struct cpu_debug *asked(const struct soft_cpu *c)
{
	return &c->engine->engine.debug;
}

int soft_set_debug(struct cpu_engine *engine, const struct cpu_debug *debug)
{
	struct soft_engine *soft = container_of(engine, struct soft_engine, engine);

	for (unsigned n = 0; n < debug->count; n++)
		if (debug->points[n].kind != CPU_DEBUG_EXECUTE &&
			debug->points[n].length > WATCH_MAX)
			return -EINVAL;
	engine->debug = *debug;
	for (unsigned i = 0; i < engine->cpus; i++) {
		struct soft_cpu *c = &soft->cpus[i];
		bool steps = debug->step >> i & 1;

		/* In a run that is recorded or replayed nothing is held back for a step, and nobody
		 * is frozen: it ends behind the next instruction of the run. */
		c->debug_step = steps && !soft_replay_rules();
		c->stop_at = steps && soft_replay_rules() ? c->instructions + 1 : UINT64_MAX;
		soft_points_changed(&soft->cpus[i]);
	}
	return 0;
}

bool soft_break_armed(const struct soft_cpu *c, bool data)
{
	for (unsigned n = 0; n < asked(c)->count; n++)
		if ((asked(c)->points[n].kind != CPU_DEBUG_EXECUTE) == data)
			return true;
	return false;
}

bool soft_break_watches(const struct soft_cpu *c, uint64_t page)
{
	for (unsigned n = 0; n < asked(c)->count; n++) {
		const struct cpu_debug_point *p = &asked(c)->points[n];

		if (p->kind != CPU_DEBUG_EXECUTE &&
			(soft_page(p->address) == page ||
				soft_page(p->address + p->length - 1) == page))
			return true;
	}
	return false;
}

void soft_break_access(struct soft_cpu *c, uint64_t linear, unsigned size, bool write)
{
	for (unsigned n = 0; n < asked(c)->count; n++) {
		const struct cpu_debug_point *p = &asked(c)->points[n];

		if (p->kind == CPU_DEBUG_EXECUTE || (p->kind == CPU_DEBUG_WRITE && !write))
			continue;
		if (linear - p->address >= p->length && p->address - linear >= size)
			continue;
		c->watch_hit = p->address;
		c->debug_hits |= SOFT_WATCH_HIT;
		c->break_block = true;
	}
}

static void stop(struct soft_cpu *c, enum cpu_debug_reason reason, uint64_t address)
{
	c->engine->engine.debug_stop = (struct cpu_debug_stop){reason, c->index, address};
	c->break_block = true;
	machine_request_debug(c->engine->engine.machine);
}

bool soft_break_fetch(struct soft_cpu *c)
{
	uint64_t linear = c->long_mode ? c->rip : (uint32_t)(c->seg[SEG_CS].base + c->rip);

	for (unsigned n = 0; n < asked(c)->count; n++) {
		const struct cpu_debug_point *p = &asked(c)->points[n];

		if (p->kind != CPU_DEBUG_EXECUTE || p->address != linear)
			continue;
		stop(c, CPU_DEBUG_BREAK, linear);
		return true;
	}
	return false;
}

void soft_break_behind(struct soft_cpu *c)
{
	if (c->debug_hits & SOFT_WATCH_HIT)
		stop(c, CPU_DEBUG_WATCH, c->watch_hit);
	else
		stop(c, CPU_DEBUG_STEP, c->rip);
	c->debug_hits &= ~SOFT_WATCH_HIT;
}

void soft_break_stepped(struct soft_cpu *c)
{
	if (c->instructions < c->stop_at)
		return;
	c->stop_at = UINT64_MAX;
	if (!c->engine->engine.machine->debug_requested) /* a watchpoint is met by the same */
		stop(c, CPU_DEBUG_STEP, c->rip);
}
