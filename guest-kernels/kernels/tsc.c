/* SPDX-License-Identifier: MIT */
/*
 * Kernel tsc: the time stamp counter and what the local APIC makes of it (Intel SDM volume 3, 17.17
 * and 10.5.4; volume 2, RDTSC and RDTSCP).  The other timers are in kernel timers.
 */
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "runtime/user.h"

#define MSR_TSC	     0x10
#define MSR_ADJUST   0x3b
#define MSR_DEADLINE 0x6e0
#define MSR_TSC_AUX  0xc0000103
#define CR4_TSD	     (1ull << 2)
#define LVT_DEADLINE 0x40000u
#define FUTURE	     (1ull << 40)

static void back(void *opaque)
{
	if (read_cr4() & CR4_TSD)
		write_cr4(read_cr4() & ~CR4_TSD);
	lapic_write(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED);
	lapic_write(LAPIC_TIMER_INITIAL, 0);
}

static void begin(void)
{
	static struct test_reset_hook hook = {.reset = back};

	test_reset_hook(&hook);
}

static uint64_t rdtscp(uint32_t *aux)
{
	uint32_t low, high;

	__asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(*aux) : : "memory");
	return (uint64_t)high << 32 | low;
}

TEST(tsc_write_sets_it, "", "a write of the TSC's MSR is where RDTSC goes on", NEEDS("exact"))
{
	uint64_t before = rdtsc(), ahead = before + FUTURE, after;

	wrmsr(MSR_TSC, ahead);
	after = rdtsc();
	wrmsr(MSR_TSC, before + (rdtsc() - ahead));
	EXPECT_GE(after, ahead);
	EXPECT_LT(after, ahead + FUTURE);
	after = rdtsc();
	EXPECT_GE(after, before);
	EXPECT_LT(after, before + FUTURE);
}

TEST(adjust_moves_the_tsc, "",
	"a write of IA32_TSC_ADJUST moves the TSC by the difference, a write of the TSC the other",
	NEEDS("exact"))
{
	uint64_t adjust, before, after;

	if (cpuid(0, 0).eax < 7 || !(cpuid(7, 0).ebx >> 1 & 1))
		SKIP("the processor has no TSC_ADJUST");
	adjust = rdmsr(MSR_ADJUST);
	before = rdtsc();
	wrmsr(MSR_ADJUST, adjust + FUTURE);
	after = rdtsc();
	EXPECT_GE(after, before + FUTURE);
	EXPECT_LT(after, before + 2 * FUTURE);
	EXPECT_EQ(rdmsr(MSR_ADJUST), adjust + FUTURE);
	wrmsr(MSR_ADJUST, adjust);
	after = rdtsc();
	EXPECT_GE(after, before);
	EXPECT_LT(after, before + FUTURE);
}

TEST(rdtscp_reads_both, "", "RDTSCP reads the TSC and TSC_AUX", NEEDS("insn:rdtscp"))
{
	uint64_t before, middle, after, aux = rdmsr(MSR_TSC_AUX);
	uint32_t got = 0;

	if (!(cpuid(0x80000001, 0).edx >> 27 & 1))
		SKIP("the processor has no RDTSCP");
	wrmsr(MSR_TSC_AUX, 0x12345678);
	before = rdtsc();
	middle = rdtscp(&got);
	after = rdtsc();
	wrmsr(MSR_TSC_AUX, aux);
	EXPECT_EQ(got, 0x12345678);
	EXPECT_GE(middle, before);
	EXPECT_GE(after, middle);
}

static uint64_t do_rdtsc(void *arg)
{
	return rdtsc();
}

static uint64_t do_rdtscp(void *arg)
{
	uint32_t aux;

	return rdtscp(&aux);
}

TEST(rdtsc_at_level_3, "", "RDTSC at CPL 3 reads the counter while CR4.TSD is clear")
{
	uint64_t before = rdtsc(), middle = user_call(do_rdtsc, NULL), after = rdtsc();

	EXPECT_GE(middle, before);
	EXPECT_GE(after, middle);
}

