/* SPDX-License-Identifier: MIT */
/*
 * Time: the TSC, calibrated once, on first use, against PIT counter 2 (or the ACPI PM timer).
 */
#ifndef ASSAY_RUNTIME_TIME_H
#define ASSAY_RUNTIME_TIME_H

#include "runtime/io.h"

/* TSC ticks a microsecond (at least 1). */
uint64_t tsc_per_us(void);
uint64_t tsc_hz(void);

static inline uint64_t time_after_us(uint64_t us)
{
	return rdtsc() + us * tsc_per_us();
}

static inline bool time_passed(uint64_t deadline)
{
	return (int64_t)(rdtsc() - deadline) >= 0;
}

void delay_us(uint64_t us);
/*
 * Waits at least that long and halts meanwhile, for waits that a host should not pay for. Uses the
 * local APIC's timer, masked again afterwards; interrupts must be on, and any interrupt is taken.
 */
void rest_us(uint64_t us);
uint64_t tsc_to_ns(uint64_t ticks);

/*
 * True as soon as `condition` holds, false when it does not within `us` microseconds. It is looked
 * at 1000 times at least: a host that stops the guest until the time is over proves nothing.
 */
#define WAIT_UNTIL(condition, us)                                                    \
	({                                                                           \
		bool wait_ok_ = !!(condition);                                       \
		if (!wait_ok_) {                                                     \
			uint64_t wait_end_ = time_after_us(us);                      \
			unsigned wait_turns_ = 0;                                    \
			do {                                                         \
				if (wait_turns_++ >= 1000 && time_passed(wait_end_)) \
					break;                                       \
				cpu_relax();                                         \
				wait_ok_ = !!(condition);                            \
			} while (!wait_ok_);                                         \
		}                                                                    \
		wait_ok_;                                                            \
	})

#endif
