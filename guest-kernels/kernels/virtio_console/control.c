/* SPDX-License-Identifier: MIT */
/* The control queues (virtio 1.4, 5.3.6.2): ports announced, named, opened, closed, resized. */
#include "console.h"

static struct virtio_console *multiport(bool no_control)
{
	struct virtio_console *con = con_new(
		&(struct virtio_console_options){.polling = true, .no_control = no_control});

	if (!con->multiport)
		SKIP("the console has one port");
	return con;
}

/* Each port is announced by the answer to DEVICE_READY; port 0 is asked for its kind afterwards, so
 * that what came before that answer came in time. */
static void await_ports(struct virtio_console *con)
{
	struct console_message m;

	for (unsigned i = 0; i < con->ports; i++)
		if (!con->port[i].added)
			ASSERT_TRUE(console_await(con, i, CONSOLE_DEVICE_ADD, &m));
}

TEST(ports_are_added_once, "CON-DEV-03",
	"DEVICE_READY brings one DEVICE_ADD for each port, all below max_nr_ports", LIFE)
{
	struct virtio_console *con = multiport(false);
	struct console_message m;

	ASSERT_TRUE(console_send(con, 0, CONSOLE_DEVICE_READY, 1) >= 0);
	await_ports(con);
	ASSERT_TRUE(console_send(con, 0, CONSOLE_PORT_READY, 1) >= 0);
	ASSERT_TRUE(console_await(con, 0, CONSOLE_CONSOLE_PORT, &m));
	for (unsigned i = 0; i < con->ports; i++)
		EXPECT_EQ(con->port[i].adds, 1);
	EXPECT_EQ(con->unknown, 0);
}

TEST(ready_twice_adds_nothing, "CON-DEV-03",
	"a second DEVICE_READY brings no DEVICE_ADD for ports that exist")
{
	struct virtio_console *con = multiport(false);
	struct console_message m;

	ASSERT_TRUE(console_send(con, 0, CONSOLE_DEVICE_READY, 1) >= 0);
	await_ports(con);
	ASSERT_TRUE(console_send(con, 0, CONSOLE_DEVICE_READY, 1) >= 0);
	ASSERT_TRUE(console_send(con, 0, CONSOLE_PORT_READY, 1) >= 0);
	ASSERT_TRUE(console_await(con, 0, CONSOLE_CONSOLE_PORT, &m));
	for (unsigned i = 0; i < con->ports; i++)
		EXPECT_EQ(con->port[i].adds, 1);
}

TEST(only_added_ports_are_removed, "CON-DEV-04",
	"no DEVICE_REMOVE names a port that was not added, whatever the driver says of its ports")
{
	struct virtio_console *con = multiport(false);
	struct console_message m;

	/* Of ports that are not added yet, refused, or never there. */
	ASSERT_TRUE(console_send(con, 1, CONSOLE_PORT_READY, 0) >= 0);
	ASSERT_TRUE(console_send(con, 1, CONSOLE_DEVICE_REMOVE, 0) >= 0);
	ASSERT_TRUE(console_send(con, 0, CONSOLE_DEVICE_READY, 1) >= 0);
	await_ports(con);
	ASSERT_TRUE(console_send(con, 2, CONSOLE_PORT_READY, 0) >= 0);
	ASSERT_TRUE(console_send(con, 9, CONSOLE_DEVICE_REMOVE, 0) >= 0);
	ASSERT_TRUE(console_send(con, 0, CONSOLE_PORT_READY, 1) >= 0);
	ASSERT_TRUE(console_await(con, 0, CONSOLE_CONSOLE_PORT, &m));
	EXPECT_EQ(con->unknown, 0);
}

