/* SPDX-License-Identifier: MIT */
/*
 * Status, feature negotiation, configuration and reset of a virtio device (virtio 1.4, 2.1 to 2.5
 * and 3.1), the same for all transports.
 *
 * Choices where the text leaves one: status bits only ever get set, until reset; features are fixed
 * at FEATURES_OK; without FEATURES_OK a DRIVER_OK starts nothing; VERSION_1 is required, but for
 * drivers that come by the legacy interface (virtio-legacy.c).
 * Not here: SUSPEND, administration queues.
 */
#include "machine/outside.h"
#include "virtio/virtio.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define STATUS_BY_DRIVER \
	(STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK | STATUS_FEATURES_OK | STATUS_FAILED)

static const struct {
	size_t wish; /* in struct virtio_conf */
	uint8_t bit;
} choices[] = {
	{offsetof(struct virtio_conf, indirect_desc), VIRTIO_F_INDIRECT_DESC},
	{offsetof(struct virtio_conf, event_idx), VIRTIO_F_EVENT_IDX},
	{offsetof(struct virtio_conf, iommu_platform), VIRTIO_F_ACCESS_PLATFORM},
	{offsetof(struct virtio_conf, packed), VIRTIO_F_RING_PACKED},
	{offsetof(struct virtio_conf, in_order), VIRTIO_F_IN_ORDER},
	{offsetof(struct virtio_conf, order_platform), VIRTIO_F_ORDER_PLATFORM},
	{offsetof(struct virtio_conf, notification_data), VIRTIO_F_NOTIFICATION_DATA},
	{offsetof(struct virtio_conf, notif_config_data), VIRTIO_F_NOTIF_CONFIG_DATA},
	{offsetof(struct virtio_conf, queue_reset), VIRTIO_F_RING_RESET},
};

