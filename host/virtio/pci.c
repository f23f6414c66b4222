/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport (virtio 1.4, 4.1): identity, vectors, and the modern interface; the legacy one
 * is pci-legacy.c.  Layout as QEMU's: BAR 0 the legacy registers, BAR 1 the MSI-X table, BAR 4
 * (64-bit, prefetchable, 16 KiB; region "virtio-pci") with the four structures a page each: 0x0000
 * common configuration   0x1000 ISR   0x2000 device configuration   0x3000 doorbells and five
 * capabilities that say so, the last of them a window to BAR 4 through configuration space.
 *
 * With modern-pio-notify=on BAR 2 has one doorbell in I/O space besides.
 *
 * Not here: notification data, shared memory, administration queues.
 */
#include "virtio/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define VENDOR	       0x1af4
#define DEVICE_BASE    0x1040
#define SUBSYSTEM      0x1100
#define MSIX_BAR       1
#define MODERN_BAR     4
#define NOTIFY_IO_BAR  2
#define NOTIFY_IO_SIZE 4
#define STRUCTURE_SIZE 0x1000
#define DOORBELL_USUAL 4 /* bytes from one to the next, or */
#define DOORBELL_PAGE  4096
#define VECTORS_AUTO   0xffffffff
#define VECTORS_MAX    2048
#define NO_VECTOR      VIRTIO_PCI_NO_VECTOR
#define ISR_QUEUE      1
#define ISR_CONFIG     2

enum { PAGE_COMMON, PAGE_ISR, PAGE_DEVICE, PAGE_NOTIFY };
enum { ROUTE_NONE = -1, ROUTE_INTX = -2 };

/* struct virtio_pci_cap (4.1.4) */
#define CAP_CFG_TYPE 3
#define CAP_BAR	     4
#define CAP_OFFSET   8
#define CAP_LENGTH   12
#define CAP_EXTRA    16 /* notify_off_multiplier, or pci_cfg_data */

enum common_register {
	DEVICE_FEATURE_SELECT,
	DEVICE_FEATURE,
	DRIVER_FEATURE_SELECT,
	DRIVER_FEATURE,
	CONFIG_MSIX_VECTOR,
	NUM_QUEUES,
	DEVICE_STATUS,
	CONFIG_GENERATION,
	QUEUE_SELECT,
	QUEUE_SIZE,
	QUEUE_MSIX_VECTOR,
	QUEUE_ENABLE,
	QUEUE_NOTIFY_OFF,
	QUEUE_DESC,
	QUEUE_DESC_HIGH,
	QUEUE_DRIVER,
	QUEUE_DRIVER_HIGH,
	QUEUE_DEVICE,
	QUEUE_DEVICE_HIGH,
	QUEUE_NOTIF_CONFIG_DATA,
	QUEUE_RESET,
};

static const struct {
	uint8_t offset, width;
} common_registers[] = {
	[DEVICE_FEATURE_SELECT] = {0x00, 4},
	[DEVICE_FEATURE] = {0x04, 4},
	[DRIVER_FEATURE_SELECT] = {0x08, 4},
	[DRIVER_FEATURE] = {0x0c, 4},
	[CONFIG_MSIX_VECTOR] = {0x10, 2},
	[NUM_QUEUES] = {0x12, 2},
	[DEVICE_STATUS] = {0x14, 1},
	[CONFIG_GENERATION] = {0x15, 1},
	[QUEUE_SELECT] = {0x16, 2},
	[QUEUE_SIZE] = {0x18, 2},
	[QUEUE_MSIX_VECTOR] = {0x1a, 2},
	[QUEUE_ENABLE] = {0x1c, 2},
	[QUEUE_NOTIFY_OFF] = {0x1e, 2},
	[QUEUE_DESC] = {0x20, 4},
	[QUEUE_DESC_HIGH] = {0x24, 4},
	[QUEUE_DRIVER] = {0x28, 4},
	[QUEUE_DRIVER_HIGH] = {0x2c, 4},
	[QUEUE_DEVICE] = {0x30, 4},
	[QUEUE_DEVICE_HIGH] = {0x34, 4},
	[QUEUE_NOTIF_CONFIG_DATA] = {0x38, 2},
	[QUEUE_RESET] = {0x3a, 2},
};

