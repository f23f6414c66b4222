/* SPDX-License-Identifier: MIT */
/*
 * What is saved of a virtio device and its queues.  The VM is stopped, so all queues are parked and
 * nothing is in flight: what a driver made available and the device did not take stays in the
 * ring, and is taken when the machine goes on.
 *
 * In a run that is recorded or replayed a stop parks nothing, and what is saved is a place to go
 * back to: there, the part "live" of a queue says what the device holds and what it has seen.
 */
#include <errno.h>

#include "machine/outside.h"
#include "virtio/virtio.h"

#define STATUS_KNOWN                                                                  \
	(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK | STATUS_FEATURES_OK | \
		STATUS_FAILED | STATUS_NEEDS_RESET)

static bool valid_status(const void *state, uint64_t value)
{
	return (value & ~(uint64_t)STATUS_KNOWN) == 0;
}

static bool valid_size(const void *state, uint64_t value)
{
	const struct virtio_queue *vq = state;

	return value && value <= vq->ring.size_max;
}

static bool is_packed(const void *state)
{
	const struct virtio_queue *vq = state;

	return vq->vdev->features & FEATURE(VIRTIO_F_RING_PACKED);
}

/* --- a queue that serves --- */

static void note_live(void *state)
{
	struct virtio_queue *vq = state;

	vq->live.is_there = outside_mode() != OUTSIDE_LIVE && !vq->vdev->paused;
	if (!vq->live.is_there)
		return;
	vq->live.kicked = vq->kicked;
	vq->live.avail_seen = vq->ring.split.avail_seen;
	queue_held_note(&vq->live.held, &vq->ring);
}

static bool is_live(const void *state)
{
	return ((const struct virtio_queue *)state)->live.is_there;
}

static int live_loaded(void *state, unsigned version, struct error *err)
{
	/* Nobody would have those requests: only a machine that goes back hears of RECALL. */
	int rc = outside_part_loaded(state, version, err);

	if (rc == 0)
		((struct virtio_queue *)state)->live.is_there = true;
	return rc;
}

static unsigned held_requests(const void *state)
{
	return ((const struct virtio_queue *)state)->live.held.counts.requests;
}

static unsigned held_pieces(const void *state)
{
	return ((const struct virtio_queue *)state)->live.held.counts.pieces;
}

static const struct state_field live_fields[] = {
	STATE_BOOL(struct virtio_queue, live.kicked),
	STATE_UINT(struct virtio_queue, live.avail_seen),
	STATE_PART(struct virtio_queue, live.held.counts, held_counts_table),
	STATE_POINTED(struct virtio_queue, live.held.requests, STATE_GROUP, held_requests,
		.table = &held_request_table),
	STATE_POINTED(struct virtio_queue, live.held.pieces, STATE_GROUP, held_pieces,
		.table = &held_piece_table),
	STATE_END,
};

static const struct state_table live_table = {
	.name = "live",
	.version = 1,
	.fields = live_fields,
	.needed = is_live,
	.pre_save = note_live,
	.post_load = live_loaded,
};

/* The ring has just been started. */
static int hold_again(struct virtio_queue *vq, struct error *err)
{
	struct queue *ring = &vq->ring;

	for (uint32_t i = 0; i < vq->live.held.counts.requests; i++)
		if (!vq->live.held.requests[i].done && !vq->vdev->ops->held)
			return error_set(err, EINVAL, "live: this device holds no requests");
	if (queue_held_restore(&vq->live.held, ring) < 0)
		return error_set(err, EINVAL, "live: %s", ring->broken);
	ring->split.avail_seen = vq->live.avail_seen;
	vq->no_room = !queue_has_room(ring);
	return 0;
}

/* --- queues --- */

static void place_ring(
	struct queue *ring, const struct split_ring *split, const struct packed_ring *packed)
{
	ring->packed.avail = packed->avail;
	ring->packed.used = packed->used;
	ring->packed.unsignalled = packed->unsignalled;
	ring->split.avail_next = ring->split.avail_seen = split->avail_next;
	ring->split.used_next = split->used_next;
	ring->split.used_signalled = split->used_signalled;
}

/* The ring's areas are checked as if the driver had just enabled the queue. */
static int queue_loaded(void *state, unsigned version, struct error *err)
{
	struct virtio_queue *vq = state;
	bool live = vq->live.is_there;
	struct queue *ring = &vq->ring;
	struct split_ring split = ring->split;
	struct packed_ring packed = ring->packed;

	if (!is_packed(vq) && ring->size & (ring->size - 1))
		return error_set(err, EINVAL, "ring.size: no power of two");
	vq->live.is_there = false;
	vq->kicked = live ? vq->live.kicked : vq->enabled;
	if (!vq->enabled || vq->vdev->broken)
		return 0;
	if (!ring->descriptor_area || !ring->driver_area || !ring->device_area)
		return error_set(err, EINVAL, "enabled: without addresses");
	if (queue_start(ring, ring->features) < 0)
		return error_set(err, EINVAL, "enabled: %s", ring->broken);
	if (ring->ops == &ring_packed_ops &&
		(packed.avail.index >= ring->size || packed.used.index >= ring->size))
		return error_set(err, EINVAL, "packed: a place outside of the ring");
	place_ring(ring, &split, &packed);
	return live ? hold_again(vq, err) : 0;
}

