/* SPDX-License-Identifier: MIT */
/*
 * The fault engine: what happens at the seams of fault.h when rows of testcases/faults.tsv are
 * loaded.  A row matches an event by what the event says of itself, counts the matches, and acts.
 *
 * Left out: delays (a completion that comes late is a matter of the block layer's own clock).
 */
#ifdef ASSAY_FAULTS

#include "base/fault.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault-row.h"

static struct row rows[MAX_ROWS];
static unsigned row_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	row_count = fault_rows_load(rows);
}

/* ---- matching --------------------------------------------------------------------------- */

/* What a call says of itself; a field that its seam does not have stays ANY. */
struct event {
	enum seam seam;
	const char *who;
	uint64_t offset, size, queue, value, op, level;
};

static struct event event_at(enum seam seam, const char *who)
{
	return (struct event){
		.seam = seam,
		.who = who,
		.offset = ANY,
		.size = ANY,
		.queue = ANY,
		.value = ANY,
		.op = ANY,
		.level = ANY,
	};
}

static bool name_matches(const char *pattern, const char *name)
{
	return !*pattern || !fnmatch(pattern, name ? name : "", 0);
}

static bool offset_matches(const struct row *row, const struct event *event)
{
	if (row->first == ANY)
		return true;
	if (event->offset == ANY)
		return false;
	/* A register is one byte offset: a wider access that covers it is an access to it. */
	if (row->covers && row->size == ANY && event->size <= 8)
		return event->offset <= row->first && row->first < event->offset + event->size;
	return row->first <= event->offset && event->offset <= row->last;
}

static bool same(uint64_t wanted, uint64_t got)
{
	return wanted == ANY || wanted == got;
}

/* How far the masks of a row move left for an access that starts before its register. */
static unsigned shift_of(const struct row *row, const struct event *event)
{
	if (!row->covers || row->first == ANY || event->size > 8 || row->first < event->offset)
		return 0;
	return (unsigned)(row->first - event->offset) * 8;
}

static bool count_matches(struct row *row)
{
	uint64_t seen = ++row->seen;

	if (row->nth)
		return seen == row->nth;
	if (row->from && seen < row->from)
		return false;
	return !row->every || seen % row->every == 0;
}

static void report_first(struct row *row)
{
	const char *path = getenv("ASSAY_FAULTS_LOG");
	FILE *log;

	if (row->fired)
		return;
	row->fired = true;
	log = path ? fopen(path, "ae") : NULL;
	if (log) {
		fprintf(log, "%s\n", row->name);
		fclose(log);
	}
}

static bool row_matches(struct row *row, const struct event *event)
{
	if (row->seam != event->seam || !name_matches(row->who, event->who) ||
		!offset_matches(row, event))
		return false;
	if (!same(row->size, event->size) || !same(row->queue, event->queue) ||
		!same(row->op, event->op) || !same(row->level, event->level))
		return false;
	if (row->value != ANY && ((event->value >> shift_of(row, event)) & row->mask) != row->value)
		return false;
	if (row->while_offset != ANY && !row->while_holds)
		return false;
	if (!count_matches(row))
		return false;
	report_first(row);
	return true;
}

/* Calls `act` for each row that matches, under the lock; true if there was one. */
static struct row *next_match(const struct event *event, unsigned *at)
{
	while (*at < row_count) {
		struct row *row = &rows[(*at)++];

		if (row_matches(row, event))
			return row;
	}
	return NULL;
}

#define for_each_match(row, event) for (unsigned at_ = 0; (row = next_match(event, &at_)) != NULL;)

static bool faults_on(void)
{
	pthread_once(&once, load);
	return row_count != 0;
}

static uint64_t change(const struct row *row, uint64_t value, unsigned shift, unsigned size)
{
	uint64_t width = size >= 8 ? UINT64_MAX : (UINT64_C(1) << (size * 8)) - 1;

	if (row->force != ANY) {
		uint64_t field = shift ? UINT64_C(0xff) << shift : width;

		value = (value & ~field) | ((row->force << shift) & field);
	}
	value &= (row->and_mask << shift) | ((UINT64_C(1) << shift) - 1);
	value |= row->or_mask << shift;
	value ^= row->xor_mask << shift;
	value += row->add << shift;
	return value & width;
}

