/* SPDX-License-Identifier: MIT */
/*
 * The engine: vCPUs take turns on the main loop, some thousand instructions each (time.c), between
 * which the loop serves descriptors and timers.  A turn ends early for anything that asks for
 * attention.
 *
 * Doorbells are plain writes (no ioeventfd); a message route is an eventfd that the loop watches.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "cpu/soft/soft.h"

static struct soft_engine *to_soft(struct cpu_engine *engine)
{
	return container_of(engine, struct soft_engine, engine);
}

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

/* --- interrupts --- */

static void set_intr(void *opaque, bool level)
{
	struct soft_engine *soft = opaque;

	if (level && !soft->intr)
		soft_lapic_lint0(&soft->cpus[0], true);
	soft->intr = level;
	if (level)
		soft_attend(&soft->cpus[0]);
}

static void send_msi(void *opaque, struct msi_message message)
{
	soft_lapic_message(opaque, message);
}

struct route_watch {
	struct loop_watch watch;
	struct soft_engine *soft;
	struct irq_route *route;
	struct list link;
};

static void take_message(struct route_watch *w)
{
	uint64_t count;

	if (read(w->route->fd, &count, sizeof(count)) == sizeof(count))
		soft_lapic_message(w->soft, w->route->message);
}

static void route_fired(void *opaque, uint32_t events)
{
	take_message(opaque);
}

void soft_take_messages(struct soft_engine *soft)
{
	struct list *pos;

	list_for_each (pos, &soft->routes)
		take_message(container_of(pos, struct route_watch, link));
}

static struct route_watch *find_route(struct soft_engine *soft, const struct irq_route *route)
{
	struct list *pos;

	list_for_each (pos, &soft->routes)
		if (container_of(pos, struct route_watch, link)->route == route)
			return container_of(pos, struct route_watch, link);
	return NULL;
}

static int route_attach(void *opaque, struct irq_route *route, struct error *err)
{
	struct soft_engine *soft = opaque;
	struct route_watch *w = find_route(soft, route);

	if (w)
		return 0; /* the message is read when it fires */
	w = calloc(1, sizeof(*w));
	if (!w)
		return error_set(err, ENOMEM, "out of memory");
	w->watch = (struct loop_watch){.fd = route->fd, .ready = route_fired, .opaque = w};
	w->soft = soft;
	w->route = route;
	list_add_tail(&soft->routes, &w->link);
	return loop_watch(soft->engine.machine->loop, &w->watch, EPOLLIN);
}

static void drop(struct route_watch *w)
{
	take_message(w); /* what was sent before arrives */
	loop_unwatch(w->soft->engine.machine->loop, &w->watch);
	list_remove(&w->link);
	free(w);
}

static void route_detach(void *opaque, struct irq_route *route)
{
	struct route_watch *w = find_route(opaque, route);

	if (w)
		drop(w);
}

/* On the main loop the message is there before the next instruction, as on a real bus; from another
 * thread before the next block.  A processor that halts is woken by the watch. */
static bool route_fire(void *opaque, struct irq_route *route)
{
	struct soft_engine *soft = opaque;
	uint64_t one = 1;

	if (loop_is_current(soft->engine.machine->loop)) {
		if (route->attached)
			soft_lapic_message(soft, route->message);
		return true;
	}
	/* EAGAIN: the counter is full, so it is read anyway. */
	if (write(route->fd, &one, sizeof(one)) < 0)
		return true;
	atomic_store(&soft->messages_wait, true);
	for (unsigned i = 0; i < soft->engine.cpus; i++)
		atomic_store(&soft->cpus[i].attention, true);
	return true;
}

static const struct irq_chip_ops soft_irq_ops = {
	.send_msi = send_msi,
	.route_attach = route_attach,
	.route_detach = route_detach,
	.route_fire = route_fire,
	.set_intr = set_intr,
};

/* --- execution --- */

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
	if (atomic_exchange(&c->engine->messages_wait, false))
		soft_take_messages(c->engine);
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