TEST(tsd_forbids_it, "",
	"with CR4.TSD RDTSC and RDTSCP at CPL 3 are #GP(0); at CPL 0 the counter is read",
	NEEDS("exact"))
{
	uint64_t before = rdtsc();

	begin();
	write_cr4(read_cr4() | CR4_TSD);
	EXPECT_TRAP(TRAP_GP, user_call(do_rdtsc, NULL));
	EXPECT_EQ(trap_last.error, 0);
	if (cpuid(0x80000001, 0).edx >> 27 & 1) {
		EXPECT_TRAP(TRAP_GP, user_call(do_rdtscp, NULL));
		EXPECT_EQ(trap_last.error, 0);
	}
	EXPECT_GE(rdtsc(), before);
}

/* --- TSC deadline --- */

static unsigned deadline_mode(void)
{
	unsigned vector = irq_vector();

	if (!(cpuid(1, 0).ecx >> 24 & 1))
		SKIP("the local APIC has no TSC deadline");
	begin();
	lapic_write(LAPIC_LVT_TIMER, LVT_DEADLINE | vector);
	full_barrier();
	return vector;
}

static volatile uint64_t fired_at;

static void note_time(unsigned vector)
{
	fired_at = rdtsc();
}

TEST(deadline_fires_once, "",
	"the timer interrupts once, not before its deadline, and reads 0 then")
{
	unsigned vector = deadline_mode();
	uint64_t deadline = rdtsc() + 2000 * tsc_per_us();

	irq_handler(vector, note_time);
	wrmsr(MSR_DEADLINE, deadline);
	ASSERT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_GE(fired_at, deadline);
	EXPECT_EQ(rdmsr(MSR_DEADLINE), 0);
	delay_us(3000);
	EXPECT_EQ(irq_count(vector), 1);
}

TEST(deadline_in_the_past, "", "a deadline that is over interrupts at once")
{
	unsigned vector = deadline_mode();

	wrmsr(MSR_DEADLINE, rdtsc() - 1);
	ASSERT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_EQ(rdmsr(MSR_DEADLINE), 0);
}

TEST(deadline_is_disarmed, "", "a deadline of 0, or another mode of the timer, disarms")
{
	unsigned vector = deadline_mode();
	uint64_t deadline = rdtsc() + 20000 * tsc_per_us();

	wrmsr(MSR_DEADLINE, deadline);
	wrmsr(MSR_DEADLINE, 0);
	EXPECT_EQ(rdmsr(MSR_DEADLINE), 0);
	wrmsr(MSR_DEADLINE, deadline);
	lapic_write(LAPIC_LVT_TIMER, vector); /* one-shot */
	if (rdtsc() >= deadline)
		SKIP("the host was too busy to disarm in time");
	delay_us(25000);
	EXPECT_EQ(irq_count(vector), 0);
	EXPECT_EQ(rdmsr(MSR_DEADLINE), 0);
}

TEST(deadline_needs_its_mode, "", "in the other modes the deadline reads 0 and writes are ignored")
{
	unsigned vector = deadline_mode();

	lapic_write(LAPIC_LVT_TIMER, vector);
	full_barrier();
	wrmsr(MSR_DEADLINE, rdtsc() + 1000 * tsc_per_us());
	EXPECT_EQ(rdmsr(MSR_DEADLINE), 0);
	delay_us(3000);
	EXPECT_EQ(irq_count(vector), 0);
}

TEST(deadline_has_no_count, "",
	"in deadline mode the initial count is ignored and the current count is 0")
{
	unsigned vector = deadline_mode();

	lapic_write(LAPIC_TIMER_INITIAL, 1000);
	EXPECT_EQ(lapic_read(LAPIC_TIMER_CURRENT), 0);
	delay_us(1000);
	EXPECT_EQ(irq_count(vector), 0);
}

/* --- the count --- */

