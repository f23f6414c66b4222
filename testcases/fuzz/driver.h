/* SPDX-License-Identifier: MIT */
/*
 * A driver that an input writes: a few bytes an operation, from plain requests to any register
 * and any word of a ring.  After the last, the device is reset and must serve a plain request.
 *
 * A target is a struct fuzz_device and one line FUZZ_DEVICE(it).
 */
#ifndef FUZZ_DRIVER_H
#define FUZZ_DRIVER_H

#include "machine.h"
#include "state.h"

#define QUEUES	   6
#define QUEUE_SIZE 8
/* The areas of queue q, 0x1000 apart, lie 0x4000 apart; buffers lie behind them all. */
#define TABLE(q)  (0x1000u + 0x4000u * (q))
#define DRIVER(q) (TABLE(q) + (is_legacy() ? 16u * QUEUE_SIZE : 0x1000u))
#define DEVICE(q) (TABLE(q) + (is_legacy() ? 0x1000u : 0x2000u))
#define DATA	  0x1a000u
#define DATA_SIZE 0x8000u

static void plug_in(void);
static void unplug(void);

#define OPERATIONS_MAX 400

struct fuzz_device {
	const struct device_type *type;
	const char *text;
	enum interface interface;
	bool started; /* the input begins with a device that runs */
	uint64_t features;
	unsigned queue; /* that serves the plain request: `out` bytes to the device, `in` from it */
	uint32_t out, in;
	void (*prepare)(uint8_t *out);
	void (*judge)(const uint8_t *in, uint32_t used_length);
	void (*before)(void); /* what the device needs; or NULL */
	void (*more)(void);   /* what the machine has besides; or NULL */
	void (*garbage)(uint8_t *out, uint8_t kind, uint16_t number); /* a header; or NULL */
	void (*sound)(struct input *in); /* something that a sound driver does; or NULL */
	void (*host)(struct input *in);	 /* something that the host does; or NULL */
	void (*calm)(void);		 /* the host is as at the start again; or NULL */
};

static const struct fuzz_device *target;

/* --- what a sound driver does --- */

static uint16_t avail_index[QUEUES]; /* of a packed ring: the next descriptor's place */
static bool wrap[QUEUES], packed;

static void set_up_queue(unsigned queue, uint16_t size)
{
	uint64_t areas[3] = {TABLE(queue), DRIVER(queue), DEVICE(queue)};

	avail_index[queue] = 0;
	wrap[queue] = true;
	memset(ram + TABLE(queue), 0, 0x3000);
	enable_queue(queue, size, areas);
}

/* The legacy interface has no FEATURES_OK. */
static uint8_t running(void)
{
	return is_legacy() ? 7 : 0xf;
}

