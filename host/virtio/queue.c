/* SPDX-License-Identifier: MIT */
/*
 * What all ring formats share (queue.h): requests and their memory, what is in flight, and the
 * checks that do not depend on the format.
 *
 * Memory: a request's list of pieces grows with the longest chain it ever carried, and is kept for
 * reuse until the queue stops; at most `size` requests exist, so a hostile ring costs a bounded
 * sum.
 */
#include "virtio/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "machine/reads.h"
#include "virtio/features.h"

#define BUFFER_IDS	65536
#define CHAIN_BYTES_MAX (UINT64_C(1) << 32) /* 2.7.5: a chain is no longer than that */

void queue_init(struct queue *queue, struct guest_memory *memory, const char *device,
	unsigned index, uint16_t size_max, size_t request_size)
{
	memset(queue, 0, sizeof(*queue));
	queue->memory = memory;
	queue->device = device;
	queue->index = index;
	queue->size_max = queue->size = size_max;
	queue->request_size = request_size;
	queue->ops = &ring_split_ops;
	list_init(&queue->flying);
	list_init(&queue->free);
}

static void request_free(struct queue_request *request)
{
	reads_free(&request->reads);
	free(request->segments);
	free(request->iov);
	free(request);
}

static void free_pool(struct queue *queue)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, &queue->free) {
		request_free(container_of(pos, struct queue_request, link));
	}
	list_init(&queue->free);
}

void queue_destroy(struct queue *queue)
{
	queue_stop(queue);
}

int queue_break(struct queue *queue, const char *why)
{
	if (!queue->broken)
		queue->broken = why;
	return -EINVAL;
}

static void free_busy(struct queue *queue)
{
	free(queue->busy);
	queue->busy = NULL;
}

bool queue_is_busy(const struct queue *queue, uint16_t head)
{
	return queue->busy[head / 64] >> head % 64 & 1;
}

int queue_start(struct queue *queue, uint64_t features)
{
	bool packed = features & FEATURE(VIRTIO_F_RING_PACKED);
	int rc;

	queue->features = features;
	queue->event_index = features & FEATURE(VIRTIO_F_EVENT_IDX);
	queue->indirect = features & FEATURE(VIRTIO_F_INDIRECT_DESC);
	queue->in_order = features & FEATURE(VIRTIO_F_IN_ORDER);
	queue->ops = packed ? &ring_packed_ops : &ring_split_ops;
	queue->discard = false;
	queue->broken = NULL;
	queue->busy = calloc((packed ? BUFFER_IDS : QUEUE_SIZE_MAX) / 64, sizeof(*queue->busy));
	if (!queue->busy)
		return queue_break(queue, "out of memory");
	rc = queue->ops->start(queue);
	queue->started = rc == 0;
	if (rc < 0)
		free_busy(queue);
	return rc;
}

int queue_pin(struct queue *queue, struct span *span, uint64_t address, uint64_t length,
	unsigned alignment, enum span_direction direction)
{
	span->count = 0;
	if (address % alignment)
		return queue_break(queue, "a ring is misaligned");
	if (span_get(queue->memory, address, length, direction, span) < 0)
		return queue_break(queue, "a ring lies outside of memory");
	if (span->count != 1)
		return queue_break(queue, "a ring lies across two blocks of memory");
	return 0;
}

void queue_wrote(struct queue *queue, uint64_t address, uint64_t length)
{
	struct memory_listener *listener = queue->memory->listener;

	if (listener && listener->written)
		listener->written(listener->opaque, address, length);
}

void queue_stop(struct queue *queue)
{
	if (queue->started)
		queue->ops->stop(queue);
	queue->started = false;
	queue->broken = NULL;
	while (!list_empty(&queue->flying)) {
		struct queue_request *request =
			container_of(queue->flying.next, struct queue_request, link);

		list_remove(&request->link);
		request->orphan = true;
		if (request->done) /* nobody will return it again */
			request_free(request);
	}
	queue->in_flight = queue->slots_taken = 0;
	free_busy(queue);
	free_pool(queue);
}

/* The pieces of a request carry what a span of one block holds; the span is made again to end it.
 */
