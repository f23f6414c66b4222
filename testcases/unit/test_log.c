/* SPDX-License-Identifier: MIT */
/* Sentences on stderr: one line each, and nothing in them that a terminal obeys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"

static void test_control_characters_are_named(void **state)
{
	static const struct {
		const char *said, *printed;
	} cases[] = {
		{"plain", "d: plain\n"},
		{"a\nassay: b", "d: a\\x0aassay: b\n"},
		{"\033[2Jx\r\x7f", "d: \\x1b[2Jx\\x0d\\x7f\n"},
		{"caf\xc3\xa9", "d: caf\xc3\xa9\n"},
		{"\xc2\x9b"
		 "2J \xc2\xa0",
			"d: \\x9b2J \xc2\xa0\n"},
		{"cut \xc2", "d: cut \xc2\n"},
	};
	char path[] = "/tmp/assay-log-XXXXXX", line[128];
	int fd = mkstemp(path);
	FILE *file;

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(log_set_file(path), 0);
	log_want(LOG_GUEST_ERRORS);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		log_guest_error("d", "%s", cases[i].said);
	file = fopen(path, "r");
	assert_non_null(file);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_non_null(fgets(line, sizeof(line), file));
		assert_string_equal(line, cases[i].printed);
	}
	assert_null(fgets(line, sizeof(line), file));
	fclose(file);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_control_characters_are_named)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
