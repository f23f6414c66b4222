/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables (ACPI 6, section 5.2), as far as kernels read them: RSDP, RSDT, XSDT, FADT, MADT.
 */
#ifndef ASSAY_RUNTIME_ACPI_H
#define ASSAY_RUNTIME_ACPI_H

#include <stdbool.h>
#include <stdint.h>

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision, creator_id, creator_revision;
} __attribute__((packed));

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

/* Sum of the bytes modulo 256: 0 for every good table. */
uint8_t acpi_sum(const void *at, uint32_t length);
/* The RSDP that the loader named; else the one in the EBDA or 0xe0000 to 0xfffff; NULL: none. */
const struct acpi_rsdp *acpi_rsdp(void);
/* Only the search of low memory (5.2.5.1). */
const struct acpi_rsdp *acpi_rsdp_in_low_memory(void);
/* The first table with this signature, DSDT through the FADT; NULL: none. */
const struct acpi_header *acpi_table(const char *signature);
/* Number of tables that RSDT (or XSDT) lists; the n-th. */
unsigned acpi_table_count(void);
const struct acpi_header *acpi_table_nth(unsigned n);
/* The PM timer's port (FADT), 0: none. */
uint16_t acpi_pm_timer(void);

static inline uint32_t acpi_u32(const void *table, unsigned offset)
{
	uint32_t value;

	__builtin_memcpy(&value, (const char *)table + offset, 4);
	return value;
}

#endif
