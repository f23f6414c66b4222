/* SPDX-License-Identifier: MIT */
/*
 * A driver with a planted race: an index that two processors advance is read and written in two
 * steps, without a lock.  No list of kernels runs it; testcases/test_determinism.py finds the race
 * by trying seeds, and finds it again by naming one.
 */
#include "runtime/smp.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define ROUNDS 300

static volatile uint64_t ring_index;

static void elsewhere(unsigned turns)
{
	for (volatile unsigned i = 0; i < turns; i++)
		;
}

static uint64_t submit(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t next = ring_index + 1;

		ring_index = next; /* the other processor may have advanced it meanwhile */
		elsewhere(100);
	}
	return 0;
}

TEST(no_entry_is_lost, "", "two processors that submit to one ring lose no entry", NEEDS("smp>=2"))
{
	ring_index = 0;
	smp_start(1);
	smp_run(1, submit, NULL);
	submit(NULL);
	smp_wait(1, SOON_US);
	EXPECT_EQ(ring_index, 2 * ROUNDS);
}
