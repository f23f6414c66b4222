/* SPDX-License-Identifier: MIT */
/*
 * The PC's memory map (ACPI 6.4, section 15): RAM without the hole below 1 MiB and without what
 * firmware would keep for itself.  The reserved areas are those QEMU's firmware reports.
 */
#include <stddef.h>

#include "board/memmap.h"

static const struct memmap_entry reserved[] = {
	{0x9fc00, 0x400, MEMMAP_RESERVED}, /* extended BIOS data area */
	{MEMMAP_BIOS_START, MEMMAP_BIOS_END - MEMMAP_BIOS_START, MEMMAP_RESERVED},
	{0xfeffc000, 0x4000, MEMMAP_RESERVED}, /* KVM: identity map and task state segment */
	{0xfffc0000, 0x40000, MEMMAP_RESERVED},
};

#define RESERVED_COUNT (sizeof(reserved) / sizeof(reserved[0]))

#define LOW_RAM_END    0x9fc00
#define HIGH_RAM_START 0x100000

static void insert(
	struct memmap_entry *map, unsigned *count, uint64_t start, uint64_t end, uint32_t type)
{
	unsigned at = *count;

	if (start >= end)
		return;
	while (at && map[at - 1].address > start) {
		map[at] = map[at - 1];
		at--;
	}
	map[at] = (struct memmap_entry){start, end - start, type};
	(*count)++;
}

unsigned memmap_build(const struct guest_memory *mem, struct memmap_entry map[MEMMAP_MAX])
{
	unsigned count = 0;

	for (unsigned i = 0; i < mem->count; i++) {
		uint64_t start = mem->blocks[i].address;
		uint64_t end = start + mem->blocks[i].size;

		if (mem->blocks[i].readonly)
			continue;
		insert(map, &count, start, end < LOW_RAM_END ? end : LOW_RAM_END, MEMMAP_RAM);
		insert(map, &count, start > HIGH_RAM_START ? start : HIGH_RAM_START, end,
			MEMMAP_RAM);
	}
	for (size_t i = 0; i < RESERVED_COUNT; i++)
		insert(map, &count, reserved[i].address, reserved[i].address + reserved[i].length,
			reserved[i].type);
	return count;
}
