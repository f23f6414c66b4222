/* SPDX-License-Identifier: MIT */
/*
 * The symbol table of an ELF file of 32 or 64 bits (System V gABI, chapter 4), for reports only:
 * read when something has gone wrong, by plain search.
 */
#include "cpu/symbols.h"

#include <elf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (256u << 20)
#define NEAR	 0x10000 /* a symbol without a size reaches no farther */

struct cpu_symbols {
	uint8_t *file;
	size_t size;
	bool wide; /* 64 bits */
	size_t table, count, names, names_size;
};

/* A section header, whichever width. */
struct section {
	uint32_t type, link;
	uint64_t offset, size;
};

static bool inside(const struct cpu_symbols *s, uint64_t offset, uint64_t size)
{
	return offset <= s->size && size <= s->size - offset;
}

static bool read_section(
	const struct cpu_symbols *s, uint64_t headers, unsigned index, struct section *out)
{
	size_t each = s->wide ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	uint64_t at = headers + (uint64_t)index * each;
	Elf64_Shdr wide;
	Elf32_Shdr narrow;

	if (at < headers || !inside(s, at, each))
		return false;
	if (s->wide) {
		memcpy(&wide, s->file + at, sizeof(wide));
		*out = (struct section){wide.sh_type, wide.sh_link, wide.sh_offset, wide.sh_size};
	} else {
		memcpy(&narrow, s->file + at, sizeof(narrow));
		*out = (struct section){
			narrow.sh_type, narrow.sh_link, narrow.sh_offset, narrow.sh_size};
	}
	return inside(s, out->offset, out->size);
}

static bool find_table(struct cpu_symbols *s)
{
	Elf64_Ehdr wide;
	Elf32_Ehdr narrow;
	uint64_t headers;
	unsigned count;
	struct section table, names;

	if (!inside(s, 0, sizeof(wide)) || memcmp(s->file, ELFMAG, SELFMAG) != 0)
		return false;
	memcpy(&wide, s->file, sizeof(wide));
	memcpy(&narrow, s->file, sizeof(narrow));
	s->wide = s->file[EI_CLASS] == ELFCLASS64;
	headers = s->wide ? wide.e_shoff : narrow.e_shoff;
	count = s->wide ? wide.e_shnum : narrow.e_shnum;
	for (unsigned i = 0; i < count; i++) {
		if (!read_section(s, headers, i, &table) || table.type != SHT_SYMTAB)
			continue;
		if (table.link >= count || !read_section(s, headers, table.link, &names) ||
			!names.size || s->file[names.offset + names.size - 1])
			return false;
		s->table = table.offset;
		s->count = table.size / (s->wide ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym));
		s->names = names.offset;
		s->names_size = names.size;
		return true;
	}
	return false;
}

static bool read_file(struct cpu_symbols *s, const char *path)
{
	FILE *file = fopen(path, "re");
	long size;

	if (!file)
		return false;
	if (fseek(file, 0, SEEK_END) || (size = ftell(file)) <= 0 || size > FILE_MAX ||
		fseek(file, 0, SEEK_SET)) {
		fclose(file);
		return false;
	}
	s->file = malloc(size);
	s->size = s->file ? fread(s->file, 1, size, file) : 0;
	fclose(file);
	return s->size == (size_t)size;
}

struct cpu_symbols *cpu_symbols_load(const char *path)
{
	struct cpu_symbols *s = path ? calloc(1, sizeof(*s)) : NULL;

	if (s && read_file(s, path) && find_table(s))
		return s;
	cpu_symbols_free(s);
	return NULL;
}

void cpu_symbols_free(struct cpu_symbols *symbols)
{
	if (!symbols)
		return;
	free(symbols->file);
	free(symbols);
}

static Elf64_Sym symbol(const struct cpu_symbols *s, size_t index)
{
	Elf64_Sym wide;
	Elf32_Sym narrow;

	if (s->wide) {
		memcpy(&wide, s->file + s->table + index * sizeof(wide), sizeof(wide));
		return wide;
	}
	memcpy(&narrow, s->file + s->table + index * sizeof(narrow), sizeof(narrow));
	return (Elf64_Sym){.st_name = narrow.st_name,
		.st_info = narrow.st_info,
		.st_shndx = narrow.st_shndx,
		.st_value = narrow.st_value,
		.st_size = narrow.st_size};
}

static bool is_candidate(const struct cpu_symbols *s, const Elf64_Sym *sym, uint64_t address)
{
	unsigned type = ELF64_ST_TYPE(sym->st_info);

	return type <= STT_FUNC && sym->st_shndx != SHN_UNDEF && sym->st_shndx != SHN_ABS &&
	       sym->st_name < s->names_size && s->file[s->names + sym->st_name] &&
	       sym->st_value <= address &&
	       address - sym->st_value < (sym->st_size ? sym->st_size : NEAR);
}

void cpu_symbol_at(const struct cpu_symbols *symbols, uint64_t address, char *text, size_t size)
{
	const char *name = NULL;
	uint64_t value = 0;

	text[0] = '\0';
	for (size_t i = 0; symbols && i < symbols->count; i++) {
		Elf64_Sym sym = symbol(symbols, i);

		if (is_candidate(symbols, &sym, address) && (!name || sym.st_value > value)) {
			name = (const char *)symbols->file + symbols->names + sym.st_name;
			value = sym.st_value;
		}
	}
	if (name && address == value)
		snprintf(text, size, "%s", name);
	else if (name)
		snprintf(text, size, "%s+0x%llx", name, (unsigned long long)(address - value));
}
