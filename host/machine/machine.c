/* SPDX-License-Identifier: MIT */
/* Run state, reset and the end of a VM (machine.h). */
#include "machine/machine.h"

#include <errno.h>

#include "base/log.h"
#include "base/random.h"
#include "machine/outside.h"

/* Neither a refused command line (1) nor what isa-debug-exit can give (odd numbers). */
#define STATUS_HOST_ERROR 2

static const char *const cause_names[] = {
	[CAUSE_HOST_QMP_QUIT] = "host-qmp-quit",
	[CAUSE_HOST_QMP_SYSTEM_RESET] = "host-qmp-system-reset",
	[CAUSE_HOST_SIGNAL] = "host-signal",
	[CAUSE_HOST_UI] = "host-ui",
	[CAUSE_GUEST_SHUTDOWN] = "guest-shutdown",
	[CAUSE_GUEST_RESET] = "guest-reset",
	[CAUSE_GUEST_PANIC] = "guest-panic",
	[CAUSE_HOST_ERROR] = "host-error",
};

static const char *const state_names[] = {
	[RUN_STATE_PRELAUNCH] = "prelaunch",
	[RUN_STATE_RUNNING] = "running",
	[RUN_STATE_PAUSED] = "paused",
	[RUN_STATE_SHUTDOWN] = "shutdown",
	[RUN_STATE_INTERNAL_ERROR] = "internal-error",
	[RUN_STATE_IO_ERROR] = "io-error",
	[RUN_STATE_GUEST_PANICKED] = "guest-panicked",
	[RUN_STATE_INMIGRATE] = "inmigrate",
	[RUN_STATE_FINISH_MIGRATE] = "finish-migrate",
	[RUN_STATE_POSTMIGRATE] = "postmigrate",
	[RUN_STATE_DEBUG] = "debug",
};

const char *shutdown_cause_name(enum shutdown_cause cause)
{
	return cause_names[cause];
}

const char *run_state_name(enum run_state state)
{
	return state_names[state];
}

static void carry_out_requests(void *opaque);

int machine_init(struct machine *machine, struct loop *loop, struct error *err)
{
	pthread_mutexattr_t attr;
	int rc;

	*machine = (struct machine){.loop = loop, .random_state = RANDOM_STEP};
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	rc = pthread_mutex_init(&machine->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	if (rc)
		return error_set_errno(err, rc, "cannot create the machine lock");
	loop_set_lock(loop, &machine->lock);
	space_init(&machine->ports, "I/O", true);
	space_init(&machine->mmio, "memory", false);
	vm_clock_init(&machine->clock, loop);
	list_init(&machine->devices);
	list_init(&machine->observers);
	machine->request_task = (struct loop_task){.run = carry_out_requests, .opaque = machine};
	return 0;
}

void machine_destroy(struct machine *machine)
{
	while (!list_empty(&machine->devices))
		device_destroy(container_of(machine->devices.prev, struct device, link));
	memory_destroy(&machine->memory);
	/* The lock stays: vCPU threads wait under it until the engine is destroyed, after this. */
}

void machine_observe(struct machine *machine, struct machine_observer *observer)
{
	list_add_tail(&machine->observers, &observer->link);
}

void machine_emit(struct machine *machine, const char *event, enum shutdown_cause cause)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, &machine->observers) {
		struct machine_observer *observer =
			container_of(pos, struct machine_observer, link);

		observer->event(observer->opaque, event, cause);
	}
}

void machine_request_reset(struct machine *machine, enum shutdown_cause cause)
{
	machine->reset_requested = true;
	machine->reset_cause = cause;
	loop_post(machine->loop, &machine->request_task);
}

void machine_request_shutdown(struct machine *machine, enum shutdown_cause cause)
{
	machine->shutdown_requested = true;
	machine->shutdown_cause = cause;
	loop_post(machine->loop, &machine->request_task);
}

void machine_request_powerdown(struct machine *machine)
{
	machine->powerdown_requested = true;
	loop_post(machine->loop, &machine->request_task);
}

void machine_request_exit(struct machine *machine, int status)
{
	machine->exit_requested = true;
	machine->requested_status = status;
	loop_post(machine->loop, &machine->request_task);
}

void machine_request_debug(struct machine *machine)
{
	machine->debug_requested = true;
	loop_post(machine->loop, &machine->request_task);
}

static bool ends_by_host(enum shutdown_cause cause)
{
	return cause == CAUSE_HOST_QMP_QUIT || cause == CAUSE_HOST_SIGNAL || cause == CAUSE_HOST_UI;
}

