/* SPDX-License-Identifier: MIT */
/*
 * The VM's clock: nanoseconds of virtual machine time, which stands still while the VM is stopped.
 * All device time is this clock; nothing in devices, virtio, bus or board calls the host's.
 *
 * It follows the host's monotonic clock, or a source: an engine that counts instructions.  Timers
 * over a source expire when the engine says so (vm_clock_expire), in the order of their deadlines,
 * equal ones in the order in which they were armed: nothing of it depends on the host.
 */
#ifndef MACHINE_CLOCK_H
#define MACHINE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/loop.h"

/* Main loop, machine lock. */
struct vm_clock_source {
	int64_t (*now)(void *opaque);			  /* ns; never goes back */
	void (*deadline)(void *opaque, int64_t deadline); /* the earliest one is this now */
	void (*set)(void *opaque, int64_t now);		  /* a saved machine's time */
	void *opaque;
};

struct vm_clock {
	const struct vm_clock_source *source; /* NULL: the host's clock */
	struct loop *loop; /* the main loop: timers expire there, under the machine lock */
	bool running;
	int64_t offset;	    /* host monotonic less VM time while running */
	int64_t frozen;	    /* VM time while stopped */
	struct list timers; /* armed ones; over a source by deadline */
	int64_t rtc_offset; /* wall clock in s less VM time in s, from -rtc */
	/* With -rtc clock=host: rtc_offset, and the host's wall clock less VM time in ns, when the
	 * machine was first made, perhaps in another process. */
	int64_t rtc_start, wall_ahead;
};

struct vm_timer {
	void (*expired)(void *opaque); /* main loop, machine lock; one-shot, may re-arm */
	void *opaque;
	/* private: */
	struct vm_clock *clock;
	struct loop_timer host;
	struct list link;
	int64_t deadline;
	bool armed;
};

void vm_clock_init(struct vm_clock *clock, struct loop *loop); /* stopped, at 0 */
/* Before the first timer is armed; the source outlives the clock. */
void vm_clock_follow(struct vm_clock *clock, const struct vm_clock_source *source);
int64_t vm_clock_deadline(const struct vm_clock *clock); /* the earliest; INT64_MAX: none */
void vm_clock_expire(struct vm_clock *clock); /* with a source: runs what is due, in order */
void vm_clock_start(struct vm_clock *clock);
void vm_clock_stop(struct vm_clock *clock);
void vm_clock_set(struct vm_clock *clock, int64_t now); /* while stopped */
/* Over a source: all armed timers with their order, to have them again in the same process. */
struct vm_clock_memory;
struct vm_clock_memory *vm_clock_remember(
	const struct vm_clock *clock); /* free(); NULL: no memory */
void vm_clock_recall(struct vm_clock *clock, const struct vm_clock_memory *memory); /* NULL: none */
int64_t vm_clock_now(const struct vm_clock *clock); /* ns, from 0; any thread */

void vm_timer_init(struct vm_timer *timer, struct vm_clock *clock, void (*expired)(void *opaque),
	void *opaque);
void vm_timer_arm(struct vm_timer *timer, int64_t deadline_ns); /* replaces an earlier deadline */
void vm_timer_cancel(struct vm_timer *timer);
bool vm_timer_is_armed(const struct vm_timer *timer);

#endif
