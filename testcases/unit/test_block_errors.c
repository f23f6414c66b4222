/* SPDX-License-Identifier: MIT */
/* What the host cannot do: reported, ignored, or held and tried again (werror=, rerror=). */
#include "block-help.h"

#include <errno.h>

#include "block/internal.h"

static struct block_failure heard;
static unsigned heard_count, done_count;

static void hear(void *opaque, const struct block_failure *failure)
{
	heard = *failure;
	heard_count++;
	loop_stop(main_loop);
}

static struct block_observer observer = {.failed = hear};

static void stop_when_done(struct block_request *request, int result)
{
	note_done(request, result);
	done_count++;
	loop_stop(main_loop);
}

static int begin(void **state)
{
	int rc = set_up(state);

	heard_count = done_count = 0;
	block_observe(main_loop, &observer);
	make_image(65536, true);
	return rc;
}

/* Writes say ENOSPC and reads EBADF until the image is put back. */
static int break_file(struct block_backend *blk, int flags)
{
	int fd = blk->file->fd;

	blk->file->fd = open("/dev/full", flags);
	assert_true(blk->file->fd >= 0);
	return fd;
}

static void mend_file(struct block_backend *blk, int fd)
{
	close(blk->file->fd);
	blk->file->fd = fd;
}

static unsigned char data[512];
static const struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};

static void begin_request(
	struct block_backend *blk, struct waiting *waiting, enum block_operation operation)
{
	start(blk, waiting, operation, 4096, sizeof(data), &iov, 1, 0);
	waiting->request.done = stop_when_done;
}

static void a_full_disk_holds_the_write_by_default(void **state)
{
	struct block_backend *blk = drive("file=%s,format=raw,id=d,aio=threads");
	struct waiting waiting;
	int fd = break_file(blk, O_RDWR);

	memset(data, 0x77, sizeof(data));
	begin_request(blk, &waiting, BLOCK_WRITE);
	loop_run(main_loop);
	assert_false(waiting.finished);
	assert_int_equal(heard_count, 1);
	assert_int_equal(heard.action, ON_ERROR_STOP);
	assert_int_equal(heard.error, ENOSPC);
	assert_int_equal(heard.operation, BLOCK_WRITE);
	assert_string_equal(block_id(heard.blk), "d");
	/* Still no room: held again. */
	block_retry_all();
	loop_run(main_loop);
	assert_false(waiting.finished);
	assert_int_equal(heard_count, 2);
	mend_file(blk, fd);
	block_retry_all();
	loop_run(main_loop);
	assert_true(waiting.finished);
	assert_int_equal(waiting.result, 0);
	assert_int_equal(pread(fd, data, 1, 4096), 1);
	assert_int_equal(data[0], 0x77);
	assert_int_equal(heard_count, 2);
	/* Tried again once, not twice. */
	block_retry_all();
	block_drain(blk, main_loop);
	assert_int_equal(done_count, 1);
}

static void another_write_error_is_reported_by_default(void **state)
{
	struct block_backend *blk = drive("file=%s,format=raw,aio=threads");
	int fd = break_file(blk, O_RDONLY);

	assert_int_equal(request(blk, BLOCK_WRITE, 0, data, 512, 0), -EBADF);
	mend_file(blk, fd);
	loop_run(main_loop);
	assert_int_equal(heard.action, ON_ERROR_REPORT);
}

static void reads(const char *options, bool held, int result, enum block_on_error action)
{
	struct block_backend *blk = drive(options);
	struct waiting waiting;
	int fd = break_file(blk, O_WRONLY);

	begin_request(blk, &waiting, BLOCK_READ);
	loop_run(main_loop);
	while (!held && !(waiting.finished && heard_count))
		loop_run(main_loop);
	assert_int_equal(waiting.finished, !held);
	assert_int_equal(waiting.result, result);
	assert_int_equal(heard.action, action);
	assert_int_equal(heard.operation, BLOCK_READ);
	mend_file(blk, fd);
	if (held) {
		block_retry_all();
		loop_run(main_loop);
		assert_true(waiting.finished);
		assert_int_equal(waiting.result, 0);
		assert_int_equal(data[0], 9);
	}
}

