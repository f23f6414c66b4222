/* SPDX-License-Identifier: MIT */
/*
 * The console: COM1, synchronous, so that what was said is out before what may go wrong.
 *
 * print() knows %s %c %d %i %u %x %X %p %% with l, ll, z, a width, 0 and - and .precision for %s.
 */
#ifndef ASSAY_RUNTIME_PRINT_H
#define ASSAY_RUNTIME_PRINT_H

#include <stdarg.h>
#include <stddef.h>

/* Sets COM1 to 8N1 with FIFOs; kernels/uart calls it after it has used COM1. */
void console_init(void);
void console_write(const char *data, size_t size);
/* Waits until all that was written has left the UART: a host that reads slowly may hold it up. */
void console_flush(void);

__attribute__((format(printf, 1, 2))) void print(const char *format, ...);
void print_va(const char *format, va_list args);
/* As snprintf: always ends with NUL, returns the length that would have been written. */
__attribute__((format(printf, 3, 4))) int format(char *to, size_t size, const char *format, ...);
int format_va(char *to, size_t size, const char *format, va_list args);

#endif
