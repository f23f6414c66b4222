/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk as a device (virtio 1.4, 5.2): properties, features, configuration, and the types
 * virtio-blk-pci and virtio-blk-device.  Defaults are QEMU's, but for the number of segments of a
 * discard request, which is 8.  Secure erase, lifetime and size_max are our own, off by default.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/blk.h"
#include "virtio/mmio.h"
#include "virtio/pci.h"
#include "virtio/virtio-types.h"

#define CLASS_SCSI_STORAGE 0x010000
#define QUEUES_AUTO	   0xffff
#define NOT_GIVEN	   0xffffffff
#define BLOCK_SIZE_MAX	   (2u << 20)

/* struct virtio_blk_config (5.2.4) */
struct config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
	uint32_t max_secure_erase_sectors, max_secure_erase_seg, secure_erase_sector_alignment;
};

_Static_assert(offsetof(struct config, write_zeroes_may_unmap) == 56, "as in 5.2.4");
_Static_assert(sizeof(struct config) == 72, "as in 5.2.4, without zones");
_Static_assert(sizeof(struct config) <= VIRTIO_CONFIG_SIZE_MAX, "fits");

static struct virtio_blk *blk_of(struct virtio_device *vdev)
{
	return container_of(vdev, struct virtio_blk, vdev);
}

static uint64_t blk_features(struct virtio_device *vdev)
{
	const struct virtio_blk *blk = blk_of(vdev);
	uint64_t bits = FEATURE(VIRTIO_BLK_F_SEG_MAX) | FEATURE(VIRTIO_BLK_F_GEOMETRY) |
			FEATURE(VIRTIO_BLK_F_BLK_SIZE) | FEATURE(VIRTIO_BLK_F_FLUSH) |
			FEATURE(VIRTIO_BLK_F_TOPOLOGY);

	if (blk->config_wce)
		bits |= FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
	if (blk->readonly)
		bits |= FEATURE(VIRTIO_BLK_F_RO);
	if (vdev->queue_count > 1)
		bits |= FEATURE(VIRTIO_BLK_F_MQ);
	if (blk->discard)
		bits |= FEATURE(VIRTIO_BLK_F_DISCARD);
	if (blk->write_zeroes)
		bits |= FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
	if (blk->size_max)
		bits |= FEATURE(VIRTIO_BLK_F_SIZE_MAX);
	if (blk->secure_erase)
		bits |= FEATURE(VIRTIO_BLK_F_SECURE_ERASE);
	/* Only where there is something to report (5.2.6.2). */
	if (blk->pre_eol_info || blk->lifetime_a || blk->lifetime_b)
		bits |= FEATURE(VIRTIO_BLK_F_LIFETIME);
	return bits;
}

static bool cache_at_reset(const struct virtio_blk *blk)
{
	if (blk->write_cache != TRISTATE_AUTO)
		return blk->write_cache == TRISTATE_ON;
	return block_write_cache(blk->drive);
}

/* 5.2.5.2 and 5.2.6.2: a driver that took neither FLUSH nor CONFIG_WCE relies on write-through; one
 * that took only CONFIG_WCE starts with it. */
static void blk_negotiated(struct virtio_device *vdev, uint64_t features)
{
	struct virtio_blk *blk = blk_of(vdev);

	/* 5.2.5.3: a legacy driver may have written the cache mode before. */
	if (vdev->legacy && features & FEATURE(VIRTIO_BLK_F_CONFIG_WCE))
		return;
	if (!(features & FEATURE(VIRTIO_BLK_F_FLUSH)))
		atomic_store(&blk->writeback, false);
}

static uint32_t log2_of(uint64_t value)
{
	return 63 - __builtin_clzll(value);
}

/* The usual translation for a disk of unknown geometry: 16 heads, 63 sectors. */
static void fill_geometry(const struct virtio_blk *blk, struct config *config)
{
	uint32_t heads = blk->heads ? blk->heads : 16, secs = blk->secs ? blk->secs : 63;
	uint64_t cyls = blk->cyls;

	if (!cyls) {
		cyls = config->capacity / (heads * secs);
		cyls = cyls < 2 ? 2 : cyls;
		cyls = cyls > 16383 ? 16383 : cyls;
	}
	config->cylinders = cyls;
	config->heads = heads;
	config->sectors = secs;
}

