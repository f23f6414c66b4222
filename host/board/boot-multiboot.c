/* SPDX-License-Identifier: MIT */
/*
 * Multiboot 1 (Multiboot Specification 0.6.96): ELF32 images and images that give their addresses
 * in the header (the "a.out kludge"); memory, memory map, modules, command line and boot loader
 * name, as QEMU hands them over.  Left out: video modes, symbols, drives, APM.
 *
 * QEMU puts the tables at 0x9000, where kernels start their other processors; here they lie above
 * 64 KiB.
 */
#include <errno.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "board/boot-image.h"

/* The header (3.1), offsets from the magic */
#define HEADER_MAGIC	0x1badb002u
#define HEADER_SIZE	48
#define HEADER_FLAGS	4
#define HEADER_CHECKSUM 8
#define HEADER_ADDRESS	12
#define HEADER_LOAD	16
#define HEADER_LOAD_END 20
#define HEADER_BSS_END	24
#define HEADER_ENTRY	28
#define FLAG_ADDRESSES	0x10000u
#define FLAGS_UNKNOWN	0xfff8u /* must be understood (3.1.2), and bits 3 to 15 are not */

/* What EAX and EBX carry (3.2, 3.3) */
#define ENTRY_MAGIC	  0x2badb002u
#define INFO_MEMORY	  0x001u
#define INFO_BOOT_DEVICE  0x002u
#define INFO_COMMAND_LINE 0x004u
#define INFO_MODULES	  0x008u
#define INFO_MEMORY_MAP	  0x040u
#define INFO_LOADER_NAME  0x200u

#define MODULES_MAX 128

static const char loader_name[] = "assay";

struct info {
	uint32_t flags, memory_lower, memory_upper, boot_device, command_line;
	uint32_t module_count, modules, symbols[4], map_length, map;
	uint32_t drives_length, drives, config_table, loader_name, apm_table, vbe[4];
};

struct map_entry {
	uint32_t size; /* of what follows */
	uint64_t address, length;
	uint32_t type;
} __attribute__((packed));

struct module {
	uint32_t start, end, string, reserved;
};

_Static_assert(sizeof(struct info) == 88, "multiboot information");
_Static_assert(sizeof(struct map_entry) == 24, "memory map entry");

/* All that EBX leads to, in one piece; strings follow: command line, then one a module. */
struct tables {
	struct info info;
	struct map_entry map[MEMMAP_MAX];
	char name[sizeof(loader_name)];
	struct module modules[MODULES_MAX];
};