/* --- the engine's interface --- */

static int soft_probe_engine(struct error *err)
{
	return 0;
}

static int block_added(void *opaque, const struct ram_block *block, struct error *err)
{
	return 0; /* looked up in the table of blocks */
}

/* Devices write from their loops; decoded code there is stale. */
static void memory_written(void *opaque, uint64_t address, uint64_t length)
{
	struct soft_engine *soft = opaque;

	if (!length)
		return;
	for (uint64_t page = address >> 12; page <= (address + length - 1) >> 12; page++) {
		uint64_t unused = 0;

		if (!soft_is_code(soft, page << 12) ||
			fault_cpu("code-written", CODE_BY_DEVICE, &unused) == FAULT_DROP)
			continue;
		atomic_store(&soft->code_stale, true);
		for (unsigned i = 0; i < soft->engine.cpus; i++)
			atomic_store(&soft->cpus[i].attention, true);
		return;
	}
}

static void reset_cpu(struct soft_cpu *c)
{
	struct cpu_state state;

	cpu_state_reset(&state);
	c->nmi_pending = c->nmi_blocked = c->halted = c->init_pending = false;
	c->inhibit = INHIBIT_NONE;
	c->debug_hits = 0;
	c->stop_at = UINT64_MAX;
	c->event.active = false;
	c->engine->engine.ops->set_state(&c->engine->engine, c->index, &state);
	c->star = c->lstar = c->cstar = c->fmask = c->kernel_gs_base = c->tsc_aux = 0;
	c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
	c->misc_enable = 1;
	c->pat = 0x0007040600070406;
	c->xcr0 = 1;
	memset(c->dr, 0, sizeof(c->dr));
	c->dr[6] = 0xffff0ff0;
	c->dr[7] = 0x400;
	soft_debug_changed(c);
	soft_fpu_reset(c);
	soft_lapic_reset(c);
	/* Application processors wait for their start-up message. */
	c->halted = c->waits_for_sipi = c->index != 0;
	soft_tlb_flush(c, true);
}

static void vcpus_start(void *opaque)
{
	struct soft_engine *soft = opaque;

	soft->running = true;
	/* What a debugger's step has held back.  A processor that halts has looked, and must not
	 * get a turn by a stop of the machine. */
	for (unsigned i = 0; i < soft->engine.cpus; i++)
		if (!soft->cpus[i].halted)
			atomic_store(&soft->cpus[i].attention, true);
	soft_post(soft);
}

/* On the main loop, so between two instructions of whoever called: nothing runs any more. */
static void vcpus_stop(void *opaque)
{
	struct soft_engine *soft = opaque;

	if (soft->running)
		soft_hash_print(soft);
	soft->running = false;
	soft_time_stop(soft);
	for (unsigned i = 0; i < soft->engine.cpus; i++)
		soft->cpus[i].break_block = true;
}

static void a20(void *opaque, bool open)
{
	struct soft_engine *soft = opaque;
	uint64_t closed = open ? 0 : 1u << 20;

	fault_cpu("a20", 0, &closed);
	if (closed == soft->a20_closed)
		return;
	soft->a20_closed = closed;
	for (unsigned i = 0; i < soft->engine.cpus; i++) {
		soft_tlb_flush(&soft->cpus[i], true);
		soft->cpus[i].break_block = true;
	}
}

static void vcpus_reset(void *opaque)
{
	struct soft_engine *soft = opaque;

	soft->intr = false;
	soft_blocks_flush(soft);
	for (unsigned i = 0; i < soft->engine.cpus; i++) {
		if (log_wants(LOG_CPU_RESET))
			soft_trace_reset(&soft->cpus[i]);
		reset_cpu(&soft->cpus[i]);
	}
}

