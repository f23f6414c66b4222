/* SPDX-License-Identifier: MIT */
/*
 * What the tests of IDE on a fake block room share: the functions of the block room that answer the
 * same for all of them.  A test defines FAKE_SECTORS before it includes this, and struct
 * block_backend, block_submit() and block_drain() itself.
 */
#ifndef IDE_HELP_H
#define IDE_HELP_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "devices/storage/ide.h"

static struct machine machine;
static struct ide_channel channel;
static bool master = true;

static inline bool is_master(void *opaque)
{
	return master;
}

/* A drive with a buffer of its own, which the test frees. */
static inline void fake_drive(
	struct ide_drive *drive, unsigned unit, struct block_backend *blk, uint64_t sectors)
{
	*drive = (struct ide_drive){
		.channel = &channel,
		.unit = unit,
		.blk = blk,
		.sectors = sectors,
		.cylinders = sectors / (16 * 63),
		.heads = 16,
		.track = 63,
		.can_trim = true,
		.serial = "serial",
		.model = "model",
		.version = "version",
		.buffer = calloc(IDE_BUFFER_SECTORS, IDE_SECTOR),
	};
	assert_non_null(drive->buffer);
}

/* Of a request that completes: do its pieces make up its length? */
static inline void check_length(const struct block_request *request)
{
	size_t total = 0;

	for (int i = 0; i < request->iov_count; i++)
		total += request->iov[i].iov_len;
	if (request->operation == BLOCK_READ || request->operation == BLOCK_WRITE)
		assert_int_equal(total, request->bytes);
}

uint64_t block_size(const struct block_backend *blk)
{
	return FAKE_SECTORS * 512ULL;
}

bool block_is_readonly(const struct block_backend *blk)
{
	return false;
}

bool block_write_cache(const struct block_backend *blk)
{
	return true;
}

const char *block_serial(const struct block_backend *blk)
{
	return NULL;
}

const char *block_id(const struct block_backend *blk)
{
	return "fake";
}

int block_attach(struct block_backend *blk, struct block_user *user, struct error *err)
{
	return 0;
}

void block_detach(struct block_backend *blk, struct block_user *user)
{
}

struct block_backend *block_find(const char *id)
{
	return NULL;
}

#endif