TEST(nothing_before_ready, "",
	"no control message comes before DEVICE_READY, and none for a port before its PORT_READY")
{
	struct virtio_console *con = multiport(false);
	struct console_message m;

	/* Had something come by itself, it would stand before the ADDs. */
	ASSERT_TRUE(console_send(con, 0, CONSOLE_DEVICE_READY, 1) >= 0);
	ASSERT_TRUE(console_next(con, &m, CONSOLE_WAIT_US));
	EXPECT_EQ(m.control.event, CONSOLE_DEVICE_ADD);
	await_ports(con);
	ASSERT_TRUE(console_send(con, 0, CONSOLE_PORT_READY, 1) >= 0);
	ASSERT_TRUE(console_next(con, &m, CONSOLE_WAIT_US));
	EXPECT_EQ(m.control.event, CONSOLE_CONSOLE_PORT);
	EXPECT_EQ(m.control.id, 0);
	EXPECT_EQ(con->port[1].name_length, 0);
}

TEST(ports_are_added_again_after_a_reset, "CON-DEV-03",
	"a driver after a reset is told of each port anew")
{
	struct virtio_console *con = con_started();

	for (unsigned i = 0; i < con->ports; i++)
		EXPECT_EQ(con->port[i].adds, 1);
	ASSERT_TRUE(virtio_reset(&con->dev));
	con = con_started();
	for (unsigned i = 0; i < con->ports; i++)
		EXPECT_EQ(con->port[i].adds, 1);
}

TEST(kinds_of_ports, "", "port 0 is nominated as a console, port 1 is not", NEEDS("ctl"))
{
	struct virtio_console *con = con_started();
	struct console_message m;

	con_host(1, "open");
	ASSERT_TRUE(con->port[1].host_open || console_await(con, 1, CONSOLE_PORT_OPEN, &m));
	ASSERT_TRUE(con->port[0].host_open || console_await(con, 0, CONSOLE_PORT_OPEN, &m));
	EXPECT_TRUE(con->port[0].console);
	EXPECT_FALSE(con->port[1].console);
}

static void await_name(struct virtio_console *con, unsigned port)
{
	struct console_message m;

	ASSERT_TRUE(con->port[port].name_length || console_await(con, port, CONSOLE_PORT_NAME, &m));
}

TEST(names_of_ports, "", "PORT_NAME carries the name of the port")
{
	struct virtio_console *con = con_started();

	await_name(con, 1);
	await_name(con, 2);
	EXPECT_GE(con->port[1].name_length, 7);
	EXPECT_MEM(con->port[1].name, "assay.1", 7);
	EXPECT_MEM(con->port[2].name, "assay.2", 7);
	EXPECT_EQ(con->port[0].name_length, 0);
}

TEST(names_have_no_terminator, "", "the name in PORT_NAME has no NUL at its end")
{
	struct virtio_console *con = con_started();

	await_name(con, 1);
	EXPECT_EQ(con->port[1].name_length, 7);
}

TEST(host_opens_and_closes, "",
	"PORT_OPEN tells of each opening and closing of the host's end, in their order",
	NEEDS("ctl"), LIFE)
{
	struct virtio_console *con = con_started();
	struct console_message m;

	for (unsigned i = 0; i < 2; i++) {
		con_host(2, "open");
		ASSERT_TRUE(console_await(con, 2, CONSOLE_PORT_OPEN, &m));
		EXPECT_EQ(m.control.value, 1);
		con_host(2, "close");
		ASSERT_TRUE(console_await(con, 2, CONSOLE_PORT_OPEN, &m));
		EXPECT_EQ(m.control.value, 0);
	}
}

TEST(input_waits_until_the_port_is_open, "",
	"input for a port that the driver has closed waits until it opens it", NEEDS("ctl"))
{
	struct virtio_console *con = con_started();
	uint8_t *closed = con_buffer(64), *other = con_buffer(64);
	uint32_t length = 0;

	ASSERT_TRUE(console_send(con, 1, CONSOLE_PORT_OPEN, 0) >= 0);
	ASSERT_TRUE(console_give(con, 1, closed, 64) >= 0);
	ASSERT_TRUE(console_give(con, 2, other, 64) >= 0);
	con_host(1, "send early");
	/* What goes through now was sent later. */
	con_host(2, "send other");
	ASSERT_TRUE(console_wait(&con->port[2].rx, &length, CONSOLE_WAIT_US) >= 0);
	EXPECT_TRUE(memory_is(closed, FILL, 64, NULL));
	ASSERT_TRUE(console_send(con, 1, CONSOLE_PORT_OPEN, 1) >= 0);
	ASSERT_TRUE(console_wait(&con->port[1].rx, &length, CONSOLE_WAIT_US) >= 0);
	EXPECT_EQ(length, 5);
	EXPECT_MEM(closed, "early", 5);
}

