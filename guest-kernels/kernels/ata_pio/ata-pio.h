/* SPDX-License-Identifier: MIT */
/*
 * Kernel ata_pio: ATA disks by registers and PIO, ATA/ATAPI-6 (T13/1410D); section numbers in its
 * files are that document's.
 */
#ifndef KERNELS_ATA_PIO_H
#define KERNELS_ATA_PIO_H

#include "kernels/ata-disks.h"

#define ATA NEEDS("disk:ata")

static inline struct ata_channel *open_disk(struct ata_disk *d, unsigned channel, unsigned unit)
{
	return open_ata(d, channel, unit);
}

/* Issues a command without data and returns its result; there is exactly one interrupt for it. */
static inline int plain_once(struct ata_disk *d, uint8_t command)
{
	uint32_t before = ata_irqs(d->channel);
	int result = ata_plain(d, command);

	EXPECT_EQ(ata_irqs(d->channel), before + 1);
	return result;
}

#endif
