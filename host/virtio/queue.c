/* SPDX-License-Identifier: MIT */
/*
 * What all ring formats share (queue.h): requests and their memory, what is in flight, and the
 * checks that do not depend on the format.
 *
 * Memory: what is in flight holds at most QUEUE_PINNED_MAX pieces and one chain more, in at most
 * `size` requests.  Requests that came back are kept for reuse, with lists as long as the longest
 * chain that each has carried, up to KEPT_MAX in all; the rest is freed.  So neither a hostile ring
 * nor a busy hour costs more than that.
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

/* In entries of a request's lists, 40 bytes each: 1.3 MB. */
#define KEPT_MAX     32768u
#define REQUEST_COST 16u /* of a request but for its lists, about */

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
	queue->kept = 0;
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
	queue->busy = calloc((packed ? BUFFER_IDS : queue->size) / 64 + 1, sizeof(*queue->busy));
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
	struct list *pos, *next;

	if (queue->started)
		queue->ops->stop(queue);
	queue->started = false;
	queue->broken = NULL;
	list_for_each_safe (pos, next, &queue->flying) {
		struct queue_request *request = container_of(pos, struct queue_request, link);

		list_remove(&request->link);
		request->orphan = true;
		if (request->done) /* nobody will return it again */
			request_free(request);
	}
	queue->in_flight = queue->slots_taken = queue->pinned = 0;
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

		if (!segment->writable)
			fault_table("queue-readable", segment->host, segment->length);
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

	if (!writable && request->in_bytes)
		return queue_break(queue, "a readable buffer follows a writable one");
	if (request->out_bytes + request->in_bytes + length > CHAIN_BYTES_MAX)
		return queue_break(queue, "a chain is longer than 2^32 bytes");
	if (span_get(queue->memory, address, length, writable ? SPAN_WRITE : SPAN_READ, &span) < 0)
		return queue_break(queue, "a buffer lies outside of memory");
	while (request->capacity - request->count < (unsigned)span.count) {
		if (grow(request) < 0) {
			span_put(&span, 0);
			return queue_break(queue, "out of memory");
		}
	}
	for (int i = 0; i < span.count; i++) {
		request->segments[request->count] = (struct queue_segment){
			.address = address,
			.host = span.iov[i].iov_base,
			.length = span.iov[i].iov_len,
			.writable = writable,
		};
		request->iov[request->count++] = span.iov[i];
		address += span.iov[i].iov_len;
	}
	if (writable) {
		request->in_bytes += length;
		request->in_count += span.count;
	} else {
		request->out_bytes += length;
		request->out_count += span.count;
	}
	return 0;
}

static struct queue_request *request_get(struct queue *queue)
{
	struct queue_request *request;

	if (!list_empty(&queue->free)) {
		request = container_of(queue->free.next, struct queue_request, link);
		list_remove(&request->link);
		queue->kept -= REQUEST_COST + request->capacity;
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
	request->out_count = request->in_count = request->count = 0;
	request->done = false;
	return request;
}

/* The last one that came back is the next to go: its memory is warm. */
static void request_put(struct queue *queue, struct queue_request *request)
{
	unsigned cost = REQUEST_COST + request->capacity;

	if (queue->kept + cost > KEPT_MAX) {
		request_free(request);
		return;
	}
	queue->kept += cost;
	list_add_tail(queue->free.next, &request->link);
}

static void take_off(struct queue *queue, struct queue_request *request)
{
	queue->busy[request->head / 64] |= UINT64_C(1) << request->head % 64;
	queue->in_flight++;
	queue->slots_taken += request->slots;
	queue->pinned += request->count;
	list_add_tail(&queue->flying, &request->link);
	/* One array holds the readable pieces, then the writable ones. */
	request->out = request->iov;
	request->in = request->iov + request->out_count;
}

struct queue_request *queue_pop(struct queue *queue)
{
	while (queue->started && !queue->broken && queue_has_room(queue)) {
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
			request_put(queue, request);
			if (rc <= 0)
				return NULL;
			continue;
		}
		take_off(queue, request);
		reads_taken(request->reads);
		return request;
	}
	return NULL;
}

int queue_take_again(
	struct queue *queue, const struct held_request *held, const struct held_piece *pieces)
{
	bool packed = queue->ops == &ring_packed_ops;
	struct queue_request *request;

