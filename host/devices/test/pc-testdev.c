/* SPDX-License-Identifier: MIT */
/*
 * pc-testdev: the ports and memory that kvm-unit-tests expects of QEMU's device of that name.
 *
 *	0xe0 to 0xe3      four bytes of storage, any width
 *	0xe4              asks for a page to be unmapped from the engine: nothing to do here
 *	0xe8 to 0xeb      the same storage, byte by byte: wider accesses arrive in parts
 *	0x2000 to 0x2017  a write sets the level of that interrupt line
 *	0xff000000        64 KiB of memory reached by exits
 */
#include "devices/devices.h"
#include "machine/machine.h"

#define STORAGE_BASE 0xe0
#define FLUSH_BASE   0xe4
#define BYTES_BASE   0xe8
#define IRQ_BASE     0x2000
#define MEMORY_BASE  0xff000000u
#define MEMORY_SIZE  0x10000

struct pc_testdev {
	struct device dev;
	struct region storage, flush, bytes, irq, memory;
	uint8_t ports[4];
	uint8_t data[MEMORY_SIZE];
};

static uint64_t get(const uint8_t *from, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)from[i] << i * 8;
	return value;
}

static void put(uint8_t *to, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = value >> i * 8;
}

static uint64_t storage_read(void *opaque, uint64_t offset, unsigned size)
{
	return get(((struct pc_testdev *)opaque)->ports + offset, size);
}

static void storage_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	put(((struct pc_testdev *)opaque)->ports + offset, value, size);
}

static const struct region_ops storage_ops = {
	.read = storage_read,
	.write = storage_write,
	.max_access = 4,
};

static const struct region_ops bytes_ops = {
	.read = storage_read,
	.write = storage_write,
	.max_access = 1,
};

static uint64_t nothing_read(void *opaque, uint64_t offset, unsigned size)
{
	return 0;
}

static void flush_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct region_ops flush_ops = {
	.read = nothing_read,
	.write = flush_write,
	.max_access = 4,
};

static void irq_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct pc_testdev *test = opaque;

	irq_set(&test->dev.machine->gsi[offset], value != 0);
}

static const struct region_ops irq_ops = {
	.read = nothing_read,
	.write = irq_write,
	.max_access = 1,
};

static uint64_t memory_read(void *opaque, uint64_t offset, unsigned size)
{
	return get(((struct pc_testdev *)opaque)->data + offset, size);
}

static void memory_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	put(((struct pc_testdev *)opaque)->data + offset, value, size);
}

static const struct region_ops memory_ops = {
	.read = memory_read,
	.write = memory_write,
	.max_access = 8,
};

static void map(struct pc_testdev *test, struct region *region, struct address_space *space,
	uint64_t base, uint64_t length, const struct region_ops *ops)
{
	region->name = "pc-testdev";
	region->length = length;
	region->ops = ops;
	region->opaque = test;
	space_map(space, region, base);
}

static int pc_testdev_realize(struct device *dev, struct error *err)
{
	struct pc_testdev *test = container_of(dev, struct pc_testdev, dev);
	struct address_space *ports = &dev->machine->ports;

	map(test, &test->storage, ports, STORAGE_BASE, 4, &storage_ops);
	map(test, &test->flush, ports, FLUSH_BASE, 4, &flush_ops);
	map(test, &test->bytes, ports, BYTES_BASE, 4, &bytes_ops);
	map(test, &test->irq, ports, IRQ_BASE, GSI_COUNT, &irq_ops);
	map(test, &test->memory, &dev->machine->mmio, MEMORY_BASE, MEMORY_SIZE, &memory_ops);
	return 0;
}

static void pc_testdev_unrealize(struct device *dev)
{
	struct pc_testdev *test = container_of(dev, struct pc_testdev, dev);

	space_unmap(&test->storage);
	space_unmap(&test->flush);
	space_unmap(&test->bytes);
	space_unmap(&test->irq);
	space_unmap(&test->memory);
}

static const struct state_field state_fields[] = {
	STATE_UINTS(struct pc_testdev, ports),
	STATE_UINTS(struct pc_testdev, data),
	STATE_END,
};

static const struct state_table state = {
	.name = "pc-testdev", .version = 1, .fields = state_fields};

const struct device_type pc_testdev_type = {
	.name = "pc-testdev",
	.bus = "ISA",
	.category = "Misc",
	.size = sizeof(struct pc_testdev),
	.realize = pc_testdev_realize,
	.unrealize = pc_testdev_unrealize,
	.state = &state,
};
