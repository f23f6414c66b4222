/* SPDX-License-Identifier: MIT */
/*
 * The requests of virtio-blk (virtio 1.4, 5.2.6): read, write, flush, get-id, discard, write
 * zeroes, secure erase, lifetime.
 *
 * No layout is assumed (2.7.4): the header is the first 16 readable bytes, the status the last
 * writable byte, wherever descriptors are cut.  Data moves between the backend and guest memory
 * directly.  The used length counts bytes written without a gap from the start, so it is 0 where
 * only the status at the end of a longer area was written (2.7.8.2).
 *
 * Zones are not offered: UNSUPP.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <string.h>

#define HEADER_SIZE  16
#define ID_SIZE	     20
#define SEGMENT_SIZE 16

#define T_IN	       0
#define T_OUT	       1
#define T_FLUSH	       4
#define T_GET_ID       8
#define T_GET_LIFETIME 10
#define T_DISCARD      11
#define T_WRITE_ZEROES 13
#define T_SECURE_ERASE 14

#define S_OK	 0
#define S_IOERR	 1
#define S_UNSUPP 2

#define SEGMENT_UNMAP 1u

/* A reset waits, with all the machine, for what is under way: for no more than this of an erasure.
 */
#define ERASE_PIECE (UINT64_C(4) << 20)

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct segment {
	uint64_t sector;
	uint32_t sectors, flags;
};

_Static_assert(sizeof(struct header) == HEADER_SIZE, "as in 5.2.6");
struct lifetime {
	uint16_t pre_eol_info, type_a, type_b;
};

_Static_assert(sizeof(struct segment) == SEGMENT_SIZE, "as in 5.2.6");
_Static_assert(sizeof(struct lifetime) == 6, "as in 5.2.6");

struct range_type;

struct blk_request {
	struct queue_request queue; /* first */
	struct block_request block;
	struct virtio_queue *vq;
	uint8_t *status;     /* in guest memory, pinned by `queue` */
	uint32_t data_bytes; /* written without a gap before the status when all goes well */
	const struct range_type *range; /* what is done to these segments */
	struct segment segments[VIRTIO_BLK_SEGMENTS_MAX];
	unsigned segment_count, segment_next;
	uint64_t segment_done; /* bytes of segment_next */
	bool flush_after;      /* write-through: stable before it completes */
};

size_t virtio_blk_request_size(void)
{
	return sizeof(struct blk_request);
}

static struct virtio_blk *blk_of(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_blk, vdev);
}

static void finish(struct blk_request *request, uint8_t status)
{
	uint64_t before_status = request->queue.in_bytes - 1, written = 0;

	if (status == S_OK)
		written = request->data_bytes;
	if (written == before_status)
		written++; /* the status follows without a gap */
	*request->status = status;
	virtio_complete(request->vq, &request->queue, written);
}

static uint8_t status_of(int result)
{
	if (result == 0)
		return S_OK;
	return result == -ENOTSUP ? S_UNSUPP : S_IOERR;
}

static void submit(struct blk_request *request, enum block_operation operation, unsigned flags,
	uint64_t offset, uint64_t bytes)
{
	struct block_request *block = &request->block;

	block->operation = operation;
	block->flags = flags;
	block->offset = offset;
	block->bytes = bytes;
	block->loop = request->vq->loop;
	block->opaque = request;
	block_submit(blk_of(request->vq->vdev)->drive, block);
}

static void simple_done(struct block_request *block, int result)
{
	finish(block->opaque, status_of(result));
}

/* Is [sector, sector + sectors) on the disk, and cut as its logical blocks are? */
static bool range_is_good(const struct virtio_blk *blk, uint64_t sector, uint64_t sectors)
{
	uint64_t capacity = block_size(blk->drive) / BLOCK_SECTOR;
	uint64_t unit = blk->logical_block_size / BLOCK_SECTOR;

	return sector <= capacity && sectors <= capacity - sector && sector % unit == 0 &&
	       sectors % unit == 0;
}

/* --- read and write --- */

/* With size_max no buffer is longer (5.2.4); pieces of one buffer lie in one block of memory. */
static bool sizes_are_good(const struct virtio_blk *blk, const struct queue_request *queue)
{
	unsigned count = queue->out_count + queue->in_count;

	for (unsigned i = 0; blk->size_max && i < count; i++)
		if (queue->out[i].iov_len > blk->size_max)
			return false;
	return true;
}