	if ((!packed && (held->head >= queue->size || held->slots != 1)) || !held->slots ||
		held->slots > queue->size - queue->slots_taken || (held->done && held->pieces) ||
		queue_is_busy(queue, held->head))
		return queue_break(queue, "a held request is none that its ring can have");
	request = request_get(queue);
	if (!request)
		return queue_break(queue, "out of memory");
	reads_begin(&request->reads, queue->device, queue->index);
	request->head = held->head;
	request->slots = held->slots;
	for (uint32_t i = 0; i < held->pieces; i++)
		if (queue_add_buffer(queue, request, pieces[i].address, pieces[i].length,
			    pieces[i].writable) < 0) {
			reads_end(request->reads);
			release(queue, request, false);
			request_put(queue, request);
			return -EINVAL;
		}
	if (held->done)
		request->in_bytes = held->in_bytes;
	request->done = held->done;
	request->written = held->written;
	take_off(queue, request);
	reads_taken(request->reads);
	return 0;
}

/* A broken ring is not written to any more: where it leads is not known. */
static void publish(struct queue *queue, uint32_t id, uint32_t length, unsigned slots)
{
	enum fault_verdict verdict;

	if (!queue->started || queue->discard || queue->broken)
		return;
	verdict = fault_queue_push(queue->device, queue->index, &id, &length);
	if (verdict == FAULT_DROP)
		return;
	queue->ops->give(queue, id, length, slots);
	if (verdict == FAULT_TWICE)
		queue->ops->give(queue, id, length, slots);
}

/* Not in flight any more: the request may be gone afterwards. */
static void retire(struct queue *queue, struct queue_request *request)
{
	list_remove(&request->link);
	queue->in_flight--;
	queue->slots_taken -= request->slots;
	queue->busy[request->head / 64] &= ~(UINT64_C(1) << request->head % 64);
	request_put(queue, request);
}

static bool is_done(const struct queue *queue, const struct list *link)
{
	return link != &queue->flying && container_of(link, struct queue_request, link)->done;
}

/*
 * Hands over what is done at the head of what is in flight, in batches with one used element each,
 * the last one's (2.7.9, 2.8.8).  The driver takes those before it for written completely, so one
 * that was not is the last of its batch.
 */
static void give_in_order(struct queue *queue)
{
	struct list *pos, *next;
	unsigned slots = 0;

	list_for_each_safe (pos, next, &queue->flying) {
		struct queue_request *request = container_of(pos, struct queue_request, link);
		uint32_t id = request->head, written = request->written;
		uint64_t alone = written != request->in_bytes;

		if (!request->done)
			return;
		fault_value("queue-batch-ends", &alone);
		slots += request->slots;
		retire(queue, request);
		if (!alone && is_done(queue, next))
			continue;
		publish(queue, id, written, slots);
		slots = 0;
	}
}

void queue_push(struct queue *queue, struct queue_request *request, uint32_t written)
{
	uint64_t in_order = queue->in_order;

	reads_end(request->reads);
	if (request->orphan) {
		release(queue, request, true);
		request_free(request);
		return;
	}
	queue->pinned -= request->count;
	/* The data has landed, or part of it: all of the writable part counts as touched. */
	release(queue, request, true);
	fault_value("queue-in-order", &in_order);
	if (in_order) {
		request->done = true;
		request->written = written;
	} else {
		uint32_t id = request->head;
		unsigned slots = request->slots;

		retire(queue, request);
		publish(queue, id, written, slots);
	}
}

void queue_untake(struct queue *queue, struct queue_request *request)
{
	unsigned slots = request->slots;

	reads_end(request->reads);
	queue->pinned -= request->count;
	release(queue, request, false);
	retire(queue, request);
	queue->ops->untake(queue, slots);
}

bool queue_wants_interrupt(struct queue *queue)
{
	bool wanted;

	if (!queue->started || queue->discard)
		return false;
	if (queue->in_order)
		give_in_order(queue);
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
	uint64_t pieces = request->out_count;
	size_t done = 0;

	fault_value("queue-out-pieces", &pieces);
	for (unsigned i = 0; i < pieces && done < length; i++) {
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