static void blk_config_read(struct virtio_device *vdev, uint8_t *out)
{
	const struct virtio_blk *blk = blk_of(vdev);
	uint32_t size = blk->logical_block_size;
	struct config config = {
		.capacity = block_size(blk->drive) / BLOCK_SECTOR,
		.size_max = blk->size_max,
		/* Header and status take a descriptor each. */
		.seg_max = blk->queue_size - 2,
		.blk_size = size,
		.physical_block_exp = log2_of(blk->physical_block_size / size),
		.min_io_size = blk->min_io_size / size,
		.opt_io_size = blk->opt_io_size / size,
		.writeback = blk->writeback,
		.num_queues = vdev->queue_count,
	};

	if (!blk->seg_max_adjust && config.seg_max > 126)
		config.seg_max = 126;
	fill_geometry(blk, &config);
	if (blk->discard) {
		config.max_discard_sectors = blk->max_discard_sectors;
		config.max_discard_seg = VIRTIO_BLK_SEGMENTS_MAX;
		config.discard_sector_alignment =
			(blk->discard_granularity == NOT_GIVEN ? size : blk->discard_granularity) /
			BLOCK_SECTOR;
	}
	if (blk->write_zeroes) {
		config.max_write_zeroes_sectors = blk->max_write_zeroes_sectors;
		config.max_write_zeroes_seg = VIRTIO_BLK_SEGMENTS_MAX;
		config.write_zeroes_may_unmap = block_can_discard(blk->drive);
	}
	if (blk->secure_erase) {
		config.max_secure_erase_sectors = blk->max_secure_erase_sectors;
		config.max_secure_erase_seg = VIRTIO_BLK_SEGMENTS_MAX;
		config.secure_erase_sector_alignment = size / BLOCK_SECTOR;
	}
	memcpy(out, &config, sizeof(config));
}

/* Only the cache mode is the driver's (5.2.5.1): 0 or 1. */
static void blk_config_write(
	struct virtio_device *vdev, unsigned offset, unsigned size, uint32_t value)
{
	struct virtio_blk *blk = blk_of(vdev);
	/* A legacy driver may write before it has accepted anything (3.1.2). */
	uint64_t features = vdev->legacy && !vdev->in_use ? blk_features(vdev) : vdev->features;

	if (offset == offsetof(struct config, writeback) && size == 1 &&
		features & FEATURE(VIRTIO_BLK_F_CONFIG_WCE))
		atomic_store(&blk->writeback, value & 1);
}

static void blk_drain(struct virtio_device *vdev, struct loop *loop, bool pause)
{
	if (pause)
		block_settle(blk_of(vdev)->drive, loop);
	else
		block_drain(blk_of(vdev)->drive, loop);
}

static void blk_reset(struct virtio_device *vdev)
{
	struct virtio_blk *blk = blk_of(vdev);

	atomic_store(&blk->writeback, cache_at_reset(blk));
}

const struct virtio_ops virtio_blk_ops = {
	.id = VIRTIO_ID_BLOCK,
	.config_size = sizeof(struct config),
	.features = blk_features,
	.negotiated = blk_negotiated,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.request = virtio_blk_request,
	.drain = blk_drain,
	.reset = blk_reset,
};

static void resized(void *opaque)
{
	virtio_config_changed(opaque);
}

static int check_block_size(const char *name, uint64_t size, struct error *err)
{
	if (size < BLOCK_SECTOR || size > BLOCK_SIZE_MAX || size & (size - 1))
		return error_set(
			err, EINVAL, "%s must be a power of two between 512 B and 2 MiB", name);
	return 0;
}

