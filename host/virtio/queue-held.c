/* SPDX-License-Identifier: MIT */
/*
 * What a queue holds, as state: requests that were taken and are not returned yet.  A machine that
 * is saved for another process gives them back to the driver's ring first, or ends them; one that
 * is put back to where it was (migration/rewind.h) must hold the same ones again, and take nothing
 * that it had not taken.
 *
 * A request is carried as it was checked when it was taken, not by its place in the ring: what the
 * driver has written there since does not count.
 */
#include <errno.h>
#include <stdlib.h>

#include "virtio/queue.h"

void queue_held_clear(struct queue_held *held)
{
	free(held->requests);
	free(held->pieces);
	*held = (struct queue_held){.requests = NULL};
}

static int make_room(struct queue_held *held, uint32_t requests, uint32_t pieces)
{
	held->requests = calloc(requests + 1, sizeof(*held->requests));
	held->pieces = calloc(pieces + 1, sizeof(*held->pieces));
	if (!held->requests || !held->pieces) {
		queue_held_clear(held);
		return -ENOMEM;
	}
	held->counts.requests = requests;
	held->counts.pieces = pieces;
	return 0;
}

void queue_held_note(struct queue_held *held, const struct queue *queue)
{
	uint32_t requests = 0, pieces = 0;
	const struct list *pos;

	queue_held_clear(held);
	for (pos = queue->flying.next; pos != &queue->flying; pos = pos->next) {
		requests++;
		pieces += container_of(pos, struct queue_request, link)->count;
	}
	held->counts.lost = pieces > HELD_PIECES_MAX || make_room(held, requests, pieces) < 0;
	if (held->counts.lost)
		return;
	requests = pieces = 0;
	for (pos = queue->flying.next; pos != &queue->flying; pos = pos->next) {
		const struct queue_request *from = container_of(pos, struct queue_request, link);

		held->requests[requests++] = (struct held_request){.head = from->head,
			.slots = from->slots,
			.done = from->done,
			.written = from->written,
			.in_bytes = from->in_bytes,
			.pieces = from->count};
		for (unsigned i = 0; i < from->count; i++)
			held->pieces[pieces++] =
				(struct held_piece){.address = from->segments[i].address,
					.length = from->segments[i].length,
					.writable = from->segments[i].writable};
	}
}

int queue_held_restore(const struct queue_held *held, struct queue *queue)
{
	uint32_t piece = 0;

	for (uint32_t i = 0; i < held->counts.requests; i++) {
		const struct held_request *request = &held->requests[i];

		if (request->pieces > held->counts.pieces - piece)
			return queue_break(queue, "held requests have more pieces than there are");
		if (queue_take_again(queue, request, held->pieces + piece) < 0)
			return -EINVAL;
		piece += request->pieces;
	}
	return 0;
}

/* --- as it stands in a stream --- */

static int counts_loaded(void *state, unsigned version, struct error *err)
{
	struct queue_held *held = container_of(state, struct queue_held, counts);
	struct held_counts counts = held->counts;

	queue_held_clear(held);
	if (make_room(held, counts.requests, counts.pieces) < 0)
		return error_set(err, ENOMEM, "requests: out of memory");
	return 0;
}

static bool is_whole(const void *state, uint64_t value)
{
	return !value;
}

/* More than any queue can hold is no reason to ask for memory. */
static const struct state_field counts_fields[] = {
	STATE_UINT(struct held_counts, lost, .valid = is_whole),
	STATE_UINT(struct held_counts, requests, .max = QUEUE_SIZE_MAX),
	STATE_UINT(struct held_counts, pieces, .max = HELD_PIECES_MAX),
	STATE_END,
};

const struct state_table held_counts_table = {
	.name = "counts", .version = 1, .fields = counts_fields, .post_load = counts_loaded};

static const struct state_field request_fields[] = {
	STATE_UINT(struct held_request, head),
	STATE_UINT(struct held_request, slots),
	STATE_BOOL(struct held_request, done),
	STATE_UINT(struct held_request, written),
	STATE_UINT(struct held_request, in_bytes),
	STATE_UINT(struct held_request, pieces),
	STATE_END,
};

const struct state_table held_request_table = {
	.name = "request", .version = 1, .fields = request_fields};

static const struct state_field piece_fields[] = {
	STATE_UINT(struct held_piece, address),
	STATE_UINT(struct held_piece, length),
	STATE_BOOL(struct held_piece, writable),
	STATE_END,
};

const struct state_table held_piece_table = {.name = "piece", .version = 1, .fields = piece_fields};