static uint32_t read32(const uint8_t *at)
{
	return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

int multiboot_find(const uint8_t *header, size_t size)
{
	for (size_t i = 0; i + HEADER_SIZE <= size; i += 4) {
		const uint8_t *at = header + i;

		if (read32(at) == HEADER_MAGIC &&
			read32(at) + read32(at + HEADER_FLAGS) + read32(at + HEADER_CHECKSUM) == 0)
			return i;
	}
	return -1;
}

bool multiboot_has_addresses(const uint8_t *header, int offset)
{
	return read32(header + offset + HEADER_FLAGS) & FLAG_ADDRESSES;
}

/* The addresses of the header (3.1.3): file bytes [text, ...) belong at load_addr. */
static int load_flat(struct boot_layout *layout, const struct boot_file *file,
	const uint8_t *header, int offset, uint64_t *entry, struct error *err)
{
	uint32_t address = read32(header + offset + HEADER_ADDRESS);
	uint32_t load = read32(header + offset + HEADER_LOAD);
	uint32_t load_end = read32(header + offset + HEADER_LOAD_END);
	uint32_t bss_end = read32(header + offset + HEADER_BSS_END);
	uint64_t text, length, memory_length;

	if (load > address || address - load > (uint32_t)offset)
		return error_set(err, EINVAL, "multiboot: invalid load_addr address");
	text = offset - (address - load);
	if (load_end && load_end < load)
		return error_set(err, EINVAL, "multiboot: invalid load_end_addr address");
	length = load_end ? load_end - load : file->size - text;
	if (length > file->size - text)
		return error_set(err, EINVAL,
			"multiboot: truncated: load_end_addr is beyond the "
			"file");
	memory_length = length;
	if (bss_end) {
		if (bss_end < load || bss_end - load < length)
			return error_set(err, EINVAL, "multiboot: invalid bss_end_addr address");
		memory_length = bss_end - load;
	}
	*entry = read32(header + offset + HEADER_ENTRY);
	return boot_load_file(layout, file, text, length, load, memory_length, err);
}

/* Takes the next element of QEMU's comma-separated list; ",," is a comma.  NULL: out of memory. */
static char *next_element(const char **list)
{
	const char *from = *list;
	char *out = malloc(strlen(from) + 1), *to = out;

	if (!out)
		return NULL;
	while (*from) {
		if (*from == ',' && *++from != ',')
			break;
		*to++ = *from++;
	}
	*to = '\0';
	*list = from;
	return out;
}

struct strings {
	char *text; /* NUL-terminated, one after the other */
	size_t length;
};

/* Returns the offset of the string, or -ENOMEM. */
static int64_t strings_add(struct strings *strings, const char *text)
{
	size_t size = strlen(text) + 1, at = strings->length;
	char *grown = realloc(strings->text, at + size);

	if (!grown)
		return -ENOMEM;
	memcpy(grown + at, text, size);
	strings->text = grown;
	strings->length = at + size;
	return at;
}

/* One module: "FILE ARGUMENTS"; the string it gets is all of that. */
static int load_module(struct boot_layout *layout, char *text, struct module *module,
	struct strings *strings, struct error *err)
{
	char *path = text + strspn(text, " ");
	int64_t string = strings_add(strings, path);
	struct boot_file file;
	uint64_t at;
	int rc;

	if (string < 0)
		return error_set(err, ENOMEM, "out of memory");
	path[strcspn(path, " ")] = '\0';
	rc = boot_file_open(&file, path, "multiboot module", err);
	if (rc)
		return error_prefix(err, rc, "-initrd: ");
	at = boot_place_behind(layout, file.size);
	if (!at)
		rc = error_set(err, ENOMEM, "no room for its %llu bytes in guest memory",
			(unsigned long long)file.size);
	else
		rc = boot_load_file(layout, &file, 0, file.size, at, file.size, err);
	*module = (struct module){at, at + file.size, string, 0};
	boot_file_close(&file);
	return error_prefix(err, rc, "-initrd %s: ", path);
}

static int load_modules(struct boot_layout *layout, const char *list, struct tables *tables,
	struct strings *strings, struct error *err)
{
	unsigned count = 0;
	int rc = 0;

	while (*list && !rc) {
		char *text = next_element(&list);

		if (!text)
			rc = error_set(err, ENOMEM, "out of memory");
		else if (count == MODULES_MAX)
			rc = error_set(err, EINVAL, "-initrd: more than %d modules", MODULES_MAX);
		else
			rc = load_module(layout, text, &tables->modules[count++], strings, err);
		free(text);
	}
	tables->info.module_count = count;
	return rc;
}

static void fill_memory(struct tables *tables, const struct guest_memory *mem)
{
	struct memmap_entry map[MEMMAP_MAX];
	unsigned count = memmap_build(mem, map);

	for (unsigned i = 0; i < count; i++) {
		tables->map[i] = (struct map_entry){
			sizeof(struct map_entry) - 4, map[i].address, map[i].length, map[i].type};
		if (map[i].type == MEMMAP_RAM && map[i].address == 0x100000)
			tables->info.memory_upper = map[i].length / 1024;
	}
	tables->info.memory_lower = 640;
	tables->info.map_length = count * sizeof(struct map_entry);
	fault_table("multiboot:memmap", tables->map, tables->info.map_length);
}

/* Turns offsets into addresses, now that the tables have a place. */
static void fill_addresses(struct tables *tables, uint32_t at)
{
	struct info *info = &tables->info;
	uint32_t text = at + sizeof(*tables);

	info->flags = INFO_MEMORY | INFO_BOOT_DEVICE | INFO_COMMAND_LINE | INFO_MODULES |
		      INFO_MEMORY_MAP | INFO_LOADER_NAME;
	info->boot_device = 0x8000ffff; /* the first disk, no partition known */
	info->command_line = text;
	info->modules = at + offsetof(struct tables, modules);
	info->map = at + offsetof(struct tables, map);
	info->loader_name = at + offsetof(struct tables, name);
	memcpy(tables->name, loader_name, sizeof(loader_name));
	for (unsigned i = 0; i < info->module_count; i++)
		tables->modules[i].string += text;
}

static int add_command_line(struct strings *strings, const struct board_config *config)
{
	const char *append = config->append ? config->append : "";
	size_t size = strlen(config->kernel) + strlen(append) + 2;
	char *line = malloc(size);
	int64_t rc;

	if (!line)
		return -ENOMEM;
	snprintf(line, size, "%s %s", config->kernel, append);
	fault_table("cmdline", line, size);
	rc = strings_add(strings, line);
	free(line);
	return rc < 0 ? (int)rc : 0;
}

static int load_tables(struct boot_layout *layout, const struct board_config *config,
	struct boot_entry *out, struct error *err)
{
	struct tables *tables = calloc(1, sizeof(*tables));
	struct strings strings = {0};
	uint64_t at = 0;
	uint8_t *all = NULL;
	int rc = 0;

	if (!tables || add_command_line(&strings, config))
		rc = error_set(err, ENOMEM, "out of memory");
	if (!rc && config->initrd)
		rc = load_modules(layout, config->initrd, tables, &strings, err);
	if (!rc) {
		at = boot_place_tables(layout, sizeof(*tables) + strings.length);
		all = malloc(sizeof(*tables) + strings.length);
		if (!at || !all)
			rc = error_set(err, ENOMEM, "no room for the multiboot information");
	}
	if (!rc) {
		fill_memory(tables, &layout->machine->memory);
		fill_addresses(tables, at);
		fault_table("multiboot:info", &tables->info, sizeof(tables->info));
		memcpy(all, tables, sizeof(*tables));
		memcpy(all + sizeof(*tables), strings.text, strings.length);
		rc = boot_load_bytes(layout, all, sizeof(*tables) + strings.length, at, err);
	}
	free(all);
	free(strings.text);
	free(tables);
	out->ebx = at;
	return rc;
}

int multiboot_load(struct boot_layout *layout, const struct boot_file *file, const uint8_t *header,
	int offset, const struct elf_image *elf, const struct board_config *config,
	struct boot_entry *out, struct error *err)
{
	uint32_t flags = read32(header + offset + HEADER_FLAGS);
	int rc;

	if (flags & FLAGS_UNKNOWN)
		return error_set(err, EINVAL,
			"multiboot: the header asks for features 0x%x that "
			"are not known",
			flags & FLAGS_UNKNOWN);
	*out = (struct boot_entry){.eax = ENTRY_MAGIC, .mode = BOOT_PROTECTED32};
	if (elf) {
		rc = elf_load(layout, file, elf, err);
		out->rip = elf->entry;
	} else {
		rc = load_flat(layout, file, header, offset, &out->rip, err);
	}
	return rc ? rc : load_tables(layout, config, out, err);
}
