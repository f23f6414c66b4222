/* SPDX-License-Identifier: MIT */
/* Character devices: what reaches the host, back-pressure, connections, and Ctrl-A. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "chardev/chardev.h"

static struct loop *loop;
static struct error err;
static char dir[] = "/tmp/assay-chardev-XXXXXX";

struct probe {
	struct chardev_user user;
	char got[256];
	size_t length, room;
	unsigned opened, closed, writable;
};

static size_t probe_room(void *opaque)
{
	return ((struct probe *)opaque)->room;
}

static void probe_receive(void *opaque, const uint8_t *data, size_t length)
{
	struct probe *p = opaque;

	assert_in_range(length, 1, p->room);
	memcpy(p->got + p->length, data, length);
	p->length += length;
}

static void probe_event(void *opaque, enum chardev_event event)
{
	struct probe *p = opaque;

	p->opened += event == CHARDEV_OPENED;
	p->closed += event == CHARDEV_CLOSED;
	p->writable += event == CHARDEV_WRITABLE;
}

static struct probe *attach(struct probe *p, const char *id, size_t room)
{
	struct chardev *chr = chardev_find(id);

	memset(p, 0, sizeof(*p));
	p->room = room;
	p->user = (struct chardev_user){probe_room, probe_receive, probe_event, p};
	assert_non_null(chr);
	assert_int_equal(chardev_attach(chr, &p->user, &err), 0);
	return p;
}

static void stop(void *opaque)
{
	loop_stop(loop);
}

/* Lets the loop handle what is ready now. */
static void turn(void)
{
	struct loop_timer timer = {.expired = stop};

	loop_timer_arm(loop, &timer, loop_now() + 20000000);
	loop_run(loop);
}

typedef int maker(struct loop *loop, struct keyvals *kv, struct error *err);

static int make(maker *how, const char *format, va_list args)
{
	struct keyvals *kv;
	char text[256];
	int rc;

	vsnprintf(text, sizeof(text), format, args);
	kv = keyvals_parse("-chardev", text, "backend", &err);
	err.text[0] = '\0';
	rc = how(loop, kv, &err);
	keyvals_free(kv);
	return rc;
}

static int create(const char *format, ...)
{
	va_list args;
	int rc;

	va_start(args, format);
	rc = make(chardev_create, format, args);
	va_end(args);
	return rc;
}

static int plug(const char *format, ...)
{
	va_list args;
	int rc;

	va_start(args, format);
	rc = make(chardev_plug, format, args);
	va_end(args);
	return rc;
}

static size_t put(const char *id, const char *text)
{
	return chardev_write(chardev_find(id), (const uint8_t *)text, strlen(text));
}

static int set_up(void **state)
{
	loop = loop_create("test", &err);
	return !loop;
}

static int tear_down(void **state)
{
	chardev_close_all();
	loop_destroy(loop);
	return 0;
}

static void test_refusals(void **state)
{
	assert_int_not_equal(create("nosuch,id=a"), 0);
	assert_string_equal(err.text, "'nosuch' is not a valid char driver name");
	assert_int_not_equal(create("null"), 0);
	assert_string_equal(err.text, "chardev: no id specified");
	assert_int_not_equal(create("null,id=9"), 0);
	assert_int_not_equal(create("null,id=a,foo=1"), 0);
	assert_string_equal(err.text, "Invalid parameter 'foo'");
	assert_null(chardev_find("a"));
	assert_int_not_equal(create("file,id=a"), 0);
	assert_int_not_equal(create("ringbuf,id=a,size=1000"), 0);
	assert_int_not_equal(create("socket,id=a"), 0);
	assert_int_not_equal(create("socket,id=a,path=%s/absent", dir), 0);
	assert_int_not_equal(create("socket,id=a,path=%s/s,wait=off", dir), 0);
	assert_int_not_equal(create("socket,id=a,path=%s/s,server=on,reconnect=1", dir), 0);
	assert_int_not_equal(create("socket,id=a,path=%s/s,server=on,wait=off,foo=1", dir), 0);
	assert_int_equal(access(dir, F_OK), 0);
	assert_int_equal(create("null,id=a"), 0);
	assert_int_not_equal(create("null,id=a"), 0);
	assert_string_equal(err.text, "Duplicate ID 'a' for chardev");
	assert_null(chardev_create_short(loop, "s", "nosuch", &err));
	assert_string_equal(err.text, "'nosuch' is not a valid char driver");
	assert_null(chardev_create_short(loop, "s", "none", &err));
	assert_string_equal(err.text, "");
	assert_null(chardev_create_short(loop, "s", "chardev:absent", &err));
	assert_ptr_equal(chardev_create_short(loop, "s", "chardev:a", &err), chardev_find("a"));
}

static void test_file_and_log(void **state)
{
	char path[64], log[64], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%s/out", dir);
	snprintf(log, sizeof(log), "%s/log", dir);
	assert_int_equal(create("file,id=f,path=%s,logfile=%s", path, log), 0);
	assert_int_equal(put("f", "hello"), 5);
	/* Without a close or a turn of the loop it is there. */
	f = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, "hello");
	f = fopen(log, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, "hello");
	/* A start that fails takes with it what it made, and nothing else. */
	assert_int_equal(create("file,id=g,path=%s", log), 0);
	chardev_forget_files();
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(access(log, F_OK), 0);
}