static void cut_front(struct iovec **iov, unsigned *count, size_t length)
{
	while (length) {
		size_t part = (*iov)->iov_len < length ? (*iov)->iov_len : length;

		(*iov)->iov_base = (char *)(*iov)->iov_base + part;
		(*iov)->iov_len -= part;
		length -= part;
		if ((*iov)->iov_len == 0) {
			(*iov)++;
			(*count)--;
		}
	}
}

static void cut_last_byte(struct iovec *iov, unsigned *count)
{
	if (--iov[*count - 1].iov_len == 0)
		--*count;
}

static void read_or_write(struct blk_request *request, const struct header *header)
{
	struct virtio_blk *blk = blk_of(request->vq->vdev);
	struct queue_request *queue = &request->queue;
	bool write = header->type == T_OUT;
	uint64_t bytes = write ? queue->out_bytes - HEADER_SIZE : queue->in_bytes - 1;

	if ((write && blk->readonly) || bytes % BLOCK_SECTOR || !sizes_are_good(blk, queue) ||
		!range_is_good(blk, header->sector, bytes / BLOCK_SECTOR)) {
		finish(request, S_IOERR);
		return;
	}
	if (!write)
		request->data_bytes = bytes;
	if (!bytes) {
		finish(request, S_OK);
		return;
	}
	if (write)
		cut_front(&queue->out, &queue->out_count, HEADER_SIZE);
	else
		cut_last_byte(queue->in, &queue->in_count);
	request->block.iov = write ? queue->out : queue->in;
	request->block.iov_count = write ? queue->out_count : queue->in_count;
	request->block.done = simple_done;
	if (write)
		queue_hand_out(queue);
	submit(request, write ? BLOCK_WRITE : BLOCK_READ,
		write && !blk->writeback ? BLOCK_FLAG_FUA : 0, header->sector * BLOCK_SECTOR,
		bytes);
}

/* --- flush and get-id --- */

static void flush(struct blk_request *request, const struct header *header)
{
	request->block.done = simple_done;
	submit(request, BLOCK_FLUSH, 0, 0, 0);
}

static void get_id(struct blk_request *request, const struct header *header)
{
	const struct virtio_blk *blk = blk_of(request->vq->vdev);
	const char *serial = blk->serial ? blk->serial : block_serial(blk->drive);
	uint64_t room = request->queue.in_bytes - 1;
	char id[ID_SIZE] = {0};

	if (serial)
		memcpy(id, serial, strnlen(serial, ID_SIZE));
	request->data_bytes = queue_copy_in(&request->queue, id, room < ID_SIZE ? room : ID_SIZE);
	finish(request, S_OK);
}

static void get_lifetime(struct blk_request *request, const struct header *header)
{
	const struct virtio_blk *blk = blk_of(request->vq->vdev);
	struct lifetime lifetime = {blk->pre_eol_info, blk->lifetime_a, blk->lifetime_b};
	uint64_t room = request->queue.in_bytes - 1;

	if (!(blk->vdev.features & FEATURE(VIRTIO_BLK_F_LIFETIME))) {
		finish(request, S_UNSUPP);
		return;
	}
	request->data_bytes = queue_copy_in(
		&request->queue, &lifetime, room < sizeof(lifetime) ? room : sizeof(lifetime));
	finish(request, S_OK);
}

/* --- discard, write zeroes and secure erase --- */

static const struct range_type {
	uint32_t type;
	unsigned feature;
	uint32_t flags; /* of a segment that are known */
	enum block_operation operation;
	unsigned block_flags;
	uint64_t piece; /* bytes at once */
} range_types[] = {
	{T_DISCARD, VIRTIO_BLK_F_DISCARD, 0, BLOCK_DISCARD, 0, UINT64_MAX},
	{T_WRITE_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES, SEGMENT_UNMAP, BLOCK_WRITE_ZEROES, 0,
		UINT64_MAX},
	/* What was erased stays erased over a crash, too. */
	{T_SECURE_ERASE, VIRTIO_BLK_F_SECURE_ERASE, 0, BLOCK_WRITE_ZEROES,
		BLOCK_FLAG_OVERWRITE | BLOCK_FLAG_FUA, ERASE_PIECE},
};

static uint32_t most_sectors(const struct virtio_blk *blk, uint32_t type)
{
	if (type == T_SECURE_ERASE)
		return blk->max_secure_erase_sectors;
	return type == T_DISCARD ? blk->max_discard_sectors : blk->max_write_zeroes_sectors;
}

