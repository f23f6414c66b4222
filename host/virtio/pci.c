/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport (virtio 1.4, 4.1): identity, vectors, the device's life and saved state.  Its
 * interfaces: pci-modern.c and, for the registers behind it, pci-common.c; pci-legacy.c.  BAR 0 has
 * the legacy registers, BAR 1 the MSI-X table, BAR 4 the modern interface.
 */
#include "virtio/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VENDOR	     0x1af4
#define DEVICE_BASE  0x1040
#define SUBSYSTEM    0x1100
#define MSIX_BAR     1
#define VECTORS_AUTO 0xffffffff
#define VECTORS_MAX  2048
#define NO_VECTOR    VIRTIO_PCI_NO_VECTOR
#define ISR_QUEUE    1
#define ISR_CONFIG   2

enum { ROUTE_NONE = -1, ROUTE_INTX = -2 };

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

/* Doorbells that are signals are those that the driver prefers: of the interface that it uses;
 * others come as exits. */
static void doorbell(struct virtio_device *vdev, struct virtio_queue *vq, bool on)
{
	struct virtio_pci *p = vdev->transport_opaque;
	struct region *region = &p->legacy;

	if (!p->ioeventfd)
		return;
	if (!on) {
		region_event_remove(&vq->event);
		return;
	}
	if (vdev->legacy)
		vq->event = virtio_pci_legacy_doorbell(vq);
	else
		region = virtio_pci_modern_doorbell(p, vq, &vq->event);
	region_event_add(region, &vq->event);
}

static const struct virtio_transport pci_transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.doorbell = doorbell,
	.reset = transport_reset,
};

uint32_t virtio_pci_isr(struct virtio_pci *p)
{
	uint32_t isr = atomic_exchange(&p->isr, 0);

	update_intx(p);
	return isr;
}

/* --- life --- */

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
	struct virtio_pci *p = from_pci(pci);

	if (offset <= PCI_COMMAND && PCI_COMMAND < offset + size)
		virtio_set_access(p->vdev, pci_is_master(pci));
	virtio_pci_window_written(p, offset, size);
}

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
		rc = virtio_pci_modern_realize(p, err);
	if (rc == 0 && vector_count(p))
		rc = msix_init(pci, vector_count(p), MSIX_BAR, err);
	if (rc < 0)
		return rc;
	if (p->has_legacy)
		virtio_pci_legacy_realize(p);
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