static void test_ring_keeps_the_last(void **state)
{
	uint8_t data[16];

	assert_int_equal(create("ringbuf,id=r,size=8"), 0);
	assert_int_equal(put("r", "0123456789"), 10);
	assert_int_equal(chardev_ring_read(chardev_find("r"), data, sizeof(data)), 8);
	assert_memory_equal(data, "23456789", 8);
	assert_int_equal(chardev_ring_read(chardev_find("r"), data, sizeof(data)), 0);
	assert_int_equal(create("null,id=n"), 0);
	assert_true(chardev_ring_read(chardev_find("n"), data, 1) < 0);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void test_socket_server(void **state)
{
	struct probe p;
	char path[64], text[16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/server", dir);
	assert_int_equal(create("socket,id=s,path=%s,server=on,wait=off", path), 0);
	attach(&p, "s", 4);
	assert_int_equal(put("s", "lost"), 4); /* nobody is there */
	for (unsigned round = 1; round <= 2; round++) {
		int fd = connect_to(path);

		turn();
		assert_int_equal(p.opened, round);
		assert_int_equal(put("s", "to peer"), 7);
		assert_int_equal(read(fd, text, sizeof(text)), 7);
		assert_int_equal(write(fd, "abcdefgh", 8), 8);
		p.length = 0;
		turn();
		assert_int_equal(p.length, 8);
		close(fd);
		turn();
		assert_int_equal(p.closed, round);
	}
	chardev_close_all();
	assert_int_not_equal(stat(path, &st), 0);
}

static void test_input_waits_for_room(void **state)
{
	struct probe p;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/room", dir);
	assert_int_equal(create("socket,id=s,path=%s,server=on,wait=off", path), 0);
	attach(&p, "s", 0);
	fd = connect_to(path);
	assert_int_equal(write(fd, "abc", 3), 3);
	close(fd); /* what was sent before must still arrive */
	turn();
	assert_int_equal(p.length, 0);
	p.room = 3;
	chardev_accept_input(chardev_find("s"));
	turn();
	assert_int_equal(p.length, 3);
	assert_memory_equal(p.got, "abc", 3);
	assert_int_equal(p.closed, 1);
}

static void test_a_slow_peer_is_told_later(void **state)
{
	static uint8_t block[65536];
	struct probe p;
	char path[64];
	size_t total = 0, n;
	int fd;

	snprintf(path, sizeof(path), "%s/slow", dir);
	assert_int_equal(create("socket,id=s,path=%s,server=on,wait=off", path), 0);
	attach(&p, "s", 1);
	fd = connect_to(path);
	turn();
	do {
		n = chardev_write(chardev_find("s"), block, sizeof(block));
		total += n;
	} while (n == sizeof(block) && total < (64u << 20));
	assert_true(n < sizeof(block));
	turn();
	assert_int_equal(p.writable, 0);
	while (total) {
		ssize_t got = read(fd, block, sizeof(block));

		assert_true(got > 0);
		total -= (size_t)got;
	}
	turn();
	assert_int_equal(p.writable, 1);
	close(fd);
}

static void note_kept(void *opaque, bool kept)
{
	*(bool *)opaque = kept;
}

/* What is kept for a guest that must not see a slow reader: nothing is lost, and who asks waits. */
static void test_kept_output_is_bounded_for_who_asks(void **state)
{
	static uint8_t block[65536], back[65536];
	size_t written = 0, got = 0;
	bool kept = false;
	struct probe p;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/kept", dir);
	assert_int_equal(create("socket,id=s,path=%s,server=on,wait=off", path), 0);
	attach(&p, "s", 1);
	chardev_keep_output(note_kept, &kept);
	fd = connect_to(path);
	turn();
	while (!chardev_is_full(chardev_find("s")) && written < (64u << 20)) {
		memset(block, (int)(written >> 16), sizeof(block));
		assert_int_equal(
			chardev_write(chardev_find("s"), block, sizeof(block)), sizeof(block));
		written += sizeof(block);
	}
	assert_in_range(written, 1u << 20, 8u << 20);
	assert_true(kept);
	assert_int_equal(p.writable, 0);
	while (got < written) {
		ssize_t n = recv(fd, back, sizeof(back), MSG_DONTWAIT);

		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(back[i], (uint8_t)((got + (size_t)i) >> 16));
		got += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			turn();
	}
	turn();
	assert_int_equal(p.writable, 1);
	assert_false(kept);
	assert_false(chardev_is_full(chardev_find("s")));
	chardev_keep_output(NULL, NULL);
	close(fd);
}

static unsigned terminated;

static void count_termination(void *opaque)
{
	terminated++;
}

static void test_mux(void **state)
{
	struct probe a, b, c;
	char path[64], text[1024];
	int fd;

	snprintf(path, sizeof(path), "%s/mux", dir);
	assert_int_equal(create("socket,id=m,path=%s,server=on,wait=off,mux=on", path), 0);
	attach(&a, "m", 16);
	attach(&b, "m", 16);
	chardev_on_terminate(count_termination, NULL);
	fd = connect_to(path);
	turn();
	assert_int_equal(write(fd,
				 "1\x01"
				 "c2\x01\x01\x01"
				 "c3\x01z4",
				 12),
		12);
	turn();
	assert_int_equal(a.length, 3);
	assert_memory_equal(a.got, "134", 3);
	assert_int_equal(b.length, 2);
	assert_memory_equal(b.got, "2\x01", 2);
	/* A user that takes nothing cannot hold up the keys. */
	a.room = 0;
	memset(text, 'x', sizeof(text));
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	assert_int_equal(write(fd, "\x01x", 2), 2);
	turn();
	assert_int_equal(terminated, 1);
	attach(&c, "m", 1);
	attach(&c, "m", 1);
	assert_int_not_equal(chardev_attach(chardev_find("m"), &c.user, &err), 0);
	close(fd);
}

static void test_one_user(void **state)
{
	struct probe a, b;

	assert_int_equal(create("null,id=n"), 0);
	attach(&a, "n", 1);
	b.user = a.user;
	assert_int_not_equal(chardev_attach(chardev_find("n"), &b.user, &err), 0);
	assert_string_equal(err.text, "Device 'n' is in use");
	chardev_detach(chardev_find("n"), &a.user);
	assert_int_equal(chardev_attach(chardev_find("n"), &b.user, &err), 0);
}

static void test_a_wrong_pipe_and_a_pty(void **state)
{
	assert_int_not_equal(create("pipe,id=p,path=%s/absent", dir), 0);
	assert_int_equal(create("pty,id=t"), 0);
	assert_int_equal(put("t", "nobody looks"), 12);
}

/* A listener on this host whose queue is full: who comes next is not answered.  Its port. */
static unsigned full_listener(int *listener, int waiting[3])
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);

	*listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(*listener, (struct sockaddr *)&address, length), 0);
	assert_int_equal(listen(*listener, 0), 0);
	getsockname(*listener, (struct sockaddr *)&address, &length);
	for (unsigned i = 0; i < 3; i++) {
		waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(waiting[i], (struct sockaddr *)&address, length))
			assert_int_equal(errno, EINPROGRESS);
	}
	return ntohs(address.sin_port);
}

