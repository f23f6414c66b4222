/* SPDX-License-Identifier: MIT */
/*
 * Writes ACPI machine language (ACPI 6.4, chapter 20): as much of it as a description of a small
 * machine needs.  Objects that enclose others are opened and closed; an overflow is remembered and
 * shows at the end.
 */
#ifndef BOARD_AML_H
#define BOARD_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data;
	size_t length, capacity;
	bool full; /* something did not fit: the result is of no use */
};

void aml_byte(struct aml *aml, uint8_t byte);
void aml_number(struct aml *aml, uint64_t value, unsigned size); /* little-endian */
void aml_bytes(struct aml *aml, const void *bytes, size_t length);

/* "PCI0.ISA_.P40C", each segment of four characters; a leading "\\" is the root. */
void aml_path(struct aml *aml, const char *path);
void aml_integer(struct aml *aml, uint64_t value); /* the shortest form */
void aml_string(struct aml *aml, const char *text);
void aml_eisa_id(struct aml *aml, const char *id); /* "PNP0A03" */

/* Each returns what its close needs. */
size_t aml_open_scope(struct aml *aml, const char *path);
size_t aml_open_device(struct aml *aml, const char *name);
size_t aml_open_method(struct aml *aml, const char *name, unsigned arguments, bool serialized);
size_t aml_open_package(struct aml *aml, unsigned count);
size_t aml_open_if(struct aml *aml); /* the predicate follows, then the body */
void aml_close(struct aml *aml, size_t open);

void aml_name(struct aml *aml, const char *name); /* Name (name, ...): the object follows */
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_return(struct aml *aml); /* Return (...): the value follows */

/* A buffer of resource descriptors (chapter 6.4); close adds the end tag. */
struct aml_resources {
	uint8_t data[192];
	size_t length;
};
void aml_resource_io(struct aml_resources *r, uint16_t base, uint8_t length);
void aml_resource_irq(struct aml_resources *r, unsigned irq);
/* Level, active high, shared. */
void aml_resource_interrupts(struct aml_resources *r, const uint32_t *gsis, unsigned count);
void aml_resource_word(struct aml_resources *r, uint8_t type, uint16_t first, uint16_t last);
void aml_resource_memory(struct aml_resources *r, uint32_t first, uint32_t last);
void aml_buffer(struct aml *aml, struct aml_resources *r);

#define AML_RESOURCE_IO	 1 /* types of aml_resource_word() */
#define AML_RESOURCE_BUS 2

/* Opcodes that the caller writes with aml_byte(). */
#define AML_AND		       0x7b
#define AML_OR		       0x7d
#define AML_STORE	       0x70
#define AML_ARG0	       0x68
#define AML_NULL_TARGET	       0x00
#define AML_CREATE_DWORD_FIELD 0x8a
#define AML_EXT		       0x5b
#define AML_EXT_REGION	       0x80
#define AML_EXT_FIELD	       0x81
#define AML_REGION_PCI_CONFIG  0x02

#endif
