/* SPDX-License-Identifier: MIT */
/*
 * Kernel timers: the 8254 (Intel datasheet 231164) at ports 0x40 to 0x43, and counter 2's gate and
 * output at port 0x61. Times have a floor that cannot be wrong and a generous ceiling, because a
 * host may be busy. Left out, because no in-kernel PIT does it: BCD, the null-count flag, gates
 * that pause, a count that waits for the period.
 */
#include "kernels/timers/sources.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define STATUS_OUT 0x80

/*
 * The vector of counter 0, which has been silent, and is for 55 ms from now on: what an earlier
 * TEST loaded would else run out sooner or later.
 */
static unsigned pit_vector(void)
{
	unsigned vector = irq_vector();

	sources_ready();
	pit_load(0, 0, 0);
	ioapic_route(ioapic_isa_pin(0), vector, IOAPIC_EDGE);
	return vector;
}

#define SILENT_US 45000

/*
 * From the load on there are not more interrupts than periods, although those that a host lost may
 * be made up for in a hurry; and of many the closest two are not further apart than a period.
 */
TEST(pit_mode2_rate, "", "mode 2 interrupts once a period, at the divisor's rate",
	NEEDS("pit ioapic"))
{
	const uint16_t divisor = 2386; /* 2 ms */
	unsigned vector = 0;
	uint64_t start = 0, us;

	WITHIN_US (SILENT_US) {
		vector = pit_vector();
		ticks_note(vector);
		start = rdtsc();
		pit_load(0, 2, divisor);
	}
	ASSERT_TRUE(WAIT_UNTIL(irq_count(vector) >= 10, SOON_US));
	us = tsc_to_ns(rdtsc() - start) / 1000;
	/* Mode 0 held OUT low and mode 2 begins high (231164, "Mode 2"): that may be an edge too.
	 */
	EXPECT_GE(us, pit_us(9 * divisor) * 95 / 100);
	EXPECT_LE(ticks_closest_us(), pit_us(divisor) * 20);
	test_metric("us_for_10_periods", us);
}

TEST(pit_mode0_once, "", "mode 0 interrupts once, at terminal count, and not again",
	NEEDS("pit ioapic"))
{
	const uint16_t count = 2386;
	unsigned vector = 0;
	uint64_t start = 0;

	WITHIN_US (SILENT_US) {
		vector = pit_vector();
		start = rdtsc();
		pit_load(0, 0, count);
	}
	ASSERT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
	EXPECT_GE(tsc_to_ns(rdtsc() - start) / 1000, pit_us(count) * 95 / 100);
	delay_us(3 * pit_us(count));
	EXPECT_EQ(irq_count(vector), 1);
}

TEST(pit_mode4_once, "", "mode 4 interrupts once for a count", NEEDS("pit ioapic"))
{
	unsigned vector = 0;

	WITHIN_US (SILENT_US) {
		sources_ready();
		pit_load(0, 0, 0);
		pit_control(0, PIT_BOTH, 4); /* the output goes high now, which is an edge */
		vector = irq_vector();
		ioapic_route(ioapic_isa_pin(0), vector, IOAPIC_EDGE);
		outb(0x40, 1193 & 0xff);
		outb(0x40, 1193 >> 8);
	}
	ASSERT_TRUE(WAIT_UNTIL(irq_count(vector) >= 1, SOON_US));
	delay_us(3000);
	EXPECT_EQ(irq_count(vector), 1);
}

TEST(pit_half_count_waits, "", "after a control word and half of the count there is no interrupt",
	NEEDS("pit ioapic"))
{
	unsigned vector = 0;
	uint32_t early = 0;

	WITHIN_US (SILENT_US) {
		vector = pit_vector();
		pit_control(0, PIT_BOTH, 0);
		outb(0x40, 0x10);
		delay_us(2000);
		early = irq_count(vector);
	}
	EXPECT_EQ(early, 0);
	outb(0x40, 0x00);
	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
}

/* However long a read took, it was made between the two readings of the TSC around it. */
static uint64_t least_us, most_us;

