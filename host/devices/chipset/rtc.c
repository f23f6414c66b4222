/* SPDX-License-Identifier: MIT */
/*
 * Real-time clock and CMOS memory, MC146818A (Motorola, 1984) as PIIX3 has it: ports 0x70 and
 * 0x71, IRQ 8, 128 bytes, century in 0x32.
 *
 * Nothing ticks.  The time is the VM's clock plus an offset, computed when it is read; flags are
 * worked out for the span since they were last worked out; a timer runs only while an enabled
 * interrupt is due.  With SET or the divider in reset the time stands in the registers.
 *
 * The divider chain, and with it the periodic rate and the phase of the second, goes on while SET
 * is 1; only the divider's reset stops it, and after that the first update comes half a second
 * later.  The registers show the old time until an update's end, when UIP falls.
 *
 * Left out: daylight saving (DSE), the square wave, other crystals than 32768 Hz.
 */
#include <errno.h>

#include "base/log.h"
#include "devices/chipset/calendar.h"
#include "devices/chipset/rtc.h"
#include "devices/devices.h"
#include "machine/machine.h"

#define RTC_BASE  0x70
#define RTC_IRQ	  8
#define CMOS_SIZE 128

enum {
	REG_SECONDS,
	REG_SECONDS_ALARM,
	REG_MINUTES,
	REG_MINUTES_ALARM,
	REG_HOURS,
	REG_HOURS_ALARM,
	REG_WEEKDAY,
	REG_DAY,
	REG_MONTH,
	REG_YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	REG_CENTURY = 0x32,
	REG_CENTURY_PS2 = 0x37, /* the same byte at the PS/2's place */
};

#define A_UIP	     0x80
#define A_DIVIDER    0x70
#define A_RATE	     0x0f
#define DIVIDER_32K  0x20
#define DIVIDER_HELD 0x60 /* both bits: in reset */

#define B_SET	0x80
#define B_PIE	0x40
#define B_AIE	0x20
#define B_UIE	0x10
#define B_SQWE	0x08
#define B_DM	0x04 /* 1: binary */
#define B_24H	0x02
#define C_IRQF	0x80
#define C_FLAGS 0x70 /* PF, AF, UF stand where their enables do */
#define D_VRT	0x80

#define HOUR_PM	    0x80
#define ALARM_ANY   0xc0 /* both bits: matches always */
#define SECOND	    1000000000ll
#define UIP_AHEAD   2228000ll /* ns: 244 us of warning and 1984 us of update (table 2) */
#define CRYSTAL_HZ  32768
#define DAY_SECONDS 86400
#define NEVER	    INT64_MAX

struct rtc {
	struct device dev;
	struct region region;
	struct irq_line irq;
	struct vm_timer timer;
	uint8_t index;
	uint8_t cmos[CMOS_SIZE];
	/* Of the calendar: base + the clock's rtc_offset + whole seconds of (VM time + phase). */
	int64_t base;	   /* s */
	int64_t phase;	   /* ns, below a second: the divider chain's */
	int64_t evaluated; /* VM time up to which the flags of register C are right */
	int weekday_shift; /* what the guest set, less what the calendar says */
};

static struct rtc *from_device(struct device *dev)
{
	return container_of(dev, struct rtc, dev);
}

static bool divider_held(const struct rtc *rtc)
{
	return (rtc->cmos[REG_A] & A_DIVIDER) > DIVIDER_32K;
}

/* Do updates of the time take place? */
static bool is_running(const struct rtc *rtc)
{
	return !(rtc->cmos[REG_B] & B_SET) && !divider_held(rtc);
}

static int64_t vm_now(const struct rtc *rtc)
{
	return vm_clock_now(&rtc->dev.machine->clock);
}

static int64_t total_base(const struct rtc *rtc)
{
	return rtc->base + rtc->dev.machine->clock.rtc_offset;
}

/* The calendar's seconds and the divider chain's place within the second. */
static int64_t seconds_at(const struct rtc *rtc, int64_t now)
{
	return total_base(rtc) + (now + rtc->phase) / SECOND;
}

static int64_t fraction_at(const struct rtc *rtc, int64_t now)
{
	return (now + rtc->phase) % SECOND;
}

static uint8_t encode(const struct rtc *rtc, int value)
{
	if (rtc->cmos[REG_B] & B_DM)
		return value;
	return value / 10 << 4 | value % 10;
}

