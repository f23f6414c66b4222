/* SPDX-License-Identifier: MIT */
/*
 * Cuts a byte stream into JSON values, as QMP has them: one after another, with or without white
 * space between, strings in double or single quotes.  The peer is hostile: length and nesting are
 * bounded, and a byte that no JSON can hold ends the value at once, so that a client can
 * resynchronise by sending 0xff.
 */
#ifndef MONITOR_JSON_STREAM_H
#define MONITOR_JSON_STREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_STREAM_BYTES_MAX (1u << 20)
#define JSON_STREAM_DEPTH_MAX 1024

struct json_stream {
	/* One value, owned by the callee; or NULL with the sentence of an error. */
	void (*value)(void *opaque, json_t *value, const char *error);
	void *opaque;
	/* private: zero at the start */
	char *text;
	size_t length, size;
	unsigned braces, brackets;
	char quote; /* inside a string: what ends it */
	bool escaped, scalar;
};

void json_stream_feed(struct json_stream *stream, const uint8_t *data, size_t length);
void json_stream_reset(struct json_stream *stream); /* forgets what is half read */

#endif
