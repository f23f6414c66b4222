/* SPDX-License-Identifier: MIT */
/*
 * Errors go up as a negative errno with one sentence; each level may put its own words in front.
 * Only main prints the sentence, once, and only main exits.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

struct error {
	char text[512]; /* one line, no newline; empty: no error was set */
};

/*
 * Sets the sentence and returns -code (code is a positive errno), so that a function can say
 * `return error_set(err, EINVAL, "...")`.  `err` may be NULL: then only the number goes up.
 */
int error_set(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with ": strerror(code)" behind the sentence. */
int error_set_errno(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts the formatted words in front of the sentence that is there; returns `rc` unchanged. */
int error_prefix(struct error *err, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__
/* It sees one file at a time, and must be told that what comes back is never 0. */
#define error_set(err, code, ...)	((void)(error_set)(err, code, __VA_ARGS__), -1)
#define error_set_errno(err, code, ...) ((void)(error_set_errno)(err, code, __VA_ARGS__), -1)
#define error_prefix(err, rc, ...)	((void)(error_prefix)(err, rc, __VA_ARGS__), (rc))
#endif

#endif
