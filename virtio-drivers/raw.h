/* SPDX-License-Identifier: MIT */
/*
 * For TESTs of the ring itself: a raw ring whose every word the TEST decides, a block device on it
 * that is set up in one line, and what a TEST may demand of a device that met a broken ring.
 *
 *	struct raw_disk *d = raw_disk(RAW_DEFAULT);
 *	raw_descriptor(&d->ring, 0, phys(&d->header), 16, RING_NEXT, 1);
 *	...
 *	raw_publish(&d->ring, 0);
 *	raw_kick(&d->ring);
 *	ASSERT_TRUE(raw_used(&d->ring, 1));
 *
 * That works on a packed ring as well (RING_PACKED is taken where it is offered): descriptors are
 * then written aside, and raw_publish() puts a list into the ring with its head as buffer id.  Only
 * what is in `avail` and `used` belongs to the split ring alone.
 *
 * Ring parts and buffers are guarded (runtime/memory.h): a device that writes beside them is a
 * LEAK.
 */
#ifndef VIRTIO_DRIVERS_RAW_H
#define VIRTIO_DRIVERS_RAW_H

#include "virtio-drivers/blk.h"

#define RAW_ANSWER_US 3000000 /* a device is silent when it has not answered by then */
#define RAW_QUIET_US  15000   /* and quiet when nothing came for that long */

struct raw_place {
	uint16_t index, wrap;
};

struct raw_ring {
	struct virtio_device *dev;
	unsigned queue;
	uint16_t size;
	bool packed;
	struct ring_descriptor *descriptors;
	struct ring_avail *avail;
	struct ring_used *used;
	uint16_t avail_next, used_next;

	/* packed: places are an index and a wrap counter */
	volatile struct packed_descriptor *ring;
	volatile uint32_t *driver_event, *device_event;
	struct raw_place put, look, take; /* to publish, to look for used ones, to take them */
	uint16_t *slots;		  /* of each buffer id: descriptors of its list */
	uint16_t seen;			  /* used ones that were looked at, in all */

	/* IN_ORDER, else NULL: the heads that were published, a ring of `size` places of its own.
	 * One used element may stand for a batch, that of its last (2.7.9, 2.8.8). */
	uint16_t *order;
	uint16_t order_put, order_look, order_take;
	bool in_batch;
	struct ring_used_element batch;
	uint32_t elements; /* that were taken: as many as batches */
};

/* Memory for a ring of that size (0: 64, or less where the device has less), zeroed and guarded.
 * By the legacy interface of PCI the size is the device's, whatever was asked for. */
void raw_ring_alloc(
	struct raw_ring *ring, struct virtio_device *dev, unsigned queue, uint16_t size);
/* Tells the device, and enables the queue. */
void raw_ring_enable(struct raw_ring *ring);
/* Area i of three, in the order of the registers, and its size. */
void *raw_ring_area(const struct raw_ring *ring, unsigned i, unsigned *bytes);
struct virtio_queue_areas raw_ring_areas(const struct raw_ring *ring);
void raw_descriptor(struct raw_ring *ring, unsigned i, uint64_t address, uint32_t length,
	uint16_t flags, uint16_t next);
/* Entry i of an indirect table in the ring's format. */
void raw_entry(struct raw_ring *ring, struct ring_descriptor *table, unsigned i, uint64_t address,
	uint32_t length, uint16_t flags);
/* The next available entry; idx moves on.  A head outside of the ring breaks either format. */
void raw_publish(struct raw_ring *ring, uint16_t head);
void raw_kick(struct raw_ring *ring);
/* How many elements were used since the ring was made, taken or not (16 bits). */
uint16_t raw_used_count(struct raw_ring *ring);
/* Is there one to take? */
static inline bool raw_pending(struct raw_ring *ring)
{
	return raw_used_count(ring) != ring->used_next;
}
/* packed: an available descriptor, flags last: at the place to publish at, which moves on, or at
 * any place. */
void raw_put(struct raw_ring *ring, uint64_t address, uint32_t length, uint16_t id, uint16_t flags);
void raw_write(struct raw_ring *ring, struct raw_place at, uint64_t address, uint32_t length,
	uint16_t id, uint16_t flags);
/* packed: the descriptor at that place is a used one. */
bool raw_is_used(const struct raw_ring *ring, struct raw_place at);
/* packed: n places on */
void raw_advance(const struct raw_ring *ring, struct raw_place *place, unsigned n);
/* Waits until `n` elements that were not taken yet are used; false (and a failed TEST) if they are
 * not. */
