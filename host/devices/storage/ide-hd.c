/* SPDX-License-Identifier: MIT */
/*
 * ide-hd: an ATA disk on the bus "IDE", with QEMU's properties.  Geometry is the standard one of
 * ATA/ATAPI-6 (16 heads, 63 sectors, 16383 cylinders at most) unless it is given.
 */
#include "devices/devices.h"
#include "devices/storage/ide.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define HEADS_DEFAULT	  16
#define TRACK_DEFAULT	  63
#define CYLINDERS_DEFAULT 16383

struct ide_hd {
	struct ide_device ide;
	struct block_backend *blk;
	char *serial, *model, *version;
	uint64_t wwn, discard_granularity;
	uint32_t cylinders, heads, track;
	uint16_t logical_block_size, physical_block_size, rotation_rate;
	uint32_t bootindex; /* for firmware */
	enum tristate write_cache;
	int werror, rerror;
	char default_serial[16];
};

static struct ide_hd *from_device(struct device *dev)
{
	return container_of(dev, struct ide_hd, ide.dev);
}

static void set_size(struct ide_hd *hd)
{
	struct ide_drive *drive = &hd->ide.drive;
	uint64_t cylinders;

	drive->sectors = block_size(hd->blk) / IDE_SECTOR;
	drive->heads = hd->heads ? hd->heads : HEADS_DEFAULT;
	drive->track = hd->track ? hd->track : TRACK_DEFAULT;
	cylinders = drive->sectors / (drive->heads * drive->track);
	if (cylinders > CYLINDERS_DEFAULT)
		cylinders = CYLINDERS_DEFAULT;
	if (cylinders == 0)
		cylinders = 1;
	drive->cylinders = hd->cylinders ? hd->cylinders : cylinders;
}

/* The guest learns of it from its next IDENTIFY DEVICE. */
static void resized(void *opaque)
{
	set_size(opaque);
}

static int check(struct ide_hd *hd, struct error *err)
{
	uint32_t block = hd->physical_block_size;

	if (!hd->blk)
		return error_set(err, EINVAL, "No drive specified");
	if (hd->logical_block_size != IDE_SECTOR)
		return error_set(err, EINVAL, "logical_block_size must be 512 for IDE");
	if (block < IDE_SECTOR || (block & (block - 1)))
		return error_set(err, EINVAL,
			"physical_block_size must be a power of 2 that is at least 512");
	if (block_is_readonly(hd->blk))
		return error_set(err, EINVAL, "Block node is read-only");
	if (block_size(hd->blk) < IDE_SECTOR)
		return error_set(err, EINVAL, "Device needs media, but drive is empty");
	return 0;
}

static void set_identity(struct ide_hd *hd)
{
	struct ide_drive *drive = &hd->ide.drive;

	snprintf(hd->default_serial, sizeof(hd->default_serial), "AS%05u",
		drive->channel->number * 2 + drive->unit + 1);
	drive->serial = hd->serial ? hd->serial : block_serial(hd->blk);
	if (!drive->serial)
		drive->serial = hd->default_serial;
	drive->model = hd->model ? hd->model : "ASSAY HARDDISK";
	drive->version = hd->version ? hd->version : "1.0";
	drive->wwn = hd->wwn;
	drive->rotation_rate = hd->rotation_rate;
	drive->can_trim = hd->discard_granularity != 0;
	for (uint32_t n = hd->physical_block_size; n > IDE_SECTOR; n /= 2)
		drive->physical_exponent++;
	drive->write_cache_default = hd->write_cache == TRISTATE_AUTO
					     ? block_write_cache(hd->blk)
					     : hd->write_cache == TRISTATE_ON;
}

