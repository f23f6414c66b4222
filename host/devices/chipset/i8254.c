/* SPDX-License-Identifier: MIT */
/*
 * The programmable interval timer 8254 (Intel 231164) at ports 0x40 to 0x43, with the PC/AT's port
 * 0x61, which gates counter 2 and shows its output.
 *
 * Nothing ticks: the counting element is computed from the VM's clock when somebody looks, and one
 * timer stands for the next edge of counter 0's output, which is interrupt 0.
 *
 * A new count written in modes 2 and 3 takes effect at the end of the current period (231164,
 * "Mode 2"); in the others at once.
 */
#include "devices/chipset/i8254.h"

#include <errno.h>
#include <string.h>

#include "devices/devices.h"
#include "machine/machine.h"

#define FREQUENCY 1193182 /* Hz: 14.31818 MHz / 12 */
#define NS	  1000000000LL

#define PORT_BASE    0x40
#define PORT_CONTROL 3
#define PORT_61	     0x61

/* control word (231164, figure 7) */
#define CONTROL_COUNTER(w)  ((w) >> 6)
#define CONTROL_ACCESS(w)   ((w) >> 4 & 3)
#define CONTROL_MODE(w)	    ((w) >> 1 & 7)
#define CONTROL_BCD	    0x01
#define READ_BACK	    3
#define READ_BACK_NO_COUNT  0x20
#define READ_BACK_NO_STATUS 0x10

#define STATUS_OUT  0x80
#define STATUS_NULL 0x40

enum access { ACCESS_LATCH, ACCESS_LSB, ACCESS_MSB, ACCESS_WORD };

struct pit {
	struct device dev;
	struct region region, region61;
	struct pit_counter counters[3];
	struct vm_timer timer; /* the next edge of counter 0 */
	bool speaker;
};

static struct pit *to_pit(struct device *dev)
{
	return container_of(dev, struct pit, dev);
}

static int64_t now(const struct pit *pit)
{
	return vm_clock_now(&pit->dev.machine->clock);
}

static int64_t to_ticks(int64_t ns)
{
	return (__int128)ns * FREQUENCY / NS;
}

/* The first instant at which so many ticks have passed. */
static int64_t to_ns(int64_t ticks)
{
	return ((__int128)ticks * NS + FREQUENCY - 1) / FREQUENCY;
}

