/* SPDX-License-Identifier: MIT */
/*
 * The queues of a virtio device at work: doorbells, batches, interrupts, and the handing over
 * between control (under the machine lock) and the loop that serves (virtio.h, "Threads").
 *
 * One batch costs one write of avail_event (or the used flag) and one decision about an interrupt:
 * the loop switches doorbells off, takes all there is, switches them on and looks again; what
 * completes within one turn of the loop is judged together at the turn's end.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "virtio/virtio.h"

static bool driver_is_ready(const struct virtio_device *vdev)
{
	unsigned both = STATUS_DRIVER_OK | STATUS_FEATURES_OK;

	return vdev->legacy ? vdev->in_use : (vdev->status & both) == both;
}

static bool may_serve(const struct virtio_device *vdev)
{
	return driver_is_ready(vdev) && !vdev->broken && vdev->may_access && !vdev->paused;
}

static void interrupt_if_wanted(struct virtio_queue *vq)
{
	if (queue_wants_interrupt(&vq->ring))
		vq->vdev->transport->queue_interrupt(vq->vdev, vq);
}

static bool may_take(struct virtio_queue *vq)
{
	struct virtio_device *vdev = vq->vdev;

	if (vdev->broken)
		return false;
	/* Who holds too much waits until some of it has come back. */
	vq->no_room = !queue_has_room(&vq->ring);
	return !vq->no_room && (!vdev->ops->willing || vdev->ops->willing(vdev, vq));
}

#define TURN_MAX 2048u

/* Takes what is there.  A driver on another vCPU can add as fast as we take: after two rounds of
 * the ring, or so many requests, others on this loop have their turn. */
static void serve(struct virtio_queue *vq)
{
	struct virtio_device *vdev = vq->vdev;
	struct queue *ring = &vq->ring;
	unsigned left = 2u * ring->size < TURN_MAX ? 2u * ring->size : TURN_MAX;
	bool more = true;

	if (!vq->serving || vdev->broken)
		return;
	vq->in_service = true;
	while (more && left) {
		struct queue_request *request;

		queue_kicks_off(ring);
		while (left && may_take(vq) && (request = queue_pop(ring))) {
			vdev->ops->request(vdev, vq, request);
			left--;
		}
		/* Who does not want to take anything does not want doorbells either. */
		more = left ? may_take(vq) && queue_kicks_on(ring) : true;
	}
	vq->in_service = false;
	if (ring->broken && !vdev->broken)
		virtio_break(vdev, "queue %u: %s", ring->index, ring->broken);
	interrupt_if_wanted(vq);
	if (more)
		loop_post(vq->loop, &vq->kick);
}

static void doorbell_ready(void *opaque, uint32_t events)
{
	struct virtio_queue *vq = opaque;
	uint64_t count;

	if (read(vq->doorbell.fd, &count, sizeof(count)) != sizeof(count))
		return;
	atomic_fetch_add_explicit(&vq->vdev->machine->kicks, count, memory_order_relaxed);
	if (fault_queue_kick(vq->vdev->name, vq->ring.index) != FAULT_DROP)
		serve(vq);
}

static void kick_task(void *opaque)
{
	serve(opaque);
}

/* A task that was posted before the queue was parked finds it in control's hands. */
static void batch_task(void *opaque)
{
	struct virtio_queue *vq = opaque;

	if (vq->serving)
		interrupt_if_wanted(vq);
}

void virtio_queue_kick(struct virtio_queue *vq)
{
	struct virtio_device *vdev = vq->vdev;

	if (fault_queue_kick(vdev->name, vq->ring.index) == FAULT_DROP)
		return;
	if (vq->serving)
		loop_post(vq->loop, &vq->kick);
	else
		vq->kicked = true;
	/* 3.1.2: a legacy driver may use the device before DRIVER_OK. */
	if (vdev->legacy && !vdev->in_use && vq->enabled) {
		vdev->in_use = true;
		if (vdev->ops->negotiated)
			vdev->ops->negotiated(vdev, vdev->features);
		virtio_unpark(vdev);
	}
}

