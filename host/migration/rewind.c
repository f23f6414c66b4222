/* SPDX-License-Identifier: MIT */
/*
 * Places in a replayed run to go back to (rewind.h).  A place is the saved state of all devices as
 * a migration has it, and what such a state leaves out because no other process needs it: the
 * engine's own state, the order of timers, where the log goes on.  It is made behind a comparison
 * with the log, where no turn is open and nothing in flight.
 */
#include "migration/rewind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/count.h"
#include "base/log.h"
#include "block/block.h"
#include "board/virtual-time.h"
#include "chardev/chardev.h"
#include "machine/outside.h"
#include "migration/machine-state.h"

#define PAGE	   4096u
#define PLACES_MAX 24
#define ROUNDS_MAX 64	   /* of tasks that post one another */
#define EVERY	   4000000 /* instructions; doubled when there are too many places */

/* Places that follow one another share those that are the same. */
struct page {
	unsigned users, block;
	uint64_t offset;
	uint8_t bytes[PAGE];
};

/* What the probe device shows beside the engine's counters. */
struct counts {
	uint64_t kicks, interrupts, guest_errors, of_kind[COUNT_KINDS];
};

struct place {
	uint64_t instructions, random, output_hash, io_random;
	uint64_t *cpu_instructions;
	int state;	     /* a file in memory */
	struct page **pages; /* that are not zero, in their order */
	size_t page_count;
	struct counts counts;
	void *engine;
	struct vm_clock_memory *clock;
	struct block_memory *blocks;
	struct outside_memory *outside;
};

static struct {
	struct machine *machine;
	struct place *places[PLACES_MAX]; /* the earliest first */
	unsigned count;
	uint64_t every;
	bool broken; /* there was no memory for the first */
} back = {.every = EVERY};

/* --- keeping --- */

static void place_free(struct place *place)
{
	if (!place)
		return;
	if (place->state >= 0)
		close(place->state);
	free(place->cpu_instructions);
	for (size_t i = 0; i < place->page_count; i++)
		if (!--place->pages[i]->users)
			free(place->pages[i]);
	free(place->pages);
	free(place->engine);
	free(place->clock);
	free(place->blocks);
	free(place->outside);
	free(place);
}

static bool is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE - 1);
}

/* The page of the place before, if that has one there; *next goes on behind it. */
static struct page *page_before(
	const struct place *before, unsigned block, uint64_t at, size_t *next)
{
	while (before && *next < before->page_count) {
		struct page *page = before->pages[*next];

		if (page->block > block || (page->block == block && page->offset > at))
			return NULL;
		++*next;
		if (page->block == block && page->offset == at)
			return page;
	}
	return NULL;
}

static struct page *keep_page(struct page *before, unsigned block, uint64_t at, const void *bytes)
{
	struct page *page = before;

	if (!page || memcmp(page->bytes, bytes, PAGE) != 0) {
		page = malloc(sizeof(*page));
		if (!page)
			return NULL;
		page->users = 0;
		page->block = block;
		page->offset = at;
		memcpy(page->bytes, bytes, PAGE);
	}
	page->users++;
	return page;
}

static int add_page(struct place *place, struct page *page, size_t *room)
{
	struct page **pages = place->pages;

	if (page && place->page_count == *room) {
		*room = *room ? *room * 2 : 256;
		pages = realloc(pages, *room * sizeof(struct page *));
		if (pages)
			place->pages = pages;
	}
	if (page && pages) {
		pages[place->page_count++] = page;
		return 0;
	}
	if (page && !--page->users)
		free(page);
	return -ENOMEM;
}

static int keep_memory(struct place *place, const struct place *before)
{
	const struct guest_memory *memory = &back.machine->memory;
	size_t room = 0, next = 0;

	for (unsigned b = 0; b < memory->count; b++)
		for (uint64_t at = 0; at < memory->blocks[b].size; at += PAGE) {
			const uint8_t *host = memory->blocks[b].host + at;
			struct page *was = page_before(before, b, at, &next);

			if (!is_zero(host) &&
				add_page(place, keep_page(was, b, at, host), &room) < 0)
				return -ENOMEM;
		}
	return 0;
}

