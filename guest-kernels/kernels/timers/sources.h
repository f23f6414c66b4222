/* SPDX-License-Identifier: MIT */
/*
 * Kernel timers: interrupt sources that a TEST has in hand. The 8254's counter 0 (IRQ 0) and COM1's
 * transmitter-empty interrupt (IRQ 4, PC16550D), whose line stays high until it is taken back.
 */
#ifndef ASSAY_TIMERS_SOURCES_H
#define ASSAY_TIMERS_SOURCES_H

#include <stdbool.h>
#include <stdint.h>

#define PIT_HZ 1193182ull

enum { PIT_BCD = 1, PIT_LATCH = 0x00, PIT_LOW = 0x10, PIT_HIGH = 0x20, PIT_BOTH = 0x30 };

/* Control word and count; access PIT_BOTH. Count 0 is 65536. */
void pit_load(unsigned counter, unsigned mode, uint16_t count);
/* Control word only: counter 0 makes no interrupt until its count is complete. */
void pit_control(unsigned counter, unsigned access, unsigned mode);
uint16_t pit_read(unsigned counter);
uint16_t pit_latch(unsigned counter);
/* Port 0x61: gate of counter 2, its output. */
void pit_gate2(bool on);
bool pit_out2(void);
static inline uint64_t pit_us(uint64_t ticks)
{
	return ticks * 1000000 / PIT_HZ;
}

/*
 * Counter 2 runs through its 16 bits in 55 ms, and a host may stop the guest for longer. Measures
 * again until that has not happened; measure() leaves what it found in values[].
 */
void in_one_period(void (*measure)(uint16_t *values), uint16_t *values);

void uart_line_raise(void);
void uart_line_drop(void);

/* From now on each interrupt of the vector is noted, and acknowledged; of all since, how far apart
 * the closest two came. */
void ticks_note(unsigned vector);
uint64_t ticks_closest_us(void);

/* Registers the hook that silences all of these before each TEST; every TEST calls it first. */
void sources_ready(void);

#endif