/* What is made while the machine runs does not wait, and nothing is left of what was begun. */
static void test_nothing_that_is_plugged_waits(void **state)
{
	int listener, waiting[3], rc;
	unsigned port = full_listener(&listener, waiting);
	struct probe p;
	char path[64];

	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_not_equal(plug("file,id=f,path=%s", path), 0);
	assert_int_not_equal(plug("null,id=f,logfile=%s", path), 0);
	assert_null(chardev_find("f"));
	assert_int_not_equal(plug("null,id=m,mux=on"), 0);
	assert_string_equal(err.text, "Invalid parameter 'mux'");
	assert_int_equal(plug("socket,id=c,host=127.0.0.1,port=%u", port), 0);
	attach(&p, "c", 4);
	turn();
	assert_int_equal(p.opened, 0);
	assert_int_equal(put("c", "lost"), 4);
	chardev_detach(chardev_find("c"), &p.user);
	assert_int_equal(chardev_remove("c"), 0); /* in the midst of connecting */
	for (unsigned i = 0; i < 3; i++)
		close(waiting[i]);
	while ((rc = accept(listener, NULL, NULL)) >= 0)
		close(rc);
	/* Of two addresses of a name the first refuses: nobody listens there by IPv6. */
	assert_int_equal(plug("socket,id=d,host=localhost,port=%u", port), 0);
	attach(&p, "d", 4);
	turn();
	rc = accept(listener, NULL, NULL);
	assert_true(rc >= 0);
	close(rc);
	turn();
	assert_int_equal(p.closed, 1);
	close(listener);
	assert_int_not_equal(plug("socket,id=e,host=127.0.0.1,port=%u", port), 0);
	assert_non_null(strstr(err.text, "Connection refused"));
	assert_int_equal(plug("socket,id=e,host=127.0.0.1,port=%u,reconnect=1", port), 0);
}

static int remove_dir(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
#define TEST_IN_LOOP(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_IN_LOOP(test_refusals),
		TEST_IN_LOOP(test_file_and_log),
		TEST_IN_LOOP(test_ring_keeps_the_last),
		TEST_IN_LOOP(test_socket_server),
		TEST_IN_LOOP(test_input_waits_for_room),
		TEST_IN_LOOP(test_a_slow_peer_is_told_later),
		TEST_IN_LOOP(test_kept_output_is_bounded_for_who_asks),
		TEST_IN_LOOP(test_mux),
		TEST_IN_LOOP(test_one_user),
		TEST_IN_LOOP(test_a_wrong_pipe_and_a_pty),
		TEST_IN_LOOP(test_nothing_that_is_plugged_waits),
	};

	if (!mkdtemp(dir))
		return 1;
	return cmocka_run_group_tests(tests, NULL, remove_dir);
}
