/* SPDX-License-Identifier: MIT */
/*
 * fw_cfg (QEMU's docs/specs/fw_cfg.rst): numbered blobs and a directory of named ones, read byte by
 * byte at ports 0x510 and 0x511, or by DMA through 0x514.  Items are read-only for the guest.
 *
 * Left out: writable items, and the memory-mapped form other machines use.
 */
#include "devices/chipset/fw-cfg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "devices/devices.h"
#include "machine/machine.h"

#define FW_CFG_BASE 0x510
#define DMA_BASE    0x514

#define KEY_MASK   0x3fff /* without the write channel (0x4000) and the arch bit (0x8000) */
#define KEY_ARCH   0x8000
#define ITEMS	   0x60 /* 0x20 fixed keys, 0x40 files */
#define FILES_MAX  (ITEMS - FW_CFG_FILE_FIRST)
#define ARCH_ITEMS 8

#define ID_TRADITIONAL 1
#define ID_DMA	       2

#define DMA_ERROR  0x01u
#define DMA_READ   0x02u
#define DMA_SKIP   0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE  0x10u
#define DMA_CHUNK  4096u
static const uint8_t dma_signature[8] = "QEMU CFG";

struct item {
	uint8_t *data;
	uint32_t length;
	bool in_file;
	int fd; /* in_file: where the bytes are */
};

struct directory_entry {
	uint8_t size[4], select[2], reserved[2]; /* big-endian */
	char name[FW_CFG_NAME_MAX + 1];
};

struct fw_cfg {
	struct device dev;
	struct region region, dma_region;
	struct item items[ITEMS], arch_items[ARCH_ITEMS];
	char names[FILES_MAX][FW_CFG_NAME_MAX + 1];
	unsigned file_count;
	uint16_t key;
	uint32_t position;
	uint64_t dma_address; /* its high half, until the low half is written */
};

static struct fw_cfg *from_device(struct device *dev)
{
	return container_of(dev, struct fw_cfg, dev);
}

static void put_be(uint8_t *to, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = value >> (size - 1 - i) * 8;
}

static uint64_t get_be(const uint8_t *from, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value = value << 8 | from[i];
	return value;
}

static struct item *find_item(struct fw_cfg *cfg, uint16_t key)
{
	unsigned index = key & KEY_MASK;

	if (key & KEY_ARCH)
		return index < ARCH_ITEMS ? &cfg->arch_items[index] : NULL;
	return index < ITEMS ? &cfg->items[index] : NULL;
}

/* Bytes of an item from `at`; beyond its end, and for what is not there, zeroes. */
static void item_read(const struct item *item, uint32_t at, uint8_t *to, uint32_t length)
{
	uint32_t have = item && at < item->length ? item->length - at : 0;

	if (have > length)
		have = length;
	if (have && !item->in_file) {
		memcpy(to, item->data + at, have);
	} else if (have) {
		ssize_t n = pread(item->fd, to, have, at);

		have = n > 0 ? n : 0;
	}
	memset(to + have, 0, length - have);
}

static void advance(struct fw_cfg *cfg, uint32_t length)
{
	cfg->position = length > UINT32_MAX - cfg->position ? UINT32_MAX : cfg->position + length;
}

static uint64_t fw_cfg_read(void *opaque, uint64_t offset, unsigned size)
{
	struct fw_cfg *cfg = opaque;
	uint8_t byte;

	if (!offset)
		return 0; /* the selector is write-only */
	item_read(find_item(cfg, cfg->key), cfg->position, &byte, 1);
	advance(cfg, 1);
	return byte;
}

/* The selector is a 16-bit write at 0x510; the data port's byte at 0x511 takes no writes. */
static void fw_cfg_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct fw_cfg *cfg = opaque;

	if (offset == 0 && size == 2) {
		cfg->key = value;
		cfg->position = 0;
	} else {
		log_guest_error("fw_cfg", "%u-byte write at 0x%x ignored", size,
			FW_CFG_BASE + (unsigned)offset);
	}
}

static const struct region_ops fw_cfg_ops = {
	.read = fw_cfg_read,
	.write = fw_cfg_write,
	.min_access = 1,
	.max_access = 2,
};

