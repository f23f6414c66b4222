/* SPDX-License-Identifier: MIT */
/* The requests of virtio-console, on a device that runs: ports, the control queues, bytes out. */
#include "driver.h"

static void add_ports(void)
{
	make_chardev("c0");
	make_chardev("c1");
	add_device(&virtconsole_type, "chardev=c0,id=p0");
	add_device(&virtserialport_type, "chardev=c1,id=p1,name=org.assay.fuzz");
}

static void a_byte(uint8_t *out)
{
	out[0] = '.';
}

static void nothing_came(const uint8_t *in, uint32_t used_length)
{
	REQUIRE(used_length == 0);
}

/* A control message: port, event, value. */
static void any_message(uint8_t *out, uint8_t kind, uint16_t number)
{
	uint32_t port = number & 0x100 ? number * 0x10001u : number & 7;
	uint16_t event = kind & 0x10 ? kind * 0x101 : kind & 15, value = number >> 12;

	memcpy(out, &port, 4);
	memcpy(out + 4, &event, 2);
	memcpy(out + 6, &value, 2);
}

static const struct fuzz_device device_under_test = {
	.type = &virtio_serial_device_type,
	.text = "max_ports=3,packed=on",
	.interface = MMIO_MODERN,
	.started = true,
	.features = ~0ull & ~FEATURE(33),
	.queue = 1,
	.out = 1,
	.prepare = a_byte,
	.judge = nothing_came,
	.garbage = any_message,
	.more = add_ports,
};

FUZZ_DEVICE(device_under_test)