static int keep_state(struct place *place, struct error *err)
{
	struct stream s;
	int rc;

	place->state = memfd_create("assay-place", MFD_CLOEXEC);
	if (place->state < 0)
		return -errno;
	rc = stream_init(&s, place->state, true, err);
	if (rc == 0)
		rc = machine_save(back.machine, &s, true, NULL, err);
	stream_destroy(&s);
	return rc;
}

static uint64_t executed(unsigned cpu)
{
	struct cpu_engine *engine = back.machine->engine;
	struct engine_counters counters;

	engine->ops->counters(engine, cpu, &counters);
	return counters.instructions;
}

static void keep_counts(struct counts *counts)
{
	const struct machine *machine = back.machine;

	counts->kicks = machine->kicks;
	counts->interrupts = machine->interrupts;
	counts->guest_errors = log_guest_error_count();
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		counts->of_kind[kind] = count_sum(kind);
}

static struct place *make_place(const struct place *before)
{
	struct machine *machine = back.machine;
	struct cpu_engine *engine = machine->engine;
	struct place *place = calloc(1, sizeof(*place));
	struct error err = {.text = ""};

	if (!place)
		return NULL;
	place->state = -1;
	place->instructions = outside_info().instructions;
	place->random = machine->random_state;
	place->output_hash = machine->output_hash;
	place->io_random = virtual_time_remember();
	place->cpu_instructions = calloc(engine->cpus, sizeof(uint64_t));
	place->engine = engine->ops->remember(engine);
	place->clock = vm_clock_remember(&machine->clock);
	place->blocks = block_remember();
	place->outside = outside_remember();
	if (!place->cpu_instructions || !place->engine || !place->clock || !place->blocks ||
		!place->outside || keep_state(place, &err) < 0 || keep_memory(place, before) < 0) {
		place_free(place);
		return NULL;
	}
	keep_counts(&place->counts);
	for (unsigned i = 0; i < engine->cpus; i++)
		place->cpu_instructions[i] = executed(i);
	return place;
}

/* Every second one goes; the first stays. */
static void thin_out(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < back.count; i++) {
		if (i % 2)
			place_free(back.places[i]);
		else
			back.places[kept++] = back.places[i];
	}
	back.count = kept;
	back.every *= 2;
}

static void checked(void *opaque)
{
	uint64_t now = outside_info().instructions;
	struct place *place;

	if (back.broken ||
		(back.count && now < back.places[back.count - 1]->instructions + back.every))
		return;
	if (!block_is_idle())
		return;
	if (back.count == PLACES_MAX)
		thin_out();
	place = make_place(back.count ? back.places[back.count - 1] : NULL);
	if (place)
		back.places[back.count++] = place;
	else if (!back.count)
		back.broken = true;
}

void rewind_prepare(struct machine *machine)
{
	if (outside_mode() != OUTSIDE_REPLAY || !machine->engine->ops->remember)
		return;
	back.machine = machine;
	outside_on_check(checked, NULL);
}

bool rewind_is_there(void)
{
	return back.machine && !back.broken;
}

void rewind_begin_anew(void)
{
	while (back.count)
		place_free(back.places[--back.count]);
}

void rewind_forget(void)
{
	rewind_begin_anew();
	back.machine = NULL;
	outside_on_check(NULL, NULL);
}

/* --- going back --- */

