/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk as its two device types share it: blk.c (requests), blk-types.c (properties,
 * configuration, life).
 */
#ifndef VIRTIO_BLK_H
#define VIRTIO_BLK_H

#include "block/block.h"
#include "block/iothread.h"
#include "virtio/virtio.h"

/* Feature bits (5.2.3) */
#define VIRTIO_BLK_F_SIZE_MAX	  1
#define VIRTIO_BLK_F_SEG_MAX	  2
#define VIRTIO_BLK_F_GEOMETRY	  4
#define VIRTIO_BLK_F_RO		  5
#define VIRTIO_BLK_F_BLK_SIZE	  6
#define VIRTIO_BLK_F_FLUSH	  9
#define VIRTIO_BLK_F_TOPOLOGY	  10
#define VIRTIO_BLK_F_CONFIG_WCE	  11
#define VIRTIO_BLK_F_MQ		  12
#define VIRTIO_BLK_F_DISCARD	  13
#define VIRTIO_BLK_F_WRITE_ZEROES 14
#define VIRTIO_BLK_F_LIFETIME	  15
#define VIRTIO_BLK_F_SECURE_ERASE 16

#define VIRTIO_BLK_SEGMENTS_MAX 8 /* of one discard, write zeroes or secure erase */

struct virtio_blk {
	struct virtio_device vdev;
	struct virtio_conf conf;

	/* properties, QEMU's names */
	struct block_backend *drive;
	struct iothread *iothread;
	char *serial;
	uint64_t logical_block_size, physical_block_size, min_io_size, opt_io_size;
	uint64_t discard_granularity;
	uint32_t max_discard_sectors, max_write_zeroes_sectors;

	/* properties of our own */
	uint32_t size_max; /* bytes of one buffer; 0: no limit, and SIZE_MAX is not offered */
	bool secure_erase;
	uint32_t max_secure_erase_sectors;
	uint16_t pre_eol_info, lifetime_a, lifetime_b; /* all 0: LIFETIME is not offered */

	/* QEMU's again */
	uint32_t bootindex, cyls, heads, secs;
	uint16_t num_queues, queue_size;
	int write_cache, werror, rerror;
	bool config_wce, seg_max_adjust, discard, write_zeroes, share_rw, request_merging;
	bool report_discard_granularity, scsi;

	struct block_user user;
	bool attached;
	bool readonly;
	atomic_bool writeback; /* a write may complete before it is stable */
};

extern const struct virtio_ops virtio_blk_ops;

size_t virtio_blk_request_size(void);
void virtio_blk_request(
	struct virtio_device *vdev, struct virtio_queue *vq, struct queue_request *request);

#endif