static int check_sizes(struct virtio_blk *blk, struct error *err)
{
	if (!blk->logical_block_size)
		blk->logical_block_size = BLOCK_SECTOR;
	if (!blk->physical_block_size)
		blk->physical_block_size = blk->logical_block_size;
	if (check_block_size("logical_block_size", blk->logical_block_size, err) < 0 ||
		check_block_size("physical_block_size", blk->physical_block_size, err) < 0)
		return -EINVAL;
	if (blk->logical_block_size > blk->physical_block_size)
		return error_set(err, EINVAL, "logical_block_size > physical_block_size");
	if (blk->min_io_size % blk->logical_block_size ||
		blk->min_io_size / blk->logical_block_size > UINT16_MAX)
		return error_set(err, EINVAL,
			"min_io_size must be fewer than 65536 logical blocks, and whole ones");
	if (blk->opt_io_size % blk->logical_block_size ||
		blk->opt_io_size / blk->logical_block_size > UINT32_MAX)
		return error_set(
			err, EINVAL, "opt_io_size must be a multiple of logical_block_size");
	if (blk->discard_granularity != NOT_GIVEN &&
		blk->discard_granularity % blk->logical_block_size)
		return error_set(err, EINVAL,
			"discard_granularity must be a multiple of logical_block_size");
	return 0;
}

static int check_queues(struct virtio_blk *blk, struct error *err)
{
	if (blk->num_queues == QUEUES_AUTO)
		blk->num_queues = 1;
	if (!blk->num_queues)
		return error_set(err, EINVAL, "num-queues property must be larger than 0");
	if (blk->num_queues > VIRTIO_QUEUES_MAX)
		return error_set(
			err, EINVAL, "num-queues property must be at most %u", VIRTIO_QUEUES_MAX);
	if (blk->queue_size <= 2)
		return error_set(err, EINVAL, "invalid queue-size property (%u), must be > 2",
			blk->queue_size);
	if (blk->queue_size > QUEUE_SIZE_MAX || blk->queue_size & (blk->queue_size - 1))
		return error_set(err, EINVAL,
			"invalid queue-size property (%u), must be a power of 2 (max %u)",
			blk->queue_size, QUEUE_SIZE_MAX);
	return 0;
}

/* Everything but the transport. */
static int blk_realize(struct virtio_blk *blk, struct device *dev, struct error *err)
{
	struct loop *loop = blk->iothread ? blk->iothread->loop : dev->machine->loop;
	int rc;

	if (!blk->drive)
		return error_set(err, EINVAL, "drive property not set");
	if (blk->scsi)
		return error_set(
			err, ENOTSUP, "scsi=on: virtio 1 devices have no SCSI passthrough");
	if (check_sizes(blk, err) < 0 || check_queues(blk, err) < 0)
		return -EINVAL;
	blk->user = (struct block_user){.resized = resized, .opaque = &blk->vdev};
	rc = block_attach(blk->drive, &blk->user, err);
	if (rc < 0)
		return rc;
	block_set_on_error(blk->drive, blk->werror, blk->rerror);
	blk->readonly = block_is_readonly(blk->drive);
	rc = virtio_init(&blk->vdev, dev->machine, dev->type->name, &virtio_blk_ops, &blk->conf,
		blk->num_queues, blk->queue_size, virtio_blk_request_size(), loop, err);
	if (rc < 0) {
		block_detach(blk->drive, &blk->user);
		return rc;
	}
	blk_reset(&blk->vdev);
	return 0;
}

static void blk_unrealize(struct virtio_blk *blk)
{
	virtio_destroy(&blk->vdev);
	block_detach(blk->drive, &blk->user);
}

static const char *const error_policies[] = {BLOCK_ON_ERROR_NAMES};

#define BLK_PROPERTY(text, kind, type, field, value, phrase, low, high)           \
	{                                                                         \
		text, kind, offsetof(type, field), value, phrase, NULL, low, high \
	}

