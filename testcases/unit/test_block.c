/* SPDX-License-Identifier: MIT */
/* Requests against an image: every engine and cache mode, alignment, limits, ends, batches. */
#include "block-help.h"

#include <errno.h>

#define MIB (1u << 20)

static const char *const modes[] = {
	"file=%s,format=raw,aio=threads",
	"file=%s,format=raw,aio=io_uring",
	"file=%s,format=raw,cache=none,aio=native",
	"file=%s,format=raw,cache=none,aio=io_uring",
	"file=%s,format=raw,cache=none,aio=threads",
	"file=%s,format=raw,cache=writethrough",
	"file=%s,format=raw,cache=directsync,aio=native",
	"file=%s,format=raw,cache=unsafe",
	"file=%s,format=raw,snapshot=on",
	"file=%s,format=raw,snapshot=on,cache=none,aio=native",
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

static void each_mode(void (*run)(struct block_backend *blk), uint64_t size, bool pattern)
{
	for (size_t i = 0; i < MODES; i++) {
		struct block_backend *blk;

		make_image(size, pattern);
		blk = drive(modes[i]);
		if (!blk)
			print_message("%s: %s\n", modes[i], last_error.text);
		assert_non_null(blk);
		run(blk);
		block_close(blk);
		unlink(image);
	}
}

/* Writes at `offset` from memory at `shift` into a page, and reads back with another shift. */
static void write_and_read(struct block_backend *blk, uint64_t offset, size_t bytes, size_t shift)
{
	unsigned char *out = page_alloc(bytes + 8192), *in = calloc(1, bytes + 8192);

	assert_non_null(in);
	for (size_t i = 0; i < bytes; i++)
		out[shift + i] = (unsigned char)(offset / 512 + i * 7 + i / 512);
	assert_int_equal(request(blk, BLOCK_WRITE, offset, out + shift, bytes, 0), 0);
	assert_int_equal(request(blk, BLOCK_READ, offset, in + 1, bytes, 0), 0);
	assert_memory_equal(in + 1, out + shift, bytes);
	free(out);
	free(in);
}

static void sizes_and_shifts(struct block_backend *blk)
{
	static const size_t bytes[] = {512, 1024, 4096, 4608, 65536, 3 * MIB};
	static const size_t shifts[] = {0, 1, 512};
	static const uint64_t offsets[] = {0, 512, 4096, 7 * 512, MIB - 512};

	/* Where each write is made stable, as few as cover each size, shift and offset. */
	for (size_t i = 0; i < (block_write_cache(blk) ? 90 : 6); i++)
		write_and_read(blk, offsets[i % 5], bytes[i % 6], shifts[i / 5 % 3]);
	assert_int_equal(request(blk, BLOCK_FLUSH, 0, NULL, 0, 0), 0);
}

static void what_was_written_is_read(void **state)
{
	each_mode(sizes_and_shifts, 5 * MIB, false);
}

static void untouched_neighbours(struct block_backend *blk)
{
	unsigned char data[512], around[1536];

	memset(data, 0xee, sizeof(data));
	assert_int_equal(request(blk, BLOCK_WRITE, 3 * 512, data, 512, BLOCK_FLAG_FUA), 0);
	assert_int_equal(request(blk, BLOCK_READ, 2 * 512, around, 1536, 0), 0);
	assert_int_equal(around[0], 3);
	assert_int_equal(around[511], 3);
	assert_memory_equal(around + 512, data, 512);
	assert_int_equal(around[1024], 5);
	assert_int_equal(around[1535], 5);
}

static void a_sector_write_changes_no_neighbour(void **state)
{
	each_mode(untouched_neighbours, 64 * 512, true);
}

static void limits(struct block_backend *blk)
{
	static const struct {
		uint64_t offset, bytes;
		int result;
	} cases[] = {
		{1024, 512, -EINVAL},		   /* first sector beyond the end */
		{512, 1024, -EINVAL},		   /* across the end */
		{UINT64_MAX - 511, 512, -EINVAL},  /* the sum wraps to 0 */
		{UINT64_MAX - 511, 1024, -EINVAL}, /* and beyond */
		{0, UINT64_MAX - 511, -EINVAL},
		{1ull << 63, 1ull << 63, -EINVAL},
		{1, 512, -EINVAL},
		{0, 511, -EINVAL},
		{1024, 0, 0},
		{0, 0, 0},
	};
	unsigned char data[1024];

	assert_int_equal(block_size(blk), 1024);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (int op = BLOCK_READ; op <= BLOCK_WRITE_ZEROES; op++) {
			struct iovec iov = {.iov_base = data, .iov_len = cases[i].bytes};

			if (op != BLOCK_FLUSH)
				assert_int_equal(request_iov(blk, op, cases[i].offset,
							 cases[i].bytes, &iov, 1, 0),
					cases[i].result);
		}
	}
	/* A sum of iovecs that is not the length. */
	assert_int_equal(request_iov(blk, BLOCK_READ, 0, 1024,
				 &(struct iovec){.iov_base = data, .iov_len = 512}, 1, 0),
		-EINVAL);
	assert_int_equal(request_iov(blk, BLOCK_WRITE, 0, 512, NULL, 0, 0), -EINVAL);
}

