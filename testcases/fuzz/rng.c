/* SPDX-License-Identifier: MIT */
/* The requests of virtio-rng, on a device that runs: buffers of any layout, a source that has bytes
 * when the input says so, and a limit that the device waits for. */
#include "chardev/rng.h"
#include "driver.h"

#define ENOUGH 4096

static int source[2]; /* a pipe: its bytes are the entropy */

static void empty_it(void)
{
	uint8_t bytes[ENOUGH];

	while (read(source[0], bytes, sizeof(bytes)) > 0)
		;
}

static void send_bytes(size_t count)
{
	static const uint8_t bytes[ENOUGH];

	REQUIRE(write(source[1], bytes, count) == (ssize_t)count || errno == EAGAIN);
}

static void source_acts(struct input *in)
{
	uint8_t raw = take(in, 1);

	if (raw < 0x10)
		empty_it();
	send_bytes(raw & 0x80 ? raw << 4 & 0xfff : raw);
}

/* What a source sent before, nobody took: it has `ENOUGH`, not more. */
static void source_is_there(void)
{
	empty_it();
	send_bytes(ENOUGH);
}

static void make_source(void)
{
	char text[80];
	struct error err;
	struct keyvals *kv;

	REQUIRE(pipe2(source, O_NONBLOCK | O_CLOEXEC) == 0);
	snprintf(text, sizeof(text), "rng-random,id=r,filename=/proc/self/fd/%d", source[0]);
	kv = keyvals_parse("-object", text, "qom-type", &err);
	REQUIRE(rng_create(loop, kv, &err) == 0);
	keyvals_free(kv);
}

static void some_came(const uint8_t *in, uint32_t used_length)
{
	REQUIRE(used_length >= 1 && used_length <= 64);
}

static const struct fuzz_device device_under_test = {
	.type = &virtio_rng_device_type,
	.text = "packed=on,rng=r,max-bytes=300,period=10",
	.interface = MMIO_MODERN,
	.started = true,
	.features = ~0ull & ~FEATURE(33),
	.queue = 0,
	.in = 64,
	.judge = some_came,
	.before = make_source,
	.host = source_acts,
	.calm = source_is_there,
};

FUZZ_DEVICE(device_under_test)
