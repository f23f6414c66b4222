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
	uint16_t port = timer();
	uint64_t start, us, counted;
	uint32_t first = inl(port);

	start = rdtsc();
	delay_us(20000);
	counted = (inl(port) - first) & mask();
	us = tsc_to_ns(rdtsc() - start) / 1000;
	EXPECT_GE(counted * 1000000 / PM_HZ, us * 97 / 100);
	EXPECT_LE(counted * 1000000 / PM_HZ, us * 103 / 100 + 50);
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

TEST(clocks_agree, "", "the 8254 and the PM timer measure one stretch of time alike, to 3 parts in 100", NEEDS("pci acpi pit"))
{
	uint16_t port = timer(), first_count, last_count;
	uint32_t first = inl(port), last;
	uint64_t by_pit, by_pm;

	sources_ready();
	pit_gate2(true);
	pit_load(2, 0, 0xffff);
	first_count = pit_latch(2);
	first = inl(port);
	delay_us(20000);
	last_count = pit_latch(2);
	last = inl(port);
	by_pit = pit_us(first_count - last_count);
	by_pm = ((last - first) & mask()) * 1000000ull / PM_HZ;
	EXPECT_GE(by_pit, by_pm * 97 / 100);
	EXPECT_LE(by_pit, by_pm * 103 / 100 + 100);
}