static void soft_destroy(struct cpu_engine *engine)
{
	struct soft_engine *soft = to_soft(engine);
	struct list *pos, *next;

	list_for_each_safe (pos, next, &soft->routes)
		drop(container_of(pos, struct route_watch, link));
	for (unsigned i = 0; i < engine->cpus; i++)
		soft_lapic_destroy(&soft->cpus[i]);
	soft_decode_destroy(soft);
	engine->machine->memory.listener = NULL;
	engine->machine->engine = NULL;
	free(soft->cpus);
	free(soft);
}

static int create_cpus(
	struct soft_engine *soft, const struct engine_config *config, struct error *err)
{
	struct cpu_choice choice;
	int rc = cpu_choice_parse(config->cpu, &choice, err);

	if (rc < 0)
		return rc;
	soft_warn_features(&choice);
	soft->cpus = aligned_alloc(64, (config->smp.cpus * sizeof(*soft->cpus) + 63) & ~63ULL);
	if (!soft->cpus)
		return error_set(err, ENOMEM, "out of memory");
	memset(soft->cpus, 0, config->smp.cpus * sizeof(*soft->cpus));
	for (unsigned i = 0; i < config->smp.cpus; i++) {
		struct soft_cpu *c = &soft->cpus[i];

		c->engine = soft;
		c->index = i;
		soft->engine.cpus = i + 1;
		soft_set_features(c, &choice);
		rc = soft_lapic_create(c, err);
		if (rc < 0)
			return rc;
		reset_cpu(c);
	}
	soft_decode_features(soft);
	return 0;
}

static int soft_create(
	struct machine *machine, const struct engine_config *config, struct error *err)
{
	struct soft_engine *soft = calloc(1, sizeof(*soft));
	int rc;

	if (!soft)
		return error_set(err, ENOMEM, "out of memory");
	soft->engine = (struct cpu_engine){
		.ops = &soft_engine_ops, .machine = machine, .smp = config->smp};
	list_init(&soft->routes);
	soft->slice_task = (struct loop_task){.run = soft_run_turns, .opaque = soft};
	soft_time_init(soft, config);
	rc = soft_decode_init(soft, err);
	if (rc == 0)
		rc = create_cpus(soft, config, err);
	if (rc < 0) {
		soft_destroy(&soft->engine);
		return rc;
	}
	soft->memory_listener = (struct memory_listener){
		.block_added = block_added, .written = memory_written, .opaque = soft};
	machine->engine = &soft->engine;
	machine->irq_chip = (struct irq_chip){&soft_irq_ops, soft, &machine->interrupts};
	machine->vcpus = (struct machine_vcpus){vcpus_start, vcpus_stop, vcpus_reset, soft, a20};
	return memory_listen(&machine->memory, &soft->memory_listener, err);
}

static struct soft_segment segment_in(const struct cpu_segment *s)
{
	return (struct soft_segment){
		.selector = s->selector,
		.base = s->base,
		.limit = s->limit,
		.unusable = s->unusable,
		.rights = s->type | s->code_or_data << 4 | s->dpl << 5 | s->present << 7 |
			  s->l << 13 | s->db << 14 | s->granular << 15,
	};
}

static struct cpu_segment segment_out(const struct soft_segment *s)
{
	return (struct cpu_segment){
		.selector = s->selector,
		.base = s->base,
		.limit = s->limit,
		.unusable = s->unusable,
		.type = s->rights & R_TYPE,
		.code_or_data = s->rights & R_S,
		.dpl = R_DPL(s->rights),
		.present = s->rights & R_PRESENT,
		.l = s->rights & R_L,
		.db = s->rights & R_D,
		.granular = s->rights & R_G,
	};
}

