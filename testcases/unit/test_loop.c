/* SPDX-License-Identifier: MIT */
/* The event loop is fair: nothing that is always ready keeps the rest from its turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/error.h"
#include "base/loop.h"

static struct loop *loop;
static struct loop_task again;
static unsigned turns;

static void post_again(void *opaque)
{
	turns++;
	loop_post(loop, &again);
}

static void stop(void *opaque)
{
	loop_stop(loop);
}

static void stop_on_event(void *opaque, uint32_t events)
{
	loop_stop(loop);
}

static int set_up(void **state)
{
	struct error err;

	turns = 0;
	loop = loop_create("test", &err);
	again = (struct loop_task){.run = post_again};
	return loop ? 0 : -1;
}

static int tear_down(void **state)
{
	loop_cancel(loop, &again);
	loop_destroy(loop);
	return 0;
}

static void a_task_that_posts_itself_lets_timers_expire(void **state)
{
	struct loop_timer timer = {.expired = stop};

	loop_timer_arm(loop, &timer, loop_now() + 1000000);
	loop_post(loop, &again);
	loop_run(loop);
	assert_true(turns > 0);
}

static void a_task_that_posts_itself_lets_events_in(void **state)
{
	int fd = eventfd(1, EFD_CLOEXEC);
	struct loop_watch watch = {.fd = fd, .ready = stop_on_event};

	assert_int_equal(loop_watch(loop, &watch, EPOLLIN), 0);
	loop_post(loop, &again);
	loop_run(loop);
	loop_unwatch(loop, &watch);
	close(fd);
}

static void a_task_posted_by_a_task_runs(void **state)
{
	struct loop_task last = {.run = stop};

	loop_post(loop, &again);
	loop_post(loop, &last);
	loop_run(loop);
	assert_int_equal(turns, 1);
	loop_post(loop, &last);
	loop_run(loop);
	assert_int_equal(turns, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_task_that_posts_itself_lets_timers_expire, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_task_that_posts_itself_lets_events_in, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_task_posted_by_a_task_runs, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