static void release(struct queue *queue, struct queue_request *request, bool landed)
{
	for (unsigned i = 0; i < request->count; i++) {
		struct queue_segment *segment = &request->segments[i];
		struct span span;

		span.iov[0] = (struct iovec){segment->host, segment->length};
		span.count = 1;
		span.mem = queue->memory;
		span.address = segment->address;
		span.length = segment->length;
		span.direction = segment->writable ? SPAN_WRITE : SPAN_READ;
		span_put(&span, landed && segment->writable ? segment->length : 0);
	}
	request->count = 0;
}

static int grow(struct queue_request *request)
{
	unsigned capacity = request->capacity ? request->capacity * 2 : 4;
	struct queue_segment *segments = realloc(request->segments, capacity * sizeof(*segments));
	struct iovec *iov;

	if (!segments)
		return -ENOMEM;
	request->segments = segments;
	iov = realloc(request->iov, capacity * sizeof(*iov));
	if (!iov)
		return -ENOMEM;
	request->iov = iov;
	request->capacity = capacity;
	return 0;
}

int queue_add_buffer(struct queue *queue, struct queue_request *request, uint64_t address,
	uint32_t length, bool writable)
{
	struct span span;
	uint64_t at = address;

	if (!writable && request->in_bytes)
		return queue_break(queue, "a readable buffer follows a writable one");
	if (request->out_bytes + request->in_bytes + length > CHAIN_BYTES_MAX)
		return queue_break(queue, "a chain is longer than 2^32 bytes");
	if (span_get(queue->memory, address, length, writable ? SPAN_WRITE : SPAN_READ, &span) < 0)
		return queue_break(queue, "a buffer lies outside of memory");
	for (int i = 0; i < span.count; i++) {
		if (request->count == request->capacity && grow(request) < 0) {
			struct span rest = span;

			/* What is in segments already is released by the caller. */
			rest.count = span.count;
			rest.address = at;
			rest.length = address + length - at;
			span_put(&rest, 0);
			return queue_break(queue, "out of memory");
		}
		request->segments[request->count++] = (struct queue_segment){
			.address = at,
			.host = span.iov[i].iov_base,
			.length = span.iov[i].iov_len,
			.writable = writable,
		};
		at += span.iov[i].iov_len;
	}
	*(writable ? &request->in_bytes : &request->out_bytes) += length;
	return 0;
}

/* One array holds the readable pieces, then the writable ones. */
static void fill_iovecs(struct queue_request *request)
{
	unsigned out = 0;

	for (unsigned i = 0; i < request->count; i++) {
		request->iov[i].iov_base = request->segments[i].host;
		request->iov[i].iov_len = request->segments[i].length;
		out += !request->segments[i].writable;
	}
	request->out_count = out;
	request->in_count = request->count - out;
	request->out = request->iov;
	request->in = request->iov + out;
}

static struct queue_request *request_get(struct queue *queue)
{
	struct queue_request *request;

	if (!list_empty(&queue->free)) {
		request = container_of(queue->free.next, struct queue_request, link);
		list_remove(&request->link);
	} else {
		request = calloc(1, queue->request_size);
		if (!request || grow(request) < 0) {
			if (request)
				free(request->segments);
			free(request);
			return NULL;
		}
		list_init(&request->link);
		request->queue = queue;
	}
	request->out_bytes = request->in_bytes = 0;
	request->count = 0;
	request->done = false;
	return request;
}

struct queue_request *queue_pop(struct queue *queue)
{
	while (queue->started && !queue->broken) {
		struct queue_request *request = request_get(queue);
		int rc;

		if (!request) {
			queue_break(queue, "out of memory");
			return NULL;
		}
		reads_begin(&request->reads, queue->device, queue->index);
		rc = queue->ops->take(queue, request);
		if (rc <= 0 ||
			fault_queue_pop(queue->device, queue->index, request->head) == FAULT_DROP) {
			reads_end(request->reads);
			release(queue, request, false);
			list_add_tail(&queue->free, &request->link);
			if (rc <= 0)
				return NULL;
			continue;
		}
		queue->busy[request->head / 64] |= UINT64_C(1) << request->head % 64;
		queue->in_flight++;
		queue->slots_taken += request->slots;
		list_add_tail(&queue->flying, &request->link);
		fill_iovecs(request);
		reads_taken(request->reads);
		return request;
	}
	return NULL;
}

