/* SPDX-License-Identifier: MIT */
/* Field tables: every device type has one whose names fit, and values come back as they went. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "board/board.h"
#include "cpu/context.h"
#include "machine/chips.h"
#include "migration/fields.h"

/* --- the tables of this program --- */

static void check_table(const struct state_table *table, size_t depth)
{
	assert_non_null(table->name);
	assert_in_range(table->version, 1, 1000);
	assert_true(depth < 6);
	for (const struct state_field *f = table->fields; f->name; f++) {
		assert_true(strlen(f->name) <= 40);
		assert_true(f->since <= table->version);
		assert_true(f->counted || f->count >= 1);
		if (f->kind == STATE_NUMBER)
			assert_true(f->size == 1 || f->size == 2 || f->size == 4 || f->size == 8);
		if (f->kind == STATE_FLAG)
			assert_int_equal(f->size, sizeof(bool));
		for (const struct state_field *other = table->fields; other < f; other++)
			assert_string_not_equal(other->name, f->name);
		if (f->kind == STATE_GROUP)
			check_table(f->table, depth + 1);
	}
	for (unsigned i = 0; table->subsections && table->subsections[i]; i++)
		check_table(table->subsections[i], depth + 1);
}

static void every_type_has_a_table(void **unused)
{
	for (unsigned i = 0; device_types[i]; i++) {
		if (!device_types[i]->state)
			fail_msg("%s has no .state", device_types[i]->name);
		check_table(device_types[i]->state, 0);
	}
	check_table(&chips_state_table, 0);
	check_table(&cpu_context_table, 0);
}

/* --- there and back --- */

struct part {
	uint16_t number;
	bool flag;
};

struct whole {
	uint8_t index;
	uint64_t words[3];
	struct part parts[2];
	uint32_t extra, younger;
	bool has_extra;
};

static const struct state_field part_fields[] = {
	STATE_UINT(struct part, number),
	STATE_BOOL(struct part, flag),
	STATE_END,
};
static const struct state_table part_table = {.name = "part", .version = 1, .fields = part_fields};

static const struct state_field extra_fields[] = {
	STATE_UINT(struct whole, extra),
	STATE_END,
};

static bool has_extra(const void *state)
{
	return ((const struct whole *)state)->has_extra;
}

static const struct state_table extra_table = {
	.name = "extra", .version = 1, .fields = extra_fields, .needed = has_extra};
static const struct state_table *const subsections[] = {&extra_table, NULL};

static int whole_loaded(void *state, unsigned version, struct error *err)
{
	struct whole *whole = state;

	if (whole->words[0] == 13)
		return error_set(err, EINVAL, "words: unlucky");
	return 0;
}

static const struct state_field old_fields[] = {
	STATE_UINT(struct whole, index, .max = 7),
	STATE_UINTS(struct whole, words),
	STATE_PARTS(struct whole, parts, part_table),
	STATE_END,
};
static const struct state_field new_fields[] = {
	STATE_UINT(struct whole, index, .max = 7),
	STATE_UINTS(struct whole, words),
	STATE_PARTS(struct whole, parts, part_table),
	STATE_UINT(struct whole, younger, .since = 2),
	STATE_END,
};
static const struct state_table old_table = {.name = "whole",
	.version = 1,
	.fields = old_fields,
	.subsections = subsections,
	.post_load = whole_loaded};
static const struct state_table new_table = {.name = "whole",
	.version = 2,
	.fields = new_fields,
	.subsections = subsections,
	.post_load = whole_loaded};

/* Saves by one table, loads by another; 0 or the error, with its sentence in `text`. */
static int carry(const struct state_table *out, struct whole *from, const struct state_table *in,
	struct whole *to, unsigned version, char *text)
{
	FILE *file = tmpfile();
	struct stream s;
	uint64_t length;
	int rc;

	assert_non_null(file);
	assert_int_equal(stream_init(&s, fileno(file), true, NULL), 0);
	fields_prepare(out, from);
	fields_save(&s, out, from);
	assert_int_equal(stream_flush(&s), 0);
	length = s.position;
	stream_destroy(&s);
	assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
	assert_int_equal(stream_init(&s, fileno(file), false, NULL), 0);
	s.limit = length;
	rc = fields_load(&s, in, to, version);
	strcpy(text, s.err.text);
	stream_destroy(&s);
	fclose(file);
	return rc;
}

static struct whole example(void)
{
	return (struct whole){.index = 5,
		.words = {1, UINT64_MAX, 0x0123456789abcdef},
		.parts = {{0xbeef, true}, {7, false}},
		.extra = 99,
		.has_extra = true};
}

static void values_come_back(void **unused)
{
	struct whole from = example(), to = {.has_extra = true};
	char text[512];

	assert_int_equal(carry(&old_table, &from, &old_table, &to, 1, text), 0);
	assert_memory_equal(&from, &to, sizeof(to));
}

static void an_old_stream_leaves_new_fields(void **unused)
{
	struct whole from = example(), to = {.younger = 4711};
	char text[512];

	from.has_extra = false;
	assert_int_equal(carry(&old_table, &from, &new_table, &to, 1, text), 0);
	assert_int_equal(to.younger, 4711);
	assert_int_equal(to.index, 5);
	assert_int_equal(to.extra, 0);
}

static void what_does_not_fit_is_named(void **unused)
{
	struct whole from = example(), to = {0};
	char text[512];

	from.index = 8;
	assert_true(carry(&old_table, &from, &old_table, &to, 1, text) < 0);
	assert_string_equal(text, "field index: 8 is not a value it can have");
	assert_int_equal(to.index, 0);
	from = example();
	from.words[0] = 13;
	assert_true(carry(&old_table, &from, &old_table, &to, 1, text) < 0);
	assert_string_equal(text, "field words: unlucky");
	from = example();
	assert_true(carry(&new_table, &from, &old_table, &to, 1, text) < 0);
	assert_string_equal(text, "field younger: not known here");
	assert_true(carry(&old_table, &from, &new_table, &to, 2, text) < 0);
	assert_non_null(strstr(text, "field younger: missing"));
	assert_true(carry(&new_table, &from, &old_table, &to, 2, text) < 0);
	assert_non_null(strstr(text, "version 2 is not known here"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_has_a_table),
		cmocka_unit_test(values_come_back),
		cmocka_unit_test(an_old_stream_leaves_new_fields),
		cmocka_unit_test(what_does_not_fit_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
