/* SPDX-License-Identifier: MIT */
/*
 * The legacy interfaces of virtio without an engine: BAR 0 of a transitional and of a legacy
 * virtio-blk-pci, and version 1 of virtio-mmio: identity, registers by every width, features that
 * count at once, the place of a queue, use before DRIVER_OK, and what a mixture of both interfaces
 * leads to.
 */
#include "virtio-help.h"

#include "virtio/features.h"

#define PORT	   0xc000u
#define BAR	   0xc0000000u
#define MSIX_TABLE 0xd0000000u
#define RING	   0x8000u
#define QUEUE_SIZE 256u

static struct pci_device *pci;

static uint32_t in(unsigned at, unsigned size)
{
	return space_read(&machine.ports, PORT + at, size);
}

static void out(unsigned at, uint32_t value, unsigned size)
{
	lock();
	space_write(&machine.ports, PORT + at, value, size);
	unlock();
}

static int set_up(void **state)
{
	bare_machine(1 << 20, DISK);
	return 0;
}

static int tear_down_pci(void **state)
{
	end_machine();
	return 0;
}

static void plug(const struct device_type *type, const char *properties)
{
	pci = (struct pci_device *)add_device(type, properties);
	lock();
	pci_config_write(pci, PCI_BAR0, PORT, 4);
	pci_config_write(pci, PCI_BAR0 + 4, MSIX_TABLE, 4);
	pci_config_write(pci, PCI_BAR0 + 16, BAR, 4);
	pci_config_write(
		pci, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	unlock();
}

/* A read of one sector in the ring of `size` entries at RING; not rung. */
static void put_request(unsigned size)
{
	struct {
		uint64_t address;
		uint32_t length;
		uint16_t flags, next;
	} table[3] = {{HEADER, 16, NEXT, 1}, {DATA, 512, NEXT | WRITE, 2}, {STATUS, 1, WRITE, 0}};
	uint16_t avail[3] = {0, 1, 0};

	memset(ram + RING, 0, 0x4000);
	memset(ram + HEADER, 0, 16);
	memset(ram + DATA, 0x55, 512);
	ram[STATUS] = 0xff;
	memcpy(ram + RING, table, sizeof(table));
	memcpy(ram + RING + 16 * size, avail, sizeof(avail));
}

static uint32_t place_of_used;

static bool answered(void)
{
	uint16_t idx;

	memcpy(&idx, ram + place_of_used + 2, 2);
	return idx == 1;
}

static void identities(void **state)
{
	static const struct {
		const char *text;
		uint16_t device, subsystem;
		uint8_t revision;
		bool io, modern;
	} kinds[] = {
		{"drive=d", 0x1001, 2, 0, true, true},
		{"drive=d,disable-legacy=off", 0x1001, 2, 0, true, true},
		{"drive=d,disable-modern=on", 0x1001, 2, 0, true, false},
		{"drive=d,disable-legacy=on", 0x1042, 0x1100, 1, false, true},
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		unsigned capabilities = 0;

		plug(&virtio_blk_pci_type, kinds[i].text);
		assert_int_equal(pci_config_read(pci, PCI_VENDOR_ID, 2), 0x1af4);
		assert_int_equal(pci_config_read(pci, PCI_DEVICE_ID, 2), kinds[i].device);
		assert_int_equal(pci_config_read(pci, PCI_REVISION, 1), kinds[i].revision);
		assert_int_equal(pci_config_read(pci, PCI_SUBSYSTEM_ID, 2), kinds[i].subsystem);
		for (unsigned at = pci_config_read(pci, PCI_CAPABILITIES, 1); at;
			at = pci_config_read(pci, at + 1, 1))
			capabilities += pci_config_read(pci, at, 1) == PCI_CAP_VENDOR;
		assert_int_equal(capabilities, kinds[i].modern ? 5 : 0);
		assert_int_equal(in(0, 4) != 0xffffffff, kinds[i].io);
		lock();
		device_destroy(&pci->dev);
		unlock();
	}
}

static void registers_by_any_width(void **state)
{
	uint32_t offered, capacity;

	plug(&virtio_blk_pci_type, "drive=d");
	offered = in(0, 4);
	assert_int_equal(in(0, 1) | in(1, 1) << 8 | in(2, 2) << 16, offered);
	assert_true(offered & FEATURE(VIRTIO_F_ANY_LAYOUT));
	assert_true(offered & FEATURE(VIRTIO_F_NOTIFY_ON_EMPTY));
	out(4, 0xffffffff, 4);
	assert_int_equal(in(4, 4), offered); /* what was not offered is dropped */
	assert_int_equal(in(12, 2), QUEUE_SIZE);
	out(14, 1, 2);
	assert_int_equal(in(12, 4), 1 << 16); /* there is one queue */
	out(8, 5, 4);
	assert_int_equal(in(8, 4), 0);
	out(14, 0, 2);
	capacity = in(20, 4);
	assert_int_equal(capacity, DISK / 512);
	assert_int_equal(in(20, 1) | in(21, 1) << 8 | in(22, 2) << 16, capacity);
	/* Wrong widths and read-only registers: nothing. */
	out(0, 0, 4);
	out(12, 4, 2);
	out(18, 0x0303, 2);
	out(19, 1, 1);
	assert_int_equal(in(0, 4), offered);
	assert_int_equal(in(12, 2), QUEUE_SIZE);
	assert_int_equal(in(18, 2), 0);
	assert_int_equal(in(127, 1), 0);
}

static void vectors_move_the_configuration(void **state)
{
	unsigned at;

	plug(&virtio_blk_pci_type, "drive=d");
	assert_int_equal(in(20, 4), DISK / 512);
	at = pci->msix.capability;
	lock();
	pci_config_write(pci, at + 2, 0x8000, 2);
	unlock();
	assert_int_equal(in(20, 4), 0xffffffff); /* two vectors, none yet */
	assert_int_equal(in(24, 4), DISK / 512);
	out(20, 1, 2);
	out(20, 2, 2); /* there are two: 0 and 1 */
	assert_int_equal(in(20, 2), 0xffff);
	out(20, 1, 2);
	assert_int_equal(in(20, 2), 1);
	lock();
	pci_config_write(pci, at + 2, 0, 2);
	unlock();
	assert_int_equal(in(20, 4), DISK / 512);
}

static void a_request(void **state)
{
	plug(&virtio_blk_pci_type, "drive=d");
	out(18, 3, 1);
	out(4, 0, 4);
	place_of_used = RING + 0x2000; /* 4096 + 518 bytes, rounded up */
	put_request(QUEUE_SIZE);
	out(8, RING / 4096, 4);
	assert_int_equal(in(8, 4), RING / 4096);
	out(18, 7, 1);
	out(16, 0, 2);
	run_until(answered);
	assert_int_equal(ram[STATUS], 0);
	assert_int_equal(in(18, 1), 7);
	assert_int_equal(in(19, 1), 1);
	assert_int_equal(in(19, 1), 0);
	out(18, 0, 1);
	assert_int_equal(in(8, 4), 0);
	assert_int_equal(in(18, 1), 0);
}

static void use_before_driver_ok(void **state)
{
	plug(&virtio_blk_pci_type, "drive=d,disable-modern=on");
	place_of_used = RING + 0x2000;
	put_request(QUEUE_SIZE);
	out(8, RING / 4096, 4);
	settle();
	assert_false(answered()); /* not used yet: no doorbell */
	assert_int_equal(in(20 + 32, 1), 1);
	out(16, 0, 2);
	run_until(answered);
	assert_int_equal(in(20 + 32, 1), 0); /* without FLUSH each write is stable, from now on */
	out(4, 0xffffffff, 4);		     /* too late */
	assert_int_equal(in(4, 4), 0);
}

static void a_page_of_0_ends_the_queue(void **state)
{
	plug(&virtio_blk_pci_type, "drive=d");
	out(18, 3, 1);
	place_of_used = RING + 0x2000;
	put_request(QUEUE_SIZE);
	out(8, RING / 4096, 4);
	out(8, RING / 4096 + 1, 4); /* does not move */
	assert_int_equal(in(8, 4), RING / 4096);
	out(18, 7, 1);
	out(8, 0, 4);
	out(16, 0, 2);
	settle();
	assert_false(answered());
	out(8, RING / 4096, 4);
	out(16, 0, 2);
	run_until(answered);
}

static void both_interfaces(void **state)
{
	plug(&virtio_blk_pci_type, "drive=d");
	/* Modern and done: the legacy registers change nothing but by a reset. */
	lock();
	space_write(&machine.mmio, BAR + 0x14, 3, 1);
	space_write(&machine.mmio, BAR + 0x08, 1, 4);
	space_write(&machine.mmio, BAR + 0x0c, 1, 4);
	space_write(&machine.mmio, BAR + 0x14, 0xb, 1);
	unlock();
	assert_int_equal(in(18, 1), 0xb);
	out(18, 7, 1);
	out(4, 0xffffffff, 4);
	out(8, RING / 4096, 4);
	assert_int_equal(in(18, 1), 0xb);
	assert_int_equal(in(8, 4), 0);
	out(18, 0, 1);
	assert_int_equal(space_read(&machine.mmio, BAR + 0x14, 1), 0);
	/* And the other way round: without VERSION_1 there is no FEATURES_OK. */
	out(18, 3, 1);
	lock();
	space_write(&machine.mmio, BAR + 0x14, 0xb, 1);
	unlock();
	assert_int_equal(in(18, 1), 3);
}

/* In use by the legacy registers: no second set of features by the others, with VERSION_1 or
 * without. */
static void one_set_of_features(void **state)
{
	plug(&virtio_blk_pci_type, "drive=d");
	place_of_used = RING + 0x2000;
	put_request(QUEUE_SIZE);
	out(18, 3, 1);
	out(8, RING / 4096, 4);
	out(16, 0, 2);
	run_until(answered);
	lock();
	space_write(&machine.mmio, BAR + 0x08, 1, 4);
	space_write(&machine.mmio, BAR + 0x0c, 1, 4);
	space_write(&machine.mmio, BAR + 0x14, 0xb, 1);
	unlock();
	assert_int_equal(in(18, 1), 3);
}

static void nothing_left_is_refused(void **state)
{
	struct error err;

	assert_null(new_device(
		&virtio_blk_pci_type, "drive=d,disable-legacy=on,disable-modern=on", &err));
	assert_non_null(strstr(err.text, "neither modern nor legacy"));
	plug(&virtio_blk_pci_transitional_type, "drive=d");
	assert_int_equal(pci_config_read(pci, PCI_DEVICE_ID, 2), 0x1001);
}

/* --- version 1 of MMIO --- */

static int version_1(void **state)
{
	force_legacy = "on";
	begin("");
	return 0;
}

static void mmio_registers(void **state)
{
	assert_int_equal(reg(0x04), 1);
	lock();
	reg_write(0x14, 1);
	assert_int_equal(reg(0x10), 0);
	reg_write(0x14, 0);
	assert_true(reg(0x10) & FEATURE(VIRTIO_F_ANY_LAYOUT));
	reg_write(0x40, 8); /* no page size yet */
	assert_int_equal(reg(0x40), 0);
	reg_write(0x28, 1000);
	reg_write(0x40, 8);
	assert_int_equal(reg(0x40), 0);
	/* Registers of version 2 are not there. */
	reg_write(0x80, RING);
	reg_write(0x44, 1);
	assert_int_equal(reg(0x44), 0);
	assert_int_equal(reg(0x80), 0);
	assert_int_equal(reg(0xfc), 0);
	unlock();
}

static void mmio_request(void **state)
{
	static const struct {
		unsigned page, align;
	} ways[] = {{4096, 4096}, {1024, 64}, {4096, 0x2000}};

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		uint32_t align = ways[i].align, end = RING + 16 * SIZE + 6 + 2 * SIZE;

		lock();
		reg_write(0x28, ways[i].page);
		reg_write(0x70, 0); /* the page size outlives that */
		reg_write(0x70, 3);
		reg_write(0x24, 0);
		reg_write(0x20, 0);
		reg_write(0x30, 0);
		assert_int_equal(reg(0x34), SIZE);
		reg_write(0x38, SIZE);
		reg_write(0x3c, 3); /* no power of two */
		reg_write(0x3c, align);
		place_of_used = (end + align - 1) & ~(align - 1);
		put_request(SIZE);
		reg_write(0x40, RING / ways[i].page);
		assert_int_equal(reg(0x40), RING / ways[i].page);
		reg_write(0x70, 7);
		assert_int_equal(reg(0x70), 7);
		reg_write(0x50, 0);
		unlock();
		run_until(answered);
		assert_int_equal(ram[STATUS], 0);
	}
}

#define PCI_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_pci)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PCI_TEST(identities),
		PCI_TEST(registers_by_any_width),
		PCI_TEST(vectors_move_the_configuration),
		PCI_TEST(a_request),
		PCI_TEST(use_before_driver_ok),
		PCI_TEST(a_page_of_0_ends_the_queue),
		PCI_TEST(both_interfaces),
		PCI_TEST(one_set_of_features),
		PCI_TEST(nothing_left_is_refused),
		cmocka_unit_test_setup_teardown(mmio_registers, version_1, tear_down),
		cmocka_unit_test_setup_teardown(mmio_request, version_1, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
