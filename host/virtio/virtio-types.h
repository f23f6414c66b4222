/* SPDX-License-Identifier: MIT */
/* The device types of this room, for the list of board/device-list.c. */
#ifndef VIRTIO_VIRTIO_TYPES_H
#define VIRTIO_VIRTIO_TYPES_H

#include "machine/device.h"

extern const struct device_type virtio_mmio_type; /* virtio-mmio */

extern const struct device_type virtio_blk_device_type;		      /* virtio-blk-device */
extern const struct device_type virtio_blk_pci_type;		      /* virtio-blk-pci */
extern const struct device_type virtio_blk_pci_non_transitional_type; /* ...-non-transitional */
extern const struct device_type virtio_blk_pci_transitional_type;     /* ...-transitional */

extern const struct device_type virtio_rng_device_type;		      /* virtio-rng-device */
extern const struct device_type virtio_rng_pci_type;		      /* virtio-rng-pci */
extern const struct device_type virtio_rng_pci_non_transitional_type; /* ...-non-transitional */
extern const struct device_type virtio_rng_pci_transitional_type;

extern const struct device_type virtconsole_type; /* ports of the next ones */
extern const struct device_type virtserialport_type;
extern const struct device_type virtio_serial_device_type; /* virtio-serial-device */
extern const struct device_type virtio_serial_pci_type;	   /* virtio-serial-pci */
extern const struct device_type virtio_serial_pci_non_transitional_type;
extern const struct device_type virtio_serial_pci_transitional_type;

#endif
