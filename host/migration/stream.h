/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a saved machine on their way to a file and back (docs/migration.md): little-endian
 * numbers, names, and a CRC-32C over everything.  Errors stick: after the first one writes do
 * nothing, reads give zeroes, and `rc` says what it was.
 */
#ifndef MIGRATION_STREAM_H
#define MIGRATION_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define STREAM_NAME_MAX 120

struct stream {
	int fd;
	bool writes;
	int rc; /* 0 or -errno of the first error */
	struct error err;
	uint32_t crc;
	const char *section; /* being loaded: for fault injection */
	uint64_t position;   /* bytes written or read */
	/* Of a part that says its length: reads do not go beyond. UINT64_MAX: none. */
	uint64_t limit;
	uint8_t *buffer;
	size_t used, filled; /* reader: bytes taken and there; writer: `filled` wait */
	/* A section whose length comes first is collected here. */
	bool collects;
	uint8_t *body;
	size_t body_length, body_capacity;
};

/* fd stays the caller's.  0 or -ENOMEM. */
int stream_init(struct stream *s, int fd, bool writes, struct error *err);
void stream_destroy(struct stream *s);

/* Sets the first error; returns it. */
int stream_fail(struct stream *s, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void stream_write(struct stream *s, const void *from, size_t length);
void stream_put(struct stream *s, uint64_t value, unsigned size); /* bytes */
void stream_put_name(struct stream *s, const char *name);
/* Between the two everything written is held back; the second writes its length (4 bytes), then it.
 */
void stream_body_begin(struct stream *s);
void stream_body_end(struct stream *s);
int stream_flush(struct stream *s); /* 0 or -errno */

/* The end of the file is an error.  A refused read leaves zeroes. */
void stream_read(struct stream *s, void *to, size_t length);
uint64_t stream_get(struct stream *s, unsigned size);
void stream_get_name(struct stream *s, char name[STREAM_NAME_MAX + 1]);
bool stream_at_end(struct stream *s); /* no byte follows */

#endif
