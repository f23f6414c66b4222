/* SPDX-License-Identifier: MIT */
/*
 * virtio-rng (virtio 1.4, 5.4): bytes of an entropy backend into the driver's buffers, at most
 * max-bytes of them in each period of the machine's clock.
 *
 * A request stays in the ring until there are bytes for it, so that nothing is in flight while the
 * device waits for its backend or for the next period.  A period begins with the first request
 * after the last one ended, as QEMU counts.  Of a longer buffer the first REQUEST_MAX bytes are
 * filled (5.4.6.2 allows less than all): one request cannot occupy the loop.
 */
#include <errno.h>
#include <string.h>

#include "chardev/rng.h"
#include "machine/outside.h"
#include "virtio/mmio.h"
#include "virtio/pci.h"
#include "virtio/virtio-types.h"

#define CLASS_OTHERS 0x00ff00
#define QUEUE_SIZE   8
#define REQUEST_MAX  65536
#define UNLIMITED    INT64_MAX
#define NS_PER_MS    1000000

struct virtio_rng {
	struct virtio_device vdev;
	struct virtio_conf conf;

	/* properties, QEMU's names */
	struct rng_backend *rng;
	uint64_t max_bytes; /* a period */
	uint32_t period;    /* ms */

	struct rng_user user;
	uint64_t quota;	      /* bytes left in this period */
	struct vm_timer ends; /* of the period; not armed: it has not begun */
};

static struct virtio_rng *rng_of(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_rng, vdev);
}

static uint64_t rng_features(struct virtio_device *vdev)
{
	return 0;
}

static void rng_config_read(struct virtio_device *vdev, uint8_t *config)
{
}

static void rng_config_write(
	struct virtio_device *vdev, unsigned offset, unsigned size, uint32_t value)
{
}

/* --- requests --- */

static void period_ended(void *opaque)
{
	struct virtio_rng *rng = opaque;

	rng->quota = rng->max_bytes;
	virtio_look_again(&rng->vdev.queues[0]);
}

static void begin_period(struct virtio_rng *rng)
{
	struct machine *machine = rng->vdev.machine;

	if (rng->max_bytes == UNLIMITED || vm_timer_is_armed(&rng->ends))
		return;
	vm_timer_arm(&rng->ends, vm_clock_now(&machine->clock) + (int64_t)rng->period * NS_PER_MS);
}

static void backend_ready(void *opaque)
{
	struct virtio_rng *rng = opaque;

	virtio_look_again(&rng->vdev.queues[0]);
}

static bool rng_willing(struct virtio_device *vdev, struct virtio_queue *vq)
{
	const struct virtio_rng *rng = rng_of(vdev);

	return rng->quota && !rng->user.waits;
}

static size_t fill(struct virtio_rng *rng, const struct queue_request *request, size_t most)
{
	size_t done = 0;

	for (unsigned i = 0; i < request->in_count && done < most; i++) {
		const struct iovec *iov = &request->in[i];
		size_t part = iov->iov_len < most - done ? iov->iov_len : most - done;
		size_t got = rng_read(rng->rng, &rng->user, iov->iov_base, part);

		done += got;
		if (got < part)
			break;
	}
	return done;
}

static void rng_request(
	struct virtio_device *vdev, struct virtio_queue *vq, struct queue_request *request)
{
	struct virtio_rng *rng = rng_of(vdev);
	size_t most = request->in_bytes < REQUEST_MAX ? request->in_bytes : REQUEST_MAX, done;

	if (request->out_bytes) {
		/* 5.4.6.1 */
		virtio_break(vdev, "a buffer for entropy has a readable part");
		queue_break(&vq->ring, "a buffer for entropy has a readable part");
		virtio_complete(vq, request, 0);
		return;
	}
	begin_period(rng);
	done = fill(rng, request, most < rng->quota ? most : rng->quota);
	if (!done && most) {
		virtio_untake(vq, request);
		return;
	}
	if (rng->max_bytes != UNLIMITED)
		rng->quota -= done;
	virtio_complete(vq, request, done);
}

/* Nothing ever is in flight. */
static void rng_drain(struct virtio_device *vdev, struct loop *loop, bool pause)
{
}

static const struct virtio_ops rng_ops = {
	.id = VIRTIO_ID_ENTROPY,
	.config_size = 0,
	.features = rng_features,
	.config_read = rng_config_read,
	.config_write = rng_config_write,
	.willing = rng_willing,
	.request = rng_request,
	.drain = rng_drain,
};

