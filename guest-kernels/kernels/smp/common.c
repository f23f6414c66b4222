/* SPDX-License-Identifier: MIT */
/* Kernel smp: the helpers of smp.h. */
#include "kernels/smp/smp.h"

#define SETTLE_US 300 /* what goes astray is there by then */

static void expect_nothing_else(unsigned vector)
{
	for (unsigned i = 0; i < smp_count(); i++)
		if (!EXPECT_EQ(smp_irq_total(i) - smp_irqs(i, vector), 0))
			note("another vector than 0x%x came to processor %u", vector, i);
}

void expect_at(uint32_t set, unsigned vector)
{
	for (unsigned i = 0; i < smp_count(); i++)
		if (set >> i & 1 && !EXPECT_TRUE(WAIT_UNTIL(smp_irqs(i, vector), SOON_US)))
			note("vector 0x%x does not come to processor %u", vector, i);
	delay_us(SETTLE_US);
	for (unsigned i = 0; i < smp_count(); i++)
		if (!EXPECT_EQ(smp_irqs(i, vector), set >> i & 1))
			note("of vector 0x%x at processor %u", vector, i);
	expect_nothing_else(vector);
}

static uint32_t sum(uint32_t set, unsigned vector)
{
	uint32_t all = 0;

	for (unsigned i = 0; i < smp_count(); i++)
		all += set >> i & 1 ? smp_irqs(i, vector) : 0;
	return all;
}

void expect_in_all(uint32_t set, unsigned vector, uint32_t times)
{
	EXPECT_TRUE(WAIT_UNTIL(sum(set, vector) >= times, SOON_US));
	delay_us(SETTLE_US);
	EXPECT_EQ(sum(set, vector), times);
	EXPECT_EQ(sum(EVERY & ~set, vector), 0);
	expect_nothing_else(vector);
}

void run_everywhere(smp_fn *fn, void *arg)
{
	for (unsigned i = 1; i < smp_count(); i++)
		smp_run(i, fn, arg);
	smp_this()->result = fn(arg);
	for (unsigned i = 1; i < smp_count(); i++)
		smp_wait(i, 10 * SOON_US);
}

uint64_t wait_for_word(void *arg)
{
	while (!*(volatile uint32_t *)arg)
		cpu_relax();
	return 0;
}
