/* SPDX-License-Identifier: MIT */
/* The ACPI tables of machine `pc`, as firmware would leave them in memory. */
#ifndef BOARD_ACPI_H
#define BOARD_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cpu/topology.h"
#include "machine/machine.h"

#define ACPI_COMS 4

struct acpi_config {
	struct cpu_topology smp;
	uint32_t pci_memory_start; /* first address below 4 GiB that is not RAM */
	bool coms[ACPI_COMS];	   /* which of COM1 to COM4 are there */
};

/*
 * Writes RSDP, RSDT, XSDT, FADT, FACS, MADT and DSDT below 1 MiB and gives the RSDP's address.
 * Called again after a reset.  0 or -errno.
 */
int acpi_build(struct machine *machine, const struct acpi_config *config, uint64_t *rsdp,
	struct error *err);

/* The same tables as bytes for MEMMAP_BIOS_START, the RSDP first.  malloc'ed; NULL with err set. */
uint8_t *acpi_tables(const struct acpi_config *config, size_t *length, struct error *err);

/* The DSDT's code alone; returns its length, or 0 if it does not fit.  For acpi_build(). */
size_t acpi_dsdt(const struct acpi_config *config, uint8_t *to, size_t capacity);

#endif
