/* SPDX-License-Identifier: MIT */
/* The one way in which a fault becomes a sentence (error.h). */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* In parentheses, because for the analyzer these names are macros (error.h). */
int(error_set)(struct error *err, int code, const char *format, ...)
{
	va_list args;

	if (err) {
		va_start(args, format);
		vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
	}
	return -code;
}

int(error_set_errno)(struct error *err, int code, const char *format, ...)
{
	va_list args;
	int used;

	if (err) {
		va_start(args, format);
		used = vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
		if (used >= 0 && (size_t)used < sizeof(err->text))
			snprintf(
				err->text + used, sizeof(err->text) - used, ": %s", strerror(code));
	}
	return -code;
}

int(error_prefix)(struct error *err, int rc, const char *format, ...)
{
	char rest[sizeof(err->text)];
	va_list args;
	int used;

	if (!err)
		return rc;
	memcpy(rest, err->text, sizeof(rest));
	va_start(args, format);
	used = vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	if (used >= 0 && (size_t)used < sizeof(err->text))
		snprintf(err->text + used, sizeof(err->text) - used, "%s", rest);
	return rc;
}