static bool is_periodic(const struct pit_counter *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool is_triggered_by_gate(const struct pit_counter *c)
{
	return c->mode == 1 || c->mode == 5;
}

/* Ticks since the load; periods that ended are taken off, and a waiting count then begins. */
static int64_t elapsed(struct pit_counter *c, int64_t at)
{
	int64_t ticks = c->paused >= 0 ? c->paused : to_ticks(at - c->start);

	if (c->next && is_periodic(c) && c->paused < 0 && ticks >= c->reload) {
		c->start += to_ns(c->reload);
		c->reload = c->next;
		c->next = 0;
		ticks = to_ticks(at - c->start);
		if (ticks < 0)
			ticks = 0;
	}
	return ticks;
}

static bool counts(const struct pit_counter *c)
{
	return c->loaded && (!is_triggered_by_gate(c) || c->triggered);
}

/* OUT (231164, "Mode definitions"). */
static bool output(struct pit_counter *c, int64_t at)
{
	int64_t ticks;

	if (!counts(c))
		return c->mode != 0;
	ticks = elapsed(c, at);
	switch (c->mode) {
	case 0:
	case 1: return ticks >= c->reload;
	case 2: return c->paused >= 0 || ticks % c->reload != c->reload - 1;
	case 3: return c->paused >= 0 || ticks % c->reload < (c->reload + 1) / 2;
	default: return ticks != c->reload;
	}
}

static uint16_t to_bcd(uint32_t value)
{
	return value % 10 | (value / 10 % 10) << 4 | (value / 100 % 10) << 8 |
	       (value / 1000 % 10) << 12;
}

static uint32_t from_bcd(uint16_t value)
{
	return (value & 0xf) + (value >> 4 & 0xf) * 10 + (value >> 8 & 0xf) * 100 +
	       (value >> 12) * 1000;
}

static uint16_t count(struct pit_counter *c, int64_t at)
{
	uint32_t modulus = c->bcd ? 10000 : 65536, value;
	int64_t ticks, half;

	if (!counts(c))
		return c->bcd ? to_bcd(c->reload % modulus) : c->reload;
	ticks = elapsed(c, at);
	if (c->mode == 2) {
		value = c->reload - ticks % c->reload;
	} else if (c->mode == 3) {
		/* By two in each half period; an odd count loads one less (high half: 3.5). */
		half = (c->reload + 1) / 2;
		ticks %= c->reload;
		value = (c->reload & ~1u) - 2 * (ticks < half ? ticks : ticks - half);
	} else {
		/* Runs on below zero, around the modulus. */
		value = (c->reload + modulus - ticks % modulus) % modulus;
	}
	value %= modulus;
	return c->bcd ? to_bcd(value) : value;
}

/* The tick, from the load, of the next edge after `ticks`; -1: none comes. */
static int64_t next_edge(const struct pit_counter *c, int64_t ticks)
{
	int64_t period = c->reload, within = ticks % period, base = ticks - within;

	if (!counts(c) || c->paused >= 0)
		return -1;
	switch (c->mode) {
	case 0:
	case 1: return ticks < period ? period : -1;
	case 2: return within < period - 1 ? base + period - 1 : base + period;
	case 3: return within < (period + 1) / 2 ? base + (period + 1) / 2 : base + period;
	default: return ticks < period ? period : ticks == period ? period + 1 : -1;
	}
}

/* Sets interrupt 0 to OUT and arms the timer for its next edge. */
static void update_irq(struct pit *pit)
{
	struct pit_counter *c = &pit->counters[0];
	int64_t at = now(pit), edge;

	irq_set(&pit->dev.machine->gsi[0], output(c, at));
	edge = counts(c) ? next_edge(c, elapsed(c, at)) : -1;
	if (edge < 0)
		vm_timer_cancel(&pit->timer);
	else
		vm_timer_arm(&pit->timer, c->start + to_ns(edge));
}

/*
 * An edge of counter 0 is due.  The low pulse of modes 2 and 4 is one tick long and a host is often
 * later than that, so the line goes low first: a pulse that is over was still a pulse.
 */
static void timer_expired(void *opaque)
{
	struct pit *pit = opaque;

	irq_set(&pit->dev.machine->gsi[0], false);
	update_irq(pit);
}

static void load(struct pit *pit, struct pit_counter *c, uint16_t written)
{
	uint32_t value = c->bcd ? from_bcd(written) : written;
	int64_t at = now(pit);

	if (!value)
		value = c->bcd ? 10000 : 65536;
	if (is_periodic(c) && c->loaded) {
		elapsed(c, at);
		c->next = value;
		return;
	}
	if (is_triggered_by_gate(c) && c->triggered) {
		/* The new count waits for the next trigger. */
		c->next = value;
		return;
	}
	c->reload = value;
	c->loaded = true;
	c->start = at;
	c->paused = c->gate || is_triggered_by_gate(c) ? -1 : 0;
}

static void set_gate(struct pit *pit, struct pit_counter *c, bool gate)
{
	int64_t at = now(pit);
	bool rises = gate && !c->gate;

	if (gate == c->gate)
		return;
	if (is_triggered_by_gate(c)) {
		if (rises && c->loaded) {
			if (c->next)
				c->reload = c->next;
			c->next = 0;
			c->triggered = true;
			c->start = at;
		}
	} else if (!gate) {
		c->paused = counts(c) ? elapsed(c, at) : 0;
	} else if (c->loaded) {
		/* Modes 2 and 3 begin anew, 0 and 4 go on. */
		c->start = at - (is_periodic(c) ? 0 : to_ns(c->paused));
		c->paused = -1;
	}
	c->gate = gate;
}

static void latch_count(struct pit *pit, struct pit_counter *c)
{
	if (c->count_latched)
		return;
	c->latch = count(c, now(pit));
	c->count_latched = true;
}

static void latch_status(struct pit *pit, struct pit_counter *c)
{
	if (c->status_latched)
		return;
	c->status = c->control | (output(c, now(pit)) ? STATUS_OUT : 0) |
		    (!c->loaded || c->next ? STATUS_NULL : 0);
	c->status_latched = true;
}

static void read_back(struct pit *pit, uint8_t word)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(word & 2u << i))
			continue;
		if (!(word & READ_BACK_NO_COUNT))
			latch_count(pit, &pit->counters[i]);
		if (!(word & READ_BACK_NO_STATUS))
			latch_status(pit, &pit->counters[i]);
	}
}

static void write_control(struct pit *pit, uint8_t word)
{
	unsigned index = CONTROL_COUNTER(word);
	struct pit_counter *c = &pit->counters[index];
	bool gate;

	if (index == READ_BACK) {
		read_back(pit, word);
		return;
	}
	if (CONTROL_ACCESS(word) == ACCESS_LATCH) {
		latch_count(pit, c);
		return;
	}
	gate = c->gate;
	*c = (struct pit_counter){
		.control = word & 0x3f,
		.access = CONTROL_ACCESS(word),
		.mode = CONTROL_MODE(word) > 5 ? CONTROL_MODE(word) - 4 : CONTROL_MODE(word),
		.bcd = word & CONTROL_BCD,
		.gate = gate,
		.reload = 65536,
		.paused = -1,
	};
	if (index == 0)
		update_irq(pit);
}

