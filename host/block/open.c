/* SPDX-License-Identifier: MIT */
/*
 * From options to a backend: -drive's keys and -blockdev's, with QEMU's names, defaults and
 * sentences.  Raw is the only format.  Without format= the first bytes are looked at, and an image
 * of a known other format is refused rather than handed to the guest as if it were raw.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/internal.h"

#define NULL_CO_SIZE (1ull << 30)

struct config {
	struct keyvals *kv;
	struct file_config file;
	const char *id, *serial;
	bool probe, snapshot, write_cache, no_flush;
	bool is_node;
	int on_read_error, on_write_error; /* 0: not given */
	int discard, detect_zeroes, aio;
};

struct choice {
	const char *name;
	int value;
};

/* A key of this level or of the protocol below ("file.aio"); taken. */
static const char *take(struct keyvals *kv, const char *key)
{
	char below[64];
	const char *here = keyvals_take(kv, key), *there;

	snprintf(below, sizeof(below), "file.%s", key);
	there = keyvals_take(kv, below);
	return here ? here : there;
}

static int take_bool(struct keyvals *kv, const char *key, bool *out, struct error *err)
{
	const char *value = take(kv, key);

	return value ? parse_bool(key, value, out, err) : 0;
}

/* `sentence` has one %s for the value. */
static int take_choice(struct keyvals *kv, const char *key, const struct choice *choices, int *out,
	const char *sentence, struct error *err)
{
	const char *value = take(kv, key);
	char text[160];

	if (!value)
		return 0;
	for (; choices->name; choices++) {
		if (!strcmp(choices->name, value)) {
			*out = choices->value;
			return 0;
		}
	}
	snprintf(text, sizeof(text), "%s", value);
	if (!strstr(sentence, "%s"))
		return error_set(err, EINVAL, "%s", sentence);
	return error_set(err, EINVAL, "'%s'%s", text, strstr(sentence, "%s") + 2);
}

static const struct choice aio_names[] = {
	{"threads", AIO_THREADS}, {"native", AIO_NATIVE}, {"io_uring", AIO_URING}, {NULL, 0}};
static const struct choice discard_names[] = {{"ignore", DISCARD_IGNORE}, {"off", DISCARD_IGNORE},
	{"unmap", DISCARD_UNMAP}, {"on", DISCARD_UNMAP}, {NULL, 0}};
static const struct choice detect_names[] = {
	{"off", DETECT_OFF}, {"on", DETECT_ON}, {"unmap", DETECT_UNMAP}, {NULL, 0}};
static const struct choice lock_names[] = {
	{"auto", LOCK_AUTO}, {"on", LOCK_ON}, {"off", LOCK_OFF}, {NULL, 0}};

static const struct choice action_names[] = {{"report", ON_ERROR_REPORT},
	{"ignore", ON_ERROR_IGNORE}, {"enospc", ON_ERROR_ENOSPC}, {"stop", ON_ERROR_STOP},
	{NULL, 0}};

/* cache=MODE is three switches. */
static const struct {
	const char *name;
	bool direct, write_cache, no_flush;
} cache_modes[] = {
	{"none", true, true, false},
	{"off", true, true, false},
	{"directsync", true, false, false},
	{"writeback", false, true, false},
	{"unsafe", false, true, true},
	{"writethrough", false, false, false},
};

static int take_cache(struct config *config, struct error *err)
{
	const char *mode = keyvals_take(config->kv, "cache");
	size_t i, count = sizeof(cache_modes) / sizeof(cache_modes[0]);
	int rc;

	config->write_cache = true;
	for (i = 0; mode && i < count && strcmp(cache_modes[i].name, mode); i++)
		;
	if (mode && i == count)
		return error_set(err, EINVAL, "invalid cache option");
	if (mode) {
		config->file.direct = cache_modes[i].direct;
		config->write_cache = cache_modes[i].write_cache;
		config->no_flush = cache_modes[i].no_flush;
	}
	rc = take_bool(config->kv, "cache.direct", &config->file.direct, err);
	if (!rc)
		rc = take_bool(config->kv, "cache.no-flush", &config->no_flush, err);
	return rc ? rc : take_bool(config->kv, "cache.writeback", &config->write_cache, err);
}

