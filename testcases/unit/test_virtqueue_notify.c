/* SPDX-License-Identifier: MIT */
/* Suppression of interrupts and doorbells, and what a queue forgets when it stops. */
#include "virtqueue-help.h"

static void interrupts_by_flag(void **state)
{
	start(8, 0);
	assert_false(queue_wants_interrupt(&fx.queue));
	avail()[2 + 8] = 77; /* used_event means nothing */
	use_one();
	assert_true(queue_wants_interrupt(&fx.queue));
	assert_false(queue_wants_interrupt(&fx.queue)); /* told once */
	avail()[0] = 1;
	use_one();
	assert_false(queue_wants_interrupt(&fx.queue));
	avail()[0] = 0;
	assert_false(queue_wants_interrupt(&fx.queue)); /* not for what is past */
	use_one();
	assert_true(queue_wants_interrupt(&fx.queue));
}

static void interrupts_by_event_index(void **state)
{
	start(8, FEATURE(VIRTIO_F_EVENT_IDX));
	avail()[0] = 1; /* the flag means nothing */
	avail()[2 + 8] = 0;
	use_one();
	assert_true(queue_wants_interrupt(&fx.queue));
	avail()[2 + 8] = 3;
	use_one();
	assert_false(queue_wants_interrupt(&fx.queue));
	use_one();
	use_one();
	use_one(); /* a batch over the mark: entries 2, 3, 4 */
	assert_true(queue_wants_interrupt(&fx.queue));
	use_one();
	assert_false(queue_wants_interrupt(&fx.queue)); /* the mark is behind */
}

static void the_event_index_wraps(void **state)
{
	start(8, FEATURE(VIRTIO_F_EVENT_IDX));
	avail()[2 + 8] = 0xffff;
	for (unsigned i = 0; i < 65535; i++) {
		use_one();
		assert_false(queue_wants_interrupt(&fx.queue));
	}
	use_one(); /* entry 65535 */
	assert_true(queue_wants_interrupt(&fx.queue));
	avail()[2 + 8] = 1;
	use_one();
	assert_false(queue_wants_interrupt(&fx.queue));
	use_one();
	assert_true(queue_wants_interrupt(&fx.queue));
}

static void doorbells_by_flag(void **state)
{
	start(8, 0);
	queue_kicks_off(&fx.queue);
	assert_int_equal(used()[0], 1);
	assert_false(queue_kicks_on(&fx.queue));
	assert_int_equal(used()[0], 0);
	plain_chain();
	publish(0);
	queue_kicks_off(&fx.queue);
	assert_true(queue_kicks_on(&fx.queue)); /* there is something to look at */
}

static void doorbells_by_event_index(void **state)
{
	uint16_t *avail_event = used() + 2 + 4 * 8;

	start(8, FEATURE(VIRTIO_F_EVENT_IDX));
	queue_kicks_off(&fx.queue);
	assert_int_equal(used()[0], 0); /* stays 0 */
	use_one();
	use_one();
	assert_int_equal(*avail_event, 0);
	assert_false(queue_kicks_on(&fx.queue));
	assert_int_equal(*avail_event, 2);
	assert_int_equal(used()[0], 0);
}

static void a_stopped_queue_forgets_what_is_in_flight(void **state)
{
	struct queue_request *request;

	start(8, 0);
	plain_chain();
	publish(0);
	request = queue_pop(&fx.queue);
	queue_stop(&fx.queue);
	memset(fx.ram + AVAIL, 0, 0x2000);
	fx.avail_idx = 0;
	start(8, 0);
	queue_push(&fx.queue, request, 513); /* releases, says nothing */
	assert_int_equal(used()[1], 0);
	assert_int_equal(fx.queue.in_flight, 0);
	use_one();
	assert_int_equal(used()[1], 1);
}

static void a_discarding_queue_says_nothing(void **state)
{
	struct queue_request *request;

	start(8, 0);
	plain_chain();
	publish(0);
	request = queue_pop(&fx.queue);
	fx.queue.discard = true;
	queue_push(&fx.queue, request, 513);
	assert_int_equal(used()[1], 0);
	assert_false(queue_wants_interrupt(&fx.queue));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(interrupts_by_flag),
		CASE(interrupts_by_event_index),
		CASE(the_event_index_wraps),
		CASE(doorbells_by_flag),
		CASE(doorbells_by_event_index),
		CASE(a_stopped_queue_forgets_what_is_in_flight),
		CASE(a_discarding_queue_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
