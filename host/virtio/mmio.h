/* SPDX-License-Identifier: MIT */
/*
 * The MMIO transport: a slot is a device of the board's ("virtio-mmio") with a bus for one virtio
 * device ("virtio-mmio-bus.N"); an empty slot answers with device id 0.  With force-legacy=on its
 * registers are those of version 1.  mmio.c: what both have, slots, and version 2; mmio-legacy.c.
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
	uint32_t page_size;    /* version 1: of the guest; 0: not said yet */
	uint32_t *queue_align; /* version 1: of the used part, one a queue */
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

/* For devices on a slot: after virtio_init(), and the ends.  0 or -errno. */
int virtio_mmio_attach(struct device *dev, struct virtio_device *vdev, struct error *err);
void virtio_mmio_detach(struct device *dev);

/* --- between mmio.c and mmio-legacy.c --- */

enum virtio_mmio_register {
	MAGIC_VALUE = 0x000,
	DEVICE_VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	GUEST_PAGE_SIZE = 0x028, /* version 1 */
	QUEUE_SEL = 0x030,
	QUEUE_SIZE_MAX_REGISTER = 0x034,
	QUEUE_SIZE = 0x038,
	QUEUE_ALIGN = 0x03c, /* version 1 */
	QUEUE_PFN = 0x040,   /* version 1 */
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	SHM_LEN_LOW = 0x0b0,
	SHM_LEN_HIGH = 0x0b4,
	SHM_BASE_LOW = 0x0b8,
	SHM_BASE_HIGH = 0x0bc,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

/* Registers of version 1 that differ from those of version 2 or are not there.  A read: false if
 * the register is the same in both. */
bool virtio_mmio_legacy_read(struct virtio_mmio *slot, uint64_t offset, uint32_t *value);
bool virtio_mmio_legacy_write(struct virtio_mmio *slot, uint64_t offset, uint32_t value);
void virtio_mmio_legacy_reset(struct virtio_mmio *slot);
extern const struct state_table virtio_mmio_legacy_state; /* a subsection of the slot's */

#endif
