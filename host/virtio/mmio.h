/* SPDX-License-Identifier: MIT */
/*
 * The MMIO transport: a slot is a device of the board's ("virtio-mmio") with a bus for one virtio
 * device ("virtio-mmio-bus.N"); an empty slot answers with device id 0.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "virtio/virtio.h"

#define VIRTIO_MMIO_SIZE 512

struct virtio_mmio {
	struct device dev;
	struct bus bus;
	bool force_legacy, ioeventfd, format_transport_address;

	/* set by virtio_mmio_create() */
	unsigned index, gsi;
	uint64_t base;

	struct device *plugged;	    /* takes the slot, from its plug on */
	struct virtio_device *vdev; /* NULL: empty */
	struct region region;
	uint32_t device_feature_select, driver_feature_select, queue_select;
	atomic_uchar interrupt_status;
	struct loop_task interrupt_task;
};

/*
 * The board makes its slots, 0 first: registers at base + 512 * i, interrupt gsi + i.  Devices
 * without bus= take the highest free slot, as under QEMU.  0 or -errno.
 */
int virtio_mmio_create(
	struct machine *machine, unsigned count, uint64_t base, unsigned gsi, struct error *err);

/* The slot number `index` in use, in ascending order: its registers and GSI.  false: no more. */
bool virtio_mmio_used(struct machine *machine, unsigned index, uint64_t *base, unsigned *gsi);

/* For devices on a slot: after virtio_init(), and the ends.  0 or -errno: a legacy slot. */
int virtio_mmio_attach(struct device *dev, struct virtio_device *vdev, struct error *err);
void virtio_mmio_detach(struct device *dev);

#endif
