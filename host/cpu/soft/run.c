/* SPDX-License-Identifier: MIT */
/*
 * How vCPUs run: by turns on the main loop, some thousand instructions each (time.c), between which
 * the loop serves descriptors and timers.  A turn ends early for anything that asks for attention;
 * interrupts are taken between two blocks.
 */
#include "cpu/soft/soft.h"

#define TURNS 8 /* in virtual time, between two looks of the loop at the world outside */

void soft_post(struct soft_engine *soft)
{
	if (soft->running && !soft->held && !soft->in_turns)
		loop_post(soft->engine.machine->loop, &soft->slice_task);
}

void soft_attend(struct soft_cpu *c)
{
	atomic_store(&c->attention, true);
	c->break_block = true;
	soft_post(c->engine);
}

/* The vector of an interrupt that may be taken now, or -1. */
static int pending_interrupt(struct soft_cpu *c)
{
	struct machine *machine = c->engine->engine.machine;
	int vector;

	if (c->nmi_pending && !c->nmi_blocked) {
		c->nmi_pending = false;
		c->nmi_blocked = true;
		return V_NMI;
	}
	if (!(c->flags & F_IF))
		return -1;
	vector = soft_lapic_pending(c);
	if (vector >= 0)
		soft_lapic_accept(c, vector);
	else if (c->index == 0 && c->engine->intr && machine->ext_int.acknowledge &&
		 soft_lapic_takes_extint(c))
		vector = machine->ext_int.acknowledge(machine->ext_int.opaque);
	return vector;
}

/* Delivers what is pending and may be taken now.  Returns whether the vCPU can execute. */
static bool take_interrupts(struct soft_cpu *c)
{
	int vector;

	atomic_store(&c->attention, false);
	if (c->init_pending)
		soft_lapic_init(c);
	if (c->waits_for_sipi)
		return false;
	/* A step is not into a handler, unless nothing else can happen; a start looks again. */
	if (c->inhibit || (c->debug_step && !c->halted))
		return true;
	vector = pending_interrupt(c);
	if (vector >= 0) {
		c->halted = false;
		c->counters.interrupts++;
		soft_trail_note(c, vector, NO_ERROR_CODE, true);
		soft_post_interrupt(c, vector);
		soft_deliver(c);
	}
	return !c->halted;
}

/* One block, or one instruction when something must be looked at after each. */
static void run_block(struct soft_cpu *c)
{
	struct soft_block *block;
	const struct soft_insn *i, *end;
	bool step = c->flags & F_TF, single;
	uint64_t left = c->slice_end - c->instructions;
	uint64_t mask = c->long_mode ? UINT64_MAX : 0xffffffff;

	single = step || c->inhibit || c->debug_execute || c->debug_step;
	if (c->debug_execute && soft_break_fetch(c))
		return;
	if (c->debug_execute && !(c->flags & F_RF) && c->inhibit != INHIBIT_SS)
		soft_debug_fetch(c);
	block = soft_block_at(c);
	c->trail_blocks[c->trail_block++ % CPU_TRAIL] = c->seg[SEG_CS].base + c->rip;
	i = block->insns;
	end = i + (block->count < left ? block->count : left);
	c->break_block = false;
	c->inhibit = INHIBIT_NONE;
	c->after = 0;
	if (!single && soft_execute_translated(c, block))
		i = end;
	for (; i < end; i++) {
		c->next_rip = (c->rip + i->length) & mask;
		i->run(c, i);
		c->rip = c->next_rip;
		c->instructions += !(c->after & AFTER_UNFINISHED);
		if (c->break_block || single)
			break;
	}
	if (single)
		c->break_block = true; /* what was held back for this instruction is looked at */
	if (!(c->after & AFTER_KEEPS_RF))
		c->flags &= ~F_RF;
	if (c->after & AFTER_STEP_BY_RESULT)
		step = c->flags & F_TF;
	if (c->debug_step || c->debug_hits & SOFT_WATCH_HIT)
		soft_break_behind(c);
	if (step || c->debug_hits)
		soft_debug_trap(c, step);
}

/* Until the turn is over, the vCPU halts or a request waits; faults leave by c->escape. */
static void execute(struct soft_cpu *c)
{
	struct soft_engine *soft = c->engine;

	while (c->instructions < c->slice_end && !c->yielded) {
		if (atomic_load_explicit(&soft->code_stale, memory_order_relaxed) &&
			atomic_exchange(&soft->code_stale, false))
			soft_blocks_flush(soft);
		if (machine_request_pending(soft->engine.machine) || !soft->running || soft->held)
			return;
		if (c->event.active) {
			soft_deliver(c);
			if (c->debug_step) {
				soft_break_behind(c);
				return;
			}
		}
		if (c->debug_hits && !c->inhibit) { /* of a task switch in a delivery */
			soft_debug_trap(c, false);
			continue;
		}
		if ((atomic_load_explicit(&c->attention, memory_order_relaxed) || c->halted ||
			    c->break_block) &&
			!take_interrupts(c))
			return;
		run_block(c);
	}
}

void soft_run(struct soft_cpu *c, uint64_t count)
{
	c->engine->current = c;
	c->yielded = false;
	c->slice_end = c->instructions + count;
	if (setjmp(c->escape)) {
		/* A fault counts as an instruction, so that a turn of faults ends, too. */
		c->instructions++;
		soft_take_fault(c);
	}
	execute(c);
	c->engine->current = NULL;
}

/* Whose turn it is: the next in the row that can execute or must look. NULL: all halt. */
static struct soft_cpu *next_cpu(struct soft_engine *soft)
{
	for (unsigned i = 0; i < soft->engine.cpus; i++) {
		struct soft_cpu *c = &soft->cpus[(soft->turn + i) % soft->engine.cpus];

		if (soft->engine.debug.frozen >> c->index & 1 && !soft_replay_rules())
			continue;
		if (!c->halted || atomic_load(&c->attention))
			return c;
	}
	return NULL;
}

static bool may_run(const struct soft_engine *soft)
{
	return soft->running && !soft->held && !machine_request_pending(soft->engine.machine) &&
	       !soft_goal_reached(soft);
}

/* Some turns, then the loop has one.  What a device left for the loop goes first. */
void soft_run_turns(void *opaque)
{
	struct soft_engine *soft = opaque;
	struct soft_cpu *c = NULL;
	unsigned turns = soft->time.is_virtual ? TURNS : soft->engine.cpus;
	bool idle = false, ruled = soft_replay_rules();

	soft_time_stop(soft);
	soft->in_turns = true;
	for (unsigned i = 0; i < turns && may_run(soft) && !idle; i++) {
		if (ruled ? !soft_replay_settle(soft) : loop_has_tasks(soft->engine.machine->loop))
			break;
		c = next_cpu(soft);
		if (!c) {
			idle = !soft_idle(soft);
			continue;
		}
		soft_run(c, soft_turn_begin(soft, c));
		soft_break_stepped(c);
		if (soft_turn_rests(soft, c)) {
			soft_turn_pause(soft);
			soft->turn = c->index; /* whoever it may have woken meanwhile */
			continue;
		}
		soft_turn_end(soft);
		soft->turn = (c->index + 1) % soft->engine.cpus;
	}
	soft->in_turns = false;
	if (may_run(soft) && !idle)
		soft_post(soft);
}
