/* SPDX-License-Identifier: MIT */
/*
 * The device side of virtio between transports and devices (virtio 1.4, chapters 2 and 3): status,
 * features, configuration, and the queues with the loops that serve them.
 *
 *   transport (pci.c, mmio.c): registers, doorbells, interrupts      calls virtio_set_status() ...
 *   core (virtio.c, virtio-queue.c)
 *   device (blk.c): what requests mean                               a struct virtio_ops
 *
 * Threads.  Control (everything here that does not say otherwise) runs under the machine lock.  A
 * queue that serves runs on its loop alone: the main loop, or an iothread's without the lock.
 * Control parks a queue before it changes anything about it; virtio_park() returns when its loop
 * no longer touches it and nothing of it is in flight.
 */
#ifndef VIRTIO_VIRTIO_H
#define VIRTIO_VIRTIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "machine/machine.h"
#include "virtio/features.h"
#include "virtio/queue.h"

#define VIRTIO_QUEUES_MAX      1024
#define VIRTIO_CONFIG_SIZE_MAX 256
#define VIRTIO_FEATURE_WORDS   4

struct virtio_device;

struct virtio_queue {
	struct queue ring;
	struct virtio_device *vdev;
	struct loop *loop;
	bool enabled; /* by the driver */
	bool serving; /* on its loop: the doorbell is watched */
	bool in_service;
	bool no_room; /* what is in flight holds all that a queue may: queue_has_room() */
	bool kicked;  /* while it did not serve: to look at once when it does */
	struct loop_watch doorbell; /* an eventfd: the transport's ioeventfd */
	struct loop_task kick;	    /* a doorbell that came as an exit */
	struct loop_task batch;	    /* after a batch of completions */
	struct region_event event;  /* the transport's, in force while the queue serves */
	bool event_added;
	/* As state, when the VM is saved as it runs (virtio-state.c). */
	struct queue_live {
		bool is_there, kicked;
		uint16_t avail_seen;
		struct queue_held held;
	} live;
};

/* What a kind of device is. */
struct virtio_ops {
	uint16_t id;
	uint16_t config_size; /* bytes of device-specific configuration */

	/* Offered bits of its own (0..23, 50..127). */
	uint64_t (*features)(struct virtio_device *vdev);
	/* FEATURES_OK was granted. */
	void (*negotiated)(struct virtio_device *vdev, uint64_t features);
	void (*config_read)(struct virtio_device *vdev, uint8_t *config);
	/* A write of 1, 2 or 4 bytes inside the configuration. */
	void (*config_write)(
		struct virtio_device *vdev, unsigned offset, unsigned size, uint32_t value);
	/* Asked on the queue's loop before each request is taken; false: it stays in the ring until
	 * virtio_look_again().  NULL: always. */
	bool (*willing)(struct virtio_device *vdev, struct virtio_queue *vq);
	/* One request, on the queue's loop.  It ends with virtio_complete(), now or later. */
	void (*request)(
		struct virtio_device *vdev, struct virtio_queue *vq, struct queue_request *request);
	/* On the loop, or under the lock for the main loop: returns when no request of that loop is
	 * in flight any more; with `pause` those may stay that wait for the VM to go on. */
	void (*drain)(struct virtio_device *vdev, struct loop *loop, bool pause);
	/* A request that it held when the machine was saved, before the queue serves again.  NULL:
	 * it never holds one while the machine can be saved so. */
	void (*held)(
		struct virtio_device *vdev, struct virtio_queue *vq, struct queue_request *request);
	/* Back to power-on; queues are stopped. */
	void (*reset)(struct virtio_device *vdev);
};

struct virtio_transport {
	/* The driver wants an interrupt for that queue.  On the queue's loop: no lock there, unless
	 * it is the main loop. */
	void (*queue_interrupt)(struct virtio_device *vdev, struct virtio_queue *vq);
	/* Configuration or status changed.  Main loop, lock. */
	void (*config_interrupt)(struct virtio_device *vdev);
	/* Registers the queue's eventfd where its doorbell is, or takes it away. */
	void (*doorbell)(struct virtio_device *vdev, struct virtio_queue *vq, bool on);
	/* The transport's own part of a reset: vectors, interrupt status. */
	void (*reset)(struct virtio_device *vdev);
};

/* Properties that every virtio device has, with QEMU's names. */
struct virtio_conf {
	bool indirect_desc, event_idx, queue_reset;
	bool packed, in_order;
	bool iommu_platform, order_platform;
	bool notification_data, notif_config_data;
	bool notify_on_empty, any_layout;    /* offered by the legacy interface only */
	bool use_started, use_disabled_flag; /* of QEMU's own streams: accepted */
};

