/* SPDX-License-Identifier: MIT */
/*
 * TSC calibration: over 4 ms or more of PIT counter 2 (8254; gate on port 0x61), else of the ACPI
 * PM timer. Each end is read with the TSC on both sides, and the tightest of a few tries counts;
 * how tight it was bounds the error. A host may stop the guest at any point, so it is done again
 * until the bound is small.
 */
#include "runtime/time.h"
#include "runtime/acpi.h"
#include "runtime/irq.h"
#include "runtime/test.h"

#define PIT_HZ	1193182ull
#define PM_HZ	3579545ull
#define SPAN_US 4000
#define GIVE_UP 200000000ull /* TSC ticks: 40 ms or more on any processor */
#define TRIES	40
#define GOOD	8000 /* parts in a million that the rate may be wrong */

static uint64_t hz;

struct sample {
	uint64_t tsc, width;
	uint32_t count;
};

/* A counter that the TSC is measured with; passed() tells that it went once round since start(). */
struct counter {
	uint64_t hz;
	uint32_t mask;
	void (*start)(void);
	uint32_t (*count)(void);
	bool (*passed)(void);
};

static void pit_start(void)
{
	outb(0x43, 0xb0); /* counter 2, both bytes, mode 0 */
	outb(0x42, 0xff);
	outb(0x42, 0xff);
}

static uint32_t pit_count(void)
{
	uint8_t low;

	outb(0x43, 0x80); /* latch counter 2 */
	low = inb(0x42);
	return 0x10000 - (low | inb(0x42) << 8);
}

/* In mode 0 the output is high from terminal count on. Not from port 0x61, which some machines
 * lack. */
static bool pit_passed(void)
{
	outb(0x43, 0xe8); /* status of counter 2 */
	return inb(0x42) & 0x80;
}

static void pm_start(void)
{
}

static uint32_t pm_count(void)
{
	return inl(acpi_pm_timer()) & 0xffffff;
}

static bool pm_passed(void)
{
	return false; /* not in less than 4 seconds */
}

static struct sample sample(const struct counter *counter)
{
	struct sample best = {0, ~0ull, 0};

	for (int i = 0; i < 4; i++) {
		uint64_t before = rdtsc();
		uint32_t now = counter->count();
		uint64_t width = rdtsc() - before;

		if (width < best.width)
			best = (struct sample){before + width / 2, width, now};
	}
	return best;
}

/* One try: the rate, or 0, and by how many parts in a million it may be wrong. */
static uint64_t rate_once(const struct counter *counter, uint64_t *error)
{
	uint32_t ticks, span = SPAN_US * counter->hz / 1000000;
	struct sample first, last;

	counter->start();
	first = sample(counter);
	while (((counter->count() - first.count) & counter->mask) < span &&
		rdtsc() - first.tsc < GIVE_UP)
		;
	last = sample(counter);
	ticks = (last.count - first.count) & counter->mask;
	if (ticks < span || counter->passed())
		return 0;
	*error = (first.width + last.width) / 2 * 1000000 / (last.tsc - first.tsc);
	return (last.tsc - first.tsc) * counter->hz / ticks;
}

static bool counts(const struct counter *counter)
{
	uint32_t first;

	counter->start();
	first = counter->count();
	for (int i = 0; i < 100; i++) {
		if (counter->count() != first)
			return true;
	}
	return false;
}

static uint64_t rate(const struct counter *counter)
{
	uint64_t best = 0, least = ~0ull;

	for (int i = 0; counts(counter) && i < TRIES && least > GOOD; i++) {
		uint64_t error = ~0ull, once = rate_once(counter, &error);

		if (once && error < least) {
			least = error;
			best = once;
		}
	}
	return best;
}

uint64_t tsc_hz(void)
{
	static const struct counter pit = {PIT_HZ, 0xffff, pit_start, pit_count, pit_passed},
				    pm = {PM_HZ, 0xffffff, pm_start, pm_count, pm_passed};
	uint8_t gate;

	if (hz)
		return hz;
	gate = inb(0x61);
	outb(0x61, (gate & ~3) | 1);
	hz = rate(&pit);
	outb(0x61, gate);
	if (hz == 0 && acpi_pm_timer())
		hz = rate(&pm);
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

struct wait wait_begin(uint64_t us)
{
	uint64_t per_us = tsc_per_us();

	return (struct wait){rdtsc(), 1000 * per_us, us * per_us};
}

#define TRIES_MOST 20

bool tries_again(struct tries *tries, uint64_t us)
{
	uint64_t now = rdtsc();

	if (!tries->began) {
		tries->limit = us * tsc_per_us();
	} else {
		if (now - tries->began < tries->limit)
			return false;
		if (++tries->disturbed == TRIES_MOST)
			SKIP("the host was too busy to look within the window, %u times",
				TRIES_MOST);
		note("the host took %lu us of the guest's time: once more",
			tsc_to_ns(now - tries->began) / 1000);
	}
	tries->began = rdtsc();
	return true;
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