static int take_error_actions(struct config *config, struct error *err)
{
	int rc;

	rc = take_choice(config->kv, "werror", action_names, &config->on_write_error,
		"%s invalid write error action", err);
	if (!rc)
		rc = take_choice(config->kv, "rerror", action_names, &config->on_read_error,
			"%s invalid read error action", err);
	if (!rc && config->on_read_error == ON_ERROR_ENOSPC)
		return error_set(err, EINVAL, "'enospc' invalid read error action");
	return rc;
}

/* What both options share. */
static int take_common(struct config *config, struct error *err)
{
	int locking = LOCK_AUTO;
	int rc = take_bool(config->kv, "read-only", &config->file.readonly, err);

	if (!rc)
		rc = take_bool(config->kv, "auto-read-only", &config->file.auto_readonly, err);
	if (!rc)
		rc = take_choice(
			config->kv, "aio", aio_names, &config->aio, "invalid aio option", err);
	if (!rc)
		rc = take_choice(config->kv, "discard", discard_names, &config->discard,
			"Invalid discard option", err);
	if (!rc)
		rc = take_choice(config->kv, "detect-zeroes", detect_names, &config->detect_zeroes,
			"Parameter 'detect-zeroes' does not accept this value", err);
	if (!rc)
		rc = take_choice(config->kv, "locking", lock_names, &locking,
			"Parameter 'locking' does not accept this value", err);
	if (!rc)
		rc = take_cache(config, err);
	if (rc)
		return rc;
	config->file.locking = locking;
	if (config->detect_zeroes == DETECT_UNMAP && config->discard != DISCARD_UNMAP)
		return error_set(err, EINVAL,
			"setting detect-zeroes to unmap is not allowed "
			"without setting discard operation to unmap");
	if (config->aio == AIO_NATIVE && !config->file.direct)
		return error_set(err, EINVAL,
			"aio=native was specified, but it requires "
			"cache.direct=on, which was not specified.");
	return 0;
}

/* "file:NAME" is NAME; another word before a colon (and before any slash) is a protocol. */
static int take_protocol(struct config *config, const char *name, struct error *err)
{
	size_t word = strcspn(name, ":/");

	if (name[word] == ':' && !strncmp(name, "file:", 5))
		name += 5;
	else if (name[word] == ':')
		return error_set(err, EINVAL, "Unknown protocol '%.*s'", (int)word, name);
	config->file.path = name;
	return 0;
}

static int check_format(struct config *config, const char *format, struct error *err)
{
	static const char *const known[] = {"qcow2", "qcow", "vmdk", "vdi", "vpc", "vhdx", "qed",
		"luks", "parallels", "dmg", "bochs", "cloop", "vvfat"};

	if (!format) {
		config->probe = true;
		return 0;
	}
	if (!strcmp(format, "raw"))
		return 0;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i], format))
			return error_set(
				err, ENOTSUP, "format '%s' is not supported, only raw is", format);
	return error_set(err, EINVAL, "Unknown driver '%s'", format);
}

static struct block_backend *backend_new(const struct config *config, struct error *err)
{
	struct block_backend *blk = calloc(1, sizeof(*blk));

	if (blk) {
		list_init(&blk->link);
		pthread_mutex_init(&blk->lanes_lock, NULL);
		blk->id = strdup(config->id);
		blk->serial = config->serial ? strdup(config->serial) : NULL;
		blk->readonly = config->file.readonly;
		blk->write_cache = config->write_cache;
		blk->no_flush = config->no_flush;
		blk->is_node = config->is_node;
		blk->on_read_error =
			config->on_read_error ? config->on_read_error : ON_ERROR_REPORT;
		blk->on_write_error =
			config->on_write_error ? config->on_write_error : ON_ERROR_ENOSPC;
		blk->discard = config->discard;
		blk->detect_zeroes = config->detect_zeroes;
		blk->aio = config->aio;
	}
	if (!blk || !blk->id || (config->serial && !blk->serial)) {
		if (blk)
			block_close(blk);
		error_set(err, ENOMEM, "drive: out of memory");
		return NULL;
	}
	return blk;
}

