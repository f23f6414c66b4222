/* SPDX-License-Identifier: MIT */
/* A log of `-icount rr=` is hostile input: whatever it holds, it is read within its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <xxhash.h>

#include "machine/replay-log.h"

#define ENTRIES 6
#define ROUNDS	20000

static uint8_t *made;
static size_t made_length;

static uint64_t next_random(void)
{
	static uint64_t x = 1;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* A file of the writer's, as bytes. */
static int make(void **state)
{
	char path[] = "/tmp/assay-replay-log-XXXXXX";
	struct error err = {.text = ""};
	struct rlog_writer w;
	int fd = mkstemp(path);
	FILE *file;

	close(fd);
	assert_int_equal(rlog_create(&w, path, &err), 0);
	assert_int_equal(rlog_put_trait(&w, "memory", "64", &err), 0);
	assert_int_equal(rlog_put_trait(&w, "kernel", "none", &err), 0);
	assert_int_equal(rlog_put_head(&w, &err), 0);
	for (unsigned i = 0; i < ENTRIES; i++)
		rlog_put(&w, &(struct rlog_entry){.kind = i < ENTRIES - 1 ? RLOG_ENTERS : RLOG_END,
				     .name = "chardev",
				     .turns = i,
				     .instructions = 100 * i,
				     .key = i,
				     .length = 4 * i,
				     .payload = (const uint8_t *)"abcdefghijklmnopqrstuvwxyz"});
	rlog_close(&w);
	file = fopen(path, "rb");
	made = malloc(4096);
	made_length = fread(made, 1, 4096, file);
	fclose(file);
	unlink(path);
	return 0;
}

static int forget(void **state)
{
	free(made);
	return 0;
}

/* All there is, read; how many entries. */
static unsigned walk(const struct rlog_reader *r)
{
	char text[RLOG_TEXT_MAX + 1];
	struct rlog_entry entry;
	size_t at = r->entries;
	unsigned count = 0;
	uint64_t sum = 0;

	rlog_find_trait(r, "kernel", text);
	rlog_find_trait(r, "nothing", text);
	for (; rlog_next(r, &at, &entry); count++)
		for (uint32_t i = 0; i < entry.length; i++)
			sum += entry.payload[i];
	assert_true(sum < UINT64_MAX);
	return count;
}

static void test_what_was_written_is_read(void **state)
{
	char text[RLOG_TEXT_MAX + 1];
	struct error err = {.text = ""};
	struct rlog_reader r;

	assert_int_equal(rlog_judge(&r, made, made_length, &err), 0);
	assert_true(r.complete);
	assert_int_equal(r.last.instructions, 100 * (ENTRIES - 1));
	assert_true(rlog_find_trait(&r, "kernel", text));
	assert_string_equal(text, "none");
	assert_false(rlog_find_trait(&r, "initrd", text));
	assert_int_equal(walk(&r), ENTRIES);
}

/* Each length: refused in the head, then read up to the last whole entry. */
static void test_a_cut_file(void **state)
{
	unsigned most = 0;

	for (size_t length = 0; length < made_length; length++) {
		uint8_t *bytes = malloc(length + 1); /* of its own, for the sanitizer */
		struct error err = {.text = ""};
		struct rlog_reader r;

		memcpy(bytes, made, length);
		if (rlog_judge(&r, bytes, length, &err) == 0) {
			unsigned count = walk(&r);

			assert_false(r.complete);
			assert_in_range(count, most, ENTRIES - 1);
			most = count;
		} else {
			assert_true(err.text[0]);
			assert_int_equal(most, 0);
		}
		free(bytes);
	}
	assert_int_equal(most, ENTRIES - 1);
}

/* The checksum of an entry that begins there, put right, so that what is behind it is judged. */
static void mend(uint8_t *bytes, size_t length, size_t at)
{
	uint32_t payload;
	size_t end;

	if (length - at < 35)
		return;
	memcpy(&payload, bytes + at + 26, 4);
	end = at + 31 + bytes[at + 30] + (size_t)payload;
	if (end + 4 <= length) {
		uint32_t sum = (uint32_t)XXH3_64bits(bytes + at, end - at);

		memcpy(bytes + end, &sum, 4);
	}
}

static void test_changed_bytes(void **state)
{
	struct error err = {.text = ""};
	struct rlog_reader good;
	unsigned read = 0;

	assert_int_equal(rlog_judge(&good, made, made_length, &err), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint8_t *bytes = malloc(made_length);
		struct rlog_reader r;

		memcpy(bytes, made, made_length);
		for (unsigned n = 1 + next_random() % 3; n; n--)
			bytes[next_random() % made_length] = (uint8_t)next_random();
		mend(bytes, made_length, good.entries);
		if (rlog_judge(&r, bytes, made_length, &err) == 0)
			read += walk(&r) > 0;
		free(bytes);
	}
	assert_true(read > 0); /* some were only changed, not damaged */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_was_written_is_read),
		cmocka_unit_test(test_a_cut_file),
		cmocka_unit_test(test_changed_bytes),
	};

	return cmocka_run_group_tests(tests, make, forget);
}
