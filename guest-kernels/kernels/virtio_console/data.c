/* SPDX-License-Identifier: MIT */
/* Output and input of ports (virtio 1.4, 5.3.6): order, layout, waiting, resets. */
#include "console.h"
#include "virtio-drivers/raw.h"

#define MORE_THAN_A_SOCKET (1u << 20) /* holds while nobody reads */

static void send_pattern(struct virtio_console *con, unsigned port, uint32_t bytes, uint8_t seed)
{
	uint8_t *data = arena_alloc_raw(bytes, 64);

	con_pattern(data, bytes, seed);
	con_host(port, "open");
	EXPECT_EQ(virtio_console_write(con, port, data, bytes), 0);
	con_host(port, "expect %u %u", bytes, seed);
}

TEST(output_of_one_byte, "", "a byte comes out, and its buffer is used with length 0", NEEDS("ctl"),
	LIFE)
{
	struct virtio_console *con = con_plain(false);

	con_host(0, "open");
	EXPECT_EQ(virtio_console_write(con, 0, "x", 1), 0);
	EXPECT_EQ(strcmp(con_host(0, "read 1"), "x"), 0);
}

TEST(output_of_many_bytes, "", "4096 bytes and 64 KiB in one buffer come out whole and in order",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(false);

	send_pattern(con, 0, 4096, 1);
	send_pattern(con, 0, 65536, 2);
}

/* Memory below 128 MiB, as it lies there. */
TEST(output_of_80_mib, "VQ-DEV-01",
	"a request of five buffers of 16 MiB each is carried out, whether somebody reads or not",
	NEEDS("mem>=128"))
{
	struct virtio_console *con = con_plain(false);
	struct console_buffer buffers[CONSOLE_SEGMENTS];
	uint32_t length = 1;

	for (unsigned i = 0; i < CONSOLE_SEGMENTS; i++)
		buffers[i] = (struct console_buffer){
			(void *)((uintptr_t)(i + 1) << 24), 16u << 20, false};
	ASSERT_TRUE(console_submit(&con->port[0].tx, buffers, CONSOLE_SEGMENTS) >= 0);
	ASSERT_TRUE(console_wait(&con->port[0].tx, &length, CONSOLE_WAIT_US) >= 0);
	EXPECT_EQ(length, 0);
}

TEST(output_of_a_plain_port, "", "what port 1 sends comes out of its own character device",
	NEEDS("ctl"), LIFE)
{
	struct virtio_console *con = con_started();

	send_pattern(con, 1, 1000, 3);
	con_host(0, "open");
	con_serves(con, 0);
}

TEST(output_in_pieces, "VQ-DEV-01",
	"a request of five buffers of odd lengths comes out as one, after the request before it",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(false);
	static const uint8_t cuts[CONSOLE_SEGMENTS] = {1, 7, 64, 3, 25};
	struct console_buffer buffers[CONSOLE_SEGMENTS];
	uint8_t *data = arena_alloc_raw(200, 64), *at = data + 100;
	uint32_t length;

	con_host(0, "open");
	con_pattern(data, 200, 4);
	for (unsigned i = 0; i < CONSOLE_SEGMENTS; i++) {
		buffers[i] = (struct console_buffer){at, cuts[i], false};
		at += cuts[i];
	}
	ASSERT_TRUE(console_submit(
			    &con->port[0].tx, &(struct console_buffer){data, 100, false}, 1) >= 0);
	ASSERT_TRUE(console_submit(&con->port[0].tx, buffers, CONSOLE_SEGMENTS) >= 0);
	for (unsigned i = 0; i < 2; i++) {
		ASSERT_TRUE(console_wait(&con->port[0].tx, &length, SOON_US) >= 0);
		EXPECT_EQ(length, 0);
	}
	con_host(0, "expect 200 4");
}

TEST(input_byte_by_byte, "VQ-DEV-14",
	"with buffers of one byte each byte arrives, in order, one a buffer", NEEDS("ctl"), LIFE)
{
	struct virtio_console *con = con_plain(false);
	struct virtqueue *rx = &con->port[0].rx;
	uint8_t *buffer = con_buffer(64);
	uint8_t got[12] = {0};

	for (unsigned i = 0; i < 11; i++)
		ASSERT_TRUE(console_give(con, 0, buffer + 2 * i, 1) == (int)i);
	con_host(0, "send hello-world");
	checkpoint();
	for (unsigned i = 0; i < 11; i++) {
		uint32_t length = 0;
		int slot = console_wait(rx, &length, CONSOLE_WAIT_US);

		ASSERT_EQ(slot, i);
		EXPECT_EQ(length, 1);
		got[i] = buffer[2 * i];
		EXPECT_EQ(buffer[2 * i + 1], FILL);
	}
	EXPECT_MEM(got, "hello-world", 11);
}

