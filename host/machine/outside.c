/* SPDX-License-Identifier: MIT */
/* Recording and replaying what enters from outside (outside.h); the file is replay-log.c's. */
#include "machine/outside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "machine/replay-log.h"

#define CHECK_EVERY  1000000		/* instructions between two comparisons */
#define MEMORY_EVERY (64 * CHECK_EVERY) /* of RAM too, unless it is so big that it takes longer */
#define STATUS_OTHER 2			/* of the process: the run was another one */

static struct {
	enum outside_mode mode;
	struct machine *machine;
	const struct outside_engine *engine;
	const char *path;
	struct list sources;
	struct rlog_writer writer;
	struct rlog_reader reader;
	size_t next; /* behind `entry` */
	struct rlog_entry entry;
	bool has_entry, begun, failed, stay, end_told, suspended;
	void (*checked)(void *opaque);
	void *checked_opaque;
	uint64_t furthest; /* instructions, when it went back */
	unsigned rounds;   /* the loop's, at the entry or the turn before */
	uint64_t next_check, next_memory;
	uint64_t break_at; /* instructions; UINT64_MAX: nowhere */
} outside = {.sources = {&outside.sources, &outside.sources},
	.writer = {.fd = -1},
	.break_at = UINT64_MAX};

enum outside_mode outside_mode(void)
{
	return outside.mode;
}

void outside_add(struct outside_source *source)
{
	list_add_tail(&outside.sources, &source->link);
}

void outside_set_engine(const struct outside_engine *engine)
{
	outside.engine = engine;
}

void outside_stay_at_end(bool stay)
{
	outside.stay = stay;
}

static struct outside_position now(void)
{
	return outside.engine->position(outside.engine->opaque);
}

bool outside_may_enter(void)
{
	return !loop_in_tasks(outside.machine->loop);
}

/* --- writing --- */

static void record(struct rlog_entry entry)
{
	struct outside_position position = now();

	entry.turns = position.turns;
	entry.instructions = position.instructions;
	rlog_put(&outside.writer, &entry);
}

static void take_rounds(void)
{
	outside.rounds = loop_rounds(outside.machine->loop);
}

bool outside_enter(const struct outside_source *source, const uint8_t *payload, size_t length)
{
	struct rlog_entry entry = {.kind = RLOG_ENTERS, .length = length, .payload = payload};
	unsigned rounds;

	if (outside.mode == OUTSIDE_LIVE)
		return true;
	if (outside.mode == OUTSIDE_REPLAY || !outside.begun || outside.suspended ||
		length > RLOG_PAYLOAD_MAX)
		return false;
	rounds = loop_rounds(outside.machine->loop) - outside.rounds;
	entry.rounds = rounds < UINT8_MAX ? rounds : UINT8_MAX;
	snprintf(entry.name, sizeof(entry.name), "%s", source->name);
	record(entry);
	take_rounds();
	return true;
}

static void look_ahead(void)
{
	outside.has_entry = rlog_next(&outside.reader, &outside.next, &outside.entry);
}

bool outside_answer(const char *name, uint64_t key, void *data, size_t length, bool logged)
{
	struct rlog_entry entry = {
		.kind = RLOG_ANSWER, .key = key, .length = length, .payload = data};

	if (outside.mode == OUTSIDE_LIVE || outside.suspended || length > RLOG_PAYLOAD_MAX)
		return false;
	if (outside.mode == OUTSIDE_RECORD) {
		snprintf(entry.name, sizeof(entry.name), "%s", name);
		if (logged)
			record(entry);
		return false;
	}
	if (!outside.has_entry || outside.entry.kind != RLOG_ANSWER || outside.entry.key != key ||
		outside.entry.length != length || strcmp(outside.entry.name, name) != 0)
		return false;
	memcpy(data, outside.entry.payload, length);
	look_ahead();
	return true;
}

/* --- comparing --- */

static unsigned long long as_number(uint64_t n)
{
	return n;
}

static void differs(const char *how)
{
	char text[640];

	if (outside.failed)
		return;
	outside.failed = true;
	snprintf(text, sizeof(text), "replay: at instruction %llu (rip %llx) %s",
		as_number(now().instructions),
		as_number(outside.engine->rip(outside.engine->opaque)), how);
	if (outside.machine->ended) {
		log_error("%s", text);
		outside.machine->exit_status = STATUS_OTHER;
	} else {
		machine_fail(outside.machine, text);
	}
}

