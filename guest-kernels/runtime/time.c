/* SPDX-License-Identifier: MIT */
/*
 * TSC calibration: over about 4 ms of PIT counter 2 (8254; gate on port 0x61), else of the ACPI PM
 * timer. Each end is read with the TSC on both sides and the tightest of a few tries counts, so
 * that one late exit does not spoil the rate.
 */
#include "runtime/time.h"
#include "runtime/acpi.h"
#include "runtime/irq.h"

#define PIT_HZ	1193182ull
#define PM_HZ	3579545ull
#define SPAN_US 4000
#define GIVE_UP 200000000ull /* TSC ticks: 40 ms or more on any processor */

static uint64_t hz;

struct sample {
	uint64_t tsc;
	uint32_t count;
};

static uint32_t pit_count(uint16_t port)
{
	uint8_t low;

	(void)port;
	outb(0x43, 0x80); /* latch counter 2 */
	low = inb(0x42);
	return 0x10000 - (low | inb(0x42) << 8);
}

static uint32_t pm_count(uint16_t port)
{
	return inl(port) & 0xffffff;
}

static struct sample sample(uint32_t (*count)(uint16_t), uint16_t port)
{
	struct sample best = {0, 0};
	uint64_t tightest = ~0ull;

	for (int i = 0; i < 4; i++) {
		uint64_t before = rdtsc();
		uint32_t now = count(port);
		uint64_t after = rdtsc();

		if (after - before < tightest) {
			tightest = after - before;
			best.tsc = before + tightest / 2;
			best.count = now;
		}
	}
	return best;
}

/*
 * 0 where the counter does not run, or the host stopped the guest for so long that 16 bits may have
 * gone round (55 ms): then one gap between readings is more than nine tenths of the whole.
 */
static uint64_t rate_once(
	uint32_t (*count)(uint16_t), uint16_t port, uint64_t frequency, uint32_t mask)
{
	struct sample first = sample(count, port), last;
	uint32_t ticks, span = SPAN_US * frequency / 1000000;
	uint64_t before = first.tsc, gap = 0, now;

	do {
		now = rdtsc();
		gap = now - before > gap ? now - before : gap;
		before = now;
	} while (((count(port) - first.count) & mask) < span && now - first.tsc < GIVE_UP);
	last = sample(count, port);
	gap = last.tsc - before > gap ? last.tsc - before : gap;
	ticks = (last.count - first.count) & mask;
	if (ticks < span || gap > (last.tsc - first.tsc) / 10 * 9)
		return 0;
	return (last.tsc - first.tsc) * frequency / ticks;
}

static uint64_t rate(uint32_t (*count)(uint16_t), uint16_t port, uint64_t frequency, uint32_t mask)
{
	uint64_t found = 0;

	for (int i = 0; i < 8 && found == 0; i++)
		found = rate_once(count, port, frequency, mask);
	return found;
}

uint64_t tsc_hz(void)
{
	uint8_t gate;

	if (hz)
		return hz;
	gate = inb(0x61);
	outb(0x61, (gate & ~3) | 1);
	outb(0x43, 0xb0); /* counter 2, both bytes, mode 0, 65536: it runs on, around, at zero */
	outb(0x42, 0);
	outb(0x42, 0);
	hz = rate(pit_count, 0, PIT_HZ, 0xffff);
	outb(0x61, gate);
	if (hz == 0 && acpi_pm_timer())
		hz = rate(pm_count, acpi_pm_timer(), PM_HZ, 0xffffff);
	if (hz < 1000000) /* neither exists: long waits are better than short ones */
		hz = 4000000000ull;
	return hz;
}

uint64_t tsc_per_us(void)
{
	static uint64_t per_us;

	if (!per_us)
		per_us = (tsc_hz() + 500000) / 1000000;
	return per_us;
}

uint64_t tsc_to_ns(uint64_t ticks)
{
	uint64_t per_second = tsc_hz();

	return ticks / per_second * 1000000000 + ticks % per_second * 1000000000 / per_second;
}

void delay_us(uint64_t us)
{
	uint64_t end = time_after_us(us);

	while (!time_passed(end))
		cpu_relax();
}

#define REST_VECTOR 0xf0 /* above those that irq_vector() gives */

/* The timer's rate does not matter: where it is slower than 1 GHz the pieces are longer. */
void rest_us(uint64_t us)
{
	uint64_t end = time_after_us(us);

	lapic_write(LAPIC_TIMER_DIVIDE, 0x0b);
	lapic_write(LAPIC_LVT_TIMER, REST_VECTOR);
	while (!time_passed(end)) {
		irq_disable();
		lapic_write(LAPIC_TIMER_INITIAL, us < 10000 ? us * 1000 : 10000000);
		__asm__ volatile("sti; hlt" : : : "memory");
	}
	lapic_write(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED);
	lapic_write(LAPIC_TIMER_INITIAL, 0);
}