/* Takes `bytes` of the pattern in buffers of `size`, `depth` of them given at once. */
static void take_pattern(struct virtio_console *con, unsigned port, uint32_t bytes, uint8_t seed,
	uint32_t size, unsigned depth)
{
	struct virtqueue *rx = &con->port[port].rx;
	uint8_t *expected = arena_alloc_raw(bytes, 64), *buffers[64];
	uint32_t taken = 0;

	con_pattern(expected, bytes, seed);
	for (unsigned i = 0; i < depth; i++) {
		uint8_t *at = con_buffer(size);
		int slot = console_give(con, port, at, size);

		ASSERT_TRUE(slot >= 0 && slot < 64);
		buffers[slot] = at;
	}
	while (taken < bytes) {
		uint32_t length = 0;
		int slot = console_wait(rx, &length, CONSOLE_WAIT_US);

		if (slot < 0)
			FAIL("%u of %u bytes arrived", taken, bytes);
		ASSERT_GE(length, 1);
		ASSERT_LE(length, size);
		ASSERT_LE(taken + length, bytes);
		ASSERT_MEM(buffers[slot], expected + taken, length);
		EXPECT_TRUE(memory_is(buffers[slot] + length, FILL, size - length, NULL));
		taken += length;
		memset(buffers[slot], FILL, size);
		/* The slot just put back is the next one. */
		ASSERT_EQ(console_give(con, port, buffers[slot], size), slot);
	}
}

TEST(input_in_buffers, "VQ-DEV-14",
	"8 KiB arrive whole and in order, nothing beyond the lengths that are reported",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(false);

	con_host(0, "pour 8192 5");
	take_pattern(con, 0, 8192, 5, 512, 8);
}

TEST(input_waits_for_buffers, "",
	"64 KiB that are sent while the driver gives no buffer arrive when it does", NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(false);

	con_host(0, "pour 65536 6");
	con_serves(con, 0);
	take_pattern(con, 0, 65536, 6, 4096, 2);
}

TEST(input_scattered, "VQ-DEV-01 VQ-DEV-14",
	"input fills a request of five buffers from its start without gaps", NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(false);
	struct console_buffer buffers[CONSOLE_SEGMENTS];
	uint8_t *area = con_buffer(5 * CONSOLE_SEGMENTS), seen[16] = {0};
	uint32_t length = 0, n = 0;

	for (unsigned i = 0; i < CONSOLE_SEGMENTS; i++)
		buffers[i] = (struct console_buffer){area + 5 * i + 1, 3, true};
	ASSERT_TRUE(console_submit(&con->port[0].rx, buffers, CONSOLE_SEGMENTS) >= 0);
	con_host(0, "send scattered");
	ASSERT_TRUE(console_wait(&con->port[0].rx, &length, CONSOLE_WAIT_US) >= 0);
	EXPECT_EQ(length, 9);
	for (unsigned i = 0; i < 5 * CONSOLE_SEGMENTS; i++) {
		bool inside = i % 5 >= 1 && i % 5 <= 3;

		if (inside && n < 9)
			seen[n++] = area[i];
		else
			EXPECT_EQ(area[i], FILL);
	}
	EXPECT_MEM(seen, "scattered", 9);
}

TEST(input_interrupts, "VQ-DEV-11 VQ-DEV-12",
	"input brings a used buffer notification of its queue, output that does not want one none",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(true);
	uint8_t *buffer = con_buffer(64);
	uint32_t length, before, of_output;

	con_host(0, "open");
	con_serves(con, 0); /* some notify the first time whatever is asked for */
	before = virtio_queue_interrupts(&con->dev, 0);
	of_output = virtio_queue_interrupts(&con->dev, 1);
	con_serves(con, 0);
	ASSERT_TRUE(console_give(con, 0, buffer, 64) >= 0);
	con_host(0, "send a");
	EXPECT_TRUE(WAIT_UNTIL(virtio_queue_interrupts(&con->dev, 0) > before, CONSOLE_WAIT_US));
	ASSERT_TRUE(console_wait(&con->port[0].rx, &length, SOON_US) >= 0);
	EXPECT_EQ(virtio_queue_interrupts(&con->dev, 0), before + 1);
	if (con->dev.irq == VIRTIO_IRQ_MSIX)
		EXPECT_EQ(virtio_queue_interrupts(&con->dev, 1), of_output);
	EXPECT_EQ(virtio_config_interrupts(&con->dev), 0);
}

