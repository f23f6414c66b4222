/* SPDX-License-Identifier: MIT */
/* AML as chapter 20 of ACPI encodes it, and the tables as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "board/acpi.h"
#include "board/aml.h"

static uint8_t buffer[8192];
static struct aml aml;

static int set_up(void **state)
{
	aml = (struct aml){.data = buffer, .capacity = sizeof(buffer)};
	return 0;
}

static void integers(void **state)
{
	static const uint8_t expected[] = {0x00, 0x01, 0x0a, 0x02, 0x0a, 0xff, 0x0b, 0x00, 0x01,
		0x0c, 0x00, 0x00, 0x01, 0x00, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0};

	aml_integer(&aml, 0);
	aml_integer(&aml, 1);
	aml_integer(&aml, 2);
	aml_integer(&aml, 0xff);
	aml_integer(&aml, 0x100);
	aml_integer(&aml, 0x10000);
	aml_integer(&aml, 1ull << 32);
	assert_int_equal(aml.length, sizeof(expected));
	assert_memory_equal(buffer, expected, sizeof(expected));
}

static void names(void **state)
{
	aml_path(&aml, "\\_SB_");
	aml_path(&aml, "PCI0.ISA_");
	aml_path(&aml, "PCI0.ISA_.P40C");
	assert_int_equal(aml.length, 5 + 9 + 14);
	assert_memory_equal(buffer, "\\_SB_\x2ePCI0ISA_\x2f\x03PCI0ISA_P40C", 28);
}

static void eisa_id(void **state)
{
	aml_eisa_id(&aml, "PNP0A03");
	assert_memory_equal(buffer, "\x0c\x41\xd0\x0a\x03", 5);
}

/* The length in front of a package counts itself; its own size steps at 64 and 4096. */
static void package_lengths(void **state)
{
	static const struct {
		unsigned body; /* bytes behind the element count */
		uint8_t bytes[3];
		unsigned size;
	} cases[] = {
		{0, {0x02}, 1},
		{61, {0x3f}, 1},
		{62, {0x41, 0x04}, 2},
		{4092, {0x4f, 0xff}, 2},
		{4093, {0x81, 0x00, 0x01}, 3},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t open;

		set_up(NULL);
		open = aml_open_package(&aml, 7);
		for (unsigned n = 0; n < cases[i].body; n++)
			aml_byte(&aml, 0);
		aml_close(&aml, open);
		assert_false(aml.full);
		assert_int_equal(buffer[0], 0x12);
		assert_memory_equal(buffer + 1, cases[i].bytes, cases[i].size);
		assert_int_equal(buffer[1 + cases[i].size], 7);
		assert_int_equal(aml.length, 2 + cases[i].size + cases[i].body);
	}
}

static void overflow_is_remembered(void **state)
{
	struct acpi_config config = {
		.smp = {4, 4, 1, 1, 1}, .pci_memory_start = 0x8000000, .coms = {true}};
	size_t whole = acpi_dsdt(&config, buffer, sizeof(buffer));

	assert_true(whole > 1000);
	/* Each capacity that is too small gives 0, and nothing is written behind it. */
	for (size_t capacity = 0; capacity < whole; capacity += 13) {
		buffer[capacity] = 0x5a;
		assert_int_equal(acpi_dsdt(&config, buffer, capacity), 0);
		assert_int_equal(buffer[capacity], 0x5a);
	}
	assert_int_equal(acpi_dsdt(&config, buffer, whole), whole);
}

static uint8_t sum(const uint8_t *at, size_t length)
{
	uint8_t total = 0;

	while (length--)
		total += *at++;
	return total;
}

static uint32_t get32(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

static void tables_hang_together(void **state)
{
	struct acpi_config config = {.smp = {1, 1, 1, 1, 1}, .pci_memory_start = 0x8000000};
	struct error err = {0};
	struct loop *loop = loop_create("test", &err);
	static struct machine machine;
	static uint8_t area[0x10000];
	const uint8_t *xsdt, *fadt, *madt;
	uint64_t rsdp = 0;

	machine_init(&machine, loop, &err);
	assert_true(acpi_build(&machine, &config, &rsdp, &err) < 0); /* no memory there */
	memory_add(&machine.memory, "bios", 0xf0000, sizeof(area), false, &err);
	assert_int_equal(acpi_build(&machine, &config, &rsdp, &err), 0);
	assert_int_equal(rsdp, 0xf0000);
	guest_read(&machine.memory, rsdp, area, sizeof(area));
	assert_memory_equal(area, "RSD PTR ", 8);
	assert_int_equal(sum(area, 20), 0);
	assert_int_equal(sum(area, 36), 0);
	xsdt = area + get32(area + 24) - rsdp;
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_int_equal(sum(xsdt, get32(xsdt + 4)), 0);
	fadt = area + get32(xsdt + 36) - rsdp;
	madt = area + get32(xsdt + 44) - rsdp;
	assert_memory_equal(fadt, "FACP", 4);
	assert_memory_equal(madt, "APIC", 4);
	assert_int_equal(sum(fadt, get32(fadt + 4)), 0);
	assert_int_equal(sum(madt, get32(madt + 4)), 0);
	assert_memory_equal(area + get32(fadt + 40) - rsdp, "DSDT", 4);
	assert_memory_equal(area + get32(fadt + 36) - rsdp, "FACS", 4);
	config.smp.cpus = 100000;
	assert_true(acpi_build(&machine, &config, &rsdp, &err) < 0);
	machine_destroy(&machine);
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(integers, set_up),
		cmocka_unit_test_setup(names, set_up),
		cmocka_unit_test_setup(eisa_id, set_up),
		cmocka_unit_test(package_lengths),
		cmocka_unit_test(overflow_is_remembered),
		cmocka_unit_test(tables_hang_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
