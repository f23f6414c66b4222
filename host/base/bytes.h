/* SPDX-License-Identifier: MIT */
/* Little-endian numbers at any address.  The host is an x86-64, so a copy is the conversion. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t get_le16(const void *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline uint32_t get_le32(const void *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline uint64_t get_le64(const void *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static inline void put_le16(void *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void put_le32(void *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static inline void put_le64(void *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

#endif
