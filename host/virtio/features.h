/* SPDX-License-Identifier: MIT */
/* Feature bits and status bits that all virtio devices share (virtio 1.4, 2.1 and 6). */
#ifndef VIRTIO_FEATURES_H
#define VIRTIO_FEATURES_H

#define VIRTIO_F_NOTIFY_ON_EMPTY   24 /* the legacy interface only, as ANY_LAYOUT */
#define VIRTIO_F_ANY_LAYOUT	   27
#define VIRTIO_F_INDIRECT_DESC	   28
#define VIRTIO_F_EVENT_IDX	   29
#define VIRTIO_F_VERSION_1	   32
#define VIRTIO_F_ACCESS_PLATFORM   33
#define VIRTIO_F_RING_PACKED	   34
#define VIRTIO_F_IN_ORDER	   35
#define VIRTIO_F_ORDER_PLATFORM	   36
#define VIRTIO_F_NOTIFICATION_DATA 38
#define VIRTIO_F_NOTIF_CONFIG_DATA 39
#define VIRTIO_F_RING_RESET	   40

#define FEATURE(bit) (UINT64_C(1) << (bit))

#define STATUS_ACKNOWLEDGE 0x01
#define STATUS_DRIVER	   0x02
#define STATUS_DRIVER_OK   0x04
#define STATUS_FEATURES_OK 0x08
#define STATUS_NEEDS_RESET 0x40
#define STATUS_FAILED	   0x80

#define VIRTIO_ID_BLOCK	  2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_ENTROPY 4

#endif