/* Sets the size from the file, and puts the overlay on top where one is wanted. */
static int set_up_file(struct block_backend *blk, const struct config *config, struct error *err)
{
	const char *format = config->probe ? file_probe_format(blk->file) : NULL;
	int64_t size = file_size(blk->file);

	if (size < 0)
		return error_set_errno(err, -size, "Could not get size of '%s'", blk->file->path);
	if (format)
		return error_set(err, ENOTSUP,
			"'%s' is a %s image, which is not supported (format=raw forces raw)",
			blk->file->path, format);
	/* As QEMU does: a last sector that is not whole reads as zeroes behind the file's end. */
	blk->size = ((uint64_t)size + BLOCK_SECTOR - 1) & ~(BLOCK_SECTOR - 1ull);
	if (blk->file->readonly && !config->snapshot)
		blk->readonly = true;
	if (config->snapshot) {
		blk->overlay = overlay_create(blk->file, blk->size, err);
		if (!blk->overlay)
			return -ENOMEM;
	}
	return 0;
}

static struct block_backend *open_file(struct config *config, struct error *err)
{
	struct file_config file = config->file;
	struct block_backend *blk = backend_new(config, err);

	if (!blk)
		return NULL;
	if (config->snapshot)
		file.readonly = true;
	blk->file = file_open(&file, err);
	if (!blk->file || set_up_file(blk, config, err)) {
		block_close(blk);
		return NULL;
	}
	block_register(blk);
	return blk;
}

static int check_id(const char *id, const char *sentence, struct error *err)
{
	return block_find(id) ? error_set(err, EEXIST, sentence, id) : 0;
}

static int read_drive(
	struct config *config, bool snapshot_all, char *spare_id, size_t room, struct error *err)
{
	struct keyvals *kv = config->kv;
	const char *format = keyvals_take(kv, "format"), *driver = keyvals_take(kv, "driver");
	const char *file = keyvals_take(kv, "file"), *filename = take(kv, "filename");
	const char *readonly = keyvals_take(kv, "readonly");
	unsigned number = 0;
	int rc;

	config->id = keyvals_take(kv, "id");
	config->serial = keyvals_take(kv, "serial");
	config->file.auto_readonly = true;
	config->snapshot = snapshot_all;
	if (format && driver)
		return error_set(err, EINVAL, "Cannot specify both 'driver' and 'format'");
	do
		snprintf(spare_id, room, "drive%u", number++);
	while (!config->id && block_find(spare_id));
	if (!config->id)
		config->id = spare_id;
	else if ((rc = check_id(config->id, "Duplicate ID '%s' for drive", err)))
		return rc;
	rc = check_format(config, format ? format : driver, err);
	if (!rc && readonly)
		rc = parse_bool("readonly", readonly, &config->file.readonly, err);
	if (!rc)
		rc = take_bool(kv, "snapshot", &config->snapshot, err);
	if (!rc)
		rc = take_common(config, err);
	if (!rc)
		rc = take_error_actions(config, err);
	if (!rc && (file || filename))
		rc = take_protocol(config, file ? file : filename, err);
	return rc;
}

struct block_backend *block_open_drive(struct keyvals *kv, bool snapshot_all, struct error *err)
{
	struct config config = {.kv = kv};
	struct block_backend *blk = NULL;
	char spare_id[24];
	int rc = read_drive(&config, snapshot_all, spare_id, sizeof(spare_id), err);

	if (rc)
		return NULL;
	if (config.file.path && *config.file.path)
		return open_file(&config, err);
	blk = backend_new(&config, err); /* a drive without a medium */
	if (blk)
		block_register(blk);
	return blk;
}

/* -blockdev */

static struct block_backend *open_null(struct config *config, struct error *err)
{
	const char *size_text = take(config->kv, "size");
	uint64_t size = NULL_CO_SIZE;
	bool zeroes = false;
	struct block_backend *blk;

	if ((size_text && parse_size("size", size_text, 1, &size, err)) ||
		take_bool(config->kv, "read-zeroes", &zeroes, err))
		return NULL;
	blk = backend_new(config, err);
	if (!blk)
		return NULL;
	blk->null_driver = true;
	blk->null_read_zeroes = zeroes;
	blk->size = size & ~(BLOCK_SECTOR - 1ull);
	block_register(blk);
	return blk;
}