static void a_read_error_is_reported_by_default(void **state)
{
	reads("file=%s,format=raw,aio=threads", false, -EBADF, ON_ERROR_REPORT);
}

static void rerror_ignore(void **state)
{
	reads("file=%s,format=raw,aio=threads,rerror=ignore", false, 0, ON_ERROR_IGNORE);
}

static void rerror_stop(void **state)
{
	reads("file=%s,format=raw,aio=threads,rerror=stop", true, 0, ON_ERROR_STOP);
}

static void the_device_decides_over_the_drive(void **state)
{
	struct block_backend *blk = drive("file=%s,format=raw,aio=threads,rerror=stop");
	int fd = break_file(blk, O_WRONLY);

	block_set_on_error(blk, ON_ERROR_AUTO, ON_ERROR_REPORT);
	assert_int_equal(request(blk, BLOCK_READ, 0, data, 512, 0), -EBADF);
	mend_file(blk, fd);
}

/* A reset of the device: it wants its memory back, and no second try. */
static void a_drain_ends_what_is_held(void **state)
{
	struct block_backend *blk = drive("file=%s,format=raw,aio=threads,werror=stop");
	struct waiting held, other;
	int fd = break_file(blk, O_RDWR);

	begin_request(blk, &held, BLOCK_WRITE);
	loop_run(main_loop);
	assert_false(held.finished);
	begin_request(blk, &other, BLOCK_WRITE);
	block_drain(blk, main_loop);
	assert_true(held.finished);
	assert_int_equal(held.result, -ENOSPC);
	assert_true(other.finished);
	assert_int_equal(other.result, -ENOSPC);
	mend_file(blk, fd);
	block_retry_all();
	block_drain(blk, main_loop);
	assert_int_equal(done_count, 2);
}

/* A VM that stops: the same request is tried again when it goes on. */
static void settling_leaves_what_is_held(void **state)
{
	struct block_backend *blk = drive("file=%s,format=raw,aio=threads,werror=stop");
	struct waiting held;
	int fd = break_file(blk, O_RDWR);

	begin_request(blk, &held, BLOCK_WRITE);
	block_settle(blk, main_loop); /* it fails in here */
	block_settle(blk, main_loop);
	assert_false(held.finished);
	loop_run(main_loop);
	assert_int_equal(heard.action, ON_ERROR_STOP);
	mend_file(blk, fd);
	block_retry_all();
	loop_run(main_loop);
	assert_true(held.finished);
	assert_int_equal(held.result, 0);
}

/* What the guest asks for wrongly never stops the VM. */
static void limits_are_no_errors_of_the_host(void **state)
{
	struct block_backend *blk = drive("file=%s,format=raw,rerror=stop,werror=stop");

	assert_int_equal(request(blk, BLOCK_READ, 65536, data, 512, 0), -EINVAL);
	assert_int_equal(heard_count, 0);
}

static void a_held_request_does_not_outlive_its_drive(void **state)
{
	struct block_backend *blk = drive("file=%s,format=raw,aio=threads,werror=stop");
	static struct waiting held;
	int fd = break_file(blk, O_RDWR);

	begin_request(blk, &held, BLOCK_WRITE);
	loop_run(main_loop);
	mend_file(blk, fd);
	block_close_all();
	assert_int_equal(held.result, -ENOSPC);
}

int main(void)
{
#define WITH_IMAGE(test) cmocka_unit_test_setup_teardown(test, begin, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_IMAGE(a_full_disk_holds_the_write_by_default),
		WITH_IMAGE(another_write_error_is_reported_by_default),
		WITH_IMAGE(a_read_error_is_reported_by_default),
		WITH_IMAGE(rerror_ignore),
		WITH_IMAGE(rerror_stop),
		WITH_IMAGE(the_device_decides_over_the_drive),
		WITH_IMAGE(a_drain_ends_what_is_held),
		WITH_IMAGE(settling_leaves_what_is_held),
		WITH_IMAGE(limits_are_no_errors_of_the_host),
		WITH_IMAGE(a_held_request_does_not_outlive_its_drive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