static uint64_t counted(unsigned divide)
{
	uint64_t best = 0, start, ticks, span;

	/* The best of several: a host that was away only makes the rate less. */
	for (unsigned i = 0; i < 5; i++) {
		lapic_write(LAPIC_TIMER_DIVIDE, divide);
		start = rdtsc();
		lapic_write(LAPIC_TIMER_INITIAL, 0xffffffff);
		delay_us(500);
		ticks = 0xffffffff - lapic_read(LAPIC_TIMER_CURRENT);
		span = rdtsc() - start;
		if (span && ticks * 1000000 / span > best)
			best = ticks * 1000000 / span;
	}
	return best;
}

TEST(timer_divides_by_each_value, "", "each of the eight dividers makes the timer that much slower")
{
	static const uint8_t codes[] = {0xb, 0, 1, 2, 3, 8, 9, 0xa};
	uint64_t base;

	begin();
	lapic_write(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED);
	base = counted(codes[0]);
	ASSERT_GT(base, 0);
	for (unsigned i = 1; i < 8; i++) {
		uint64_t rate = counted(codes[i]) << i;

		if (rate < base * 7 / 10 || rate > base * 13 / 10)
			note("divide by %u: %lu, by 1: %lu", 1 << i, rate, base);
		EXPECT_GE(rate, base * 7 / 10);
		EXPECT_LE(rate, base * 13 / 10);
	}
}

TEST(tsc_runs_while_halted, "",
	"while the processor halts the TSC advances as it does in a loop, by the local APIC's "
	"timer")
{
	const uint64_t ticks = 100000;
	unsigned vector = irq_vector();
	uint64_t start, halted, rate;

	begin();
	lapic_write(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED);
	rate = counted(0xb); /* ticks in a million of the TSC's */
	ASSERT_GT(rate, 0);
	lapic_write(LAPIC_TIMER_INITIAL, 0);
	irq_disable();
	lapic_write(LAPIC_LVT_TIMER, vector);
	start = rdtsc();
	lapic_write(LAPIC_TIMER_INITIAL, ticks);
	__asm__ volatile("sti; hlt" : : : "memory");
	ASSERT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	halted = rdtsc() - start;
	EXPECT_GE(halted, ticks * 900000 / rate);
}

TEST(timer_stops_at_zero, "",
	"an initial count of 0 stops the timer, and a new one starts it again")
{
	unsigned vector = irq_vector();

	begin();
	lapic_write(LAPIC_TIMER_DIVIDE, 0xb);
	lapic_write(LAPIC_LVT_TIMER, vector);
	lapic_write(LAPIC_TIMER_INITIAL, 0xffffffff);
	EXPECT_NE(lapic_read(LAPIC_TIMER_CURRENT), 0);
	lapic_write(LAPIC_TIMER_INITIAL, 0);
	EXPECT_EQ(lapic_read(LAPIC_TIMER_CURRENT), 0);
	delay_us(1000);
	EXPECT_EQ(irq_count(vector), 0);
	lapic_write(LAPIC_TIMER_INITIAL, 1000);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
}

TEST(timer_counts_down, "",
	"the current count only falls, from the initial count, and a new initial count restarts it")
{
	uint32_t last = 0x7fffffff, now;

	begin();
	lapic_write(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED);
	lapic_write(LAPIC_TIMER_DIVIDE, 0xa);
	lapic_write(LAPIC_TIMER_INITIAL, last);
	for (unsigned i = 0; i < 20; i++) {
		now = lapic_read(LAPIC_TIMER_CURRENT);
		EXPECT_LE(now, last);
		last = now;
		delay_us(50);
	}
	EXPECT_LT(last, 0x7fffffff);
	EXPECT_EQ(lapic_read(LAPIC_TIMER_INITIAL), 0x7fffffff);
	lapic_write(LAPIC_TIMER_INITIAL, 0x7fffffff);
	EXPECT_GT(lapic_read(LAPIC_TIMER_CURRENT), last);
}
