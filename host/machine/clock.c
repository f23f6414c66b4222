/* SPDX-License-Identifier: MIT */
/* VM time over the host's monotonic clock (clock.h). */
#include "machine/clock.h"

void vm_clock_init(struct vm_clock *clock, struct loop *loop)
{
	*clock = (struct vm_clock){.loop = loop};
	list_init(&clock->timers);
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
	clock->offset = loop_now() - clock->frozen;
	clock->running = true;
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
	list_for_each (pos, &clock->timers)
		loop_timer_cancel(clock->loop, &container_of(pos, struct vm_timer, link)->host);
}

int64_t vm_clock_now(const struct vm_clock *clock)
{
	return clock->running ? loop_now() - clock->offset : clock->frozen;
}

static void host_expired(void *opaque)
{
	struct vm_timer *timer = opaque;

	timer->armed = false;
	list_remove(&timer->link);
	timer->expired(timer->opaque);
}

void vm_timer_init(
	struct vm_timer *timer, struct vm_clock *clock, void (*expired)(void *opaque), void *opaque)
{
	*timer = (struct vm_timer){.clock = clock, .expired = expired, .opaque = opaque};
	timer->host = (struct loop_timer){.expired = host_expired, .opaque = timer};
	list_init(&timer->link);
}

void vm_timer_arm(struct vm_timer *timer, int64_t deadline_ns)
{
	timer->deadline = deadline_ns;
	if (!timer->armed)
		list_add_tail(&timer->clock->timers, &timer->link);
	timer->armed = true;
	if (timer->clock->running)
		arm_host(timer);
}

void vm_timer_cancel(struct vm_timer *timer)
{
	if (!timer->armed)
		return;
	timer->armed = false;
	list_remove(&timer->link);
	loop_timer_cancel(timer->clock->loop, &timer->host);
}

bool vm_timer_is_armed(const struct vm_timer *timer)
{
	return timer->armed;
}
