/* SPDX-License-Identifier: MIT */
/* Virtqueues whatever their ring format (virtqueue.h). */
#include "virtio-drivers/virtqueue.h"
#include "runtime/memory.h"

bool virtqueue_init(struct virtqueue *vq, struct virtio_device *dev, unsigned index, uint16_t size,
	unsigned depth, unsigned segments)
{
	uint16_t max = dev->transport->queue_max(dev, index);
	struct virtio_queue_areas areas;
	unsigned fit;

	memset(vq, 0, sizeof(*vq));
	if (max == 0)
		return false;
	vq->dev = dev;
	vq->index = index;
	/* The legacy interface of PCI leaves no choice of a size. */
	vq->size = size && size < max && !dev->io ? size : max;
	vq->segments = segments;
	vq->indirect = virtio_has(dev, VIRTIO_F_INDIRECT_DESC);
	vq->ops = &virtqueue_split;
	if (virtio_has(dev, VIRTIO_F_RING_PACKED))
		vq->ops = vq->indirect ? &virtqueue_packed_indirect : &virtqueue_packed;
	if (virtio_has(dev, VIRTIO_F_IN_ORDER)) {
		vq->order.format = vq->ops;
		vq->ops = &virtqueue_in_order;
	}
	vq->event_idx = virtio_has(dev, VIRTIO_F_EVENT_IDX);
	fit = vq->indirect ? vq->size : vq->size / segments;
	vq->slots = depth && depth < fit ? depth : fit;
	if (vq->slots == 0)
		return false;
	vq->free = arena_alloc(vq->slots * sizeof(*vq->free), 16);
	for (unsigned i = 0; i < vq->slots; i++)
		virtqueue_put(vq, vq->slots - 1 - i);
	vq->ops->init(vq, &areas);
	dev->transport->queue_set(dev, index, &areas);
	dev->transport->queue_enable(dev, index);
	return true;
}

bool virtqueue_kick(struct virtqueue *vq)
{
	if (!vq->ops->kick_needed(vq))
		return false;
	vq->kicks++;
	if (virtio_has(vq->dev, VIRTIO_F_NOTIFICATION_DATA))
		virtio_notify_next(vq->dev, vq->index, vq->ops->next(vq));
	else
		virtio_notify(vq->dev, vq->index);
	return true;
}