static void measure_run(uint16_t *values)
{
	uint64_t before_first, after_first, before_last, after_last;

	pit_load(2, 0, 0xffff);
	before_first = rdtsc();
	values[0] = pit_latch(2);
	after_first = rdtsc();
	delay_us(10000);
	before_last = rdtsc();
	values[1] = pit_latch(2);
	after_last = rdtsc();
	least_us = tsc_to_ns(before_last - after_first) / 1000;
	most_us = tsc_to_ns(after_last - before_first) / 1000;
}

TEST(pit_counts_down, "", "the counter falls from its count at 1193182 Hz", NEEDS("pit"))
{
	uint16_t values[2];
	uint64_t counted;

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_run, values);
	counted = pit_us(values[0] - values[1]);
	EXPECT_LT(values[1], values[0]);
	EXPECT_GE(counted, least_us * 97 / 100);
	EXPECT_LE(counted, most_us * 103 / 100 + 5);
}

static void measure_rises(uint16_t *values)
{
	uint16_t last;

	pit_load(2, 0, 0xffff);
	last = pit_latch(2);
	values[0] = 0;
	for (int i = 0; i < 200; i++) {
		uint16_t now = pit_latch(2);

		values[0] += now > last;
		last = now;
	}
}

TEST(pit_never_goes_back, "", "successive reads within one period never rise", NEEDS("pit"))
{
	uint16_t rises;

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_rises, &rises);
	EXPECT_EQ(rises, 0);
}

static void measure_from_zero(uint16_t *values)
{
	pit_load(2, 2, 0);
	delay_us(5000);
	values[0] = pit_latch(2);
}

TEST(pit_zero_is_65536, "", "a count of 0 counts 65536", NEEDS("pit"))
{
	uint16_t now;

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_from_zero, &now);
	/* 10000 or less would be BCD's, and a count of nothing stays 0. */
	EXPECT_GE(now, 10001);
	EXPECT_LE(now, 65536 - 5000);
}

/* One reading in mode 2 with count 600: false when it is out of range. Counts how often it rose. */
static bool reading_in_range(uint16_t *last, unsigned *rises)
{
	uint16_t now = pit_latch(2);

	*rises += now > *last;
	*last = now;
	return EXPECT_LE(now, 600) && EXPECT_GE(now, 1);
}

TEST(pit_mode2_reloads, "", "in mode 2 the counter stays between 1 and its count and starts again",
	NEEDS("pit"))
{
	uint16_t last = 0;
	unsigned rises = 0;

	sources_ready();
	pit_gate2(true);
	pit_load(2, 2, 600);
	WAIT_UNTIL(!reading_in_range(&last, &rises) || rises >= 3, SOON_US);
	EXPECT_GE(rises, 3);
}

TEST(pit_mode3_counts_by_two, "", "in mode 3 an even count is seen even: it falls by two",
	NEEDS("pit"))
{
	sources_ready();
	pit_gate2(true);
	pit_load(2, 3, 6000);
	for (int i = 0; i < 50; i++) {
		uint16_t now = pit_latch(2);

		if (!EXPECT_EQ(now & 1, 0) || !EXPECT_LE(now, 6000))
			break;
	}
}

/*
 * How long the output stays at one level, seen without a gap of more than `most` between two looks:
 * the tightest upper and lower bound. ~0 and 0: it was never seen. Ends as well when it stays for
 * twice `half`.
 */
static void half_period(bool level, uint64_t half, uint64_t *least, uint64_t *span)
{
	struct wait wait = wait_begin(SOON_US);
	uint64_t before = rdtsc(), began = 0, began_before = 0, gap = half / 8;
	bool known = false;

	*least = 0;
	*span = ~0ull;
	while (wait_goes_on(&wait)) {
		uint64_t look = rdtsc();
		bool high = pit_out2();
		uint64_t after = rdtsc();

		if (after - before > gap) {
			known = false;
			began = 0;
		} else if (high != level) {
			if (began) {
				*least = before > began ? before - began : 0;
				*span = after - began_before;
				return;
			}
			known = true;
		} else if (known && !began) {
			began = after;
			began_before = before;
		}
		if (began && after - began > 2 * half) {
			*least = after - began;
			return;
		}
		before = look;
	}
}

