/* SPDX-License-Identifier: MIT */
/*
 * The MMIO transport (virtio 1.4, 4.2): slots, interrupts, and the registers of version 2.  Control
 * registers take aligned accesses of 32
 * bits only; the configuration, from 0x100, takes 8, 16 and 32 bits.
 *
 * Version 1 (4.2.4) is QEMU's default and ours: `-global virtio-mmio.force-legacy=false` asks for
 * version 2.  What is different in it is in mmio-legacy.c.
 *
 * Not here: shared memory regions (their length reads as -1: there are none).
 */
#include "virtio/mmio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "virtio/virtio-types.h"

#define MAGIC		 0x74726976 /* "virt" */
#define VERSION		 2
#define VENDOR		 0x554d4551 /* QEMU's, which drivers may print */
#define INTERRUPT_USED	 1
#define INTERRUPT_CONFIG 2

/* --- interrupts: one line, up while a status bit is --- */

static void update_line(void *opaque)
{
	struct virtio_mmio *slot = opaque;

	irq_set(&slot->dev.machine->gsi[slot->gsi], slot->interrupt_status != 0);
}

static void queue_interrupt(struct virtio_device *vdev, struct virtio_queue *vq)
{
	struct virtio_mmio *slot = vdev->transport_opaque;

	atomic_fetch_or(&slot->interrupt_status, INTERRUPT_USED);
	if (vq->loop == vdev->machine->loop)
		update_line(slot);
	else
		loop_post(vdev->machine->loop, &slot->interrupt_task);
}

static void config_interrupt(struct virtio_device *vdev)
{
	struct virtio_mmio *slot = vdev->transport_opaque;

	atomic_fetch_or(&slot->interrupt_status, INTERRUPT_CONFIG);
	update_line(slot);
}

static void transport_reset(struct virtio_device *vdev)
{
	struct virtio_mmio *slot = vdev->transport_opaque;

	atomic_store(&slot->interrupt_status, 0);
	slot->device_feature_select = slot->driver_feature_select = slot->queue_select = 0;
	virtio_mmio_legacy_reset(slot);
	update_line(slot);
}

/* One register serves all queues: the value tells them apart. */
static void doorbell(struct virtio_device *vdev, struct virtio_queue *vq, bool on)
{
	struct virtio_mmio *slot = vdev->transport_opaque;

	/* With NOTIFICATION_DATA the value is another each time: such doorbells are exits. */
	if (!slot->ioeventfd || vdev->features & FEATURE(VIRTIO_F_NOTIFICATION_DATA))
		return;
	if (!on) {
		region_event_remove(&vq->event);
		return;
	}
	vq->event = (struct region_event){
		.offset = QUEUE_NOTIFY,
		.size = 4,
		.match = true,
		.value = vq->ring.index,
		.fd = vq->doorbell.fd,
	};
	region_event_add(&slot->region, &vq->event);
}

static const struct virtio_transport mmio_transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.doorbell = doorbell,
	.reset = transport_reset,
};

/* --- registers --- */

static uint32_t control_read(struct virtio_mmio *slot, uint64_t offset)
{
	struct virtio_device *vdev = slot->vdev;
	struct virtio_queue *vq = virtio_queue(vdev, slot->queue_select);
	uint32_t value;

	if (slot->force_legacy && virtio_mmio_legacy_read(slot, offset, &value))
		return value;
	switch (offset) {
	case DEVICE_FEATURES: return virtio_offered(vdev, slot->device_feature_select);
	case QUEUE_SIZE_MAX_REGISTER: return vq ? vq->ring.size_max : 0;
	case QUEUE_READY: return vq ? vq->enabled : 0;
	case INTERRUPT_STATUS: return slot->interrupt_status;
	case STATUS: return vdev->status;
	case SHM_LEN_LOW:
	case SHM_LEN_HIGH:
	case SHM_BASE_LOW:
	case SHM_BASE_HIGH: return 0xffffffff;
	case CONFIG_GENERATION: return virtio_config_generation(vdev);
	default: return 0; /* QUEUE_RESET: complete when its write returns; write-only ones */
	}
}