TEST(messages_wait_for_buffers, "",
	"what the device has to say waits until the driver gives buffers for it")
{
	struct virtio_console *con = multiport(true);
	struct console_message m;

	ASSERT_TRUE(console_send(con, 0, CONSOLE_DEVICE_READY, 1) >= 0);
	console_give_control(con);
	while (con->port[2].adds == 0)
		if (!console_next(con, &m, SOON_US))
			FAIL("the message for port 2 has not come");
	EXPECT_EQ(con->port[1].adds, 1);
}

TEST(strange_messages_are_ignored, "",
	"messages for absent ports, of unknown kinds and cut short are used, and change nothing",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_started();
	static const struct console_control strange[] = {
		{1000000, CONSOLE_PORT_READY, 1},
		{~0u, CONSOLE_PORT_OPEN, 1},
		{20, CONSOLE_PORT_OPEN, 1},
		{1, CONSOLE_DEVICE_ADD, 1},
		{1, CONSOLE_DEVICE_REMOVE, 1},
		{1, 0xffff, 1},
		{0, CONSOLE_RESIZE, 0},
	};

	for (unsigned i = 0; i < sizeof(strange) / sizeof(strange[0]); i++)
		EXPECT_EQ(console_send(con, strange[i].id, strange[i].event, strange[i].value), 0);
	for (uint32_t bytes = 1; bytes < 8; bytes += 3)
		EXPECT_EQ(console_send_bytes(con, arena_alloc(8, 8), bytes), 0);
	con_host(1, "open");
	con_serves(con, 1);
	con_host(0, "open");
	con_serves(con, 0);
	for (unsigned i = 0; i < con->ports; i++)
		EXPECT_EQ(con->port[i].adds, 1);
}

static bool resize(unsigned cols, unsigned rows)
{
	return ctl_request("size", "con0 %u %u", cols, rows) != NULL;
}

TEST(size_in_the_configuration, "",
	"a new size brings a configuration notification, and stands in cols and rows", NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(true);

	if (!virtio_has(&con->dev, CONSOLE_F_SIZE))
		SKIP("the console does not offer SIZE");
	if (!resize(90, 30))
		SKIP("%s", ctl_reason());
	ASSERT_TRUE(resize(132, 43));
	EXPECT_TRUE(WAIT_UNTIL(virtio_config_interrupts(&con->dev) >= 1, CONSOLE_WAIT_US));
	EXPECT_TRUE(WAIT_UNTIL(virtio_config16(&con->dev, CONSOLE_C_COLS) == 132, SOON_US));
	EXPECT_EQ(virtio_config16(&con->dev, CONSOLE_C_ROWS), 43);
}

TEST(size_by_message, "", "a new size brings RESIZE for the console port, with the size of then",
	NEEDS("ctl"), LIFE)
{
	struct virtio_console *con = con_started();
	struct console_message m;

	if (!virtio_has(&con->dev, CONSOLE_F_SIZE))
		SKIP("the console does not offer SIZE");
	if (!resize(70, 20))
		SKIP("%s", ctl_reason());
	while (con->cols != 70)
		ASSERT_TRUE(console_await(con, 0, CONSOLE_RESIZE, &m));
	EXPECT_EQ(con->rows, 20);
	EXPECT_EQ(m.bytes, 12);
	ASSERT_TRUE(resize(71, 21));
	ASSERT_TRUE(console_await(con, 0, CONSOLE_RESIZE, &m));
	EXPECT_EQ(con->cols, 71);
	EXPECT_EQ(con->rows, 21);
}