static void put_check(bool memory)
{
	struct outside_part parts[OUTSIDE_PARTS];
	unsigned count = outside.engine->parts(outside.engine->opaque, memory, parts);
	uint8_t payload[2 + sizeof(parts)], *to = payload;

	*to++ = memory;
	*to++ = (uint8_t)count;
	for (unsigned i = 0; i < count; i++) {
		memcpy(to, parts[i].name, sizeof(parts[i].name));
		to += sizeof(parts[i].name);
		for (unsigned n = 0; n < 8; n++)
			*to++ = (uint8_t)(parts[i].hash >> 8 * n);
	}
	record((struct rlog_entry){.kind = RLOG_CHECK,
		.name = "check",
		.rounds = 1,
		.length = (uint32_t)(to - payload),
		.payload = payload});
}

static bool same_part(const uint8_t *recorded, const struct outside_part *parts, unsigned count)
{
	uint64_t hash = 0;

	for (unsigned n = 0; n < 8; n++)
		hash |= (uint64_t)recorded[sizeof(parts->name) + n] << 8 * n;
	for (unsigned i = 0; i < count; i++)
		if (!strncmp((const char *)recorded, parts[i].name, sizeof(parts[i].name)))
			return hash == parts[i].hash;
	return false;
}

static void compare(const struct rlog_entry *entry)
{
	const size_t size = sizeof(((struct outside_part *)0)->name) + 8;
	struct outside_part parts[OUTSIDE_PARTS];
	char names[512] = "";
	size_t used = 0;
	unsigned count;

	if (entry->length < 2 || entry->length != 2 + size * entry->payload[1]) {
		differs("the log has a comparison of a wrong length");
		return;
	}
	count = outside.engine->parts(outside.engine->opaque, entry->payload[0], parts);
	for (unsigned i = 0; i < entry->payload[1]; i++) {
		const uint8_t *recorded = entry->payload + 2 + size * i;

		if (same_part(recorded, parts, count) || used > sizeof(names) - 24)
			continue;
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%.16s",
			used ? ", " : "", (const char *)recorded);
	}
	if (used || count != entry->payload[1]) {
		char text[560];

		snprintf(text, sizeof(text), "it is not as recorded: %s differ%s",
			used ? names : "the parts", strchr(names, ',') ? "" : "s");
		differs(text);
	}
}

/* --- at the place in the run --- */

static void check_when_due(void)
{
	const struct guest_memory *memory = &outside.machine->memory;
	uint64_t done = now().instructions, every = MEMORY_EVERY, bytes = 0;
	bool whole = done >= outside.next_memory;

	if (done < outside.next_check)
		return;
	put_check(whole);
	outside.next_check = done + CHECK_EVERY;
	for (unsigned i = 0; i < memory->count; i++)
		bytes += memory->blocks[i].size;
	if (whole)
		outside.next_memory = done + (bytes / 4 > every ? bytes / 4 : every);
}

static void enter(const struct rlog_entry *entry)
{
	char text[160];
	struct list *pos;

	list_for_each (pos, &outside.sources) {
		struct outside_source *source = container_of(pos, struct outside_source, link);

		if (strcmp(source->name, entry->name) != 0)
			continue;
		if (source->apply(source->opaque, entry->payload, entry->length) == 0)
			return;
	}
	snprintf(text, sizeof(text), "the log has input of '%s' that this machine has no place for",
		entry->name);
	differs(text);
}

/* The last entry was used, or is the end itself. */
static void at_end(bool told)
{
	bool by_host = told && outside.entry.length && outside.entry.payload[0];

	if (told && !by_host) {
		differs("it goes on where the recorded run ended");
		return;
	}
	if (by_host && !outside.stay) {
		machine_request_shutdown(outside.machine, CAUSE_HOST_QMP_QUIT);
		return;
	}
	if (!outside.end_told)
		log_error("replay: the log ends at instruction %llu; the machine is stopped there",
			as_number(now().instructions));
	outside.end_told = true;
	machine_stop(outside.machine, RUN_STATE_PAUSED);
}

