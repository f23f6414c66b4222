/* SPDX-License-Identifier: MIT */
/* The gdb stub's packets (gdb's manual, E.1): how they are sent, and the words in them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug/gdb-session.h"

#define OUTPUT_MAX (1u << 20)

void gdb_flush(struct gdb *g)
{
	if (g->sent < g->output_length)
		g->sent += chardev_write(
			g->chr, (const uint8_t *)g->output + g->sent, g->output_length - g->sent);
	if (g->sent == g->output_length)
		g->sent = g->output_length = 0;
}

void gdb_send_bytes(struct gdb *g, const char *data, size_t length)
{
	if (g->output_length + length > g->output_size) {
		size_t size = g->output_length + length + PACKET_MAX;
		char *grown = size > OUTPUT_MAX ? NULL : realloc(g->output, size);

		if (!grown)
			return;
		g->output = grown;
		g->output_size = size;
	}
	memcpy(g->output + g->output_length, data, length);
	g->output_length += length;
	gdb_flush(g);
}

void gdb_send(struct gdb *g, const char *text)
{
	size_t length = strlen(text);
	char *packet = realloc(g->last, length + 5);
	unsigned sum = 0;

	if (!packet)
		return;
	for (size_t i = 0; i < length; i++)
		sum += (uint8_t)text[i];
	g->last = packet;
	g->last_length = length + 4;
	snprintf(packet, length + 5, "$%s#%02x", text, sum & 0xff);
	gdb_send_bytes(g, packet, g->last_length);
}

void gdb_error(struct gdb *g, int number)
{
	char text[8];

	snprintf(text, sizeof(text), "E%02x", number & 0xff);
	gdb_send(g, text);
}

void gdb_to_hex(char *to, const uint8_t *bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = '\0';
}

int gdb_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As many bytes as there are pairs of digits, `max` at most. */
size_t gdb_from_hex(uint8_t *to, const char *text, size_t max)
{
	size_t n = 0;

	for (; n < max && gdb_digit(text[0]) >= 0 && gdb_digit(text[1]) >= 0; text += 2)
		to[n++] = gdb_digit(text[0]) << 4 | gdb_digit(text[1]);
	return n;
}

/* A hexadecimal number; moves *text behind it. */
bool gdb_take_number(const char **text, uint64_t *value)
{
	const char *begin = *text;

	for (*value = 0; gdb_digit(**text) >= 0; ++*text)
		*value = *value << 4 | gdb_digit(**text);
	return *text > begin;
}

bool gdb_take_char(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}

/* "-1", "0" (both: any, 0), "N" or "pP.N". */
bool gdb_take_thread(const char **text, uint64_t *thread)
{
	if (gdb_take_char(text, 'p')) {
		if (!gdb_take_char(text, '-') && !gdb_take_number(text, thread))
			return false;
		if (!gdb_take_char(text, '.')) {
			*thread = 0;
			return true;
		}
	}
	if (gdb_take_char(text, '-')) {
		bool ok = gdb_take_number(text, thread);

		*thread = 0;
		return ok;
	}
	return gdb_take_number(text, thread);
}

bool gdb_take_span(const char **args, uint64_t *address, uint64_t *count)
{
	return gdb_take_number(args, address) && gdb_take_char(args, ',') &&
	       gdb_take_number(args, count);
}