static void queue_write(struct virtio_mmio *slot, uint64_t offset, uint32_t value)
{
	struct virtio_queue *vq = virtio_queue(slot->vdev, slot->queue_select);
	struct queue *ring = vq ? &vq->ring : NULL;

	if (!vq) {
		log_guest_error(slot->vdev->name, "queue %u does not exist", slot->queue_select);
		return;
	}
	switch (offset) {
	case QUEUE_SIZE: virtio_queue_set_size(vq, value); break;
	case QUEUE_READY:
		if (value == 1)
			virtio_queue_enable(vq);
		else if (value == 0 && vq->enabled)
			virtio_queue_disable(vq);
		break;
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
		virtio_queue_set_address(
			vq, &ring->descriptor_area, offset == QUEUE_DESC_HIGH, value);
		break;
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
		virtio_queue_set_address(
			vq, &ring->driver_area, offset == QUEUE_DRIVER_HIGH, value);
		break;
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		virtio_queue_set_address(
			vq, &ring->device_area, offset == QUEUE_DEVICE_HIGH, value);
		break;
	case QUEUE_RESET:
		if (value == 1 && slot->vdev->features & FEATURE(VIRTIO_F_RING_RESET))
			virtio_queue_reset(vq);
		break;
	default: log_guest_error(slot->vdev->name, "write to register 0x%lx", (long)offset);
	}
}

static void control_write(struct virtio_mmio *slot, uint64_t offset, uint32_t value)
{
	struct virtio_device *vdev = slot->vdev;
	struct virtio_queue *vq;

	if (slot->force_legacy && virtio_mmio_legacy_write(slot, offset, value))
		return;
	switch (offset) {
	case DEVICE_FEATURES_SEL: slot->device_feature_select = value; break;
	case DRIVER_FEATURES: virtio_accept(vdev, slot->driver_feature_select, value); break;
	case DRIVER_FEATURES_SEL: slot->driver_feature_select = value; break;
	case QUEUE_SEL: slot->queue_select = value; break;
	case QUEUE_NOTIFY:
		vq = virtio_doorbell_queue(vdev, value);
		if (vq)
			virtio_queue_kick(vq);
		break;
	case INTERRUPT_ACK:
		atomic_fetch_and(&slot->interrupt_status, ~value);
		update_line(slot);
		break;
	case STATUS: virtio_set_status(vdev, value); break;
	default: queue_write(slot, offset, value);
	}
}

static uint64_t slot_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_mmio *slot = opaque;

	if (offset >= CONFIG)
		return slot->vdev ? virtio_config_read(slot->vdev, offset - CONFIG, size) : 0;
	if (size != 4 || offset % 4)
		return 0;
	switch (offset) {
	case MAGIC_VALUE: return MAGIC;
	case DEVICE_VERSION: return slot->force_legacy ? 1 : VERSION;
	case DEVICE_ID: return slot->vdev ? slot->vdev->ops->id : 0;
	case VENDOR_ID: return VENDOR;
	default: return slot->vdev ? control_read(slot, offset) : 0;
	}
}

static void slot_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_mmio *slot = opaque;

	if (!slot->vdev)
		return;
	if (offset >= CONFIG && slot->force_legacy)
		virtio_legacy_config_write(slot->vdev, offset - CONFIG, size, value);
	else if (offset >= CONFIG)
		virtio_config_write(slot->vdev, offset - CONFIG, size, value);
	else if (size == 4 && offset % 4 == 0)
		control_write(slot, offset, value);
	else
		log_guest_error(slot->vdev->name, "write of %u bytes at 0x%lx", size, (long)offset);
}

static const struct region_ops slot_ops = {
	.read = slot_read,
	.write = slot_write,
	.min_access = 1,
	.max_access = 8,
};

/* --- slots --- */

static struct virtio_mmio *slot_of(struct bus *bus)
{
	return container_of(bus, struct virtio_mmio, bus);
}

static int slot_plug(struct bus *bus, struct device *dev, struct error *err)
{
	if (slot_of(bus)->plugged)
		return error_set(err, EBUSY, "Bus '%s' is full", bus->name);
	slot_of(bus)->plugged = dev;
	return 0;
}

static void slot_unplug(struct bus *bus, struct device *dev)
{
	slot_of(bus)->plugged = NULL;
}

static bool slot_is_full(struct bus *bus)
{
	return slot_of(bus)->plugged != NULL;
}

static void slot_unrealize(struct device *dev)
{
	struct virtio_mmio *slot = container_of(dev, struct virtio_mmio, dev);

	space_unmap(&slot->region);
	bus_unregister(&slot->bus);
}