TEST(slow_reader_of_another_port, "",
	"a port whose reader takes nothing does not hold up another one, and loses nothing",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_started();
	uint32_t bytes = MORE_THAN_A_SOCKET, length;
	uint8_t *data = arena_alloc_raw(bytes, 64);

	con_host(0, "open");
	con_host(1, "open");
	con_pattern(data, bytes, 7);
	ASSERT_TRUE(console_submit(&con->port[1].tx, &(struct console_buffer){data, bytes, false},
			    1) >= 0);
	con_serves(con, 0);
	con_serves(con, 0);
	con_host(1, "expect %u 7", bytes);
	EXPECT_TRUE(console_wait(&con->port[1].tx, &length, CONSOLE_WAIT_US) >= 0);
}

TEST(reset_while_output_waits, "RST-DEV-02",
	"of a buffer whose output waits nothing is read after a reset, and a new driver is served",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_started();
	uint32_t bytes = MORE_THAN_A_SOCKET;
	uint8_t *data = arena_alloc_raw(bytes, 64);
	const char *marks;

	con_host(1, "open");
	memset(data, '.', bytes);
	ASSERT_TRUE(console_submit(&con->port[1].tx, &(struct console_buffer){data, bytes, false},
			    1) >= 0);
	ASSERT_TRUE(virtio_reset(&con->dev));
	memset(data, '~', bytes);
	con = con_started();
	ASSERT_TRUE(console_submit(&con->port[1].tx, &(struct console_buffer){"[after]", 7, false},
			    1) >= 0);
	marks = con_host(1, "until [after]");
	EXPECT_EQ(strcmp(marks, "0"), 0);
}

TEST(reset_while_input_waits, "RST-DEV-02",
	"a buffer given before a reset gets no input after it; the next driver's does",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(false);
	uint8_t *old = con_buffer(64), *fresh = con_buffer(64);
	uint32_t length;

	con_host(0, "open");
	ASSERT_TRUE(console_give(con, 0, old, 64) >= 0);
	con_serves(con, 0);
	ASSERT_TRUE(virtio_reset(&con->dev));
	con_host(0, "send later");
	con = con_plain(false);
	ASSERT_TRUE(console_give(con, 0, fresh, 64) >= 0);
	ASSERT_TRUE(console_wait(&con->port[0].rx, &length, CONSOLE_WAIT_US) >= 0);
	EXPECT_EQ(length, 5);
	EXPECT_MEM(fresh, "later", 5);
	EXPECT_TRUE(memory_is(old, FILL, 64, NULL));
}

/* Ours takes a buffer of the wrong direction for a broken ring; elsewhere it may be used or left.
 */
static void wrong_direction(struct virtio_console *con, struct virtqueue *vq, uint8_t *buffer)
{
	bool strict = raw_strict();
	bool writable = vq == &con->port[0].tx;
	uint32_t length;
	int slot = -1;

	ASSERT_TRUE(console_submit(vq, &(struct console_buffer){buffer, 32, writable}, 1) >= 0);
	if (!strict && !writable)
		con_host(0, "send input");
	WAIT_UNTIL((slot = virtqueue_reap(vq, &length)) >= 0 ||
			   virtio_status(&con->dev) & VIRTIO_S_NEEDS_RESET,
		strict ? SOON_US : 100000);
	if (strict)
		EXPECT_TRUE(virtio_status(&con->dev) & VIRTIO_S_NEEDS_RESET);
	EXPECT_TRUE(memory_is(buffer, FILL, 32, NULL));
	con_recovers(con);
}

TEST(readable_buffer_for_input, "CON-DRV-01 VQ-DEV-03a STAT-DEV-02",
	"a readable buffer in the receive queue is not written, and a reset mends what it broke",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(false);

	con_host(0, "open");
	wrong_direction(con, &con->port[0].rx, con_buffer(32));
}

TEST(writable_buffer_for_output, "CON-DRV-02 STAT-DEV-02",
	"a writable buffer in the transmit queue breaks the device or is ignored; a reset mends "
	"that",
	NEEDS("ctl"))
{
	struct virtio_console *con = con_plain(false);

	con_host(0, "open");
	wrong_direction(con, &con->port[0].tx, con_buffer(32));
}
