/* SPDX-License-Identifier: MIT */
/* The monitor against a hostile client: the stream's cutting, sessions, and a peer that does not
 * read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "monitor/command.h"
#include "monitor/json-stream.h"
#include "monitor/monitor.h"

/* The cutting of the stream. */

static unsigned values, errors;
static char last_error[256];
static json_t *last_value;

static void take_value(void *opaque, json_t *value, const char *error)
{
	if (value) {
		values++;
		json_decref(last_value);
		last_value = value;
	} else {
		errors++;
		snprintf(last_error, sizeof(last_error), "%s", error);
	}
}

static struct json_stream stream = {.value = take_value};

static void feed_bytes(const void *data, size_t length)
{
	json_stream_feed(&stream, data, length);
}

static void expect(const char *text, unsigned want_values, unsigned want_errors)
{
	values = errors = 0;
	feed_bytes(text, strlen(text));
	if (values != want_values || errors != want_errors)
		fail_msg("%s: %u values, %u errors (%s)", text, values, errors, last_error);
	json_stream_reset(&stream);
}

static void test_values(void **state)
{
	expect("{}", 1, 0);
	expect("{}{}[]", 3, 0);
	expect(" \r\n\t", 0, 0);
	expect("{\"a\": [1, {\"b\": \"}]\"}]}", 1, 0);
	expect("\"text\"", 1, 0);
	expect("12 ", 1, 0);
	expect("true\nfalse\n", 2, 0);
	expect("{\"a\": \"\\\"}\"}", 1, 0);
	expect("{'execute':'it\\'s \"so\"'}", 1, 0);
	assert_string_equal(
		json_string_value(json_object_get(last_value, "execute")), "it's \"so\"");
	expect("{\"a\": \"\\'\"}", 1, 0);
	assert_string_equal(json_string_value(json_object_get(last_value, "a")), "'");
	expect("{\"a\": \"\xc3\xa9\"}", 1, 0);
}

static void test_junk(void **state)
{
	expect("nonsense\n", 0, 1);
	expect("}", 0, 1);
	expect("{]", 0, 1);
	expect("{\"execute\": }", 0, 1);
	expect("{\"a\": \"\\q\"}", 0, 1);
	expect("{\"a\":1,\"a\":2}", 0, 1);
	expect("{\"a\": \"\xff\"}", 0, 1); /* the rest begins a string */
	expect("{\xff", 0, 1);
	expect("\xff{}", 1, 1);
	expect("{\"half\xff{}", 1, 1);
	expect("\"\xed\xa0\x80\"", 0, 1);
	expect("{\"a\": \"\\ud800\"}", 0, 1);
	expect("{\"a\": 99999999999999999999}", 0, 1);
	expect("{\"a\": 1e999}", 0, 1);
	expect("\x01", 0, 1);
	expect("{\"a\": \"\n\"}", 0, 1);
	feed_bytes("\0", 1);
	feed_bytes("1\0", 2);
	expect("[1,2", 0, 0);
}

static void test_bounds(void **state)
{
	static char deep[300000];
	size_t fed = 0;

	values = errors = 0;
	memset(deep, '[', sizeof(deep));
	feed_bytes(deep, sizeof(deep));
	assert_in_range(errors, 1, sizeof(deep) / JSON_STREAM_DEPTH_MAX);
	assert_in_range(stream.size, 0, 4 * JSON_STREAM_DEPTH_MAX);
	json_stream_reset(&stream);
	/* A string without an end. */
	values = errors = 0;
	memset(deep, 'x', sizeof(deep));
	feed_bytes("{\"", 2);
	while (!errors && fed < 16u << 20) {
		feed_bytes(deep, sizeof(deep));
		fed += sizeof(deep);
	}
	assert_int_equal(errors >= 1, 1);
	assert_in_range(fed, 0, 2 * JSON_STREAM_BYTES_MAX);
	json_stream_reset(&stream);
	expect("{}", 1, 0);
}

