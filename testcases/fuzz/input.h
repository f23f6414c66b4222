/* SPDX-License-Identifier: MIT */
/* What an input is to a fuzz target: bytes that are taken one after the other, then zeros; and how
 * a target says that something is wrong. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(holds)                                                                         \
	do {                                                                                   \
		if (!(holds)) {                                                                \
			fprintf(stderr, "REQUIRE(%s) at %s:%d\n", #holds, __FILE__, __LINE__); \
			abort();                                                               \
		}                                                                              \
	} while (0)

struct input {
	const uint8_t *data;
	size_t left;
};

static uint64_t take(struct input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->left--)
		value |= (uint64_t)*in->data++ << 8 * i;
	return value;
}

#endif