void virtio_complete(struct virtio_queue *vq, struct queue_request *request, uint32_t written)
{
	queue_push(&vq->ring, request, written);
	if (vq->in_service)
		return;
	loop_post(vq->loop, &vq->batch);
	if (vq->no_room)
		virtio_look_again(vq);
}

void virtio_untake(struct virtio_queue *vq, struct queue_request *request)
{
	queue_untake(&vq->ring, request);
}

void virtio_look_again(struct virtio_queue *vq)
{
	if (vq->serving)
		loop_post(vq->loop, &vq->kick);
}

static void on_loop(struct virtio_queue *vq, void (*run)(void *opaque))
{
	if (vq->loop == vq->vdev->machine->loop)
		run(vq);
	else
		loop_call(vq->loop, run, vq);
}

static void start_serving(void *opaque)
{
	struct virtio_queue *vq = opaque;

	vq->serving = true;
	loop_watch(vq->loop, &vq->doorbell, EPOLLIN);
	if (vq->kicked)
		loop_post(vq->loop, &vq->kick);
	vq->kicked = false;
}

static void stop_serving(void *opaque)
{
	struct virtio_queue *vq = opaque;

	vq->serving = false;
	vq->kicked = true; /* the doorbell may have rung unheard */
	loop_unwatch(vq->loop, &vq->doorbell);
}

static void discard_from_now(void *opaque)
{
	struct virtio_queue *vq = opaque;

	vq->ring.discard = true;
	stop_serving(vq);
}

static void drain(void *opaque)
{
	struct virtio_queue *vq = opaque;

	if (vq->ring.in_flight || vq->ring.discard)
		vq->vdev->ops->drain(vq->vdev, vq->loop, vq->vdev->paused && !vq->ring.discard);
	interrupt_if_wanted(vq);
}

static void park(struct virtio_queue *vq, bool discard)
{
	if (vq->serving)
		on_loop(vq, discard ? discard_from_now : stop_serving);
	else if (discard)
		vq->ring.discard = true;
}

static void finish_park(struct virtio_queue *vq)
{
	if (vq->event_added)
		vq->vdev->transport->doorbell(vq->vdev, vq, false);
	vq->event_added = false;
	if (vq->ring.started)
		on_loop(vq, drain);
}

/* All queues stop taking before the first is drained: draining runs completions of every one. */
void virtio_park(struct virtio_device *vdev, bool discard)
{
	for (unsigned i = 0; i < vdev->queue_count; i++)
		park(&vdev->queues[i], discard);
	for (unsigned i = 0; i < vdev->queue_count; i++)
		finish_park(&vdev->queues[i]);
}

static void finish(void *opaque)
{
	struct virtio_queue *vq = opaque;

	if (vq->ring.in_flight)
		vq->vdev->ops->drain(vq->vdev, vq->loop, false);
	interrupt_if_wanted(vq);
}

void virtio_finish(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++)
		if (vdev->queues[i].ring.started)
			on_loop(&vdev->queues[i], finish);
}

/* An area at 0 was never set: memory there is real, but no driver's ring. */
static int start_ring(struct virtio_queue *vq)
{
	struct queue *ring = &vq->ring;

	if (!ring->descriptor_area || !ring->driver_area || !ring->device_area)
		queue_break(ring, "enabled without addresses");
	else if (queue_start(ring, vq->vdev->features) == 0)
		return 0;
	virtio_break(vq->vdev, "queue %u: %s", ring->index, ring->broken);
	return -EINVAL;
}

void virtio_hold_again(struct virtio_device *vdev)
{
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		struct virtio_queue *vq = &vdev->queues[i];
		struct list *pos, *next;

		list_for_each_safe (pos, next, &vq->ring.flying) {
			struct queue_request *request =
				container_of(pos, struct queue_request, link);

			if (!request->done)
				vdev->ops->held(vdev, vq, request);
		}
	}
}