static int ide_hd_realize(struct device *dev, struct error *err)
{
	struct ide_hd *hd = from_device(dev);
	struct ide_drive *drive = &hd->ide.drive;
	int rc = check(hd, err);

	if (rc < 0)
		return rc;
	drive->user = (struct block_user){.resized = resized, .opaque = hd};
	rc = block_attach(hd->blk, &drive->user, err);
	if (rc < 0)
		return rc;
	drive->buffer = calloc(IDE_BUFFER_SECTORS, IDE_SECTOR);
	if (!drive->buffer) {
		block_detach(hd->blk, &drive->user);
		return error_set(err, ENOMEM, "out of memory");
	}
	block_set_on_error(hd->blk, hd->werror, hd->rerror);
	drive->blk = hd->blk;
	set_size(hd);
	set_identity(hd);
	ide_drive_init(drive);
	return 0;
}

static void ide_hd_unrealize(struct device *dev)
{
	struct ide_drive *drive = &from_device(dev)->ide.drive;

	ide_abandon(drive);
	block_detach(drive->blk, &drive->user);
	free(drive->buffer);
	drive->buffer = NULL;
}

static const char *const error_policies[] = {BLOCK_ON_ERROR_NAMES};

/* clang-format off */
#define FIELD(member) offsetof(struct ide_hd, member)
static const struct property properties[] = {
	{"drive", PROPERTY_DRIVE, FIELD(blk), .help = "drive or node that holds the data"},
	{"unit", PROPERTY_UINT32, FIELD(ide.unit), .initial = "4294967295", .help = "0 or 1; next free"},
	{"serial", PROPERTY_STRING, FIELD(serial), .help = "serial number, 20 characters"},
	{"model", PROPERTY_STRING, FIELD(model), .help = "model number, 40 characters"},
	{"ver", PROPERTY_STRING, FIELD(version), .help = "firmware revision, 8 characters"},
	{"wwn", PROPERTY_UINT64, FIELD(wwn), .help = "world wide name"},
	{"cyls", PROPERTY_UINT32, FIELD(cylinders), .max = 65535, .help = "cylinders"},
	{"heads", PROPERTY_UINT32, FIELD(heads), .max = 16, .help = "heads"},
	{"secs", PROPERTY_UINT32, FIELD(track), .max = 255, .help = "sectors a track"},
	{"logical_block_size", PROPERTY_UINT16, FIELD(logical_block_size), .initial = "512",
		.help = "only 512"},
	{"physical_block_size", PROPERTY_UINT16, FIELD(physical_block_size), .initial = "512",
		.help = "what IDENTIFY DEVICE reports"},
	{"discard_granularity", PROPERTY_SIZE, FIELD(discard_granularity), .initial = "512",
		.help = "0: no TRIM"},
	{"rotation_rate", PROPERTY_UINT16, FIELD(rotation_rate), .help = "1: not rotating; else rpm"},
	{"write-cache", PROPERTY_TRISTATE, FIELD(write_cache), .initial = "auto",
		.help = "at reset; auto: as the drive's cache="},
	{"bootindex", PROPERTY_UINT32, FIELD(bootindex), .initial = "4294967295",
		.help = "order of boot devices"},
	{"werror", PROPERTY_ENUM, FIELD(werror), .initial = "auto", .names = error_policies,
		.help = "on a write error: report, ignore, enospc, stop"},
	{"rerror", PROPERTY_ENUM, FIELD(rerror), .initial = "auto", .names = error_policies,
		.help = "on a read error: report, ignore, enospc, stop"},
	PROPERTY_END,
};
/* clang-format on */

static const struct state_field state_fields[] = {
	STATE_PART(struct ide_hd, ide.drive, ide_drive_table),
	STATE_END,
};

static const struct state_table state = {.name = "ide-hd", .version = 1, .fields = state_fields};

const struct device_type ide_hd_type = {
	.name = "ide-hd",
	.bus = "IDE",
	.description = "virtual IDE disk",
	.category = "Storage",
	.properties = properties,
	.size = sizeof(struct ide_hd),
	.realize = ide_hd_realize,
	.unrealize = ide_hd_unrealize,
	.state = &state,
};
