/* SPDX-License-Identifier: MIT */
/*
 * Boot loaders: what -kernel, -initrd and -append ask for, put into guest memory, and where the
 * first processor starts.
 */
#ifndef BOARD_BOOT_H
#define BOARD_BOOT_H

#include <stdint.h>

#include "base/error.h"
#include "board/config.h"
#include "machine/machine.h"

/* How the first processor finds itself, interrupts off and A20 open.  PVH (Xen's
 * docs/misc/pvh.pandoc), Multiboot (0.6.96, 3.2) and Linux's 32-bit entry: 32-bit protected mode
 * with flat segments, paging off.  Linux's 64-bit entry: long mode with the first 4 GiB mapped as
 * they are, CS 0x10 and data segments 0x18 of the given table. */
enum boot_mode { BOOT_PROTECTED32, BOOT_LONG64 };

struct boot_entry {
	uint64_t rip;
	uint32_t eax, ebx, esi;
	enum boot_mode mode;
	uint64_t page_table, gdt; /* of BOOT_LONG64 */
	uint16_t gdt_limit;
};

/*
 * Loads config->kernel: an ELF file with a PVH note, a multiboot-1 image, or a Linux
 * bzImage.  The file is hostile
 * input.  rsdp: guest address of the ACPI root pointer, or 0.  Memory is written through
 * guest_load() only; it may be called again (system reset) and then restores what it loaded.
 * 0 or -errno with a sentence that begins with the option at fault.
 */
int boot_load(struct machine *machine, const struct board_config *config, uint64_t rsdp,
	struct boot_entry *out, struct error *err);

#endif