#define BLK_PROPERTIES(type)                                                                       \
	BLK_PROPERTY("drive", PROPERTY_DRIVE, type, blk.drive, NULL,                               \
		"node name or id of the backend", 0, 0),                                           \
		BLK_PROPERTY("iothread", PROPERTY_IOTHREAD, type, blk.iothread, NULL,              \
			"id of the -object iothread that serves the queues", 0, 0),                \
		BLK_PROPERTY("serial", PROPERTY_STRING, type, blk.serial, NULL,                    \
			"what get-id returns, up to 20 characters", 0, 0),                         \
		BLK_PROPERTY("bootindex", PROPERTY_UINT32, type, blk.bootindex, "4294967295",      \
			"order of booting", 0, 0),                                                 \
		BLK_PROPERTY("num-queues", PROPERTY_UINT16, type, blk.num_queues, "65535",         \
			"queues; default: on PCI one a CPU, else one", 0, 0),                      \
		BLK_PROPERTY("queue-size", PROPERTY_UINT16, type, blk.queue_size, "256",           \
			"entries a queue, a power of two", 0, 0),                                  \
		BLK_PROPERTY("seg-max-adjust", PROPERTY_BOOL, type, blk.seg_max_adjust, "on",      \
			"seg_max follows the queue size", 0, 0),                                   \
		BLK_PROPERTY("logical_block_size", PROPERTY_SIZE, type, blk.logical_block_size,    \
			"0", "a power of two between 512 B and 2 MiB; 0: 512", 0, 0),              \
		BLK_PROPERTY("physical_block_size", PROPERTY_SIZE, type, blk.physical_block_size,  \
			"0", "a power of two between 512 B and 2 MiB; 0: the logical one", 0, 0),  \
		BLK_PROPERTY("min_io_size", PROPERTY_SIZE, type, blk.min_io_size, "0",             \
			"suggested least transfer", 0, 0),                                         \
		BLK_PROPERTY("opt_io_size", PROPERTY_SIZE, type, blk.opt_io_size, "0",             \
			"suggested transfer", 0, 0),                                               \
		BLK_PROPERTY(                                                                      \
			"discard", PROPERTY_BOOL, type, blk.discard, "on", "offer discard", 0, 0), \
		BLK_PROPERTY("discard_granularity", PROPERTY_SIZE, type, blk.discard_granularity,  \
			"4294967295", "default: the logical block size", 0, 0),                    \
		BLK_PROPERTY("report-discard-granularity", PROPERTY_BOOL, type,                    \
			blk.report_discard_granularity, "on", "no effect", 0, 0),                  \
		BLK_PROPERTY("max-discard-sectors", PROPERTY_UINT32, type,                         \
			blk.max_discard_sectors, "4194303", "of one segment", 1, 4194303),         \
		BLK_PROPERTY("write-zeroes", PROPERTY_BOOL, type, blk.write_zeroes, "on",          \
			"offer write zeroes", 0, 0),                                               \
		BLK_PROPERTY("max-write-zeroes-sectors", PROPERTY_UINT32, type,                    \
			blk.max_write_zeroes_sectors, "4194303", "of one segment", 1, 4194303),    \
		BLK_PROPERTY("secure-erase", PROPERTY_BOOL, type, blk.secure_erase, "off",         \
			"offer secure erase: overwritten with zeroes (not in QEMU)", 0, 0),        \
		BLK_PROPERTY("max-secure-erase-sectors", PROPERTY_UINT32, type,                    \
			blk.max_secure_erase_sectors, "131072", "of one segment", 1, 4194303),     \
		BLK_PROPERTY("pre-eol-info", PROPERTY_UINT16, type, blk.pre_eol_info, "0",         \
			"what get-lifetime says; 0: undefined (not in QEMU)", 0, 3),               \
		BLK_PROPERTY("lifetime-type-a", PROPERTY_UINT16, type, blk.lifetime_a, "0",        \
			"the same for SLC cells, in tenths used (not in QEMU)", 0, 11),            \
		BLK_PROPERTY("lifetime-type-b", PROPERTY_UINT16, type, blk.lifetime_b, "0",        \
			"the same for MLC cells (not in QEMU)", 0, 11),                            \
		BLK_PROPERTY("size-max", PROPERTY_UINT32, type, blk.size_max, "0",                 \
			"bytes of one buffer of a request; 0: no limit (not in QEMU)", 0, 0),      \
		BLK_PROPERTY("write-cache", PROPERTY_TRISTATE, type, blk.write_cache, "auto",      \
			"cache mode after reset; auto: the backend's", 0, 0),                      \
		BLK_PROPERTY("config-wce", PROPERTY_BOOL, type, blk.config_wce, "on",              \
			"the driver may switch the cache mode", 0, 0),                             \
		BLK_PROPERTY(                                                                      \
			"share-rw", PROPERTY_BOOL, type, blk.share_rw, "off", "no effect", 0, 0),  \
		BLK_PROPERTY("request-merging", PROPERTY_BOOL, type, blk.request_merging, "on",    \
			"no effect: requests are not merged", 0, 0),                               \
		BLK_PROPERTY("scsi", PROPERTY_BOOL, type, blk.scsi, "off",                         \
			"SCSI passthrough of legacy devices (only off)", 0, 0),                    \
		BLK_PROPERTY("cyls", PROPERTY_UINT32, type, blk.cyls, "0", "geometry", 0, 65535),  \
		BLK_PROPERTY("heads", PROPERTY_UINT32, type, blk.heads, "0", "geometry", 0, 255),  \
		BLK_PROPERTY("secs", PROPERTY_UINT32, type, blk.secs, "0", "geometry", 0, 255),    \
		{"werror", PROPERTY_ENUM, offsetof(type, blk.werror), "auto",                      \
			"on a write error: report, ignore, enospc, stop", error_policies, 0, 0},   \
		{"rerror", PROPERTY_ENUM, offsetof(type, blk.rerror), "auto",                      \
			"on a read error: report, ignore, enospc, stop", error_policies, 0, 0},    \
		VIRTIO_PROPERTIES(type, blk.conf)

