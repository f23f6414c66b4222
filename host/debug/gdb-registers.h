/* SPDX-License-Identifier: MIT */
/* The registers as gdb numbers them.  Private to host/debug. */
#ifndef DEBUG_GDB_REGISTERS_H
#define DEBUG_GDB_REGISTERS_H

#include <stddef.h>

#include "cpu/context.h"

#define GDB_REGISTER_MAX 16 /* bytes of one */

extern const unsigned gdb_register_count;

/* Its bytes as gdb has them; their number. */
unsigned gdb_register_get(const struct cpu_context *context, unsigned n, uint8_t *bytes);
unsigned gdb_register_size(unsigned n);
/* 0, or -EINVAL: a debugger may not set it to that, and nothing was changed. */
int gdb_register_set(struct cpu_context *context, unsigned n, const uint8_t *bytes);

/* The target description (gdb's manual, appendix G).  Its length; at most `size` are written. */
size_t gdb_description(char *text, size_t size);

#endif
