/* SPDX-License-Identifier: MIT */
/* The loaders: well-formed images arrive where they belong, hostile ones give one sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <elf.h>

#include "board/boot.h"
#include "board/memmap.h"

#define MIB (1u << 20)

static struct machine machine;
static struct board_config config;
static char kernel_path[] = "/tmp/assay-test-boot-XXXXXX";
static struct error err;
static struct boot_entry entry;

/* One ELF64 file: header, three program headers, a Xen note, code. */
static struct {
	Elf64_Ehdr header;
	Elf64_Phdr program[3];
	struct {
		Elf64_Nhdr header;
		char name[4];
		uint64_t entry;
	} note;
	uint8_t code[64];
} elf;

static void good_elf(void)
{
	memset(&elf, 0, sizeof(elf));
	memcpy(elf.header.e_ident, ELFMAG, SELFMAG);
	elf.header.e_ident[EI_CLASS] = ELFCLASS64;
	elf.header.e_ident[EI_DATA] = ELFDATA2LSB;
	elf.header.e_ident[EI_VERSION] = EV_CURRENT;
	elf.header.e_type = ET_EXEC;
	elf.header.e_machine = EM_X86_64;
	elf.header.e_phoff = sizeof(elf.header);
	elf.header.e_phentsize = sizeof(Elf64_Phdr);
	elf.header.e_phnum = 3;
	elf.program[0] = (Elf64_Phdr){.p_type = PT_LOAD,
		.p_flags = PF_X | PF_R,
		.p_offset = offsetof(__typeof__(elf), code),
		.p_vaddr = 0xffffffff80100000,
		.p_paddr = 0x100000,
		.p_filesz = sizeof(elf.code),
		.p_memsz = 0x3000};
	elf.program[1] = (Elf64_Phdr){.p_type = PT_NOTE,
		.p_offset = offsetof(__typeof__(elf), note),
		.p_filesz = sizeof(elf.note),
		.p_memsz = sizeof(elf.note)};
	elf.program[2] = (Elf64_Phdr){.p_type = PT_NULL};
	elf.note.header = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 8, .n_type = 18};
	memcpy(elf.note.name, "Xen", 4);
	elf.note.entry = 0x100010;
	memset(elf.code, 0xc3, sizeof(elf.code));
}

static int load_bytes(const void *bytes, size_t length)
{
	FILE *file = fopen(kernel_path, "wb");
	int rc;

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	fclose(file);
	err.text[0] = '\0';
	rc = boot_load(&machine, &config, 0xf0000, &entry, &err);
	if (rc) {
		assert_true(rc < 0);
		assert_true(strlen(err.text) > 10);
		assert_null(strchr(err.text, '\n'));
		assert_ptr_equal(strstr(err.text, "-kernel"), err.text);
	}
	return rc;
}

static int load_elf(void)
{
	return load_bytes(&elf, sizeof(elf));
}

static uint32_t guest32(uint64_t address)
{
	uint32_t value = 0;

	assert_int_equal(guest_read(&machine.memory, address, &value, 4), 0);
	return value;
}

static uint64_t guest64(uint64_t address)
{
	return guest32(address) | (uint64_t)guest32(address + 4) << 32;
}

static int set_up(void **state)
{
	struct loop *loop = loop_create("test", &err);

	machine_init(&machine, loop, &err);
	memory_add(&machine.memory, "low", 0, 0xa0000, false, &err);
	memory_add(&machine.memory, "ram", 0xc0000, 16 * MIB - 0xc0000, false, &err);
	strcpy(kernel_path + sizeof(kernel_path) - 7, "XXXXXX");
	close(mkstemp(kernel_path));
	config = (struct board_config){.kernel = kernel_path, .append = "a=1 b"};
	good_elf();
	return 0;
}

static int tear_down(void **state)
{
	struct loop *loop = machine.loop;

	unlink(kernel_path);
	machine_destroy(&machine);
	loop_destroy(loop);
	return 0;
}

