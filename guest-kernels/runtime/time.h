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
 * Waiting on a host that may be busy. A guest that the host stops sees time jump, and what it waits
 * for may be done by a thread that was stopped as well. So a wait is measured in time spent
 * looking: between two looks at most a millisecond counts.
 */
#define SOON_US 1000000 /* what has not come after so much looking does not come */

struct wait {
	uint64_t last, most;
	int64_t left;
};

struct wait wait_begin(uint64_t us);

/* To be called between two looks; false when the next is the last. */
static inline bool wait_goes_on(struct wait *wait)
{
	uint64_t now = rdtsc(), step = now - wait->last;

	wait->last = now;
	wait->left -= step < wait->most ? step : wait->most;
	return wait->left > 0;
}

/* True as soon as `condition` holds, false when it does not within `us` microseconds of looking.
 * Tested at least once. */
#define WAIT_UNTIL(condition, us)                                  \
	({                                                         \
		bool wait_ok_ = !!(condition);                     \
		if (!wait_ok_) {                                   \
			struct wait wait_ = wait_begin(us);        \
			do {                                       \
				bool more_ = wait_goes_on(&wait_); \
				wait_ok_ = !!(condition);          \
				if (!more_)                        \
					break;                     \
				cpu_relax();                       \
			} while (!wait_ok_);                       \
		}                                                  \
		wait_ok_;                                          \
	})

/*
 * An experiment whose outcome says something only if it took less than `us`:
 *
 *	WITHIN_US(50000) {
 *		... do it, and leave what was seen in variables ...
 *	}
 *	... EXPECT ...
 *
 * It is made again when, by the clock, the host has stopped the guest meanwhile, whatever was seen.
 *When that happens twenty times running, the TEST skips.
 */
struct tries {
	unsigned disturbed;
	uint64_t limit, began;
};

bool tries_again(struct tries *tries, uint64_t us);

#define WITHIN_US(us) for (struct tries tries_ = {0}; tries_again(&tries_, us);)

#endif