#define COMMON_REGISTERS (sizeof(common_registers) / sizeof(common_registers[0]))

static struct virtio_pci *from_pci(struct pci_device *pci)
{
	return container_of(pci, struct virtio_pci, pci);
}

/* --- interrupts --- */

static void update_intx(void *opaque)
{
	struct virtio_pci *p = opaque;

	pci_set_intx(&p->pci, p->isr && !msix_enabled(&p->pci));
}

static void queue_interrupt(struct virtio_device *vdev, struct virtio_queue *vq)
{
	struct virtio_pci *p = vdev->transport_opaque;
	int route = atomic_load(&p->queue_route[vq->ring.index]);

	if (route >= 0) {
		msix_fire(&p->pci, route);
	} else if (route == ROUTE_INTX) {
		atomic_fetch_or(&p->isr, ISR_QUEUE);
		if (vq->loop == vdev->machine->loop)
			update_intx(p);
		else
			loop_post(vdev->machine->loop, &p->intx_task);
	}
}

/* 4.1.4.5.1: the ISR bit is set with MSI-X too. */
static void config_interrupt(struct virtio_device *vdev)
{
	struct virtio_pci *p = vdev->transport_opaque;

	atomic_fetch_or(&p->isr, ISR_CONFIG);
	if (msix_enabled(&p->pci) && p->config_vector != NO_VECTOR)
		msix_notify(&p->pci, p->config_vector);
	update_intx(p);
}

static void update_route(struct virtio_pci *p, unsigned queue)
{
	int route = ROUTE_INTX;

	if (msix_enabled(&p->pci))
		route = p->queue_vector[queue] == NO_VECTOR ? ROUTE_NONE : p->queue_vector[queue];
	atomic_store(&p->queue_route[queue], route);
}

static void update_routes(struct virtio_pci *p)
{
	for (unsigned i = 0; i < p->vdev->queue_count; i++)
		update_route(p, i);
	update_intx(p);
}

static void msix_changed(struct pci_device *pci, int vector)
{
	update_routes(from_pci(pci));
}

/* 4.1.5.1.2: what cannot be mapped reads back as NO_VECTOR. */
void virtio_pci_set_queue_vector(struct virtio_pci *p, unsigned queue, uint32_t vector)
{
	uint16_t old = p->queue_vector[queue];

	if (vector >= p->pci.msix.count || msix_use(&p->pci, vector, NULL) < 0)
		vector = NO_VECTOR;
	p->queue_vector[queue] = vector;
	update_route(p, queue);
	if (old != NO_VECTOR)
		msix_unuse(&p->pci, old);
}

void virtio_pci_set_config_vector(struct virtio_pci *p, uint32_t vector)
{
	p->config_vector = vector < p->pci.msix.count ? vector : NO_VECTOR;
}

static void transport_reset(struct virtio_device *vdev)
{
	struct virtio_pci *p = vdev->transport_opaque;

	p->config_vector = NO_VECTOR;
	for (unsigned i = 0; i < vdev->queue_count; i++)
		virtio_pci_set_queue_vector(p, i, NO_VECTOR);
	/* A message that waits for its mask is of the driver that was reset (2.4.1). */
	for (unsigned i = 0; i < p->pci.msix.count; i++)
		atomic_store(&p->pci.msix.vectors[i].pending, false);
	atomic_store(&p->isr, 0);
	p->device_feature_select = p->driver_feature_select = 0;
	p->queue_select = 0;
	update_routes(p);
}

static uint32_t multiplier(const struct virtio_pci *p)
{
	return p->page_per_vq ? DOORBELL_PAGE : DOORBELL_USUAL;
}

/* Doorbells that are signals are those that the driver prefers: of the interface that it uses, and
 * in I/O space where it finds some there; others come as exits.  In BAR 4 each queue's has an
 * address of its own, so the value written does not matter. */
