/* SPDX-License-Identifier: MIT */
/* The ACPI tables for firmware that places them itself: three files of fw_cfg. */
#ifndef BOARD_ACPI_LOADER_H
#define BOARD_ACPI_LOADER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ACPI_LOADER_RSDP   "etc/acpi/rsdp"
#define ACPI_LOADER_TABLES "etc/acpi/tables"
#define ACPI_LOADER_SCRIPT "etc/table-loader"

#define ACPI_RSDP_SIZE 36

struct acpi_loader {
	uint8_t rsdp[ACPI_RSDP_SIZE];
	uint8_t *tables, *script; /* acpi_loader_free() */
	size_t tables_length, script_length;
};

/* From `area`, as acpi_tables() made it: addresses become offsets into the file of tables, and the
 * script has a line for each of them and for each checksum.  0 or -ENOMEM. */
int acpi_loader_make(
	const uint8_t *area, size_t length, struct acpi_loader *loader, struct error *err);
void acpi_loader_free(struct acpi_loader *loader);

#endif
