/* SPDX-License-Identifier: MIT */
/* Names of addresses, from the symbol table of the ELF file that was booted. */
#ifndef CPU_SYMBOLS_H
#define CPU_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

struct cpu_symbols;

/* NULL: no file, no ELF file, or one without symbols.  The file is not trusted. */
struct cpu_symbols *cpu_symbols_load(const char *path);
void cpu_symbols_free(struct cpu_symbols *symbols); /* or NULL */

/* "name+0x12", or "" when no symbol is near.  `symbols` may be NULL. */
void cpu_symbol_at(const struct cpu_symbols *symbols, uint64_t address, char *text, size_t size);

#endif