/* --- saved state --- */

static const struct state_field blk_fields[] = {
	STATE_PART(struct virtio_blk, vdev, virtio_state_table),
	STATE_BOOL(struct virtio_blk, writeback),
	STATE_END,
};

static const struct state_table blk_state = {
	.name = "virtio-blk", .version = 1, .fields = blk_fields};

/* --- virtio-blk-pci --- */

struct virtio_blk_pci {
	struct virtio_pci transport; /* first */
	struct virtio_blk blk;
};

static int pci_realize(struct device *dev, struct error *err)
{
	struct virtio_blk_pci *p = (struct virtio_blk_pci *)dev;
	int rc = virtio_pci_check(&p->transport, err);

	if (rc < 0)
		return rc;
	/* A queue for each processor, each with a vector of its own beside the configuration's. */
	if (p->blk.num_queues == QUEUES_AUTO && dev->machine->cpus)
		p->blk.num_queues = dev->machine->cpus < VIRTIO_QUEUES_MAX ? dev->machine->cpus
									   : VIRTIO_QUEUES_MAX;
	rc = blk_realize(&p->blk, dev, err);
	if (rc < 0)
		return rc;
	rc = virtio_pci_realize(&p->transport, &p->blk.vdev, CLASS_SCSI_STORAGE, err);
	if (rc < 0) {
		virtio_pci_unrealize(&p->transport);
		blk_unrealize(&p->blk);
	}
	return rc;
}

static void pci_unrealize(struct device *dev)
{
	struct virtio_blk_pci *p = (struct virtio_blk_pci *)dev;

	blk_unrealize(&p->blk);
	virtio_pci_unrealize(&p->transport);
}

static void pci_reset(struct device *dev)
{
	virtio_pci_reset(&((struct virtio_blk_pci *)dev)->transport);
}

static const struct property blk_pci_properties[] = {
	BLK_PROPERTIES(struct virtio_blk_pci),
	VIRTIO_PCI_PROPERTIES(struct virtio_blk_pci, transport),
	VIRTIO_PCI_DISABLE_LEGACY(struct virtio_blk_pci, transport, "auto"),
	PROPERTY_END,
};

