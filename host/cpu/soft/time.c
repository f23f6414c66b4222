/* SPDX-License-Identifier: MIT */
/*
 * Virtual time: the machine's clock counts instructions, 2^shift ns each, of whichever vCPU has its
 * turn; when all of them halt it skips to the next timer.  Turns end at the instruction where a
 * timer is due, and their lengths follow from the seed: with the same seed and no input from
 * outside, everything happens at the same instruction again.
 */
#include "base/random.h"
#include "cpu/soft/soft.h"
#include "machine/outside.h"

#define SLICE 20000 /* instructions a turn: a fraction of a millisecond */

static uint64_t gone(const struct soft_time *time)
{
	return time->running ? time->running->instructions - time->began : 0;
}

static int64_t now(void *opaque)
{
	const struct soft_time *time = opaque;

	return time->base + (int64_t)(gone(time) << time->shift);
}

/* Instructions from the beginning of the turn until the clock shows `deadline` or more. */
static uint64_t until(const struct soft_time *time, int64_t deadline)
{
	int64_t span = deadline - time->base;

	return span > 0 ? ((uint64_t)(span - 1) >> time->shift) + 1 : 0;
}

/* Armed by the instruction that runs: the turn must not go beyond it.  Or by the loop, while all
 * vCPUs may halt: idle time has an end now. */
static void deadline_is(void *opaque, int64_t deadline)
{
	struct soft_time *time = opaque;
	struct soft_cpu *c = time->running;
	uint64_t end;

	if (!c) {
		soft_post(container_of(time, struct soft_engine, time));
		return;
	}
	end = time->began + until(time, deadline);
	if (end < time->end)
		time->end = end;
	if (end < c->slice_end) {
		c->slice_end = end;
		c->break_block = true;
	}
}

/* Between two turns, and no vCPU runs. */
static void set_now(void *opaque, int64_t value)
{
	struct soft_time *time = opaque;

	time->base = value;
}

static void skip(struct soft_engine *soft)
{
	struct vm_clock *clock = &soft->engine.machine->clock;
	int64_t deadline = vm_clock_deadline(clock);

	if (deadline == INT64_MAX)
		return;
	if (deadline > soft->time.base)
		soft->time.base = deadline;
	vm_clock_expire(clock);
}

static void slept(void *opaque)
{
	struct soft_engine *soft = opaque;

	soft->time.slept = true;
	soft_post(soft);
}

void soft_time_init(struct soft_engine *soft, const struct engine_config *config)
{
	struct soft_time *time = &soft->time;

	time->is_virtual = !config->host_clock;
	time->shift = config->icount_shift;
	/* Not a multiple of RANDOM_STEP: seeds would be one sequence, shifted. */
	time->random = config->seed * 0xd1342543de82ef95 + 0xd1b54a32d192ed03;
	time->idle_sleeps = config->idle_sleeps;
	time->wake = (struct loop_timer){.expired = slept, .opaque = soft};
	time->source = (struct vm_clock_source){now, deadline_is, set_now, time};
	if (!time->is_virtual)
		return;
	vm_clock_follow(&soft->engine.machine->clock, &time->source);
	soft_replay_init(soft);
}

/* Most turns are long; every fourth is so short that vCPUs interleave within a few instructions. */
static uint64_t quantum(struct soft_engine *soft)
{
	uint64_t number;

	if (!soft->time.is_virtual || soft->engine.cpus == 1)
		return SLICE;
	number = random_next(&soft->time.random);
	return number & 3 ? 1 + (number >> 2) % SLICE : 1 + (number >> 2) % 64;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t soft_turn_begin(struct soft_engine *soft, struct soft_cpu *c)
{
	struct soft_time *time = &soft->time;
	uint64_t length = time->paused ? time->left : quantum(soft);

	time->paused = time->slept = false;
	if (!time->is_virtual)
		return length;
	length = less(length, until(time, vm_clock_deadline(&soft->engine.machine->clock)));
	time->running = c;
	time->began = c->instructions;
	time->end = c->instructions + length;
	length = less(length, soft_hash_due(soft));
	return soft_replay_rules() ? less(length, soft_replay_due(c)) : length;
}

static void account(struct soft_time *time)
{
	time->base += (int64_t)(gone(time) << time->shift);
	time->instructions += gone(time);
	time->running = NULL;
}

/* A processor that halts or gives way ends its turn itself, whoever else looks. */
bool soft_turn_rests(const struct soft_engine *soft, const struct soft_cpu *c)
{
	if (!soft->time.is_virtual || c->halted || c->yielded)
		return false;
	if (soft->held || soft->engine.machine->debug_requested)
		return true;
	if (soft_replay_rules() && !soft_replay_due(c))
		return true;
	return c->instructions >= c->slice_end && c->slice_end < soft->time.end;
}

void soft_turn_pause(struct soft_engine *soft)
{
	struct soft_time *time = &soft->time;
	const struct soft_cpu *c = time->running;

	time->left = time->end > c->instructions ? time->end - c->instructions : 0;
	time->paused = true;
	account(time);
	if (!soft_hash_due(soft))
		soft_hash_print(soft);
}

void soft_after_access(struct soft_cpu *c)
{
	struct soft_engine *soft = c->engine;

	if (machine_request_pending(soft->engine.machine))
		c->break_block = true;
	if (soft->time.is_virtual && loop_has_tasks(soft->engine.machine->loop)) {
		c->slice_end = soft->time.end = c->instructions;
		c->break_block = true;
	}
}

void soft_turn_end(struct soft_engine *soft)
{
	struct soft_time *time = &soft->time;

	if (!time->is_virtual)
		return;
	time->turns++;
	if (soft_replay_rules())
		soft_replay_turn_ended(soft, time->running);
	account(time);
	if (!soft_hash_due(soft))
		soft_hash_print(soft);
	vm_clock_expire(&soft->engine.machine->clock);
}

bool soft_idle(struct soft_engine *soft)
{
	struct machine *machine = soft->engine.machine;
	int64_t deadline = vm_clock_deadline(&machine->clock);

	if (!soft->time.is_virtual)
		return false;
	if (deadline == INT64_MAX) {
		outside_stuck();
		return false;
	}
	if (soft->time.idle_sleeps && !soft->time.slept && deadline > soft->time.base) {
		loop_timer_arm(
			machine->loop, &soft->time.wake, loop_now() + (deadline - soft->time.base));
		return false;
	}
	soft->time.slept = false;
	soft->time.turns++;
	skip(soft);
	return true;
}

void soft_time_stop(struct soft_engine *soft)
{
	loop_timer_cancel(soft->engine.machine->loop, &soft->time.wake);
}
