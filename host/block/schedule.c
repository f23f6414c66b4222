/* SPDX-License-Identifier: MIT */
/*
 * I/O in virtual time (block.h): an operation waits here until it is due and is then done in its
 * blocking form, so that no byte of its data moves earlier.
 */
#include "block/internal.h"

static const struct block_schedule *schedule;
static struct list waiting = {&waiting, &waiting}; /* of io, by due time */

static uint64_t done_count;

void block_set_schedule(const struct block_schedule *new_schedule)
{
	schedule = new_schedule;
}

uint64_t block_done_count(void)
{
	return done_count;
}

bool io_schedule_is_empty(void)
{
	return list_empty(&waiting);
}

void io_set_done_count(uint64_t count)
{
	done_count = count;
}

bool io_is_scheduled(void)
{
	return schedule;
}

static void wake_for_first(void)
{
	if (!list_empty(&waiting))
		schedule->wake(schedule->opaque, container_of(waiting.next, struct io, link)->due);
}

void io_schedule(struct io *io)
{
	struct list *pos;

	io->due = schedule->now(schedule->opaque) + schedule->delay(schedule->opaque, io->length);
	list_for_each (pos, &waiting)
		if (container_of(pos, struct io, link)->due > io->due)
			break;
	list_add_tail(pos, &io->link);
	wake_for_first();
}

static void run(struct io *io)
{
	int64_t usual = io->kind == IO_READ || io->kind == IO_WRITE ? (int64_t)io->length : 0;

	list_remove(&io->link);
	journal_note(io);
	file_run(io);
	if (schedule->outcome)
		io->result = schedule->outcome(schedule->opaque, done_count, usual, io->result);
	done_count++;
	lane_io_finished(io->lane, io);
	lane_deliver(io->lane);
}

void block_run_due(void)
{
	int64_t now = schedule->now(schedule->opaque);

	while (!list_empty(&waiting)) {
		struct io *io = container_of(waiting.next, struct io, link);

		if (io->due > now)
			break;
		run(io);
	}
	wake_for_first();
}

bool io_run_first_of(const struct lane *lane)
{
	struct list *pos;

	list_for_each (pos, &waiting) {
		struct io *io = container_of(pos, struct io, link);

		if (io->lane == lane) {
			run(io);
			return true;
		}
	}
	return false;
}
