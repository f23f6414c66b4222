/* SPDX-License-Identifier: MIT */
/*
 * The gdb stub's stops and going on (gdb's manual, E.2 "?", bc, bs, c, D, k, s, vCont; E.3): which
 * vCPUs run, step or stand still, and why they have stopped; all of them stop together.
 *
 * Left out: non-stop mode; signals that gdb would give to the program (C and S are as c and s).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "debug/gdb-session.h"
#include "machine/outside.h"
#include "migration/rewind.h"

/* gdb's numbers of signals */
enum { SIGNAL_INT = 2, SIGNAL_QUIT = 3, SIGNAL_TRAP = 5, SIGNAL_ABRT = 6, SIGNAL_IO = 23 };

unsigned gdb_cpus(const struct gdb *g)
{
	return g->machine->engine->cpus;
}

static uint64_t all_cpus(const struct gdb *g)
{
	return (UINT64_C(2) << (gdb_cpus(g) - 1)) - 1;
}

/* --- stops --- */

static int signal_of(const struct machine *machine)
{
	switch (machine->state) {
	case RUN_STATE_PAUSED: return SIGNAL_INT;
	case RUN_STATE_SHUTDOWN: return SIGNAL_QUIT;
	case RUN_STATE_IO_ERROR: return SIGNAL_IO;
	case RUN_STATE_INTERNAL_ERROR:
	case RUN_STATE_GUEST_PANICKED: return SIGNAL_ABRT;
	default: return SIGNAL_TRAP;
	}
}

/* place: what gdb is told of it besides, or empty. */
static void reply_stop_at(struct gdb *g, const char *place)
{
	const struct cpu_debug_stop *stop = &g->machine->engine->debug_stop;
	bool ours = g->machine->state == RUN_STATE_DEBUG;
	char why[48] = "", type = '0';

	if (ours && stop->cpu < gdb_cpus(g))
		g->cpu = stop->cpu;
	for (unsigned n = 0; n < g->debug.count; n++)
		if (g->debug.points[n].address == stop->address &&
			(g->debug.points[n].kind == CPU_DEBUG_EXECUTE) ==
				(stop->reason == CPU_DEBUG_BREAK))
			type = g->types[n];
	if (ours && stop->reason == CPU_DEBUG_WATCH)
		snprintf(why, sizeof(why), "%swatch:%llx;",
			type == '3'   ? "r"
			: type == '4' ? "a"
				      : "",
			(unsigned long long)stop->address);
	else if (ours && stop->reason == CPU_DEBUG_BREAK && type == '0' && g->knows_swbreak)
		snprintf(why, sizeof(why), "swbreak:;");
	else if (ours && stop->reason == CPU_DEBUG_BREAK && type == '1' && g->knows_hwbreak)
		snprintf(why, sizeof(why), "hwbreak:;");
	snprintf(g->reply, sizeof(g->reply), "T%02xthread:%02x;%s%s", signal_of(g->machine),
		g->cpu + 1, why, place);
	gdb_send(g, g->reply);
}

static void reply_stop(struct gdb *g)
{
	reply_stop_at(g, outside_info().at_end ? "replaylog:end;" : "");
}

void gdb_say_stop(struct gdb *g, const char *args)
{
	reply_stop(g);
}

void gdb_heard(void *opaque, const char *name, enum shutdown_cause cause)
{
	struct gdb *g = opaque;

	if (strcmp(name, "STOP") != 0 || !g->resumed)
		return;
	g->resumed = false;
	/* Whoever continues now is not gdb: all run. */
	g->debug.step = g->debug.frozen = 0;
	gdb_ask_engine(g);
	reply_stop(g);
}

/* --- going on --- */

void gdb_halt(struct gdb *g)
{
	if (g->machine->state == RUN_STATE_RUNNING)
		machine_stop(g->machine, RUN_STATE_PAUSED);
}

int gdb_ask_engine(struct gdb *g)
{
	struct cpu_engine *engine = g->machine->engine;

	return engine->ops->set_debug(engine, &g->debug);
}

bool gdb_may_start(const struct machine *machine)
{
	return machine->state == RUN_STATE_PRELAUNCH || machine->state == RUN_STATE_PAUSED ||
	       machine->state == RUN_STATE_DEBUG || machine->state == RUN_STATE_IO_ERROR ||
	       machine->state == RUN_STATE_POSTMIGRATE;
}

