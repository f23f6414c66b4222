/* SPDX-License-Identifier: MIT */
/* The map of memory as the guest is told it: PVH start info, multiboot, fw_cfg's etc/e820. */
#ifndef BOARD_MEMMAP_H
#define BOARD_MEMMAP_H

#include <stdint.h>

#include "machine/memory.h"

#define MEMMAP_MAX (2 * RAM_BLOCKS_MAX + 4)

/* Where the firmware of a PC would lie; ACPI tables are put here. */
#define MEMMAP_BIOS_START 0xf0000
#define MEMMAP_BIOS_END	  0x100000

enum memmap_type { MEMMAP_RAM = 1, MEMMAP_RESERVED = 2 };

struct memmap_entry {
	uint64_t address, length;
	uint32_t type; /* enum memmap_type, the BIOS's numbers */
};

/* Fills `map` in ascending order; returns how many. */
unsigned memmap_build(const struct guest_memory *mem, struct memmap_entry map[MEMMAP_MAX]);

#endif