/* --- life: the limit outlasts resets, or a guest could reset it away --- */

static int rng_realize(struct virtio_rng *rng, struct device *dev, struct error *err)
{
	int rc;

	if (!rng->period)
		return error_set(err, EINVAL, "'period' parameter expects a positive integer");
	if (rng->max_bytes > UNLIMITED)
		return error_set(err, EINVAL,
			"'max-bytes' parameter must be non-negative, and less than 2^63");
	if (!rng->rng)
		rng->rng = rng_default();
	rc = virtio_init(&rng->vdev, dev->machine, dev->type->name, &rng_ops, &rng->conf, 1,
		QUEUE_SIZE, sizeof(struct queue_request), dev->machine->loop, err);
	if (rc < 0)
		return rc;
	rng->user = (struct rng_user){.ready = backend_ready, .opaque = rng};
	rng_attach(rng->rng, &rng->user);
	rng->quota = rng->max_bytes;
	vm_timer_init(&rng->ends, &dev->machine->clock, period_ended, rng);
	return 0;
}

static void rng_unrealize(struct virtio_rng *rng)
{
	vm_timer_cancel(&rng->ends);
	rng_detach(rng->rng, &rng->user);
	virtio_destroy(&rng->vdev);
}

#define RNG_PROPERTIES(type)                                                                       \
	{"rng", PROPERTY_RNG, offsetof(type, rng.rng), NULL,                                       \
		"id of an -object rng-*; default: a builtin one", NULL, 0, 0},                     \
		{"max-bytes", PROPERTY_UINT64, offsetof(type, rng.max_bytes),                      \
			"9223372036854775807", "at most so many a period", NULL, 0, 0},            \
		{"period", PROPERTY_UINT32, offsetof(type, rng.period), "65536", "in ms", NULL, 0, \
			0},                                                                        \
		VIRTIO_PROPERTIES(type, rng.conf)

static bool valid_quota(const void *state, uint64_t value)
{
	return value <= ((const struct virtio_rng *)state)->max_bytes;
}

/* A period that was begun comes to its end, or nothing would be read ever again: not even a reset
 * gives a new quota. */
static int rng_loaded(void *state, unsigned version, struct error *err)
{
	const struct virtio_rng *rng = state;
	int64_t now = vm_clock_now(&rng->vdev.machine->clock);
	bool begun = vm_timer_is_armed(&rng->ends);

	if (rng->quota < rng->max_bytes && !begun)
		return error_set(err, EINVAL, "ends: never, and the quota is used up in part");
	if (begun && rng->ends.deadline > now + (int64_t)rng->period * NS_PER_MS)
		return error_set(err, EINVAL, "ends: further away than a period is long");
	return 0;
}

static const struct state_field rng_fields[] = {
	STATE_PART(struct virtio_rng, vdev, virtio_state_table),
	STATE_UINT(struct virtio_rng, quota, .valid = valid_quota),
	STATE_ALARM(struct virtio_rng, ends),
	STATE_END,
};

static bool is_replayed(const void *state)
{
	return outside_mode() != OUTSIDE_LIVE;
}

/* Elsewhere a read is tried again; where the log has the answer it must wait for it again. */
static const struct state_field wait_fields[] = {
	STATE_BOOL(struct virtio_rng, user.waits),
	STATE_END,
};

static const struct state_table wait_table = {.name = "wait",
	.version = 1,
	.fields = wait_fields,
	.needed = is_replayed,
	.post_load = outside_part_loaded};

static const struct state_table *const rng_subsections[] = {&wait_table, NULL};

static const struct state_table rng_state = {
	.name = "virtio-rng",
	.version = 1,
	.fields = rng_fields,
	.subsections = rng_subsections,
	.post_load = rng_loaded,
};

/* --- virtio-rng-pci --- */

struct virtio_rng_pci {
	struct virtio_pci transport; /* first */
	struct virtio_rng rng;
};

static int pci_realize(struct device *dev, struct error *err)
{
	struct virtio_rng_pci *p = (struct virtio_rng_pci *)dev;
	int rc = virtio_pci_check(&p->transport, err);

	if (rc == 0)
		rc = rng_realize(&p->rng, dev, err);
	if (rc < 0)
		return rc;
	rc = virtio_pci_realize(&p->transport, &p->rng.vdev, CLASS_OTHERS, err);
	if (rc < 0) {
		virtio_pci_unrealize(&p->transport);
		rng_unrealize(&p->rng);
	}
	return rc;
}

