/* SPDX-License-Identifier: MIT */
/* What a fatal line is made of: addresses through every kind of page table, and disassembly. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/report.h"

#define PG    0x80000000u
#define PSE   (1u << 4)
#define PAE   (1u << 5)
#define LMA   (1u << 10)
#define LARGE 0x80

static struct guest_memory mem;

static int set_up(void **state)
{
	struct error err;

	memset(&mem, 0, sizeof(mem));
	assert_int_equal(memory_add(&mem, "ram", 0, 1 << 20, false, &err), 0);
	return 0;
}

static int tear_down(void **state)
{
	memory_destroy(&mem);
	return 0;
}

static void entry(uint64_t table, unsigned index, uint64_t value, unsigned size)
{
	assert_int_equal(guest_write(&mem, table + (uint64_t)index * size, &value, size), 0);
}

static uint64_t look(const struct cpu_state *state, uint64_t linear)
{
	uint64_t physical;

	return cpu_translate(&mem, state, linear, &physical) ? UINT64_MAX : physical;
}

static void without_paging(void **state)
{
	struct cpu_state cpu = {.cr0 = 1};

	assert_int_equal(look(&cpu, 0x12345), 0x12345);
	/* Outside of 64-bit mode addresses wrap at 4 GiB. */
	assert_int_equal(look(&cpu, 0x100000005), 5);
}

static void two_levels(void **state)
{
	struct cpu_state cpu = {.cr0 = PG, .cr3 = 0x1018}; /* PWT, PCD: no part of the address */

	entry(0x1000, 1, 0x2003, 4);
	entry(0x2000, 3, 0x5067, 4);
	entry(0x1000, 2, 0x800000 | 2 << 13 | LARGE | 1, 4);
	assert_int_equal(look(&cpu, 0x403abc), 0x5abc);
	assert_int_equal(look(&cpu, 0x404abc), UINT64_MAX);
	assert_int_equal(look(&cpu, 0xc00000), UINT64_MAX);
	/* A large page only with CR4.PSE; else a table, here at an address that is no memory. */
	assert_int_equal(look(&cpu, 0x812345), UINT64_MAX);
	cpu.cr4 = PSE;
	assert_int_equal(look(&cpu, 0x812345), 0x200812345);
}

static void three_levels(void **state)
{
	struct cpu_state cpu = {.cr0 = PG, .cr3 = 0x1020, .cr4 = PAE};

	entry(0x1020, 3, 0x2001, 8);
	entry(0x2000, 1, 0x3003, 8);
	entry(0x3000, 511, 0x8000000000007063, 8);
	entry(0x2000, 2, 0x400000 | LARGE | 1, 8);
	assert_int_equal(look(&cpu, 0xc03ff123), 0x7123);
	assert_int_equal(look(&cpu, 0xc0412345), 0x412345);
	assert_int_equal(look(&cpu, 0x80000000), UINT64_MAX);
}

static void four_levels(void **state)
{
	struct cpu_state cpu = {.cr0 = PG, .cr3 = 0x1000, .cr4 = PAE, .efer = LMA};

	entry(0x1000, 511, 0x2003, 8);
	entry(0x2000, 510, 0x3003, 8);
	entry(0x2000, 511, 0x40000000 | LARGE | 3, 8);
	entry(0x3000, 0, 0x4003, 8);
	entry(0x3000, 1, 0x600000 | LARGE | 3, 8);
	entry(0x4000, 5, 0x9003, 8);
	assert_int_equal(look(&cpu, 0xffffffff80005fed), 0x9fed);
	assert_int_equal(look(&cpu, 0xffffffff80212345), 0x612345);
	assert_int_equal(look(&cpu, 0xffffffffc7654321), 0x47654321);
	assert_int_equal(look(&cpu, 0x5000), UINT64_MAX);
	/* A table outside of memory. */
	entry(0x4000, 5, 0x123456789000, 8);
	entry(0x3000, 0, 0x123456789003, 8);
	assert_int_equal(look(&cpu, 0xffffffff80005fed), UINT64_MAX);
}

/* 48 b8 ... is one instruction in 64-bit code and begins with DEC EAX elsewhere. */
static void disassembly_goes_by_the_mode(void **state)
{
	static const uint8_t bytes[15] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8};
	struct cpu_state cpu = {.cs.db = true, .ss.db = true};
	char text[80];

	assert_int_equal(cpu_disassemble(&cpu, 0x1000, bytes, 15, text, sizeof(text)), 1);
	assert_string_equal(text, "dec eax");
	cpu.cs.db = false;
	assert_int_equal(cpu_disassemble(&cpu, 0x1000, bytes, 15, text, sizeof(text)), 1);
	assert_string_equal(text, "dec ax");
	cpu.efer = LMA;
	cpu.cs.l = true;
	assert_int_equal(cpu_disassemble(&cpu, 0x1000, bytes, 15, text, sizeof(text)), 10);
	assert_string_equal(text, "mov rax, 0x807060504030201");
	/* Cut off, as at the end of memory. */
	assert_int_equal(cpu_disassemble(&cpu, 0x1000, bytes, 9, text, sizeof(text)), 0);
	assert_int_equal(cpu_disassemble(&cpu, 0x1000, bytes, 0, text, sizeof(text)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_paging, set_up, tear_down),
		cmocka_unit_test_setup_teardown(two_levels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(three_levels, set_up, tear_down),
		cmocka_unit_test_setup_teardown(four_levels, set_up, tear_down),
		cmocka_unit_test(disassembly_goes_by_the_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