static const struct state_field queue_fields[] = {
	STATE_BOOL(struct virtio_queue, enabled),
	STATE_UINT(struct virtio_queue, ring.size, .valid = valid_size),
	STATE_UINT(struct virtio_queue, ring.descriptor_area),
	STATE_UINT(struct virtio_queue, ring.driver_area),
	STATE_UINT(struct virtio_queue, ring.device_area),
	STATE_UINT(struct virtio_queue, ring.features),
	STATE_UINT(struct virtio_queue, ring.split.avail_next),
	STATE_UINT(struct virtio_queue, ring.split.used_next),
	STATE_UINT(struct virtio_queue, ring.split.used_signalled),
	STATE_END,
};

static const struct state_field packed_fields[] = {
	STATE_UINT(struct virtio_queue, ring.packed.avail.index),
	STATE_BOOL(struct virtio_queue, ring.packed.avail.wrap),
	STATE_UINT(struct virtio_queue, ring.packed.used.index),
	STATE_BOOL(struct virtio_queue, ring.packed.used.wrap),
	STATE_UINT(struct virtio_queue, ring.packed.unsignalled),
	STATE_END,
};

static const struct state_table packed_table = {
	.name = "packed", .version = 1, .fields = packed_fields, .needed = is_packed};

static const struct state_table *const queue_subsections[] = {&packed_table, &live_table, NULL};

static const struct state_table queue_table = {
	.name = "queue",
	.version = 1,
	.fields = queue_fields,
	.subsections = queue_subsections,
	.post_load = queue_loaded,
};

static uint64_t offered(struct virtio_device *vdev)
{
	return virtio_offered(vdev, 0) | (uint64_t)virtio_offered(vdev, 1) << 32;
}

static int device_loaded(void *state, unsigned version, struct error *err)
{
	struct virtio_device *vdev = state;
	uint64_t known = vdev->legacy ? virtio_legacy_offered(vdev) : offered(vdev);
	uint64_t excess = vdev->features & ~known;

	if (excess)
		return error_set(err, EINVAL, "features: %llx are not offered here",
			(unsigned long long)excess);
	if (vdev->status & STATUS_FEATURES_OK && !(vdev->features & FEATURE(VIRTIO_F_VERSION_1)))
		return error_set(err, EINVAL, "features: without VERSION_1");
	if (vdev->status & STATUS_FEATURES_OK && vdev->legacy)
		return error_set(err, EINVAL, "legacy: FEATURES_OK is set");
	if (vdev->features && vdev->ops->negotiated)
		vdev->ops->negotiated(vdev, vdev->features);
	/* RESUME lets the queues serve. */
	vdev->paused = true;
	if (vdev->config_pending)
		loop_post(vdev->machine->loop, &vdev->config_task);
	return 0;
}

/* Requests that failed and were held for another try (werror=stop) are decided now. */
static void device_prepare(void *state)
{
	virtio_finish(state);
}

static unsigned queue_count(const void *state)
{
	return ((const struct virtio_device *)state)->queue_count;
}

static bool is_legacy(const void *state)
{
	return ((const struct virtio_device *)state)->legacy;
}

static const struct state_field legacy_fields[] = {
	STATE_BOOL(struct virtio_device, legacy),
	STATE_BOOL(struct virtio_device, in_use),
	STATE_END,
};

static const struct state_table legacy_table = {
	.name = "legacy", .version = 1, .fields = legacy_fields, .needed = is_legacy};

static const struct state_table *const device_subsections[] = {&legacy_table, NULL};

static const struct state_field device_fields[] = {
	STATE_UINT(struct virtio_device, status, .valid = valid_status),
	STATE_BOOL(struct virtio_device, broken),
	STATE_UINTS(struct virtio_device, driver_features),
	STATE_BOOL(struct virtio_device, driver_features_beyond),
	STATE_UINT(struct virtio_device, features),
	STATE_UINT(struct virtio_device, config_generation),
	STATE_BOOL(struct virtio_device, config_unread),
	STATE_BOOL(struct virtio_device, config_pending),
	STATE_POINTED(
		struct virtio_device, queues, STATE_GROUP, queue_count, .table = &queue_table),
	STATE_END,
};

const struct state_table virtio_state_table = {
	.name = "virtio",
	.version = 1,
	.fields = device_fields,
	.subsections = device_subsections,
	.pre_save = device_prepare,
	.post_load = device_loaded,
};