TEST(pit_mode3_square, "",
	"in mode 3 the output is high for one half of the period and low for the other",
	NEEDS("pit"))
{
	uint64_t half = tsc_per_us() * pit_us(2386 / 2), least, span;

	sources_ready();
	pit_gate2(true);
	pit_load(2, 3, 2386);
	for (int level = 0; level < 2; level++) {
		half_period(level, half, &least, &span);
		if (span == ~0ull && least == 0 && WAIT_UNTIL(pit_out2() == level, SOON_US) &&
			WAIT_UNTIL(pit_out2() != level, SOON_US))
			SKIP("the host was too busy to look at half a period");
		EXPECT_GE(span, half * 8 / 10);
		EXPECT_GE(least, half / 4); /* it was seen at this level at all */
		EXPECT_LE(least, half * 12 / 10);
	}
}

static void measure_output(uint16_t *values)
{
	pit_load(2, 0, 0xffff);
	values[0] = pit_out2();
}

TEST(pit_mode0_output, "", "in mode 0 the output is low until terminal count and high from then on",
	NEEDS("pit"))
{
	uint16_t early;

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_output, &early);
	EXPECT_FALSE(early);
	EXPECT_TRUE(WAIT_UNTIL(pit_out2(), SOON_US));
	delay_us(1000);
	EXPECT_TRUE(pit_out2());
	in_one_period(measure_output, &early); /* a new count takes it down again */
	EXPECT_FALSE(early);
}

static void measure_latch(uint16_t *values)
{
	pit_load(2, 0, 0xffff);
	values[0] = pit_latch(2);
	outb(0x43, 0x80);
	delay_us(10000);
	values[1] = pit_read(2);
	values[2] = pit_latch(2);
}

TEST(pit_latch_holds, "", "a latched count stays until it is read, however late", NEEDS("pit"))
{
	uint16_t values[3];

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_latch, values);
	EXPECT_LE(values[1], values[0]);
	EXPECT_GE(values[1] - values[2], 11000); /* the 10 ms since the latch */
}

static void measure_two_latches(uint16_t *values)
{
	pit_load(2, 0, 0xffff);
	outb(0x43, 0x80);
	delay_us(10000);
	outb(0x43, 0x80);
	values[0] = pit_read(2);
	values[1] = pit_latch(2);
}

TEST(pit_second_latch_is_ignored, "",
	"a second latch command before the first is read changes nothing", NEEDS("pit"))
{
	uint16_t values[2];

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_two_latches, values);
	EXPECT_GE(values[0] - values[1], 11000);
}

static void measure_interleaved(uint16_t *values)
{
	uint8_t low0, low2;

	pit_load(0, 2, 0x0200);
	pit_load(2, 0, 0xffff);
	outb(0x43, 0x00);
	outb(0x43, 0x80);
	low0 = inb(0x40);
	low2 = inb(0x42);
	values[0] = low0 | inb(0x40) << 8;
	values[1] = low2 | inb(0x42) << 8;
	values[2] = pit_latch(2);
}

TEST(pit_latches_are_per_counter, "", "counters are latched and read byte by byte independently",
	NEEDS("pit"))
{
	uint16_t values[3];

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_interleaved, values);
	EXPECT_LE(values[0], 0x200);
	EXPECT_GT(values[1], 0x200);
	EXPECT_LE(values[2], values[1]); /* the byte toggle is back at the low byte */
	EXPECT_GE(values[2], 0x1000);
}

TEST(pit_status_readback, "", "read-back of the status gives access and mode as written",
	NEEDS("pit"))
{
	sources_ready();
	pit_gate2(true);
	pit_load(2, 2, 1000);
	outb(0x43, 0xe8); /* status of counter 2 */
	EXPECT_EQ(inb(0x42) & 0x3f, PIT_BOTH | 2 << 1);
	pit_control(2, PIT_LOW, 3);
	outb(0x42, 100);
	outb(0x43, 0xe8);
	EXPECT_EQ(inb(0x42) & 0x3f, PIT_LOW | 3 << 1);
	pit_load(2, 0, 1000);
	outb(0x43, 0xe8);
	EXPECT_EQ(inb(0x42) & 0x3f, PIT_BOTH | 0 << 1);
}

static void measure_both(uint16_t *values)
{
	pit_load(2, 0, 0xffff);
	outb(0x43, 0xc8);
	values[0] = inb(0x42);
	values[1] = pit_read(2);
	values[2] = pit_latch(2);
}

