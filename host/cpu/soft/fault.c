/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and interrupts as events (SDM 3A, chapter 6): how a fault leaves its instruction, what
 * two make (double and triple fault), and the event that is delivered between two instructions.
 * Through which gate is in gate.c.
 */
#include <string.h>

#include "base/fault.h"
#include "cpu/report.h"
#include "cpu/situation.h"
#include "cpu/soft/soft.h"

_Noreturn void soft_fault(struct soft_cpu *c, enum vector vector, int64_t error)
{
	c->fault_vector = vector;
	c->fault_error = error;
	c->implicit = false;
	c->debug_hits = 0; /* the instruction is done again, and meets them again */
	longjmp(c->escape, 1);
}

_Noreturn void soft_page_fault(struct soft_cpu *c, uint64_t linear, uint32_t error)
{
	c->cr2 = linear;
	soft_fault(c, V_PF, error);
}

static bool is_contributory(int vector)
{
	return vector == V_DE || (vector >= V_TS && vector <= V_GP);
}

static bool has_error_code(unsigned vector)
{
	return vector == V_DF || (vector >= V_TS && vector <= V_PF) || vector == V_AC;
}

static void triple_fault(struct soft_cpu *c)
{
	struct machine *machine = c->engine->engine.machine;
	struct cpu_state state;

	if (!soft_engine_ops.get_state(&c->engine->engine, c->index, &state))
		cpu_report(&machine->memory, c->index, &state, "triple fault");
	cpu_situation_at_end(machine, c->index, "triple fault");
	c->halted = true;
	machine_request_reset(machine, CAUSE_GUEST_RESET);
}

/* What a fault while delivering another event becomes (table 6-5).  -1: a triple fault. */
static int combine(int first, int second)
{
	if (first == V_DF)
		return -1;
	if (first == V_PF)
		return second == V_PF || is_contributory(second) ? V_DF : second;
	if (is_contributory(first))
		return is_contributory(second) ? V_DF : second;
	return second;
}

/* For the tests of the tests: what is raised is not what should be. */
static void change_fault(struct soft_cpu *c)
{
	uint64_t vector = c->fault_vector, error = c->fault_error;

	fault_cpu("error", vector, &error);
	if (vector == V_PF)
		fault_cpu("cr2", vector, &c->cr2);
	fault_cpu("vector", vector, &vector);
	c->fault_vector = vector;
	c->fault_error = error;
}

void soft_take_fault(struct soft_cpu *c)
{
	struct soft_event *event = &c->event;
	uint64_t first, combined;

	change_fault(c);
	soft_trail_note(c, c->fault_vector, c->fault_error, false);
	if (!event->active) {
		*event = (struct soft_event){.active = true,
			.fault = true,
			.vector = c->fault_vector,
			.error = c->fault_error,
			.rsp = c->gpr[RSP],
			.flags = c->flags};
		return;
	}
	/* The delivery is undone; what it had loaded of segments it loads last. */
	c->gpr[RSP] = event->rsp;
	c->flags = event->flags;
	first = event->vector;
	event->vector = event->fault ? combine(event->vector, c->fault_vector) : c->fault_vector;
	combined = event->vector;
	fault_cpu("combine", first, &combined);
	event->vector = (int)combined;
	event->error = event->vector == V_DF ? 0 : c->fault_error;
	event->fault = true;
	if (event->vector < 0) {
		event->active = false;
		triple_fault(c);
	}
}

void soft_deliver(struct soft_cpu *c)
{
	const struct soft_event *event = &c->event;
	bool with_error = event->fault && has_error_code(event->vector) && c->cr0 & CR0_PE;

	/* Faults restart the instruction, so RF is set in the image (17.3.1.1). */
	if (event->fault && event->vector != V_DB && event->vector != V_DF)
		c->flags |= F_RF;
	c->next_rip = c->rip;
	soft_through_gate(c, event->vector, false, event->error, with_error, c->rip);
	c->rip = c->next_rip;
	if (event->fault)
		c->inhibit = INHIBIT_NONE;
	if (event->fault && event->vector == V_DB)
		soft_debug_entered(c);
	c->halted = false;
	c->event.active = false;
}

void soft_post_interrupt(struct soft_cpu *c, unsigned vector)
{
	c->event = (struct soft_event){
		.active = true, .vector = vector, .rsp = c->gpr[RSP], .flags = c->flags};
}

void soft_post_trap(struct soft_cpu *c, enum vector vector)
{
	soft_post_interrupt(c, vector);
	c->event.fault = true;
	c->event.error = NO_ERROR_CODE;
}