static void doorbell(struct virtio_device *vdev, struct virtio_queue *vq, bool on)
{
	struct virtio_pci *p = vdev->transport_opaque;

	if (!p->ioeventfd)
		return;
	if (!on) {
		region_event_remove(&vq->event);
		return;
	}
	if (vdev->legacy) {
		vq->event = virtio_pci_legacy_doorbell(vq);
		region_event_add(&p->legacy, &vq->event);
		return;
	}
	if (p->modern_pio_notify && !(vdev->features & FEATURE(VIRTIO_F_NOTIFICATION_DATA))) {
		vq->event = (struct region_event){.size = 2,
			.match = true,
			.value = virtio_doorbell_name(vq),
			.fd = vq->doorbell.fd};
		region_event_add(&p->notify_io, &vq->event);
		return;
	}
	vq->event = (struct region_event){
		.offset = PAGE_NOTIFY * STRUCTURE_SIZE + multiplier(p) * vq->ring.index,
		.fd = vq->doorbell.fd,
	};
	region_event_add(&p->modern, &vq->event);
}

static const struct virtio_transport pci_transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.doorbell = doorbell,
	.reset = transport_reset,
};

/* --- common configuration (4.1.4.3) --- */

static uint32_t queue_register(struct virtio_pci *p, enum common_register reg)
{
	struct virtio_queue *vq = virtio_queue(p->vdev, p->queue_select);

	if (!vq)
		return reg == QUEUE_MSIX_VECTOR ? NO_VECTOR : 0;
	switch (reg) {
	case QUEUE_SIZE: return vq->ring.size;
	case QUEUE_MSIX_VECTOR: return p->queue_vector[p->queue_select];
	case QUEUE_ENABLE: return vq->enabled;
	case QUEUE_NOTIFY_OFF: return p->queue_select;
	case QUEUE_DESC: return vq->ring.descriptor_area;
	case QUEUE_DESC_HIGH: return vq->ring.descriptor_area >> 32;
	case QUEUE_DRIVER: return vq->ring.driver_area;
	case QUEUE_DRIVER_HIGH: return vq->ring.driver_area >> 32;
	case QUEUE_DEVICE: return vq->ring.device_area;
	case QUEUE_DEVICE_HIGH: return vq->ring.device_area >> 32;
	case QUEUE_NOTIF_CONFIG_DATA: return virtio_doorbell_name(vq);
	default: return 0; /* QUEUE_RESET: a reset is complete when its write returns */
	}
}

static uint32_t common_register(struct virtio_pci *p, enum common_register reg)
{
	struct virtio_device *vdev = p->vdev;

	switch (reg) {
	case DEVICE_FEATURE_SELECT: return p->device_feature_select;
	case DEVICE_FEATURE: return virtio_offered(vdev, p->device_feature_select);
	case DRIVER_FEATURE_SELECT: return p->driver_feature_select;
	case DRIVER_FEATURE: return virtio_accepted(vdev, p->driver_feature_select);
	case CONFIG_MSIX_VECTOR: return p->config_vector;
	case NUM_QUEUES: return vdev->queue_count;
	case DEVICE_STATUS: return vdev->status;
	case CONFIG_GENERATION: return virtio_config_generation(vdev);
	case QUEUE_SELECT: return p->queue_select;
	default: return queue_register(p, reg);
	}
}

/* Any width: whatever registers the bytes belong to. */
static uint64_t common_read(struct virtio_pci *p, unsigned offset, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < COMMON_REGISTERS; i++) {
		unsigned at = common_registers[i].offset, width = common_registers[i].width;
		uint64_t part;

		if (at >= offset + size || at + width <= offset)
			continue; /* none of its bytes */
		part = common_register(p, i) & ((UINT64_C(1) << 8 * width) - 1);
		value |= at >= offset ? part << 8 * (at - offset) : part >> 8 * (offset - at);
	}
	return value;
}

