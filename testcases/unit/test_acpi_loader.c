/* SPDX-License-Identifier: MIT */
/* The script for firmware that places ACPI tables: carried out here as SeaBIOS does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "board/acpi-loader.h"
#include "board/acpi.h"

#define LINE	  128
#define RSDP_AT	  0xf1230u
#define TABLES_AT 0x7fe0040u
#define NAME_SIZE 56

struct file {
	const char *name;
	uint8_t *data;
	size_t length;
	uint32_t at;
	unsigned allocated;
};

static struct acpi_loader loader;
static struct file files[2];

static uint64_t get(const uint8_t *at, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)at[i] << i * 8;
	return value;
}

static uint8_t sum(const uint8_t *at, size_t length)
{
	uint8_t total = 0;

	while (length--)
		total += *at++;
	return total;
}

static struct file *file_of(const uint8_t *name)
{
	for (unsigned i = 0; i < 2; i++)
		if (!strcmp((const char *)name, files[i].name))
			return &files[i];
	fail_msg("the script names %s", name);
	return NULL;
}

static void add_pointer(const uint8_t *line)
{
	struct file *to = file_of(line), *from = file_of(line + NAME_SIZE);
	uint32_t offset = get(line + 2 * NAME_SIZE, 4);
	unsigned size = line[2 * NAME_SIZE + 4];
	uint64_t value;

	assert_true(to->allocated && from->allocated);
	assert_true(size == 4 || size == 8);
	assert_true(offset + size <= to->length);
	value = get(to->data + offset, size);
	assert_true(value < from->length);
	value += from->at;
	for (unsigned i = 0; i < size; i++)
		to->data[offset + i] = value >> i * 8;
}

static void add_checksum(const uint8_t *line)
{
	struct file *file = file_of(line);
	uint32_t offset = get(line + NAME_SIZE, 4), start = get(line + NAME_SIZE + 4, 4);
	uint32_t length = get(line + NAME_SIZE + 8, 4);

	assert_true(start + length <= file->length && offset < file->length);
	file->data[offset] -= sum(file->data + start, length);
}

static void run_script(void)
{
	for (size_t at = 0; at < loader.script_length; at += LINE) {
		const uint8_t *line = loader.script + at + 4;

		switch (get(line - 4, 4)) {
		case 1:
			file_of(line)->allocated++;
			assert_int_equal(file_of(line)->at % get(line + NAME_SIZE, 4), 0);
			break;
		case 2: add_pointer(line); break;
		case 3: add_checksum(line); break;
		default: fail();
		}
	}
}

static void make(void)
{
	struct acpi_config config = {.smp = {2, 2, 1, 1, 1}, .pci_memory_start = 0x8000000};
	struct error err = {0};
	size_t length = 0;
	uint8_t *area = acpi_tables(&config, &length, &err);

	assert_non_null(area);
	assert_int_equal(acpi_loader_make(area, length, &loader, &err), 0);
	free(area);
	files[0] = (struct file){ACPI_LOADER_RSDP, loader.rsdp, sizeof(loader.rsdp), RSDP_AT, 0};
	files[1] = (struct file){
		ACPI_LOADER_TABLES, loader.tables, loader.tables_length, TABLES_AT, 0};
}

/* The table at an address, its checksum good. */
static const uint8_t *table(uint64_t address, const char *signature)
{
	const uint8_t *at;

	assert_true(address >= TABLES_AT && address + 36 <= TABLES_AT + loader.tables_length);
	at = loader.tables + (address - TABLES_AT);
	assert_memory_equal(at, signature, 4);
	if (strcmp(signature, "FACS"))
		assert_int_equal(sum(at, get(at + 4, 4)), 0);
	return at;
}

static void the_tables_hang_together_where_they_were_placed(void **state)
{
	const uint8_t *rsdt, *xsdt, *fadt;

	make();
	run_script();
	assert_int_equal(files[0].allocated, 1);
	assert_int_equal(files[1].allocated, 1);
	assert_memory_equal(loader.rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(loader.rsdp, 20), 0);
	assert_int_equal(sum(loader.rsdp, 36), 0);
	rsdt = table(get(loader.rsdp + 16, 4), "RSDT");
	xsdt = table(get(loader.rsdp + 24, 8), "XSDT");
	assert_int_equal(get(rsdt + 36, 4), get(xsdt + 36, 8));
	assert_int_equal(get(rsdt + 40, 4), get(xsdt + 44, 8));
	fadt = table(get(xsdt + 36, 8), "FACP");
	table(get(xsdt + 44, 8), "APIC");
	table(get(fadt + 36, 4), "FACS");
	assert_int_equal(get(fadt + 36, 4) % 64, 0);
	table(get(fadt + 40, 4), "DSDT");
	assert_int_equal(get(fadt + 140, 8), get(fadt + 40, 4));
	acpi_loader_free(&loader);
}

/* Fault injection spoils tables on purpose: that must not lead out of them. */
static void spoilt_tables_stay_inside(void **state)
{
	struct acpi_config config = {.smp = {1, 1, 1, 1, 1}, .pci_memory_start = 0x8000000};
	struct error err = {0};
	size_t length = 0;

	srandom(1);
	for (unsigned i = 0; i < 3000; i++) {
		uint8_t *area = acpi_tables(&config, &length, &err);

		assert_non_null(area);
		for (unsigned n = random() % 8 + 1; n; n--)
			area[random() % (i % 2 ? length : 512)] = random();
		assert_int_equal(acpi_loader_make(area, length, &loader, &err), 0);
		assert_int_equal(loader.script_length % LINE, 0);
		free(area);
		acpi_loader_free(&loader);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tables_hang_together_where_they_were_placed),
		cmocka_unit_test(spoilt_tables_stay_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
