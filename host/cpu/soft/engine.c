/* SPDX-License-Identifier: MIT */
/*
 * The engine's interface (cpu/engine.h): making and ending it, starting and stopping, resets, and
 * what the machine tells it of memory and address line 20.
 *
 * Doorbells are plain writes: there is no ioeventfd.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "cpu/soft/soft.h"

static struct soft_engine *to_soft(struct cpu_engine *engine)
{
	return container_of(engine, struct soft_engine, engine);
}

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

	soft_routes_drop(soft);
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