static bool is_ahead(const struct rlog_entry *entry, struct outside_position position)
{
	return entry->turns > position.turns ||
	       (entry->turns == position.turns && entry->instructions > position.instructions);
}

static bool replay_here(void)
{
	struct outside_position position = now();
	bool entered = false;

	while (!outside.failed) {
		const struct rlog_entry entry = outside.entry;

		if (!outside.has_entry) {
			at_end(false);
			return false;
		}
		if (is_ahead(&entry, position) || (entered && entry.rounds))
			return entered;
		if (entry.turns != position.turns || entry.instructions != position.instructions) {
			differs("it has passed a place where the log has something");
			return false;
		}
		if (entry.kind == RLOG_ANSWER)
			return entered; /* the question comes yet */
		if (entry.kind == RLOG_END) {
			at_end(true);
			return false;
		}
		look_ahead();
		if (entry.kind == RLOG_CHECK) {
			compare(&entry);
			if (!outside.failed && outside.checked)
				outside.checked(outside.checked_opaque);
		} else {
			enter(&entry);
			entered = true;
		}
	}
	return false;
}

static uint64_t log_ahead(void);

static void stop_at_break(void)
{
	if (outside.failed || now().instructions < outside.break_at)
		return;
	outside.break_at = UINT64_MAX;
	machine_stop(outside.machine, RUN_STATE_PAUSED);
}

bool outside_arrive(void)
{
	bool entered = false;

	if (!outside.begun)
		return false;
	if (outside.mode == OUTSIDE_RECORD)
		check_when_due();
	else
		entered = replay_here();
	if (!entered && !outside.failed && outside.has_entry && outside.entry.kind == RLOG_ANSWER &&
		log_ahead() == 0)
		differs("the log has an answer that nobody asked for");
	take_rounds();
	if (!entered)
		stop_at_break();
	return entered;
}

static uint64_t log_ahead(void)
{
	struct outside_position position;
	struct rlog_entry entry = outside.entry;
	bool has = outside.has_entry;
	size_t at = outside.next;

	if (outside.mode != OUTSIDE_REPLAY)
		return UINT64_MAX;
	position = now();
	while (has && entry.kind == RLOG_ANSWER && entry.turns == position.turns)
		has = rlog_next(&outside.reader, &at, &entry);
	if (!has || entry.kind == RLOG_ANSWER || entry.turns != position.turns ||
		entry.instructions < position.instructions)
		return UINT64_MAX;
	return entry.instructions - position.instructions;
}

uint64_t outside_ahead(void)
{
	uint64_t due = log_ahead(), at, left;

	if (outside.break_at == UINT64_MAX)
		return due;
	at = now().instructions;
	left = outside.break_at > at ? outside.break_at - at : 0;
	return left < due ? left : due;
}

void outside_break(uint64_t instructions)
{
	outside.break_at = instructions;
}

bool outside_goes_on(void)
{
	struct rlog_entry entry = outside.entry;
	bool has = outside.has_entry;
	size_t at = outside.next;

	if (outside.mode != OUTSIDE_REPLAY)
		return false;
	while (has && entry.kind == RLOG_CHECK && entry.instructions == now().instructions)
		has = rlog_next(&outside.reader, &at, &entry);
	return !has || entry.kind != RLOG_END || (entry.length && entry.payload[0]);
}

int outside_part_loaded(void *state, unsigned version, struct error *err)
{
	if (outside.mode == OUTSIDE_LIVE)
		return error_set(err, EINVAL, "of a run that was replayed");
	return 0;
}

void outside_stuck(void)
{
	if (outside.mode == OUTSIDE_REPLAY && outside.begun)
		differs("all processors wait for what the log does not bring here");
}

/* --- beginning and end --- */

int outside_record(struct machine *machine, const char *path, struct error *err)
{
	int rc = rlog_create(&outside.writer, path, err);

	if (rc)
		return rc;
	outside.mode = OUTSIDE_RECORD;
	outside.machine = machine;
	outside.path = path;
	return 0;
}

int outside_replay(struct machine *machine, const char *path, struct error *err)
{
	int rc = rlog_open(&outside.reader, path, err);

	if (rc)
		return rc;
	outside.mode = OUTSIDE_REPLAY;
	outside.machine = machine;
	outside.path = path;
	outside.next = outside.reader.entries;
	look_ahead();
	return 0;
}