static const struct property blk_pci_non_transitional_properties[] = {
	BLK_PROPERTIES(struct virtio_blk_pci),
	VIRTIO_PCI_PROPERTIES(struct virtio_blk_pci, transport),
	VIRTIO_PCI_DISABLE_LEGACY(struct virtio_blk_pci, transport, "on"),
	PROPERTY_END,
};

static const struct property blk_pci_transitional_properties[] = {
	BLK_PROPERTIES(struct virtio_blk_pci),
	VIRTIO_PCI_PROPERTIES(struct virtio_blk_pci, transport),
	VIRTIO_PCI_DISABLE_LEGACY(struct virtio_blk_pci, transport, "off"),
	PROPERTY_END,
};

static const struct state_field blk_pci_fields[] = {
	STATE_PART(struct virtio_blk_pci, transport, virtio_pci_state_table),
	STATE_PART(struct virtio_blk_pci, blk, blk_state),
	STATE_END,
};

static const struct state_table blk_pci_state = {
	.name = "virtio-blk-pci", .version = 1, .fields = blk_pci_fields};

#define BLK_PCI_TYPE(text, table)                                                                  \
	{                                                                                          \
		.name = text, .bus = "PCI", .description = "virtio block device",                  \
		.category = "Storage", .properties = table, .more_properties = pci_properties,     \
		.size = sizeof(struct virtio_blk_pci), .realize = pci_realize, .reset = pci_reset, \
		.unrealize = pci_unrealize, .bases = blk_pci_bases, .state = &blk_pci_state,       \
	}

static const char *const blk_pci_bases[] = {
	"virtio-pci", "virtio-blk-device", "virtio-device", NULL};

const struct device_type virtio_blk_pci_type = BLK_PCI_TYPE("virtio-blk-pci", blk_pci_properties);
const struct device_type virtio_blk_pci_non_transitional_type =
	BLK_PCI_TYPE("virtio-blk-pci-non-transitional", blk_pci_non_transitional_properties);
const struct device_type virtio_blk_pci_transitional_type =
	BLK_PCI_TYPE("virtio-blk-pci-transitional", blk_pci_transitional_properties);

/* --- virtio-blk-device --- */

struct virtio_blk_device {
	struct device dev; /* first */
	struct virtio_blk blk;
};

static int mmio_realize(struct device *dev, struct error *err)
{
	struct virtio_blk_device *p = (struct virtio_blk_device *)dev;
	int rc = blk_realize(&p->blk, dev, err);

	if (rc < 0)
		return rc;
	rc = virtio_mmio_attach(dev, &p->blk.vdev, err);
	if (rc < 0)
		blk_unrealize(&p->blk);
	return rc;
}

static void mmio_unrealize(struct device *dev)
{
	virtio_mmio_detach(dev);
	blk_unrealize(&((struct virtio_blk_device *)dev)->blk);
}

static void mmio_reset(struct device *dev)
{
	virtio_reset(&((struct virtio_blk_device *)dev)->blk.vdev);
}

static const struct property blk_device_properties[] = {
	BLK_PROPERTIES(struct virtio_blk_device),
	PROPERTY_END,
};

static const char *const blk_device_bases[] = {"virtio-device", NULL};

static const struct state_field blk_device_fields[] = {
	STATE_PART(struct virtio_blk_device, blk, blk_state),
	STATE_END,
};

static const struct state_table blk_device_state = {
	.name = "virtio-blk-device", .version = 1, .fields = blk_device_fields};

const struct device_type virtio_blk_device_type = {
	.name = "virtio-blk-device",
	.bus = "virtio-bus",
	.description = "virtio block device",
	.category = "Storage",
	.properties = blk_device_properties,
	.size = sizeof(struct virtio_blk_device),
	.bases = blk_device_bases,
	.realize = mmio_realize,
	.reset = mmio_reset,
	.state = &blk_device_state,
	.unrealize = mmio_unrealize,
};
