/* SPDX-License-Identifier: MIT */
/*
 * The machine that the fuzz targets share: a megabyte of memory, a ROM behind it, one virtio device
 * on MMIO or PCI, and a disk whose I/O is done when the target says so.  No engine, no threads: one
 * input gives one run.
 *
 * Things of this machine that are out of order end the process (REQUIRE), which is what the fuzzer
 * looks for, besides what the sanitizers and the record of double reads (ASSAY_READS) find.
 */
#ifndef FUZZ_MACHINE_H
#define FUZZ_MACHINE_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "input.h"

#include "../bare-machine.h"

#include "chardev/chardev.h"
#include "virtio/features.h"
#include "virtio/mmio.h"
#include "virtio/virtio-types.h"

#define RAM_SIZE      0x100000u
#define ROM_SIZE      0x10000u
#define DISK_SIZE     (256u << 10)
#define SLOTS	      0xfeb00000u /* of virtio-mmio; the device is in the last */
#define MMIO	      (SLOTS + 7 * 512)
#define MSIX_BAR      0xd0000000u
#define BAR	      0xc0000000u
#define IO_BAR	      0xc000u
#define DOORBELL_PORT 0xd000u
#define ISR	      0x1000u
#define CONFIG	      0x2000u
#define DOORBELLS     0x3000u

enum interface { MMIO_MODERN, MMIO_LEGACY, PCI_MODERN, PCI_LEGACY };

static struct device *device;
static enum interface interface;
static bool is_pci, line;
static int64_t io_time, vm_time;

static void set_line(void *opaque, unsigned pin, bool level)
{
	line = level;
}

/* --- the disk's time: an operation is due when drain() comes to it --- */

static int64_t io_now(void *opaque)
{
	return io_time;
}

static unsigned io_late; /* all from now on take so much longer */

static int64_t io_delay(void *opaque, uint64_t bytes)
{
	return 1 + bytes % 7 + io_late; /* so that they overtake each other */
}

static void io_wake(void *opaque, int64_t due)
{
}

/* The next ones fail, or do only a part. */
static struct {
	unsigned good, count; /* after so many good ones */
	int64_t result;
} io_trouble;

static int64_t io_outcome(void *opaque, uint64_t number, int64_t usual, int64_t result)
{
	if (!io_trouble.count)
		return result;
	if (io_trouble.good) {
		io_trouble.good--;
		return result;
	}
	io_trouble.count--;
	if (io_trouble.result < 0)
		return io_trouble.result;
	return usual ? io_trouble.result % usual : result;
}

static const struct block_schedule schedule = {io_now, io_delay, io_wake, io_outcome, NULL};

/* --- the machine's clock: a millisecond for each of those --- */

static int64_t clock_now(void *opaque)
{
	return vm_time;
}

static void clock_deadline(void *opaque, int64_t deadline)
{
}

static void clock_set(void *opaque, int64_t now)
{
}

static const struct vm_clock_source clock_source = {clock_now, clock_deadline, clock_set, NULL};

/* One turn of the loop, then the I/O that is due after `time` more. */
static void turn(int64_t time)
{
	struct loop_task stop = {.run = stop_loop};

	loop_post(loop, &stop);
	loop_run(loop);
	lock();
	io_time += time;
	block_run_due();
	vm_time += time * 1000000;
	vm_clock_expire(&machine.clock);
	unlock();
}

/* Until nothing more happens.  A device that keeps itself busy for ever fails here. */
static void drain(void)
{
	unsigned turns = 0;

	do {
		turn(16);
		REQUIRE(++turns < 1000);
	} while (loop_has_tasks(loop));
	turn(16);
}

/* --- the device's registers --- */

static uint64_t get(uint64_t address, unsigned size)
{
	uint64_t value;

	lock();
	value = space_read(&machine.mmio, address, size);
	unlock();
	return value;
}

static void put(uint64_t address, uint64_t value, unsigned size)
{
	lock();
	space_write(&machine.mmio, address, value, size);
	unlock();
}

static uint64_t get_port(uint16_t port, unsigned size)
{
	uint64_t value;

	lock();
	value = space_read(&machine.ports, port, size);
	unlock();
	return value;
}

static void put_port(uint16_t port, uint32_t value, unsigned size)
{
	lock();
	space_write(&machine.ports, port, value, size);
	unlock();
}

static uint32_t get_config(unsigned offset, unsigned size)
{
	uint32_t value;

	lock();
	value = pci_config_read((struct pci_device *)device, offset, size);
	unlock();
	return value;
}

static void put_config(unsigned offset, uint32_t value, unsigned size)
{
	lock();
	pci_config_write((struct pci_device *)device, offset, value, size);
	unlock();
}

