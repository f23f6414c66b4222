/* SPDX-License-Identifier: MIT */
/*
 * virtio over PCI (virtio 1.4, 4.1), modern interface, on a virtio-blk disk: what the files of this
 * kernel share.
 */
#ifndef KERNEL_VIRTIO_PCI_H
#define KERNEL_VIRTIO_PCI_H

#include "virtio-drivers/raw.h"

#define DISK NEEDS("pci disk:virtio")

#define common16(d, reg)	    mmio_read16((d)->dev.common + (reg))
#define common32(d, reg)	    mmio_read32((d)->dev.common + (reg))
#define set_common16(d, reg, value) mmio_write16((d)->dev.common + (reg), (value))
#define set_common32(d, reg, value) mmio_write32((d)->dev.common + (reg), (value))

#endif
