/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) for test_storage_data.py, which loads it
 * with ctypes: sixty-four megabytes take Python itself half a minute.
 */
#include <stddef.h>
#include <stdint.h>

static uint32_t table[256];

uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t size);

uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t size)
{
	for (uint32_t i = 0; !table[255] && i < 256; i++) {
		uint32_t value = i;

		for (int bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
		table[i] = value;
	}
	crc = ~crc;
	while (size--)
		crc = crc >> 8 ^ table[((crc ^ *data++) & 255)];
	return ~crc;
}