static void recall_memory(const struct place *place)
{
	struct guest_memory *memory = &back.machine->memory;
	size_t next = 0;

	for (uint64_t b = 0; b < memory->count; b++)
		for (uint64_t at = 0; at < memory->blocks[b].size; at += PAGE) {
			const struct page *page =
				next < place->page_count ? place->pages[next] : NULL;
			uint8_t *host = memory->blocks[b].host + at;

			if (page && page->block == b && page->offset == at) {
				memcpy(host, page->bytes, PAGE);
				next++;
			} else if (!is_zero(host)) {
				memset(host, 0, PAGE);
			}
		}
}

static int load_state(const struct place *place, struct error *err)
{
	struct stream s;
	int rc = lseek(place->state, 0, SEEK_SET) < 0 ? -errno : 0;

	if (rc == 0)
		rc = stream_init(&s, place->state, false, err);
	if (rc < 0)
		return rc;
	rc = machine_load(back.machine, &s, NULL, err);
	stream_destroy(&s);
	return rc;
}

static void recall_counts(const struct counts *counts)
{
	struct machine *machine = back.machine;

	machine->kicks = counts->kicks;
	machine->interrupts = counts->interrupts;
	log_recall_guest_errors(counts->guest_errors);
	for (unsigned kind = 0; kind < COUNT_KINDS; kind++)
		count_add(kind, counts->of_kind[kind] - count_sum(kind));
}

/* Tasks that wait may be anyone's, so they run.  What those of devices do is undone with the rest;
 * one that always comes again is cut off. */
static void run_tasks(struct machine *machine)
{
	machine_forget_requests(machine);
	for (unsigned i = 0; i < ROUNDS_MAX && loop_has_tasks(machine->loop); i++)
		loop_run_tasks(machine->loop);
	machine_forget_requests(machine);
}

/*
 * What is in flight now belongs to a future that is given up: it ends, and is then undone. Counters
 * and memory are right before devices look at them, and again when all have done what they do.
 */
static int recall(const struct place *place, struct error *err)
{
	struct machine *machine = back.machine;
	struct cpu_engine *engine = machine->engine;
	struct list *pos;
	int rc;

	run_tasks(machine);
	list_for_each (pos, &machine->devices)
		device_reset(container_of(pos, struct device, link));
	run_tasks(machine);
	vm_clock_recall(&machine->clock, NULL);
	rc = block_recall(place->blocks);
	if (rc < 0)
		return error_set_errno(err, -rc, "the disks");
	recall_memory(place);
	recall_counts(&place->counts);
	engine->ops->recall(engine, place->engine);
	rc = load_state(place, err);
	if (rc < 0)
		return rc;
	machine_emit(machine, "RECALL", CAUSE_HOST_UI); /* devices serve again */
	loop_forget_tasks(machine->loop); /* what they have left now, at the place nobody had */
	machine_forget_requests(machine); /* a request of the host's is posted again */
	recall_memory(place);
	vm_clock_recall(&machine->clock, NULL);
	engine->ops->recall(engine, place->engine);
	recall_counts(&place->counts);
	vm_clock_recall(&machine->clock, place->clock);
	machine->random_state = place->random;
	machine->output_hash = place->output_hash;
	virtual_time_recall(place->io_random);
	outside_recall(place->outside);
	return 0;
}

static int go_to_place(const struct place *place)
{
	struct machine *machine = back.machine;
	struct error err = {.text = ""};
	int rc;

	outside_break(UINT64_MAX); /* that is no debugger's point */
	outside_suspend(true);
	chardev_mute(true);
	rc = recall(place, &err);
	chardev_mute(false);
	outside_suspend(false);
	if (rc < 0)
		machine_fail(machine, err.text);
	return rc;
}

static int run_until(const struct cpu_goal *goal)
{
	struct cpu_engine *engine = back.machine->engine;
	int rc;

	chardev_mute(true);
	rc = engine->ops->run_until(engine, goal);
	chardev_mute(false);
	return rc;
}

static uint64_t count_at(const struct place *place, const struct cpu_goal *goal)
{
	return goal->cpu < 0 ? place->instructions : place->cpu_instructions[goal->cpu];
}

