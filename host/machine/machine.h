/* SPDX-License-Identifier: MIT */
/*
 * The machine: what every device may see of the VM, and the run state that the monitor, the board
 * and the engine share.
 *
 * `lock` guards everything but the data plane of queues.  vCPU threads take it for each exit they
 * handle; the main loop holds it around callbacks.
 */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "machine/chips.h"
#include "machine/clock.h"
#include "machine/device.h"
#include "machine/irq.h"
#include "machine/memory.h"
#include "machine/space.h"

#define GSI_COUNT 24

enum run_state {
	RUN_STATE_PRELAUNCH, /* -S: not started yet */
	RUN_STATE_RUNNING,
	RUN_STATE_PAUSED,	  /* stop */
	RUN_STATE_SHUTDOWN,	  /* the guest shut down under -no-shutdown */
	RUN_STATE_INTERNAL_ERROR, /* the engine cannot go on */
	RUN_STATE_IO_ERROR,	  /* a disk's request failed, and cont tries it again */
	RUN_STATE_GUEST_PANICKED,
	RUN_STATE_INMIGRATE,	  /* -incoming: a saved state is awaited */
	RUN_STATE_FINISH_MIGRATE, /* stopped, being saved */
	RUN_STATE_POSTMIGRATE,	  /* saved */
	RUN_STATE_DEBUG,	  /* a breakpoint, a watchpoint or a step of the debugger's */
};

/* Why the VM is to end or to be reset; QMP's ShutdownCause, same order as its names. */
enum shutdown_cause {
	CAUSE_HOST_QMP_QUIT,
	CAUSE_HOST_QMP_SYSTEM_RESET,
	CAUSE_HOST_SIGNAL,
	CAUSE_HOST_UI,
	CAUSE_GUEST_SHUTDOWN,
	CAUSE_GUEST_RESET,
	CAUSE_GUEST_PANIC,
	CAUSE_HOST_ERROR,
};
const char *shutdown_cause_name(enum shutdown_cause cause);
const char *run_state_name(enum run_state state); /* QMP's RunState word */

struct cpu_engine; /* cpu/engine.h; devices never look inside */

/* What the run state asks of whatever executes guest code: the engine registers it. */
struct machine_vcpus {
	void (*start)(void *opaque);
	void (*stop)(void *opaque); /* no guest code runs afterwards; releases the lock meanwhile */
	void (*reset)(void *opaque);
	void *opaque;
	/* Address line 20 was opened or closed; NULL where it cannot be closed. */
	void (*a20)(void *opaque, bool open);
};

/* Who wants to hear of the run state: the monitor (events), devices that poll the host.  RECALL is
 * no event of QMP's: the machine was put back to where it was, and its devices serve again. */
struct machine_observer {
	void (*event)(
		void *opaque, const char *name, enum shutdown_cause cause); /* STOP RESUME RESET
							 SHUTDOWN POWERDOWN; main loop, lock */
	void *opaque;
	struct list link;
};

/* INTA: what the interrupt controllers of our own answer to the processor.  All zero: none. */
struct machine_ext_int {
	int (*acknowledge)(void *opaque); /* the vector; machine lock held */
	void *opaque;
};

struct machine {
	pthread_mutex_t lock;
	struct loop *loop; /* the main loop */
	struct guest_memory memory;
	struct address_space ports, mmio;
	struct vm_clock clock;
	struct irq_chip irq_chip;
	struct irq_line gsi[GSI_COUNT];
	struct machine_ext_int ext_int;
	struct machine_chips chips;
	void (*eoi)(
		void *opaque, uint8_t vector); /* a local APIC ended a level interrupt; or NULL */
	struct cpu_engine *engine;
	struct machine_vcpus vcpus;
	/* The board's part of a reset, after all devices: loads the kernel again and sets the first
	 * vCPU's registers. */
	void (*reload)(void *opaque);
	void *reload_opaque;
	const char *board;	 /* the machine type's name */
	unsigned cpus;		 /* -smp; set before the first device */
	const char *kernel_file; /* that was booted: reports take names from it; or NULL */
	struct list devices;	 /* of struct device, in the order they were realised */
	struct list observers;

	enum run_state state;
	bool no_reboot, no_shutdown;
	int exit_status; /* of the process, once `ended` */
	bool ended;	 /* the main loop is to stop */

	uint64_t random_state; /* machine_random() */
	uint64_t output_hash;  /* of all that serial ports sent (machine_note_output) */

	/* What query-stats and the benchmark count; any thread. */
	atomic_uint_fast64_t kicks;	 /* doorbells that came as a signal, not as an exit */
	atomic_uint_fast64_t interrupts; /* lines raised and messages sent */

	/* private to machine.c: requests from vCPU threads, carried out on the main loop */
	struct loop_task request_task;
	bool reset_requested, shutdown_requested, powerdown_requested, exit_requested,
		debug_requested;
	enum shutdown_cause reset_cause, shutdown_cause;
	int requested_status;
	void (*powerdown)(void *opaque); /* registered by the power management device */
	void *powerdown_opaque;
};

int machine_init(struct machine *machine, struct loop *loop, struct error *err);
void machine_destroy(struct machine *machine); /* unrealises devices, newest first */

/* Requests: any thread that holds the lock; carried out soon by the main loop, and the vCPU that
 * asked executes no further instruction before that. */
void machine_request_reset(struct machine *machine, enum shutdown_cause cause);
void machine_request_shutdown(struct machine *machine, enum shutdown_cause cause);
void machine_request_powerdown(struct machine *machine); /* the guest's power button */
/* What the debugger waits for has happened: stop in state debug. */
void machine_request_debug(struct machine *machine);
/* isa-debug-exit: the process ends with `status` at once; no SHUTDOWN policy applies. */
void machine_request_exit(struct machine *machine, int status);

/* The machine goes back: what the guest asked for and nobody has carried out yet is forgotten. What
 * the host asked for (its end) stays. */
void machine_forget_requests(struct machine *machine);

/* Is a request waiting that forbids the vCPU that made it to go on?  Lock held. */
bool machine_request_pending(const struct machine *machine);

/* Main loop, lock held. */
void machine_start(struct machine *machine); /* cont */
void machine_stop(struct machine *machine, enum run_state state);
/* Something of ours failed for good: one line on stderr, and the VM ends with status 2 (with
 * -no-shutdown it stops in state internal-error). */
void machine_fail(struct machine *machine, const char *why);
void machine_reset(struct machine *machine, enum shutdown_cause cause);

void machine_observe(struct machine *machine, struct machine_observer *observer);
void machine_emit(struct machine *machine, const char *event, enum shutdown_cause cause);

/* A serial port sends these bytes: they are part of what -d hash compares.  Under the lock. */
void machine_note_output(struct machine *machine, const uint8_t *data, size_t length);

/* Deterministic from the machine's seed (machine->random_state); under the lock. */
uint64_t machine_random(struct machine *machine);

#endif
