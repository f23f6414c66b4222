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

#include "base/log.h"
#include "block/block.h"
#include "board/virtual-time.h"
#include "chardev/chardev.h"
#include "machine/outside.h"
#include "migration/machine-state.h"

#define PAGE	   4096u
#define PLACES_MAX 24
#define EVERY	   4000000 /* instructions; doubled when there are too many places */

struct page {
	uint64_t block, offset;
	uint8_t bytes[PAGE];
};

struct place {
	uint64_t instructions, random, output_hash, io_random;
	uint64_t *cpu_instructions;
	int state;	    /* a file in memory */
	struct page *pages; /* that are not zero */
	size_t page_count;
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

static int keep_memory(struct place *place)
{
	const struct guest_memory *memory = &back.machine->memory;
	size_t room = 0;

	for (uint64_t b = 0; b < memory->count; b++)
		for (uint64_t at = 0; at < memory->blocks[b].size; at += PAGE) {
			struct page *page;

			if (is_zero(memory->blocks[b].host + at))
				continue;
			if (place->page_count == room) {
				room = room ? room * 2 : 256;
				page = realloc(place->pages, room * sizeof(*page));
				if (!page)
					return -ENOMEM;
				place->pages = page;
			}
			page = &place->pages[place->page_count++];
			page->block = b;
			page->offset = at;
			memcpy(page->bytes, memory->blocks[b].host + at, PAGE);
		}
	return 0;
}

static int keep_state(struct place *place, struct error *err)
{
	struct migration_counts counts = {0};
	struct stream s;
	int rc;

	place->state = memfd_create("assay-place", MFD_CLOEXEC);
	if (place->state < 0)
		return -errno;
	rc = stream_init(&s, place->state, true, err);
	if (rc == 0)
		rc = machine_save(back.machine, &s, true, &counts, err);
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

static struct place *make_place(void)
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
		!place->outside || keep_memory(place) < 0 || keep_state(place, &err) < 0) {
		place_free(place);
		return NULL;
	}
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
	place = make_place();
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
			const struct page *page = &place->pages[next];
			uint8_t *host = memory->blocks[b].host + at;

			if (next < place->page_count && page->block == b && page->offset == at) {
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
	bool running;
	int rc = lseek(place->state, 0, SEEK_SET) < 0 ? -errno : 0;

	if (rc == 0)
		rc = stream_init(&s, place->state, false, err);
	if (rc < 0)
		return rc;
	rc = machine_load(back.machine, &s, &running, err);
	stream_destroy(&s);
	return rc;
}

/* What is in flight now belongs to a future that is given up: it ends, and is then undone. */
static int recall(const struct place *place, struct error *err)
{
	struct machine *machine = back.machine;
	struct list *pos;
	int rc;

	list_for_each (pos, &machine->devices)
		device_reset(container_of(pos, struct device, link));
	loop_forget_tasks(machine->loop);
	vm_clock_recall(&machine->clock, NULL);
	rc = block_recall(place->blocks);
	if (rc < 0)
		return error_set_errno(err, -rc, "the disks");
	rc = load_state(place, err);
	if (rc < 0)
		return rc;
	machine_emit(machine, "RECALL", CAUSE_HOST_UI); /* devices serve again */
	loop_forget_tasks(machine->loop);
	recall_memory(place);
	vm_clock_recall(&machine->clock, NULL);
	machine->engine->ops->recall(machine->engine, place->engine);
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