static void pci_unrealize(struct device *dev)
{
	struct virtio_rng_pci *p = (struct virtio_rng_pci *)dev;

	rng_unrealize(&p->rng);
	virtio_pci_unrealize(&p->transport);
}

static void pci_reset(struct device *dev)
{
	virtio_pci_reset(&((struct virtio_rng_pci *)dev)->transport);
}

#define RNG_PCI_PROPERTIES(legacy)                                                           \
	{                                                                                    \
		RNG_PROPERTIES(struct virtio_rng_pci),                                       \
			VIRTIO_PCI_PROPERTIES(struct virtio_rng_pci, transport),             \
			VIRTIO_PCI_DISABLE_LEGACY(struct virtio_rng_pci, transport, legacy), \
			PROPERTY_END,                                                        \
	}

static const struct property rng_pci_properties[] = RNG_PCI_PROPERTIES("auto");
static const struct property rng_pci_non_transitional_properties[] = RNG_PCI_PROPERTIES("on");
static const struct property rng_pci_transitional_properties[] = RNG_PCI_PROPERTIES("off");

static const struct state_field rng_pci_fields[] = {
	STATE_PART(struct virtio_rng_pci, transport, virtio_pci_state_table),
	STATE_PART(struct virtio_rng_pci, rng, rng_state),
	STATE_END,
};

static const struct state_table rng_pci_state = {
	.name = "virtio-rng-pci", .version = 1, .fields = rng_pci_fields};

static const char *const rng_pci_bases[] = {
	"virtio-pci", "virtio-rng-device", "virtio-device", NULL};

#define RNG_PCI_TYPE(text, table)                                                                  \
	{                                                                                          \
		.name = text, .bus = "PCI", .description = "virtio entropy device",                \
		.category = "Misc", .properties = table, .more_properties = pci_properties,        \
		.size = sizeof(struct virtio_rng_pci), .realize = pci_realize, .reset = pci_reset, \
		.unrealize = pci_unrealize, .bases = rng_pci_bases, .state = &rng_pci_state,       \
	}

const struct device_type virtio_rng_pci_type = RNG_PCI_TYPE("virtio-rng-pci", rng_pci_properties);
const struct device_type virtio_rng_pci_non_transitional_type =
	RNG_PCI_TYPE("virtio-rng-pci-non-transitional", rng_pci_non_transitional_properties);
const struct device_type virtio_rng_pci_transitional_type =
	RNG_PCI_TYPE("virtio-rng-pci-transitional", rng_pci_transitional_properties);

/* --- virtio-rng-device --- */

struct virtio_rng_device {
	struct device dev; /* first */
	struct virtio_rng rng;
};

static int mmio_realize(struct device *dev, struct error *err)
{
	struct virtio_rng_device *p = (struct virtio_rng_device *)dev;
	int rc = rng_realize(&p->rng, dev, err);

	if (rc < 0)
		return rc;
	rc = virtio_mmio_attach(dev, &p->rng.vdev, err);
	if (rc < 0)
		rng_unrealize(&p->rng);
	return rc;
}

static void mmio_unrealize(struct device *dev)
{
	virtio_mmio_detach(dev);
	rng_unrealize(&((struct virtio_rng_device *)dev)->rng);
}

static void mmio_reset(struct device *dev)
{
	virtio_reset(&((struct virtio_rng_device *)dev)->rng.vdev);
}

static const struct property rng_device_properties[] = {
	RNG_PROPERTIES(struct virtio_rng_device),
	PROPERTY_END,
};

static const char *const rng_device_bases[] = {"virtio-device", NULL};

static const struct state_field rng_device_fields[] = {
	STATE_PART(struct virtio_rng_device, rng, rng_state),
	STATE_END,
};

static const struct state_table rng_device_state = {
	.name = "virtio-rng-device", .version = 1, .fields = rng_device_fields};

const struct device_type virtio_rng_device_type = {
	.name = "virtio-rng-device",
	.bus = "virtio-bus",
	.description = "virtio entropy device",
	.category = "Misc",
	.properties = rng_device_properties,
	.size = sizeof(struct virtio_rng_device),
	.bases = rng_device_bases,
	.realize = mmio_realize,
	.reset = mmio_reset,
	.state = &rng_device_state,
	.unrealize = mmio_unrealize,
};