static void pvh_arrives(void **state)
{
	char line[8] = "";
	uint8_t byte;

	/* What an earlier run left behind is zeroed behind the file's part of a segment. */
	byte = 0x55;
	guest_load(&machine.memory, 0x102fff, &byte, 1);
	assert_int_equal(load_elf(), 0);
	assert_int_equal(entry.rip, 0x100010);
	assert_int_equal(guest32(0x100000), 0xc3c3c3c3);
	assert_int_equal(guest32(0x102ffc), 0);
	assert_true(entry.ebx >= 0x10000 && entry.ebx < 0xa0000);
	assert_int_equal(guest32(entry.ebx), 0x336ec578);
	assert_int_equal(guest32(entry.ebx + 4), 1);
	assert_int_equal(guest32(entry.ebx + 12), 0);
	assert_int_equal(guest64(entry.ebx + 32), 0xf0000);
	guest_read(&machine.memory, guest64(entry.ebx + 24), line, 6);
	assert_string_equal(line, "a=1 b");
	assert_true(guest32(entry.ebx + 48) >= 4);
}

static void missing_kernel(void **state)
{
	config.kernel = "/nonexistent/kernel";
	assert_true(boot_load(&machine, &config, 0, &entry, &err) < 0);
	assert_non_null(strstr(err.text, "could not open kernel file '/nonexistent/kernel'"));
}

static void every_truncation(void **state)
{
	for (size_t length = 0; length < sizeof(elf); length++)
		assert_true(load_bytes(&elf, length) < 0);
}

static void every_byte_changed(void **state)
{
	static const uint8_t values[] = {0x00, 0x7f, 0x80, 0xff};
	uint8_t *bytes = (uint8_t *)&elf;

	/* Whatever comes out: an answer, in bounded time, and a sentence with each refusal. */
	for (size_t i = 0; i < offsetof(__typeof__(elf), code); i++) {
		uint8_t old = bytes[i];

		for (size_t v = 0; v < sizeof(values); v++) {
			bytes[i] = values[v];
			load_elf();
		}
		bytes[i] = old;
	}
}

static void overlapping_segments(void **state)
{
	elf.program[2] = elf.program[0];
	elf.program[2].p_paddr = 0x102fff;
	assert_true(load_elf() < 0);
	assert_non_null(strstr(err.text, "overlap"));
}

static void segment_outside_memory(void **state)
{
	elf.program[0].p_paddr = 16 * MIB - 0x2fff;
	assert_true(load_elf() < 0);
	elf.program[0].p_paddr = 0xa0000;
	assert_true(load_elf() < 0);
	elf.program[0].p_paddr = UINT64_MAX - 0x1000;
	assert_true(load_elf() < 0);
	elf.program[0].p_paddr = 0x100000;
	elf.program[0].p_memsz = UINT64_MAX;
	assert_true(load_elf() < 0);
}

static void huge_counts(void **state)
{
	elf.header.e_phnum = 0xffff;
	assert_true(load_elf() < 0);
	good_elf();
	elf.note.header.n_namesz = UINT32_MAX;
	assert_true(load_elf() < 0);
	good_elf();
	elf.note.header.n_descsz = UINT32_MAX - 1;
	assert_true(load_elf() < 0);
	good_elf();
	elf.program[1].p_filesz = UINT64_MAX;
	assert_true(load_elf() < 0);
	good_elf();
	elf.header.e_phoff = UINT64_MAX - 8;
	assert_true(load_elf() < 0);
}

static void no_note(void **state)
{
	elf.program[1].p_type = PT_NULL;
	assert_true(load_elf() < 0);
	assert_non_null(strstr(err.text, "without PVH ELF Note"));
}

static void initrd_is_passed(void **state)
{
	uint64_t module;

	config.initrd = kernel_path;
	assert_int_equal(load_elf(), 0);
	assert_int_equal(guest32(entry.ebx + 12), 1);
	module = guest64(entry.ebx + 16);
	assert_int_equal(guest64(module + 8), sizeof(elf));
	assert_int_equal(guest32(guest64(module)), 0x464c457f);
	config.initrd = "/nonexistent/initrd";
	assert_true(boot_load(&machine, &config, 0, &entry, &err) < 0);
	assert_ptr_equal(strstr(err.text, "-initrd"), err.text);
}

/* A flat multiboot image at 2 MiB. */
static struct {
	uint32_t magic, flags, checksum, address, load, load_end, bss_end, entry, video[4];
	uint8_t code[4096];
} flat;

