/* SPDX-License-Identifier: MIT */
/* A virtio-rng driver (rng.h): one queue, a request a slot. */
#include "virtio-drivers/rng.h"
#include "runtime/memory.h"
#include "runtime/time.h"

bool virtio_rng_open(struct virtio_rng *rng, const struct virtio_rng_options *options)
{
	memset(rng, 0, sizeof(*rng));
	if (!virtio_find(&rng->dev, options->transport, VIRTIO_ID_ENTROPY, options->index))
		return false;
	virtio_interrupts(&rng->dev, options->polling ? VIRTIO_IRQ_NONE : options->irq);
	if (!virtio_negotiate(&rng->dev, VIRTIO_RING_FEATURES & ~options->without)) {
		note("the entropy device refused features 0x%lx", virtio_offered(&rng->dev));
		return false;
	}
	if (!virtqueue_init(&rng->vq, &rng->dev, 0, 0, 0, RNG_SEGMENTS)) {
		note("the entropy device has no usable queue");
		return false;
	}
	virtio_driver_ok(&rng->dev);
	virtqueue_interrupts(&rng->vq, !options->polling);
	return true;
}

int virtio_rng_submit(struct virtio_rng *rng, const struct rng_buffer *buffers, unsigned count)
{
	int slot = virtqueue_get(&rng->vq);

	if (slot < 0)
		return -1;
	for (unsigned i = 0; i < count; i++)
		virtqueue_segment(&rng->vq, slot, i, phys(buffers[i].at), buffers[i].bytes,
			!buffers[i].readable);
	virtqueue_count(&rng->vq, slot, count);
	virtqueue_submit(&rng->vq, slot);
	virtqueue_kick(&rng->vq);
	return slot;
}

int virtio_rng_reap(struct virtio_rng *rng, uint32_t *bytes)
{
	int slot = virtqueue_reap(&rng->vq, bytes);

	if (slot >= 0)
		virtqueue_put(&rng->vq, slot);
	return slot;
}

int64_t virtio_rng_read(struct virtio_rng *rng, void *to, uint32_t bytes)
{
	struct rng_buffer buffer = {to, bytes, false};
	uint32_t got;

	if (virtio_rng_submit(rng, &buffer, 1) < 0)
		return -1;
	checkpoint();
	return WAIT_UNTIL(virtio_rng_reap(rng, &got) >= 0, RNG_ANSWER_US) ? (int64_t)got : -1;
}