TEST(pit_status_then_count, "",
	"after a read-back of both, the status is read first and the count after it", NEEDS("pit"))
{
	uint16_t values[3];

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_both, values);
	EXPECT_EQ(values[0] & 0x3f, PIT_BOTH | 0 << 1);
	EXPECT_GE(values[1], 0x1000);
	EXPECT_GE(values[1], values[2]);
}

static void measure_status(uint16_t *values)
{
	pit_load(2, 0, 0xffff);
	outb(0x43, 0xe8);
	values[0] = inb(0x42);
}

TEST(pit_status_shows_output, "",
	"the status shows the output: low in mode 0 while counting, high after", NEEDS("pit"))
{
	uint16_t status;

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_status, &status);
	EXPECT_EQ(status & STATUS_OUT, 0);
	delay_us(60000);
	outb(0x43, 0xe8);
	EXPECT_EQ(inb(0x42) & STATUS_OUT, STATUS_OUT);
}

static void measure_nothing(uint16_t *values)
{
	pit_load(2, 0, 0xffff);
	outb(0x43, 0xf8);
	delay_us(5000);
	values[0] = pit_read(2);
	delay_us(5000);
	values[1] = pit_latch(2);
}

TEST(pit_readback_of_nothing, "",
	"a read-back that selects neither count nor status latches nothing", NEEDS("pit"))
{
	uint16_t values[2];

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_nothing, values);
	EXPECT_LE(values[0], 0xffff - 5000);
	EXPECT_GE(values[0] - values[1], 5000);
}

TEST(pit_low_byte_access, "",
	"with low-byte access one write is the count and every read is its low byte", NEEDS("pit"))
{
	sources_ready();
	pit_gate2(true);
	pit_control(2, PIT_LOW, 2);
	outb(0x42, 200);
	for (int i = 0; i < 20; i++) {
		if (!EXPECT_LE(inb(0x42), 200))
			break;
	}
}

static void measure_high_byte(uint16_t *values)
{
	uint64_t start = rdtsc();

	pit_control(2, PIT_HIGH, 0);
	outb(0x42, 0xff);
	values[0] = inb(0x42);
	values[1] = inb(0x42);
	values[2] = tsc_to_ns(rdtsc() - start) / 200000 + 2; /* 256 ticks are 214 us */
	delay_us(10000);
	values[3] = inb(0x42);
}

TEST(pit_high_byte_access, "",
	"with high-byte access one write is the count times 256 and every read is its high byte",
	NEEDS("pit"))
{
	uint16_t values[4];

	sources_ready();
	pit_gate2(true);
	in_one_period(measure_high_byte, values);
	EXPECT_GE(values[0] + values[2], 0xff);
	EXPECT_GE(values[1] + values[2], 0xff);
	EXPECT_LE(values[3], values[0] - 40); /* 10 ms are 11931 ticks: it falls by 46 */
}

static void measure_restart(uint16_t *values)
{
	uint64_t start;

	pit_load(2, 2, 0xfff0);
	delay_us(10000);
	values[0] = pit_latch(2);
	start = rdtsc();
	pit_gate2(false);
	pit_gate2(true);
	values[1] = pit_latch(2);
	values[2] = tsc_to_ns(rdtsc() - start) / 1000;
}

TEST(pit_gate_restarts_mode2, "", "a rising gate in mode 2 reloads the counter", NEEDS("pit"))
{
	uint16_t values[3];

	sources_ready();
	pit_gate2(true);
	for (int i = 0; i < 20; i++) {
		in_one_period(measure_restart, values);
		if (values[2] < 4000)
			break;
	}
	if (values[2] >= 4000)
		SKIP("the host was too busy to look right after the gate");
	EXPECT_LE(values[0], 0xfff0 - 11000);
	EXPECT_GE(values[1], values[0] + 5000);
}

TEST(port61_gate_reads_back, "", "port 0x61 reads back gate and speaker bits", NEEDS("pit"))
{
	sources_ready();
	pit_gate2(true);
	EXPECT_EQ(inb(0x61) & 3, 1);
	pit_gate2(false);
	EXPECT_EQ(inb(0x61) & 3, 0);
}
