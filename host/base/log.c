/* SPDX-License-Identifier: MIT */
/* stderr and the lines of -d (log.h). */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#define LINES_PER_SECOND 1000

static bool wanted[LOG_ITEMS];
static atomic_uint_fast64_t guest_errors;
static atomic_uint lines_this_second;
static atomic_long this_second;
static FILE *log_file;

/* What a guest or a file named must not move the cursor of whoever reads: control characters, those
 * of ISO 6429 in UTF-8 among them, stand as \xNN. */
static void put_escaped(const char *text, FILE *to)
{
	const unsigned char *c = (const unsigned char *)text;

	for (; *c; c++) {
		bool starts_c1 = *c == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f;

		if (*c < ' ' || *c == 0x7f || starts_c1)
			fprintf(to, "\\x%02x", starts_c1 ? *++c : *c);
		else
			putc_unlocked(*c, to);
	}
}

static void print_line(FILE *to, const char *who, const char *format, va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	/* Threads do not tear each other's sentences. */
	flockfile(to);
	fprintf(to, "%s: ", who);
	put_escaped(text, to);
	putc_unlocked('\n', to);
	fflush(to);
	funlockfile(to);
}

void log_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_line(stderr, "assay", format, args);
	va_end(args);
}

static bool within_rate(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (atomic_exchange(&this_second, now.tv_sec) != now.tv_sec)
		atomic_store(&lines_this_second, 0);
	return atomic_fetch_add(&lines_this_second, 1) < LINES_PER_SECOND;
}

void log_guest_error(const char *device, const char *format, ...)
{
	va_list args;

	atomic_fetch_add(&guest_errors, 1);
	if (!wanted[LOG_GUEST_ERRORS] || !within_rate())
		return;
	va_start(args, format);
	print_line(log_file ? log_file : stderr, device, format, args);
	va_end(args);
}

uint64_t log_guest_error_count(void)
{
	return atomic_load(&guest_errors);
}

void log_recall_guest_errors(uint64_t count)
{
	atomic_store(&guest_errors, count);
}

void log_want(enum log_item item)
{
	wanted[item] = true;
}

bool log_wants(enum log_item item)
{
	return wanted[item];
}

void log_line(const char *format, ...)
{
	FILE *to = log_file ? log_file : stderr;
	va_list args;

	va_start(args, format);
	flockfile(to);
	vfprintf(to, format, args);
	putc_unlocked('\n', to);
	funlockfile(to);
	fflush(to);
	va_end(args);
}

int log_set_file(const char *path)
{
	FILE *file = fopen(path, "we");

	if (!file)
		return -errno;
	if (log_file)
		fclose(log_file);
	log_file = file;
	return 0;
}
