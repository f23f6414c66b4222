/* SPDX-License-Identifier: MIT */
/*
 * The 8042 keyboard controller at ports 0x60 and 0x64 as a PC programs it (IBM PS/2 Hardware
 * Interface Technical Reference, "Keyboard and Auxiliary Device Controller"): its commands, the
 * command byte, the output port with the processor's reset, IRQ 1 and 12.
 *
 * No keyboard and no mouse are attached: a byte for one of them is answered by the controller with
 * FEh and the time-out bit.  The gate of A20 is kept and read back, and moves nothing: A20 is
 * always open here.  The rest of the controller's RAM (commands 21h to 3Fh), the diagnostic dump
 * and the test inputs are left out.
 */
#include "devices/devices.h"
#include "machine/machine.h"

#define DATA_PORT   0x60
#define STATUS_PORT 0x64

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM	   0x04 /* the self test went well */
#define STATUS_COMMAND	   0x08 /* what was written last was a command */
#define STATUS_UNLOCKED	   0x10
#define STATUS_AUX	   0x20 /* the output buffer's byte is the auxiliary device's */
#define STATUS_TIMEOUT	   0x40

#define BYTE_IRQ1	 0x01
#define BYTE_IRQ12	 0x02
#define BYTE_SYSTEM	 0x04
#define BYTE_KBD_OFF	 0x10
#define BYTE_AUX_OFF	 0x20
#define BYTE_TRANSLATION 0x40

#define OUTPUT_NOT_RESET 0x01
#define OUTPUT_A20	 0x02
#define OUTPUT_IRQ1	 0x10 /* follow the output buffer */
#define OUTPUT_IRQ12	 0x20

#define INPUT_UNLOCKED 0x80
#define SELF_TEST_GOOD 0x55
#define PORT_TEST_GOOD 0x00
#define RESEND	       0xfe

#define IRQ_KBD 1
#define IRQ_AUX 12

struct i8042 {
	struct device dev;
	struct region data_region, status_region;
	uint8_t status, byte, output_port;
	uint8_t data;	 /* the output buffer; read again when it is empty */
	uint8_t pending; /* the command that waits for its byte at the data port, or 0 */
};

static void update(struct i8042 *kbc)
{
	bool full = kbc->status & STATUS_OUTPUT_FULL, aux = kbc->status & STATUS_AUX;

	kbc->output_port &= ~(OUTPUT_IRQ1 | OUTPUT_IRQ12);
	if (full)
		kbc->output_port |= aux ? OUTPUT_IRQ12 : OUTPUT_IRQ1;
	irq_set(&kbc->dev.machine->gsi[IRQ_KBD], full && !aux && kbc->byte & BYTE_IRQ1);
	irq_set(&kbc->dev.machine->gsi[IRQ_AUX], full && aux && kbc->byte & BYTE_IRQ12);
}

/* A byte for the host; what was not taken yet is lost, as in the chip. */
static void answer(struct i8042 *kbc, uint8_t value, uint8_t more)
{
	kbc->data = value;
	kbc->status &= ~(STATUS_AUX | STATUS_TIMEOUT);
	kbc->status |= STATUS_OUTPUT_FULL | more;
	update(kbc);
}

static void write_output_port(struct i8042 *kbc, uint8_t value)
{
	kbc->output_port = value & ~(OUTPUT_IRQ1 | OUTPUT_IRQ12);
	update(kbc);
	if (!(value & OUTPUT_NOT_RESET))
		machine_request_reset(kbc->dev.machine, CAUSE_GUEST_RESET);
}

static void self_test(struct i8042 *kbc)
{
	kbc->status |= STATUS_SYSTEM;
	kbc->byte = BYTE_KBD_OFF | BYTE_AUX_OFF | BYTE_SYSTEM;
	answer(kbc, SELF_TEST_GOOD, 0);
}

static void set_byte(struct i8042 *kbc, uint8_t set, uint8_t clear)
{
	kbc->byte = (kbc->byte | set) & ~clear;
	update(kbc);
}

