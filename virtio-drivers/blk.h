/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk (virtio 1.4, 5.2): the protocol, and a driver for kernels that need a disk.
 *
 *	struct virtio_blk disk;
 *	if (!virtio_blk_open(&disk, &(struct virtio_blk_options){.depth = 32, .polling = true}))
 *SKIP("no disk"); virtio_blk_submit(&disk, sector, buffer, 4096, false, cookie);	// up to
 *disk.depth at once
 *	virtio_blk_kick(&disk);						// one doorbell for all of
 *them
 *	n = virtio_blk_reap(&disk, done, 32);				// what has completed,
 *without waiting
 *
 * or, one at a time and waiting: virtio_blk_read(), _write(), _flush().
 */
#ifndef VIRTIO_DRIVERS_BLK_H
#define VIRTIO_DRIVERS_BLK_H

#include "virtio-drivers/virtqueue.h"

#define BLK_SECTOR 512u

enum {
	BLK_T_IN = 0,
	BLK_T_OUT = 1,
	BLK_T_FLUSH = 4,
	BLK_T_GET_ID = 8,
	BLK_T_GET_LIFETIME = 10,
	BLK_T_DISCARD = 11,
	BLK_T_WRITE_ZEROES = 13,
	BLK_T_SECURE_ERASE = 14,
	BLK_T_ZONE_APPEND = 15,
	BLK_T_ZONE_REPORT = 16,
	BLK_T_ZONE_OPEN = 18,
	BLK_T_ZONE_CLOSE = 20,
	BLK_T_ZONE_FINISH = 22,
	BLK_T_ZONE_RESET = 24,
	BLK_T_ZONE_RESET_ALL = 26
};
enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };

#define BLK_F_SIZE_MAX	   1
#define BLK_F_SEG_MAX	   2
#define BLK_F_GEOMETRY	   4
#define BLK_F_RO	   5
#define BLK_F_BLK_SIZE	   6
#define BLK_F_FLUSH	   9
#define BLK_F_TOPOLOGY	   10
#define BLK_F_CONFIG_WCE   11
#define BLK_F_MQ	   12
#define BLK_F_DISCARD	   13
#define BLK_F_WRITE_ZEROES 14
#define BLK_F_LIFETIME	   15
#define BLK_F_SECURE_ERASE 16
#define BLK_F_ZONED	   17

/* struct virtio_blk_config (5.2.4) */
enum {
	BLK_C_CAPACITY = 0,
	BLK_C_SIZE_MAX = 8,
	BLK_C_SEG_MAX = 12,
	BLK_C_CYLINDERS = 16,
	BLK_C_HEADS = 18,
	BLK_C_SECTORS = 19,
	BLK_C_BLK_SIZE = 20,
	BLK_C_PHYSICAL_EXP = 24,
	BLK_C_ALIGNMENT = 25,
	BLK_C_MIN_IO = 26,
	BLK_C_OPT_IO = 28,
	BLK_C_WRITEBACK = 32,
	BLK_C_UNUSED0 = 33,
	BLK_C_NUM_QUEUES = 34,
	BLK_C_DISCARD_MAX = 36,
	BLK_C_DISCARD_SEGS = 40,
	BLK_C_DISCARD_ALIGN = 44,
	BLK_C_ZEROES_MAX = 48,
	BLK_C_ZEROES_SEGS = 52,
	BLK_C_ZEROES_UNMAP = 56,
	BLK_C_UNUSED1 = 57,
	BLK_C_LENGTH = 60,
	BLK_C_ERASE_MAX = 60, /* with SECURE_ERASE */
	BLK_C_ERASE_SEGS = 64,
	BLK_C_ERASE_ALIGN = 68,
};

struct blk_header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct blk_range { /* of discard, write zeroes and secure erase */
	uint64_t sector;
	uint32_t sectors, flags;
};
#define BLK_RANGE_UNMAP 1u

struct virtio_blk;

struct virtio_blk_options {
	enum virtio_transport_kind transport; /* ANY: what the machine has */
	unsigned index;			      /* of the disk: 0 is the first found */
	uint16_t queue_size;		      /* 0: the device's maximum */
	uint16_t depth;			      /* 0: what fits the queue */
	enum virtio_irq irq;		      /* when not polling; 0 is NONE, so say BEST */
	bool polling;
	uint64_t without; /* features not to take, as VIRTIO_BIT()s */
	unsigned queues;  /* 0 and 1: one; more takes MQ */
	/* Queues 1 and up, each with slots of its own, for processors of their own; their `dev` is
	 * a copy, valid for reading. */
	struct virtio_blk *more;
};

struct virtio_blk_slot {
	struct blk_header header;
	void *cookie;
	uint8_t status, unused[7];
};

struct virtio_blk {
	struct virtio_device dev;
	struct virtqueue vq;
	struct virtio_blk_slot *slots;
	uint64_t capacity; /* in sectors of 512 bytes */
	uint16_t depth;
	bool read_only;
};

struct virtio_blk_done {
	void *cookie;
	uint32_t length; /* written by the device, status included */
	uint8_t status;	 /* BLK_S_x; 0xff: the device did not write it */
};

/* False: there is no such disk, or it refused (then the TEST has a note). */
bool virtio_blk_open(struct virtio_blk *disk, const struct virtio_blk_options *options);
/* `bytes` is a multiple of 512. False: all slots are in flight. */
bool virtio_blk_submit(struct virtio_blk *disk, uint64_t sector, void *data, uint32_t bytes,
	bool write, void *cookie);
/* True if the doorbell was rung. */
static inline bool virtio_blk_kick(struct virtio_blk *disk)
{
	return virtqueue_kick(&disk->vq);
}
/* Up to `most` completed requests; 0 when none. Call again after an interrupt until it gives 0. */
unsigned virtio_blk_reap(struct virtio_blk *disk, struct virtio_blk_done *done, unsigned most);

/* One request, waiting for its end: BLK_S_x, or -1 when the disk was silent for ten seconds. */
int virtio_blk_read(struct virtio_blk *disk, uint64_t sector, void *data, uint32_t bytes);
int virtio_blk_write(struct virtio_blk *disk, uint64_t sector, const void *data, uint32_t bytes);
int virtio_blk_flush(struct virtio_blk *disk);

#endif
