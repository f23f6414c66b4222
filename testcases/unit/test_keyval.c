/* SPDX-License-Identifier: MIT */
/* The grammar of option arguments and of sizes, with QEMU's quirks; answers checked on QEMU 7.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/keyval.h"

static struct error err;

/* "key=value;key=value;" of all pairs, for one comparison. */
static const char *flat(struct keyvals *kv)
{
	static char text[1024];
	struct list *pos;

	text[0] = '\0';
	assert_non_null(kv);
	list_for_each (pos, &kv->pairs) {
		struct keyval *pair = container_of(pos, struct keyval, link);

		strcat(text, pair->key);
		strcat(text, "=");
		strcat(text, pair->value);
		strcat(text, ";");
	}
	keyvals_free(kv);
	return text;
}

static void test_pairs(void **state)
{
	static const struct {
		const char *text, *implied, *expected;
	} rows[] = {
		{"virtio-blk-pci,drive=d,id=x", "driver", "driver=virtio-blk-pci;drive=d;id=x;"},
		{"file=a,,b.img,format=raw", NULL, "file=a,b.img;format=raw;"},
		{"a,,b,c=d", "path", "path=a,b;c=d;"},
		{"x=1,x=2", NULL, "x=1;x=2;"},
		{"x=", NULL, "x=;"},
		{"x=a=b", NULL, "x=a=b;"},
		{"server,nowait", NULL, "server=on;wait=off;"},
		{"node-name", NULL, "de-name=off;"},
		{"no", NULL, "=off;"},
		{"null,id=a", "backend", "backend=null;id=a;"},
		{"id=a,null", "backend", "id=a;null=on;"},
		{"x,help", "driver", "driver=x;help=on;"},
		{"x,?", "driver", "driver=x;help=on;"},
		{"help", "driver", "driver=help;"},
		{"", "driver", ""},
		{"a=1,", NULL, "a=1;"},
		{"a=,,", NULL, "a=,;"},
		{",a=1", NULL, "=on;a=1;"},
		{"=x", NULL, "=x;"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(flat(keyvals_parse("-x", rows[i].text, rows[i].implied, &err)),
			rows[i].expected);
}

static void test_strict_pairs(void **state)
{
	assert_string_equal(flat(keyvals_parse_strict("-x", "pc,accel=kvm", "type", &err)),
		"type=pc;accel=kvm;");
	assert_string_equal(
		flat(keyvals_parse_strict("-x", "a.b-c_d=1,,2", NULL, &err)), "a.b-c_d=1,2;");
	assert_null(keyvals_parse_strict("-x", "pc,usb", "type", &err));
	assert_string_equal(err.text, "Expected '=' after parameter 'usb'");
	assert_null(keyvals_parse_strict("-x", "a!b=1", NULL, &err));
	assert_null(keyvals_parse_strict("-x", "=1", NULL, &err));
	assert_null(keyvals_parse_strict("-x", "pc,,=1,,", NULL, &err));
}

static void test_taking(void **state)
{
	struct keyvals *kv = keyvals_parse("-device", "d,a=1,b=2,a=3", "driver", &err);

	assert_string_equal(kv->origin, "-device d,a=1,b=2,a=3");
	assert_string_equal(keyvals_get(kv, "a"), "3");
	assert_string_equal(keyvals_left(kv), "driver");
	assert_string_equal(keyvals_take(kv, "driver"), "d");
	assert_string_equal(keyvals_take(kv, "a"), "3");
	assert_string_equal(keyvals_left(kv), "b");
	assert_null(keyvals_take(kv, "c"));
	keyvals_set(kv, "b", "4");
	assert_string_equal(keyvals_take(kv, "b"), "4");
	assert_null(keyvals_left(kv));
	keyvals_free(kv);
	keyvals_free(NULL);
}

#define KB 1024ull
#define MB (KB * KB)
#define GB (KB * MB)

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t unit, bytes;
	} good[] = {
		{"0", 1, 0},
		{"512", 1, 512},
		{"512", MB, 512 * MB},
		{"10B", MB, 10},
		{"10b", 1, 10},
		{"1k", MB, KB},
		{"1K", MB, KB},
		{"2M", 1, 2 * MB},
		{"1.5G", MB, 3 * GB / 2},
		{"1.k", 1, KB},
		{"0.5K", 1, 512},
		{"1.0", MB, MB},
		{"0x10", MB, 16 * MB},
		{"0x10M", 1, 16 * MB},
		{"0X1f", 1, 31},
		{"01000", MB, 1000 * MB},
		{"3T", 1, 3072 * GB},
		{"1P", 1, 1024 * 1024 * GB},
		{"15E", 1, 15ull << 60},
		{"15.5E", 1, 31ull << 59},
		{"18446744073709551615", 1, UINT64_MAX},
		{"0.99999999999999999999999999k", 1, 1023},
	};
	static const char *const bad[] = {"", " ", "k", "-1", "-1k", "+1", ".5G", "1.5", "1.5B",
		"1.5e1", "1e1", "12Q", "1kk", "1 k", "0x", "0xg", "0x1.8k", "nan", "inf", "1,5",
		"1k "};
	static const char *const overflow[] = {"16E", "18446744073709551616",
		"99999999999999999999", "18014398509481984k", "99999999999999999999999999999999k",
		"0x10000000000000000"};
	uint64_t bytes;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		bytes = 1;
		if (parse_size("size", good[i].text, good[i].unit, &bytes, &err))
			fail_msg("%s: %s", good[i].text, err.text);
		if (bytes != good[i].bytes)
			fail_msg("%s: %llu", good[i].text, (unsigned long long)bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (!parse_size("size", bad[i], 1, &bytes, &err))
			fail_msg("accepted '%s'", bad[i]);
		assert_non_null(strstr(err.text, "Parameter 'size' expects"));
	}
	for (size_t i = 0; i < sizeof(overflow) / sizeof(overflow[0]); i++) {
		if (!parse_size("size", overflow[i], 1, &bytes, &err))
			fail_msg("accepted '%s'", overflow[i]);
		assert_non_null(strstr(err.text, "out of range"));
	}
	assert_int_not_equal(parse_size("size", "18446744073709551615", MB, &bytes, &err), 0);
}

