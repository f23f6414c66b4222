/* SPDX-License-Identifier: MIT */
/*
 * Going back in a replayed run: the engine's state is kept as it is in memory and copied back, and
 * a run is executed up to a place, here and now.  What depends on memory's contents or on the
 * debugger is not kept: translations of addresses, decoded code, breakpoints.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/soft/lapic-private.h"
#include "cpu/soft/soft.h"
#include "machine/outside.h"

struct one_cpu {
	struct soft_cpu cpu;
	struct soft_lapic lapic;
};

struct memory {
	int64_t base;
	uint64_t turns, instructions, hashed, random, trail, left;
	bool paused, intr;
	unsigned turn;
	uint64_t a20_closed;
};

void *soft_remember(struct cpu_engine *engine)
{
	struct soft_engine *soft = container_of(engine, struct soft_engine, engine);
	const struct soft_time *time = &soft->time;
	struct one_cpu *cpus;
	uint8_t *bytes;

	if (!time->is_virtual)
		return NULL;
	bytes = aligned_alloc(64, (sizeof(*cpus) * (engine->cpus + 1) + 63) & ~63ULL);
	if (!bytes)
		return NULL;
	cpus = (struct one_cpu *)bytes;
	for (unsigned i = 0; i < engine->cpus; i++) {
		memcpy(&cpus[i].cpu, &soft->cpus[i], sizeof(cpus[i].cpu));
		cpus[i].lapic = *soft->cpus[i].lapic;
	}
	*(struct memory *)&cpus[engine->cpus] = (struct memory){
		.base = time->base,
		.turns = time->turns,
		.instructions = time->instructions,
		.hashed = time->hashed,
		.random = time->random,
		.trail = time->trail,
		.left = time->left,
		.paused = time->paused,
		.intr = soft->intr,
		.turn = soft->turn,
		.a20_closed = soft->a20_closed,
	};
	return bytes;
}

static void recall_cpu(struct soft_cpu *c, const struct one_cpu *from)
{
	struct vm_timer timer = c->lapic->timer; /* where it stands is the clock's business */
	uint32_t generation = c->generation;

	memcpy(c, &from->cpu, sizeof(*c));
	*c->lapic = from->lapic;
	c->lapic->timer = timer;
	c->generation = generation;
	c->debug_step = false;
	c->stop_at = UINT64_MAX;
	c->debug_hits &= ~SOFT_WATCH_HIT;
	soft_tlb_flush(c, true);
	soft_new_generation(c);
	soft_points_changed(c);
}

void soft_recall(struct cpu_engine *engine, const void *memory)
{
	struct soft_engine *soft = container_of(engine, struct soft_engine, engine);
	const struct one_cpu *cpus = memory;
	const struct memory *from = (const struct memory *)&cpus[engine->cpus];
	struct soft_time *time = &soft->time;

	soft_blocks_flush(soft);
	for (unsigned i = 0; i < engine->cpus; i++)
		recall_cpu(&soft->cpus[i], &cpus[i]);
	time->base = from->base;
	time->turns = from->turns;
	time->instructions = from->instructions;
	time->hashed = from->hashed;
	time->random = from->random;
	time->trail = from->trail;
	time->left = from->left;
	time->paused = from->paused;
	time->slept = false;
	time->running = NULL;
	soft->intr = from->intr;
	soft->turn = from->turn;
	soft->a20_closed = from->a20_closed;
}

bool soft_goal_reached(const struct soft_engine *soft)
{
	const struct cpu_goal *goal = soft->goal;

	if (!goal)
		return false;
	if (goal->cpu >= 0)
		return soft->cpus[goal->cpu].instructions >= goal->instructions;
	return soft->time.instructions >= goal->instructions;
}

/* Turns as ever, but that nobody else has one, output that waits holds nothing, and idle time does
 * not take any. */
int soft_run_until(struct cpu_engine *engine, const struct cpu_goal *goal)
{
	struct soft_engine *soft = container_of(engine, struct soft_engine, engine);
	struct machine *machine = engine->machine;
	bool held = soft->held, sleeps = soft->time.idle_sleeps;
	enum run_state state = machine->state;
	int rc = 0;

	engine->debug_stop = (struct cpu_debug_stop){.reason = CPU_DEBUG_NONE};
	soft->held = soft->time.idle_sleeps = false;
	soft->running = true;
	machine->state = RUN_STATE_RUNNING; /* a reset of the guest's goes on as it went on */
	soft->goal = goal;
	if (goal->cpu >= 0)
		soft->cpus[goal->cpu].stop_at = goal->instructions;
	while (!rc && !machine->debug_requested && !soft_goal_reached(soft)) {
		loop_cancel(machine->loop, &soft->slice_task); /* it is done here */
		soft_run_turns(soft);
		/* A reset, or a shutdown that the recorded run outlived. */
		if (machine_request_pending(machine) && !machine->debug_requested)
			loop_run_tasks(machine->loop);
		if (!soft_goal_reached(soft) &&
			(!soft->running ||
				(machine_request_pending(machine) && !machine->debug_requested)))
			rc = -EIO;
	}
	if (goal->cpu >= 0)
		soft->cpus[goal->cpu].stop_at = UINT64_MAX;
	soft->goal = NULL;
	soft->running = false;
	machine->state = state;
	machine->debug_requested = false;
	soft->held = held;
	soft->time.idle_sleeps = sleeps;
	return rc;
}
