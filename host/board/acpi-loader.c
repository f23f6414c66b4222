/* SPDX-License-Identifier: MIT */
/*
 * The script by which SeaBIOS and OVMF place ACPI tables (QEMU's docs/specs, "etc/table-loader"):
 * lines of 128 bytes that allocate a file, add a file's address to a field of another, and make a
 * checksum good.
 */
#include "board/acpi-loader.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "board/memmap.h"

#define TABLES_AT 64 /* in the area: behind the RSDP, and the FACS's alignment */
#define NAME_SIZE 56
#define LINES_MAX 64
#define ROOT_MAX  32 /* tables that a root may name */

#define HEADER_SIZE	36
#define HEADER_LENGTH	4
#define HEADER_CHECKSUM 9
#define FADT_FACS	36
#define FADT_DSDT	40
#define FADT_X_FACS	132
#define FADT_X_DSDT	140
#define RSDP_RSDT	16
#define RSDP_XSDT	24

enum command { ALLOCATE = 1, ADD_POINTER, ADD_CHECKSUM };
enum zone { ZONE_HIGH = 1, ZONE_BELOW_1M };

/* A line; numbers are little-endian. */
struct line {
	uint32_t command;
	union {
		struct {
			char file[NAME_SIZE];
			uint32_t align;
			uint8_t zone;
		} __attribute__((packed)) allocate;
		struct {
			char to[NAME_SIZE], from[NAME_SIZE];
			uint32_t offset;
			uint8_t size;
		} __attribute__((packed)) pointer;
		struct {
			char file[NAME_SIZE];
			uint32_t offset, start, length;
		} __attribute__((packed)) checksum;
		uint8_t room[124];
	};
} __attribute__((packed));

_Static_assert(sizeof(struct line) == 128, "a line of the script");

struct maker {
	struct acpi_loader *loader;
	struct line lines[LINES_MAX];
	unsigned count;
};

static struct line *add_line(struct maker *m, enum command command)
{
	struct line *line = &m->lines[m->count < LINES_MAX - 1 ? m->count++ : m->count];

	memset(line, 0, sizeof(*line));
	line->command = command;
	return line;
}

static void allocate(struct maker *m, const char *file, uint32_t align, enum zone zone)
{
	struct line *line = add_line(m, ALLOCATE);

	strcpy(line->allocate.file, file);
	line->allocate.align = align;
	line->allocate.zone = zone;
}

static void checksum(
	struct maker *m, const char *file, uint32_t offset, uint32_t start, uint32_t length)
{
	struct line *line = add_line(m, ADD_CHECKSUM);

	strcpy(line->checksum.file, file);
	line->checksum.offset = offset;
	line->checksum.start = start;
	line->checksum.length = length;
}

static uint64_t get(const uint8_t *at, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)at[i] << i * 8;
	return value;
}

/* A field with the address of a table: it becomes an offset.  UINT32_MAX if it names none (tables
 * may have been spoilt on purpose). */
static uint32_t pointer(
	struct maker *m, const char *file, uint8_t *data, uint32_t offset, unsigned size)
{
	uint64_t address = get(data + offset, size) - MEMMAP_BIOS_START - TABLES_AT;
	struct line *line;

	if (address + HEADER_SIZE > m->loader->tables_length || address > m->loader->tables_length)
		return UINT32_MAX;
	for (unsigned i = 0; i < size; i++)
		data[offset + i] = address >> i * 8;
	line = add_line(m, ADD_POINTER);
	strcpy(line->pointer.to, file);
	strcpy(line->pointer.from, ACPI_LOADER_TABLES);
	line->pointer.offset = offset;
	line->pointer.size = size;
	return address;
}

static uint32_t table_pointer(struct maker *m, uint32_t offset, unsigned size)
{
	if (offset + size > m->loader->tables_length)
		return UINT32_MAX;
	return pointer(m, ACPI_LOADER_TABLES, m->loader->tables, offset, size);
}

static void table_checksum(struct maker *m, uint32_t table)
{
	uint32_t length = get(m->loader->tables + table + HEADER_LENGTH, 4);

	if (length <= m->loader->tables_length - table)
		checksum(m, ACPI_LOADER_TABLES, table + HEADER_CHECKSUM, table, length);
}

static void add_fadt(struct maker *m, uint32_t fadt)
{
	uint32_t dsdt;

	table_pointer(m, fadt + FADT_FACS, 4);
	table_pointer(m, fadt + FADT_X_FACS, 8);
	table_pointer(m, fadt + FADT_X_DSDT, 8);
	dsdt = table_pointer(m, fadt + FADT_DSDT, 4);
	if (dsdt != UINT32_MAX)
		table_checksum(m, dsdt);
}

/* RSDT or XSDT; `first`: what it names was not seen yet. */
static void add_root(struct maker *m, uint32_t root, unsigned size, bool first)
{
	uint32_t length = get(m->loader->tables + root + HEADER_LENGTH, 4);
	uint32_t count = length < HEADER_SIZE ? 0 : (length - HEADER_SIZE) / size;

	for (unsigned i = 0; i < count && i < ROOT_MAX; i++) {
		uint32_t table = table_pointer(m, root + HEADER_SIZE + i * size, size);

		if (table == UINT32_MAX || !first)
			continue;
		if (!memcmp(m->loader->tables + table, "FACP", 4))
			add_fadt(m, table);
		table_checksum(m, table);
	}
	table_checksum(m, root);
}

int acpi_loader_make(
	const uint8_t *area, size_t length, struct acpi_loader *loader, struct error *err)
{
	struct maker *m = calloc(1, sizeof(*m));
	uint32_t rsdt, xsdt;

	*loader = (struct acpi_loader){.tables_length = length - TABLES_AT};
	loader->tables = malloc(loader->tables_length);
	if (!m || !loader->tables) {
		free(m);
		free(loader->tables);
		loader->tables = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	m->loader = loader;
	memcpy(loader->rsdp, area, ACPI_RSDP_SIZE);
	memcpy(loader->tables, area + TABLES_AT, loader->tables_length);
	allocate(m, ACPI_LOADER_RSDP, 16, ZONE_BELOW_1M);
	allocate(m, ACPI_LOADER_TABLES, 64, ZONE_HIGH);
	rsdt = pointer(m, ACPI_LOADER_RSDP, loader->rsdp, RSDP_RSDT, 4);
	xsdt = pointer(m, ACPI_LOADER_RSDP, loader->rsdp, RSDP_XSDT, 8);
	if (rsdt != UINT32_MAX)
		add_root(m, rsdt, 4, true);
	if (xsdt != UINT32_MAX)
		add_root(m, xsdt, 8, false);
	checksum(m, ACPI_LOADER_RSDP, 8, 0, 20);
	checksum(m, ACPI_LOADER_RSDP, 32, 0, ACPI_RSDP_SIZE);
	loader->script_length = m->count * sizeof(struct line);
	loader->script = malloc(loader->script_length);
	if (loader->script)
		memcpy(loader->script, m->lines, loader->script_length);
	free(m);
	return loader->script ? 0 : error_set(err, ENOMEM, "out of memory");
}

void acpi_loader_free(struct acpi_loader *loader)
{
	free(loader->tables);
	free(loader->script);
	*loader = (struct acpi_loader){0};
}
