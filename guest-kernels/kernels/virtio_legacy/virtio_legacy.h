/* SPDX-License-Identifier: MIT */
/*
 * The legacy interfaces of virtio (virtio 1.4, "Legacy Interface" of 2.2, 2.7.2, 3.1, 4.1.4, 4.2.4
 * and 6), on a virtio-blk disk: what the files of this kernel share.
 *
 *	device.c  what PCI and MMIO have the same
 *	pci.c     the header in BAR 0, MSI-X, both interfaces of one device
 *	mmio.c    the registers of version 1
 *
 * Each TEST drives the disk by its legacy interface, whatever interface= says.
 */
#ifndef KERNEL_VIRTIO_LEGACY_H
#define KERNEL_VIRTIO_LEGACY_H

#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "runtime/ctl.h"
#include "virtio-drivers/raw.h"

#define DISK	  NEEDS("disk:virtio")
#define PCI_DISK  NEEDS("pci disk:virtio")
#define MMIO_DISK NEEDS("mmio disk:virtio")

/* What a driver of this interface accepts of the ring unless a TEST says more. */
#define LEGACY_DEFAULT (RAW_DEFAULT | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT))

/* The disk, reset and with its interrupts routed, driven by its legacy interface; or SKIP. */
struct raw_disk *legacy_find(void);
/* The same, running. */
struct raw_disk *legacy_disk(uint64_t features);
/* The ring allocated and told, nothing else. */
void legacy_queue(struct raw_disk *d);
/* One sector read through descriptors 0 to 2 of the ring; leaves the TEST when silent. */
void legacy_reads(struct raw_disk *d);
/* The page number that the device has of queue 0. */
uint32_t legacy_page(struct raw_disk *d);

#endif