static void place_bars(void)
{
	put_config(PCI_COMMAND, 0, 2);
	put_config(PCI_BAR0, IO_BAR, 4);
	put_config(PCI_BAR0 + 4, MSIX_BAR, 4);
	put_config(PCI_BAR0 + 8, DOORBELL_PORT, 4);
	put_config(PCI_BAR0 + 16, BAR, 4);
	put_config(PCI_BAR0 + 20, 0, 4);
	put_config(PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

/* A register that each interface has somewhere. */
struct place {
	uint16_t offset;
	uint8_t size;
};
enum register_name { AT_STATUS, AT_WORD, AT_FEATURES, AT_SELECT, AT_SIZE, AT_NOTIFY, AT_RESET };

static const struct place places[][AT_RESET + 1] = {
	[MMIO_MODERN] = {{0x70, 4}, {0x24, 4}, {0x20, 4}, {0x30, 4}, {0x38, 4}, {0x50, 4},
		{0xc0, 4}},
	[MMIO_LEGACY] = {{0x70, 4}, {0x24, 4}, {0x20, 4}, {0x30, 4}, {0x38, 4}, {0x50, 4},
		{0xc0, 4}},
	[PCI_MODERN] = {{0x14, 1}, {0x08, 4}, {0x0c, 4}, {0x16, 2}, {0x18, 2}, {DOORBELLS, 2},
		{0x3a, 2}},
	[PCI_LEGACY] = {{0x12, 1}, {0, 0}, {0x04, 4}, {0x0e, 2}, {0, 0}, {0x10, 2}, {0, 0}},
};

static void write_to(enum register_name name, uint32_t value)
{
	struct place at = places[interface][name];

	if (!at.size)
		return;
	if (interface == PCI_LEGACY)
		put_port(IO_BAR + at.offset, value, at.size);
	else if (name == AT_NOTIFY && is_pci)
		put(BAR + at.offset + 4 * value, value, at.size);
	else
		put((is_pci ? BAR : MMIO) + at.offset, value, at.size);
}

static uint8_t status(void)
{
	struct place at = places[interface][AT_STATUS];

	if (interface == PCI_LEGACY)
		return get_port(IO_BAR + at.offset, at.size);
	return get((is_pci ? BAR : MMIO) + at.offset, at.size);
}

static void set_status(uint8_t value)
{
	write_to(AT_STATUS, value);
}

static bool is_legacy(void)
{
	return interface == MMIO_LEGACY || interface == PCI_LEGACY;
}

static uint64_t offered(void)
{
	uint64_t features = 0;

	if (interface == PCI_LEGACY)
		return get_port(IO_BAR, 4);
	for (unsigned word = 0; word < 2; word++) {
		put(is_pci ? BAR : MMIO + 0x14, word, 4);
		features |= get(is_pci ? BAR + 4 : MMIO + 0x10, 4) << 32 * word;
	}
	return features;
}

static void accept_features(uint64_t features)
{
	for (unsigned word = 0; word < (is_legacy() ? 1 : 2); word++) {
		write_to(AT_WORD, word);
		write_to(AT_FEATURES, (uint32_t)(features >> 32 * word));
	}
}

static void enable_queue(unsigned queue, uint16_t size, const uint64_t areas[3])
{
	static const uint16_t mmio_areas[] = {0x80, 0x90, 0xa0}, pci_areas[] = {0x20, 0x28, 0x30};

	write_to(AT_SELECT, queue);
	write_to(AT_SIZE, size);
	if (interface == PCI_LEGACY) {
		put_port(IO_BAR + 8, areas[0] >> 12, 4);
		return;
	}
	if (interface == MMIO_LEGACY) {
		put(MMIO + 0x28, 4096, 4);
		put(MMIO + 0x3c, 4096, 4);
		put(MMIO + 0x40, areas[0] >> 12, 4);
		return;
	}
	for (unsigned i = 0; i < 3; i++) {
		uint64_t at = is_pci ? BAR + pci_areas[i] : MMIO + mmio_areas[i];

		put(at, (uint32_t)areas[i], 4);
		put(at + 4, areas[i] >> 32, 4);
	}
	put(is_pci ? BAR + 0x1c : MMIO + 0x44, 1, is_pci ? 2 : 4);
}

static void kick(unsigned queue)
{
	write_to(AT_NOTIFY, queue);
}

/* --- making it --- */

static void make_machine(enum interface how)
{
	struct error err;

	interface = how;
	is_pci = how == PCI_MODERN || how == PCI_LEGACY;
	setenv("ASSAY_READS", "abort", 1);
	block_set_schedule(&schedule);
	bare_machine(RAM_SIZE, DISK_SIZE);
	vm_clock_follow(&machine.clock, &clock_source);
	REQUIRE(memory_add(&machine.memory, "rom", RAM_SIZE, ROM_SIZE, true, &err) == 0);
	for (unsigned i = 0; i < GSI_COUNT; i++)
		machine.gsi[i] = (struct irq_line){.set = set_line};
	bus.set_pirq = set_line;
	device_global_add("virtio-mmio", "force-legacy", interface == MMIO_LEGACY ? "on" : "off");
	REQUIRE(virtio_mmio_create(&machine, 8, SLOTS, 5, &err) == 0);
}

/* As at power-on. */
static void reset_machine(void)
{
	lock();
	device_reset(device);
	unlock();
	if (is_pci)
		place_bars();
	drain();
	memset(ram, 0, 0x22000);
	messages = 0;
}

static void nothing_is_pinned(void)
{
	for (unsigned i = 0; i < machine.memory.count; i++)
		REQUIRE(atomic_load(&machine.memory.blocks[i].pins) == 0);
}

#endif
