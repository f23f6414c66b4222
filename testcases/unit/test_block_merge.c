/* SPDX-License-Identifier: MIT */
/* Neighbours of a batch as one operation with the host (block/merge.c): which are merged, and that
 * each request keeps its own data and its own error. */
#include "block-help.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "block/internal.h"

#define PAGE  4096u
#define COUNT 8u

static const char *const modes[] = {
	"file=%s,format=raw,aio=io_uring",
	"file=%s,format=raw,cache=none,aio=io_uring",
	"file=%s,format=raw,cache=none,aio=native",
	"file=%s,format=raw,snapshot=on,aio=io_uring",
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

/* --- which are merged --- */

static struct lane lane;
static struct block_file files[2];
static struct iovec piece = {.iov_len = PAGE};

static void add(struct io *io, enum io_kind kind, unsigned file, uint64_t offset, uint64_t length)
{
	*io = (struct io){.lane = &lane,
		.kind = kind,
		.file = &files[file],
		.offset = offset,
		.length = length,
		.iov = &piece,
		.iov_count = 1};
	list_add_tail(&lane.batch, &io->link);
}

static void begin(void)
{
	list_init(&lane.batch);
	list_init(&lane.merged_free);
}

/* The next operation of the batch stands for `count` requests that begin at `first`. */
static void expect(const struct io *first, uint64_t length, int count)
{
	struct list finished = {&finished, &finished}, again = {&again, &again};
	struct io *io = merge_next(&lane);

	assert_non_null(io);
	assert_int_equal(io->kind, first->kind);
	assert_ptr_equal(io->file, first->file);
	assert_int_equal(io->offset, first->offset);
	assert_int_equal(io->length, length);
	assert_int_equal(io->iov_count, count);
	assert_int_equal(io->is_merged, count > 1);
	if (count == 1) {
		assert_ptr_equal(io, first);
		return;
	}
	io->result = (int64_t)length;
	merge_undo(io, &finished, &again);
	assert_true(list_empty(&again));
	assert_ptr_equal(finished.next, &first->link);
	for (struct list *pos = finished.next; pos != &finished; pos = pos->next) {
		const struct io *part = container_of(pos, struct io, link);

		assert_int_equal(part->result, part->length);
		count--;
	}
	assert_int_equal(count, 0);
}

static void neighbours_and_nobody_else(void **state)
{
	struct io io[12];

	begin();
	add(&io[0], IO_READ, 0, 0, PAGE);
	add(&io[1], IO_READ, 0, PAGE, 2 * PAGE);
	add(&io[2], IO_READ, 0, 3 * PAGE, PAGE);
	add(&io[3], IO_READ, 0, 5 * PAGE, PAGE);  /* behind a gap */
	add(&io[4], IO_WRITE, 0, 6 * PAGE, PAGE); /* another kind */
	add(&io[5], IO_WRITE, 0, 6 * PAGE, PAGE); /* the same place once more */
	add(&io[6], IO_WRITE, 1, 7 * PAGE, PAGE); /* another file */
	add(&io[7], IO_WRITE, 1, 6 * PAGE, PAGE); /* downwards */
	add(&io[8], IO_SYNC, 1, 7 * PAGE, 0);
	add(&io[9], IO_SYNC, 1, 7 * PAGE, 0);
	add(&io[10], IO_WRITE, 1, 7 * PAGE, PAGE);
	add(&io[11], IO_WRITE, 1, 8 * PAGE, PAGE);
	expect(&io[0], 4 * PAGE, 3);
	for (unsigned i = 3; i < 10; i++)
		expect(&io[i], io[i].length, 1);
	expect(&io[10], 2 * PAGE, 2);
	assert_null(merge_next(&lane));
	merge_free(&lane);
}

static void no_more_than_four_mebibytes(void **state)
{
	struct io io[3];

	begin();
	add(&io[0], IO_READ, 0, 0, 2 << 20);
	add(&io[1], IO_READ, 0, 2 << 20, 2 << 20);
	add(&io[2], IO_READ, 0, 4 << 20, PAGE);
	expect(&io[0], 4 << 20, 2);
	expect(&io[2], PAGE, 1);
	merge_free(&lane);
}

/* What was not moved as a whole is done again, each by itself. */
static void a_short_one_falls_apart(void **state)
{
	struct list finished = {&finished, &finished}, again = {&again, &again};
	struct io io[2], *whole;

	begin();
	add(&io[0], IO_WRITE, 0, 0, PAGE);
	add(&io[1], IO_WRITE, 0, PAGE, PAGE);
	whole = merge_next(&lane);
	whole->result = PAGE;
	merge_undo(whole, &finished, &lane.batch);
	assert_true(list_empty(&finished));
	expect(&io[0], PAGE, 1);
	expect(&io[1], PAGE, 1);
	assert_null(merge_next(&lane));
	merge_free(&lane);
}

/* --- through a drive --- */

static struct turn {
	struct loop_task task;
	struct block_backend *blk;
	enum block_operation operation;
	struct block_request requests[COUNT];
	struct iovec iov[COUNT];
	int results[COUNT];
	unsigned left;
} turn;

static void one_done(struct block_request *request, int result)
{
	turn.results[request - turn.requests] = result;
	if (--turn.left == 0)
		loop_stop(main_loop);
}

/* All requests in one turn of the loop: one batch. */
static void submit_all(void *opaque)
{
	for (unsigned i = 0; i < COUNT; i++) {
		turn.requests[i] = (struct block_request){.operation = turn.operation,
			.offset = i * PAGE,
			.bytes = PAGE,
			.iov = &turn.iov[i],
			.iov_count = 1,
			.loop = main_loop,
			.done = one_done};
		block_submit(turn.blk, &turn.requests[i]);
	}
}

/* Page i of the drive and page COUNT - 1 - i of the memory belong together. */
static void move(struct block_backend *blk, enum block_operation operation, unsigned char *memory)
{
	for (unsigned i = 0; i < COUNT; i++)
		turn.iov[i] = (struct iovec){memory + (COUNT - 1 - i) * PAGE, PAGE};
	turn.blk = blk;
	turn.operation = operation;
	turn.left = COUNT;
	turn.task = (struct loop_task){.run = submit_all};
	loop_post(main_loop, &turn.task);
	loop_run(main_loop);
}

static void each_mode(void (*run)(struct block_backend *blk, unsigned char *memory))
{
	unsigned char *memory = page_alloc(COUNT * PAGE);

	for (size_t i = 0; i < MODES; i++) {
		struct block_backend *blk;

		make_image(COUNT * PAGE, true);
		blk = drive(modes[i]);
		assert_non_null(blk);
		run(blk, memory);
		/* The engine that was asked for served, and there was something merged. */
		assert_non_null(atomic_load(&blk->lanes));
		if (atomic_load(&blk->lanes)->engine)
			assert_false(list_empty(&atomic_load(&blk->lanes)->merged_free));
		else
			print_message("%s: no such engine here\n", modes[i]);
		block_close(blk);
		unlink(image);
	}
	free(memory);
}

static void there_and_back(struct block_backend *blk, unsigned char *memory)
{
	for (unsigned i = 0; i < COUNT; i++)
		memset(memory + i * PAGE, 0x80 + i, PAGE);
	move(blk, BLOCK_WRITE, memory);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(turn.results[i], 0);
	memset(memory, 0, COUNT * PAGE);
	move(blk, BLOCK_READ, memory);
	for (unsigned i = 0; i < COUNT * PAGE; i++)
		assert_int_equal(memory[i], 0x80 + i / PAGE);
	assert_int_equal(request(blk, BLOCK_READ, PAGE, memory, PAGE, 0), 0);
	assert_int_equal(memory[0], 0x80 + COUNT - 2);
}

static void each_keeps_its_data(void **state)
{
	each_mode(there_and_back);
}

/* The file has become shorter than the drive: what is there is read, the rest is zeroes. */
static void cut(struct block_backend *blk, unsigned char *memory)
{
	assert_int_equal(truncate(image, 3 * PAGE + 512), 0);
	memset(memory, 0xff, COUNT * PAGE);
	move(blk, BLOCK_READ, memory);
	for (unsigned i = 0; i < COUNT; i++) {
		const unsigned char *page = memory + (COUNT - 1 - i) * PAGE;

		assert_int_equal(turn.results[i], 0);
		assert_int_equal(page[0], i <= 3 ? 1 + i * 8 : 0);
		assert_int_equal(page[PAGE - 1], i < 3 ? 8 + i * 8 : 0);
	}
}

static void beyond_the_end_of_the_file(void **state)
{
	each_mode(cut);
}

/* The host takes no bytes beyond a limit: the requests that end before it succeed. */
static void limited(struct block_backend *blk, unsigned char *memory)
{
	const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
	const struct rlimit some = {5 * PAGE, RLIM_INFINITY};

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
	move(blk, BLOCK_WRITE, memory);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(turn.results[i], i < 5 ? 0 : -EFBIG);
}

static void an_error_is_its_own(void **state)
{
	signal(SIGXFSZ, SIG_IGN);
	each_mode(limited);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbours_and_nobody_else),
		cmocka_unit_test(no_more_than_four_mebibytes),
		cmocka_unit_test(a_short_one_falls_apart),
		WITH_LOOP(each_keeps_its_data),
		WITH_LOOP(beyond_the_end_of_the_file),
		WITH_LOOP(an_error_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