static void publish(struct queue *queue, const struct queue_request *request, uint32_t written)
{
	uint32_t id = request->head, length = written;
	enum fault_verdict verdict = fault_queue_push(queue->device, queue->index, &id, &length);

	if (verdict == FAULT_DROP)
		return;
	queue->ops->give(queue, id, length, request->slots);
	if (verdict == FAULT_TWICE)
		queue->ops->give(queue, id, length, request->slots);
}

static void give(struct queue *queue, struct queue_request *request, uint32_t written)
{
	list_remove(&request->link);
	list_add_tail(&queue->free, &request->link);
	queue->in_flight--;
	queue->slots_taken -= request->slots;
	queue->busy[request->head / 64] &= ~(UINT64_C(1) << request->head % 64);
	/* A broken ring is not written to any more: where it leads is not known. */
	if (queue->started && !queue->discard && !queue->broken)
		publish(queue, request, written);
}

/* Hands over what is done at the head of what is in flight. */
static void give_in_order(struct queue *queue)
{
	while (!list_empty(&queue->flying)) {
		struct queue_request *request =
			container_of(queue->flying.next, struct queue_request, link);

		if (!request->done)
			return;
		give(queue, request, request->written);
	}
}

void queue_push(struct queue *queue, struct queue_request *request, uint32_t written)
{
	uint64_t in_order = queue->in_order;

	reads_end(request->reads);
	/* The data has landed, or part of it: all of the writable part counts as touched. */
	release(queue, request, true);
	if (request->orphan) {
		request_free(request);
		return;
	}
	fault_value("queue-in-order", &in_order);
	if (!in_order) {
		give(queue, request, written);
		return;
	}
	request->done = true;
	request->written = written;
	give_in_order(queue);
}

void queue_untake(struct queue *queue, struct queue_request *request)
{
	reads_end(request->reads);
	release(queue, request, false);
	list_remove(&request->link);
	list_add_tail(&queue->free, &request->link);
	queue->in_flight--;
	queue->slots_taken -= request->slots;
	queue->busy[request->head / 64] &= ~(UINT64_C(1) << request->head % 64);
	queue->ops->untake(queue, request->slots);
}

bool queue_wants_interrupt(struct queue *queue)
{
	bool wanted;

	if (!queue->started || queue->discard)
		return false;
	wanted = queue->ops->wants_interrupt(queue);
	fault_queue_notify(queue->device, queue->index, &wanted);
	return wanted;
}

void queue_kicks_off(struct queue *queue)
{
	if (queue->started && !queue->broken)
		queue->ops->kicks_off(queue);
}

bool queue_kicks_on(struct queue *queue)
{
	return queue->started && !queue->broken && queue->ops->kicks_on(queue);
}

/* Where in the readable part `out` begins now. */
static uint64_t offset_out(const struct queue_request *request)
{
	size_t piece = request->out - request->iov;
	uint64_t offset;

	if (!request->out_count)
		return 0;
	offset = (char *)request->out->iov_base - (char *)request->segments[piece].host;
	for (size_t i = 0; i < piece; i++)
		offset += request->segments[i].length;
	return offset;
}

void queue_hand_out(const struct queue_request *request)
{
	size_t left = 0;

	for (unsigned i = 0; i < request->out_count; i++)
		left += request->out[i].iov_len;
	reads_payload(request->reads, offset_out(request), request->out, left, true);
}

static size_t copy_out(const struct queue_request *request, void *to, size_t length)
{
	size_t done = 0;

	for (unsigned i = 0; i < request->out_count && done < length; i++) {
		size_t part = request->out[i].iov_len;

		part = part < length - done ? part : length - done;
		memcpy((char *)to + done, request->out[i].iov_base, part);
		done += part;
	}
	reads_payload(request->reads, offset_out(request), request->out, done, false);
	return done;
}

size_t queue_copy_out(const struct queue_request *request, void *to, size_t length)
{
	size_t done;

	do
		done = copy_out(request, to, length);
	while (reads_again("read-payload-again"));
	return done;
}

size_t queue_copy_in(const struct queue_request *request, const void *from, size_t length)
{
	size_t done = 0;

	for (unsigned i = 0; i < request->in_count && done < length; i++) {
		size_t part = request->in[i].iov_len;

		part = part < length - done ? part : length - done;
		memcpy(request->in[i].iov_base, (const char *)from + done, part);
		done += part;
	}
	return done;
}