static enum fault_verdict verdict_of(const struct row *row, enum fault_verdict so_far)
{
	if (row->drop)
		return FAULT_DROP;
	return row->twice && so_far == FAULT_PASS ? FAULT_TWICE : so_far;
}

/* ---- the seams -------------------------------------------------------------------------- */

void fault_region_read(const char *region, uint64_t offset, unsigned size, uint64_t *value)
{
	struct event event;
	struct row *row;

	if (!faults_on())
		return;
	event = event_at(SEAM_REGION_READ, region);
	event.offset = offset;
	event.size = size;
	event.value = *value;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		*value = change(row, *value, shift_of(row, &event), size);
		/* `last`: the register answers for ever what it answered the first time. */
		if (row->last_value) {
			if (!row->has_remembered)
				row->remembered = *value;
			row->has_remembered = true;
			*value = row->remembered;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* Rows with while= hold as long as the last write to that register had that value. */
static void note_write(const char *region, uint64_t offset, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < row_count; i++) {
		struct row *row = &rows[i];
		uint64_t at = row->while_offset;

		if (at == ANY || at < offset || at >= offset + size ||
			!name_matches(row->while_who, region))
			continue;
		row->while_holds =
			at == offset ? value == row->while_value
				     : ((value >> ((at - offset) * 8)) & 0xff) == row->while_value;
	}
}

enum fault_verdict fault_region_write(
	const char *region, uint64_t offset, unsigned size, uint64_t *value)
{
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_REGION_WRITE, region);
	event.offset = offset;
	event.size = size;
	event.value = *value;
	pthread_mutex_lock(&lock);
	note_write(region, offset, size, *value);
	for_each_match(row, &event)
	{
		*value = change(row, *value, shift_of(row, &event), size);
		verdict = verdict_of(row, verdict);
	}
	pthread_mutex_unlock(&lock);
	return verdict;
}

void fault_span_get(const char *name, uint64_t gpa, uint64_t *length, bool device_writes)
{
	struct event event;
	struct row *row;

	if (!faults_on())
		return;
	event = event_at(SEAM_SPAN_GET, name);
	event.offset = gpa;
	event.size = *length;
	event.level = device_writes;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event) *length -= row->shorten < *length ? row->shorten : *length;
	pthread_mutex_unlock(&lock);
}

static void corrupt(const struct row *row, const struct iovec *iov, int iovcnt)
{
	uint64_t at = row->corrupt_at;

	if (!row->corrupt_xor)
		return;
	for (int i = 0; i < iovcnt; at -= iov[i++].iov_len) {
		if (at < iov[i].iov_len) {
			((uint8_t *)iov[i].iov_base)[at] ^= (uint8_t)row->corrupt_xor;
			return;
		}
	}
}

void fault_span_put(const char *name, uint64_t gpa, const struct iovec *iov, int iovcnt)
{
	struct event event;
	uint64_t length = 0;
	struct row *row;

	if (!faults_on() || iovcnt <= 0)
		return;
	for (int i = 0; i < iovcnt; i++)
		length += iov[i].iov_len;
	event = event_at(SEAM_SPAN_PUT, name);
	event.offset = gpa;
	event.size = length;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		const struct iovec *end = &iov[iovcnt - 1];

		corrupt(row, iov, iovcnt);
		/* Guest RAM is one mapping, so what follows a buffer is the guest's own memory. */
		if (row->spill)
			memset((uint8_t *)end->iov_base + end->iov_len, 0xee, row->spill);
	}
	pthread_mutex_unlock(&lock);
}

enum fault_verdict fault_queue_pop(const char *device, unsigned queue, uint32_t head)
{
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_QUEUE_POP, device);
	event.queue = queue;
	event.value = head;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event) verdict = verdict_of(row, verdict);
	pthread_mutex_unlock(&lock);
	return verdict;
}

