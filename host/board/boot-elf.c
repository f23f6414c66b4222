/* SPDX-License-Identifier: MIT */
/*
 * ELF, 32 and 64 bits (System V ABI, Edition 4.1, chapters 4 and 5), as far as a kernel needs it:
 * loadable segments by physical address, and the note that carries the PVH entry point
 * (XEN_ELFNOTE_PHYS32_ENTRY, Xen's public/elfnote.h).  Every number in the file is a stranger's.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "board/boot-image.h"

#define XEN_PHYS32_ENTRY 18
#define HEADERS_MAX	 1024
#define NOTES_MAX	 (1u << 20)

bool elf_is(const uint8_t *header, uint64_t size)
{
	return size >= EI_NIDENT && !memcmp(header, ELFMAG, SELFMAG);
}

static void segment_from32(const Elf32_Phdr *ph, struct elf_segment *segment)
{
	*segment = (struct elf_segment){
		.type = ph->p_type,
		.flags = ph->p_flags,
		.offset = ph->p_offset,
		.virtual_address = ph->p_vaddr,
		.physical = ph->p_paddr,
		.file_size = ph->p_filesz,
		.memory_size = ph->p_memsz,
	};
}

static void segment_from64(const Elf64_Phdr *ph, struct elf_segment *segment)
{
	*segment = (struct elf_segment){
		.type = ph->p_type,
		.flags = ph->p_flags,
		.offset = ph->p_offset,
		.virtual_address = ph->p_vaddr,
		.physical = ph->p_paddr,
		.file_size = ph->p_filesz,
		.memory_size = ph->p_memsz,
	};
}

/* Walks the notes of one PT_NOTE segment for Xen's entry point. */
static void scan_notes(const uint8_t *notes, size_t size, struct elf_image *elf)
{
	size_t at = 0;

	while (size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		size_t name, descriptor, left;

		memcpy(&note, notes + at, sizeof(note));
		at += sizeof(note);
		left = size - at;
		name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
		descriptor = ((size_t)note.n_descsz + 3) & ~(size_t)3;
		if (name > left || note.n_descsz > left - name)
			return;
		if (note.n_type == XEN_PHYS32_ENTRY && note.n_namesz == 4 &&
			!memcmp(notes + at, "Xen", 4) && note.n_descsz >= 4) {
			uint32_t entry;

			memcpy(&entry, notes + at + name, sizeof(entry));
			elf->has_pvh = true;
			elf->pvh_entry = entry;
		}
		if (descriptor > left - name)
			return;
		at += name + descriptor;
	}
}

static int read_notes(const struct boot_file *file, const struct elf_segment *segment,
	struct elf_image *elf, struct error *err)
{
	uint8_t *notes;
	int rc;

	if (segment->file_size > NOTES_MAX)
		return error_set(
			err, EINVAL, "%llu bytes of notes", (unsigned long long)segment->file_size);
	notes = malloc(segment->file_size + 1);
	if (!notes)
		return error_set(err, ENOMEM, "out of memory");
	rc = boot_file_read(file, segment->offset, notes, segment->file_size, err);
	if (!rc)
		scan_notes(notes, segment->file_size, elf);
	free(notes);
	return error_prefix(err, rc, "ELF notes: ");
}

static int add_segment(const struct boot_file *file, const struct elf_segment *segment,
	struct elf_image *elf, struct error *err)
{
	if (segment->type == PT_NOTE)
		return read_notes(file, segment, elf, err);
	if (segment->type != PT_LOAD || !segment->memory_size)
		return 0;
	if (segment->file_size > segment->memory_size)
		return error_set(err, EINVAL, "ELF segment is larger in the file than in memory");
	if (segment->offset > file->size || segment->file_size > file->size - segment->offset)
		return error_set(err, EINVAL, "truncated: an ELF segment ends beyond the file");
	if (elf->load_count == BOOT_SEGMENTS_MAX)
		return error_set(
			err, EINVAL, "more than %d ELF segments to load", BOOT_SEGMENTS_MAX);
	elf->loads[elf->load_count++] = *segment;
	return 0;
}

