/* SPDX-License-Identifier: MIT */
/*
 * What the loaders share: the file, checked reads of it, the ranges of guest memory that are
 * taken, and ELF.  Private to board/boot*.c and their unit tests.
 */
#ifndef BOARD_BOOT_IMAGE_H
#define BOARD_BOOT_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "board/boot.h"
#include "board/memmap.h"

#define BOOT_RANGES_MAX	  256
#define BOOT_SEGMENTS_MAX 32
#define BOOT_HEADER_SIZE  8192 /* multiboot's header lies within */

struct boot_file {
	const char *path;
	int fd;
	uint64_t size;
};

/* what: QEMU's words for the file ("kernel file"). 0 or -errno. */
int boot_file_open(struct boot_file *file, const char *path, const char *what, struct error *err);
void boot_file_close(struct boot_file *file);
/* Exactly `length` bytes, or -EINVAL with "truncated". */
int boot_file_read(
	const struct boot_file *file, uint64_t offset, void *to, size_t length, struct error *err);

/* Guest memory that the loaders have used, so that nothing is put over something else. */
struct boot_layout {
	struct machine *machine;
	struct {
		uint64_t start, end;
	} taken[BOOT_RANGES_MAX];
	unsigned count;
	uint64_t image_end; /* the highest address of the kernel and its modules */
};

void boot_layout_init(struct boot_layout *layout, struct machine *machine);
/* Loads `length` bytes at `offset` of the file to `address`, and zeroes up to `memory_length`.
 * -EINVAL: outside of RAM, or over what is there already. */
int boot_load_file(struct boot_layout *layout, const struct boot_file *file, uint64_t offset,
	uint64_t length, uint64_t address, uint64_t memory_length, struct error *err);
/*
 * Finds room for the tables of a boot protocol: below 640 KiB but above the first 64 KiB, whose
 * pages kernels use to start processors; else behind the image.  0: no room.
 */
uint64_t boot_place_tables(const struct boot_layout *layout, uint64_t size);
/* Page-aligned room behind the image (for modules), or at the top of RAM below `limit` and 4 GiB.
 * 0: none. */
uint64_t boot_place_behind(const struct boot_layout *layout, uint64_t size);
uint64_t boot_place_top(const struct boot_layout *layout, uint64_t size, uint64_t limit);
int boot_load_bytes(struct boot_layout *layout, const void *from, size_t length, uint64_t address,
	struct error *err);

struct elf_segment {
	uint32_t type, flags;
	uint64_t offset, virtual_address, physical, file_size, memory_size;
};

struct elf_image {
	bool is64;
	uint64_t entry; /* physical */
	bool has_pvh;
	uint64_t pvh_entry;
	struct elf_segment loads[BOOT_SEGMENTS_MAX];
	unsigned load_count;
};

bool elf_is(const uint8_t *header, uint64_t size);
/* Reads and checks headers and notes; nothing is loaded yet. */
int elf_parse(const struct boot_file *file, struct elf_image *elf, struct error *err);
int elf_load(struct boot_layout *layout, const struct boot_file *file, const struct elf_image *elf,
	struct error *err);

int pvh_load(struct boot_layout *layout, const struct boot_file *file, const struct elf_image *elf,
	const struct board_config *config, uint64_t rsdp, struct boot_entry *out,
	struct error *err);

bool linux_is(const uint8_t *header, uint64_t size); /* a bzImage, by its setup header */
int linux_load(struct boot_layout *layout, const struct boot_file *file,
	const struct board_config *config, uint64_t rsdp, struct boot_entry *out,
	struct error *err);

/* The offset of a multiboot-1 header in the first bytes of a file, or -1. */
int multiboot_find(const uint8_t *header, size_t size);
/* elf: the parsed file, or NULL when it is none (the header must carry addresses then). */
int multiboot_load(struct boot_layout *layout, const struct boot_file *file, const uint8_t *header,
	int offset, const struct elf_image *elf, const struct board_config *config,
	struct boot_entry *out, struct error *err);
/* Does the header carry load addresses (the a.out kludge), so that ELF does not matter? */
bool multiboot_has_addresses(const uint8_t *header, int offset);

#endif