static void a_request_beyond_the_limits_is_refused(void **state)
{
	each_mode(limits, 1024, true);
}

static void ragged_end(struct block_backend *blk)
{
	unsigned char data[1024], zero[24] = {0};

	assert_int_equal(block_size(blk), 1024);
	memset(data, 0xff, sizeof(data));
	assert_int_equal(request(blk, BLOCK_READ, 0, data, 1024, 0), 0);
	assert_int_equal(data[999], 2);
	assert_memory_equal(data + 1000, zero, 24);
	memset(data, 0x77, sizeof(data));
	assert_int_equal(request(blk, BLOCK_WRITE, 512, data, 512, 0), 0);
	memset(data, 0, sizeof(data));
	assert_int_equal(request(blk, BLOCK_READ, 512, data, 512, 0), 0);
	assert_int_equal(data[0], 0x77);
	assert_int_equal(data[511], 0x77);
}

static void a_last_sector_that_is_not_whole_reads_as_zeroes(void **state)
{
	each_mode(ragged_end, 1000, true);
}

static void zeroes(struct block_backend *blk)
{
	unsigned char data[4096];

	for (unsigned flags = 0; flags <= BLOCK_FLAG_UNMAP; flags += BLOCK_FLAG_UNMAP) {
		memset(data, 0x55, sizeof(data));
		assert_int_equal(request(blk, BLOCK_WRITE, 0, data, 4096, 0), 0);
		assert_int_equal(request(blk, BLOCK_WRITE_ZEROES, 512, NULL, 1024, flags), 0);
		assert_int_equal(request(blk, BLOCK_READ, 0, data, 4096, 0), 0);
		assert_int_equal(data[511], 0x55);
		assert_int_equal(data[512], 0);
		assert_int_equal(data[1535], 0);
		assert_int_equal(data[1536], 0x55);
	}
	assert_int_equal(request(blk, BLOCK_DISCARD, 0, NULL, 4096, 0), 0);
}

static void write_zeroes_reads_as_zeroes_and_nothing_more(void **state)
{
	each_mode(zeroes, MIB, true);
}

static void many(struct block_backend *blk)
{
	enum { COUNT = 400 };
	struct waiting *waiting = calloc(COUNT, sizeof(*waiting));
	struct iovec *iov = calloc(COUNT, sizeof(*iov));
	unsigned char *data = page_alloc(COUNT * 512);

	for (int i = 0; i < COUNT; i++) {
		memset(data + i * 512, i % 251, 512);
		iov[i] = (struct iovec){.iov_base = data + i * 512, .iov_len = 512};
		start(blk, &waiting[i], BLOCK_WRITE, i * 512, 512, &iov[i], 1, 0);
	}
	block_drain(blk, main_loop);
	for (int i = 0; i < COUNT; i++) {
		assert_true(waiting[i].finished);
		assert_int_equal(waiting[i].result, 0);
	}
	/* By the loop alone: nobody drains. */
	for (int i = 0; i < COUNT; i++)
		start(blk, &waiting[i], BLOCK_WRITE, i * 512, 512, &iov[i], 1, 0);
	awaited = COUNT;
	loop_run(main_loop);
	memset(data, 0xff, COUNT * 512);
	assert_int_equal(request_iov(blk, BLOCK_READ, 0, COUNT * 512, iov, COUNT, 0), 0);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(data[i * 512 + i % 512], i % 251);
	free(data);
	free(iov);
	free(waiting);
}

static void more_requests_than_the_engine_has_places(void **state)
{
	each_mode(many, MIB, false);
}

static void long_vector(struct block_backend *blk)
{
	enum { COUNT = 3000 };
	struct iovec *iov = calloc(COUNT, sizeof(*iov));
	unsigned char *data = page_alloc(COUNT * 512);

	for (int i = 0; i < COUNT; i++) {
		memset(data + i * 512, i % 253, 512);
		iov[i] = (struct iovec){.iov_base = data + i * 512, .iov_len = 512};
	}
	assert_int_equal(request_iov(blk, BLOCK_WRITE, 512, COUNT * 512, iov, COUNT, 0), 0);
	memset(data, 0xff, COUNT * 512);
	assert_int_equal(request_iov(blk, BLOCK_READ, 512, COUNT * 512, iov, COUNT, 0), 0);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(data[i * 512 + 511], i % 253);
	free(data);
	free(iov);
}

static void a_vector_longer_than_the_kernel_takes(void **state)
{
	each_mode(long_vector, 2 * MIB, false);
}

