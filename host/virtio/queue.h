/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue seen from the device (virtio 1.4, 2.6 to 2.8): queue_pop() gives a checked request,
 * queue_push() returns it.  What the ring looks like in memory is behind `struct ring_ops`: the
 * split ring is ring-split.c, the packed ring is ring-packed.c; the negotiated features choose.
 *
 * Everything the driver wrote is hostile: descriptors are copied once and used from the copy, each
 * buffer is pinned through the accessor of guest memory, and any breach of the ring's rules sets
 * `broken` with a sentence.  A broken queue gives nothing more until it is stopped.
 *
 * Threads: all calls for one queue come from one thread at a time: its loop's, or any thread under
 * the machine lock while the loop has parked it.  The vCPUs run meanwhile.
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "machine/memory.h"
#include "machine/state-table.h"

#define QUEUE_SIZE_MAX 32768 /* entries (2.7, 2.8); no chain is longer than its queue */

/* Pieces of guest memory that the requests of one queue may hold at once, but for the last of them,
 * which may be any one chain: more stay in the ring until some have come back. */
#define QUEUE_PINNED_MAX 131072

struct queue;

/* One pinned piece of a request, inside one block of memory. */
struct queue_segment {
	uint64_t address;
	void *host;
	uint32_t length;
	bool writable;
};

/*
 * A request of the driver.  A device's own request struct begins with one (queue_init's
 * request_size), zeroed when it is first made and kept for reuse as the device left it.
 * The device may change its iovecs (cut a header off) and counts; they are not read again.
 */
struct queue_request {
	struct iovec *out; /* readable by the device; pieces of length 0 do not occur */
	struct iovec *in;  /* writable by the device */
	unsigned out_count, in_count;
	uint64_t out_bytes, in_bytes; /* these stay as they are */

	/* private: */
	struct queue *queue;
	struct list link; /* queue->free or queue->flying */
	uint16_t head;	  /* what the driver knows it by: a head, or a buffer id of a packed ring */
	uint16_t slots;	  /* entries of the ring that it takes up; 1 in a split ring */
	bool orphan;	  /* its queue was stopped: the completion is not the driver's business */
	bool done;	  /* IN_ORDER: completed, but an earlier one is not */
	uint32_t written; /* of one that is done */
	struct queue_segment *segments;
	struct iovec *iov; /* what out and in point into */
	unsigned count, capacity;
	struct reads *reads; /* machine/reads.h */
};

struct ring_ops {
	/* Checks and pins the areas at the addresses in `queue`.  0, or -EINVAL with queue->broken.
	 */
	int (*start)(struct queue *queue);
	void (*stop)(struct queue *queue);
	/* Next available buffer into `request`: 1, 0 when there is none, or -EINVAL when broken. */
	int (*take)(struct queue *queue, struct queue_request *request);
	/* The last take(), of `slots` entries, did not happen: the next one gives the same buffer.
	 */
	void (*untake)(struct queue *queue, unsigned slots);
	/* Publishes a used buffer that took up `slots` entries; or the last of a batch of them
	 * (IN_ORDER), which took up so many in all.  A buffer of a split ring counts as one. */
	void (*give)(struct queue *queue, uint32_t head, uint32_t length, unsigned slots);
	/* Must the driver hear of what was given since the last call? */
	bool (*wants_interrupt)(struct queue *queue);
	/* Doorbells not needed now, or needed from here on: then, is there more already? */
	void (*kicks_off)(struct queue *queue);
	bool (*kicks_on)(struct queue *queue);
};

extern const struct ring_ops ring_split_ops, ring_packed_ops;

struct split_ring {
	struct span table_span, avail_span, used_span;
	const uint64_t *table; /* two words a descriptor */
	const uint16_t *avail; /* flags, idx, ring[size], used_event */
	uint16_t *used;	       /* flags, idx, ring[size] of two 32-bit words, avail_event */
	uint16_t avail_next;   /* index of the entry to take */
	uint16_t avail_seen;   /* avail idx when last read */
	uint16_t used_next;
	uint16_t used_signalled; /* used idx at the last decision about an interrupt */
};

/* A place in a packed ring: an index and the ring wrap counter that is in force there. */
struct packed_place {
	uint16_t index;
	bool wrap;
};

struct packed_ring {
	struct span ring_span, driver_span, device_span;
	uint64_t *ring;		/* two words a descriptor */
	const uint32_t *driver; /* event suppression: offset and wrap, then the flags */
	uint32_t *device;
	struct packed_place avail, used; /* where to take, and where to give, next */
	uint32_t unsignalled; /* entries given since the last decision about an interrupt */
};

struct queue {
	/* set by queue_init() */
	struct guest_memory *memory;
	const char *device; /* name for logs and fault injection */
	unsigned index;
	uint16_t size_max;
	size_t request_size;

	/* set by the transport before queue_start() */
	uint16_t size; /* 1 to size_max; of a split ring a power of two */
	uint64_t descriptor_area, driver_area, device_area;

