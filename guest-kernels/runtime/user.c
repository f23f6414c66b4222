/* SPDX-License-Identifier: MIT */
/*
 * Work at CPL 3 (boot/vectors.asm has the way in and out).
 */
#include "runtime/user.h"
#include "runtime/memory.h"

uint64_t user_enter(uint64_t (*fn)(void *), void *arg, void *stack_top);

static uint8_t user_stack[32768] __attribute__((aligned(16)));

uint64_t user_call(uint64_t (*fn)(void *arg), void *arg)
{
	return user_enter(fn, arg, user_stack + sizeof(user_stack));
}

/* Below this many bytes the way there and back costs more than it saves. */
#define WORTH_WHILE 256

struct work {
	void *to;
	const void *from;
	size_t size;
	uint64_t value;
};

static uint64_t work_crc32c(void *arg)
{
	struct work *work = arg;

	return crc32c(work->value, work->from, work->size);
}

uint32_t user_crc32c(uint32_t crc, const void *data, size_t size)
{
	struct work work = {.from = data, .size = size, .value = crc};

	return size < WORTH_WHILE ? work_crc32c(&work) : user_call(work_crc32c, &work);
}

static uint64_t work_memcpy(void *arg)
{
	struct work *work = arg;

	memcpy(work->to, work->from, work->size);
	return 0;
}

void user_memcpy(void *to, const void *from, size_t size)
{
	struct work work = {.to = to, .from = from, .size = size};

	if (size < WORTH_WHILE)
		work_memcpy(&work);
	else
		user_call(work_memcpy, &work);
}

static uint64_t work_memset(void *arg)
{
	struct work *work = arg;

	memset(work->to, work->value, work->size);
	return 0;
}

void user_memset(void *to, int value, size_t size)
{
	struct work work = {.to = to, .value = value, .size = size};

	if (size < WORTH_WHILE)
		work_memset(&work);
	else
		user_call(work_memset, &work);
}

static uint64_t work_memcmp(void *arg)
{
	struct work *work = arg;

	return (int64_t)memcmp(work->to, work->from, work->size);
}

int user_memcmp(const void *a, const void *b, size_t size)
{
	struct work work = {.to = (void *)a, .from = b, .size = size};

	return size < WORTH_WHILE ? work_memcmp(&work) : user_call(work_memcmp, &work);
}

static uint64_t pattern(uint64_t seed, size_t at)
{
	return (seed + at + 1) * 0x9e3779b97f4a7c15ull;
}

static uint64_t work_fill(void *arg)
{
	struct work *work = arg;
	uint8_t *to = work->to;
	size_t at;

	for (at = 0; at + 8 <= work->size; at += 8) {
		uint64_t value = pattern(work->value, at);

		__builtin_memcpy(to + at, &value, 8);
	}
	for (; at < work->size; at++)
		to[at] = pattern(work->value, at);
	return 0;
}

void user_fill(void *to, size_t size, uint64_t seed)
{
	struct work work = {.to = to, .size = size, .value = seed};

	user_call(work_fill, &work);
}

static uint64_t work_verify(void *arg)
{
	struct work *work = arg;
	const uint8_t *from = work->from;
	size_t at;

	for (at = 0; at + 8 <= work->size; at += 8) {
		uint64_t value;

		__builtin_memcpy(&value, from + at, 8);
		if (value != pattern(work->value, at))
			return at;
	}
	for (; at < work->size; at++) {
		if (from[at] != (uint8_t)pattern(work->value, at))
			return at;
	}
	return work->size;
}

size_t user_verify(const void *at, size_t size, uint64_t seed)
{
	struct work work = {.from = at, .size = size, .value = seed};

	return user_call(work_verify, &work);
}