#define VIRTIO_PROPERTIES(type, conf)                                                             \
	{"indirect_desc", PROPERTY_BOOL, offsetof(type, conf.indirect_desc), "on",                \
		"offer indirect descriptors", NULL, 0, 0},                                        \
		{"event_idx", PROPERTY_BOOL, offsetof(type, conf.event_idx), "on",                \
			"offer the event index", NULL, 0, 0},                                     \
		{"queue_reset", PROPERTY_BOOL, offsetof(type, conf.queue_reset), "on",            \
			"offer the reset of single queues", NULL, 0, 0},                          \
		{"packed", PROPERTY_BOOL, offsetof(type, conf.packed), "off",                     \
			"offer packed rings", NULL, 0, 0},                                        \
		{"in_order", PROPERTY_BOOL, offsetof(type, conf.in_order), "off",                 \
			"offer to use buffers in the order in which they come", NULL, 0, 0},      \
		{"iommu_platform", PROPERTY_BOOL, offsetof(type, conf.iommu_platform), "off",     \
			"offer ACCESS_PLATFORM (addresses are physical all the same)", NULL, 0,   \
			0},                                                                       \
		{"order_platform", PROPERTY_BOOL, offsetof(type, conf.order_platform), "off",     \
			"offer ORDER_PLATFORM", NULL, 0, 0},                                      \
		{"notification_data", PROPERTY_BOOL, offsetof(type, conf.notification_data),      \
			"off", "offer doorbells that say how far the driver is", NULL, 0, 0},     \
		{"notif_config_data", PROPERTY_BOOL, offsetof(type, conf.notif_config_data),      \
			"off", "PCI: offer names of queues in doorbells", NULL, 0, 0},            \
		{"notify_on_empty", PROPERTY_BOOL, offsetof(type, conf.notify_on_empty), "on",    \
			"legacy devices only", NULL, 0, 0},                                       \
		{"any_layout", PROPERTY_BOOL, offsetof(type, conf.any_layout), "on",              \
			"legacy devices only", NULL, 0, 0},                                       \
		{"use-started", PROPERTY_BOOL, offsetof(type, conf.use_started), "on",            \
			"no effect", NULL, 0, 0},                                                 \
	{                                                                                         \
		"use-disabled-flag", PROPERTY_BOOL, offsetof(type, conf.use_disabled_flag), "on", \
			"no effect", NULL, 0, 0                                                   \
	}

struct virtio_device {
	const struct virtio_ops *ops;
	const struct virtio_transport *transport;
	void *transport_opaque;
	struct machine *machine;
	const char *name; /* of the device type */
	struct virtio_conf *conf;

	atomic_uchar status;
	atomic_bool broken;	/* NEEDS_RESET: nothing is served */
	atomic_bool may_access; /* to guest memory: bus master */
	bool paused;		/* the VM is stopped */
	uint32_t driver_features[VIRTIO_FEATURE_WORDS];
	bool driver_features_beyond; /* bits above the words were accepted */
	uint64_t features;	     /* negotiated; 0 before FEATURES_OK */
	bool legacy;		     /* the driver came by the legacy interface */
	bool in_use;		     /* and uses it: by DRIVER_OK, or by a doorbell before it */

	uint8_t config_generation;
	bool config_unread;	    /* changed since the driver last looked */
	atomic_bool config_pending; /* an interrupt is to be sent */
	struct loop_task config_task;

	struct virtio_queue *queues;
	unsigned queue_count;
	struct machine_observer observer;
};

/*
 * Queues are made on `loop`.  request_size: see queue_init().  0 or -errno.
 * conf->... that is refused says so in `err`.
 */
int virtio_init(struct virtio_device *vdev, struct machine *machine, const char *name,
	const struct virtio_ops *ops, struct virtio_conf *conf, unsigned queues,
	uint16_t queue_size, size_t request_size, struct loop *loop, struct error *err);
void virtio_destroy(struct virtio_device *vdev); /* of what virtio_init() made; zeroed: nothing */

/* --- for transports --- */

/* The driver wrote the status: 0 resets, and the reset is complete on return.  Bits once set stay.
 */
void virtio_set_status(struct virtio_device *vdev, uint8_t value);
void virtio_reset(struct virtio_device *vdev);
uint32_t virtio_offered(struct virtio_device *vdev, uint32_t word);
uint32_t virtio_accepted(struct virtio_device *vdev, uint32_t word);
void virtio_accept(struct virtio_device *vdev, uint32_t word, uint32_t value);

