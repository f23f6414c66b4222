/* SPDX-License-Identifier: MIT */
/*
 * What a machine in virtual time asks of the host's side: I/O is due at a virtual time that a
 * seeded model of a fast disk gives, and the guest stands still while its output
 * waits for a slow reader.
 */
#include "board/virtual-time.h"

#include <errno.h>

#include "base/random.h"
#include "block/block.h"
#include "chardev/chardev.h"
#include "chardev/rng.h"
#include "cpu/engine.h"
#include "machine/outside.h"

#define LATENCY_NS     15000 /* at least; up to LATENCY_SPREAD more, so that requests overtake */
#define LATENCY_SPREAD 20000
#define BYTES_PER_NS   2

static struct vm_timer io_timer;
static uint64_t io_random; /* of its own: a guest's RDRAND does not change the times of I/O */

static int64_t now(void *opaque)
{
	struct machine *machine = opaque;

	return vm_clock_now(&machine->clock);
}

static int64_t delay(void *opaque, uint64_t bytes)
{
	return LATENCY_NS + random_next(&io_random) % LATENCY_SPREAD + bytes / BYTES_PER_NS;
}

static void wake(void *opaque, int64_t due)
{
	vm_timer_arm(&io_timer, due);
}

/* Errors of the host are input: they are logged, and come again where they came. */
static int64_t outcome(void *opaque, uint64_t number, int64_t usual, int64_t result)
{
	int64_t logged = result;

	if (outside_answer("disk", number, &logged, sizeof(logged), result != usual))
		return logged <= usual ? logged : -EIO; /* a log may say anything */
	if (outside_mode() == OUTSIDE_REPLAY && result != usual)
		machine_fail(
			opaque, "replay: the host's disk fails where it did not when recorded");
	return result;
}

static void io_due(void *opaque)
{
	block_run_due();
}

static void output_kept(void *opaque, bool kept)
{
	struct machine *machine = opaque;

	machine->engine->ops->hold(machine->engine, kept);
}

static uint64_t draw(void *opaque)
{
	return machine_random(opaque);
}

void virtual_time_arrange(struct machine *machine, uint64_t seed)
{
	static struct block_schedule schedule;

	if (!machine->clock.source)
		return;
	io_random = random_of(~seed); /* not the sequence of the turns */
	schedule = (struct block_schedule){
		.now = now, .delay = delay, .wake = wake, .outcome = outcome, .opaque = machine};
	vm_timer_init(&io_timer, &machine->clock, io_due, NULL);
	block_set_schedule(&schedule);
	rng_follow(draw, machine);
	chardev_keep_output(output_kept, machine);
}

uint64_t virtual_time_remember(void)
{
	return io_random;
}

void virtual_time_recall(uint64_t memory)
{
	io_random = memory;
}