/* e_entry is virtual where the code's addresses are; the processor starts without paging. */
static uint64_t physical_entry(const struct elf_image *elf, uint64_t entry)
{
	for (unsigned i = 0; i < elf->load_count; i++) {
		const struct elf_segment *segment = &elf->loads[i];

		if ((segment->flags & PF_X) && entry >= segment->virtual_address &&
			entry - segment->virtual_address < segment->file_size)
			return entry - segment->virtual_address + segment->physical;
	}
	return entry;
}

struct headers {
	uint64_t entry, offset;
	unsigned count, size, machine, type;
};

static int read_header(
	const struct boot_file *file, struct elf_image *elf, struct headers *h, struct error *err)
{
	uint8_t ident[EI_NIDENT];
	int rc = boot_file_read(file, 0, ident, sizeof(ident), err);

	if (rc)
		return rc;
	if (ident[EI_DATA] != ELFDATA2LSB || ident[EI_VERSION] != EV_CURRENT ||
		(ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64))
		return error_set(err, EINVAL, "not a little-endian ELF file");
	elf->is64 = ident[EI_CLASS] == ELFCLASS64;
	if (elf->is64) {
		Elf64_Ehdr eh;

		rc = boot_file_read(file, 0, &eh, sizeof(eh), err);
		if (!rc)
			*h = (struct headers){eh.e_entry, eh.e_phoff, eh.e_phnum, eh.e_phentsize,
				eh.e_machine, eh.e_type};
	} else {
		Elf32_Ehdr eh;

		rc = boot_file_read(file, 0, &eh, sizeof(eh), err);
		if (!rc)
			*h = (struct headers){eh.e_entry, eh.e_phoff, eh.e_phnum, eh.e_phentsize,
				eh.e_machine, eh.e_type};
	}
	if (rc)
		return error_prefix(err, rc, "ELF header: ");
	if (h->machine != EM_X86_64 && h->machine != EM_386)
		return error_set(
			err, EINVAL, "an ELF file for another processor (machine %u)", h->machine);
	if (h->type != ET_EXEC && h->type != ET_DYN)
		return error_set(
			err, EINVAL, "an ELF file that is not executable (type %u)", h->type);
	if (h->count > HEADERS_MAX ||
		h->size != (elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)))
		return error_set(
			err, EINVAL, "%u ELF program headers of %u bytes", h->count, h->size);
	return 0;
}

int elf_parse(const struct boot_file *file, struct elf_image *elf, struct error *err)
{
	struct headers h = {0};
	int rc;

	*elf = (struct elf_image){0};
	rc = read_header(file, elf, &h, err);
	for (unsigned i = 0; i < h.count && !rc; i++) {
		struct elf_segment segment;
		union {
			Elf32_Phdr h32;
			Elf64_Phdr h64;
		} ph;

		if (h.offset > UINT64_MAX - (uint64_t)i * h.size)
			return error_set(err, EINVAL, "ELF program headers beyond the file");
		rc = boot_file_read(file, h.offset + (uint64_t)i * h.size, &ph, h.size, err);
		if (rc)
			return error_prefix(err, rc, "ELF program headers: ");
		if (elf->is64)
			segment_from64(&ph.h64, &segment);
		else
			segment_from32(&ph.h32, &segment);
		rc = add_segment(file, &segment, elf, err);
	}
	if (rc)
		return rc;
	if (!elf->load_count)
		return error_set(err, EINVAL, "an ELF file with nothing to load");
	elf->entry = physical_entry(elf, h.entry);
	return 0;
}

int elf_load(struct boot_layout *layout, const struct boot_file *file, const struct elf_image *elf,
	struct error *err)
{
	for (unsigned i = 0; i < elf->load_count; i++) {
		const struct elf_segment *segment = &elf->loads[i];
		int rc = boot_load_file(layout, file, segment->offset, segment->file_size,
			segment->physical, segment->memory_size, err);

		if (rc)
			return error_prefix(err, rc, "ELF segment %u: ", i);
	}
	return 0;
}
