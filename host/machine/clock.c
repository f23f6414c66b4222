/* SPDX-License-Identifier: MIT */
/* VM time over the host's monotonic clock or over an engine's count (clock.h). */
#include "machine/clock.h"

#include <stdlib.h>

#define DEADLINE_MAX (INT64_MAX / 2) /* 146 years: sums with the host's time stay in their type */

void vm_clock_init(struct vm_clock *clock, struct loop *loop)
{
	*clock = (struct vm_clock){.loop = loop};
	list_init(&clock->timers);
}

void vm_clock_follow(struct vm_clock *clock, const struct vm_clock_source *source)
{
	clock->source = source;
}

static struct vm_timer *first(const struct vm_clock *clock)
{
	return list_empty(&clock->timers) ? NULL
					  : container_of(clock->timers.next, struct vm_timer, link);
}

int64_t vm_clock_deadline(const struct vm_clock *clock)
{
	const struct vm_timer *timer = first(clock);

	return timer ? timer->deadline : INT64_MAX;
}

static void expire(struct vm_timer *timer)
{
	timer->armed = false;
	list_remove(&timer->link);
	timer->expired(timer->opaque);
}

void vm_clock_expire(struct vm_clock *clock)
{
	int64_t now = vm_clock_now(clock);
	struct vm_timer *timer;

	while ((timer = first(clock)) && timer->deadline <= now)
		expire(timer);
}

static void arm_host(struct vm_timer *timer)
{
	loop_timer_arm(timer->clock->loop, &timer->host, timer->deadline + timer->clock->offset);
}

void vm_clock_start(struct vm_clock *clock)
{
	struct list *pos;

	if (clock->running)
		return;
	clock->running = true;
	if (clock->source)
		return; /* time goes on when instructions do */
	clock->offset = loop_now() - clock->frozen;
	list_for_each (pos, &clock->timers)
		arm_host(container_of(pos, struct vm_timer, link));
}

void vm_clock_stop(struct vm_clock *clock)
{
	struct list *pos;

	if (!clock->running)
		return;
	clock->frozen = vm_clock_now(clock);
	clock->running = false;
	if (clock->source)
		return;
	list_for_each (pos, &clock->timers)
		loop_timer_cancel(clock->loop, &container_of(pos, struct vm_timer, link)->host);
}

void vm_clock_set(struct vm_clock *clock, int64_t now)
{
	clock->frozen = now;
	if (clock->source)
		clock->source->set(clock->source->opaque, now);
}

int64_t vm_clock_now(const struct vm_clock *clock)
{
	if (clock->source)
		return clock->source->now(clock->source->opaque);
	return clock->running ? loop_now() - clock->offset : clock->frozen;
}

static void host_expired(void *opaque)
{
	expire(opaque);
}

void vm_timer_init(
	struct vm_timer *timer, struct vm_clock *clock, void (*expired)(void *opaque), void *opaque)
{
	*timer = (struct vm_timer){.clock = clock, .expired = expired, .opaque = opaque};
	timer->host = (struct loop_timer){.expired = host_expired, .opaque = timer};
	list_init(&timer->link);
}

/* Behind those with the same deadline, so that equal ones expire in the order of arming. */
static void insert(struct vm_timer *timer)
{
	struct vm_clock *clock = timer->clock;
	struct list *pos;

	list_for_each (pos, &clock->timers)
		if (container_of(pos, struct vm_timer, link)->deadline > timer->deadline)
			break;
	list_add_tail(pos, &timer->link);
	if (first(clock) == timer)
		clock->source->deadline(clock->source->opaque, timer->deadline);
}

void vm_timer_arm(struct vm_timer *timer, int64_t deadline_ns)
{
	vm_timer_cancel(timer);
	timer->deadline = deadline_ns < DEADLINE_MAX ? deadline_ns : DEADLINE_MAX;
	timer->armed = true;
	if (timer->clock->source) {
		insert(timer);
		return;
	}
	list_add_tail(&timer->clock->timers, &timer->link);
	if (timer->clock->running)
		arm_host(timer);
}

void vm_timer_cancel(struct vm_timer *timer)
{
	if (!timer->armed)
		return;
	timer->armed = false;
	list_remove(&timer->link);
	if (!timer->clock->source)
		loop_timer_cancel(timer->clock->loop, &timer->host);
}

bool vm_timer_is_armed(const struct vm_timer *timer)
{
	return timer->armed;
}

struct vm_clock_memory {
	size_t count;
	struct {
		struct vm_timer *timer;
		int64_t deadline;
	} armed[];
};

struct vm_clock_memory *vm_clock_remember(const struct vm_clock *clock)
{
	struct vm_clock_memory *memory;
	size_t count = 0;
	struct list *pos;

	list_for_each (pos, &clock->timers)
		count++;
	memory = calloc(1, sizeof(*memory) + count * sizeof(memory->armed[0]));
	if (!memory)
		return NULL;
	list_for_each (pos, &clock->timers) {
		struct vm_timer *timer = container_of(pos, struct vm_timer, link);

		memory->armed[memory->count].timer = timer;
		memory->armed[memory->count++].deadline = timer->deadline;
	}
	return memory;
}

void vm_clock_recall(struct vm_clock *clock, const struct vm_clock_memory *memory)
{
	struct vm_timer *timer;

	while ((timer = first(clock)))
		vm_timer_cancel(timer);
	for (size_t i = 0; memory && i < memory->count; i++)
		vm_timer_arm(memory->armed[i].timer, memory->armed[i].deadline);
}
