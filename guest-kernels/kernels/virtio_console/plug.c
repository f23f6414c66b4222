/* SPDX-License-Identifier: MIT */
/*
 * Ports that come and go while the driver runs (virtio 1.4, 5.3.6.2: "the same message is used for
 * port hot-plug as well").  The control port's verbs plug and unplug port CONSOLE_SPARE, which has
 * queues from the start.
 */
#include "console.h"
#include "virtio-drivers/raw.h"

#define SPARE CONSOLE_SPARE
#define NAME  "plugged"

static struct virtio_console *spare(bool no_control)
{
	struct virtio_console *con = con_new(&(struct virtio_console_options){
		.polling = true, .no_control = no_control, .spare = true});

	if (!con->multiport)
		SKIP("the console has one port");
	return con;
}

/* The ports that are there from the start are open. */
static struct virtio_console *started(void)
{
	struct virtio_console *con = spare(false);

	if (!virtio_console_start(con))
		FAIL("the device does not announce its ports");
	return con;
}

static void plug(void)
{
	if (!ctl_request("plug", "con%u %u " NAME, SPARE, SPARE))
		FAIL("plug: %s", ctl_reason());
}

static void unplug(void)
{
	if (!ctl_request("unplug", "%u", SPARE))
		FAIL("unplug: %s", ctl_reason());
}

static void expect_message(struct virtio_console *con, uint16_t event)
{
	struct console_message m;

	if (!console_await(con, SPARE, event, &m))
		FAIL("message %u for the port has not come", event);
}

static void open_spare(struct virtio_console *con)
{
	expect_message(con, CONSOLE_DEVICE_ADD);
	ASSERT_TRUE(console_send(con, SPARE, CONSOLE_PORT_READY, 1) >= 0);
	ASSERT_TRUE(console_send(con, SPARE, CONSOLE_PORT_OPEN, 1) >= 0);
}

/* A message comes of another port, which orders what came before it. */
static void expect_other_message(struct virtio_console *con)
{
	struct console_message m;
	uint32_t opens = con->port[1].opens;

	con_host(1, "open");
	while (con->port[1].opens == opens)
		ASSERT_TRUE(console_await(con, 1, CONSOLE_PORT_OPEN, &m));
}

static void expect_carried(struct virtio_console *con, unsigned seed)
{
	uint8_t *data = con_buffer(200), *buffer = con_buffer(64);
	uint32_t length = 0;

	con_host(SPARE, "open");
	con_pattern(data, 200, seed);
	EXPECT_EQ(virtio_console_write(con, SPARE, data, 200), 0);
	con_host(SPARE, "expect 200 %u", seed);
	ASSERT_TRUE(console_give(con, SPARE, buffer, 64) >= 0);
	con_host(SPARE, "send to-the-guest");
	ASSERT_TRUE(console_wait(&con->port[SPARE].rx, &length, CONSOLE_WAIT_US) >= 0);
	EXPECT_EQ(length, 12);
	EXPECT_MEM(buffer, "to-the-guest", 12);
}

TEST(plugged_port_is_announced, "CON-DEV-03",
	"a port that is plugged in is told of by one DEVICE_ADD, then by its name and its opening",
	NEEDS("ctl"))
{
	struct virtio_console *con = started();
	const struct console_port *port = &con->port[SPARE];

	EXPECT_EQ(port->adds, 0);
	plug();
	expect_message(con, CONSOLE_DEVICE_ADD);
	EXPECT_EQ(port->name_length, 0);
	ASSERT_TRUE(console_send(con, SPARE, CONSOLE_PORT_READY, 1) >= 0);
	expect_message(con, CONSOLE_PORT_NAME);
	EXPECT_GE(port->name_length, 7);
	EXPECT_MEM(port->name, NAME, 7);
	con_host(SPARE, "open");
	while (!port->opens)
		expect_message(con, CONSOLE_PORT_OPEN);
	EXPECT_TRUE(port->host_open);
	EXPECT_FALSE(port->console);
	EXPECT_EQ(port->adds, 1);
	for (unsigned i = 0; i < con->ports; i++)
		EXPECT_EQ(con->port[i].adds, 1);
	EXPECT_EQ(con->unknown, 0);
}

TEST(plugged_port_carries_data, "",
	"a port that was plugged in carries output and input, and so do the others", NEEDS("ctl"))
{
	struct virtio_console *con = started();

	plug();
	open_spare(con);
	expect_carried(con, 21);
	con_host(0, "open");
	con_serves(con, 0);
}