void virtio_unpark(struct virtio_device *vdev)
{
	if (!may_serve(vdev))
		return;
	for (unsigned i = 0; i < vdev->queue_count; i++) {
		struct virtio_queue *vq = &vdev->queues[i];

		if (!vq->enabled || vq->serving)
			continue;
		/* Enabled before the features were settled: nothing was taken yet. */
		if (vq->ring.features != vdev->features) {
			queue_stop(&vq->ring);
			if (start_ring(vq) < 0)
				return;
		}
		vdev->transport->doorbell(vdev, vq, true);
		vq->event_added = true;
		on_loop(vq, start_serving);
	}
}

void virtio_queue_set_size(struct virtio_queue *vq, uint32_t size)
{
	bool packed = vq->vdev->features & FEATURE(VIRTIO_F_RING_PACKED);

	if (vq->enabled || !size || size > vq->ring.size_max || (size & (size - 1) && !packed))
		log_guest_error(vq->vdev->name, "queue %u: size %u refused", vq->ring.index, size);
	else
		vq->ring.size = size;
}

void virtio_queue_set_address(struct virtio_queue *vq, uint64_t *area, bool high, uint32_t value)
{
	if (vq->enabled)
		log_guest_error(vq->vdev->name, "queue %u: moved while enabled", vq->ring.index);
	else if (high)
		*area = (*area & 0xffffffff) | (uint64_t)value << 32;
	else
		*area = (*area & ~UINT64_C(0xffffffff)) | value;
}

void virtio_queue_enable(struct virtio_queue *vq)
{
	if (vq->enabled || vq->vdev->broken || start_ring(vq) < 0)
		return;
	vq->enabled = true;
	virtio_unpark(vq->vdev);
}

/* Doorbells of the past are not those of the next driver. */
static void stop_ring(struct virtio_queue *vq)
{
	uint64_t count;

	queue_stop(&vq->ring);
	vq->enabled = vq->kicked = false;
	if (read(vq->doorbell.fd, &count, sizeof(count)) < 0)
		return;
}

void virtio_queue_clear(struct virtio_queue *vq)
{
	stop_ring(vq);
	vq->ring.size = vq->ring.size_max;
	vq->ring.descriptor_area = vq->ring.driver_area = vq->ring.device_area = 0;
}

bool virtio_queues_end(void)
{
	uint64_t end = 1;

	fault_value("queues-end", &end);
	return end;
}

void virtio_queue_disable(struct virtio_queue *vq)
{
	if (!virtio_queues_end()) {
		vq->enabled = false;
		return;
	}
	park(vq, true);
	finish_park(vq);
	stop_ring(vq);
}

void virtio_queue_reset(struct virtio_queue *vq)
{
	virtio_queue_disable(vq);
	if (!vq->serving) /* so it is, but for the planted fault */
		virtio_queue_clear(vq);
}

int virtio_queue_init(struct virtio_queue *vq, struct virtio_device *vdev, unsigned index,
	uint16_t size, size_t request_size, struct loop *loop, struct error *err)
{
	queue_init(&vq->ring, &vdev->machine->memory, vdev->name, index, size, request_size);
	vq->vdev = vdev;
	vq->loop = loop;
	vq->doorbell.ready = doorbell_ready;
	vq->doorbell.opaque = vq;
	vq->kick = (struct loop_task){.run = kick_task, .opaque = vq};
	vq->batch = (struct loop_task){.run = batch_task, .opaque = vq};
	vq->doorbell.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vq->doorbell.fd < 0)
		return error_set_errno(err, errno, "cannot make a doorbell");
	return 0;
}

static void forget_tasks(void *opaque)
{
	struct virtio_queue *vq = opaque;

	loop_cancel(vq->loop, &vq->kick);
	loop_cancel(vq->loop, &vq->batch);
}

void virtio_queue_destroy(struct virtio_queue *vq)
{
	on_loop(vq, forget_tasks);
	queue_held_clear(&vq->live.held);
	queue_destroy(&vq->ring);
	close(vq->doorbell.fd);
}
