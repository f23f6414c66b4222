/* SPDX-License-Identifier: MIT */
/*
 * What is different in version 1 of the MMIO transport, the legacy interface (virtio 1.4, 4.2.4):
 * queues by page number, in pages of a size that the guest tells, with an alignment of the used
 * part that it chooses; features of one word; no FEATURES_OK, QueueReady, reset of a queue,
 * generation or shared memory.
 *
 * A page number before a page size, and sizes that are no powers of two, are not taken: QueuePFN
 * then reads 0.  The alignment is 4096 until it is written.
 */
#include "base/log.h"
#include "virtio/mmio.h"

#define ALIGN_USUAL 4096

static bool is_power_of_two(uint32_t value)
{
	return value && !(value & (value - 1));
}

static bool uses_legacy(const void *state)
{
	const struct virtio_mmio *slot = state;

	return slot->force_legacy && slot->vdev;
}

void virtio_mmio_legacy_reset(struct virtio_mmio *slot)
{
	for (unsigned i = 0; i < slot->vdev->queue_count; i++)
		slot->queue_align[i] = ALIGN_USUAL;
}

bool virtio_mmio_legacy_read(struct virtio_mmio *slot, uint64_t offset, uint32_t *value)
{
	struct virtio_queue *vq = virtio_queue(slot->vdev, slot->queue_select);

	*value = 0;
	switch (offset) {
	case DEVICE_FEATURES:
		if (slot->device_feature_select == 0)
			*value = virtio_legacy_offered(slot->vdev);
		return true;
	case QUEUE_PFN:
		if (vq && slot->page_size)
			*value = vq->ring.descriptor_area / slot->page_size;
		return true;
	case QUEUE_SIZE_MAX_REGISTER:
	case INTERRUPT_STATUS:
	case STATUS: return false;
	default: return true; /* not there */
	}
}

static void write_queue(struct virtio_mmio *slot, uint64_t offset, uint32_t value)
{
	struct virtio_queue *vq = virtio_queue(slot->vdev, slot->queue_select);

	if (!vq)
		log_guest_error(slot->vdev->name, "queue %u does not exist", slot->queue_select);
	else if (offset == QUEUE_ALIGN && is_power_of_two(value) && !vq->enabled)
		slot->queue_align[slot->queue_select] = value;
	else if (offset == QUEUE_PFN && (slot->page_size || !value))
		virtio_legacy_queue(vq, (uint64_t)value * slot->page_size,
			slot->queue_align[slot->queue_select]);
	else
		log_guest_error(slot->vdev->name, "%s 0x%x is not taken",
			offset == QUEUE_ALIGN ? "alignment" : "page number", value);
}

bool virtio_mmio_legacy_write(struct virtio_mmio *slot, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case DRIVER_FEATURES:
		if (slot->driver_feature_select == 0)
			virtio_legacy_accept(slot->vdev, value);
		return true;
	case GUEST_PAGE_SIZE:
		if (is_power_of_two(value))
			slot->page_size = value;
		return true;
	case QUEUE_ALIGN:
	case QUEUE_PFN: write_queue(slot, offset, value); return true;
	case STATUS: virtio_legacy_set_status(slot->vdev, value); return true;
	case DEVICE_FEATURES_SEL:
	case DRIVER_FEATURES_SEL:
	case QUEUE_SEL:
	case QUEUE_SIZE:
	case QUEUE_NOTIFY:
	case INTERRUPT_ACK: return false;
	default:
		log_guest_error(slot->vdev->name, "write to register 0x%lx", (long)offset);
		return true;
	}
}

/* --- saved state --- */

static unsigned saved_queues(const void *state)
{
	const struct virtio_mmio *slot = state;

	return slot->vdev ? slot->vdev->queue_count
			  : 0; /* a stream may bring it to an empty slot */
}

static bool is_page_size(const void *state, uint64_t value)
{
	return value == 0 || is_power_of_two(value);
}

static bool is_alignment(const void *state, uint64_t value)
{
	return is_power_of_two(value);
}

static const struct state_field fields[] = {
	STATE_UINT(struct virtio_mmio, page_size, .valid = is_page_size),
	STATE_POINTED(
		struct virtio_mmio, queue_align, STATE_NUMBER, saved_queues, .valid = is_alignment),
	STATE_END,
};

const struct state_table virtio_mmio_legacy_state = {
	.name = "legacy", .version = 1, .fields = fields, .needed = uses_legacy};