int outside_trait(const char *name, const char *text, struct error *err)
{
	char recorded[RLOG_TEXT_MAX + 1];

	if (outside.mode == OUTSIDE_RECORD)
		return rlog_put_trait(&outside.writer, name, text, err);
	if (!rlog_find_trait(&outside.reader, name, recorded))
		return error_set(err, EINVAL, "the recorded machine had no %s", name);
	if (strcmp(recorded, text) != 0)
		return error_set(err, EINVAL, "recorded with %s '%.160s', this is '%.160s'", name,
			recorded, text);
	return 0;
}

int outside_begin(struct error *err)
{
	int rc = 0;

	if (!outside.engine)
		return error_set(err, EINVAL, "it needs -accel soft with clock=virtual");
	if (outside.mode == OUTSIDE_RECORD)
		rc = rlog_put_head(&outside.writer, err);
	outside.begun = rc == 0;
	take_rounds();
	return rc;
}

static bool ended_by_host(const struct machine *machine)
{
	return !machine->exit_requested && machine->shutdown_cause != CAUSE_GUEST_SHUTDOWN &&
	       machine->shutdown_cause != CAUSE_GUEST_RESET &&
	       machine->shutdown_cause != CAUSE_GUEST_PANIC;
}

static void end_recording(void)
{
	struct machine *machine = outside.machine;
	uint8_t payload[2] = {ended_by_host(machine), (uint8_t)machine->exit_status};

	if (outside.begun) {
		put_check(true);
		record((struct rlog_entry){.kind = RLOG_END,
			.name = "end",
			.rounds = 1,
			.length = sizeof(payload),
			.payload = payload});
	}
	rlog_close(&outside.writer);
	if (!outside.writer.error || !outside.begun)
		return;
	log_error("-icount rrfile=%s: cannot write the log: %s", outside.path,
		strerror(outside.writer.error));
	machine->exit_status = STATUS_OTHER;
}

/* A guest that ended itself did so where it was recorded, or not. */
static void end_replaying(void)
{
	struct outside_position position = now();

	while (outside.begun && !outside.failed && outside.has_entry &&
		!ended_by_host(outside.machine)) {
		struct rlog_entry entry = outside.entry;

		if (entry.turns != position.turns || entry.instructions != position.instructions ||
			(entry.kind != RLOG_CHECK && entry.kind != RLOG_END)) {
			differs("it ended where the recorded run goes on");
			break;
		}
		look_ahead();
		if (entry.kind == RLOG_CHECK)
			compare(&entry);
	}
	rlog_free(&outside.reader);
}

void outside_end(void)
{
	if (outside.mode == OUTSIDE_RECORD)
		end_recording();
	else if (outside.mode == OUTSIDE_REPLAY && outside.engine)
		end_replaying();
	outside.begun = false;
}

struct outside_info outside_info(void)
{
	bool known = outside.mode != OUTSIDE_LIVE && outside.engine;

	return (struct outside_info){
		.mode = outside.mode,
		.path = outside.path,
		.instructions = known ? now().instructions : 0,
		.last = outside.reader.last.instructions,
		.at_end = outside.end_told,
	};
}

void outside_on_check(void (*checked)(void *opaque), void *opaque)
{
	outside.checked = checked;
	outside.checked_opaque = opaque;
}

struct outside_memory {
	size_t next;
	struct rlog_entry entry;
	bool has_entry;
};

struct outside_memory *outside_remember(void)
{
	struct outside_memory *memory = malloc(sizeof(*memory));

	if (memory)
		*memory = (struct outside_memory){outside.next, outside.entry, outside.has_entry};
	return memory;
}

void outside_recall(const struct outside_memory *memory)
{
	outside.next = memory->next;
	outside.entry = memory->entry;
	outside.has_entry = memory->has_entry;
	outside.end_told = false;
	take_rounds();
}

void outside_suspend(bool suspended)
{
	if (now().instructions > outside.furthest)
		outside.furthest = now().instructions;
	outside.suspended = suspended;
}

bool outside_was_here(void)
{
	return outside.furthest && now().instructions < outside.furthest;
}
