/* SPDX-License-Identifier: MIT */
/* ACPI machine language, ACPI 6.4 chapter 20.2 (encoding) and 6.4 (resource descriptors). */
#include "board/aml.h"

#include <string.h>

#define OP_NAME	     0x08
#define OP_BYTE	     0x0a
#define OP_WORD	     0x0b
#define OP_DWORD     0x0c
#define OP_QWORD     0x0e
#define OP_STRING    0x0d
#define OP_SCOPE     0x10
#define OP_BUFFER    0x11
#define OP_PACKAGE   0x12
#define OP_METHOD    0x14
#define OP_IF	     0xa0
#define OP_RETURN    0xa4
#define EXT_DEVICE   0x82
#define DUAL_PREFIX  0x2e
#define MULTI_PREFIX 0x2f
#define SEGMENT	     4

void aml_bytes(struct aml *aml, const void *bytes, size_t length)
{
	if (length > aml->capacity - aml->length) {
		aml->full = true;
		return;
	}
	memcpy(aml->data + aml->length, bytes, length);
	aml->length += length;
}

void aml_byte(struct aml *aml, uint8_t byte)
{
	aml_bytes(aml, &byte, 1);
}

void aml_number(struct aml *aml, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		aml_byte(aml, value >> i * 8);
}

void aml_path(struct aml *aml, const char *path)
{
	unsigned segments;

	if (*path == '\\')
		aml_byte(aml, *path++);
	segments = (strlen(path) + 1) / (SEGMENT + 1);
	if (segments == 2) {
		aml_byte(aml, DUAL_PREFIX);
	} else if (segments > 2) {
		aml_byte(aml, MULTI_PREFIX);
		aml_byte(aml, segments);
	}
	for (unsigned i = 0; i < segments; i++)
		aml_bytes(aml, path + i * (SEGMENT + 1), SEGMENT);
}

void aml_integer(struct aml *aml, uint64_t value)
{
	static const struct {
		uint64_t max;
		uint8_t op, size;
	} forms[] = {
		{UINT8_MAX, OP_BYTE, 1},
		{UINT16_MAX, OP_WORD, 2},
		{UINT32_MAX, OP_DWORD, 4},
		{UINT64_MAX, OP_QWORD, 8},
	};

	if (value <= 1) {
		aml_byte(aml, value);
		return;
	}
	for (unsigned i = 0;; i++) {
		if (value <= forms[i].max) {
			aml_byte(aml, forms[i].op);
			aml_number(aml, value, forms[i].size);
			return;
		}
	}
}

