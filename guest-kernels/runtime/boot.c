/* SPDX-License-Identifier: MIT */
/*
 * From the loader's structures to boot_info, the command line, and the end of the machine.
 */
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/run.h"

struct entry_state entry_state __attribute__((section(".data"))) = {0};
struct boot_info boot_info;

static char tokens[4096];
static unsigned token_bytes;

static void range_add(uint64_t base, uint64_t size, uint32_t type)
{
	if (boot_info.range_count < BOOT_RANGES)
		boot_info.ranges[boot_info.range_count++] = (struct memory_range){base, size, type};
}

static void module_add(uint64_t base, uint64_t size, const char *cmdline)
{
	if (boot_info.module_count < BOOT_MODULES)
		boot_info.modules[boot_info.module_count++] =
			(struct boot_module){base, size, cmdline};
}

void boot_main_pvh(uint32_t start)
{
	const struct hvm_start_info *info = (void *)(uint64_t)start;
	const struct hvm_memmap_entry *map;
	const struct hvm_module *modules;

	boot_info.protocol = BOOT_PVH;
	boot_info.cmdline = "";
	boot_info.start_info = info;
	if (info->magic == HVM_START_MAGIC) {
		boot_info.cmdline = info->cmdline ? (const char *)info->cmdline : "";
		boot_info.rsdp = info->rsdp;
		modules = (void *)info->modules;
		for (uint32_t i = 0; i < info->module_count; i++) {
			const char *line = (const char *)modules[i].cmdline;

			module_add(modules[i].base, modules[i].size, line ? line : "");
		}
		map = (void *)info->memmap;
		for (uint32_t i = 0; info->version >= 1 && i < info->memmap_entries; i++)
			range_add(map[i].base, map[i].size, map[i].type);
	}
	runtime_main();
}

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr;
};

struct multiboot_module {
	uint32_t start, end, cmdline, reserved;
};

struct multiboot_map {
	uint32_t size; /* of what follows */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

#define MULTIBOOT_CMDLINE 0x04
#define MULTIBOOT_MODULES 0x08
#define MULTIBOOT_MAP	  0x40

/* The first word of the command line is the image's own name (Multiboot 1, 3.3). */
static const char *after_name(const char *line)
{
	while (*line && *line != ' ')
		line++;
	while (*line == ' ')
		line++;
	return line;
}

void boot_main_multiboot(uint32_t start)
{
	const struct multiboot_info *info = (void *)(uint64_t)start;

	boot_info.protocol = BOOT_MULTIBOOT;
	boot_info.cmdline = "";
	boot_info.start_info = info;
	if (info->flags & MULTIBOOT_CMDLINE)
		boot_info.cmdline = after_name((const char *)(uint64_t)info->cmdline);
	if (info->flags & MULTIBOOT_MODULES) {
		const struct multiboot_module *module = (void *)(uint64_t)info->mods_addr;

		for (uint32_t i = 0; i < info->mods_count; i++) {
			const char *line = (const char *)(uint64_t)module[i].cmdline;

			module_add(
				module[i].start, module[i].end - module[i].start, line ? line : "");
		}
	}
	if (info->flags & MULTIBOOT_MAP) {
		uint64_t at = info->mmap_addr, end = at + info->mmap_length;

		while (at < end) {
			const struct multiboot_map *entry = (void *)at;

			range_add(entry->base, entry->length, entry->type);
			at += entry->size + 4;
		}
	}
	runtime_main();
}

uint64_t boot_ram(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < boot_info.range_count; i++) {
		if (boot_info.ranges[i].type == MEMORY_RAM)
			sum += boot_info.ranges[i].size;
	}
	return sum;
}

/* A private copy cut into words, so that values are strings and the loader's text stays as it was.
 */
void cmdline_init(void)
{
	unsigned i;

	for (i = 0; i < sizeof(tokens) - 1 && boot_info.cmdline[i]; i++)
		tokens[i] = boot_info.cmdline[i] == ' ' ? 0 : boot_info.cmdline[i];
	tokens[i] = 0;
	token_bytes = i;
}

const char *cmdline_get_nth(const char *key, unsigned n)
{
	size_t length = strlen(key);

	for (unsigned i = 0; i < token_bytes; i += strlen(tokens + i) + 1) {
		const char *token = tokens + i;

		if (strncmp(token, key, length) != 0 ||
			(token[length] != '=' && token[length] != 0))
			continue;
		if (n-- == 0)
			return token[length] ? token + length + 1 : "";
	}
	return NULL;
}

const char *cmdline_get(const char *key)
{
	return cmdline_get_nth(key, 0);
}

static int digit(char c, unsigned base)
{
	int value = c >= '0' && c <= '9'		 ? c - '0'
		    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
							 : 99;

	return value < (int)base ? value : -1;
}

uint64_t parse_number(const char *s, const char **end)
{
	unsigned base = 10;
	uint64_t value = 0;

	if (s[0] == '0' && (s[1] | 32) == 'x') {
		base = 16;
		s += 2;
	}
	for (; digit(*s, base) >= 0; s++)
		value = value * base + digit(*s, base);
	if (*s == 'K' || *s == 'M' || *s == 'G') {
		value <<= *s == 'K' ? 10 : *s == 'M' ? 20 : 30;
		s++;
	}
	if (end)
		*end = s;
	return value;
}

uint64_t cmdline_number(const char *key, uint64_t otherwise)
{
	const char *value = cmdline_get(key);

	return value && *value ? parse_number(value, NULL) : otherwise;
}

#define DEBUG_EXIT 0xf4
#define PM1_CNT	   0x604
#define S5	   0x2000 /* SLP_EN, SLP_TYP 0: what i440FX machines' DSDT says for S5 */

void machine_exit(uint8_t value)
{
	console_flush();
	irq_disable();
	outb(DEBUG_EXIT, value);
	outw(PM1_CNT, S5);
	for (;;)
		__asm__ volatile("hlt");
}
