/* SPDX-License-Identifier: MIT */
/* Configuration and emergency output of the console (virtio 1.4, 5.3.4 and 5.3.5). */
#include "console.h"

#include <stdarg.h>

/* What a TEST left at the other ends is not the next one's. */
static void hang_up(void *opaque)
{
	if (ctl_present())
		ctl_request("port", "all close");
}

static struct test_reset_hook hook = {.reset = hang_up};

struct virtio_console *con_new(const struct virtio_console_options *options)
{
	struct virtio_console *con = arena_alloc(sizeof(*con), 64);

	test_reset_hook(&hook);
	if (!virtio_console_open(con, options))
		SKIP("no console");
	return con;
}

struct virtio_console *con_open(unsigned ports, uint64_t without)
{
	return con_new(&(struct virtio_console_options){
		.polling = true, .ports = ports, .without = without});
}

struct virtio_console *con_started(void)
{
	struct virtio_console *con = con_open(0, 0);

	if (!con->multiport)
		SKIP("the console has one port");
	if (!virtio_console_start(con))
		FAIL("the device does not announce its ports");
	return con;
}

struct virtio_console *con_plain(bool interrupts)
{
	return con_new(&(struct virtio_console_options){.polling = !interrupts,
		.irq = VIRTIO_IRQ_BEST,
		.without = VIRTIO_BIT(CONSOLE_F_MULTIPORT)});
}

const char *con_host(unsigned port, const char *format, ...)
{
	char text[96];
	const char *said;
	va_list args;

	va_start(args, format);
	format_va(text, sizeof(text), format, args);
	va_end(args);
	said = ctl_request("port", "con%u %s", port, text);
	if (!said)
		FAIL("port con%u %s: %s", port, text, ctl_reason());
	return said;
}

void con_pattern(uint8_t *to, uint32_t bytes, uint8_t seed)
{
	uint32_t first = bytes < 256 ? bytes : 256;

	for (uint32_t i = 0; i < first; i++)
		to[i] = i * 7 + seed;
	for (uint32_t done = first; done < bytes; done += 256)
		memcpy(to + done, to, bytes - done < 256 ? bytes - done : 256);
}

uint8_t *con_buffer(uint32_t bytes)
{
	uint8_t *buffer = guarded_alloc(bytes);

	memset(buffer, FILL, bytes);
	return buffer;
}

void con_serves(struct virtio_console *con, unsigned port)
{
	EXPECT_EQ(virtio_console_write(con, port, "[serves]", 8), 0);
	con_host(port, "until [serves]");
}

void con_recovers(struct virtio_console *con)
{
	ASSERT_TRUE(virtio_reset(&con->dev));
	con = con_plain(false);
	EXPECT_EQ(virtio_status(&con->dev), virtio_running(&con->dev));
	con_serves(con, 0);
}

TEST(features_are_known, "FEAT-DEV-03",
	"of bits 0 to 23 only SIZE, MULTIPORT and EMERG_WRITE are offered")
{
	struct virtio_console *con = con_open(1, 0);

	EXPECT_EQ(virtio_offered(&con->dev) & 0xfffff8, 0);
	EXPECT_EQ(con->dev.features & 0xfffff8, 0);
}

TEST(one_pair_of_queues_a_port, "",
	"there are two queues for each of max_nr_ports ports and two for control, and no more")
{
	struct virtio_console *con = con_open(1, 0);
	const struct virtio_transport *t = con->dev.transport;

	if (!con->multiport)
		SKIP("the console has one port");
	ASSERT_GE(con->max_ports, 1);
	for (unsigned i = 0; i < 4; i++)
		EXPECT_GE(t->queue_max(&con->dev, i), 1);
	EXPECT_GE(t->queue_max(&con->dev, 2 * con->max_ports + 1), 1);
	EXPECT_EQ(t->queue_max(&con->dev, 2 * con->max_ports + 2), 0);
}

static void expect_emergency(struct virtio_device *dev, uint32_t value, const char *seen)
{
	virtio_config_write32(dev, CONSOLE_C_EMERG_WR, value);
	if (strcmp(con_host(0, "read %u", (unsigned)strlen(seen)), seen) != 0)
		FAIL("the host has not read '%s'", seen);
}

static struct virtio_device *emergency_device(void)
{
	struct virtio_device *dev = arena_alloc(sizeof(*dev), 64);

	if (!virtio_find(dev, VIRTIO_TRANSPORT_ANY, VIRTIO_ID_CONSOLE, 0))
		SKIP("no console");
	virtio_reset(dev);
	if (!(virtio_offered(dev) >> CONSOLE_F_EMERG_WRITE & 1))
		SKIP("no emergency write");
	con_host(0, "open");
	return dev;
}

TEST(emergency_write_before_the_driver, "CON-DEV-01 CON-DEV-02",
	"a byte written to emerg_wr of a device that was just reset comes out", NEEDS("ctl"))
{
	struct virtio_device *dev = emergency_device();

	EXPECT_EQ(virtio_status(dev), 0);
	expect_emergency(dev, '!', "!");
	EXPECT_EQ(virtio_status(dev), 0);
}

TEST(emergency_write_is_the_low_byte, "CON-DEV-02",
	"of a word written to emerg_wr the low byte comes out, once", NEEDS("ctl"))
{
	struct virtio_device *dev = emergency_device();

	expect_emergency(dev, 0x58595a41, "A");
	expect_emergency(dev, 0xffffff42, "B");
	virtio_config_write32(dev, CONSOLE_C_EMERG_WR, 'C');
	expect_emergency(dev, 'D', "CD");
}

TEST(emergency_write_of_a_broken_device, "CON-DEV-01",
	"emerg_wr works while the device is running, and while it needs a reset", NEEDS("ctl"))
{
	struct virtio_console *con;

	emergency_device();
	con = con_plain(false);
	expect_emergency(&con->dev, 'r', "r");
	/* What no driver may do (5.3.6.1); who is not broken by it passes as well. */
	ASSERT_TRUE(console_give(con, 0, con_buffer(8), 8) >= 0);
	ASSERT_TRUE(console_submit(&con->port[0].tx,
			    &(struct console_buffer){con_buffer(8), 8, true}, 1) >= 0);
	WAIT_UNTIL(virtio_status(&con->dev) & VIRTIO_S_NEEDS_RESET, 100000);
	expect_emergency(&con->dev, 'n', "n");
	con_recovers(con);
}