static bool set_up(uint64_t features)
{
	set_status(0);
	set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	features &= offered();
	packed = features & FEATURE(VIRTIO_F_RING_PACKED);
	accept_features(features);
	if (is_legacy())
		return true;
	set_status(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
	return status() & STATUS_FEATURES_OK;
}

static void descriptor(unsigned queue, unsigned i, uint64_t address, uint32_t length,
	uint16_t flags, uint16_t next)
{
	uint8_t *at = ram + TABLE(queue) + 16 * i;

	memcpy(at, &address, 8);
	memcpy(at + 8, &length, 4);
	memcpy(at + 12, &flags, 2);
	memcpy(at + 14, &next, 2);
}

/* The next descriptor of a packed ring, as available as can be. */
static void packed_descriptor(unsigned queue, uint64_t address, uint32_t length, uint16_t flags)
{
	descriptor(queue, avail_index[queue], address, length, avail_index[queue],
		flags | (wrap[queue] ? 0x80 : 0x8000));
	if (++avail_index[queue] == QUEUE_SIZE) {
		avail_index[queue] = 0;
		wrap[queue] = !wrap[queue];
	}
}

static void publish(unsigned queue, uint16_t head)
{
	if (packed)
		return; /* by its descriptors */
	memcpy(ram + DRIVER(queue) + 4 + 2 * (avail_index[queue] % QUEUE_SIZE), &head, 2);
	avail_index[queue]++;
	memcpy(ram + DRIVER(queue) + 2, &avail_index[queue], 2);
}

static void it_works(void)
{
	uint32_t used[2];
	uint16_t index;
	unsigned queue = target->queue, n = 0;

	REQUIRE(status() == 0);
	REQUIRE(set_up(FEATURE(VIRTIO_F_VERSION_1)));
	set_up_queue(queue, QUEUE_SIZE);
	set_status(running());
	REQUIRE(status() == running());
	memset(ram + DATA, 0, target->out);
	memset(ram + DATA + 0x1000, 0xee, target->in);
	if (target->prepare)
		target->prepare(ram + DATA);
	if (target->out)
		descriptor(queue, n++, DATA, target->out, target->in ? 1 : 0, 1);
	if (target->in)
		descriptor(queue, n++, DATA + 0x1000, target->in, 2, 0);
	publish(queue, 0);
	kick(queue);
	drain();
	memcpy(&index, ram + DEVICE(queue) + 2, 2);
	REQUIRE(status() == running());
	REQUIRE(index == 1);
	memcpy(used, ram + DEVICE(queue) + 4, 8);
	REQUIRE(used[0] == 0);
	target->judge(ram + DATA + 0x1000, used[1]);
}

/* --- operations --- */

static uint64_t wild_address(struct input *in)
{
	uint8_t kind = take(in, 1);
	uint16_t low = take(in, 2);

	switch (kind % 8) {
	case 0: return (is_pci ? BAR : MMIO) + low % 0x200;
	case 1: return UINT64_MAX - low;
	case 2: return RAM_SIZE - low % 0x100;
	case 3: return TABLE(0) + low % 0x10000;
	case 4: return RAM_SIZE + ROM_SIZE - low % 0x100;
	default: return DATA + low % DATA_SIZE;
	}
}

static uint32_t wild_length(struct input *in)
{
	uint16_t raw = take(in, 2);

	return raw >= 0xff00 ? (uint32_t)(int32_t)(int16_t)raw << (raw & 7) : raw & 0x1fff;
}

static void register_access(struct input *in, bool write)
{
	static const uint16_t pages[] = {0, ISR, CONFIG, DOORBELLS};
	uint16_t raw = take(in, 2), offset = raw & 0x3ff;
	unsigned size = 1u << (raw >> 10 & 3);
	uint64_t at = is_pci ? BAR + pages[raw >> 12 & 3] : MMIO;

	if (is_pci && raw >> 14 == 3)
		at = MSIX_BAR;
	if (!is_pci)
		offset &= 0x1ff;
	if (!write)
		(void)get(at + offset, size);
	else
		put(at + offset, take(in, size), size);
}

static void config_access(struct input *in, bool write)
{
	uint16_t raw = take(in, 2);
	unsigned size = 1u << (raw >> 8) % 3, offset = (raw & 0xff) & ~(size - 1);

	if (!is_pci)
		register_access(in, write);
	else if (!write)
		(void)get_config(offset, size);
	else
		put_config(offset, take(in, size), size);
}

static void port_access(struct input *in, bool write)
{
	uint16_t raw = take(in, 2), port = IO_BAR + (raw & 0x7f);
	unsigned size = 1u << (raw >> 8) % 3;

	if (raw & 0x8000)
		port = DOORBELL_PORT;
	if (!write)
		(void)get_port(port, size);
	else
		put_port(port, take(in, size), size);
}

static void op_register_write(struct input *in)
{
	register_access(in, true);
}

static void op_register_read(struct input *in)
{
	register_access(in, false);
}

static void op_config_write(struct input *in)
{
	config_access(in, true);
}

static void op_config_read(struct input *in)
{
	config_access(in, false);
}

static void op_port_write(struct input *in)
{
	port_access(in, true);
}

static void op_port_read(struct input *in)
{
	port_access(in, false);
}

static void op_descriptor(struct input *in)
{
	uint8_t which = take(in, 1), flags = take(in, 1), next = take(in, 1);
	uint64_t address = wild_address(in);
	uint32_t length = wild_length(in);

	descriptor(which >> 6, which & 0xf, address, length, flags & 0x80 ? flags * 0x101 : flags,
		next & 0x80 ? next * 0x101 : next & 0xf);
}

static void op_bytes(struct input *in)
{
	uint16_t at = take(in, 2);
	uint8_t count = take(in, 1);

	for (unsigned i = 0; i < (count & 63u) && in->left; i++)
		ram[DATA + (at + i) % DATA_SIZE] = take(in, 1);
}

/* A word of a ring: whatever its format, this reaches all of it. */
static void op_ring_bytes(struct input *in)
{
	uint16_t at = take(in, 2);
	uint32_t value = take(in, 4);
	unsigned queue = at >> 14;
	uint32_t areas[] = {TABLE(queue), DRIVER(queue), DEVICE(queue)};

	memcpy(ram + areas[(at >> 8 & 0x3f) % 3] + (at & 0xff), &value, 4);
}

static void op_header(struct input *in)
{
	uint16_t at = take(in, 2);
	uint8_t kind = take(in, 1);
	uint16_t number = take(in, 2);

	if (target->garbage)
		target->garbage(ram + DATA + at % (DATA_SIZE - 64), kind, number);
}

static void op_publish(struct input *in)
{
	uint8_t raw = take(in, 1);

	publish(raw >> 6, raw & 0x20 ? 0xffff : raw & 0xf);
	kick(raw >> 6);
}

static void op_kick(struct input *in)
{
	uint16_t raw = take(in, 2);

	kick(raw & 0x8000 ? raw : raw & 3);
}

static void op_turn(struct input *in)
{
	turn(take(in, 1) & 15);
}

static void op_drain(struct input *in)
{
	drain();
}

static void op_set_up(struct input *in)
{
	uint64_t features = take(in, 6);
	uint8_t queues = take(in, 1);

	set_up((features & target->features) | FEATURE(VIRTIO_F_VERSION_1));
	for (unsigned q = 0; q < QUEUES; q++)
		if (queues >> q & 1)
			set_up_queue(q, queues & 0x80 ? queues >> 4 & 7 : QUEUE_SIZE);
	set_status(running());
}

static void op_reset(struct input *in)
{
	set_status(0);
	REQUIRE(is_pci || status() == 0); /* its BAR may be elsewhere */
}

/* A request as a driver would write it: one piece out, one either way, and a byte in if wanted. */
static void op_request(struct input *in)
{
	uint8_t raw = take(in, 1), kind = take(in, 1);
	uint16_t number = take(in, 2), way = raw & 0x10 ? 0 : 2, next = raw & 8 ? 1 : 0;
	uint32_t out = take(in, 1), length = take(in, 2) & 0x1fff;
	unsigned queue = raw >> 6, head = (raw & 1) * 4;
	uint32_t at = DATA + 0x2000 * (raw & 3);

	if (target->garbage)
		target->garbage(ram + at, kind, number);
	if (packed) {
		packed_descriptor(queue, at, out, 1);
		packed_descriptor(queue, at + 0x100, length, way | next);
		if (next)
			packed_descriptor(queue, at + 0x80, 1, 2);
	} else {
		descriptor(queue, head, at, out, 1, head + 1);
		descriptor(queue, head + 1, at + 0x100, length, way | next, head + 2);
		descriptor(queue, head + 2, at + 0x80, 1, 2, 0);
		publish(queue, head);
	}
	kick(queue);
}

static void (*const operations[])(struct input *in) = {op_register_write, op_register_read,
	op_config_write, op_config_read, op_descriptor, op_bytes, op_ring_bytes, op_header,
	op_publish, op_kick, op_turn, op_drain, op_set_up, op_request, op_reset, op_port_write,
	op_port_read};

static void op_host(struct input *in)
{
	if (!target->host)
		return;
	lock();
	target->host(in);
	unlock();
}

static void op_sound(struct input *in)
{
	if (target->sound)
		target->sound(in);
}

/* A doorbell that is an eventfd: no exit tells of it. */
static void op_signal(struct input *in)
{
	uint64_t one = 1;
	struct virtio_queue *vq;

	if (is_pci)
		return;
	vq = virtio_queue(
		container_of(device->bus, struct virtio_mmio, bus)->vdev, take(in, 1) % QUEUES);
	if (vq)
		REQUIRE(write(vq->doorbell.fd, &one, sizeof(one)) == sizeof(one));
}

static void op_queue_reset(struct input *in)
{
	write_to(AT_SELECT, take(in, 1) % QUEUES);
	write_to(AT_RESET, 1);
}

/* Unplugged as it is, and plugged in again. */
static void op_replug(struct input *in)
{
	lock();
	unplug();
	unlock();
	turn(take(in, 1) & 15);
	lock();
	plug_in();
	device_reset(device);
	unlock();
	if (is_pci)
		place_bars();
}

static void op_state(struct input *in)
{
	save_tamper_load(in);
}

static void op_stop(struct input *in)
{
	lock();
	machine_emit(&machine, "STOP", CAUSE_HOST_UI);
	unlock();
}

static void op_go_on(struct input *in)
{
	lock();
	block_retry_all();
	machine_emit(&machine, "RESUME", CAUSE_HOST_UI);
	unlock();
}

/* What others than the driver do has the last of the numbers of an operation. */
#define OTHERS_FROM 0xe0
static void (*const others[])(struct input *in) = {op_host, op_sound, op_queue_reset, op_state,
	op_host, op_stop, op_sound, op_go_on, op_host, op_sound, op_signal, op_state, op_host,
	op_stop, op_replug, op_go_on};

static void operate(struct input *in)
{
	uint8_t raw = take(in, 1);

	if (raw >= OTHERS_FROM)
		others[raw % (sizeof(others) / sizeof(others[0]))](in);
	else
		operations[raw % (sizeof(operations) / sizeof(operations[0]))](in);
}

static void calm(void)
{
	op_go_on(NULL);
	if (!target->calm)
		return;
	lock();
	target->calm();
	unlock();
}

static int fuzz_one(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	calm();
	reset_machine();
	if (target->started) {
		uint64_t without = take(&in, 1) & 1 ? 0 : FEATURE(VIRTIO_F_RING_PACKED);

		set_up((target->features & ~without) | FEATURE(VIRTIO_F_VERSION_1));
		for (unsigned q = 0; q < QUEUES; q++)
			set_up_queue(q, QUEUE_SIZE);
		set_status(running());
	}
	for (unsigned i = 0; in.left && i < OPERATIONS_MAX; i++)
		operate(&in);
	calm();
	if (is_pci)
		place_bars();
	set_status(0);
	nothing_is_pinned();
	it_works();
	set_status(0);
	nothing_is_pinned();
	return 0;
}

static void plug_in(void)
{
	device = add_device(target->type, target->text);
	if (target->more)
		target->more();
}

/* What was plugged into it goes first. */
static void unplug(void)
{
	for (;;) {
		struct device *last = container_of(machine.devices.prev, struct device, link);

		device_destroy(last);
		if (last == device)
			return;
	}
}

static void begin(const struct fuzz_device *what)
{
	target = what;
	make_machine(what->interface);
	if (what->before)
		what->before();
	plug_in();
}

#define FUZZ_DEVICE(what)                                             \
	int LLVMFuzzerInitialize(int *argc, char ***argv);            \
	int LLVMFuzzerInitialize(int *argc, char ***argv)             \
	{                                                             \
		begin(&(what));                                       \
		return 0;                                             \
	}                                                             \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); \
	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)  \
	{                                                             \
		return fuzz_one(data, size);                          \
	}

#endif
