/* SPDX-License-Identifier: MIT */
/* Places, APIC ids and CPUID of -smp (cpu/topology.h), and the MP table (board/mptable.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "board/mptable.h"
#include "cpu/topology.h"

static void test_ids(void **state)
{
	static const struct {
		struct cpu_topology smp;
		uint32_t ids[8];
	} rows[] = {
		{{1, 1, 1, 1, 1}, {0}},
		{{4, 1, 1, 4, 1}, {0, 1, 2, 3}},
		{{6, 2, 1, 3, 1}, {0, 1, 2, 4, 5, 6}},
		{{8, 2, 1, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7}},
		{{6, 1, 1, 2, 3}, {0, 1, 2, 4, 5, 6}},
		{{6, 1, 3, 2, 1}, {0, 1, 2, 3, 4, 5}},
		{{6, 2, 3, 1, 1}, {0, 1, 2, 4, 5, 6}},
		{{3, 3, 1, 1, 1}, {0, 1, 2}},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (unsigned cpu = 0; cpu < rows[i].smp.cpus; cpu++)
			assert_int_equal(topology_apic_id(&rows[i].smp, cpu), rows[i].ids[cpu]);
}

static void test_places(void **state)
{
	struct cpu_topology smp = {12, 2, 1, 3, 2};
	struct cpu_place place = topology_place(&smp, 9);

	assert_int_equal(place.socket, 1);
	assert_int_equal(place.die, 0);
	assert_int_equal(place.core, 1);
	assert_int_equal(place.thread, 1);
}

static void test_cpuid(void **state)
{
	struct cpu_topology smp = {12, 2, 1, 3, 2};
	uint32_t one[4] = {0, 0x0800, 0, 0}, b[4], amd[4] = {0}, cache[4] = {0x163};

	topology_cpuid(&smp, 9, 1, 0, true, one);
	assert_int_equal(one[1], 0x0b060800); /* id 8 + 2 + 1, six logical processors */
	assert_int_equal(one[3] >> 28 & 1, 1);
	topology_cpuid(&smp, 9, 0xb, 0, true, b);
	assert_int_equal(b[0], 1);
	assert_int_equal(b[1], 2);
	assert_int_equal(b[2], 0x100);
	assert_int_equal(b[3], 11);
	topology_cpuid(&smp, 9, 0xb, 1, true, b);
	assert_int_equal(b[0], 3);
	assert_int_equal(b[1], 6);
	assert_int_equal(b[2], 0x201);
	topology_cpuid(&smp, 9, 0xb, 2, true, b);
	assert_int_equal(b[1], 0);
	assert_int_equal(b[2], 2);
	topology_cpuid(&smp, 9, 0x80000008, 0, true, amd);
	assert_int_equal(amd[2], 5);
	topology_cpuid(&smp, 9, 4, 3, false, cache);
	assert_int_equal(cache[0], 0x163 | 5 << 14 | 2 << 26); /* level 3: all of the package */
}

static uint8_t sum(const uint8_t *bytes, size_t size)
{
	uint8_t all = 0;

	while (size--)
		all += *bytes++;
	return all;
}

static void test_mptable(void **state)
{
	struct cpu_topology smp = {16, 2, 1, 8, 1};
	struct machine machine = {0};
	uint8_t floating[16], table[1008];
	struct error err;
	unsigned entries = 0;
	size_t length, at = 44;

	assert_int_equal(memory_add(&machine.memory, "low", 0, 0xa0000, false, &err), 0);
	assert_int_equal(mptable_load(&machine, &smp, &err), 0);
	guest_read(&machine.memory, 0x9fc00, floating, sizeof(floating));
	guest_read(&machine.memory, 0x9fc10, table, sizeof(table));
	assert_memory_equal(floating, "_MP_\x10\xfc\x09\0", 8);
	assert_int_equal(sum(floating, 16), 0);
	assert_memory_equal(table, "PCMP", 4);
	length = table[4] | table[5] << 8;
	assert_int_equal(sum(table, length), 0);
	for (; at < length; entries++) {
		if (entries < 16) {
			assert_int_equal(table[at], 0);
			assert_int_equal(table[at + 1], entries);
			assert_int_equal(table[at + 3], entries ? 1 : 3);
		}
		at += table[at] ? 8 : 20;
	}
	assert_int_equal(at, length);
	assert_int_equal(entries, table[34] | table[35] << 8);
	memory_destroy(&machine.memory);
}

static void test_mptable_without_memory(void **state)
{
	struct cpu_topology smp = {1, 1, 1, 1, 1};
	struct machine machine = {0};
	struct error err;

	assert_int_equal(memory_add(&machine.memory, "low", 0, 0x10000, false, &err), 0);
	assert_true(mptable_load(&machine, &smp, &err) < 0);
	memory_destroy(&machine.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_cpuid),
		cmocka_unit_test(test_mptable),
		cmocka_unit_test(test_mptable_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