static void command(struct i8042 *kbc, uint8_t value)
{
	kbc->pending = 0;
	kbc->status |= STATUS_COMMAND;
	switch (value) {
	case 0x20: answer(kbc, kbc->byte, 0); break;
	case 0x60:
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xd4: kbc->pending = value; break;
	case 0xa7: set_byte(kbc, BYTE_AUX_OFF, 0); break;
	case 0xa8: set_byte(kbc, 0, BYTE_AUX_OFF); break;
	case 0xa9:
	case 0xab: answer(kbc, PORT_TEST_GOOD, 0); break;
	case 0xaa: self_test(kbc); break;
	case 0xad: set_byte(kbc, BYTE_KBD_OFF, 0); break;
	case 0xae: set_byte(kbc, 0, BYTE_KBD_OFF); break;
	case 0xc0: answer(kbc, INPUT_UNLOCKED, 0); break;
	case 0xd0: answer(kbc, kbc->output_port, 0); break;
	case 0xdd: kbc->output_port &= ~OUTPUT_A20; break;
	case 0xdf: kbc->output_port |= OUTPUT_A20; break;
	case 0xf0 ... 0xff:
		/* Pulses the lines whose bit is 0; line 0 is the processor's reset. */
		if (!(value & OUTPUT_NOT_RESET))
			machine_request_reset(kbc->dev.machine, CAUSE_GUEST_RESET);
		break;
	}
}

static void data_written(struct i8042 *kbc, uint8_t value)
{
	uint8_t pending = kbc->pending;

	kbc->pending = 0;
	kbc->status &= ~STATUS_COMMAND;
	switch (pending) {
	case 0x60:
		kbc->byte = value;
		kbc->status = (kbc->status & ~STATUS_SYSTEM) | (value & BYTE_SYSTEM);
		update(kbc);
		break;
	case 0xd1: write_output_port(kbc, value); break;
	case 0xd2: answer(kbc, value, 0); break;
	case 0xd3: answer(kbc, value, STATUS_AUX); break;
	case 0xd4: answer(kbc, RESEND, STATUS_AUX | STATUS_TIMEOUT); break;
	default:
		/* A byte for the keyboard switches its interface on. */
		kbc->byte &= ~BYTE_KBD_OFF;
		answer(kbc, RESEND, STATUS_TIMEOUT);
	}
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8042 *kbc = opaque;

	kbc->status &= ~(STATUS_OUTPUT_FULL | STATUS_AUX | STATUS_TIMEOUT);
	update(kbc);
	return kbc->data;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	data_written(opaque, value);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
	return ((struct i8042 *)opaque)->status;
}

static void status_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	command(opaque, value);
}

static const struct region_ops data_ops = {.read = data_read, .write = data_write, .max_access = 1};
static const struct region_ops status_ops = {
	.read = status_read, .write = status_write, .max_access = 1};

/* As a PC's firmware leaves it: tested, both interrupts and translation on. */
static void i8042_reset(struct device *dev)
{
	struct i8042 *kbc = container_of(dev, struct i8042, dev);

	kbc->status = STATUS_SYSTEM | STATUS_COMMAND | STATUS_UNLOCKED;
	kbc->byte = BYTE_IRQ1 | BYTE_IRQ12 | BYTE_SYSTEM | BYTE_TRANSLATION;
	kbc->output_port = OUTPUT_NOT_RESET | OUTPUT_A20;
	kbc->data = kbc->pending = 0;
	update(kbc);
}

static int i8042_realize(struct device *dev, struct error *err)
{
	struct i8042 *kbc = container_of(dev, struct i8042, dev);

	kbc->data_region =
		(struct region){.name = "i8042-data", .length = 1, .ops = &data_ops, .opaque = kbc};
	kbc->status_region =
		(struct region){.name = "i8042", .length = 1, .ops = &status_ops, .opaque = kbc};
	space_map(&dev->machine->ports, &kbc->data_region, DATA_PORT);
	space_map(&dev->machine->ports, &kbc->status_region, STATUS_PORT);
	i8042_reset(dev);
	return 0;
}

static void i8042_unrealize(struct device *dev)
{
	struct i8042 *kbc = container_of(dev, struct i8042, dev);

	space_unmap(&kbc->data_region);
	space_unmap(&kbc->status_region);
}

static int i8042_loaded(void *opaque, unsigned version, struct error *err)
{
	update(opaque);
	return 0;
}

static const struct state_field state_fields[] = {
	STATE_UINT(struct i8042, status),
	STATE_UINT(struct i8042, byte),
	STATE_UINT(struct i8042, output_port),
	STATE_UINT(struct i8042, data),
	STATE_UINT(struct i8042, pending),
	STATE_END,
};

static const struct state_table state = {
	.name = "i8042", .version = 1, .fields = state_fields, .post_load = i8042_loaded};

const struct device_type i8042_type = {
	.name = "i8042",
	.bus = "ISA",
	.category = "Input",
	.size = sizeof(struct i8042),
	.internal = true,
	.realize = i8042_realize,
	.reset = i8042_reset,
	.state = &state,
	.unrealize = i8042_unrealize,
};
