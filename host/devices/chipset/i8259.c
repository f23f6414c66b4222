/* SPDX-License-Identifier: MIT */
/*
 * Two interrupt controllers 8259A (Intel 231468) in the PC's cascade: ports 0x20 and 0xA0, the
 * second behind input 2 of the first, and the PIIX's edge/level registers at 0x4D0 (ELCR).
 *
 * Left out: the MCS-80 modes (their vectors mean nothing on an x86) and buffered mode (no pin).
 */
#include "devices/chipset/i8259.h"

#include "devices/devices.h"

#define CASCADE	 2
#define SPURIOUS 7

/* initialisation and operation command words (231468, figures 7 and 8) */
#define ICW1		0x10
#define ICW1_IC4	0x01
#define ICW1_SINGLE	0x02
#define ICW4_AEOI	0x02
#define ICW4_SFNM	0x10
#define OCW3		0x08
#define OCW3_RIS	0x01
#define OCW3_RR		0x02
#define OCW3_POLL	0x04
#define OCW3_SMM	0x20
#define OCW3_ESMM	0x40
#define OCW2_COMMAND(v) ((v) >> 5)
#define OCW2_LEVEL(v)	((v)&7)

struct pic {
	struct i8259 *pair;
	struct region region;
	uint8_t irr, isr, imr, elcr, elcr_mask;
	uint8_t input; /* levels of the wires */
	uint8_t vector_base;
	uint8_t lowest; /* the input of lowest priority; 7 after initialisation */
	uint8_t init;	/* the ICW that is expected next at port 1; 0: none */
	bool needs_icw4, single;
	bool read_isr, poll, special_mask, auto_eoi, rotate_on_aeoi, special_nested;
};

struct i8259 {
	struct device dev;
	struct pic master, slave;
	struct region elcr;
};

static struct i8259 *to_i8259(struct device *dev)
{
	return container_of(dev, struct i8259, dev);
}

/* 0 is the highest: the input behind the one of lowest priority comes first. */
static unsigned rank(const struct pic *pic, unsigned input)
{
	return (input - pic->lowest - 1) & 7;
}

/* The highest of a set, or -1. */
static int highest(const struct pic *pic, uint8_t set)
{
	for (unsigned i = 1; i <= 8; i++)
		if (set & 1 << ((pic->lowest + i) & 7))
			return (pic->lowest + i) & 7;
	return -1;
}

/* The input that would be acknowledged now, or -1: requested, unmasked, above all in service. */
static int next_request(const struct pic *pic)
{
	int request = highest(pic, pic->irr & ~pic->imr);
	uint8_t serving = pic->isr;
	int service;

	if (request < 0)
		return -1;
	/* Special mask mode: what is masked does not hold others back. */
	if (pic->special_mask)
		serving &= ~pic->imr;
	/* Special fully nested: the cascade's own request passes its in-service bit. */
	if (pic->special_nested && pic == &pic->pair->master)
		serving &= ~(1 << CASCADE);
	service = highest(pic, serving);
	if (service >= 0 && rank(pic, service) <= rank(pic, request))
		return -1;
	return request;
}

static void set_input(struct pic *pic, unsigned input, bool level)
{
	uint8_t bit = 1 << input;
	bool rises = level && !(pic->input & bit);

	pic->input = level ? pic->input | bit : pic->input & ~bit;
	if (pic->elcr & bit)
		pic->irr = level ? pic->irr | bit : pic->irr & ~bit;
	else if (rises)
		pic->irr |= bit;
	else if (!level)
		pic->irr &= ~bit; /* withdrawn before it was acknowledged: spurious, if too late */
}

/* Carries the second controller's INT to the first's input 2, and the first's to the processor. */
static void update(struct i8259 *pair)
{
	struct machine *machine = pair->dev.machine;

	set_input(&pair->master, CASCADE, next_request(&pair->slave) >= 0);
	if (machine->irq_chip.ops->set_intr)
		machine->irq_chip.ops->set_intr(
			machine->irq_chip.opaque, next_request(&pair->master) >= 0);
}

static void accept(struct pic *pic, unsigned input)
{
	uint8_t bit = 1 << input;

	if (!(pic->elcr & bit))
		pic->irr &= ~bit;
	if (!pic->auto_eoi)
		pic->isr |= bit;
	else if (pic->rotate_on_aeoi)
		pic->lowest = input;
}