static uint64_t offered(struct virtio_device *vdev)
{
	uint64_t bits = vdev->ops->features(vdev) | FEATURE(VIRTIO_F_VERSION_1);

	for (unsigned i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		if (*(const bool *)((const char *)vdev->conf + choices[i].wish))
			bits |= FEATURE(choices[i].bit);
	return bits;
}

uint32_t virtio_offered(struct virtio_device *vdev, uint32_t word)
{
	return word < 2 ? offered(vdev) >> 32 * word : 0;
}

uint32_t virtio_accepted(struct virtio_device *vdev, uint32_t word)
{
	return word < VIRTIO_FEATURE_WORDS ? vdev->driver_features[word] : 0;
}

void virtio_accept(struct virtio_device *vdev, uint32_t word, uint32_t value)
{
	if (vdev->status & STATUS_FEATURES_OK)
		log_guest_error(vdev->name, "features written after FEATURES_OK");
	else if (word < VIRTIO_FEATURE_WORDS)
		vdev->driver_features[word] = value;
	else if (value)
		vdev->driver_features_beyond = true;
}

/* 2.2.2: a set that was not offered as a whole is refused. */
static bool negotiate(struct virtio_device *vdev)
{
	uint64_t accepted = (uint64_t)vdev->driver_features[1] << 32 | vdev->driver_features[0];

	if (vdev->driver_features_beyond)
		return false;
	for (unsigned i = 2; i < VIRTIO_FEATURE_WORDS; i++)
		if (vdev->driver_features[i])
			return false;
	if (accepted & ~offered(vdev) || !(accepted & FEATURE(VIRTIO_F_VERSION_1)))
		return false;
	vdev->features = accepted;
	if (vdev->ops->negotiated)
		vdev->ops->negotiated(vdev, accepted);
	return true;
}

void virtio_set_status(struct virtio_device *vdev, uint8_t value)
{
	uint8_t added;

	if (value == 0) {
		virtio_reset(vdev);
		return;
	}
	added = value & STATUS_BY_DRIVER & ~vdev->status;
	/* A device in use by its legacy interface has its features already; reset comes first. */
	if (added & STATUS_FEATURES_OK && (vdev->legacy || !negotiate(vdev))) {
		log_guest_error(vdev->name, "features refused");
		added &= ~STATUS_FEATURES_OK;
	}
	atomic_fetch_or(&vdev->status, added);
	if (added & (STATUS_DRIVER_OK | STATUS_FEATURES_OK))
		virtio_unpark(vdev);
}

void virtio_reset(struct virtio_device *vdev)
{
	if (virtio_queues_end()) {
		virtio_park(vdev, true);
		for (unsigned i = 0; i < vdev->queue_count; i++)
			virtio_queue_clear(&vdev->queues[i]);
	}
	atomic_store(&vdev->status, 0);
	atomic_store(&vdev->broken, false);
	atomic_store(&vdev->config_pending, false);
	memset(vdev->driver_features, 0, sizeof(vdev->driver_features));
	vdev->driver_features_beyond = false;
	vdev->features = 0;
	vdev->legacy = vdev->in_use = false;
	if (vdev->ops->reset)
		vdev->ops->reset(vdev);
	vdev->transport->reset(vdev);
}

uint64_t virtio_config_read(struct virtio_device *vdev, uint64_t offset, unsigned size)
{
	uint8_t config[VIRTIO_CONFIG_SIZE_MAX + 8] = {0};
	uint64_t value = 0;

	vdev->config_unread = false;
	if (offset >= vdev->ops->config_size)
		return 0;
	vdev->ops->config_read(vdev, config);
	memcpy(&value, config + offset, size);
	return value;
}

void virtio_config_write(struct virtio_device *vdev, uint64_t offset, unsigned size, uint64_t value)
{
	if (size <= 4 && vdev->ops->config_write && offset + size <= vdev->ops->config_size)
		vdev->ops->config_write(vdev, offset, size, value);
	else
		log_guest_error(vdev->name, "configuration written at 0x%lx", (long)offset);
}

uint8_t virtio_config_generation(struct virtio_device *vdev)
{
	vdev->config_unread = false;
	return vdev->config_generation;
}

static void config_interrupt(void *opaque)
{
	struct virtio_device *vdev = opaque;

	if (atomic_exchange(&vdev->config_pending, false) && vdev->status & STATUS_DRIVER_OK)
		vdev->transport->config_interrupt(vdev);
}

static void request_config_interrupt(struct virtio_device *vdev)
{
	atomic_store(&vdev->config_pending, true);
	loop_post(vdev->machine->loop, &vdev->config_task);
}

/* The generation moves at most once between two looks of the driver, so that it cannot come round
 * to the value that the driver holds (4.1.4.3.1). */
void virtio_config_changed(struct virtio_device *vdev)
{
	if (!vdev->config_unread)
		vdev->config_generation++;
	vdev->config_unread = true;
	if (vdev->status & STATUS_DRIVER_OK)
		request_config_interrupt(vdev);
}

void virtio_break(struct virtio_device *vdev, const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_guest_error(vdev->name, "%s", text);
	atomic_store(&vdev->broken, true);
	if (!(atomic_fetch_or(&vdev->status, STATUS_NEEDS_RESET) & STATUS_NEEDS_RESET))
		request_config_interrupt(vdev);
}

struct virtio_queue *virtio_queue(struct virtio_device *vdev, unsigned index)
{
	return index < vdev->queue_count ? &vdev->queues[index] : NULL;
}

#define NOTIF_CONFIG_DATA 0x4000 /* with the index: unlike it, so that it is seen to be used */

uint16_t virtio_doorbell_name(const struct virtio_queue *vq)
{
	bool named = vq->vdev->features & FEATURE(VIRTIO_F_NOTIF_CONFIG_DATA);

	return vq->ring.index | (named ? NOTIF_CONFIG_DATA : 0);
}

struct virtio_queue *virtio_doorbell_queue(struct virtio_device *vdev, uint32_t value)
{
	if (vdev->features & FEATURE(VIRTIO_F_NOTIFICATION_DATA))
		value &= 0xffff; /* the rest says what is available: the ring does, too */
	if (vdev->features & FEATURE(VIRTIO_F_NOTIF_CONFIG_DATA))
		value ^= NOTIF_CONFIG_DATA;
	return virtio_queue(vdev, value);
}

void virtio_set_access(struct virtio_device *vdev, bool on)
{
	if (on == vdev->may_access)
		return;
	if (!on)
		virtio_park(vdev, false);
	atomic_store(&vdev->may_access, on);
	virtio_unpark(vdev);
}

/* A stopped VM's memory does not change: what is in flight is finished first. */
static void run_state_event(void *opaque, const char *name, enum shutdown_cause cause)
{
	struct virtio_device *vdev = opaque;

	/* In a recorded run what is in flight is due at its time, and a stop must not be seen; only
	 * a state that was loaded waits for RECALL. */
	if (outside_mode() != OUTSIDE_LIVE && !vdev->paused)
		return;
	if (strcmp(name, "RECALL") == 0)
		virtio_hold_again(vdev);
	if (strcmp(name, "STOP") == 0) {
		vdev->paused = true;
		virtio_park(vdev, false);
	} else if (strcmp(name, "RESUME") == 0 || strcmp(name, "RECALL") == 0) {
		vdev->paused = false;
		virtio_unpark(vdev);
	}
}

int virtio_init(struct virtio_device *vdev, struct machine *machine, const char *name,
	const struct virtio_ops *ops, struct virtio_conf *conf, unsigned queues,
	uint16_t queue_size, size_t request_size, struct loop *loop, struct error *err)
{
	vdev->machine = machine;
	vdev->name = name;
	vdev->ops = ops;
	vdev->conf = conf;
	vdev->config_task = (struct loop_task){.run = config_interrupt, .opaque = vdev};
	vdev->queues = calloc(queues, sizeof(*vdev->queues));
	if (!vdev->queues)
		return error_set(err, ENOMEM, "out of memory");
	for (unsigned i = 0; i < queues; i++) {
		int rc = virtio_queue_init(
			&vdev->queues[i], vdev, i, queue_size, request_size, loop, err);

		if (rc < 0) {
			virtio_destroy(vdev);
			return rc;
		}
		vdev->queue_count = i + 1;
	}
	vdev->observer.event = run_state_event;
	vdev->observer.opaque = vdev;
	machine_observe(machine, &vdev->observer);
	return 0;
}

void virtio_destroy(struct virtio_device *vdev)
{
	if (!vdev->queues)
		return;
	if (vdev->observer.event)
		list_remove(&vdev->observer.link);
	if (vdev->transport)
		virtio_park(vdev, true);
	loop_cancel(vdev->machine->loop, &vdev->config_task);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		virtio_queue_destroy(&vdev->queues[i]);
	free(vdev->queues);
	vdev->queues = NULL;
	vdev->queue_count = 0;
}