static int soft_set_state(struct cpu_engine *engine, unsigned cpu, const struct cpu_state *state)
{
	struct soft_cpu *c = &to_soft(engine)->cpus[cpu];
	const struct cpu_segment *from[SEGMENTS] = {&state->es, &state->cs, &state->ss, &state->ds,
		&state->fs, &state->gs, &state->ldt, &state->tr};

	memcpy(c->gpr, state->gpr, sizeof(c->gpr));
	c->rip = state->rip;
	c->flags = state->rflags;
	for (unsigned i = 0; i < SEGMENTS; i++)
		c->seg[i] = segment_in(from[i]);
	c->gdt = state->gdt;
	c->idt = state->idt;
	c->cr0 = state->cr0;
	c->cr2 = state->cr2;
	c->cr3 = state->cr3;
	c->cr4 = state->cr4;
	c->efer = state->efer;
	c->cpl = R_DPL(c->seg[SEG_SS].rights);
	soft_mode_changed(c);
	soft_tlb_flush(c, true);
	return 0;
}

static int soft_get_state(struct cpu_engine *engine, unsigned cpu, struct cpu_state *state)
{
	const struct soft_cpu *c = &to_soft(engine)->cpus[cpu];

	*state = (struct cpu_state){
		.rip = c->rip,
		.rflags = c->flags | 2,
		.es = segment_out(&c->seg[SEG_ES]),
		.cs = segment_out(&c->seg[SEG_CS]),
		.ss = segment_out(&c->seg[SEG_SS]),
		.ds = segment_out(&c->seg[SEG_DS]),
		.fs = segment_out(&c->seg[SEG_FS]),
		.gs = segment_out(&c->seg[SEG_GS]),
		.ldt = segment_out(&c->seg[SEG_LDT]),
		.tr = segment_out(&c->seg[SEG_TR]),
		.gdt = c->gdt,
		.idt = c->idt,
		.cr0 = c->cr0,
		.cr2 = c->cr2,
		.cr3 = c->cr3,
		.cr4 = c->cr4,
		.cr8 = soft_lapic_tpr(c) >> 4,
		.efer = c->efer,
	};
	memcpy(state->gpr, c->gpr, sizeof(c->gpr));
	return 0;
}

static void soft_start(struct cpu_engine *engine)
{
	vcpus_start(to_soft(engine));
}

static void soft_stop(struct cpu_engine *engine)
{
	vcpus_stop(to_soft(engine));
}

static void soft_hold(struct cpu_engine *engine, bool held)
{
	struct soft_engine *soft = to_soft(engine);

	soft->held = held;
	soft_post(soft);
}

static void soft_reset(struct cpu_engine *engine)
{
	vcpus_reset(to_soft(engine));
}

static void soft_nmi(struct cpu_engine *engine, unsigned cpu)
{
	struct soft_cpu *c = &to_soft(engine)->cpus[cpu];

	if (c->waits_for_sipi) /* nothing but a start-up message reaches it */
		return;
	c->nmi_pending = true;
	soft_attend(c);
}

static void soft_counters(
	const struct cpu_engine *engine, unsigned cpu, struct engine_counters *out)
{
	const struct soft_cpu *c =
		&container_of(engine, const struct soft_engine, engine)->cpus[cpu];

	*out = c->counters;
	out->instructions = c->instructions;
	out->interrupted_exits = out->window_exits = out->eoi_exits = out->outside_ns =
		COUNTER_ABSENT;
}

static int soft_thread_id(const struct cpu_engine *engine, unsigned cpu)
{
	return getpid();
}

const struct cpu_engine_ops soft_engine_ops = {
	.name = "soft",
	.probe = soft_probe_engine,
	.create = soft_create,
	.destroy = soft_destroy,
	.start = soft_start,
	.stop = soft_stop,
	.reset = soft_reset,
	.hold = soft_hold,
	.set_state = soft_set_state,
	.get_state = soft_get_state,
	.get_context = soft_get_context,
	.set_context = soft_set_context,
	.set_debug = soft_set_debug,
	.remember = soft_remember,
	.recall = soft_recall,
	.run_until = soft_run_until,
	.inject_nmi = soft_nmi,
	.counters = soft_counters,
	.trail = soft_trail,
	.thread_id = soft_thread_id,
};
