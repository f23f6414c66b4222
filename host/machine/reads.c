/* SPDX-License-Identifier: MIT */
/*
 * The record behind reads.h: sorted intervals of what was read, and the bytes that were changed
 * after it.  Host addresses stand for ring entries and tables, offsets for the readable part.
 */
#ifdef ASSAY_FAULTS

#include "machine/reads.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/list.h"
#include "base/log.h"
#include "base/random.h"
#include "machine/memory.h"

struct interval {
	uint64_t from, to;
};

struct intervals {
	struct interval *list; /* sorted, apart from each other */
	size_t count, capacity;
};

/* Eight bytes at most that look different to whoever reads them again. */
struct change {
	uint8_t *host;
	uint8_t length, before[8], after[8];
	bool until_taken;
};

/* Apart from each other: a driver may lay a table over the ring, and each is read once all the
 * same.
 */
enum part { PART_INDEX, PART_RING, PART_TABLE, PART_PAYLOAD, PARTS };

struct reads {
	const char *device;
	unsigned queue;
	struct intervals parts[PARTS];
	struct change *changes;
	size_t change_count, change_capacity;
	char twice[120]; /* what was read twice while it was taken, or "" */
	bool taken;
	struct list link; /* of `changed`, while it has changes */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool checking, changing, aborting;
static uint64_t seed;
static uint64_t requests, bytes_read, doubles;
static __thread struct reads *current;
/* Requests in flight may share what the device reads, so all is put back before another is taken.
 */
static pthread_mutex_t changed_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list changed = {&changed, &changed};

/* --- the switch, and what is said --- */

static void to_log(const char *text)
{
	const char *path = getenv("ASSAY_READS_LOG");
	FILE *log = path ? fopen(path, "ae") : NULL;

	if (!log)
		return;
	fprintf(log, "%s\n", text);
	fclose(log);
}

static void sum_up(void)
{
	char text[120];

	snprintf(text, sizeof(text), "requests %llu bytes %llu twice %llu",
		(unsigned long long)__atomic_load_n(&requests, __ATOMIC_RELAXED),
		(unsigned long long)__atomic_load_n(&bytes_read, __ATOMIC_RELAXED),
		(unsigned long long)__atomic_load_n(&doubles, __ATOMIC_RELAXED));
	to_log(text);
}

static void look_up(void)
{
	const char *mode = getenv("ASSAY_READS"), *change;

	if (!mode || !*mode)
		return;
	checking = true;
	aborting = strstr(mode, "abort");
	change = strstr(mode, "change:");
	if (change) {
		changing = true;
		seed = strtoull(change + 7, NULL, 0);
	}
	if (getenv("ASSAY_READS_LOG"))
		atexit(sum_up);
}

static void say(struct reads *log, const char *what)
{
	char text[200];

	snprintf(text, sizeof(text), "READ TWICE %s queue %u: %s", log->device, log->queue, what);
	__atomic_fetch_add(&doubles, 1, __ATOMIC_RELAXED);
	log_error("%s", text);
	to_log(text);
	if (aborting)
		abort();
}

/* --- intervals --- */

static size_t first_ending_at_or_after(const struct intervals *set, uint64_t from)
{
	size_t low = 0, high = set->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (set->list[middle].to < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Adds [from, to); true if part of it was there. */
static bool add(struct intervals *set, uint64_t from, uint64_t to)
{
	size_t at = first_ending_at_or_after(set, from), past = at;
	bool seen = false;

	for (; past < set->count && set->list[past].from <= to; past++) {
		const struct interval *old = &set->list[past];

		seen |= old->from < to && from < old->to;
		from = old->from < from ? old->from : from;
		to = old->to > to ? old->to : to;
	}
	if (past == at && set->count == set->capacity) {
		size_t capacity = set->capacity ? set->capacity * 2 : 16;
		struct interval *list = realloc(set->list, capacity * sizeof(*list));

		if (!list)
			return seen;
		set->list = list;
		set->capacity = capacity;
	}
	/* Those from `at` to `past` become one. */
	memmove(set->list + at + 1, set->list + past, (set->count - past) * sizeof(*set->list));
	set->count = set->count - (past - at) + 1;
	set->list[at] = (struct interval){from, to};
	return seen;
}

static void note(
	struct reads *log, enum part part, uint64_t from, uint64_t length, const char *what)
{
	char text[sizeof(log->twice)];

	__atomic_fetch_add(&bytes_read, length, __ATOMIC_RELAXED);
	if (!length || !add(&log->parts[part], from, from + length))
		return;
	snprintf(text, sizeof(text), "%s, %llu bytes", what, (unsigned long long)length);
	if (log->taken)
		say(log, text);
	else if (!log->twice[0])
		memcpy(log->twice, text, sizeof(text));
}

/* --- changes --- */

/* For all loops. */
static uint64_t next_random(void)
{
	return random_of(__atomic_add_fetch(&seed, RANDOM_STEP, __ATOMIC_RELAXED));
}

static void change_piece(struct reads *log, uint8_t *host, size_t length, bool until_taken)
{
	uint64_t mask = next_random() | UINT64_C(0x0101010101010101); /* each byte differs */
	struct change *change;

	if (log->change_count == log->change_capacity) {
		size_t capacity = log->change_capacity ? log->change_capacity * 2 : 16;
		struct change *list = realloc(log->changes, capacity * sizeof(*list));

		if (!list)
			return;
		log->changes = list;
		log->change_capacity = capacity;
	}
	change = &log->changes[log->change_count++];
	*change = (struct change){
		.host = host, .length = (uint8_t)length, .until_taken = until_taken};
	memcpy(change->before, host, length);
	for (size_t i = 0; i < length; i++) {
		change->after[i] = change->before[i] ^ (uint8_t)(mask >> 8 * i);
		__atomic_store_n(&host[i], change->after[i], __ATOMIC_RELAXED);
	}
}

static void change_bytes(struct reads *log, void *host, size_t length, bool until_taken)
{
	uint8_t *at = host;

	if (!changing)
		return;
	pthread_mutex_lock(&changed_lock);
	if (!log->change_count)
		list_add_tail(&changed, &log->link);
	while (length) {
		size_t part = length < 8 ? length : 8;

		change_piece(log, at, part, until_taken);
		at += part;
		length -= part;
	}
	if (!log->change_count)
		list_remove(&log->link);
	pthread_mutex_unlock(&changed_lock);
}

/* The newest first: bytes that changed twice come back in two steps. */
static void put_back(struct reads *log, bool all)
{
	size_t kept = 0;

	if (!log->change_count)
		return;

	for (size_t i = log->change_count; i-- > 0;) {
		struct change *change = &log->changes[i];

		if (!all && !change->until_taken)
			continue;
		for (unsigned b = 0; b < change->length; b++)
			if (__atomic_load_n(&change->host[b], __ATOMIC_RELAXED) == change->after[b])
				__atomic_store_n(
					&change->host[b], change->before[b], __ATOMIC_RELAXED);
		change->length = 0;
	}
	for (size_t i = 0; i < log->change_count; i++)
		if (log->changes[i].length)
			log->changes[kept++] = log->changes[i];
	log->change_count = kept;
	if (!kept)
		list_remove(&log->link);
}

static void change_back(struct reads *log, bool all)
{
	pthread_mutex_lock(&changed_lock);
	put_back(log, all);
	pthread_mutex_unlock(&changed_lock);
}

static void change_all_back(void)
{
	struct list *pos, *next;

	pthread_mutex_lock(&changed_lock);
	list_for_each_safe (pos, next, &changed) {
		put_back(container_of(pos, struct reads, link), true);
	}
	pthread_mutex_unlock(&changed_lock);
}

/* --- a request's life --- */

void reads_begin(struct reads **log, const char *device, unsigned queue)
{
	pthread_once(&once, look_up);
	current = NULL;
	if (!checking)
		return;
	if (!*log)
		*log = calloc(1, sizeof(**log));
	if (!*log)
		return;
	reads_end(*log);
	change_all_back();
	current = *log;
	current->device = device;
	current->queue = queue;
}

void reads_taken(struct reads *log)
{
	if (!log)
		return;
	__atomic_fetch_add(&requests, 1, __ATOMIC_RELAXED);
	current = NULL; /* words that say whether to notify are meant to be looked at again */
	log->taken = true;
	if (log->twice[0])
		say(log, log->twice);
	change_back(log, false);
}

void reads_end(struct reads *log)
{
	if (!log)
		return;
	change_back(log, true);
	for (unsigned i = 0; i < PARTS; i++)
		log->parts[i].count = 0;
	log->twice[0] = '\0';
	log->taken = false;
	if (current == log)
		current = NULL;
}

void reads_free(struct reads **log)
{
	if (!*log)
		return;
	reads_end(*log);
	for (unsigned i = 0; i < PARTS; i++)
		free((*log)->parts[i].list);
	free((*log)->changes);
	free(*log);
	*log = NULL;
}

/* --- reads --- */

void reads_ring(const void *host, size_t length)
{
	if (!current)
		return;
	note(current, length == sizeof(uint16_t) ? PART_INDEX : PART_RING, (uintptr_t)host, length,
		"an entry of the ring");
	change_bytes(current, (void *)(uintptr_t)host, length, true);
}

void reads_table(struct guest_memory *mem, uint64_t address, size_t length)
{
	struct reads *log = current;
	struct span span;

	if (!log || span_get(mem, address, length, SPAN_READ, &span) < 0)
		return;
	for (int i = 0; i < span.count; i++) {
		note(log, PART_TABLE, (uintptr_t)span.iov[i].iov_base, span.iov[i].iov_len,
			"an indirect table");
		change_bytes(log, span.iov[i].iov_base, span.iov[i].iov_len, false);
	}
	span_put(&span, 0);
}

void reads_payload(
	struct reads *log, uint64_t offset, const struct iovec *iov, size_t length, int kept)
{
	char what[60];

	if (!log)
		return;
	snprintf(what, sizeof(what), "the readable part from %llu", (unsigned long long)offset);
	note(log, PART_PAYLOAD, offset, length, what);
	for (; length && !kept; iov++) {
		size_t part = iov->iov_len < length ? iov->iov_len : length;

		change_bytes(log, iov->iov_base, part, false);
		length -= part;
	}
}

/* Every second question is answered by no, so that one mistake is one more read. */
int reads_again(const char *fault)
{
	static __thread bool asked;
	uint64_t again = 0;

	fault_value(fault, &again);
	asked = again && !asked;
	return asked;
}

#endif