/* INTA: the vector of the request, or the spurious one when it was withdrawn. */
static uint8_t acknowledge(struct pic *pic)
{
	int input = next_request(pic);

	if (input < 0)
		return pic->vector_base | SPURIOUS;
	accept(pic, input);
	if (pic == &pic->pair->master && input == CASCADE)
		return acknowledge(&pic->pair->slave);
	return pic->vector_base | input;
}

static int i8259_acknowledge(void *opaque)
{
	struct i8259 *pair = opaque;
	int vector = acknowledge(&pair->master);

	update(pair);
	return vector;
}

void i8259_set(struct device *dev, unsigned irq, bool level)
{
	struct i8259 *pair = to_i8259(dev);

	if (irq >= 8)
		set_input(&pair->slave, irq - 8, level);
	else if (irq != CASCADE)
		set_input(&pair->master, irq, level);
	update(pair);
}

static void initialise(struct pic *pic, uint8_t icw1)
{
	pic->irr = pic->input & pic->elcr;
	pic->isr = pic->imr = 0;
	pic->lowest = 7;
	pic->read_isr = pic->poll = pic->special_mask = false;
	pic->auto_eoi = pic->rotate_on_aeoi = pic->special_nested = false;
	pic->needs_icw4 = icw1 & ICW1_IC4;
	pic->single = icw1 & ICW1_SINGLE;
	pic->init = 2;
}

/* OCW2: end of interrupt and rotation (231468, figure 8). */
static void command(struct pic *pic, uint8_t value)
{
	unsigned level = OCW2_LEVEL(value);
	uint8_t serving = pic->special_mask ? pic->isr & ~pic->imr : pic->isr;
	int top = highest(pic, serving);

	switch (OCW2_COMMAND(value)) {
	case 0: pic->rotate_on_aeoi = false; break;
	case 4: pic->rotate_on_aeoi = true; break;
	case 1:
	case 5:
		if (top < 0)
			break;
		pic->isr &= ~(1 << top);
		if (OCW2_COMMAND(value) == 5)
			pic->lowest = top;
		break;
	case 3: pic->isr &= ~(1 << level); break;
	case 6: pic->lowest = level; break;
	case 7:
		pic->isr &= ~(1 << level);
		pic->lowest = level;
		break;
	}
}

static void write_ocw3(struct pic *pic, uint8_t value)
{
	if (value & OCW3_POLL)
		pic->poll = true;
	if (value & OCW3_RR)
		pic->read_isr = value & OCW3_RIS;
	if (value & OCW3_ESMM)
		pic->special_mask = value & OCW3_SMM;
}

static void write_data(struct pic *pic, uint8_t value)
{
	switch (pic->init) {
	case 2:
		pic->vector_base = value & 0xf8;
		pic->init = pic->single ? (pic->needs_icw4 ? 4 : 0) : 3;
		break;
	case 3: pic->init = pic->needs_icw4 ? 4 : 0; break; /* the cascade is wired as it is */
	case 4:
		pic->auto_eoi = value & ICW4_AEOI;
		pic->special_nested = value & ICW4_SFNM;
		pic->init = 0;
		break;
	default: pic->imr = value; break;
	}
}

static void pic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pic *pic = opaque;

	if (offset == 1)
		write_data(pic, value);
	else if (value & ICW1)
		initialise(pic, value);
	else if (value & OCW3)
		write_ocw3(pic, value);
	else
		command(pic, value);
	update(pic->pair);
}

/* The poll command's answer is an acknowledge (231468, "Poll command"). */
static uint8_t poll(struct pic *pic)
{
	int input = next_request(pic);

	pic->poll = false;
	if (input < 0)
		return 0;
	accept(pic, input);
	update(pic->pair);
	return 0x80 | input;
}

static uint64_t pic_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pic *pic = opaque;

	if (pic->poll)
		return poll(pic);
	if (offset == 1)
		return pic->imr;
	return pic->read_isr ? pic->isr : pic->irr;
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i8259 *pair = opaque;

	return offset ? pair->slave.elcr : pair->master.elcr;
}

static void elcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct i8259 *pair = opaque;
	struct pic *pic = offset ? &pair->slave : &pair->master;

	pic->elcr = value & pic->elcr_mask;
	pic->irr = (pic->irr & ~pic->elcr) | (pic->input & pic->elcr);
	update(pair);
}

