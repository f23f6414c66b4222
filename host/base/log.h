/* SPDX-License-Identifier: MIT */
/*
 * What Assay says on stderr.  Silent when all is well.  A sentence is one line: control characters
 * in it stand as \xNN.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* Prints "assay: ..." on stderr, one line.  Any thread. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * The guest did what the datasheet or the specification forbids.  Always counted; printed as
 * "DEVICE: ..." with `-d guest_errors` only (at most 1000 lines a second, so that a guest cannot
 * fill a disk).  Any thread.
 */
void log_guest_error(const char *device, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
uint64_t log_guest_error_count(void);
void log_recall_guest_errors(uint64_t count); /* of a machine that goes back */

/* What -d asks for. */
enum log_item {
	LOG_GUEST_ERRORS,
	LOG_HASH, /* of the whole machine, each million instructions (cpu/soft/hash.c) */
	LOG_INT,
	LOG_IN_ASM,
	LOG_CPU_RESET, /* cpu/soft/trace.c */
	LOG_ITEMS,
};
void log_want(enum log_item item); /* before threads start */
bool log_wants(enum log_item item);
/* A line for an item, as it is, in full.  Any thread. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* `-D FILE`: where the lines of -d go (default stderr).  0 or -errno. */
int log_set_file(const char *path);

#endif