int virtio_mmio_create(
	struct machine *machine, unsigned count, uint64_t base, unsigned gsi, struct error *err)
{
	/* The highest first: a device without bus= takes the first with room. */
	for (unsigned i = count; i-- > 0;) {
		struct device *dev = device_create(machine, &virtio_mmio_type, NULL, NULL, err);
		struct virtio_mmio *slot;
		char name[32];

		if (!dev)
			return -EINVAL;
		slot = container_of(dev, struct virtio_mmio, dev);
		slot->index = i;
		slot->gsi = gsi + i;
		slot->base = base + VIRTIO_MMIO_SIZE * i;
		slot->interrupt_task = (struct loop_task){.run = update_line, .opaque = slot};
		slot->region.name = "virtio-mmio";
		slot->region.length = VIRTIO_MMIO_SIZE;
		slot->region.ops = &slot_ops;
		slot->region.opaque = slot;
		slot->bus.plug = slot_plug;
		slot->bus.unplug = slot_unplug;
		slot->bus.is_full = slot_is_full;
		snprintf(name, sizeof(name), "virtio-mmio-bus.%u", i);
		bus_register(&slot->bus, machine, "virtio-bus", name);
		space_map(&machine->mmio, &slot->region, slot->base);
	}
	return 0;
}

bool virtio_mmio_used(struct machine *machine, unsigned index, uint64_t *base, unsigned *gsi)
{
	const struct virtio_mmio *best = NULL;
	unsigned found = 0;
	struct list *pos;

	/* Slots are in the list of devices, the highest first. */
	for (pos = machine->devices.prev; pos != &machine->devices; pos = pos->prev) {
		struct device *dev = container_of(pos, struct device, link);

		if (dev->type != &virtio_mmio_type)
			continue;
		best = container_of(dev, struct virtio_mmio, dev);
		if (!best->vdev || found++ != index)
			continue;
		*base = best->base;
		*gsi = best->gsi;
		return true;
	}
	return false;
}

int virtio_mmio_attach(struct device *dev, struct virtio_device *vdev, struct error *err)
{
	struct virtio_mmio *slot = slot_of(dev->bus);

	if (vdev->conf->notif_config_data)
		return error_set(err, EINVAL, "notif_config_data=on: only PCI has that");
	slot->queue_align = calloc(vdev->queue_count, sizeof(*slot->queue_align));
	if (!slot->queue_align)
		return error_set(err, ENOMEM, "out of memory");
	vdev->transport = &mmio_transport;
	vdev->transport_opaque = slot;
	atomic_store(&vdev->may_access, true);
	slot->vdev = vdev;
	transport_reset(vdev);
	return 0;
}

void virtio_mmio_detach(struct device *dev)
{
	struct virtio_mmio *slot = slot_of(dev->bus);

	/* A queue that still served on its own loop could post the task again. */
	virtio_park(slot->vdev, true);
	loop_cancel(dev->machine->loop, &slot->interrupt_task);
	atomic_store(&slot->interrupt_status, 0);
	update_line(slot);
	slot->vdev = NULL;
	free(slot->queue_align);
	slot->queue_align = NULL;
}

/* The page size outlives the reset that a driver makes: Linux says it once, before that. */
static void slot_reset(struct device *dev)
{
	container_of(dev, struct virtio_mmio, dev)->page_size = 0;
}

static const struct property mmio_properties[] = {
	{"force-legacy", PROPERTY_BOOL, offsetof(struct virtio_mmio, force_legacy), "on",
		"version 1 registers", NULL, 0, 0},
	{"ioeventfd", PROPERTY_BOOL, offsetof(struct virtio_mmio, ioeventfd), "on",
		"doorbells without an exit", NULL, 0, 0},
	{"format_transport_address", PROPERTY_BOOL,
		offsetof(struct virtio_mmio, format_transport_address), "on", "no effect", NULL, 0,
		0},
	PROPERTY_END,
};

/* An interrupt that an iothread has only posted yet. */
static void slot_prepare(void *state)
{
	struct virtio_mmio *slot = state;

	if (slot->interrupt_status)
		update_line(slot);
}

static int slot_loaded(void *state, unsigned version, struct error *err)
{
	update_line(state);
	return 0;
}

static const struct state_field slot_fields[] = {
	STATE_UINT(struct virtio_mmio, device_feature_select),
	STATE_UINT(struct virtio_mmio, driver_feature_select),
	STATE_UINT(struct virtio_mmio, queue_select),
	STATE_UINT(struct virtio_mmio, interrupt_status),
	STATE_END,
};

static const struct state_table *const slot_subsections[] = {&virtio_mmio_legacy_state, NULL};

static const struct state_table slot_state = {
	.name = "virtio-mmio",
	.version = 1,
	.fields = slot_fields,
	.subsections = slot_subsections,
	.pre_save = slot_prepare,
	.post_load = slot_loaded,
};

const struct device_type virtio_mmio_type = {
	.name = "virtio-mmio",
	.bus = "System",
	.category = "Misc",
	.properties = mmio_properties,
	.size = sizeof(struct virtio_mmio),
	.internal = true,
	.unrealize = slot_unrealize,
	.reset = slot_reset,
	.state = &slot_state,
};
