/* SPDX-License-Identifier: MIT */
/*
 * -kernel: opens the file, finds out which of the boot protocols it speaks, and hands over to
 * boot-pvh.c, boot-multiboot.c or boot-linux.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "board/boot-image.h"

#define CHUNK	    65536u
#define HIGH_MEMORY 0x100000u
#define PAGE	    4096u
#define TABLES_LOW  0x90000u
#define TABLES_END  0x9f000u
#define TABLES_LAST 0x10000u /* the lowest they may go */

int boot_file_open(struct boot_file *file, const char *path, const char *what, struct error *err)
{
	struct stat st;

	*file = (struct boot_file){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
	if (file->fd < 0)
		return error_set_errno(err, errno, "could not open %s '%s'", what, path);
	if (fstat(file->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(file->fd);
		return error_set(
			err, EINVAL, "could not open %s '%s': not a regular file", what, path);
	}
	file->size = st.st_size;
	return 0;
}

void boot_file_close(struct boot_file *file)
{
	close(file->fd);
}

int boot_file_read(
	const struct boot_file *file, uint64_t offset, void *to, size_t length, struct error *err)
{
	uint8_t *at = to;

	if (offset > file->size || length > file->size - offset)
		return error_set(err, EINVAL,
			"truncated: %zu bytes at offset %llu of a file of %llu", length,
			(unsigned long long)offset, (unsigned long long)file->size);
	while (length) {
		ssize_t n = pread(file->fd, at, length, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "cannot read");
		if (n == 0)
			return error_set(err, EINVAL, "the file became shorter while it was read");
		at += n;
		offset += n;
		length -= n;
	}
	return 0;
}

void boot_layout_init(struct boot_layout *layout, struct machine *machine)
{
	layout->machine = machine;
	layout->count = 0;
	layout->image_end = 0;
}

static bool overlaps(const struct boot_layout *layout, uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < layout->count; i++) {
		if (start < layout->taken[i].end && layout->taken[i].start < end)
			return true;
	}
	return false;
}

/* Is all of it one piece of RAM?  Blocks may touch. */
static bool in_ram(const struct guest_memory *mem, uint64_t start, uint64_t length)
{
	for (unsigned i = 0; i < mem->count && length; i++) {
		const struct ram_block *block = &mem->blocks[i];
		uint64_t part;

		if (block->readonly || start < block->address ||
			start - block->address >= block->size)
			continue;
		part = block->size - (start - block->address);
		if (part > length)
			part = length;
		start += part;
		length -= part;
	}
	return length == 0;
}

static int take(struct boot_layout *layout, uint64_t start, uint64_t length, struct error *err)
{
	if (!length)
		return 0;
	if (start + length < start || !in_ram(&layout->machine->memory, start, length))
		return error_set(err, EINVAL, "0x%llx bytes at 0x%llx do not lie in guest memory",
			(unsigned long long)length, (unsigned long long)start);
	if (overlaps(layout, start, start + length))
		return error_set(err, EINVAL, "0x%llx bytes at 0x%llx overlap what is loaded there",
			(unsigned long long)length, (unsigned long long)start);
	if (layout->count == BOOT_RANGES_MAX)
		return error_set(err, EINVAL, "more than %d pieces to load", BOOT_RANGES_MAX);
	layout->taken[layout->count].start = start;
	layout->taken[layout->count++].end = start + length;
	if (start + length > layout->image_end)
		layout->image_end = start + length;
	return 0;
}

/* Zeroes by looking first: memory that nobody touched stays untouched. */
static int zero(struct guest_memory *mem, uint64_t address, uint64_t length, uint8_t *buffer)
{
	static const uint8_t zeroes[PAGE];
	int rc = 0;

	while (length && !rc) {
		size_t part = PAGE - address % PAGE;

		if (part > length)
			part = length;
		rc = guest_peek(mem, address, buffer, part);
		if (!rc && memcmp(buffer, zeroes, part))
			rc = guest_load(mem, address, zeroes, part);
		address += part;
		length -= part;
	}
	return rc;
}

int boot_load_file(struct boot_layout *layout, const struct boot_file *file, uint64_t offset,
	uint64_t length, uint64_t address, uint64_t memory_length, struct error *err)
{
	struct guest_memory *mem = &layout->machine->memory;
	uint64_t tail = memory_length - length;
	uint8_t *buffer;
	int rc = take(layout, address, memory_length, err);

	if (rc)
		return rc;
	buffer = malloc(CHUNK);
	if (!buffer)
		return error_set(err, ENOMEM, "out of memory");
	while (length && !rc) {
		size_t part = length < CHUNK ? length : CHUNK;

		rc = boot_file_read(file, offset, buffer, part, err);
		if (!rc && guest_load(mem, address, buffer, part))
			rc = error_set(err, EFAULT, "0x%llx is not in guest memory",
				(unsigned long long)address);
		offset += part;
		address += part;
		length -= part;
	}
	if (!rc && zero(mem, address, tail, buffer))
		rc = error_set(
			err, EFAULT, "0x%llx is not in guest memory", (unsigned long long)address);
	free(buffer);
	return rc;
}

int boot_load_bytes(struct boot_layout *layout, const void *from, size_t length, uint64_t address,
	struct error *err)
{
	uint64_t image_end = layout->image_end;
	int rc = take(layout, address, length, err);

	layout->image_end = image_end;
	if (!rc && guest_load(&layout->machine->memory, address, from, length))
		rc = error_set(
			err, EFAULT, "0x%llx is not in guest memory", (unsigned long long)address);
	return rc;
}

uint64_t boot_place_behind(const struct boot_layout *layout, uint64_t size)
{
	uint64_t start = (layout->image_end + PAGE - 1) & ~(uint64_t)(PAGE - 1);

	if (start < HIGH_MEMORY)
		start = HIGH_MEMORY;
	if (start + size > 1ull << 32 || !in_ram(&layout->machine->memory, start, size))
		return 0;
	return start;
}

uint64_t boot_place_tables(const struct boot_layout *layout, uint64_t size)
{
	for (uint64_t start = TABLES_LOW; start >= TABLES_LAST; start -= PAGE) {
		if (size <= TABLES_END - start && !overlaps(layout, start, start + size) &&
			in_ram(&layout->machine->memory, start, size))
			return start;
	}
	return boot_place_behind(layout, size);
}

uint64_t boot_place_top(const struct boot_layout *layout, uint64_t size, uint64_t limit)
{
	const struct guest_memory *mem = &layout->machine->memory;
	uint64_t top = 0;

	for (unsigned i = 0; i < mem->count; i++) {
		const struct ram_block *block = &mem->blocks[i];

		if (!block->readonly && block->address + block->size <= 1ull << 32)
			top = block->address + block->size;
	}
	if (top > limit)
		top = limit;
	if (size > top)
		return 0;
	top = (top - size) & ~(uint64_t)(PAGE - 1);
	if (top < HIGH_MEMORY || overlaps(layout, top, top + size) || !in_ram(mem, top, size))
		return 0;
	return top;
}

static int load_opened(struct boot_layout *layout, const struct boot_file *file,
	const struct board_config *config, uint64_t rsdp, struct boot_entry *out, struct error *err)
{
	uint8_t header[BOOT_HEADER_SIZE] = {0};
	size_t got = file->size < sizeof(header) ? file->size : sizeof(header);
	struct elf_image elf = {0};
	int multiboot, rc;

	rc = boot_file_read(file, 0, header, got, err);
	if (rc)
		return rc;
	multiboot = multiboot_find(header, got);
	if (multiboot >= 0 && multiboot_has_addresses(header, multiboot))
		return multiboot_load(layout, file, header, multiboot, NULL, config, out, err);
	if (!elf_is(header, got)) {
		if (multiboot >= 0)
			return error_set(err, EINVAL,
				"multiboot image that is neither ELF nor gives its addresses");
		if (linux_is(header, got))
			return linux_load(layout, file, config, rsdp, out, err);
		return error_set(err, EINVAL, "neither an ELF, a multiboot nor a Linux image");
	}
	rc = elf_parse(file, &elf, err);
	if (rc)
		return rc;
	if (multiboot >= 0 && !elf.is64)
		return multiboot_load(layout, file, header, multiboot, &elf, config, out, err);
	if (elf.has_pvh)
		return pvh_load(layout, file, &elf, config, rsdp, out, err);
	if (multiboot >= 0)
		return error_set(err, EINVAL, "Cannot load x86-64 image, give a 32bit one.");
	return error_set(err, EINVAL, "Error loading uncompressed kernel without PVH ELF Note");
}

int boot_load(struct machine *machine, const struct board_config *config, uint64_t rsdp,
	struct boot_entry *out, struct error *err)
{
	struct boot_layout layout;
	struct boot_file file;
	int rc;

	boot_layout_init(&layout, machine);
	rc = boot_file_open(&file, config->kernel, "kernel file", err);
	if (rc)
		return error_prefix(err, rc, "-kernel: ");
	rc = load_opened(&layout, &file, config, rsdp, out, err);
	boot_file_close(&file);
	/* -initrd names its own option. */
	if (rc && (!err || strncmp(err->text, "-initrd", 7)))
		return error_prefix(err, rc, "-kernel %s: ", config->kernel);
	return rc;
}
