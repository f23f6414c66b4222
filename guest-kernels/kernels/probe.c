/* SPDX-License-Identifier: MIT */
/*
 * The probe device of Assay (docs/probe.md): what it counts between two marks is exact, because
 * other kernels' figures rest on it.
 */
#include "runtime/io.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define PROBE	      0xa50
#define MAGIC	      0x59415341
#define SELECT_REGION 0x100
#define PASSES	      0xff
#define UNUSED_PORT   0xed

enum {
	REG_MAGIC = 0,
	REG_COMMAND = 4,
	REG_REGION = 8,
	REG_SELECT = 12,
	REG_VALUE = 16,
	REG_HIGH = 20,
	REG_COUNT = 24
};
enum { BEGIN = 1, END, LATCH, CLEAR };
enum {
	TIME_NS,
	EXITS,
	PORT_EXITS,
	MMIO_EXITS,
	HALT_EXITS,
	KICKS,
	INTERRUPTS,
	GUEST_ERRORS,
	INSTRUCTIONS,
	COUNTERS
};

static void probe(unsigned region)
{
	if (inl(PROBE + REG_MAGIC) != MAGIC)
		SKIP("there is no probe device");
	outl(PROBE + REG_REGION, region);
	outl(PROBE + REG_COMMAND, CLEAR);
}

static uint64_t value(unsigned select)
{
	outl(PROBE + REG_SELECT, select);
	return inl(PROBE + REG_VALUE) | (uint64_t)inl(PROBE + REG_HIGH) << 32;
}

static uint64_t sum(unsigned counter)
{
	return value(SELECT_REGION | counter);
}

TEST(registers, "",
	"the probe has version 1, at least eight counters, and its region and selection read back",
	NEEDS("probe"))
{
	probe(5);
	EXPECT_EQ(inl(PROBE + REG_COMMAND), 1);
	EXPECT_GE(inl(PROBE + REG_COUNT), COUNTERS);
	EXPECT_EQ(inl(PROBE + REG_REGION), 5);
	outl(PROBE + REG_SELECT, 3);
	EXPECT_EQ(inl(PROBE + REG_SELECT), 3);
}

TEST(empty_region, "", "a region with nothing in it counts one exit, a port's: END itself",
	NEEDS("probe"))
{
	probe(0);
	outl(PROBE + REG_COMMAND, BEGIN);
	outl(PROBE + REG_COMMAND, END);
	EXPECT_EQ(sum(PORT_EXITS), 1);
	EXPECT_GE(sum(EXITS), 1);
	EXPECT_EQ(sum(MMIO_EXITS), 0);
	EXPECT_EQ(sum(PASSES), 1);
}

TEST(port_exits_are_counted, "", "each access to a port in the region is one port exit",
	NEEDS("probe"))
{
	probe(1);
	outl(PROBE + REG_COMMAND, BEGIN);
	for (int i = 0; i < 10; i++)
		outb(UNUSED_PORT, 0);
	outl(PROBE + REG_COMMAND, END);
	EXPECT_EQ(sum(PORT_EXITS), 11);
}

TEST(passes_add_up, "", "sums grow with each pass until they are cleared, and regions do not mix",
	NEEDS("probe"))
{
	probe(3);
	probe(2);
	for (int i = 0; i < 4; i++) {
		outl(PROBE + REG_COMMAND, BEGIN);
		inb(UNUSED_PORT);
		outl(PROBE + REG_COMMAND, END);
	}
	EXPECT_EQ(sum(PASSES), 4);
	EXPECT_EQ(sum(PORT_EXITS), 8);
	outl(PROBE + REG_COMMAND, END);
	EXPECT_EQ(sum(PASSES), 4);
	outl(PROBE + REG_REGION, 3);
	EXPECT_EQ(sum(PASSES), 0);
	outl(PROBE + REG_REGION, 2);
	outl(PROBE + REG_COMMAND, CLEAR);
	EXPECT_EQ(sum(PASSES), 0);
	EXPECT_EQ(sum(PORT_EXITS), 0);
}

static uint64_t instructions_of_loops(uint32_t turns)
{
	outl(PROBE + REG_COMMAND, CLEAR);
	outl(PROBE + REG_COMMAND, BEGIN);
	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(turns) : : "cc");
	outl(PROBE + REG_COMMAND, END);
	return sum(INSTRUCTIONS);
}

TEST(instructions_are_counted, "", "a loop of two instructions counts two more for each turn more",
	NEEDS("probe"))
{
	uint64_t few, many;

	probe(7);
	few = instructions_of_loops(1);
	if (!few)
		SKIP("this engine does not count instructions");
	many = instructions_of_loops(10001);
	EXPECT_GE(few, 3);
	EXPECT_LE(few, 20);
	EXPECT_EQ(many - few, 20000);
}

TEST(time_of_a_region, "", "the time in a region is not less than the TSC counted in it",
	NEEDS("probe"))
{
	uint64_t start, ns;

	probe(4);
	outl(PROBE + REG_COMMAND, BEGIN);
	start = rdtsc();
	delay_us(20000);
	ns = tsc_to_ns(rdtsc() - start);
	outl(PROBE + REG_COMMAND, END);
	EXPECT_GE(sum(TIME_NS), ns * 99 / 100); /* the TSC is calibrated, not exact */
	/* Between the marks and the two readings of the TSC a host may be away. */
	EXPECT_LE(sum(TIME_NS), ns * 10);
}

TEST(latched_counters_stand, "", "latched counters do not change until the next latch",
	NEEDS("probe"))
{
	uint64_t first;

	probe(6);
	outl(PROBE + REG_COMMAND, LATCH);
	first = value(PORT_EXITS);
	EXPECT_GE(first, 1);
	EXPECT_EQ(value(PORT_EXITS), first);
	outl(PROBE + REG_COMMAND, LATCH);
	EXPECT_GT(value(PORT_EXITS), first);
}