static void queue_register_write(struct virtio_pci *p, enum common_register reg, uint32_t value)
{
	struct virtio_queue *vq = virtio_queue(p->vdev, p->queue_select);

	if (!vq) {
		log_guest_error(p->vdev->name, "queue %u does not exist", p->queue_select);
		return;
	}
	switch (reg) {
	case QUEUE_SIZE: virtio_queue_set_size(vq, value); break;
	case QUEUE_MSIX_VECTOR: virtio_pci_set_queue_vector(p, p->queue_select, value); break;
	case QUEUE_DESC:
	case QUEUE_DESC_HIGH:
		virtio_queue_set_address(
			vq, &vq->ring.descriptor_area, reg == QUEUE_DESC_HIGH, value);
		break;
	case QUEUE_DRIVER:
	case QUEUE_DRIVER_HIGH:
		virtio_queue_set_address(
			vq, &vq->ring.driver_area, reg == QUEUE_DRIVER_HIGH, value);
		break;
	case QUEUE_DEVICE:
	case QUEUE_DEVICE_HIGH:
		virtio_queue_set_address(
			vq, &vq->ring.device_area, reg == QUEUE_DEVICE_HIGH, value);
		break;
	case QUEUE_ENABLE:
		if (value == 1) /* nothing else is the driver's to write (4.1.4.3.2) */
			virtio_queue_enable(vq);
		break;
	case QUEUE_RESET:
		if (value != 1 || !(p->vdev->features & FEATURE(VIRTIO_F_RING_RESET)))
			break;
		virtio_queue_reset(vq);
		virtio_pci_set_queue_vector(p, p->queue_select, NO_VECTOR);
		break;
	default: log_guest_error(p->vdev->name, "write to a read-only register");
	}
}

static void common_register_write(struct virtio_pci *p, enum common_register reg, uint32_t value)
{
	switch (reg) {
	case DEVICE_FEATURE_SELECT: p->device_feature_select = value; break;
	case DRIVER_FEATURE_SELECT: p->driver_feature_select = value; break;
	case DRIVER_FEATURE: virtio_accept(p->vdev, p->driver_feature_select, value); break;
	case CONFIG_MSIX_VECTOR: virtio_pci_set_config_vector(p, value); break;
	case DEVICE_STATUS: virtio_set_status(p->vdev, value); break;
	case QUEUE_SELECT: p->queue_select = value; break;
	default: queue_register_write(p, reg, value);
	}
}

/* Only a write of a register's own width counts: a stray one changes no neighbour. */
static void common_write(struct virtio_pci *p, unsigned offset, unsigned size, uint64_t value)
{
	if (size == 8 && offset >= common_registers[QUEUE_DESC].offset &&
		offset <= common_registers[QUEUE_DEVICE].offset) {
		common_write(p, offset, 4, value);
		common_write(p, offset + 4, 4, value >> 32);
		return;
	}
	for (unsigned i = 0; i < COMMON_REGISTERS; i++) {
		if (common_registers[i].offset != offset || common_registers[i].width != size)
			continue;
		common_register_write(p, i, value);
		return;
	}
	log_guest_error(p->vdev->name, "write of %u bytes at 0x%x of the common configuration",
		size, offset);
}

/* --- BAR 4 --- */

uint32_t virtio_pci_isr(struct virtio_pci *p)
{
	uint32_t isr = atomic_exchange(&p->isr, 0);

	update_intx(p);
	return isr;
}

static uint64_t modern_read(void *opaque, uint64_t offset, unsigned size)
{
	struct virtio_pci *p = opaque;
	unsigned at = offset % STRUCTURE_SIZE;

	switch (offset / STRUCTURE_SIZE) {
	case PAGE_COMMON: return common_read(p, at, size);
	case PAGE_ISR: return at == 0 ? virtio_pci_isr(p) : 0;
	case PAGE_DEVICE: return virtio_config_read(p->vdev, at, size);
	default: return 0;
	}
}

static void ring_doorbell(struct virtio_pci *p, unsigned queue)
{
	struct virtio_queue *vq = virtio_queue(p->vdev, queue);

	if (vq)
		virtio_queue_kick(vq);
}

