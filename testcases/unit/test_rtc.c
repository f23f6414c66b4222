/* SPDX-License-Identifier: MIT */
/* The calendar against the C library's, and the RTC through its ports on a clock set by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "bus/isa.h"
#include "devices/chipset/calendar.h"
#include "devices/devices.h"
#include "machine/machine.h"

#define SECOND 1000000000ll
#define SET    0x80
#define BINARY 0x06 /* and 24 hours */

static struct machine machine;
static struct bus isa;
static struct error err;
static bool irq_level;
static unsigned irq_edges;

static void set_irq(void *opaque, unsigned pin, bool level)
{
	irq_edges += level && !irq_level;
	irq_level = level;
}

static void write_cmos(uint8_t index, uint8_t value)
{
	space_write(&machine.ports, 0x70, index, 1);
	space_write(&machine.ports, 0x71, value, 1);
}

static uint8_t read_cmos(uint8_t index)
{
	space_write(&machine.ports, 0x70, index, 1);
	return space_read(&machine.ports, 0x71, 1);
}

/* The clock stands; time passes when the test says so. */
static void pass(int64_t ns)
{
	machine.clock.frozen += ns;
}

static int set_up(void **state)
{
	machine_init(&machine, loop_create("test", &err), &err);
	isa_bus_init(&isa, &machine);
	machine.gsi[8] = (struct irq_line){.set = set_irq, .pin = 8};
	irq_level = false;
	irq_edges = 0;
	assert_non_null(device_create(&machine, &mc146818rtc_type, NULL, NULL, &err));
	return 0;
}

static int tear_down(void **state)
{
	struct loop *loop = machine.loop;

	machine_destroy(&machine);
	bus_unregister(&isa);
	loop_destroy(loop);
	return 0;
}

/* B's mode bits, then the six fields as they are to stand in the registers. */
static void set_time(uint8_t mode, uint8_t century, uint8_t year, uint8_t month, uint8_t day,
	uint8_t hour, uint8_t minute, uint8_t second)
{
	write_cmos(0x0b, SET | mode);
	write_cmos(0x32, century);
	write_cmos(9, year);
	write_cmos(8, month);
	write_cmos(7, day);
	write_cmos(4, hour);
	write_cmos(2, minute);
	write_cmos(0, second);
	write_cmos(0x0b, mode);
}

static void calendar_agrees_with_libc(void **state)
{
	/* Every 13 hours and a bit over 800 years. */
	for (int64_t t = -12622780800ll; t < 12622780800ll; t += 47111) {
		struct calendar cal;
		struct tm tm;
		time_t libc = t;

		gmtime_r(&libc, &tm);
		calendar_from_seconds(t, &cal);
		assert_int_equal(cal.year, tm.tm_year + 1900);
		assert_int_equal(cal.month, tm.tm_mon + 1);
		assert_int_equal(cal.day, tm.tm_mday);
		assert_int_equal(cal.hour, tm.tm_hour);
		assert_int_equal(cal.minute, tm.tm_min);
		assert_int_equal(cal.second, tm.tm_sec);
		assert_int_equal(cal.weekday, tm.tm_wday);
		assert_int_equal(calendar_to_seconds(&cal), t);
	}
}

static void calendar_carries(void **state)
{
	struct calendar cal = {.year = 2023, .month = 14, .day = 31, .hour = 25};
	struct calendar out;

	calendar_from_seconds(calendar_to_seconds(&cal), &out);
	assert_int_equal(out.year, 2024);
	assert_int_equal(out.month, 3);
	assert_int_equal(out.day, 3);
	assert_int_equal(out.hour, 1);
}

static void month_ends(void **state)
{
	static const struct {
		uint8_t century, year, month, day, next_month, next_day;
	} ends[] = {
		{20, 23, 2, 28, 3, 1},
		{20, 24, 2, 28, 2, 29},
		{20, 24, 2, 29, 3, 1},
		{20, 0, 2, 28, 2, 29},
		{21, 0, 2, 28, 3, 1},
		{20, 80, 4, 30, 5, 1},
		{20, 80, 1, 31, 2, 1},
		{19, 99, 11, 30, 12, 1},
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		set_time(BINARY, ends[i].century, ends[i].year, ends[i].month, ends[i].day, 23, 59,
			59);
		pass(SECOND);
		assert_int_equal(read_cmos(8), ends[i].next_month);
		assert_int_equal(read_cmos(7), ends[i].next_day);
		assert_int_equal(read_cmos(0), 0);
	}
}

static void century_turns(void **state)
{
	set_time(0x02, 0x20, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59);
	pass(SECOND);
	assert_int_equal(read_cmos(0x32), 0x21);
	assert_int_equal(read_cmos(9), 0);
}