static int decode(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[REG_B] & B_DM)
		return value;
	return (value >> 4) * 10 + (value & 0x0f);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	if (rtc->cmos[REG_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
	if (rtc->cmos[REG_B] & B_24H)
		return decode(rtc, value);
	return decode(rtc, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

/* Brings the time registers up to date, if the time is running. */
static void registers_from_time(struct rtc *rtc)
{
	struct calendar cal;

	if (!is_running(rtc))
		return;
	calendar_from_seconds(seconds_at(rtc, vm_now(rtc)), &cal);
	rtc->cmos[REG_SECONDS] = encode(rtc, cal.second);
	rtc->cmos[REG_MINUTES] = encode(rtc, cal.minute);
	rtc->cmos[REG_HOURS] = encode_hour(rtc, cal.hour);
	rtc->cmos[REG_WEEKDAY] = encode(rtc, (cal.weekday + rtc->weekday_shift) % 7 + 1);
	rtc->cmos[REG_DAY] = encode(rtc, cal.day);
	rtc->cmos[REG_MONTH] = encode(rtc, cal.month);
	rtc->cmos[REG_YEAR] = encode(rtc, (int)(cal.year % 100));
	rtc->cmos[REG_CENTURY] = encode(rtc, (int)(cal.year / 100 % 100));
}

/* The registers were written: the calendar goes on from them, with the divider at `fraction`. */
static void time_from_registers(struct rtc *rtc, int64_t fraction)
{
	struct calendar cal = {
		.year = decode(rtc, rtc->cmos[REG_CENTURY]) * 100 +
			decode(rtc, rtc->cmos[REG_YEAR]),
		.month = decode(rtc, rtc->cmos[REG_MONTH]),
		.day = decode(rtc, rtc->cmos[REG_DAY]),
		.hour = decode_hour(rtc, rtc->cmos[REG_HOURS]),
		.minute = decode(rtc, rtc->cmos[REG_MINUTES]),
		.second = decode(rtc, rtc->cmos[REG_SECONDS]),
	};
	int64_t seconds = calendar_to_seconds(&cal), now = vm_now(rtc);
	int weekday = decode(rtc, rtc->cmos[REG_WEEKDAY]) + 6;

	rtc->phase = (fraction - now % SECOND + SECOND) % SECOND;
	rtc->base += seconds - seconds_at(rtc, now);
	calendar_from_seconds(seconds, &cal);
	rtc->weekday_shift = (weekday % 7 - cal.weekday + 7) % 7;
}

/* Ticks of the periodic interrupt a second; 0: off.  Codes 1 and 2 repeat 8 and 9. */
static int64_t periodic_rate(const struct rtc *rtc)
{
	unsigned code = rtc->cmos[REG_A] & A_RATE;

	if (!code || divider_held(rtc))
		return 0;
	if (code <= 2)
		code += 7;
	return CRYSTAL_HZ >> (code - 1);
}

static int64_t periodic_count(const struct rtc *rtc, int64_t rate, int64_t now)
{
	return seconds_at(rtc, now) * rate + fraction_at(rtc, now) * rate / SECOND;
}

static bool alarm_field_matches(uint8_t alarm, uint8_t value)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == value;
}

/* The first second after `after` that the alarm matches, or NEVER if no time of day does. */
static int64_t next_alarm(const struct rtc *rtc, int64_t after)
{
	int64_t at = after + 1, end = at + DAY_SECONDS;

	while (at < end) {
		int64_t of_day = (at % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS;

		if (!alarm_field_matches(
			    rtc->cmos[REG_HOURS_ALARM], encode_hour(rtc, (int)(of_day / 3600))))
			at += 3600 - of_day % 3600;
		else if (!alarm_field_matches(rtc->cmos[REG_MINUTES_ALARM],
				 encode(rtc, (int)(of_day / 60 % 60))))
			at += 60 - of_day % 60;
		else if (!alarm_field_matches(
				 rtc->cmos[REG_SECONDS_ALARM], encode(rtc, (int)(of_day % 60))))
			at++;
		else
			return at;
	}
	return NEVER;
}

/* Sets the flags of what happened since the last call.  Before any change of A, B, alarm or time.
 */
static void evaluate(struct rtc *rtc)
{
	int64_t now = vm_now(rtc), rate = periodic_rate(rtc);

	if (rate && periodic_count(rtc, rate, now) > periodic_count(rtc, rate, rtc->evaluated))
		rtc->cmos[REG_C] |= B_PIE;
	if (is_running(rtc)) {
		int64_t before = seconds_at(rtc, rtc->evaluated), after = seconds_at(rtc, now);

		if (after > before) {
			int64_t alarm = next_alarm(rtc, before);

			rtc->cmos[REG_C] |= B_UIE;
			if (alarm <= after)
				rtc->cmos[REG_C] |= B_AIE;
		}
	}
	rtc->evaluated = now;
}

/* VM time at which the calendar's clock shows `seconds` and `fraction`. */
static int64_t vm_time_of(const struct rtc *rtc, int64_t seconds, int64_t fraction)
{
	return (seconds - total_base(rtc)) * SECOND + fraction - rtc->phase;
}

static void earlier(int64_t *due, int64_t candidate)
{
	if (candidate < *due)
		*due = candidate;
}

/* Output and timer follow the flags and enables; the flags are up to date. */
static void update(struct rtc *rtc)
{
	uint8_t waiting = rtc->cmos[REG_B] & ~rtc->cmos[REG_C] & C_FLAGS;
	int64_t now = rtc->evaluated, due = NEVER, rate = periodic_rate(rtc);
	bool asserted = rtc->cmos[REG_B] & rtc->cmos[REG_C] & C_FLAGS;

	rtc->cmos[REG_C] = (rtc->cmos[REG_C] & C_FLAGS) | (asserted ? C_IRQF : 0);
	irq_set(&rtc->irq, asserted);

	if (!asserted) {
		/* While the output is asserted nothing more can be seen before C is read. */
		int64_t seconds = seconds_at(rtc, now);

		if ((waiting & B_PIE) && rate) {
			int64_t next = periodic_count(rtc, rate, now) + 1;
			/* Rounded up: at that instant the tick has happened. */
			earlier(&due, vm_time_of(rtc, next / rate,
					      (next % rate * SECOND + rate - 1) / rate));
		}
		if (is_running(rtc) && (waiting & B_UIE))
			earlier(&due, vm_time_of(rtc, seconds + 1, 0));
		if (is_running(rtc) && (waiting & B_AIE)) {
			int64_t alarm = next_alarm(rtc, seconds);

			if (alarm != NEVER)
				earlier(&due, vm_time_of(rtc, alarm, 0));
		}
	}
	if (due != NEVER)
		vm_timer_arm(&rtc->timer, due);
	else
		vm_timer_cancel(&rtc->timer);
}

static void timer_expired(void *opaque)
{
	struct rtc *rtc = opaque;

	evaluate(rtc);
	update(rtc);
}

static void write_a(struct rtc *rtc, uint8_t value)
{
	bool was_held = divider_held(rtc);

	registers_from_time(rtc);
	rtc->cmos[REG_A] = value & ~A_UIP;
	if (was_held && !divider_held(rtc))
		time_from_registers(rtc, SECOND / 2);
	/* Flags of the new rate count from here. */
	rtc->evaluated = vm_now(rtc);
}

static void write_b(struct rtc *rtc, uint8_t value)
{
	uint8_t old = rtc->cmos[REG_B];

	if (value & B_SET) {
		registers_from_time(rtc);
		value &= ~B_UIE; /* SET clears it (register B) */
		rtc->cmos[REG_B] = value;
	} else {
		rtc->cmos[REG_B] = value;
		if ((old & B_SET) && !divider_held(rtc))
			time_from_registers(rtc, fraction_at(rtc, vm_now(rtc)));
	}
}

static void write_time(struct rtc *rtc, unsigned index, uint8_t value)
{
	registers_from_time(rtc);
	rtc->cmos[index] = value;
	if (is_running(rtc))
		time_from_registers(rtc, fraction_at(rtc, vm_now(rtc)));
}

static void write_register(struct rtc *rtc, unsigned index, uint8_t value)
{
	if (index == REG_CENTURY_PS2)
		index = REG_CENTURY;
	evaluate(rtc);
	switch (index) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY: write_time(rtc, index, value); break;
	case REG_A: write_a(rtc, value); break;
	case REG_B: write_b(rtc, value); break;
	case REG_C:
	case REG_D: log_guest_error("mc146818rtc", "write of a read-only register ignored"); break;
	default: rtc->cmos[index] = value; break;
	}
	update(rtc);
}

static uint8_t read_register(struct rtc *rtc, unsigned index)
{
	uint8_t value;

	if (index == REG_CENTURY_PS2)
		index = REG_CENTURY;
	switch (index) {
	case REG_A:
		value = rtc->cmos[REG_A];
		if (is_running(rtc) && SECOND - fraction_at(rtc, vm_now(rtc)) <= UIP_AHEAD)
			value |= A_UIP;
		return value;
	case REG_C:
		evaluate(rtc);
		value = rtc->cmos[REG_C] & C_FLAGS;
		if (value & rtc->cmos[REG_B])
			value |= C_IRQF;
		rtc->cmos[REG_C] = 0;
		update(rtc);
		return value;
	case REG_D: return D_VRT;
	default:
		if (index <= REG_YEAR || index == REG_CENTURY)
			registers_from_time(rtc);
		return rtc->cmos[index];
	}
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
	struct rtc *rtc = opaque;

	return offset ? read_register(rtc, rtc->index) : 0xff; /* the index is write-only */
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct rtc *rtc = opaque;

	if (offset)
		write_register(rtc, rtc->index, value);
	else
		rtc->index = value & (CMOS_SIZE - 1); /* bit 7 masks the NMI */
}

static const struct region_ops rtc_ops = {
	.read = rtc_read,
	.write = rtc_write,
	.min_access = 1,
	.max_access = 1,
};

void rtc_set_cmos(struct device *dev, unsigned index, uint8_t value)
{
	from_device(dev)->cmos[index % CMOS_SIZE] = value;
}

static int rtc_realize(struct device *dev, struct error *err)
{
	struct rtc *rtc = from_device(dev);

	rtc->cmos[REG_A] = DIVIDER_32K | 6; /* 1024 Hz, as firmware sets it */
	rtc->cmos[REG_B] = B_24H;
	rtc->irq = dev->machine->gsi[RTC_IRQ];
	rtc->evaluated = vm_now(rtc);
	vm_timer_init(&rtc->timer, &dev->machine->clock, timer_expired, rtc);
	rtc->region = (struct region){
		.name = "rtc",
		.length = 2,
		.ops = &rtc_ops,
		.opaque = rtc,
	};
	space_map(&dev->machine->ports, &rtc->region, RTC_BASE);
	return 0;
}

/* The RESET pin: interrupts off, flags gone; time, alarm and memory are on the battery. */
static void rtc_reset(struct device *dev)
{
	struct rtc *rtc = from_device(dev);

	rtc->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	rtc->cmos[REG_C] = 0;
	rtc->evaluated = vm_now(rtc);
	update(rtc);
}

static void rtc_unrealize(struct device *dev)
{
	struct rtc *rtc = from_device(dev);

	vm_timer_cancel(&rtc->timer);
	space_unmap(&rtc->region);
}

#define BASE_MAX (INT64_C(1) << 40) /* s: the calendar's sums stay within their type */

static bool valid_base(const void *state, uint64_t value)
{
	return (int64_t)value >= -BASE_MAX && (int64_t)value <= BASE_MAX;
}

static int rtc_loaded(void *opaque, unsigned version, struct error *err)
{
	struct rtc *rtc = opaque;

	if (rtc->evaluated < 0 || rtc->evaluated > vm_now(rtc))
		return error_set(err, EINVAL, "evaluated: not in the past");
	update(rtc);
	return 0;
}

static const struct state_field state_fields[] = {
	STATE_UINT(struct rtc, index, .max = CMOS_SIZE - 1),
	STATE_UINTS(struct rtc, cmos),
	STATE_UINT(struct rtc, base, .valid = valid_base),
	STATE_UINT(struct rtc, phase, .max = SECOND - 1),
	STATE_UINT(struct rtc, evaluated),
	STATE_UINT(struct rtc, weekday_shift, .max = 6),
	STATE_END,
};

static const struct state_table state = {
	.name = "mc146818rtc", .version = 1, .fields = state_fields, .post_load = rtc_loaded};

const struct device_type mc146818rtc_type = {
	.name = "mc146818rtc",
	.bus = "ISA",
	.category = "Misc",
	.size = sizeof(struct rtc),
	.internal = true,
	.realize = rtc_realize,
	.reset = rtc_reset,
	.state = &state,
	.unrealize = rtc_unrealize,
};