/* driver=raw,file=NODE: the same file under another name; the node below then has a user. */
static struct block_backend *open_reference(
	struct config *config, const char *node, struct error *err)
{
	struct block_backend *child = block_find(node), *blk;

	if (!child) {
		error_set(err, EINVAL, "Cannot find device='%s' nor node-name='%s'", node, node);
		return NULL;
	}
	if (child->user || child->parents) {
		error_set(err, EBUSY, "Node '%s' is busy", node);
		return NULL;
	}
	if (child->file && child->file->readonly && !config->file.readonly &&
		!config->file.auto_readonly) {
		error_set(err, EACCES, "Block node is read-only");
		return NULL;
	}
	blk = backend_new(config, err);
	if (!blk)
		return NULL;
	blk->child = child;
	blk->file = child->file;
	child->parents++;
	blk->null_driver = child->null_driver;
	blk->null_read_zeroes = child->null_read_zeroes;
	blk->readonly |= child->readonly;
	blk->size = block_size(child);
	blk->aio = config->aio != AIO_DEFAULT ? (enum block_aio)config->aio : child->aio;
	blk->no_flush |= child->no_flush;
	if (child->discard == DISCARD_IGNORE)
		blk->discard = DISCARD_IGNORE;
	block_register(blk);
	return blk;
}

static const char *const drivers[] = {"raw", "file", "host_device", "null-co", "null-aio"};
enum { DRIVER_RAW, DRIVER_FILE, DRIVER_HOST_DEVICE, DRIVER_NULL_CO, DRIVER_NULL_AIO, DRIVER_COUNT };

static int find_driver(const char *name, struct error *err)
{
	struct config unused = {0};
	int i;

	for (i = 0; i < DRIVER_COUNT && strcmp(drivers[i], name); i++)
		;
	if (i < DRIVER_COUNT)
		return i;
	return check_format(&unused, name, err);
}

static int read_node(struct config *config, struct error *err)
{
	const char *name;
	int rc;

	config->id = keyvals_take(config->kv, "node-name");
	config->detect_zeroes = DETECT_OFF;
	config->is_node = true;
	if (!config->id)
		return error_set(err, EINVAL, "'node-name' must be specified for the root node");
	rc = check_id(config->id, "Duplicate nodes with node-name='%s'", err);
	if (!rc)
		rc = take_common(config, err);
	/* The names of the levels below, where they stand in line. */
	name = keyvals_take(config->kv, "file.node-name");
	if (!rc && name)
		rc = check_id(name, "Duplicate nodes with node-name='%s'", err);
	return rc;
}

struct block_backend *block_open_node(struct keyvals *kv, struct error *err)
{
	const char *driver = keyvals_take(kv, "driver");
	struct config config = {.kv = kv};
	const char *below, *reference, *filename;
	int kind;

	if (!driver) {
		error_set(err, EINVAL, "Parameter 'driver' is missing");
		return NULL;
	}
	kind = find_driver(driver, err);
	if (kind < 0 || read_node(&config, err))
		return NULL;
	if (kind == DRIVER_RAW) {
		reference = keyvals_take(kv, "file");
		if (reference)
			return open_reference(&config, reference, err);
		below = keyvals_take(kv, "file.driver");
		if (!below) {
			error_set(err, EINVAL, "Parameter 'file' is missing");
			return NULL;
		}
		kind = find_driver(below, err);
		if (kind < 0)
			return NULL;
		if (kind == DRIVER_RAW) {
			error_set(err, ENOTSUP, "raw over raw is not supported");
			return NULL;
		}
	}
	if (kind >= DRIVER_NULL_CO)
		return open_null(&config, err);
	filename = take(kv, "filename");
	if (!filename) {
		error_set(err, EINVAL, "Parameter 'filename' is missing");
		return NULL;
	}
	config.file.path = filename;
	config.file.want_device = kind == DRIVER_HOST_DEVICE;
	config.file.want_regular = kind == DRIVER_FILE;
	return open_file(&config, err);
}
