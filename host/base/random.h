/* SPDX-License-Identifier: MIT */
/*
 * The one generator of random numbers: splitmix64 (Steele, Lea and Flood, 2014).  Deterministic: a
 * seed, which may be any number, gives the same numbers on every host.  What must not move another
 * draws from a state of its own.  Not for secrets.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

#define RANDOM_STEP UINT64_C(0x9e3779b97f4a7c15)

/* The number that a state stands for. */
static inline uint64_t random_of(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline uint64_t random_next(uint64_t *state)
{
	return random_of(*state += RANDOM_STEP);
}

#endif