/* Copies to the guest piece by piece.  0, or -EFAULT at the first piece that is not RAM. */
static int dma_to_guest(struct fw_cfg *cfg, uint64_t address, uint32_t length)
{
	const struct item *item = find_item(cfg, cfg->key);
	uint8_t chunk[DMA_CHUNK];
	struct span whole;

	/* Checked as a whole first, so that nothing is half done. */
	if (span_get(&cfg->dev.machine->memory, address, length, SPAN_WRITE, &whole))
		return -EFAULT;
	span_put(&whole, 0);
	while (length) {
		uint32_t part = length < sizeof(chunk) ? length : sizeof(chunk);

		item_read(item, cfg->position, chunk, part);
		if (guest_write(&cfg->dev.machine->memory, address, chunk, part))
			return -EFAULT;
		advance(cfg, part);
		address += part;
		length -= part;
	}
	return 0;
}

/* The command in guest memory is read once; its control word is written back when all is done. */
static void dma_run(struct fw_cfg *cfg, uint64_t at)
{
	struct guest_memory *mem = &cfg->dev.machine->memory;
	uint8_t command[16], result[4];
	uint32_t control, length, error = 0;

	if (guest_read(mem, at, command, sizeof(command))) {
		log_guest_error(
			"fw_cfg", "DMA command at 0x%llx is not in memory", (unsigned long long)at);
		return;
	}
	control = get_be(command, 4);
	length = get_be(command + 4, 4);
	if (control & DMA_SELECT) {
		cfg->key = control >> 16;
		cfg->position = 0;
	}
	if (control & DMA_READ) {
		if (dma_to_guest(cfg, get_be(command + 8, 8), length))
			error = DMA_ERROR;
	} else if (control & DMA_WRITE) {
		error = DMA_ERROR;
	} else if (control & DMA_SKIP) {
		advance(cfg, length);
	}
	put_be(result, 4, error);
	if (guest_write(mem, at, result, sizeof(result)))
		log_guest_error(
			"fw_cfg", "DMA command at 0x%llx is not writable", (unsigned long long)at);
}

/* The register is big-endian: what a little-endian CPU reads as a number has its bytes turned. */
static uint64_t dma_read(void *opaque, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)dma_signature[offset + i] << i * 8;
	return value;
}

static void dma_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct fw_cfg *cfg = opaque;
	uint32_t half = __builtin_bswap32((uint32_t)value);

	if (size != 4) {
		log_guest_error("fw_cfg", "%u-byte write of the DMA address ignored", size);
	} else if (offset == 0) {
		cfg->dma_address = (uint64_t)half << 32;
	} else {
		uint64_t at = cfg->dma_address | half;

		cfg->dma_address = 0;
		dma_run(cfg, at);
	}
}

static const struct region_ops dma_ops = {
	.read = dma_read,
	.write = dma_write,
	.min_access = 1,
	.max_access = 4,
};

static void item_clear(struct item *item)
{
	if (item->in_file)
		close(item->fd);
	free(item->data);
	*item = (struct item){0};
}

int fw_cfg_add(struct device *dev, uint16_t key, const void *data, size_t length, struct error *err)
{
	struct item *item = find_item(from_device(dev), key);
	uint8_t *copy;

	if (!item || length > UINT32_MAX)
		return error_set(err, EINVAL, "fw_cfg item 0x%x of %zu bytes", key, length);
	copy = malloc(length + 1);
	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	if (length)
		memcpy(copy, data, length);
	item_clear(item);
	*item = (struct item){.data = copy, .length = length};
	return 0;
}

int fw_cfg_add_number(
	struct device *dev, uint16_t key, uint64_t value, unsigned size, struct error *err)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = value >> i * 8;
	return fw_cfg_add(dev, key, bytes, size, err);
}

int fw_cfg_add_host_file(
	struct device *dev, uint16_t key, int fd, uint32_t length, struct error *err)
{
	struct item *item = find_item(from_device(dev), key);

	if (!item) {
		close(fd);
		return error_set(err, EINVAL, "fw_cfg item 0x%x", key);
	}
	item_clear(item);
	*item = (struct item){.length = length, .in_file = true, .fd = fd};
	return 0;
}

/* The directory is rebuilt whole; it is small and changes before the guest runs only. */
static int rebuild_directory(struct fw_cfg *cfg, struct error *err)
{
	struct {
		uint8_t count[4];
		struct directory_entry entries[FILES_MAX];
	} directory = {0};

	put_be(directory.count, 4, cfg->file_count);
	for (unsigned i = 0; i < cfg->file_count; i++) {
		struct directory_entry *entry = &directory.entries[i];

		put_be(entry->size, 4, cfg->items[FW_CFG_FILE_FIRST + i].length);
		put_be(entry->select, 2, FW_CFG_FILE_FIRST + i);
		memcpy(entry->name, cfg->names[i], sizeof(entry->name));
	}
	return fw_cfg_add(&cfg->dev, FW_CFG_FILE_DIR, &directory,
		sizeof(directory.count) + cfg->file_count * sizeof(directory.entries[0]), err);
}

