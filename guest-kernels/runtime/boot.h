/* SPDX-License-Identifier: MIT */
/*
 * What the loader said, in one form for PVH, Multiboot and UEFI.
 */
#ifndef ASSAY_RUNTIME_BOOT_H
#define ASSAY_RUNTIME_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum boot_protocol { BOOT_PVH = 1, BOOT_MULTIBOOT = 2, BOOT_UEFI = 3 };

/* Registers as found, before anything was changed; boot/entry.asm knows the layout. */
struct entry_state {
	uint32_t protocol, eax, ebx, cr0, cr4, eflags;
	uint16_t cs, ds, es, ss, tr, unused;
	uint32_t efer;
};
extern struct entry_state entry_state;

enum { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI = 3, MEMORY_NVS = 4, MEMORY_BAD = 5 };

struct memory_range {
	uint64_t base, size;
	uint32_t type;
};

struct boot_module {
	uint64_t base, size;
	const char *cmdline; /* "" where there is none */
};

#define BOOT_RANGES  128
#define BOOT_MODULES 8

struct boot_info {
	enum boot_protocol protocol;
	const char *cmdline; /* as given, never NULL */
	uint64_t rsdp;	     /* 0 if the loader gave none */
	unsigned range_count, module_count;
	struct memory_range ranges[BOOT_RANGES];
	struct boot_module modules[BOOT_MODULES];
	const void *start_info; /* the loader's own structure (hvm_start_info, multiboot info), or
				   NULL */
};
extern struct boot_info boot_info;

/* hvm_start_info of Xen's x86/HVM direct boot ABI, version 1. */
struct hvm_start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};
#define HVM_START_MAGIC 0x336ec578

struct hvm_module {
	uint64_t base, size, cmdline, reserved;
};

struct hvm_memmap_entry {
	uint64_t base, size;
	uint32_t type, reserved;
};

/* Bytes of RAM in all ranges of type RAM. */
uint64_t boot_ram(void);

/* The kernel's own place (linker script). */
extern char kernel_start[], kernel_end[];

/* The value of key=value (or "" for a bare key) on the command line, or NULL. The string lasts. */
const char *cmdline_get(const char *key);
/* The n-th value of a key that may stand several times (virtio_mmio.device=), or NULL. */
const char *cmdline_get_nth(const char *key, unsigned n);
uint64_t cmdline_number(const char *key, uint64_t otherwise);
/* 0x hexadecimal or decimal; *end (may be NULL) gets what follows. K, M and G multiply. */
uint64_t parse_number(const char *s, const char **end);

/* Ends the machine: isa-debug-exit (status 2 * value + 1), else ACPI S5, else halts. */
void machine_exit(uint8_t value) __attribute__((noreturn));

#endif
