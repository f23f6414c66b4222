/* SPDX-License-Identifier: MIT */
/* What the tests of the block room share: image files, drives from one line, waiting requests. */
#ifndef BLOCK_HELP_H
#define BLOCK_HELP_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "block/block.h"
#include "block/iothread.h"

static struct loop *main_loop;
static char image[64];
static struct error last_error;

static inline void make_image(uint64_t size, bool pattern)
{
	int fd;

	/* /var/tmp and not /tmp: a tmpfs may not do O_DIRECT. */
	snprintf(image, sizeof(image), "/var/tmp/assay-block-XXXXXX");
	fd = mkstemp(image);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	for (uint64_t i = 0; pattern && i < size; i += 512) {
		unsigned char sector[512];
		size_t bytes = size - i < 512 ? size - i : 512;

		memset(sector, (int)(1 + i / 512 % 250), sizeof(sector));
		assert_int_equal(pwrite(fd, sector, bytes, i), (ssize_t)bytes);
	}
	close(fd);
}

static inline void *page_alloc(size_t bytes)
{
	void *memory = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);

	assert_non_null(memory);
	return memory;
}

/* "%s" in `options` becomes the image's name. */
static inline struct block_backend *drive(const char *options)
{
	char text[256];
	struct keyvals *kv;
	struct block_backend *blk;

	snprintf(text, sizeof(text), options, image);
	last_error.text[0] = 0;
	kv = keyvals_parse("-drive", text, NULL, &last_error);
	assert_non_null(kv);
	blk = block_open_drive(kv, false, &last_error);
	keyvals_free(kv);
	return blk;
}

static inline struct block_backend *node(const char *options)
{
	char text[256];
	struct keyvals *kv;
	struct block_backend *blk;

	snprintf(text, sizeof(text), options, image);
	last_error.text[0] = 0;
	kv = keyvals_parse("-blockdev", text, "driver", &last_error);
	assert_non_null(kv);
	blk = block_open_node(kv, &last_error);
	keyvals_free(kv);
	return blk;
}

struct waiting {
	struct block_request request;
	bool finished;
	int result;
};

static unsigned awaited; /* the loop stops when so many have finished; 0: never */

static inline void note_done(struct block_request *request, int result)
{
	struct waiting *waiting = container_of(request, struct waiting, request);

	assert_false(waiting->finished);
	waiting->finished = true;
	waiting->result = result;
	if (awaited && --awaited == 0)
		loop_stop(main_loop);
}

static inline void start(struct block_backend *blk, struct waiting *waiting,
	enum block_operation operation, uint64_t offset, uint64_t bytes, const struct iovec *iov,
	int iov_count, unsigned flags)
{
	memset(waiting, 0, sizeof(*waiting));
	waiting->request = (struct block_request){
		.operation = operation,
		.flags = flags,
		.offset = offset,
		.bytes = bytes,
		.iov = iov,
		.iov_count = iov_count,
		.loop = main_loop,
		.done = note_done,
	};
	block_submit(blk, &waiting->request);
	assert_false(waiting->finished); /* never from within */
}

static inline int request_iov(struct block_backend *blk, enum block_operation operation,
	uint64_t offset, uint64_t bytes, const struct iovec *iov, int iov_count, unsigned flags)
{
	struct waiting waiting;

	start(blk, &waiting, operation, offset, bytes, iov, iov_count, flags);
	block_drain(blk, main_loop);
	assert_true(waiting.finished);
	return waiting.result;
}

static inline int request(struct block_backend *blk, enum block_operation operation,
	uint64_t offset, void *data, uint64_t bytes, unsigned flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = bytes};

	return request_iov(blk, operation, offset, bytes, &iov, 1, flags);
}

static inline int set_up(void **state)
{
	main_loop = loop_create("test", &last_error);
	return main_loop ? 0 : -1;
}

static inline int tear_down(void **state)
{
	block_close_all();
	iothread_destroy_all();
	loop_destroy(main_loop);
	if (image[0])
		unlink(image);
	image[0] = 0;
	return 0;
}

#define WITH_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