static void resume(struct gdb *g, uint64_t step, uint64_t run)
{
	int rc;

	if (!gdb_may_start(g->machine)) {
		reply_stop(g);
		return;
	}
	g->debug.step = step;
	g->debug.frozen = all_cpus(g) & ~(step | run);
	rc = gdb_ask_engine(g);
	if (rc < 0) {
		g->debug.step = g->debug.frozen = 0;
		gdb_error(g, -rc);
		return;
	}
	g->machine->engine->debug_stop = (struct cpu_debug_stop){.reason = CPU_DEBUG_NONE};
	g->resumed = true;
	machine_start(g->machine);
}

/* An address to go on at: 0, or -EINVAL. */
static int go_on_at(struct gdb *g, const char *args)
{
	struct cpu_engine *engine = g->machine->engine;
	struct cpu_state state;
	uint64_t address;

	if (!*args)
		return 0;
	if (outside_mode() != OUTSIDE_LIVE || !gdb_take_number(&args, &address) ||
		engine->ops->get_state(engine, g->cpu, &state) < 0 ||
		(int64_t)(address << 16) >> 16 != (int64_t)address)
		return -EINVAL;
	state.rip = address;
	return engine->ops->set_state(engine, g->cpu, &state);
}

void gdb_go_on(struct gdb *g, const char *args)
{
	if (go_on_at(g, args) < 0)
		gdb_error(g, EINVAL);
	else
		resume(g, 0, all_cpus(g));
}

void gdb_step(struct gdb *g, const char *args)
{
	unsigned cpu = g->resumes ? g->resumes - 1 : g->cpu;

	if (go_on_at(g, args) < 0)
		gdb_error(g, EINVAL);
	else
		resume(g, UINT64_C(1) << cpu, g->resumes ? 0 : all_cpus(g));
}

/* vCont;ACTION[:THREAD]...: for each thread the first that names it; none: it stays stopped. */
void gdb_v_cont(struct gdb *g, const char *args)
{
	uint64_t steps = 0, runs = 0, left = all_cpus(g);

	while (gdb_take_char(&args, ';')) {
		uint64_t thread = 0, unused, named;
		char action = *args;

		if (!action || !strchr("cCsS", action)) {
			gdb_error(g, EINVAL);
			return;
		}
		args++;
		if ((action == 'C' || action == 'S') && !gdb_take_number(&args, &unused)) {
			gdb_error(g, EINVAL);
			return;
		}
		if (gdb_take_char(&args, ':') &&
			(!gdb_take_thread(&args, &thread) || thread > gdb_cpus(g))) {
			gdb_error(g, EINVAL);
			return;
		}
		named = left & (thread ? UINT64_C(1) << (thread - 1) : left);
		left &= ~named;
		*((action | 0x20) == 's' ? &steps : &runs) |= named;
	}
	if (*args || left == all_cpus(g))
		gdb_error(g, EINVAL);
	else
		resume(g, steps, runs);
}

void gdb_v_cont_actions(struct gdb *g, const char *args)
{
	gdb_send(g, "vCont;c;C;s;S");
}

void gdb_detach(struct gdb *g, const char *args)
{
	gdb_forget_points(g);
	gdb_send(g, "OK");
	if (gdb_may_start(g->machine))
		machine_start(g->machine);
}

void gdb_end_machine(struct gdb *g, const char *args)
{
	gdb_forget_points(g);
	machine_request_shutdown(g->machine, CAUSE_HOST_UI);
}

/* --- back in a replayed run --- */

static void went_back(struct gdb *g, int rc)
{
	if (rc < 0 && rc != -ENOENT) {
		gdb_error(g, -rc);
		return;
	}
	if (gdb_may_start(g->machine))
		g->machine->state = RUN_STATE_DEBUG;
	reply_stop_at(g, rc == -ENOENT ? "replaylog:begin;" : "");
}

static bool can_go_back(struct gdb *g)
{
	if (rewind_is_there() && gdb_may_start(g->machine))
		return true;
	gdb_send(g, "");
	return false;
}

/* To before the thread's last instruction. */
void gdb_step_back(struct gdb *g, const char *args)
{
	struct cpu_engine *engine = g->machine->engine;
	struct cpu_goal goal = {g->resumes ? (int)g->resumes - 1 : (int)g->cpu, 0};
	struct engine_counters counters;
	int rc = -ENOENT;

	if (!can_go_back(g))
		return;
	engine->ops->counters(engine, goal.cpu, &counters);
	goal.instructions = counters.instructions - 1;
	if (counters.instructions)
		rc = rewind_to(&goal);
	engine->debug_stop = (struct cpu_debug_stop){CPU_DEBUG_STEP, (unsigned)goal.cpu, 0};
	went_back(g, rc);
}

void gdb_continue_back(struct gdb *g, const char *args)
{
	if (can_go_back(g))
		went_back(g, rewind_to_stop());
}