/*
 * The legacy interface (2.2.3, 3.1.2): no FEATURES_OK, features of one word that count at once and
 * are final at the first use, and a driver may use the device before DRIVER_OK.  A write through it
 * makes the device legacy until reset; none of these does anything once FEATURES_OK was granted.
 */
void virtio_legacy_set_status(struct virtio_device *vdev, uint8_t value);
uint32_t virtio_legacy_offered(struct virtio_device *vdev);
void virtio_legacy_accept(struct virtio_device *vdev, uint32_t value);
void virtio_legacy_config_write(
	struct virtio_device *vdev, uint64_t offset, unsigned size, uint64_t value);
/* The ring in one piece (2.7.2): its used part begins at a multiple of `align`, a power of two.
 * Enables the queue; address 0 disables it. */
void virtio_legacy_queue(struct virtio_queue *vq, uint64_t address, uint32_t align);

/* Any offset and a size up to 8; outside of the configuration: zeroes, and nothing. */
uint64_t virtio_config_read(struct virtio_device *vdev, uint64_t offset, unsigned size);
void virtio_config_write(
	struct virtio_device *vdev, uint64_t offset, unsigned size, uint64_t value);
uint8_t virtio_config_generation(struct virtio_device *vdev);

struct virtio_queue *virtio_queue(struct virtio_device *vdev, unsigned index); /* NULL: none */
/* A size the driver chose: kept if it is one that the ring can have (no power of two: only with
 * RING_PACKED) and the queue is not enabled. */
void virtio_queue_set_size(struct virtio_queue *vq, uint32_t size);
/* Low or high half of an area's address; ignored while the queue is enabled. */
void virtio_queue_set_address(struct virtio_queue *vq, uint64_t *area, bool high, uint32_t value);
void virtio_queue_enable(struct virtio_queue *vq);
/* True, but for a planted fault: a reset or a disabling is then said to be over, and nothing ends.
 */
bool virtio_queues_end(void);
/* Requests in flight are finished, but not returned to the driver.  Size and addresses stay. */
void virtio_queue_disable(struct virtio_queue *vq);
/* The same, and size and addresses return to their values at power-on (2.6.1). */
void virtio_queue_reset(struct virtio_queue *vq);
/* The queue that a value written to a doorbell of all queues names, or NULL (2.9, 4.1.5.2). */
struct virtio_queue *virtio_doorbell_queue(struct virtio_device *vdev, uint32_t value);
/* What the driver names a queue by there: PCI's queue_notif_config_data. */
uint16_t virtio_doorbell_name(const struct virtio_queue *vq);
/* A doorbell that came as an exit. */
void virtio_queue_kick(struct virtio_queue *vq);

/* Bus mastering was switched: while off nothing of guest memory is touched. */
void virtio_set_access(struct virtio_device *vdev, bool on);

/* --- for devices --- */

/* On the queue's loop: see queue_push().  The interrupt follows once a batch. */
void virtio_complete(struct virtio_queue *vq, struct queue_request *request, uint32_t written);

/* On the queue's loop: the request was not served and is the next one again (queue_untake()); for
 * what would otherwise wait in flight while the VM is stopped or saved. */
void virtio_untake(struct virtio_queue *vq, struct queue_request *request);
/* ops->willing() would say yes now.  On the queue's loop. */
void virtio_look_again(struct virtio_queue *vq);

/* The configuration changed: new generation, and an interrupt if the driver is there. */
void virtio_config_changed(struct virtio_device *vdev);

/* The driver broke a rule: NEEDS_RESET with its notification, and nothing is served until reset.
 * Any thread. */
void virtio_break(struct virtio_device *vdev, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* What is saved, whatever the transport and the device (virtio-state.c). */
extern const struct state_table virtio_state_table;

/* --- between virtio.c and virtio-queue.c --- */

int virtio_queue_init(struct virtio_queue *vq, struct virtio_device *vdev, unsigned index,
	uint16_t size, size_t request_size, struct loop *loop, struct error *err);
void virtio_queue_destroy(struct virtio_queue *vq);
void virtio_queue_clear(struct virtio_queue *vq); /* parked: as at power-on */
void virtio_unpark(struct virtio_device *vdev);	  /* serves every queue that may be served */
/* Loaded with requests in flight: the device has them again.  Before the first virtio_unpark(). */
void virtio_hold_again(struct virtio_device *vdev);
void virtio_park(struct virtio_device *vdev, bool discard);
/* Parked: ends also the requests that wait for the VM to go on. */
void virtio_finish(struct virtio_device *vdev);

#endif