TEST(unplugged_port_is_removed, "CON-DEV-04",
	"a port that is unplugged is told of by one DEVICE_REMOVE, and the others go on",
	NEEDS("ctl"))
{
	struct virtio_console *con = started();

	plug();
	open_spare(con);
	unplug();
	expect_message(con, CONSOLE_DEVICE_REMOVE);
	con_host(0, "open");
	con_serves(con, 0);
	expect_other_message(con);
	EXPECT_EQ(con->port[SPARE].removes, 1);
	EXPECT_EQ(con->unknown, 0);
}

TEST(number_is_used_again, "CON-DEV-03 CON-DEV-04",
	"a port with the number of one that went is added after the other's removal, and works",
	NEEDS("ctl"))
{
	struct virtio_console *con = started();

	plug();
	open_spare(con);
	expect_carried(con, 22);
	con_host(SPARE, "close");
	unplug();
	plug();
	expect_message(con, CONSOLE_DEVICE_REMOVE);
	EXPECT_EQ(con->port[SPARE].adds, 1);
	open_spare(con);
	EXPECT_EQ(con->port[SPARE].adds, 2);
	expect_carried(con, 23);
}

TEST(no_port_beyond_the_last, "CON-DEV-03",
	"a port numbered max_nr_ports is refused, and the driver hears of none", NEEDS("ctl"))
{
	struct virtio_console *con = started();
	struct console_message m;

	if (ctl_request("plug", "con%u %u " NAME, SPARE, con->max_ports))
		FAIL("port %u was plugged in", con->max_ports);
	plug();
	do
		ASSERT_TRUE(console_next(con, &m, CONSOLE_WAIT_US));
	while (m.control.event != CONSOLE_DEVICE_ADD);
	EXPECT_EQ(m.control.id, SPARE);
	EXPECT_EQ(con->unknown, 0);
}

TEST(plugged_before_the_driver_is_ready, "CON-DEV-03",
	"a port that came before DEVICE_READY is announced by its answer, once", NEEDS("ctl"))
{
	struct virtio_console *con = spare(false);
	struct console_message m;

	plug();
	ASSERT_TRUE(virtio_console_start(con));
	while (!con->port[SPARE].added)
		ASSERT_TRUE(console_await(con, SPARE, CONSOLE_DEVICE_ADD, &m));
	expect_other_message(con);
	EXPECT_EQ(con->port[SPARE].adds, 1);
}

/* Takes what the device says and gives its buffers back, but for those of control messages. */
static struct virtio_console *without_buffers(void)
{
	struct virtio_console *con = spare(true);

	ASSERT_TRUE(console_send(con, 0, CONSOLE_DEVICE_READY, 1) >= 0);
	return con;
}

TEST(plugging_waits_for_a_buffer, "",
	"while the driver gives no buffer for messages, that of a plugged port waits", NEEDS("ctl"))
{
	struct virtio_console *con = without_buffers();

	plug();
	console_give_control(con);
	open_spare(con);
	EXPECT_EQ(con->port[SPARE].adds, 1);
	expect_carried(con, 24);
}

/* Each opening and each closing has been told, or could not be, before the next one comes. */
static void use_up_buffers(struct virtio_console *con)
{
	struct console_message m;

	con->keeps = true;
	for (bool open = true; con->control_rx.free_count < CONSOLE_BUFFERS; open = !open) {
		con_host(1, open ? "open" : "close");
		while (con->port[1].host_open != open &&
			con->control_rx.free_count < CONSOLE_BUFFERS)
			ASSERT_TRUE(console_next(con, &m, CONSOLE_WAIT_US));
	}
	con->keeps = false;
}

TEST(removal_waits_for_a_buffer, "CON-DEV-04",
	"while the driver gives no buffer for messages, that of an unplugged port waits",
	NEEDS("ctl"), LIFE)
{
	struct virtio_console *con = started();
	struct console_message m;

	plug();
	open_spare(con);
	use_up_buffers(con);
	unplug();
	checkpoint();
	console_give_control(con);
	expect_message(con, CONSOLE_DEVICE_REMOVE);
	EXPECT_EQ(con->unknown, 0);
	plug();
	ASSERT_TRUE(console_await(con, SPARE, CONSOLE_DEVICE_ADD, &m));
	EXPECT_EQ(con->port[SPARE].removes, 1);
	EXPECT_EQ(con->port[SPARE].adds, 2);
}