/* Skips what is done; false: that was the last. */
static bool has_more(struct blk_request *request)
{
	while (request->segment_next < request->segment_count) {
		const struct segment *segment = &request->segments[request->segment_next];

		if (request->segment_done < (uint64_t)segment->sectors * BLOCK_SECTOR)
			return true;
		request->segment_next++;
		request->segment_done = 0;
	}
	return false;
}

/* What a reset discards is not done to its end: nobody waits for it. */
static void next_piece(struct block_request *block, int result)
{
	struct blk_request *request = block->opaque;

	if (request->vq->ring.discard)
		result = -ECANCELED;
	if (result == 0 && has_more(request)) {
		const struct segment *segment = &request->segments[request->segment_next];
		uint64_t done = request->segment_done;
		uint64_t left = (uint64_t)segment->sectors * BLOCK_SECTOR - done;
		unsigned unmap = segment->flags & SEGMENT_UNMAP ? BLOCK_FLAG_UNMAP : 0;

		if (left > request->range->piece)
			left = request->range->piece;
		request->segment_done += left;
		submit(request, request->range->operation, request->range->block_flags | unmap,
			segment->sector * BLOCK_SECTOR + done, left);
	} else if (result == 0 && request->flush_after) {
		flush(request, NULL);
	} else {
		finish(request, status_of(result));
	}
}

/* All segments are judged before the first is carried out. */
static uint8_t check_segments(const struct blk_request *request)
{
	const struct virtio_blk *blk = blk_of(request->vq->vdev);
	uint32_t most = most_sectors(blk, request->range->type);
	uint8_t status = S_OK;

	for (unsigned i = 0; i < request->segment_count; i++) {
		const struct segment *segment = &request->segments[i];

		if (segment->flags & ~request->range->flags)
			return S_UNSUPP;
		if (blk->readonly || segment->sectors > most ||
			!range_is_good(blk, segment->sector, segment->sectors))
			status = S_IOERR;
	}
	return status;
}

static void change_ranges(struct blk_request *request, const struct header *header)
{
	struct virtio_blk *blk = blk_of(request->vq->vdev);
	const struct range_type *range = range_types;
	uint64_t bytes = request->queue.out_bytes - HEADER_SIZE;
	uint8_t status;

	while (range->type != header->type)
		range++;
	if (!(blk->vdev.features & FEATURE(range->feature))) {
		finish(request, S_UNSUPP);
		return;
	}
	if (!bytes || bytes % SEGMENT_SIZE || bytes > sizeof(request->segments)) {
		finish(request, S_IOERR);
		return;
	}
	cut_front(&request->queue.out, &request->queue.out_count, HEADER_SIZE);
	queue_copy_out(&request->queue, request->segments, bytes);
	request->range = range;
	request->segment_count = bytes / SEGMENT_SIZE;
	request->segment_next = 0;
	request->segment_done = 0;
	request->flush_after = !blk->writeback;
	status = check_segments(request);
	if (status != S_OK) {
		finish(request, status);
		return;
	}
	request->block.done = next_piece;
	request->block.opaque = request;
	next_piece(&request->block, 0);
}

static const struct {
	uint32_t type;
	void (*run)(struct blk_request *request, const struct header *header);
} request_types[] = {
	{T_IN, read_or_write},
	{T_OUT, read_or_write},
	{T_FLUSH, flush},
	{T_GET_ID, get_id},
	{T_GET_LIFETIME, get_lifetime},
	{T_DISCARD, change_ranges},
	{T_WRITE_ZEROES, change_ranges},
	{T_SECURE_ERASE, change_ranges},
};

void virtio_blk_request(
	struct virtio_device *vdev, struct virtio_queue *vq, struct queue_request *queue)
{
	struct blk_request *request = container_of(queue, struct blk_request, queue);
	struct header header;
	const struct iovec *last;

	request->vq = vq;
	request->data_bytes = 0;
	request->block.iov = NULL;
	request->block.iov_count = 0;
	if (!queue->in_bytes) {
		/* Nowhere to say anything: the driver broke 5.2.6.1. */
		virtio_break(
			vdev, "queue %u: a request without room for its status", vq->ring.index);
		queue_break(&vq->ring, "a request without room for its status");
		virtio_complete(vq, queue, 0);
		return;
	}
	last = &queue->in[queue->in_count - 1];
	request->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	if (queue_copy_out(queue, &header, sizeof(header)) < sizeof(header)) {
		finish(request, S_IOERR);
		return;
	}
	for (size_t i = 0; i < sizeof(request_types) / sizeof(request_types[0]); i++) {
		if (request_types[i].type == header.type) {
			request_types[i].run(request, &header);
			return;
		}
	}
	finish(request, S_UNSUPP);
}
