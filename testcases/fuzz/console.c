/* SPDX-License-Identifier: MIT */
/* The requests of virtio-console, on a device that runs: ports, the control queues, bytes either
 * way, and a host's side that comes and goes, is slow, and has a terminal of any size. */
#include "chardev/internal.h"
#include "driver.h"

#define PORTS 2

/* The host's side of a port. */
struct peer {
	struct chardev chr;
	size_t room; /* bytes that it takes before it is full */
	bool is_full;
};

static struct chardev *peers[PORTS];
static struct device *ports[PORTS]; /* NULL: unplugged */

static int peer_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	chr->opened = true;
	return 0;
}

/* With nobody there all is taken. */
static size_t peer_write(struct chardev *chr, const uint8_t *data, size_t length)
{
	struct peer *peer = (struct peer *)chr;

	if (!chr->opened)
		return length;
	for (size_t i = 0; i < length; i++)
		(void)*(const volatile uint8_t *)&data[i];
	if (length > peer->room) {
		length = peer->room;
		peer->is_full = true;
	}
	peer->room -= length;
	return length;
}

static const struct chardev_type peer_type = {
	.name = "peer",
	.size = sizeof(struct peer),
	.open = peer_open,
	.write = peer_write,
};

static void give_room(struct chardev *chr, size_t room)
{
	struct peer *peer = (struct peer *)chr;

	peer->room = room;
	if (!room || !peer->is_full)
		return;
	peer->is_full = false;
	chardev_tell(chr, CHARDEV_WRITABLE);
}

static void add_port(unsigned i)
{
	ports[i] = i ? add_device(&virtserialport_type, "chardev=c1,id=p1,name=org.assay.fuzz")
		     : add_device(&virtconsole_type, "chardev=c0,id=p0");
}

/* device_del and device_add */
static void replug_port(unsigned i)
{
	if (!ports[i]) {
		add_port(i);
		return;
	}
	device_destroy(ports[i]);
	ports[i] = NULL;
}

/* Input: as much as the port takes, in pieces that the peer chooses. */
static void send_bytes(struct chardev *chr, size_t wanted)
{
	static const uint8_t bytes[4096] = "Assay";
	size_t room;

	while (wanted && (room = chardev_room(chr)) != 0) {
		size_t part = wanted < room ? wanted : room;

		part = part < sizeof(bytes) ? part : sizeof(bytes);
		chardev_deliver(chr, bytes, part);
		wanted -= part;
	}
}

static void peer_acts(struct input *in)
{
	uint8_t raw = take(in, 1), value = take(in, 1);
	struct chardev *chr = peers[raw % PORTS];

	switch (raw >> 1 & 7) {
	case 0: chardev_set_opened(chr, value & 1); break;
	case 1: chardev_resize(chr, value, value * 0x101); break;
	case 2:
		if (value & 1)
			replug_port(raw % PORTS);
		else
			chardev_tell(chr, CHARDEV_BREAK);
		break;
	case 3: give_room(chr, value & 0x80 ? value << 10 : value); break;
	case 4: give_room(chr, 0); break;
	default: send_bytes(chr, value & 0x80 ? value << 5 : value); break;
	}
}

/* A terminal's size stays: nobody can say that it is not known any more. */
static void peers_listen(void)
{
	for (unsigned i = 0; i < PORTS; i++) {
		if (!ports[i])
			add_port(i);
		chardev_set_opened(peers[i], true);
		give_room(peers[i], SIZE_MAX);
		chardev_resize(peers[i], 80, 25);
	}
}

static void add_ports(void)
{
	static const char *const ids[PORTS] = {"c0", "c1"};
	struct error err;

	for (unsigned i = 0; i < PORTS && !peers[PORTS - 1]; i++) {
		struct keyvals *kv = keyvals_parse("-chardev", "", NULL, &err);

		peers[i] = chardev_new(loop, &peer_type, ids[i], kv, &err);
		REQUIRE(peers[i]);
		keyvals_free(kv);
	}
	for (unsigned i = 0; i < PORTS; i++)
		add_port(i);
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

/* What a driver does to be told of ports and to open them, or bytes either way. */
static void speak(struct input *in)
{
	uint8_t raw = take(in, 1), queue = take(in, 1) % QUEUES;
	struct {
		uint32_t port;
		uint16_t event, value;
	} message = {raw & 1, raw >> 5, !(raw & 2)};
	uint32_t at = DATA + 0x100 * queue, length = 16 + (raw & 0xf0) * (raw & 1);
	unsigned i = (raw >> 2 & 1) * 4;

	if (queue & 1 && raw & 0x40)
		length <<= 12; /* more than goes out at once */
	if (raw & 8) {
		queue = 3;
		memcpy(ram + at, &message, sizeof(message));
		length = sizeof(message);
	}
	if (packed) {
		packed_descriptor(queue, at, length, queue & 1 ? 0 : 2);
	} else {
		descriptor(queue, i, at, length, queue & 1 ? 0 : 2, 0);
		publish(queue, i);
	}
	kick(queue);
	if (raw & 0x10)
		turn(1);
}

static const struct fuzz_device device_under_test = {
	.type = &virtio_serial_device_type,
	.text = "max_ports=3,packed=on,console-size=on",
	.interface = MMIO_MODERN,
	.started = true,
	.features = ~0ull & ~FEATURE(33),
	.queue = 1,
	.out = 1,
	.prepare = a_byte,
	.judge = nothing_came,
	.garbage = any_message,
	.more = add_ports,
	.sound = speak,
	.host = peer_acts,
	.calm = peers_listen,
};

FUZZ_DEVICE(device_under_test)
