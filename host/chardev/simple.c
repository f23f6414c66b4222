/* SPDX-License-Identifier: MIT */
/* Character devices without a host side: null, and a ring of the last bytes written. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chardev/internal.h"

static int null_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	chr->opened = true;
	chardev_set_filename(chr, "null");
	return 0;
}

static size_t null_write(struct chardev *chr, const uint8_t *data, size_t length)
{
	return length;
}

const struct chardev_type chardev_null = {
	.name = "null",
	.size = sizeof(struct chardev),
	.open = null_open,
	.write = null_write,
};

#define RING_DEFAULT 65536
#define RING_MAX     (64u << 20)

struct ring {
	struct chardev chr;
	uint8_t *bytes;
	size_t size; /* a power of two */
	uint64_t produced, consumed;
};

static int ring_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	struct ring *ring = container_of(chr, struct ring, chr);
	const char *text = keyvals_take(kv, "size");
	uint64_t size = RING_DEFAULT;
	int rc = text ? parse_size("size", text, 1, &size, err) : 0;

	if (rc)
		return rc;
	if (!size || size > RING_MAX || (size & (size - 1)))
		return error_set(err, EINVAL, "size of ringbuf chardev must be power of two");
	ring->bytes = malloc(size);
	if (!ring->bytes)
		return error_set(err, ENOMEM, "out of memory");
	ring->size = size;
	chr->opened = true;
	chardev_set_filename(chr, "ringbuf");
	return 0;
}

static size_t ring_write(struct chardev *chr, const uint8_t *data, size_t length)
{
	struct ring *ring = container_of(chr, struct ring, chr);

	for (size_t i = 0; i < length; i++)
		ring->bytes[ring->produced++ & (ring->size - 1)] = data[i];
	if (ring->produced - ring->consumed > ring->size)
		ring->consumed = ring->produced - ring->size;
	return length;
}

long chardev_ring_read(struct chardev *chr, uint8_t *data, size_t size)
{
	struct ring *ring = container_of(chr, struct ring, chr);
	size_t i;

	if (chr->type != &chardev_ring)
		return -EINVAL;
	for (i = 0; i < size && ring->consumed < ring->produced; i++)
		data[i] = ring->bytes[ring->consumed++ & (ring->size - 1)];
	return (long)i;
}

static void ring_close(struct chardev *chr)
{
	free(container_of(chr, struct ring, chr)->bytes);
}

const struct chardev_type chardev_ring = {
	.name = "ringbuf",
	.alias = "memory",
	.size = sizeof(struct ring),
	.open = ring_open,
	.write = ring_write,
	.close = ring_close,
};
