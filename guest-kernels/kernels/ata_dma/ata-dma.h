/* SPDX-License-Identifier: MIT */
/*
 * Kernel ata_dma: the bus master of a PIIX3, "Programming Interface for Bus Master IDE Controller"
 * 1.0 (SFF-8038i, sections by its numbers), and the DMA commands of ATA/ATAPI-6 (sections marked
 * ATA).  Its disks are those of ata-disks.h.
 */
#ifndef KERNELS_ATA_DMA_H
#define KERNELS_ATA_DMA_H

#include "kernels/ata-disks.h"
#include "runtime/pci.h"

#define ATA_DMA NEEDS("pci disk:ata")

/* Of a TEST: the disk it opens, and another. */
extern struct ata_disk disk, other;

/* The disk's channel after a reset: there is a bus master, and its interrupt bit is clear. */
struct ata_channel *open_disk(struct ata_disk *d, unsigned channel, unsigned unit);
struct ata_prd *new_table(unsigned entries);
/* A command with a table of one's own, and the start of the bus master. */
void start_table(struct ata_disk *d, const struct ata_prd *table, enum ata_direction direction,
	uint64_t lba, uint32_t count);
/* A whole transfer with such a table; the bus master is left as it ended. */
int run_table(struct ata_disk *d, const struct ata_prd *table, enum ata_direction direction,
	uint64_t lba, uint32_t count);
/* The controller after whatever a TEST did to it reads sector 3 of `disk` right. */
void expect_usable(struct ata_channel *c);

static inline struct ata_prd prd(void *address, uint32_t bytes, bool end)
{
	return (struct ata_prd){phys(address), (uint16_t)bytes, end ? PRD_END : 0};
}

#endif