	/* running */
	const struct ring_ops *ops;
	bool started;
	uint64_t features; /* given to queue_start() */
	bool event_index, indirect, in_order;
	bool discard;	    /* completions are dropped: the driver is resetting the queue */
	const char *broken; /* why, or NULL */
	unsigned in_flight;
	unsigned slots_taken;	  /* entries of the ring that what is in flight takes up */
	unsigned pinned;	  /* pieces of memory that it holds */
	unsigned kept;		  /* what `free` costs in memory: see queue.c */
	struct list flying, free; /* flying: in the order in which they were taken */
	uint64_t *busy;		  /* a bit for each head (packed: buffer id) in flight */
	struct split_ring split;
	struct packed_ring packed;
};

/* request_size: of the device's struct that begins with a struct queue_request. */
void queue_init(struct queue *queue, struct guest_memory *memory, const char *device,
	unsigned index, uint16_t size_max, size_t request_size);

/* Nothing may be in flight. */
void queue_destroy(struct queue *queue);

/* Checks the areas and starts at entry 0.  features: the negotiated ones.  0, or -EINVAL with
 * queue->broken set. */
int queue_start(struct queue *queue, uint64_t features);

/* Back to the state after queue_init(); sizes and addresses are kept.  Requests still in flight are
 * disowned: their queue_push() only releases them. */
void queue_stop(struct queue *queue);

/* The next request, or NULL: nothing there, no room, or queue->broken.  At most `size` are in
 * flight. */
struct queue_request *queue_pop(struct queue *queue);

/* Without room nothing is taken, whatever there is, until enough has been returned. */
static inline bool queue_has_room(const struct queue *queue)
{
	return queue->pinned < QUEUE_PINNED_MAX;
}

/* Returns a request; `written`: bytes written without a gap from the start of its writable part.
 * Visible to the driver at once, with IN_ORDER at the next queue_wants_interrupt(). */
void queue_push(struct queue *queue, struct queue_request *request, uint32_t written);

/* Puts a request back as if it had never been taken; it must be the last one that was
 * taken, and the only one of its queue that is not done.  The request is gone afterwards. */
void queue_untake(struct queue *queue, struct queue_request *request);

/* Once after a batch of queue_push(), which with IN_ORDER it hands over: does the driver want an
 * interrupt? */
bool queue_wants_interrupt(struct queue *queue);

/* Suppression of doorbells: off while the device looks at the ring anyway.  kicks_on returns true
 * when the driver added something meanwhile: then look again. */
void queue_kicks_off(struct queue *queue);
bool queue_kicks_on(struct queue *queue);

/* Copies up to `length` bytes from the start of the readable part, or to the writable part, and
 * returns how many there were. */
size_t queue_copy_out(const struct queue_request *request, void *to, size_t length);
size_t queue_copy_in(const struct queue_request *request, const void *from, size_t length);

/* What is left of the readable part goes to someone who reads it, once: a backend. */
void queue_hand_out(const struct queue_request *request);

/*
 * What is in flight, as state (queue-held.c): for a machine that goes on in the same process, where
 * requests that wait in a device are not given back to their ring first.
 */
#define HELD_PIECES_MAX (QUEUE_PINNED_MAX + QUEUE_SIZE_MAX)

struct held_request {
	uint16_t head, slots;
	bool done; /* IN_ORDER: with the next two, and without pieces */
	uint32_t written;
	uint64_t in_bytes;
	uint32_t pieces; /* of held->pieces, behind those of the request before */
};

struct held_piece {
	uint64_t address;
	uint32_t length;
	bool writable;
};

struct queue_held {
	struct held_counts {
		uint32_t requests, pieces;
		bool lost; /* there was no memory to note them */
	} counts;
	struct held_request *requests;
	struct held_piece *pieces;
};

/* Of the counts, which make room for the others when they are loaded, and of one element each. */
extern const struct state_table held_counts_table, held_request_table, held_piece_table;

void queue_held_note(struct queue_held *held, const struct queue *queue);
/* Into a queue that was just started; hostile values: -EINVAL with queue->broken set. */
int queue_held_restore(const struct queue_held *held, struct queue *queue);
void queue_held_clear(struct queue_held *held);
/* One of them is in flight again, the last of all. */
int queue_take_again(
	struct queue *queue, const struct held_request *held, const struct held_piece *pieces);

/* For ring formats: pins one buffer of the chain.  0, or -EINVAL with queue->broken set. */
int queue_add_buffer(struct queue *queue, struct queue_request *request, uint64_t address,
	uint32_t length, bool writable);
/* Sets `broken` (the first reason stays) and returns -EINVAL. */
int queue_break(struct queue *queue, const char *why);
bool queue_is_busy(const struct queue *queue, uint16_t head);
/* Pins an area of the ring in one block of memory.  0, or -EINVAL with queue->broken set. */
int queue_pin(struct queue *queue, struct span *span, uint64_t address, uint64_t length,
	unsigned alignment, enum span_direction direction);
/* The areas stay pinned, so who follows writes hears of each one here. */
void queue_wrote(struct queue *queue, uint64_t address, uint64_t length);

#endif