static void modern_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_pci *p = opaque;
	unsigned at = offset % STRUCTURE_SIZE;

	switch (offset / STRUCTURE_SIZE) {
	case PAGE_COMMON: common_write(p, at, size, value); break;
	case PAGE_ISR: break;
	case PAGE_DEVICE: virtio_config_write(p->vdev, at, size, value); break;
	default:
		offset -= PAGE_NOTIFY * STRUCTURE_SIZE;
		if (offset % multiplier(p) == 0)
			ring_doorbell(p, offset / multiplier(p));
	}
}

static const struct region_ops modern_ops = {
	.read = modern_read,
	.write = modern_write,
	.min_access = 1,
	.max_access = 8,
};

/* BAR 2: one register, and the value tells the queues apart. */
static uint64_t notify_io_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0;
}

static void notify_io_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_pci *p = opaque;
	struct virtio_queue *vq = virtio_doorbell_queue(p->vdev, value);

	if (offset == 0 && size >= 2 && vq)
		ring_doorbell(p, vq->ring.index);
}

static const struct region_ops notify_io_ops = {
	.read = notify_io_read,
	.write = notify_io_write,
	.min_access = 1,
	.max_access = 4,
};

/* --- configuration space --- */

static bool covers(unsigned offset, unsigned size, unsigned byte)
{
	return offset <= byte && byte < offset + size;
}

/* 4.1.4.9: the access that the window's registers describe, or NULL if they describe none.  Any BAR
 * of the function can be named, whether or not it decodes. */
static struct region *window(struct virtio_pci *p, uint32_t *offset, uint32_t *length)
{
	const uint8_t *cap = p->pci.config + p->cfg_capability;
	struct region *region;

	if (!p->has_modern || cap[CAP_BAR] >= PCI_BARS)
		return NULL;
	region = p->pci.bars[cap[CAP_BAR]].region;
	memcpy(offset, cap + CAP_OFFSET, 4);
	memcpy(length, cap + CAP_LENGTH, 4);
	if (!region || (*length != 1 && *length != 2 && *length != 4) || *offset % *length ||
		*offset > region->length - *length || *length < region->ops->min_access)
		return NULL;
	return region;
}

static void config_reading(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct virtio_pci *p = from_pci(pci);
	unsigned data = p->cfg_capability + CAP_EXTRA;
	uint32_t at, length, value;
	struct region *region = covers(offset, size, data) ? window(p, &at, &length) : NULL;

	if (!region)
		return;
	value = region->ops->read(region->opaque, at, length);
	memcpy(pci->config + data, &value, length);
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct virtio_pci *p = from_pci(pci);
	unsigned data = p->cfg_capability + CAP_EXTRA;
	uint32_t at, length, value = 0;
	struct region *region = covers(offset, size, data) ? window(p, &at, &length) : NULL;

	if (covers(offset, size, PCI_COMMAND))
		virtio_set_access(p->vdev, pci_is_master(pci));
	if (!region)
		return;
	memcpy(&value, pci->config + data, length);
	region->ops->write(region->opaque, at, value, length);
}

static int add_capability(struct virtio_pci *p, uint8_t cfg_type, unsigned bar, uint32_t offset,
	uint32_t length, unsigned extra)
{
	int at = pci_add_capability(&p->pci, PCI_CAP_VENDOR, CAP_EXTRA + extra);
	uint8_t *cap = p->pci.config + at;

	if (at < 0)
		return at;
	cap[2] = CAP_EXTRA + extra;
	cap[CAP_CFG_TYPE] = cfg_type;
	cap[CAP_BAR] = bar;
	memcpy(cap + CAP_OFFSET, &offset, 4);
	memcpy(cap + CAP_LENGTH, &length, 4);
	return at;
}

