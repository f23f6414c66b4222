/* SPDX-License-Identifier: MIT */
/*
 * What executes guest code.  KVM is one engine, the software processor another.  An engine
 * reaches memory and devices through the listeners and spaces of machine/ only.
 */
#ifndef CPU_ENGINE_H
#define CPU_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cpu/context.h"
#include "cpu/state.h"
#include "cpu/topology.h"
#include "machine/machine.h"

/* What one vCPU did.  A number that the engine cannot count is COUNTER_ABSENT. */
#define COUNTER_ABSENT UINT64_MAX
struct engine_counters {
	uint64_t exits; /* returns from the engine to us, all reasons */
	uint64_t port_exits, mmio_exits, halt_exits, interrupted_exits;
	uint64_t window_exits; /* it takes interrupts again, which our PIC waited for */
	uint64_t eoi_exits;    /* the end of a level interrupt, for our I/O APIC */
	uint64_t outside_ns;   /* CPU time of the vCPU's thread outside the engine, counted from the
				* first query on: taking the time costs two system calls an exit */
	uint64_t instructions; /* executed by the guest */
	uint64_t interrupts;   /* taken: NMIs too, exceptions not */
	uint64_t tlb_misses;   /* look-ups of a page's address and rights in the page tables */
};

struct engine_config {
	const char *cpu; /* -cpu: MODEL[,+feature][,-feature][,feature=on|off] */
	struct cpu_topology smp;
	/* PIC, IOAPIC and PIT are the engine's; else only the local APICs are, and the board brings
	 * models (machine->ext_int, machine->eoi). */
	bool chips;
	/* The software processor's: VM time is the host's, or instructions of 2^shift ns, where
	 * idle time passes at the host's pace or at once; what varies the turns. */
	bool host_clock, idle_sleeps;
	unsigned icount_shift;
	uint64_t seed;
};

/* What a debugger asks of an engine; guest code cannot see it. */
#define CPU_DEBUG_POINTS 64
enum cpu_debug_kind { CPU_DEBUG_EXECUTE, CPU_DEBUG_WRITE, CPU_DEBUG_ACCESS };
struct cpu_debug_point {
	uint64_t address; /* linear */
	uint32_t length;  /* bytes, not 0; of data only */
	enum cpu_debug_kind kind;
};
struct cpu_debug {
	struct cpu_debug_point points[CPU_DEBUG_POINTS];
	unsigned count;
	/* One bit a vCPU: stops behind its next instruction, external interrupts held back where
	 * the engine can; does not run at all. */
	uint64_t step, frozen;
};

/* Why the machine went to RUN_STATE_DEBUG. */
enum cpu_debug_reason { CPU_DEBUG_NONE, CPU_DEBUG_BREAK, CPU_DEBUG_WATCH, CPU_DEBUG_STEP };
struct cpu_debug_stop {
	enum cpu_debug_reason reason;
	unsigned cpu;
	uint64_t address; /* of the point */
};

/* What led a vCPU to where it is, the newest first: for a report. */
#define CPU_TRAIL 8
struct cpu_trail_event {
	uint64_t rip, cr2, instruction; /* instruction: how many were executed before it */
	int64_t error;			/* -1: none */
	uint8_t vector;
	bool interrupt;
};
struct cpu_trail {
	unsigned events, blocks; /* how many there are */
	struct cpu_trail_event event[CPU_TRAIL];
	uint64_t block[CPU_TRAIL]; /* linear addresses where execution of straight code began */
};

/* A place in the run: so many instructions of all vCPUs, or of one. */
struct cpu_goal {
	int cpu; /* -1: of all */
	uint64_t instructions;
};

struct cpu_engine;

struct cpu_engine_ops {
	const char *name; /* -accel's: "kvm", "soft" */
	/* 0 when the engine could run here, else -errno with the reason. */
	int (*probe)(struct error *err);
	/* Creates the VM and vCPUs and installs listeners; memory must be there already.  On
	 * success machine->engine and machine->irq_chip, machine->gsi are set. */
	int (*create)(
		struct machine *machine, const struct engine_config *config, struct error *err);
	void (*destroy)(struct cpu_engine *engine); /* vCPUs are stopped */

	/* Main loop, lock held. */
	void (*start)(struct cpu_engine *engine); /* vCPUs run until stop() */
	/* Releases the lock while it waits; no vCPU executes guest code afterwards. */
	void (*stop)(struct cpu_engine *engine);
	/* To power-on state; interrupt controllers too.  vCPUs are stopped. */
	void (*reset)(struct cpu_engine *engine);
	int (*set_state)(struct cpu_engine *engine, unsigned cpu, const struct cpu_state *state);
	int (*get_state)(struct cpu_engine *engine, unsigned cpu, struct cpu_state *state);
	/* Time and vCPUs stand still until it is called with false; the run state does not change.
	 * NULL: the engine's time is the host's. */
	void (*hold)(struct cpu_engine *engine, bool held);
	/* All of a vCPU, for saving it and for going on from it.  vCPUs are stopped.  A context was
	 * checked by its table; what this engine cannot do is an error.  0 or -errno. */
	int (*get_context)(struct cpu_engine *engine, unsigned cpu, struct cpu_context *context,
		struct error *err);
	int (*set_context)(struct cpu_engine *engine, unsigned cpu,
		const struct cpu_context *context, struct error *err);
	/* Takes the place of what was asked before; engine->debug is a copy.  vCPUs are stopped.
	 * The first that meets it fills engine->debug_stop and calls machine_request_debug():
	 * before the instruction at a breakpoint, behind one that accessed watched data or was a
	 * step.  0, or -ENOSPC, -EINVAL, -ENOTSUP with nothing changed. */
	int (*set_debug)(struct cpu_engine *engine, const struct cpu_debug *debug);
	/* All of the engine's state that is not the machine's, to go on from in the same process;
	 * vCPUs stand between two turns.  NULL: there is no such thing.  remember: free(). */
	void *(*remember)(struct cpu_engine *engine);
	void (*recall)(struct cpu_engine *engine, const void *memory);
	/* Executes, here and now, until `goal` says so (it is asked wherever a turn rests) or a
	 * debugger's point is met: then debug_stop has it.  -errno: it could not go on. */
	int (*run_until)(struct cpu_engine *engine, const struct cpu_goal *goal);
	void (*inject_nmi)(struct cpu_engine *engine, unsigned cpu);
	/* Of one vCPU.  Any thread. */
	void (*counters)(
		const struct cpu_engine *engine, unsigned cpu, struct engine_counters *out);
	/* NULL: the engine does not remember. */
	void (*trail)(const struct cpu_engine *engine, unsigned cpu, struct cpu_trail *out);
	/* The host's id of the vCPU's thread. */
	int (*thread_id)(const struct cpu_engine *engine, unsigned cpu);
};

struct cpu_engine {
	const struct cpu_engine_ops *ops;
	struct machine *machine;
	unsigned cpus;
	struct cpu_topology smp;
	struct cpu_debug debug;
	struct cpu_debug_stop debug_stop;
};

extern const struct cpu_engine_ops kvm_engine_ops, soft_engine_ops;

/* NULL-terminated; the order is that of the default choice. */
extern const struct cpu_engine_ops *const engines[];
const struct cpu_engine_ops *engine_find(const char *name); /* NULL: unknown */

#endif