void aml_string(struct aml *aml, const char *text)
{
	aml_byte(aml, OP_STRING);
	aml_bytes(aml, text, strlen(text) + 1);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* Three letters of five bits and four digits, stored with the first byte lowest (6.1.5). */
void aml_eisa_id(struct aml *aml, const char *id)
{
	unsigned letters = (id[0] - '@') << 10 | (id[1] - '@') << 5 | (id[2] - '@');
	uint8_t bytes[4] = {letters >> 8, letters, hex_digit(id[3]) << 4 | hex_digit(id[4]),
		hex_digit(id[5]) << 4 | hex_digit(id[6])};

	aml_byte(aml, OP_DWORD);
	aml_bytes(aml, bytes, sizeof(bytes));
}

/* The length of an object stands in front of it and counts itself (20.2.4). */
static unsigned encode_length(size_t body, uint8_t out[3])
{
	if (body + 1 < 0x40) {
		out[0] = body + 1;
		return 1;
	}
	if (body + 2 < 0x1000) {
		out[0] = 0x40 | ((body + 2) & 0x0f);
		out[1] = (body + 2) >> 4;
		return 2;
	}
	out[0] = 0x80 | ((body + 3) & 0x0f);
	out[1] = (body + 3) >> 4;
	out[2] = (body + 3) >> 12;
	return 3;
}

void aml_close(struct aml *aml, size_t open)
{
	uint8_t length[3];
	unsigned size = encode_length(aml->length - open, length);

	if (aml->full || size > aml->capacity - aml->length) {
		aml->full = true;
		return;
	}
	memmove(aml->data + open + size, aml->data + open, aml->length - open);
	memcpy(aml->data + open, length, size);
	aml->length += size;
}

size_t aml_open_scope(struct aml *aml, const char *path)
{
	size_t open;

	aml_byte(aml, OP_SCOPE);
	open = aml->length;
	aml_path(aml, path);
	return open;
}

size_t aml_open_device(struct aml *aml, const char *name)
{
	size_t open;

	aml_byte(aml, AML_EXT);
	aml_byte(aml, EXT_DEVICE);
	open = aml->length;
	aml_path(aml, name);
	return open;
}

size_t aml_open_method(struct aml *aml, const char *name, unsigned arguments, bool serialized)
{
	size_t open;

	aml_byte(aml, OP_METHOD);
	open = aml->length;
	aml_path(aml, name);
	aml_byte(aml, arguments | (serialized ? 8 : 0));
	return open;
}

size_t aml_open_package(struct aml *aml, unsigned count)
{
	size_t open;

	aml_byte(aml, OP_PACKAGE);
	open = aml->length;
	aml_byte(aml, count);
	return open;
}

size_t aml_open_if(struct aml *aml)
{
	aml_byte(aml, OP_IF);
	return aml->length;
}

void aml_name(struct aml *aml, const char *name)
{
	aml_byte(aml, OP_NAME);
	aml_path(aml, name);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

void aml_return(struct aml *aml)
{
	aml_byte(aml, OP_RETURN);
}

static void resource(struct aml_resources *r, const void *bytes, size_t length)
{
	/* Two bytes are kept for the end tag. */
	if (length > sizeof(r->data) - 2 - r->length)
		return;
	memcpy(r->data + r->length, bytes, length);
	r->length += length;
}

static void put(uint8_t *to, uint32_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = value >> i * 8;
}

void aml_resource_io(struct aml_resources *r, uint16_t base, uint8_t length)
{
	/* I/O port descriptor (6.4.2.5): decodes 16 bits, fixed place. */
	uint8_t d[8] = {0x47, 0x01, base, base >> 8, base, base >> 8, 1, length};

	resource(r, d, sizeof(d));
}

void aml_resource_irq(struct aml_resources *r, unsigned irq)
{
	uint8_t d[3] = {0x22, 1u << irq, 1u << irq >> 8}; /* 6.4.2.1: edge, active high */

	resource(r, d, sizeof(d));
}

void aml_resource_interrupts(struct aml_resources *r, const uint32_t *gsis, unsigned count)
{
	/* Extended interrupt descriptor (6.4.3.6). */
	uint8_t head[5] = {0x89, 2 + count * 4, 0, 0x09, count};

	resource(r, head, sizeof(head));
	for (unsigned i = 0; i < count; i++) {
		uint8_t number[4];

		put(number, gsis[i], 4);
		resource(r, number, sizeof(number));
	}
}

void aml_resource_word(struct aml_resources *r, uint8_t type, uint16_t first, uint16_t last)
{
	/* Word address space descriptor (6.4.3.5.3): producer, both ends fixed. */
	uint8_t d[16] = {0x88, 0x0d, 0, type, 0x0c, type == AML_RESOURCE_IO ? 0x03 : 0};

	put(d + 8, first, 2);
	put(d + 10, last, 2);
	put(d + 14, last - first + 1, 2);
	resource(r, d, sizeof(d));
}

void aml_resource_memory(struct aml_resources *r, uint32_t first, uint32_t last)
{
	/* DWord address space descriptor (6.4.3.5.2): memory, not cached, read and write. */
	uint8_t d[26] = {0x87, 0x17, 0, 0, 0x0c, 0x01};

	put(d + 10, first, 4);
	put(d + 14, last, 4);
	put(d + 22, last - first + 1, 4);
	resource(r, d, sizeof(d));
}

void aml_buffer(struct aml *aml, struct aml_resources *r)
{
	size_t open;

	r->data[r->length++] = 0x79; /* end tag, checksum not used */
	r->data[r->length++] = 0;
	aml_byte(aml, OP_BUFFER);
	open = aml->length;
	aml_integer(aml, r->length);
	aml_bytes(aml, r->data, r->length);
	aml_close(aml, open);
}