bool raw_used(struct raw_ring *ring, unsigned n);
/* Takes the next used element.  With IN_ORDER one for each buffer: those that the device skipped
 * over are made here, as written completely; an id that cannot end a batch is returned as it is. */
struct ring_used_element raw_take(struct raw_ring *ring);
/* Nothing is used for RAW_QUIET_US. */
bool raw_quiet(struct raw_ring *ring);

/* Features to take, with what rings can do left out unless named. */
#define RAW_BLK_FEATURES                                                                         \
	(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(BLK_F_FLUSH) | VIRTIO_BIT(BLK_F_BLK_SIZE) | \
		VIRTIO_BIT(BLK_F_SEG_MAX) | VIRTIO_BIT(BLK_F_DISCARD) |                          \
		VIRTIO_BIT(BLK_F_WRITE_ZEROES) | VIRTIO_BIT(BLK_F_RO))
#define RAW_INDIRECT  VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC)
#define RAW_EVENT_IDX VIRTIO_BIT(VIRTIO_F_EVENT_IDX)
#define RAW_PACKED    VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define RAW_DEFAULT   (RAW_BLK_FEATURES | RAW_PACKED)

struct raw_disk {
	struct virtio_device dev;
	struct raw_ring ring;
	uint64_t capacity;
	struct blk_header *header; /* guarded, as data and status */
	uint8_t *data;		   /* RAW_DATA bytes */
	uint8_t *status;
	uint32_t used_length; /* of the last request */
};
#define RAW_DATA 4096u

/* Sectors that TESTs may write. */
#define RAW_SCRATCH 64u

/*
 * The disk found, negotiated (offered features of `features`), queue 0 with `size` entries (0: 64
 * at most), running. SKIPs where there is none. raw_disk(f) is the writable disk; the read-only one
 * has its own.
 */
struct raw_disk *raw_disk_open(uint64_t features, uint16_t size);
struct raw_disk *raw_disk_read_only(uint64_t features);
static inline struct raw_disk *raw_disk(uint64_t features)
{
	return raw_disk_open(features, 0);
}
/* Found and interrupts routed, nothing else: for TESTs of the steps. */
struct raw_disk *raw_disk_find(void);
/* Negotiates, sets up ring and DRIVER_OK: again after a reset, with a fresh ring. False: refused.
 */
bool raw_disk_start(struct raw_disk *d, uint64_t features, uint16_t size);

/* header, data (none if bytes is 0) and status from descriptor `first` on; prepares, does not
 * publish. */
void raw_request(struct raw_disk *d, unsigned first, uint32_t type, uint64_t sector, void *data,
	uint32_t bytes);
/* True for requests whose data the device writes. */
bool raw_writes(uint32_t type);
/* The whole of it with descriptors 0.. : publishes, kicks, waits, checks id. Status; leaves the
 * TEST when silent. */
uint8_t raw_do(struct raw_disk *d, uint32_t type, uint64_t sector, void *data, uint32_t bytes);
/* n interrupts of queue 0 came, and no other within a millisecond; an EXPECT. */
bool raw_interrupts(struct raw_disk *d, uint32_t n);
/* Writes a pattern made of `seed`, reads it back and compares: the disk serves. */
void raw_serves(struct raw_disk *d);
/* Resets, starts anew and serves: what must work after anything. */
void raw_recovers(struct raw_disk *d);
/* Sectors that hold a pattern of `seed`, and the check. */
void raw_fill(struct raw_disk *d, uint64_t sector, unsigned sectors, uint64_t seed);
void raw_verify(struct raw_disk *d, uint64_t sector, unsigned sectors, uint64_t seed);
void raw_pattern(void *to, uint32_t bytes, uint64_t seed);

/*
 * What became of a malformed request that was published and kicked. Strict (strict=1: our own VMM):
 * the device must show NEEDS_RESET with a configuration interrupt, use nothing and be quiet.
 * Elsewhere an error status through the used ring, or (if `may_complete`) success, will do too.
 * Afterwards the device recovers in all cases. `before` is the used idx.
 */
/* Before that: SKIPs where a packed ring that breaks hangs the VMM for good. */
void raw_may_break(const struct raw_disk *d);
enum raw_outcome { RAW_NEEDS_RESET, RAW_ERROR, RAW_DONE };
enum raw_outcome raw_broken(struct raw_disk *d, bool may_complete);
/* The same for what a device may serve as well, ours too. */
enum raw_outcome raw_tolerated(struct raw_disk *d);
bool raw_strict(void);
/* The device answered a breach without NEEDS_RESET, as it may: what the TEST claims of that it did
 * not prove. */
void raw_no_needs_reset(void);

#endif