/* Finds the file or opens a gap for it, in the order of names. */
static int file_slot(struct fw_cfg *cfg, const char *name, struct error *err)
{
	unsigned at = 0;

	while (at < cfg->file_count && strcmp(cfg->names[at], name) < 0)
		at++;
	if (at < cfg->file_count && !strcmp(cfg->names[at], name))
		return at;
	if (cfg->file_count == FILES_MAX)
		return error_set(err, ENOSPC, "more than %d fw_cfg files", FILES_MAX);
	for (unsigned i = cfg->file_count; i > at; i--) {
		memcpy(cfg->names[i], cfg->names[i - 1], sizeof(cfg->names[i]));
		cfg->items[FW_CFG_FILE_FIRST + i] = cfg->items[FW_CFG_FILE_FIRST + i - 1];
	}
	cfg->file_count++;
	memset(cfg->names[at], 0, sizeof(cfg->names[at]));
	memcpy(cfg->names[at], name, strlen(name));
	cfg->items[FW_CFG_FILE_FIRST + at] = (struct item){0};
	return at;
}

int fw_cfg_add_file(
	struct device *dev, const char *name, const void *data, size_t length, struct error *err)
{
	struct fw_cfg *cfg = from_device(dev);
	char seam[FW_CFG_NAME_MAX + 8];
	int at, rc;

	if (!*name || strlen(name) > FW_CFG_NAME_MAX)
		return error_set(err, EINVAL, "fw_cfg name '%s' must have 1 to %d characters", name,
			FW_CFG_NAME_MAX);
	at = file_slot(cfg, name, err);
	if (at < 0)
		return at;
	rc = fw_cfg_add(dev, FW_CFG_FILE_FIRST + at, data, length, err);
	if (rc)
		return rc;
	snprintf(seam, sizeof(seam), "fw_cfg:%s", name);
	fault_table(seam, cfg->items[FW_CFG_FILE_FIRST + at].data, length);
	return rebuild_directory(cfg, err);
}

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *cfg = from_device(dev);

	cfg->key = 0;
	cfg->position = 0;
	cfg->dma_address = 0;
}

static void fw_cfg_unrealize(struct device *dev)
{
	struct fw_cfg *cfg = from_device(dev);

	space_unmap(&cfg->region);
	space_unmap(&cfg->dma_region);
	for (unsigned i = 0; i < ITEMS; i++)
		item_clear(&cfg->items[i]);
	for (unsigned i = 0; i < ARCH_ITEMS; i++)
		item_clear(&cfg->arch_items[i]);
}

static int fw_cfg_realize(struct device *dev, struct error *err)
{
	struct fw_cfg *cfg = from_device(dev);
	int rc = fw_cfg_add(dev, FW_CFG_SIGNATURE, "QEMU", 4, err);

	if (!rc)
		rc = fw_cfg_add_number(dev, FW_CFG_ID, ID_TRADITIONAL | ID_DMA, 4, err);
	if (!rc)
		rc = rebuild_directory(cfg, err);
	if (rc) {
		fw_cfg_unrealize(dev);
		return rc;
	}
	cfg->region = (struct region){
		.name = "fw_cfg",
		.length = 2,
		.ops = &fw_cfg_ops,
		.opaque = cfg,
	};
	cfg->dma_region = (struct region){
		.name = "fw_cfg-dma",
		.length = sizeof(dma_signature),
		.ops = &dma_ops,
		.opaque = cfg,
	};
	space_map(&dev->machine->ports, &cfg->region, FW_CFG_BASE);
	space_map(&dev->machine->ports, &cfg->dma_region, DMA_BASE);
	return 0;
}

static const struct state_field state_fields[] = {
	STATE_UINT(struct fw_cfg, key),
	STATE_UINT(struct fw_cfg, position),
	STATE_UINT(struct fw_cfg, dma_address),
	STATE_END,
};

/* The items are the board's, which makes the same ones from the same command line. */
static const struct state_table state = {.name = "fw_cfg", .version = 1, .fields = state_fields};

const struct device_type fw_cfg_type = {
	.name = "fw_cfg_io",
	.bus = "System",
	.category = "Misc",
	.size = sizeof(struct fw_cfg),
	.internal = true,
	.realize = fw_cfg_realize,
	.reset = fw_cfg_reset,
	.state = &state,
	.unrealize = fw_cfg_unrealize,
};