static void write_counter(struct pit *pit, unsigned index, uint8_t value)
{
	struct pit_counter *c = &pit->counters[index];

	switch (c->access) {
	case ACCESS_LSB: load(pit, c, value); break;
	case ACCESS_MSB: load(pit, c, value << 8); break;
	case ACCESS_WORD:
		if (!c->write_msb) {
			c->write_lsb = value;
			/* In mode 0 the first byte stops the counter (231164, "Mode 0"). */
			if (c->mode == 0)
				c->loaded = false;
		} else {
			load(pit, c, c->write_lsb | value << 8);
		}
		c->write_msb = !c->write_msb;
		break;
	default: return;
	}
	if (index == 0)
		update_irq(pit);
}

static uint8_t read_counter(struct pit *pit, unsigned index)
{
	struct pit_counter *c = &pit->counters[index];
	uint16_t value;
	bool msb;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	value = c->count_latched ? c->latch : count(c, now(pit));
	msb = c->access == ACCESS_MSB || (c->access == ACCESS_WORD && c->read_msb);
	if (c->access == ACCESS_WORD)
		c->read_msb = !c->read_msb;
	if (c->access != ACCESS_WORD || msb)
		c->count_latched = false;
	return msb ? value >> 8 : value;
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
	/* The control register cannot be read: the bus floats. */
	return offset == PORT_CONTROL ? 0xff : read_counter(opaque, offset);
}

static void pit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	if (offset == PORT_CONTROL)
		write_control(opaque, value);
	else
		write_counter(opaque, offset, value);
}

/* Bits 0 and 1 as written, 4: refresh, toggles every 15 us, 5: OUT of counter 2. */
static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size)
{
	struct pit *pit = opaque;
	struct pit_counter *c = &pit->counters[2];

	return c->gate | pit->speaker << 1 | (to_ticks(now(pit)) / 18 & 1) << 4 |
	       output(c, now(pit)) << 5;
}

static void port61_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pit *pit = opaque;

	pit->speaker = value & 2;
	set_gate(pit, &pit->counters[2], value & 1);
}

static const struct region_ops pit_ops = {.read = pit_read, .write = pit_write, .max_access = 1};
static const struct region_ops port61_ops = {
	.read = port61_read,
	.write = port61_write,
	.max_access = 1,
};

/* A real 8254 comes up undefined; so that nobody depends on it: mode 3, not loaded, OUT high. */
static void pit_reset(struct device *dev)
{
	struct pit *pit = to_pit(dev);

	for (unsigned i = 0; i < 3; i++)
		pit->counters[i] = (struct pit_counter){
			.control = ACCESS_WORD << 4 | 3 << 1,
			.access = ACCESS_WORD,
			.mode = 3,
			.gate = i != 2,
			.reload = 65536,
			.paused = -1,
		};
	pit->speaker = false;
	vm_timer_cancel(&pit->timer);
}

static int pit_realize(struct device *dev, struct error *err)
{
	struct pit *pit = to_pit(dev);

	vm_timer_init(&pit->timer, &dev->machine->clock, timer_expired, pit);
	pit->region = (struct region){.name = "pit", .length = 4, .ops = &pit_ops, .opaque = pit};
	pit->region61 =
		(struct region){.name = "port61", .length = 1, .ops = &port61_ops, .opaque = pit};
	space_map(&dev->machine->ports, &pit->region, PORT_BASE);
	space_map(&dev->machine->ports, &pit->region61, PORT_61);
	return 0;
}

static void pit_unrealize(struct device *dev)
{
	struct pit *pit = to_pit(dev);

	vm_timer_cancel(&pit->timer);
	space_unmap(&pit->region);
	space_unmap(&pit->region61);
}

void i8254_get(struct device *dev, struct pit_state *state)
{
	const struct pit *pit = to_pit(dev);

	memcpy(state->counters, pit->counters, sizeof(state->counters));
	state->speaker = pit->speaker;
}

int i8254_set(struct device *dev, const struct pit_state *state, struct error *err)
{
	struct pit *pit = to_pit(dev);
	struct pit_counter *c = &pit->counters[0];
	int64_t edge;

	for (unsigned i = 0; i < 3; i++)
		if (state->counters[i].start > now(pit))
			return error_set(
				err, EINVAL, "field pit.counters.%u.start: in the future", i);
	memcpy(pit->counters, state->counters, sizeof(pit->counters));
	pit->speaker = state->speaker;
	/* Interrupt 0 is at its level already: it is the controllers' state. */
	edge = counts(c) ? next_edge(c, elapsed(c, now(pit))) : -1;
	if (edge < 0)
		vm_timer_cancel(&pit->timer);
	else
		vm_timer_arm(&pit->timer, c->start + to_ns(edge));
	return 0;
}

const struct device_type i8254_type = {
	.name = "isa-pit",
	.bus = "ISA",
	.category = "Misc",
	.size = sizeof(struct pit),
	.internal = true,
	.realize = pit_realize,
	.reset = pit_reset,
	.state = &state_nothing, /* it goes with the chips: board/irq-models.c */
	.unrealize = pit_unrealize,
};