static void good_flat(void)
{
	memset(&flat, 0, sizeof(flat));
	flat.magic = 0x1badb002;
	flat.flags = 0x10003;
	flat.checksum = -(flat.magic + flat.flags);
	flat.address = flat.load = 2 * MIB;
	flat.load_end = 2 * MIB + sizeof(flat);
	flat.bss_end = 2 * MIB + 0x4000;
	flat.entry = 2 * MIB + 48;
	memset(flat.code, 0x90, sizeof(flat.code));
}

static int load_flat(void)
{
	return load_bytes(&flat, sizeof(flat));
}

static void multiboot_arrives(void **state)
{
	char line[80] = "";

	good_flat();
	assert_int_equal(load_flat(), 0);
	assert_int_equal(entry.rip, 2 * MIB + 48);
	assert_int_equal(entry.eax, 0x2badb002);
	assert_true(entry.ebx >= 0x10000);
	assert_int_equal(guest32(entry.ebx) & 0x24f, 0x24f);
	assert_int_equal(guest32(entry.ebx + 4), 640);
	assert_int_equal(guest32(entry.ebx + 8), 15 * 1024);
	assert_int_equal(guest32(entry.ebx + 20), 0);
	guest_read(&machine.memory, guest32(entry.ebx + 16), line, sizeof(line) - 1);
	assert_ptr_equal(strstr(line, kernel_path), line);
	assert_string_equal(line + strlen(kernel_path), " a=1 b");
	assert_int_equal(guest32(guest32(entry.ebx + 48)), 20);
}

static void multiboot_modules(void **state)
{
	char list[200], line[100] = "";
	uint32_t modules;

	good_flat();
	snprintf(list, sizeof(list), "%s one,,two, %s", kernel_path, kernel_path);
	config.initrd = list;
	assert_int_equal(load_flat(), 0);
	assert_int_equal(guest32(entry.ebx + 20), 2);
	modules = guest32(entry.ebx + 24);
	assert_int_equal(guest32(modules) & 0xfff, 0);
	assert_int_equal(guest32(modules + 4) - guest32(modules), sizeof(flat));
	assert_true(guest32(modules + 16) >= guest32(modules + 4));
	assert_true(guest32(modules) >= flat.bss_end);
	assert_int_equal(guest32(guest32(modules + 16)), 0x1badb002);
	guest_read(&machine.memory, guest32(modules + 8), line, sizeof(line) - 1);
	assert_non_null(strstr(line, " one,two"));
}

static void hostile_flat(void **state)
{
	static const uint32_t values[] = {0, 1, 0x7fffffff, 0x80000000, UINT32_MAX};
	uint32_t *words = &flat.magic;

	for (unsigned i = 3; i < 8; i++) {
		for (unsigned v = 0; v < 5; v++) {
			good_flat();
			words[i] = values[v];
			load_flat();
		}
	}
	good_flat();
	flat.load = flat.address + 4;
	assert_true(load_flat() < 0);
	good_flat();
	flat.load_end = flat.load + sizeof(flat) + 1;
	assert_true(load_flat() < 0);
	good_flat();
	flat.bss_end = flat.load + 8;
	assert_true(load_flat() < 0);
	good_flat();
	flat.flags |= 0x8000;
	flat.checksum = -(flat.magic + flat.flags);
	assert_true(load_flat() < 0);
}

static void map_is_sorted(void **state)
{
	struct memmap_entry map[MEMMAP_MAX];
	unsigned count = memmap_build(&machine.memory, map);

	assert_int_equal(map[0].address, 0);
	assert_int_equal(map[0].length, 0x9fc00);
	for (unsigned i = 1; i < count; i++)
		assert_true(map[i].address >= map[i - 1].address + map[i - 1].length);
}

#define BOOT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOOT_TEST(pvh_arrives),
		BOOT_TEST(missing_kernel),
		BOOT_TEST(every_truncation),
		BOOT_TEST(every_byte_changed),
		BOOT_TEST(overlapping_segments),
		BOOT_TEST(segment_outside_memory),
		BOOT_TEST(huge_counts),
		BOOT_TEST(no_note),
		BOOT_TEST(initrd_is_passed),
		BOOT_TEST(multiboot_arrives),
		BOOT_TEST(multiboot_modules),
		BOOT_TEST(hostile_flat),
		BOOT_TEST(map_is_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