static void read_only(void **state)
{
	struct block_backend *blk;
	unsigned char data[512];

	make_image(1024, true);
	blk = drive("file=%s,format=raw,readonly=on");
	assert_non_null(blk);
	assert_true(block_is_readonly(blk));
	assert_int_equal(request(blk, BLOCK_READ, 512, data, 512, 0), 0);
	assert_int_equal(data[0], 2);
	assert_int_equal(request(blk, BLOCK_WRITE, 0, data, 512, 0), -EPERM);
	assert_int_equal(request(blk, BLOCK_WRITE_ZEROES, 0, NULL, 512, 0), -EPERM);
	assert_int_equal(request(blk, BLOCK_DISCARD, 0, NULL, 512, 0), -EPERM);
	assert_int_equal(request(blk, BLOCK_FLUSH, 0, NULL, 0, 0), 0);
	assert_int_equal(block_resize(blk, 4096, &last_error), -EACCES);
}

static void discard_frees_the_space_only_if_told(void **state)
{
	static const char *const drives[] = {
		"file=%s,format=raw,discard=unmap", "file=%s,format=raw"};
	unsigned char data[512];
	struct stat before, after;

	for (int i = 0; i < 2; i++) {
		struct block_backend *blk;

		make_image(MIB, true);
		blk = drive(drives[i]);
		assert_int_equal(block_can_discard(blk), i == 0);
		assert_int_equal(request(blk, BLOCK_FLUSH, 0, NULL, 0, 0), 0);
		assert_int_equal(stat(image, &before), 0);
		assert_int_equal(request(blk, BLOCK_DISCARD, 0, NULL, MIB, 0), 0);
		assert_int_equal(stat(image, &after), 0);
		assert_int_equal(after.st_size, MIB);
		assert_int_equal(after.st_blocks < before.st_blocks, i == 0);
		assert_int_equal(request(blk, BLOCK_READ, 4096, data, 512, 0), 0);
		assert_int_equal(data[0], i == 0 ? 0 : 9);
		block_close(blk);
		unlink(image);
	}
}

static void detected_zeroes_are_not_stored(void **state)
{
	struct block_backend *blk;
	unsigned char data[65536] = {0};
	struct stat after;

	make_image(65536, true);
	blk = drive("file=%s,format=raw,discard=unmap,detect-zeroes=unmap");
	assert_int_equal(request(blk, BLOCK_WRITE, 0, data, sizeof(data), 0), 0);
	assert_int_equal(stat(image, &after), 0);
	assert_int_equal(after.st_blocks, 0);
	data[40000] = 1;
	assert_int_equal(request(blk, BLOCK_WRITE, 0, data, sizeof(data), 0), 0);
	assert_int_equal(stat(image, &after), 0);
	assert_true(after.st_blocks > 0);
}

static void null_co_takes_everything(void **state)
{
	struct block_backend *blk = node("null-co,node-name=n,size=1M,read-zeroes=on");
	unsigned char data[512];

	assert_non_null(blk);
	assert_int_equal(block_size(blk), MIB);
	memset(data, 1, sizeof(data));
	assert_int_equal(request(blk, BLOCK_WRITE, 0, data, 512, 0), 0);
	assert_int_equal(request(blk, BLOCK_READ, 0, data, 512, 0), 0);
	assert_int_equal(data[0], 0);
	assert_int_equal(request(blk, BLOCK_READ, MIB, data, 512, 0), -EINVAL);
}

static void resizing(void **state)
{
	struct block_backend *blk;
	unsigned char data[512];

	make_image(4096, true);
	blk = drive("file=%s,format=raw");
	assert_int_equal(request(blk, BLOCK_READ, 4096, data, 512, 0), -EINVAL);
	assert_int_equal(block_resize(blk, 8192, &last_error), 0);
	assert_int_equal(block_size(blk), 8192);
	assert_int_equal(request(blk, BLOCK_READ, 4096, data, 512, 0), 0);
	assert_int_equal(data[0], 0);
	assert_int_equal(block_resize(blk, 1024, &last_error), 0);
	assert_int_equal(request(blk, BLOCK_READ, 1024, data, 512, 0), -EINVAL);
	assert_int_not_equal(block_resize(blk, UINT64_MAX, &last_error), 0);
	assert_int_equal(block_size(blk), 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOOP(what_was_written_is_read),
		WITH_LOOP(a_sector_write_changes_no_neighbour),
		WITH_LOOP(a_request_beyond_the_limits_is_refused),
		WITH_LOOP(a_last_sector_that_is_not_whole_reads_as_zeroes),
		WITH_LOOP(write_zeroes_reads_as_zeroes_and_nothing_more),
		WITH_LOOP(more_requests_than_the_engine_has_places),
		WITH_LOOP(a_vector_longer_than_the_kernel_takes),
		WITH_LOOP(read_only),
		WITH_LOOP(discard_frees_the_space_only_if_told),
		WITH_LOOP(detected_zeroes_are_not_stored),
		WITH_LOOP(null_co_takes_everything),
		WITH_LOOP(resizing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
