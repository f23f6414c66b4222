/* SPDX-License-Identifier: MIT */
/*
 * A disk as these TESTs use it: one request at a time on queue 0, through whatever ring and
 * interface the machine has, with guarded buffers.
 *
 *	struct disk *d = disk_open(DISK_FEATURES);
 *	EXPECT_EQ(disk_do(d, BLK_T_IN, 0, d->data, 512), BLK_S_OK);
 *
 * or by its buffers:
 *
 *	disk_begin(d, BLK_T_IN, 0);
 *	disk_buffer(d, d->data, 512, true);
 *	disk_buffer(d, d->status, 1, true);
 *	disk_send(d);
 *	status = disk_end(d);
 */
#ifndef KERNEL_VIRTIO_BLK_DISK_H
#define KERNEL_VIRTIO_BLK_DISK_H

#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/raw.h"

#define DISK NEEDS("disk:virtio")

#define DISK_DATA      4096u
#define DISK_SCRATCH   64u     /* sectors from here on TESTs may write */
#define DISK_ANSWER_US 3000000 /* a device is silent when it has not answered by then */

#define DISK_FEATURES                                                                  \
	(VIRTIO_RING_FEATURES | VIRTIO_BIT(BLK_F_FLUSH) | VIRTIO_BIT(BLK_F_BLK_SIZE) | \
		VIRTIO_BIT(BLK_F_SEG_MAX) | VIRTIO_BIT(BLK_F_DISCARD) |                \
		VIRTIO_BIT(BLK_F_WRITE_ZEROES) | VIRTIO_BIT(BLK_F_RO))

struct disk {
	struct virtio_device dev;
	struct virtqueue vq;
	uint64_t capacity;
	struct blk_header *header; /* guarded, as data and status */
	uint8_t *data;		   /* DISK_DATA bytes */
	uint8_t *status;
	unsigned slot, buffers; /* of the request in the making */
	uint32_t used_length;	/* of the last request */
	unsigned most_buffers;	/* of a request; 24 unless set before disk_start() */
	uint16_t queue_size;	/* 0: up to 64; the same */
};

/* Found and interrupts routed, nothing else. SKIPs where there is none. */
struct disk *disk_find(bool read_only);
/* Negotiates the offered ones of `features`, sets up queue 0, DRIVER_OK: again after a reset.
 * False: refused. */
bool disk_start(struct disk *d, uint64_t features);
/* Both, of the writable disk. */
struct disk *disk_open(uint64_t features);
struct disk *disk_read_only(void);
/* The writable disk of blocks of 4096 bytes, where limits of sizes are low. */
struct disk *disk_of_blocks(void);
/* The same; SKIPs where the disk does not offer all of `must`, which are added. */
struct disk *disk_that(uint64_t must);

/* The header, as the first buffer; the status byte reads 0xff until the device writes it. */
void disk_begin(struct disk *d, uint32_t type, uint64_t sector);
void disk_buffer(struct disk *d, const void *at, uint32_t bytes, bool device_writes);
/* Publishes and rings. */
void disk_send(struct disk *d);
/* Waits: the status. Leaves the TEST when the device is silent. */
uint8_t disk_end(struct disk *d);
/* Waits until the request is used or the device shows NEEDS_RESET: true if it is used. */
bool disk_answers(struct disk *d);
/* All of it: header, data (none if bytes is 0), status. */
uint8_t disk_do(struct disk *d, uint32_t type, uint64_t sector, void *data, uint32_t bytes);
/* One range of sectors: discard, write zeroes, secure erase. */
uint8_t disk_range(
	struct disk *d, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags);

/* Sectors that hold a pattern of `seed`, at most DISK_DATA bytes, and the check. */
void disk_fill(struct disk *d, uint64_t sector, unsigned sectors, uint64_t seed);
void disk_verify(struct disk *d, uint64_t sector, unsigned sectors, uint64_t seed);
/* Reads sectors and checks that all bytes are 0. */
void disk_verify_zero(struct disk *d, uint64_t sector, unsigned sectors);
/* Writes and reads one sector. */
void disk_serves(struct disk *d);
/* The request must end with IOERR or UNSUPP. */
void disk_refuses(struct disk *d, uint32_t type, uint64_t sector, uint32_t bytes);

/* strict=1: our own VMM, of which more is asked than the text does. */
bool disk_strict(void);
/* Resets, starts anew and serves: what must work after anything. */
void disk_recovers(struct disk *d);
/*
 * After disk_send() of a request that breaks the rules of rings. Strict: NEEDS_RESET with a
 * configuration interrupt, and nothing is used. Elsewhere an error status or silence does, too.
 * Afterwards the disk recovers.
 */
void disk_broken(struct disk *d);

#endif