static int add_capabilities(struct virtio_pci *p, struct error *err)
{
	uint32_t step = multiplier(p), size = STRUCTURE_SIZE;
	uint8_t *config = p->pci.config, *writable = p->pci.writable;
	int common, isr, device, notify, cfg, io = 0;

	common = add_capability(p, 1, MODERN_BAR, PAGE_COMMON * size, size, 0);
	isr = add_capability(p, 3, MODERN_BAR, PAGE_ISR * size, size, 0);
	device = add_capability(p, 4, MODERN_BAR, PAGE_DEVICE * size, size, 0);
	notify = add_capability(
		p, 2, MODERN_BAR, PAGE_NOTIFY * size, VIRTIO_QUEUES_MAX * step, sizeof(step));
	/* The list is read from its end: this one is preferred.  Its multiplier is 0. */
	if (p->modern_pio_notify)
		io = add_capability(p, 2, NOTIFY_IO_BAR, 0, NOTIFY_IO_SIZE, sizeof(step));
	cfg = add_capability(p, 5, 0, 0, 0, 4);
	if (common < 0 || isr < 0 || device < 0 || notify < 0 || cfg < 0 || io < 0)
		return error_set(err, ENOSPC, "no room for the virtio capabilities");
	memcpy(config + notify + CAP_EXTRA, &step, sizeof(step));
	p->cfg_capability = cfg;
	writable[cfg + CAP_BAR] = 0xff;
	memset(writable + cfg + CAP_OFFSET, 0xff, 4 + 4 + 4); /* offset, length, data */
	return 0;
}

/* --- life --- */

int virtio_pci_check(struct virtio_pci *p, struct error *err)
{
	p->has_modern = !p->disable_modern;
	p->has_legacy = p->disable_legacy != TRISTATE_ON;
	if (!p->has_modern && !p->has_legacy)
		return error_set(err, EINVAL,
			"device cannot work as neither modern nor legacy mode is enabled");
	if (p->vectors != VECTORS_AUTO && p->vectors > VECTORS_MAX)
		return error_set(err, EINVAL, "vectors=%u: at most %u", p->vectors, VECTORS_MAX);
	return 0;
}

static unsigned vector_count(const struct virtio_pci *p)
{
	unsigned count = p->vectors == VECTORS_AUTO ? p->vdev->queue_count + 1 : p->vectors;

	return count < VECTORS_MAX ? count : VECTORS_MAX;
}

/* 4.1.2: a device with a legacy interface has a transitional id, revision 0, and its type as
 * subsystem. */
static int set_identity(struct virtio_pci *p, uint32_t class_code, struct error *err)
{
	uint16_t type = p->vdev->ops->id, legacy_id = virtio_pci_legacy_id(type);

	if (p->has_legacy && !legacy_id && p->disable_legacy == TRISTATE_AUTO && p->has_modern)
		p->has_legacy = false;
	if (p->has_legacy && !legacy_id)
		return error_set(err, EINVAL, "device is modern-only, use disable-legacy=on");
	if (p->has_legacy) {
		pci_set_ids(&p->pci, VENDOR, legacy_id, class_code, 0);
		pci_set_subsystem(&p->pci, VENDOR, type);
	} else {
		pci_set_ids(&p->pci, VENDOR, DEVICE_BASE + type, class_code, 1);
		pci_set_subsystem(&p->pci, VENDOR, SUBSYSTEM);
	}
	pci_set_interrupt_pin(&p->pci, 1);
	return 0;
}

static int add_modern(struct virtio_pci *p, struct error *err)
{
	uint64_t used = PAGE_NOTIFY * STRUCTURE_SIZE + (uint64_t)multiplier(p) * VIRTIO_QUEUES_MAX;
	uint64_t size = STRUCTURE_SIZE;
	int rc = add_capabilities(p, err);

	if (rc < 0)
		return rc;
	while (size < used)
		size *= 2;
	p->modern.name = "virtio-pci";
	p->modern.ops = &modern_ops;
	p->modern.opaque = p;
	pci_register_bar(&p->pci, MODERN_BAR, PCI_BAR_MEMORY64, true, size, &p->modern);
	if (!p->modern_pio_notify)
		return 0;
	p->notify_io.name = "virtio-pci-notify";
	p->notify_io.ops = &notify_io_ops;
	p->notify_io.opaque = p;
	pci_register_bar(&p->pci, NOTIFY_IO_BAR, PCI_BAR_IO, false, NOTIFY_IO_SIZE, &p->notify_io);
	return 0;
}

