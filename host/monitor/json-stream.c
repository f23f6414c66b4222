/* SPDX-License-Identifier: MIT */
/* Cuts a byte stream into JSON values (json-stream.h); what is inside them jansson decides. */
#include "monitor/json-stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 4096 /* a buffer that grew beyond this is given back after the value */

void json_stream_reset(struct json_stream *stream)
{
	if (stream->size > KEPT) {
		free(stream->text);
		stream->text = NULL;
		stream->size = 0;
	}
	stream->length = 0;
	stream->braces = stream->brackets = 0;
	stream->quote = 0;
	stream->escaped = stream->scalar = false;
}

static void fail(struct json_stream *stream, const char *error)
{
	json_stream_reset(stream);
	stream->value(stream->opaque, NULL, error);
}

static bool append(struct json_stream *stream, char c)
{
	if (stream->length == stream->size) {
		size_t size = stream->size ? stream->size * 2 : 256;
		char *text;

		if (size > JSON_STREAM_BYTES_MAX) {
			fail(stream, "JSON token size limit exceeded");
			return false;
		}
		text = realloc(stream->text, size);
		if (!text) {
			fail(stream, "out of memory");
			return false;
		}
		stream->text = text;
		stream->size = size;
	}
	stream->text[stream->length++] = c;
	return true;
}

static void finish(struct json_stream *stream)
{
	char error[JSON_ERROR_TEXT_LENGTH + 32];
	json_error_t where;
	json_t *value = json_loadb(
		stream->text, stream->length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);

	json_stream_reset(stream);
	if (!value)
		snprintf(error, sizeof(error), "JSON parse error, %s", where.text);
	stream->value(stream->opaque, value, value ? NULL : error);
}

static bool inside(const struct json_stream *stream)
{
	return stream->braces || stream->brackets;
}

/* A string is written to the text in double quotes, whatever the client used. */
static void in_string(struct json_stream *stream, uint8_t c)
{
	if (c < 0x20 || c == 0xc0 || c == 0xc1 || c > 0xf4) {
		fail(stream, "JSON parse error, invalid byte in a string");
		return;
	}
	if (stream->escaped) {
		stream->escaped = false;
		if (c == '\'')
			stream->length--; /* JSON itself does not escape it */
		append(stream, (char)c);
	} else if (c == '\\') {
		stream->escaped = true;
		append(stream, '\\');
	} else if (c == (uint8_t)stream->quote) {
		stream->quote = 0;
		if (append(stream, '"') && !inside(stream))
			finish(stream);
	} else if (c == '"') {
		if (append(stream, '\\'))
			append(stream, '"');
	} else {
		append(stream, (char)c);
	}
}

static void open_nested(struct json_stream *stream, char c)
{
	if (stream->braces + stream->brackets >= JSON_STREAM_DEPTH_MAX) {
		fail(stream, "JSON nesting depth limit exceeded");
		return;
	}
	if (append(stream, c))
		c == '{' ? stream->braces++ : stream->brackets++;
}

static void close_nested(struct json_stream *stream, char c)
{
	unsigned *count = c == '}' ? &stream->braces : &stream->brackets;

	if (!*count) {
		fail(stream, "JSON parse error, expecting value");
		return;
	}
	(*count)--;
	if (append(stream, c) && !inside(stream))
		finish(stream);
}

static bool ends_scalar(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || strchr("{}[],:\"'", c);
}

static void feed(struct json_stream *stream, uint8_t c)
{
	if (stream->quote) {
		in_string(stream, c);
		return;
	}
	if (stream->scalar && (!c || ends_scalar(c)))
		finish(stream);
	if (c == '{' || c == '[') {
		open_nested(stream, (char)c);
	} else if (c == '}' || c == ']') {
		close_nested(stream, (char)c);
	} else if (c == '"' || c == '\'') {
		if (append(stream, '"'))
			stream->quote = (char)c;
	} else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
		if (inside(stream))
			append(stream, ' ');
	} else if (c < 0x20 || c > 0x7e) {
		fail(stream, "JSON parse error, stray byte");
	} else if (append(stream, (char)c)) {
		stream->scalar = !inside(stream);
	}
}

void json_stream_feed(struct json_stream *stream, const uint8_t *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		feed(stream, data[i]);
}
