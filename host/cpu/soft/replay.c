/* SPDX-License-Identifier: MIT */
/*
 * The engine's part in `-icount rr=` (machine/outside.h): where in the run it is, what a replayed
 * run is compared by, and that turns rest where the log has something amid them.
 */
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "cpu/soft/soft.h"
#include "machine/outside.h"

static struct outside_position position(void *opaque)
{
	const struct soft_engine *soft = opaque;
	const struct soft_time *time = &soft->time;
	uint64_t amid = time->running ? time->running->instructions - time->began : 0;

	return (struct outside_position){time->turns, time->instructions + amid};
}

static uint64_t rip(void *opaque)
{
	const struct soft_engine *soft = opaque;

	return soft->cpus[soft->turn].rip;
}

static struct outside_part part(const char *name, uint64_t hash)
{
	struct outside_part made = {.hash = hash};

	snprintf(made.name, sizeof(made.name), "%s", name);
	return made;
}

/*
 * A TLB remembers what the tables in memory say no more, and which accessed bits it has set; a
 * machine that was loaded begins with empty ones.
 */
static unsigned parts(void *opaque, bool memory, struct outside_part out[OUTSIDE_PARTS])
{
	struct soft_engine *soft = opaque;
	struct machine *machine = soft->engine.machine;
	unsigned count = 0;
	char name[16];

	for (unsigned i = 0; i < soft->engine.cpus; i++) {
		snprintf(name, sizeof(name), "cpu%u", i);
		out[count++] = part(name, soft_hash_cpu(&soft->cpus[i]));
		soft_tlb_flush(&soft->cpus[i], true);
	}
	out[count++] = part("way", soft->time.trail);
	out[count++] = part("clock", (uint64_t)vm_clock_now(&machine->clock));
	out[count++] = part("random", machine->random_state);
	out[count++] = part("output", machine->output_hash);
	for (unsigned i = 0; memory && i < machine->memory.count && count < OUTSIDE_PARTS; i++) {
		const struct ram_block *block = &machine->memory.blocks[i];

		snprintf(name, sizeof(name), "%s", block->name);
		out[count++] = part(name, XXH3_64bits(block->host, block->size));
	}
	return count;
}

static struct outside_engine outside_engine = {position, parts, rip, NULL};

void soft_replay_init(struct soft_engine *soft)
{
	outside_engine.opaque = soft;
	outside_set_engine(&outside_engine);
}

bool soft_replay_rules(void)
{
	return outside_mode() != OUTSIDE_LIVE;
}

/* All of a turn goes into it, so that no difference is lost before the next comparison. */
void soft_replay_turn_ended(struct soft_engine *soft, const struct soft_cpu *c)
{
	struct {
		uint64_t index, instructions, rip, flags, gpr[16];
	} end = {c->index, c->instructions, c->rip, c->flags, {0}};

	memcpy(end.gpr, c->gpr, sizeof(end.gpr));
	soft->time.trail = XXH3_64bits_withSeed(&end, sizeof(end), soft->time.trail);
}

uint64_t soft_replay_due(const struct soft_cpu *c)
{
	const struct soft_engine *soft = c->engine;
	uint64_t due = outside_ahead();
	uint64_t step = c->stop_at - c->instructions;
	uint64_t goal = UINT64_MAX;

	if (soft->goal && soft->goal->cpu < 0)
		goal = soft->goal->instructions - position(c->engine).instructions;
	due = goal < due ? goal : due;
	return step < due ? step : due;
}

bool soft_replay_settle(struct soft_engine *soft)
{
	struct machine *machine = soft->engine.machine;

	do {
		while (loop_has_tasks(machine->loop))
			loop_run_tasks(machine->loop);
		if (!soft->running || soft->held || machine_request_pending(machine))
			return false;
	} while (outside_arrive());
	return soft->running && !soft->held && !machine_request_pending(machine);
}