enum fault_verdict fault_queue_push(
	const char *device, unsigned queue, uint32_t *id, uint32_t *length)
{
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_QUEUE_PUSH, device);
	event.queue = queue;
	event.size = *length;
	event.value = *id;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		*length = (uint32_t)change(row, *length, 0, 4);
		*id ^= (uint32_t)row->id_xor;
		verdict = verdict_of(row, verdict);
	}
	pthread_mutex_unlock(&lock);
	return verdict;
}

void fault_queue_notify(const char *device, unsigned queue, bool *notify)
{
	struct event event;
	struct row *row;

	if (!faults_on())
		return;
	event = event_at(SEAM_QUEUE_NOTIFY, device);
	event.queue = queue;
	event.level = *notify;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		if (row->drop)
			*notify = false;
		else if (row->force != ANY)
			*notify = row->force != 0;
		else if (row->invert)
			*notify = !*notify;
	}
	pthread_mutex_unlock(&lock);
}

enum fault_verdict fault_queue_kick(const char *device, unsigned queue)
{
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_QUEUE_KICK, device);
	event.queue = queue;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event) verdict = verdict_of(row, verdict);
	pthread_mutex_unlock(&lock);
	return verdict;
}

enum fault_verdict fault_irq(const char *name, uint32_t *line, int *level)
{
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_IRQ, name);
	event.offset = *line;
	event.size = 1;
	event.level = (uint64_t)*level;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		*line += (uint32_t)row->line_add;
		if (row->stuck)
			*level = 1;
		if (row->invert)
			*level = !*level;
		verdict = verdict_of(row, verdict);
	}
	pthread_mutex_unlock(&lock);
	return verdict;
}

enum fault_verdict fault_block_submit(
	const char *drive, enum fault_block_op op, uint64_t *offset, uint64_t length)
{
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_BLOCK_SUBMIT, drive);
	event.offset = *offset;
	event.size = length;
	event.op = op;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		*offset = change(row, *offset, 0, 8);
		verdict = verdict_of(row, verdict);
	}
	pthread_mutex_unlock(&lock);
	return verdict;
}

enum fault_verdict fault_block_complete(const char *drive, enum fault_block_op op, uint64_t offset,
	const struct iovec *iov, int iovcnt, int *result)
{
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_BLOCK_COMPLETE, drive);
	event.offset = offset;
	event.size = ANY - 1;
	event.op = op;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		corrupt(row, iov, iovcnt);
		if (row->error)
			*result = -(int)row->error;
		else if (row->force == 0)
			*result = 0;
		verdict = verdict_of(row, verdict);
	}
	pthread_mutex_unlock(&lock);
	return verdict;
}

enum fault_verdict fault_table(const char *name, void *data, size_t length)
{
	struct iovec iov = {.iov_base = data, .iov_len = length};
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_TABLE, name);
	event.size = length;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		corrupt(row, &iov, 1);
		verdict = verdict_of(row, verdict);
	}
	pthread_mutex_unlock(&lock);
	return verdict;
}

void fault_value(const char *name, uint64_t *value)
{
	struct event event;
	struct row *row;

	if (!faults_on())
		return;
	event = event_at(SEAM_VALUE, name);
	event.value = *value;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event) *value = change(row, *value, 0, 8);
	pthread_mutex_unlock(&lock);
}

enum fault_verdict fault_cpu(const char *name, uint64_t where, uint64_t *value)
{
	enum fault_verdict verdict = FAULT_PASS;
	struct event event;
	struct row *row;

	if (!faults_on())
		return FAULT_PASS;
	event = event_at(SEAM_CPU, name);
	event.offset = where;
	event.size = 1;
	event.value = *value;
	pthread_mutex_lock(&lock);
	for_each_match(row, &event)
	{
		*value = change(row, *value, 0, 8);
		verdict = verdict_of(row, verdict);
	}
	pthread_mutex_unlock(&lock);
	return verdict;
}

#endif