TEST(unplugged_before_it_was_announced, "CON-DEV-04",
	"a port that came and went before the driver could hear of it is not removed", NEEDS("ctl"))
{
	struct virtio_console *con = without_buffers();

	plug();
	unplug();
	console_give_control(con);
	con_host(0, "open");
	ASSERT_TRUE(console_send(con, 1, CONSOLE_PORT_READY, 1) >= 0);
	expect_other_message(con);
	EXPECT_EQ(con->port[SPARE].adds, 0);
	EXPECT_EQ(con->port[SPARE].removes, 0);
	EXPECT_EQ(con->unknown, 0);
}

/* What a slow reader had not taken yet may be used, or be the driver's to take back; ours is held
 * to the first. */
TEST(unplugged_while_buffers_wait, "",
	"an unplugged port writes no buffer more, and what waits in its queues holds up nobody",
	NEEDS("ctl"))
{
	struct virtio_console *con = started();
	uint32_t bytes = 1u << 20, length;
	uint8_t *data = arena_alloc_raw(bytes, 64), *buffer = con_buffer(64);

	plug();
	open_spare(con);
	con_host(SPARE, "open");
	ASSERT_TRUE(console_give(con, SPARE, buffer, 64) >= 0);
	ASSERT_TRUE(console_submit(&con->port[SPARE].tx,
			    &(struct console_buffer){data, bytes, false}, 1) >= 0);
	con_host(0, "open");
	con_serves(con, 0);
	con_host(SPARE, "send late");
	ASSERT_TRUE(console_wait(&con->port[SPARE].rx, &length, CONSOLE_WAIT_US) >= 0);
	memset(buffer, FILL, 64);
	ASSERT_TRUE(console_give(con, SPARE, buffer, 64) >= 0);
	unplug();
	expect_message(con, CONSOLE_DEVICE_REMOVE);
	con_host(SPARE, "send later");
	con_serves(con, 0);
	EXPECT_TRUE(memory_is(buffer, FILL, 64, NULL));
	EXPECT_EQ(virtqueue_reap(&con->port[SPARE].rx, &length), -1);
	if (raw_strict())
		EXPECT_TRUE(console_wait(&con->port[SPARE].tx, &length, CONSOLE_WAIT_US) >= 0);
	EXPECT_EQ(virtio_status(&con->dev), virtio_running(&con->dev));
}

/* The VM stops, so that the driver hears of both ports when the device has its requests back. */
TEST(output_of_the_port_before, "",
	"what waits for a slow reader when its port is unplugged never comes out of the next port "
	"with that number, which carries what is sent after its PORT_READY",
	NEEDS("ctl"))
{
	struct virtio_console *con = started();
	uint32_t bytes = 1u << 20, length;
	uint8_t *data = arena_alloc_raw(bytes, 64);

	plug();
	open_spare(con);
	con_host(SPARE, "open");
	con_host(SPARE + 1, "open");
	memset(data, '~', bytes);
	ASSERT_TRUE(console_submit(&con->port[SPARE].tx,
			    &(struct console_buffer){data, bytes, false}, 1) >= 0);
	con_host(0, "open");
	con_serves(con, 0);
	if (!ctl_request("replug", "con%u %u " NAME, SPARE + 1, SPARE))
		FAIL("replug: %s", ctl_reason());
	expect_message(con, CONSOLE_DEVICE_REMOVE);
	if (raw_strict())
		EXPECT_TRUE(console_wait(&con->port[SPARE].tx, &length, CONSOLE_WAIT_US) >= 0);
	open_spare(con);
	ASSERT_TRUE(console_submit(&con->port[SPARE].tx,
			    &(struct console_buffer){"[after]", 7, false}, 1) >= 0);
	EXPECT_EQ(strcmp(con_host(SPARE + 1, "until [after]"), "0"), 0);
}

TEST(messages_for_an_unplugged_port, "",
	"what the driver says of a port that went is used, and means nothing for the next one",
	NEEDS("ctl"))
{
	struct virtio_console *con = started();

	plug();
	open_spare(con);
	unplug();
	expect_message(con, CONSOLE_DEVICE_REMOVE);
	EXPECT_EQ(console_send(con, SPARE, CONSOLE_PORT_READY, 1), 0);
	EXPECT_EQ(console_send(con, SPARE, CONSOLE_PORT_OPEN, 1), 0);
	con->port[SPARE].name_length = 0;
	plug();
	expect_message(con, CONSOLE_DEVICE_ADD);
	expect_other_message(con);
	EXPECT_EQ(con->port[SPARE].name_length, 0);
	ASSERT_TRUE(console_send(con, SPARE, CONSOLE_PORT_READY, 1) >= 0);
	expect_message(con, CONSOLE_PORT_NAME);
}