/* Any bytes at all: the stream neither fails nor keeps more than its bound. */
static void test_noise(void **state)
{
	static const char alphabet[] = "{}[]\"'\\:,0a \n\xff\x01te";
	uint32_t seed = 1;

	for (unsigned i = 0; i < 200000; i++) {
		seed = seed * 1664525 + 1013904223;
		feed_bytes(&alphabet[(seed >> 16) % (sizeof(alphabet) - 1)], 1);
	}
	json_stream_reset(&stream);
	expect("{}", 1, 0);
}

/* The table. */

static void test_each_type_that_is_named_exists(void **state)
{
	json_t *schema = qmp_schema(), *entry, *other;
	json_t *names = json_object();
	size_t i;

	json_array_foreach(schema, i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "name"));

		assert_non_null(name);
		assert_null(json_object_get(names, name));
		json_object_set(names, name, entry);
	}
	json_array_foreach(schema, i, entry)
	{
		static const char *const references[] = {"arg-type", "ret-type", "element-type"};
		json_t *member;
		size_t m;

		for (size_t r = 0; r < 3; r++) {
			other = json_object_get(entry, references[r]);
			if (other && !json_object_get(names, json_string_value(other)))
				fail_msg("no type %s", json_string_value(other));
		}
		if (strcmp(json_string_value(json_object_get(entry, "meta-type")), "enum") == 0)
			continue;
		json_array_foreach(json_object_get(entry, "members"), m, member)
		{
			other = json_object_get(member, "type");
			if (!json_object_get(names, json_string_value(other)))
				fail_msg("no type %s", json_string_value(other));
		}
	}
	json_decref(names);
	json_decref(schema);
}

static void test_the_table_is_sorted(void **state)
{
	for (const struct qmp_command *c = qmp_commands; c[1].name; c++)
		assert_true(strcmp(c[0].name, c[1].name) < 0);
}

static void check(const char *command, const char *args, const char *sentence)
{
	struct qmp_error err = {.class = NULL};
	json_t *value = json_loads(args, 0, NULL);
	int rc = qmp_check_arguments(qmp_command_find(command), value, &err);

	json_decref(value);
	if (!sentence) {
		assert_int_equal(rc, 0);
		return;
	}
	assert_int_not_equal(rc, 0);
	assert_string_equal(err.text.text, sentence);
	assert_string_equal(err.class, "GenericError");
}

static void test_arguments(void **state)
{
	check("block_resize", "{\"device\":\"a\",\"size\":1}", NULL);
	check("block_resize", "{\"device\":\"a\"}", "Parameter 'size' is missing");
	check("block_resize", "{\"size\":\"1\"}",
		"Invalid parameter type for 'size', expected: integer");
	check("block_resize", "{\"size\":1.5}",
		"Invalid parameter type for 'size', expected: integer");
	check("block_resize", "{\"device\":null,\"size\":1}",
		"Invalid parameter type for 'device', expected: string");
	check("stop", "{\"a\":1}", "Parameter 'a' is unexpected");
	check("query-stats", "{\"target\":\"vm\"}", NULL);
	check("query-stats", "{\"target\":\"x\"}", "Parameter 'target' does not accept value 'x'");
	check("query-stats", "{\"target\":\"vcpu\",\"vcpus\":[1]}",
		"Invalid parameter type for 'vcpus', expected: string");
	check("query-stats", "{\"target\":\"vcpu\",\"providers\":[{}]}",
		"Parameter 'provider' is missing");
	check("query-stats",
		"{\"target\":\"vcpu\",\"providers\":[{\"provider\":\"kvm\",\"names\":[\"exits\"]}]"
		"}",
		NULL);
}

/* Sessions, over a socket. */

static struct loop *loop;
static struct machine machine;
static int peer;
static struct error err;

static void stop(void *opaque)
{
	loop_stop(loop);
}

static void turn(void)
{
	struct loop_timer timer = {.expired = stop};

	loop_timer_arm(loop, &timer, loop_now() + 10000000);
	loop_run(loop);
}

