/* SPDX-License-Identifier: MIT */
/* QEMU's -drive: where a disk goes when if=, bus=, unit= and index= say so, or say nothing. */
#include "board/drive.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block/block.h"
#include "board/board.h"

#define IDE_UNITS 2 /* a bus */
#define IDE_DISKS 4

/* What a drive asks of the board. */
struct place {
	const char *interface, *media;
	int bus, unit; /* -1: the next free one */
};

struct places {
	bool ide[IDE_DISKS];
	unsigned virtio, none;
};

static int take_number(struct keyvals *kv, const char *key, int *out, struct error *err)
{
	const char *text = keyvals_take(kv, key);
	uint64_t number = 0;
	int rc;

	*out = -1;
	if (!text)
		return 0;
	rc = parse_uint(key, text, 1000, &number, err);
	if (rc == 0)
		*out = number;
	return rc;
}

static int take_place(
	struct keyvals *kv, const char *default_interface, struct place *place, struct error *err)
{
	int index = -1, rc;

	place->interface = keyvals_take(kv, "if");
	place->media = keyvals_take(kv, "media");
	if (!place->interface)
		place->interface = default_interface;
	rc = take_number(kv, "bus", &place->bus, err);
	if (rc == 0)
		rc = take_number(kv, "unit", &place->unit, err);
	if (rc == 0)
		rc = take_number(kv, "index", &index, err);
	if (rc < 0)
		return rc;
	if (index >= 0 && (place->bus >= 0 || place->unit >= 0))
		return error_set(err, EINVAL, "index cannot be used with bus and unit");
	if (index >= 0) {
		place->bus = index / IDE_UNITS;
		place->unit = index % IDE_UNITS;
	}
	if (place->media && strcmp(place->media, "disk") != 0)
		return error_set(
			err, ENOTSUP, "media=%s is not supported: only media=disk", place->media);
	return 0;
}

static int choose_ide(struct place *place, struct places *taken, struct error *err)
{
	for (int i = 0; i < IDE_DISKS; i++) {
		if (place->bus >= 0 && place->bus != i / IDE_UNITS)
			continue;
		if (place->unit >= 0 && place->unit != i % IDE_UNITS)
			continue;
		if (place->unit < 0 && taken->ide[i])
			continue;
		if (taken->ide[i])
			return error_set(err, EBUSY, "drive with bus=%d, unit=%d (index=%d) exists",
				i / IDE_UNITS, i % IDE_UNITS, i);
		place->bus = i / IDE_UNITS;
		place->unit = i % IDE_UNITS;
		taken->ide[i] = true;
		return 0;
	}
	return error_set(err, EINVAL, "no such IDE place: there are bus 0 and 1 with unit 0 and 1");
}

static int choose(struct place *place, struct places *taken, char id[32], struct error *err)
{
	int rc = 0;

	if (strcmp(place->interface, "ide") == 0) {
		rc = choose_ide(place, taken, err);
		snprintf(id, 32, "ide%d-hd%d", place->bus, place->unit);
	} else if (strcmp(place->interface, "virtio") == 0) {
		snprintf(id, 32, "virtio%u", taken->virtio++);
	} else if (strcmp(place->interface, "none") == 0) {
		snprintf(id, 32, "none%u", taken->none++);
	} else {
		rc = error_set(err, EINVAL,
			"unsupported bus type '%s': ide, virtio and none are there",
			place->interface);
	}
	return rc;
}

static int make_device(struct machine *machine, const struct place *place, const char *id,
	const char *virtio_type, struct error *err)
{
	bool is_ide = strcmp(place->interface, "ide") == 0;
	const char *name = is_ide ? "ide-hd" : virtio_type;
	const struct device_type *type = device_type_find(name);
	struct keyvals *kv;
	struct device *dev;
	char text[16];

	if (strcmp(place->interface, "none") == 0)
		return 0;
	if (!type)
		return error_set(err, ENODEV, "there is no device '%s'", name);
	kv = keyvals_new("-drive");
	if (!kv)
		return error_set(err, ENOMEM, "out of memory");
	keyvals_set(kv, "drive", id);
	if (is_ide) {
		snprintf(text, sizeof(text), "ide.%d", place->bus);
		keyvals_set(kv, "bus", text);
		snprintf(text, sizeof(text), "%d", place->unit);
		keyvals_set(kv, "unit", text);
	}
	dev = device_create(machine, type, NULL, kv, err);
	keyvals_free(kv);
	return dev ? 0 : -EINVAL;
}

static int create_one(struct machine *machine, struct keyvals *kv, struct board_config *config,
	const char *default_interface, struct places *taken, struct error *err)
{
	const char *virtio_type =
		strcmp(default_interface, "ide") == 0 ? "virtio-blk-pci" : "virtio-blk-device";
	struct place place = {0};
	const char *left;
	char id[32];
	int rc = take_place(kv, default_interface, &place, err);

	if (rc == 0)
		rc = choose(&place, taken, id, err);
	if (rc < 0)
		return rc;
	if (!keyvals_get(kv, "id"))
		keyvals_set(kv, "id", id);
	snprintf(id, sizeof(id), "%s", keyvals_get(kv, "id"));
	if (!block_open_drive(kv, config->snapshot, err))
		return -EINVAL;
	left = keyvals_left(kv);
	if (left)
		return error_set(
			err, EINVAL, "Block format 'raw' does not support the option '%s'", left);
	return make_device(machine, &place, id, virtio_type, err);
}

int drives_create(struct machine *machine, struct board_config *config,
	const char *default_interface, struct error *err)
{
	struct places taken = {0};
	struct list *pos;

	list_for_each (pos, &config->drives) {
		struct keyvals *kv = container_of(pos, struct keyvals, link);
		int rc = create_one(machine, kv, config, default_interface, &taken, err);

		if (rc < 0)
			return error_prefix(err, rc, "%s: ", kv->origin);
	}
	return 0;
}