int virtio_pci_realize(
	struct virtio_pci *p, struct virtio_device *vdev, uint32_t class_code, struct error *err)
{
	struct pci_device *pci = &p->pci;
	int rc;

	p->vdev = vdev;
	vdev->transport = &pci_transport;
	vdev->transport_opaque = p;
	p->intx_task = (struct loop_task){.run = update_intx, .opaque = p};
	p->queue_vector = calloc(vdev->queue_count, sizeof(*p->queue_vector));
	p->queue_route = calloc(vdev->queue_count, sizeof(*p->queue_route));
	if (!p->queue_vector || !p->queue_route)
		return error_set(err, ENOMEM, "out of memory");
	memset(p->queue_vector, 0xff, vdev->queue_count * sizeof(*p->queue_vector));
	rc = set_identity(p, class_code, err);
	if (rc == 0 && p->has_modern)
		rc = add_modern(p, err);
	if (rc == 0 && vector_count(p))
		rc = msix_init(pci, vector_count(p), MSIX_BAR, err);
	if (rc < 0)
		return rc;
	if (p->has_legacy)
		virtio_pci_legacy_realize(p);
	pci->config_reading = config_reading;
	pci->config_written = config_written;
	pci->msix_changed = msix_changed;
	transport_reset(vdev);
	return 0;
}

void virtio_pci_unrealize(struct virtio_pci *p)
{
	loop_cancel(p->pci.dev.machine->loop, &p->intx_task);
	space_unmap(&p->modern);
	space_unmap(&p->legacy);
	space_unmap(&p->notify_io);
	if (p->pci.msix.count)
		msix_destroy(&p->pci);
	free(p->queue_vector);
	free(p->queue_route);
	p->queue_vector = NULL;
	p->queue_route = NULL;
}

void virtio_pci_reset(struct virtio_pci *p)
{
	virtio_reset(p->vdev);
	virtio_set_access(p->vdev, pci_is_master(&p->pci));
}

/* --- saved state --- */

static unsigned saved_queues(const void *state)
{
	return ((const struct virtio_pci *)state)->vdev->queue_count;
}

static bool is_vector(const void *state, uint64_t value)
{
	return value == NO_VECTOR || value < ((const struct virtio_pci *)state)->pci.msix.count;
}

/* An interrupt that an iothread has only posted yet. */
static void prepare(void *state)
{
	update_intx(state);
}

static int loaded(void *state, unsigned version, struct error *err)
{
	struct virtio_pci *p = state;

	for (unsigned i = 0; i < p->vdev->queue_count; i++) {
		uint16_t vector = p->queue_vector[i];

		p->queue_vector[i] = NO_VECTOR;
		virtio_pci_set_queue_vector(p, i, vector);
		if (p->queue_vector[i] != vector)
			return error_set(err, EINVAL, "queue_vector: %u cannot be used", vector);
	}
	update_routes(p);
	virtio_set_access(p->vdev, pci_is_master(&p->pci));
	return 0;
}

static const struct state_field state_fields[] = {
	STATE_PART(struct virtio_pci, pci, pci_state_table),
	STATE_UINT(struct virtio_pci, device_feature_select),
	STATE_UINT(struct virtio_pci, driver_feature_select),
	STATE_UINT(struct virtio_pci, queue_select),
	STATE_UINT(struct virtio_pci, isr, .max = ISR_QUEUE | ISR_CONFIG),
	STATE_UINT(struct virtio_pci, config_vector, .valid = is_vector),
	STATE_POINTED(
		struct virtio_pci, queue_vector, STATE_NUMBER, saved_queues, .valid = is_vector),
	STATE_END,
};

const struct state_table virtio_pci_state_table = {
	.name = "virtio-pci",
	.version = 1,
	.fields = state_fields,
	.pre_save = prepare,
	.post_load = loaded,
};
