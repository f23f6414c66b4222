/* SPDX-License-Identifier: MIT */
/*
 * The disks that the kernels ata_pio and ata_dma run on, and what both do with them: a disk of 8
 * MiB as ide.0 unit 0 with serial "assay-ata-0", one of 4 MiB as unit 1, both with each sector full
 * of its own number below SCRATCH; a sparse disk of 200 GiB as ide.1 unit 0, whose unit 1 is
 * absent. TESTs write only from SCRATCH on, each in its own place.
 */
#ifndef KERNELS_ATA_DISKS_H
#define KERNELS_ATA_DISKS_H

#include "drivers/ata.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define SCRATCH 4096
#define QUIET	2000 /* us in which an interrupt that must not come would have come */

/* The disk's channel after a reset; there is one interrupt counted: that of IDENTIFY. */
static inline struct ata_channel *open_ata(struct ata_disk *d, unsigned channel, unsigned unit)
{
	if (!ata_disk_init(d, channel, unit))
		SKIP("no ATA disk as ide.%u unit %u", channel, unit);
	return d->channel;
}

static inline bool is_sector(const void *data, uint64_t lba)
{
	const uint64_t *words = data;

	return words[0] == lba && words[1] == lba && words[63] == lba;
}

static inline void fill_sectors(void *data, uint32_t count, uint64_t tag)
{
	uint64_t *words = data;

	for (uint32_t i = 0; i < count; i++, words += 64)
		words[0] = words[1] = words[63] = tag + i;
}

static inline bool is_error(int result, uint8_t bits)
{
	return result > 0 && (result >> 8 & ATA_ERR) && (result & bits);
}

#endif
