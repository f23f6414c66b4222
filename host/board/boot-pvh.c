/* SPDX-License-Identifier: MIT */
/*
 * PVH direct boot (Xen's docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h, version 1):
 * EBX points to the start info with command line, modules, memory map and the ACPI root pointer.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "board/boot-image.h"

#define START_MAGIC 0x336ec578u

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, command_line, rsdp, memory_map;
	uint32_t memory_map_count, reserved;
};

struct module {
	uint64_t address, size, command_line, reserved;
};

struct map_entry {
	uint64_t address, size;
	uint32_t type, reserved;
};

_Static_assert(sizeof(struct start_info) == 56, "start info, version 1");
_Static_assert(sizeof(struct map_entry) == 24, "memory map entry");

/* All that EBX leads to, in one piece; the command line follows. */
struct tables {
	struct start_info info;
	struct module module;
	struct map_entry map[MEMMAP_MAX];
};

static int load_initrd(
	struct boot_layout *layout, const char *path, struct module *module, struct error *err)
{
	struct boot_file file;
	int rc = boot_file_open(&file, path, "initial ram disk", err);

	if (rc)
		return error_prefix(err, rc, "-initrd: ");
	module->size = file.size;
	module->address = boot_place_top(layout, file.size, UINT64_MAX);
	if (!module->address)
		rc = error_set(err, ENOMEM, "no room for its %llu bytes in guest memory",
			(unsigned long long)file.size);
	else
		rc = boot_load_file(layout, &file, 0, file.size, module->address, file.size, err);
	boot_file_close(&file);
	return error_prefix(err, rc, "-initrd %s: ", path);
}

static unsigned fill_map(const struct guest_memory *mem, struct map_entry *to)
{
	struct memmap_entry map[MEMMAP_MAX];
	unsigned count = memmap_build(mem, map);

	for (unsigned i = 0; i < count; i++)
		to[i] = (struct map_entry){map[i].address, map[i].length, map[i].type, 0};
	fault_table("pvh:memmap", to, count * sizeof(*to));
	return count;
}

int pvh_load(struct boot_layout *layout, const struct boot_file *file, const struct elf_image *elf,
	const struct board_config *config, uint64_t rsdp, struct boot_entry *out, struct error *err)
{
	const char *append = config->append ? config->append : "";
	size_t size = sizeof(struct tables) + strlen(append) + 1;
	struct tables *tables;
	uint64_t at;
	int rc = elf_load(layout, file, elf, err);

	if (rc)
		return rc;
	tables = calloc(1, size);
	if (!tables)
		return error_set(err, ENOMEM, "out of memory");
	if (config->initrd)
		rc = load_initrd(layout, config->initrd, &tables->module, err);
	at = boot_place_tables(layout, size);
	if (!rc && !at)
		rc = error_set(err, ENOMEM, "no room for the start info and its command line");
	if (!rc) {
		tables->info = (struct start_info){
			.magic = START_MAGIC,
			.version = 1,
			.module_count = config->initrd ? 1 : 0,
			.modules = config->initrd ? at + offsetof(struct tables, module) : 0,
			.command_line = at + sizeof(struct tables),
			.rsdp = rsdp,
			.memory_map = at + offsetof(struct tables, map),
			.memory_map_count = fill_map(&layout->machine->memory, tables->map),
		};
		strcpy((char *)(tables + 1), append);
		fault_table("cmdline", tables + 1, strlen(append) + 1);
		fault_table("pvh:start-info", &tables->info, sizeof(tables->info));
		rc = boot_load_bytes(layout, tables, size, at, err);
	}
	free(tables);
	*out = (struct boot_entry){
		.rip = elf->pvh_entry,
		.ebx = at,
		.mode = BOOT_PROTECTED32,
	};
	return rc;
}
