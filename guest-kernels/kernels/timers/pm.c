/* SPDX-License-Identifier: MIT */
/*
 * Kernel timers: the ACPI power management timer (ACPI 6, 4.8.3.3), and whether the clocks agree.
 */
#include "kernels/timers/sources.h"
#include "runtime/acpi.h"
#include "runtime/io.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define PM_HZ	    3579545ull
#define TMR_VAL_EXT 0x100u

static uint16_t timer(void)
{
	uint16_t port = acpi_pm_timer();

	if (!port)
		FAIL("the FADT names no PM timer");
	return port;
}

static uint32_t mask(void)
{
	return acpi_u32(acpi_table("FACP"), 112) & TMR_VAL_EXT ? 0xffffffff : 0xffffff;
}

TEST(pm_timer_rate, "", "the PM timer counts at 3579545 Hz", NEEDS("pci acpi"))
{
	uint64_t before_first, after_first, before_last, after_last, counted;
	uint16_t port = timer();
	uint32_t first, last;

	delay_us(1);
	before_first = rdtsc();
	first = inl(port);
	after_first = rdtsc();
	delay_us(20000);
	before_last = rdtsc();
	last = inl(port);
	after_last = rdtsc();
	counted = ((last - first) & mask()) * 1000000ull / PM_HZ;
	EXPECT_GE(counted, tsc_to_ns(before_last - after_first) / 1000 * 99 / 100);
	EXPECT_LE(counted, tsc_to_ns(after_last - before_first) / 1000 * 101 / 100 + 2);
}

TEST(pm_timer_is_monotonic, "", "successive reads of the PM timer never go back", NEEDS("pci acpi"))
{
	uint16_t port = timer();
	uint32_t last = inl(port);

	for (int i = 0; i < 200; i++) {
		uint32_t now = inl(port);

		if (!EXPECT_LT((now - last) & mask(), mask() / 2))
			break;
		last = now;
	}
}

TEST(pm_timer_width, "", "bits above the width that the FADT gives read 0", NEEDS("pci acpi"))
{
	uint16_t port = timer();

	for (int i = 0; i < 10; i++)
		EXPECT_EQ(inl(port) & ~mask(), 0);
}

TEST(pm_timer_is_read_only, "", "a write to the PM timer does not set it", NEEDS("pci acpi"))
{
	uint16_t port = timer();
	uint32_t before = inl(port);

	outl(port, before + 0x400000);
	EXPECT_LT((inl(port) - before) & mask(), 0x200000);
}

static uint32_t least_ticks, most_ticks;

static void measure_both_clocks(uint16_t *values)
{
	uint32_t before_first, after_first, before_last, after_last;
	uint16_t port = timer();

	pit_load(2, 0, 0xffff);
	before_first = inl(port);
	values[0] = pit_latch(2);
	after_first = inl(port);
	delay_us(10000);
	before_last = inl(port);
	values[1] = pit_latch(2);
	after_last = inl(port);
	least_ticks = (before_last - after_first) & mask();
	most_ticks = (after_last - before_first) & mask();
}

TEST(clocks_agree, "",
	"the 8254 and the PM timer measure one stretch of time alike, to one part in 100",
	NEEDS("pci acpi pit"))
{
	uint16_t values[2];
	uint64_t by_pit;

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_both_clocks, values);
	by_pit = (uint64_t)(values[0] - values[1]) * 3; /* the PM timer is three times as fast */
	EXPECT_GE(by_pit, least_ticks * 99ull / 100);
	EXPECT_LE(by_pit, most_ticks * 101ull / 100 + 6);
}
