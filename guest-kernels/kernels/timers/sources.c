/* SPDX-License-Identifier: MIT */
/*
 * Kernel timers: the sources of sources.h.
 */
#include "kernels/timers/sources.h"
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define UART_IER  0x3f9
#define UART_MCR  0x3fc
#define IER_THRE  2
#define MCR_OUT2  8 /* on a PC it lets the interrupt out */
#define MCR_QUIET 3

void pit_control(unsigned counter, unsigned access, unsigned mode)
{
	outb(0x43, counter << 6 | access | mode << 1);
}

void pit_load(unsigned counter, unsigned mode, uint16_t count)
{
	pit_control(counter, PIT_BOTH, mode);
	outb(0x40 + counter, count & 0xff);
	outb(0x40 + counter, count >> 8);
}

uint16_t pit_read(unsigned counter)
{
	uint8_t low = inb(0x40 + counter);

	return low | inb(0x40 + counter) << 8;
}

uint16_t pit_latch(unsigned counter)
{
	outb(0x43, counter << 6);
	return pit_read(counter);
}

void pit_gate2(bool on)
{
	outb(0x61, (inb(0x61) & 0x0c) | on);
}

bool pit_out2(void)
{
	return inb(0x61) & 0x20;
}

void in_one_period(void (*measure)(uint16_t *values), uint16_t *values)
{
	WITHIN_US (45000)
		measure(values);
}

void uart_line_raise(void)
{
	outb(UART_MCR, MCR_QUIET | MCR_OUT2);
	outb(UART_IER, IER_THRE);
}

void uart_line_drop(void)
{
	outb(UART_IER, 0);
	outb(UART_MCR, MCR_QUIET);
}

/*
 * Counter 0 is stopped by mode 5, which waits for a gate that counter 0 never gets. Models that let
 * the count run out even so have 55 ms until then, and each TEST that listens to counter 0 loads it
 * again.
 */
static void silence(void *opaque)
{
	uart_line_drop();
	pit_load(0, 5, 0);
	pit_control(0, PIT_BOTH, 1);
	pit_gate2(false);
}

void sources_ready(void)
{
	static struct test_reset_hook hook = {.reset = silence};

	test_reset_hook(&hook);
	tsc_per_us(); /* it is measured with counter 2, so not in the middle of a TEST */
}

static volatile uint64_t last_tick, closest;

static void note_tick(unsigned vector)
{
	uint64_t now = rdtsc();

	if (irq_count(vector) > 1 && now - last_tick < closest)
		closest = now - last_tick;
	last_tick = now;
	lapic_eoi();
}

void ticks_note(unsigned vector)
{
	closest = ~0ull;
	irq_handler(vector, note_tick);
}

uint64_t ticks_closest_us(void)
{
	return tsc_to_ns(closest) / 1000;
}