static const char *hear(void)
{
	static char text[1 << 20];
	size_t length = 0;
	ssize_t n;

	do {
		turn();
		n = recv(peer, text + length, sizeof(text) - 1 - length, MSG_DONTWAIT);
		length += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	text[length] = '\0';
	return text;
}

static const char *ask(const char *text)
{
	assert_int_equal(write(peer, text, strlen(text)), (ssize_t)strlen(text));
	return hear();
}

static int begin_session(void **state)
{
	struct keyvals *kv;
	char text[64];
	int ends[2];

	loop = loop_create("test", &err);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return -1;
	peer = ends[0];
	snprintf(text, sizeof(text), "socket,id=q,fd=%d", ends[1]);
	kv = keyvals_parse("-chardev", text, "backend", &err);
	memset(&machine, 0, sizeof(machine));
	list_init(&machine.observers);
	list_init(&machine.devices);
	assert_int_equal(chardev_create(loop, kv, &err), 0);
	keyvals_free(kv);
	return monitor_create(&machine, chardev_find("q"), MONITOR_QMP, &err);
}

static int end_session(void **state)
{
	monitor_destroy_all();
	chardev_close_all();
	close(peer);
	loop_destroy(loop);
	return 0;
}

static void test_session(void **state)
{
	assert_non_null(strstr(hear(), "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": "));
	assert_string_equal(ask("{\"execute\":\"query-status\",\"id\":1}"),
		"{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"Expecting capabilities "
		"negotiation with 'qmp_capabilities'\"}, \"id\": 1}\r\n");
	assert_non_null(strstr(ask("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":"
				   "[\"oob\"]}}"),
		"not available"));
	assert_string_equal(ask("{\"execute\":\"qmp_capabilities\"}"), "{\"return\": {}}\r\n");
	assert_non_null(strstr(ask("{\"execute\":\"qmp_capabilities\"}"), "already complete"));
	assert_non_null(strstr(ask("{\"execute\":\"nosuch\"}"), "CommandNotFound"));
	assert_non_null(strstr(ask("{\"exec-oob\":\"stop\"}"), "'exec-oob' is unexpected"));
	assert_non_null(strstr(ask("{}"), "lacks member 'execute'"));
	assert_non_null(strstr(ask("[]"), "must be a JSON object"));
	assert_string_equal(ask("{\"execute\":\"query-name\",\"id\":{\"a\":[null,1.5]}}"),
		"{\"return\": {}, \"id\": {\"a\": [null, 1.5]}}\r\n");
}

/* Answers for a peer that does not read wait in a bounded queue, and its commands with them. */
static void test_a_peer_that_does_not_read(void **state)
{
	static const char question[] = "{\"execute\":\"query-qmp-schema\"}";
	unsigned asked = 0, answered = 0, quiet = 0;
	static char text[1 << 16];
	ssize_t n;

	ask("{\"execute\":\"qmp_capabilities\"}");
	while (asked < 2000 &&
		send(peer, question, strlen(question), MSG_DONTWAIT) == (ssize_t)strlen(question)) {
		asked++;
		if (asked % 50 == 0)
			turn();
	}
	turn();
	while (quiet < 20) {
		n = recv(peer, text, sizeof(text) - 1, MSG_DONTWAIT);
		quiet = n > 0 ? 0 : quiet + 1;
		for (ssize_t i = 0; i < n; i++)
			answered += text[i] == '\n';
		turn();
	}
	assert_true(asked > 10);
	assert_int_equal(answered, asked);
}

int main(void)
{
#define TEST_IN_SESSION(test) cmocka_unit_test_setup_teardown(test, begin_session, end_session)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_junk),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_each_type_that_is_named_exists),
		cmocka_unit_test(test_the_table_is_sorted),
		cmocka_unit_test(test_arguments),
		TEST_IN_SESSION(test_session),
		TEST_IN_SESSION(test_a_peer_that_does_not_read),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	json_decref(last_value);
	free(stream.text);
	return failed;
}