static void twelve_hours(void **state)
{
	static const struct {
		uint8_t hour, next;
	} turns[] = {{0x11, 0x92}, {0x92, 0x81}, {0x91, 0x12}, {0x12, 0x01}, {0x01, 0x02}};

	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		set_time(0x00, 0x20, 0x26, 0x06, 0x15, turns[i].hour, 0x59, 0x59);
		assert_int_equal(read_cmos(4), turns[i].hour);
		pass(SECOND);
		assert_int_equal(read_cmos(4), turns[i].next);
	}
}

static void extreme_times(void **state)
{
	/* Bytes that are no time must neither trap nor stop the clock. */
	for (unsigned mode = 0; mode < 8; mode += 2) {
		set_time(mode, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
		pass(SECOND);
		read_cmos(0);
		set_time(mode, 0, 0, 0, 0, 0, 0, 0);
		pass(SECOND);
		read_cmos(0);
		assert_int_equal(read_cmos(0x0c) & 0x10, 0x10);
	}
	set_time(BINARY, 20, 26, 1, 1, 0, 0, 0);
	pass(5 * SECOND);
	assert_int_equal(read_cmos(0), 5);
}

static void weekday_is_its_own(void **state)
{
	set_time(BINARY, 20, 26, 1, 1, 23, 59, 58);
	write_cmos(6, 7);
	assert_int_equal(read_cmos(6), 7);
	pass(2 * SECOND);
	assert_int_equal(read_cmos(6), 1);
}

static void divider_reset_half_second(void **state)
{
	set_time(BINARY, 20, 26, 1, 1, 0, 0, 10);
	write_cmos(0x0a, 0x76);
	pass(3 * SECOND);
	assert_int_equal(read_cmos(0), 10);
	write_cmos(0x0a, 0x26);
	pass(SECOND / 2 - 1000);
	assert_int_equal(read_cmos(0), 10);
	assert_int_equal(read_cmos(0x0a) & 0x80, 0x80);
	pass(2000);
	assert_int_equal(read_cmos(0), 11);
}

static void periodic_flags(void **state)
{
	/* Codes 3 to 15: 8192 Hz to 2 Hz; 1 and 2: 256 and 128 Hz. */
	for (unsigned code = 1; code < 16; code++) {
		int64_t hz = code == 1 ? 256 : code == 2 ? 128 : 32768 >> (code - 1);

		write_cmos(0x0a, 0x70);
		write_cmos(0x0a, 0x20 | code);
		read_cmos(0x0c);
		for (unsigned i = 0; i < 4; i++) {
			pass(SECOND / hz - 100);
			assert_int_equal(read_cmos(0x0c) & 0x40, 0);
			pass(200);
			assert_int_equal(read_cmos(0x0c) & 0x40, 0x40);
			pass(-100);
		}
	}
}

static void alarm_matches(void **state)
{
	set_time(BINARY, 20, 26, 1, 1, 12, 34, 50);
	write_cmos(1, 55);
	write_cmos(3, 0xc0);
	write_cmos(5, 0xff);
	read_cmos(0x0c);
	pass(4 * SECOND);
	assert_int_equal(read_cmos(0x0c) & 0x20, 0);
	pass(SECOND);
	assert_int_equal(read_cmos(0x0c), 0x30 | (read_cmos(0x0a) & 0x0f ? 0x40 : 0));
	pass(59 * SECOND);
	assert_int_equal(read_cmos(0x0c) & 0x20, 0);
	pass(SECOND);
	assert_int_equal(read_cmos(0x0c) & 0x20, 0x20);
}

static void flag_raises_when_enabled(void **state)
{
	pass(2 * SECOND);
	assert_false(irq_level);
	write_cmos(0x0b, 0x12); /* UIE while UF is set */
	assert_true(irq_level);
	assert_int_equal(read_cmos(0x0c) & 0x90, 0x90);
	assert_false(irq_level);
	assert_int_equal(irq_edges, 1);
	assert_int_equal(read_cmos(0x0c), 0);
}

#define RTC_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calendar_agrees_with_libc),
		cmocka_unit_test(calendar_carries),
		RTC_TEST(month_ends),
		RTC_TEST(century_turns),
		RTC_TEST(twelve_hours),
		RTC_TEST(extreme_times),
		RTC_TEST(weekday_is_its_own),
		RTC_TEST(divider_reset_half_second),
		RTC_TEST(periodic_flags),
		RTC_TEST(alarm_matches),
		RTC_TEST(flag_raises_when_enabled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