static void test_numbers_and_switches(void **state)
{
	static const char *const on[] = {"on", "yes", "true", "y"};
	static const char *const off[] = {"off", "no", "false", "n"};
	uint64_t n;
	bool b;

	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(parse_bool("x", on[i], &b, &err), 0);
		assert_true(b);
		assert_int_equal(parse_bool("x", off[i], &b, &err), 0);
		assert_false(b);
	}
	assert_int_not_equal(parse_bool("x", "ON", &b, &err), 0);
	assert_int_not_equal(parse_bool("x", "1", &b, &err), 0);
	assert_string_equal(err.text, "Parameter 'x' expects 'on' or 'off'");
	assert_int_equal(parse_uint("x", "0xf4", 0xffff, &n, &err), 0);
	assert_int_equal(n, 0xf4);
	assert_int_equal(parse_uint("x", "010", 100, &n, &err), 0);
	assert_int_equal(n, 8);
	assert_int_not_equal(parse_uint("x", "256", 255, &n, &err), 0);
	assert_int_not_equal(parse_uint("x", "-1", UINT64_MAX, &n, &err), 0);
	assert_int_not_equal(parse_uint("x", "1x", UINT64_MAX, &n, &err), 0);
	assert_int_not_equal(parse_uint("x", "", UINT64_MAX, &n, &err), 0);
	assert_int_not_equal(parse_uint("x", "18446744073709551616", UINT64_MAX, &n, &err), 0);
}

static void test_ids(void **state)
{
	assert_true(id_is_wellformed("a-b.c_9"));
	assert_false(id_is_wellformed(""));
	assert_false(id_is_wellformed("9a"));
	assert_false(id_is_wellformed("a b"));
	assert_false(id_is_wellformed("#a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_strict_pairs),
		cmocka_unit_test(test_taking),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_numbers_and_switches),
		cmocka_unit_test(test_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
