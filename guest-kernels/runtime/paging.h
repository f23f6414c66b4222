/* SPDX-License-Identifier: MIT */
/*
 * Page tables (Intel SDM volume 3, chapter 4). All memory below 4 GiB is identity mapped from the
 * start.
 */
#ifndef ASSAY_RUNTIME_PAGING_H
#define ASSAY_RUNTIME_PAGING_H

#include <stdint.h>

#define PAGE_PRESENT  0x1ull
#define PAGE_WRITE    0x2ull
#define PAGE_USER     0x4ull
#define PAGE_ACCESSED 0x20ull
#define PAGE_DIRTY    0x40ull

/* Makes [base, base + size) reachable at its physical address; for RAM and BARs above 4 GiB. Stays.
 */
void paging_identity(uint64_t base, uint64_t size);

/*
 * One 4 KiB page at a virtual address of the window below; the table entry is returned, so that a
 * TEST can change it (and invlpg). Gone before the next TEST.
 */
#define PAGING_WINDOW 0x7f8000000000ull /* PML4 slot 255: above any BAR that firmware places */
volatile uint64_t *paging_map(uint64_t virtual_address, uint64_t physical, uint64_t flags);
void paging_reset(void);

#endif
