/* SPDX-License-Identifier: MIT */
/* The requests of virtio-rng, on a device that runs: buffers of any layout, and a limit that it
 * waits for. */
#include "driver.h"

static void some_came(const uint8_t *in, uint32_t used_length)
{
	REQUIRE(used_length >= 1 && used_length <= 64);
}

static const struct fuzz_device device_under_test = {
	.type = &virtio_rng_device_type,
	.text = "packed=on",
	.interface = MMIO_MODERN,
	.started = true,
	.features = ~0ull & ~FEATURE(33),
	.queue = 0,
	.in = 64,
	.judge = some_came,
};

FUZZ_DEVICE(device_under_test)
