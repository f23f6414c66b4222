/* SPDX-License-Identifier: MIT */
/*
 * A machine without an engine, for unit tests of virtio and for fuzz targets: memory from 0, a PCI
 * bus, one drive "d", and an interrupt chip that counts messages.  Devices are the includer's.
 *
 * The includer defines REQUIRE(holds): what is done when something of the machine is out of order.
 */
#ifndef BARE_MACHINE_H
#define BARE_MACHINE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/block.h"
#include "bus/pci.h"
#include "machine/machine.h"

static struct machine machine;
static struct loop *loop;
static struct pci_bus bus;
static struct block_backend *backend;
static uint8_t *ram;
static unsigned messages;
static int drive_fd;

static inline void send_msi(void *opaque, struct msi_message message)
{
	messages++;
}

static inline int route_attach(void *opaque, struct irq_route *route, struct error *err)
{
	return 0;
}

static inline void route_detach(void *opaque, struct irq_route *route)
{
}

static const struct irq_chip_ops chip_ops = {
	.send_msi = send_msi,
	.route_attach = route_attach,
	.route_detach = route_detach,
};

static inline void lock(void)
{
	pthread_mutex_lock(&machine.lock);
}

static inline void unlock(void)
{
	pthread_mutex_unlock(&machine.lock);
}

static inline void stop_loop(void *opaque)
{
	loop_stop(loop);
}

static inline void make_drive(uint64_t size)
{
	char text[80];
	struct error err;
	struct keyvals *kv;

	drive_fd = memfd_create("disk", 0);
	REQUIRE(drive_fd >= 0 && ftruncate(drive_fd, size) == 0);
	snprintf(text, sizeof(text), "file=/proc/self/fd/%d,format=raw,if=none,id=d", drive_fd);
	kv = keyvals_parse("-drive", text, NULL, &err);
	backend = block_open_drive(kv, false, &err);
	if (!backend)
		fprintf(stderr, "%s\n", err.text);
	REQUIRE(backend);
	keyvals_free(kv);
}

/* Without devices; the bus's interrupt lines lead nowhere. */
static inline void bare_machine(uint64_t ram_size, uint64_t drive_size)
{
	struct error err;

	loop = loop_create("test", &err);
	REQUIRE(machine_init(&machine, loop, &err) == 0);
	machine.irq_chip = (struct irq_chip){.ops = &chip_ops};
	REQUIRE(memory_add(&machine.memory, "ram", 0, ram_size, false, &err) == 0);
	ram = machine.memory.blocks[0].host;
	memset(&bus, 0, sizeof(bus));
	pci_bus_init(&bus, &machine, "pci.0");
	messages = 0;
	make_drive(drive_size);
}

/* `text`: as after -device, without the type.  NULL: *err says why. */
static inline struct device *new_device(
	const struct device_type *type, const char *text, struct error *err)
{
	struct keyvals *kv = keyvals_parse("-device", text, NULL, err);
	struct device *dev = device_create(&machine, type, NULL, kv, err);

	keyvals_free(kv);
	return dev;
}

static inline struct device *add_device(const struct device_type *type, const char *text)
{
	struct error err;
	struct device *dev = new_device(type, text, &err);

	if (!dev)
		fprintf(stderr, "%s\n", err.text);
	REQUIRE(dev);
	return dev;
}

static inline void end_machine(void)
{
	lock();
	while (!list_empty(&machine.devices))
		device_destroy(container_of(machine.devices.prev, struct device, link));
	unlock();
	bus_unregister(&bus.bus);
	machine_destroy(&machine);
	block_close_all();
	loop_destroy(loop);
	close(drive_fd);
}

#endif
