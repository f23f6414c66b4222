/* SPDX-License-Identifier: MIT */
/* The record of what a request read: what counts as a second read, and what changes after one. */
#ifndef ASSAY_FAULTS
#define ASSAY_FAULTS 1
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* The library has it only with FAULTS=1; the test brings it along, and no fault acts. */
#include "base/fault.h"
#include "../../host/machine/reads.c"

void fault_value(const char *name, uint64_t *value)
{
}

static struct reads *log_;
static uint8_t memory[4096];

static int fresh(void **state)
{
	pthread_once(&once, look_up);
	checking = true;
	changing = aborting = false;
	doubles = 0;
	for (unsigned i = 0; i < sizeof(memory); i++)
		memory[i] = i;
	reads_begin(&log_, "test", 0);
	return 0;
}

static int done(void **state)
{
	reads_free(&log_);
	return 0;
}

static void neighbours_are_no_second_read(void **state)
{
	for (unsigned i = 0; i < 256; i++)
		reads_ring(memory + 8 * (i * 37 % 256), 8);
	reads_taken(log_);
	assert_int_equal(doubles, 0);
	assert_int_equal(log_->parts[PART_RING].count, 1); /* they have grown together */
}

static void one_byte_in_common_is(void **state)
{
	reads_ring(memory + 8, 8);
	reads_ring(memory + 15, 4);
	assert_int_equal(doubles, 0); /* said when it was taken: else it went nowhere */
	reads_taken(log_);
	assert_int_equal(doubles, 1);
}

static void another_request_reads_anew(void **state)
{
	reads_ring(memory, 8);
	reads_taken(log_);
	reads_end(log_);
	reads_begin(&log_, "test", 0);
	reads_ring(memory, 8);
	reads_taken(log_);
	assert_int_equal(doubles, 0);
}

static void payload_goes_by_offset(void **state)
{
	struct iovec same[2] = {{memory, 16}, {memory, 16}}; /* a driver may name a buffer twice */

	reads_taken(log_);
	reads_payload(log_, 0, same, 32, true);
	assert_int_equal(doubles, 0);
	reads_payload(log_, 31, &same[1], 1, true);
	assert_int_equal(doubles, 1);
}

static void bytes_change_and_come_back(void **state)
{
	struct iovec iov = {memory + 100, 13};

	changing = true;
	reads_ring(memory, 2);
	reads_payload(log_, 0, &iov, 13, false);
	for (unsigned i = 0; i < 13; i++)
		assert_int_not_equal(memory[100 + i], 100 + i);
	assert_int_not_equal(memory[0], 0);
	reads_taken(log_);
	assert_int_equal(memory[0], 0); /* the driver may write the next entry there */
	assert_int_equal(memory[1], 1);
	assert_int_not_equal(memory[100], 100);
	memory[105] = 0xff ^ memory[105]; /* what somebody writes meanwhile stays */
	uint8_t written = memory[105];
	reads_end(log_);
	assert_int_equal(memory[105], written);
	memory[105] = 105;
	for (unsigned i = 0; i < sizeof(memory); i++)
		assert_int_equal(memory[i], (uint8_t)i);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fresh, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(neighbours_are_no_second_read),
		CASE(one_byte_in_common_is),
		CASE(another_request_reads_anew),
		CASE(payload_goes_by_offset),
		CASE(bytes_change_and_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