static const struct region_ops pic_ops = {.read = pic_read, .write = pic_write, .max_access = 1};
static const struct region_ops elcr_ops = {
	.read = elcr_read,
	.write = elcr_write,
	.max_access = 1,
};

static void reset_one(struct pic *pic)
{
	pic->elcr = 0;
	pic->vector_base = 0;
	initialise(pic, 0);
	pic->init = 0;
}

static void i8259_reset(struct device *dev)
{
	struct i8259 *pair = to_i8259(dev);

	reset_one(&pair->master);
	reset_one(&pair->slave);
	update(pair);
}

static void set_up(
	struct i8259 *pair, struct pic *pic, const char *name, uint64_t port, uint8_t elcr_mask)
{
	pic->pair = pair;
	pic->elcr_mask = elcr_mask;
	pic->region = (struct region){.name = name, .length = 2, .ops = &pic_ops, .opaque = pic};
	space_map(&pair->dev.machine->ports, &pic->region, port);
}

static int i8259_realize(struct device *dev, struct error *err)
{
	struct i8259 *pair = to_i8259(dev);

	/* Timer, keyboard, cascade, clock and coprocessor are always edges (PIIX, ELCR). */
	set_up(pair, &pair->master, "pic-master", 0x20, 0xf8);
	set_up(pair, &pair->slave, "pic-slave", 0xa0, 0xde);
	pair->elcr = (struct region){.name = "elcr", .length = 2, .ops = &elcr_ops, .opaque = pair};
	space_map(&dev->machine->ports, &pair->elcr, 0x4d0);
	dev->machine->ext_int = (struct machine_ext_int){i8259_acknowledge, pair};
	return 0;
}

static void i8259_unrealize(struct device *dev)
{
	struct i8259 *pair = to_i8259(dev);

	dev->machine->ext_int = (struct machine_ext_int){0};
	space_unmap(&pair->master.region);
	space_unmap(&pair->slave.region);
	space_unmap(&pair->elcr);
}

static void get_one(const struct pic *pic, struct pic_state *state)
{
	*state = (struct pic_state){
		.irr = pic->irr,
		.isr = pic->isr,
		.imr = pic->imr,
		.elcr = pic->elcr,
		.input = pic->input,
		.vector_base = pic->vector_base,
		.lowest = pic->lowest,
		.init = pic->init,
		.needs_icw4 = pic->needs_icw4,
		.single = pic->single,
		.read_isr = pic->read_isr,
		.poll = pic->poll,
		.special_mask = pic->special_mask,
		.auto_eoi = pic->auto_eoi,
		.rotate_on_aeoi = pic->rotate_on_aeoi,
		.special_nested = pic->special_nested,
	};
}

static void set_one(struct pic *pic, const struct pic_state *state)
{
	pic->irr = state->irr;
	pic->isr = state->isr;
	pic->imr = state->imr;
	pic->elcr = state->elcr & pic->elcr_mask;
	pic->input = state->input;
	pic->vector_base = state->vector_base;
	pic->lowest = state->lowest;
	pic->init = state->init;
	pic->needs_icw4 = state->needs_icw4;
	pic->single = state->single;
	pic->read_isr = state->read_isr;
	pic->poll = state->poll;
	pic->special_mask = state->special_mask;
	pic->auto_eoi = state->auto_eoi;
	pic->rotate_on_aeoi = state->rotate_on_aeoi;
	pic->special_nested = state->special_nested;
}

void i8259_get(struct device *dev, struct pic_state state[2])
{
	get_one(&to_i8259(dev)->master, &state[0]);
	get_one(&to_i8259(dev)->slave, &state[1]);
}

void i8259_set_state(struct device *dev, const struct pic_state state[2])
{
	set_one(&to_i8259(dev)->master, &state[0]);
	set_one(&to_i8259(dev)->slave, &state[1]);
	update(to_i8259(dev));
}

const struct device_type i8259_type = {
	.name = "isa-i8259",
	.bus = "ISA",
	.category = "Misc",
	.size = sizeof(struct i8259),
	.internal = true,
	.realize = i8259_realize,
	.reset = i8259_reset,
	.state = &state_nothing, /* it goes with the chips: board/irq-models.c */
	.unrealize = i8259_unrealize,
};