static int set_points(const struct cpu_debug *debug)
{
	struct cpu_engine *engine = back.machine->engine;

	return engine->ops->set_debug(engine, debug);
}

/* The debugger's points do not count on the way. */
int rewind_to(const struct cpu_goal *goal)
{
	static const struct cpu_debug none;
	struct cpu_debug points = back.machine->engine->debug;
	unsigned i = back.count;
	int rc;

	while (i && count_at(back.places[i - 1], goal) > goal->instructions)
		i--;
	if (!i)
		return -ENOENT;
	rc = go_to_place(back.places[i - 1]);
	if (rc == 0)
		rc = set_points(&none);
	if (rc == 0)
		rc = run_until(goal);
	set_points(&points);
	return rc;
}

struct hit {
	struct cpu_goal at;
	struct cpu_debug_stop stop;
	bool found;
};

/* An instruction that accessed watched data is shown before it did. */
static struct hit hit_here(void)
{
	const struct cpu_engine *engine = back.machine->engine;
	struct hit hit = {.stop = engine->debug_stop, .found = true};
	bool behind = hit.stop.reason == CPU_DEBUG_WATCH;

	hit.at = (struct cpu_goal){(int)hit.stop.cpu, executed(hit.stop.cpu)};
	if (behind && hit.at.instructions)
		hit.at.instructions--;
	return hit;
}

/* Past the instruction of a breakpoint; watchpoints count still. */
static int step_over(const struct cpu_debug *points)
{
	struct cpu_engine *engine = back.machine->engine;
	struct cpu_debug data = *points;
	struct cpu_goal next = {(int)engine->debug_stop.cpu, 0};

	next.instructions = executed(engine->debug_stop.cpu) + 1;
	data.count = 0;
	for (unsigned i = 0; i < points->count; i++)
		if (points->points[i].kind != CPU_DEBUG_EXECUTE)
			data.points[data.count++] = points->points[i];
	set_points(&data);
	return run_until(&next);
}

/* The last hit from here on and before `end`. */
static int last_hit(uint64_t end, const struct cpu_debug *points, struct hit *last)
{
	const struct cpu_engine *engine = back.machine->engine;
	const struct cpu_goal goal = {-1, end};
	bool over = false;
	int rc = 0;

	last->found = false;
	while (rc == 0 && outside_info().instructions < end) {
		if (over) {
			rc = step_over(points);
		} else {
			set_points(points);
			rc = run_until(&goal);
		}
		over = engine->debug_stop.reason == CPU_DEBUG_BREAK;
		if (rc == 0 && (over || engine->debug_stop.reason == CPU_DEBUG_WATCH) &&
			outside_info().instructions - !over < end)
			*last = hit_here();
	}
	return rc;
}

static int go_to_hit(const struct hit *hit)
{
	int rc = rewind_to(&hit->at);

	back.machine->engine->debug_stop = hit->stop;
	return rc;
}

int rewind_to_stop(void)
{
	struct cpu_debug points = back.machine->engine->debug;
	uint64_t end = outside_info().instructions;
	struct hit hit = {.found = false};
	unsigned i = back.count;
	int rc = 0;

	points.step = points.frozen = 0;
	while (i && back.places[i - 1]->instructions >= end)
		i--;
	for (; i && !hit.found && rc == 0; i--) {
		uint64_t begin = back.places[i - 1]->instructions;

		rc = go_to_place(back.places[i - 1]);
		if (rc == 0)
			rc = last_hit(end, &points, &hit);
		end = begin;
	}
	set_points(&points);
	if (rc < 0)
		return rc;
	if (hit.found)
		return go_to_hit(&hit);
	if (back.count)
		rc = rewind_to(&(struct cpu_goal){-1, back.places[0]->instructions});
	back.machine->engine->debug_stop = (struct cpu_debug_stop){.reason = CPU_DEBUG_NONE};
	return rc < 0 ? rc : -ENOENT;
}