void machine_forget_requests(struct machine *machine)
{
	machine->reset_requested = machine->powerdown_requested = false;
	machine->exit_requested = machine->debug_requested = false;
	machine->shutdown_requested &= ends_by_host(machine->shutdown_cause) ||
				       machine->shutdown_cause == CAUSE_HOST_ERROR;
	loop_cancel(machine->loop, &machine->request_task);
	if (machine->shutdown_requested)
		loop_post(machine->loop, &machine->request_task);
}

bool machine_request_pending(const struct machine *machine)
{
	return machine->exit_requested || machine->shutdown_requested || machine->reset_requested ||
	       machine->debug_requested;
}

void machine_start(struct machine *machine)
{
	if (machine->state == RUN_STATE_RUNNING)
		return;
	machine->state = RUN_STATE_RUNNING;
	vm_clock_start(&machine->clock);
	machine_emit(machine, "RESUME", CAUSE_HOST_UI);
	machine->vcpus.start(machine->vcpus.opaque);
}

void machine_stop(struct machine *machine, enum run_state state)
{
	bool was_running = machine->state == RUN_STATE_RUNNING;

	if (was_running) {
		machine->vcpus.stop(machine->vcpus.opaque);
		vm_clock_stop(&machine->clock);
	}
	machine->state = state;
	if (was_running)
		machine_emit(machine, "STOP", CAUSE_HOST_UI);
}

void machine_reset(struct machine *machine, enum shutdown_cause cause)
{
	bool was_running = machine->state == RUN_STATE_RUNNING;
	struct list *pos;

	if (was_running)
		machine->vcpus.stop(machine->vcpus.opaque);
	machine->vcpus.reset(machine->vcpus.opaque);
	list_for_each (pos, &machine->devices)
		device_reset(container_of(pos, struct device, link));
	if (machine->reload)
		machine->reload(machine->reload_opaque);
	machine_emit(machine, "RESET", cause);
	/* A VM that had shut down or failed waits, reset, for cont. */
	if (!was_running && machine->state != RUN_STATE_INMIGRATE)
		machine->state = RUN_STATE_PRELAUNCH;
	if (was_running)
		machine->vcpus.start(machine->vcpus.opaque);
}

void machine_fail(struct machine *machine, const char *why)
{
	log_error("%s", why);
	machine_request_shutdown(machine, CAUSE_HOST_ERROR);
}

static void end(struct machine *machine, int status)
{
	if (machine->state == RUN_STATE_RUNNING) {
		machine->vcpus.stop(machine->vcpus.opaque);
		vm_clock_stop(&machine->clock);
	}
	machine->exit_status = status;
	machine->ended = true;
	loop_stop(machine->loop);
}

static void shut_down(struct machine *machine)
{
	bool error = machine->shutdown_cause == CAUSE_HOST_ERROR;

	machine_emit(machine, "SHUTDOWN", machine->shutdown_cause);
	if (machine->no_shutdown && !ends_by_host(machine->shutdown_cause)) {
		/* Replayed: what went on from there stands in the log, at this very place. */
		if (outside_goes_on() && !error) {
			if (machine->state == RUN_STATE_RUNNING)
				machine->vcpus.start(machine->vcpus.opaque);
			return;
		}
		machine_stop(machine, error ? RUN_STATE_INTERNAL_ERROR : RUN_STATE_SHUTDOWN);
		return;
	}
	end(machine, error ? STATUS_HOST_ERROR : 0);
}

static void carry_out_requests(void *opaque)
{
	struct machine *machine = opaque;

	if (machine->exit_requested) {
		end(machine, machine->requested_status);
		return;
	}
	if (machine->debug_requested) {
		machine->debug_requested = false;
		if (machine->state == RUN_STATE_RUNNING)
			machine_stop(machine, RUN_STATE_DEBUG);
	}
	if (machine->reset_requested && machine->no_reboot) {
		machine->reset_requested = false;
		machine->shutdown_requested = true;
		machine->shutdown_cause = machine->reset_cause;
	}
	if (machine->shutdown_requested) {
		machine->shutdown_requested = false;
		shut_down(machine);
	} else if (machine->reset_requested) {
		machine->reset_requested = false;
		machine_reset(machine, machine->reset_cause);
	} else if (machine->powerdown_requested) {
		machine->powerdown_requested = false;
		machine_emit(machine, "POWERDOWN", CAUSE_HOST_UI);
		if (machine->powerdown)
			machine->powerdown(machine->powerdown_opaque);
	}
}

/* FNV-1a: a byte at a time, so that it does not matter how a port cuts its output. */
void machine_note_output(struct machine *machine, const uint8_t *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		machine->output_hash = (machine->output_hash ^ data[i]) * 0x100000001b3;
}

uint64_t machine_random(struct machine *machine)
{
	return random_next(&machine->random_state);
}
