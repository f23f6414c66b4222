/* SPDX-License-Identifier: MIT */
/* Buffered reads and writes of a saved machine with its checksum (stream.h). */
#include "migration/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_SIZE (256u << 10)
#define POLYNOMIAL  0x82f63b78u /* CRC-32C, reflected */

static uint32_t crc_table[8][256];

/* Eight tables: one step of eight bytes (Kounavis and Berry, "slicing by 8"). */
static void make_tables(void)
{
	if (crc_table[0][1])
		return;
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
		crc_table[0][i] = crc;
	}
	for (unsigned t = 1; t < 8; t++)
		for (uint32_t i = 0; i < 256; i++)
			crc_table[t][i] =
				crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 0xff];
}

static uint32_t crc_add(uint32_t crc, const uint8_t *data, size_t length)
{
	while (length >= 8) {
		uint32_t low, high;

		memcpy(&low, data, 4);
		memcpy(&high, data + 4, 4);
		low ^= crc;
		crc = crc_table[7][low & 0xff] ^ crc_table[6][low >> 8 & 0xff] ^
		      crc_table[5][low >> 16 & 0xff] ^ crc_table[4][low >> 24] ^
		      crc_table[3][high & 0xff] ^ crc_table[2][high >> 8 & 0xff] ^
		      crc_table[1][high >> 16 & 0xff] ^ crc_table[0][high >> 24];
		data += 8;
		length -= 8;
	}
	while (length--)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *data++) & 0xff];
	return crc;
}

int stream_init(struct stream *s, int fd, bool writes, struct error *err)
{
	make_tables();
	*s = (struct stream){.fd = fd, .writes = writes, .crc = UINT32_MAX, .limit = UINT64_MAX};
	s->buffer = malloc(BUFFER_SIZE);
	return s->buffer ? 0 : error_set(err, ENOMEM, "out of memory");
}

void stream_destroy(struct stream *s)
{
	free(s->buffer);
	free(s->body);
	s->buffer = s->body = NULL;
}

int stream_fail(struct stream *s, int code, const char *format, ...)
{
	char text[sizeof(s->err.text)];
	va_list args;

	if (s->rc)
		return s->rc;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	s->rc = error_set(&s->err, code, "%s", text);
	return s->rc;
}

/* --- writing --- */

static void write_out(struct stream *s, const uint8_t *from, size_t length)
{
	while (length && !s->rc) {
		ssize_t n = write(s->fd, from, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			stream_fail(s, n < 0 ? errno : EIO, "write failed: %s",
				strerror(n < 0 ? errno : EIO));
			return;
		}
		from += n;
		length -= n;
	}
}

int stream_flush(struct stream *s)
{
	write_out(s, s->buffer, s->filled);
	s->filled = 0;
	return s->rc;
}

static void collect(struct stream *s, const void *from, size_t length)
{
	size_t wanted = s->body_length + length;

	if (wanted > s->body_capacity) {
		size_t capacity = wanted < 4096 ? 4096 : wanted * 2;
		uint8_t *body = realloc(s->body, capacity);

		if (!body) {
			stream_fail(s, ENOMEM, "out of memory");
			return;
		}
		s->body = body;
		s->body_capacity = capacity;
	}
	memcpy(s->body + s->body_length, from, length);
	s->body_length += length;
}

void stream_write(struct stream *s, const void *from, size_t length)
{
	if (s->rc || !length)
		return;
	if (s->collects) {
		collect(s, from, length);
		return;
	}
	s->crc = crc_add(s->crc, from, length);
	s->position += length;
	if (s->filled + length > BUFFER_SIZE)
		stream_flush(s);
	if (length > BUFFER_SIZE) {
		write_out(s, from, length);
		return;
	}
	memcpy(s->buffer + s->filled, from, length);
	s->filled += length;
}

void stream_put(struct stream *s, uint64_t value, unsigned size)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < size; i++)
		bytes[i] = value >> i * 8;
	stream_write(s, bytes, size);
}

void stream_put_name(struct stream *s, const char *name)
{
	size_t length = strnlen(name, STREAM_NAME_MAX);

	stream_put(s, length, 1);
	stream_write(s, name, length);
}

void stream_body_begin(struct stream *s)
{
	s->collects = true;
	s->body_length = 0;
}

void stream_body_end(struct stream *s)
{
	const uint8_t *body = s->body;

	s->collects = false;
	stream_put(s, s->body_length, 4);
	stream_write(s, body, s->body_length);
}

/* --- reading --- */

static bool refill(struct stream *s)
{
	ssize_t n;

	do {
		n = read(s->fd, s->buffer, BUFFER_SIZE);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		stream_fail(s, errno, "read failed: %s", strerror(errno));
	s->used = 0;
	s->filled = n > 0 ? n : 0;
	return n > 0;
}

void stream_read(struct stream *s, void *to, size_t length)
{
	uint8_t *out = to;

	if (!s->rc && s->limit - s->position < length)
		stream_fail(s, EINVAL, "the part ends too early");
	while (length && !s->rc) {
		size_t have = s->filled - s->used;
		size_t n = have < length ? have : length;

		if (!have) {
			if (!refill(s))
				stream_fail(s, EINVAL, "the file ends too early");
			continue;
		}
		memcpy(out, s->buffer + s->used, n);
		s->crc = crc_add(s->crc, out, n);
		s->used += n;
		s->position += n;
		out += n;
		length -= n;
	}
	if (length)
		memset(out, 0, length);
}

uint64_t stream_get(struct stream *s, unsigned size)
{
	uint8_t bytes[8];
	uint64_t value = 0;

	stream_read(s, bytes, size);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)bytes[i] << i * 8;
	return value;
}

void stream_get_name(struct stream *s, char name[STREAM_NAME_MAX + 1])
{
	unsigned length = stream_get(s, 1);

	name[0] = '\0';
	if (!length || length > STREAM_NAME_MAX) {
		stream_fail(s, EINVAL, "a name of %u bytes", length);
		return;
	}
	stream_read(s, name, length);
	name[length] = '\0';
	/* It will be printed. */
	for (unsigned i = 0; i < length; i++) {
		if (name[i] > ' ' && name[i] < 0x7f)
			continue;
		name[i] = '\0';
		stream_fail(s, EINVAL, "a name that is not text, behind '%s'", name);
	}
}

bool stream_at_end(struct stream *s)
{
	return s->used == s->filled && !refill(s) && !s->rc;
}
