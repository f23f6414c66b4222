/* SPDX-License-Identifier: MIT */
/*
 * The PCI transport of virtio through configuration space and BAR 4, without an engine: identity,
 * capabilities, the window in configuration space and its bounds, registers by every width,
 * vectors, ISR and INTx, bus mastering.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define REQUIRE assert_true
#include "../bare-machine.h"

#include "virtio/features.h"
#include "virtio/virtio-types.h"

#define BAR	   0xc0000000u
#define MSIX_BAR   0xd0000000u
#define COMMON	   BAR
#define ISR	   (BAR + 0x1000)
#define DEVICE_CFG (BAR + 0x2000)
#define NOTIFY	   (BAR + 0x3000)
#define TABLE	   0x1000u
#define AVAIL	   0x2000u
#define USED	   0x3000u

static struct pci_device *pci;
static bool pin;
static uint16_t want_used;

static void set_pirq(void *opaque, unsigned pirq, bool level)
{
	pin = level;
}

static uint32_t config(unsigned offset, unsigned size)
{
	return pci_config_read(pci, offset, size);
}

static void config_write(unsigned offset, uint32_t value, unsigned size)
{
	pci_config_write(pci, offset, value, size);
}

static uint64_t get(uint64_t address, unsigned size)
{
	return space_read(&machine.mmio, address, size);
}

static void put(uint64_t address, uint64_t value, unsigned size)
{
	space_write(&machine.mmio, address, value, size);
}

static int set_up(void **state)
{
	bare_machine(1 << 20, 1 << 20);
	bus.set_pirq = set_pirq;
	pin = false;
	want_used = 0;
	pci = (struct pci_device *)add_device(
		&virtio_blk_pci_type, "drive=d,disable-legacy=on,addr=4,num-queues=3");
	config_write(PCI_BAR0 + 4, MSIX_BAR, 4);
	config_write(PCI_BAR0 + 16, BAR, 4);
	config_write(PCI_BAR0 + 20, 0, 4);
	config_write(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	return 0;
}

static int tear_down(void **state)
{
	end_machine();
	return 0;
}

/* Offset of the virtio capability of that type, or 0. */
static unsigned capability(unsigned type)
{
	for (unsigned at = config(PCI_CAPABILITIES, 1); at; at = config(at + 1, 1))
		if (config(at, 1) == PCI_CAP_VENDOR && config(at + 3, 1) == type)
			return at;
	return 0;
}

static void run_for(int64_t ns)
{
	struct loop_timer timer = {.expired = stop_loop};

	loop_timer_arm(loop, &timer, loop_now() + ns);
	loop_run(loop);
}

static uint16_t used_idx(void)
{
	uint16_t idx;

	memcpy(&idx, ram + USED + 2, 2);
	return idx;
}

static void wait_used(void)
{
	for (int i = 0; i < 2000 && used_idx() != want_used; i++)
		run_for(1000000);
	assert_int_equal(used_idx(), want_used);
}

static void start(void)
{
	put(COMMON + 0x14, 3, 1);
	put(COMMON + 0x08, 0, 4);
	put(COMMON + 0x0c, 0, 4);
	put(COMMON + 0x08, 1, 4);
	put(COMMON + 0x0c, 1 | 1 << (VIRTIO_F_RING_RESET - 32), 4);
	put(COMMON + 0x14, 0xb, 1);
	assert_int_equal(get(COMMON + 0x14, 1), 0xb);
	memset(ram + TABLE, 0, 0x3000);
	want_used = 0;
	put(COMMON + 0x16, 0, 2);
	put(COMMON + 0x18, 8, 2);
	put(COMMON + 0x20, TABLE, 8);
	put(COMMON + 0x2c, 0, 4);
	put(COMMON + 0x28, AVAIL, 4);
	put(COMMON + 0x30, USED, 4);
	put(COMMON + 0x1c, 1, 2);
	put(COMMON + 0x14, 0xf, 1);
}

/* A flush: header at 0x4000, status at 0x5000. */
static void submit(void)
{
	uint64_t words[4] = {0x4000, 16 | 1ULL << 32 | 1ULL << 48, 0x5000, 1 | 2ULL << 32};
	uint16_t idx = want_used + 1;

	memcpy(ram + TABLE, words, sizeof(words));
	memset(ram + 0x4000, 0, 16);
	ram[0x4000] = 4;
	ram[0x5000] = 0xff;
	memcpy(ram + AVAIL + 2, &idx, 2);
	put(NOTIFY, 0, 2);
	want_used++;
}

static void identity(void **state)
{
	assert_int_equal(config(PCI_VENDOR_ID, 4), 0x10421af4);
	assert_int_equal(config(PCI_REVISION, 1), 1);
	assert_int_equal(config(PCI_CLASS, 2), 0x0100);
	assert_int_equal(config(PCI_SUBSYSTEM_VENDOR, 4), 0x11001af4);
	assert_int_equal(config(PCI_INTERRUPT_PIN, 1), 1);
	assert_int_equal(config(PCI_BAR0 + 16, 4), BAR | 0xc);
}

static void capabilities(void **state)
{
	static const struct {
		unsigned type, length, offset;
	} expected[] = {{1, 16, 0}, {2, 20, 0x3000}, {3, 16, 0x1000}, {4, 16, 0x2000}};

	for (unsigned i = 0; i < 4; i++) {
		unsigned at = capability(expected[i].type);

		assert_int_not_equal(at, 0);
		assert_int_equal(config(at + 2, 1), expected[i].length);
		assert_int_equal(config(at + 4, 1), 4);
		assert_int_equal(config(at + 8, 4), expected[i].offset);
		assert_int_equal(config(at + 12, 4), 0x1000);
	}
	assert_int_equal(config(capability(2) + 16, 4), 4);
	assert_int_equal(config(capability(5) + 2, 1), 20);
}

static void the_window(void **state)
{
	static const uint32_t bad_lengths[] = {0, 3, 8, 0xffffffff};
	static const uint32_t bad_offsets[] = {0x4000, 0x3fff + 1, 0xffffffff, 0xfffffffc, 2, 1};
	unsigned at = capability(5);

	/* While the BAR does not even decode. */
	config_write(PCI_COMMAND, 0, 2);
	config_write(at + 4, 4, 1);
	config_write(at + 8, 0x14, 4);
	config_write(at + 12, 1, 4);
	config_write(at + 16, 0xffffff03, 4);
	assert_int_equal(config(at + 16, 1), 3);
	for (unsigned i = 0; i < 4; i++) {
		config_write(at + 12, bad_lengths[i], 4);
		config_write(at + 16, 0, 4);
	}
	config_write(at + 12, 4, 4);
	for (unsigned i = 0; i < 6; i++) {
		config_write(at + 8, bad_offsets[i], 4);
		config_write(at + 16, 0, 4);
		(void)config(at + 16, 4);
	}
	for (unsigned bar = 0; bar < 256; bar++) {
		config_write(at + 4, bar, 1);
		config_write(at + 8, 0x8, 4);
		config_write(at + 16, bar, 4);
		(void)config(at + 16, 4);
	}
	config_write(at + 4, 4, 1);
	config_write(at + 8, 0x14, 4);
	config_write(at + 12, 1, 4);
	assert_int_equal(config(at + 16, 1), 3); /* the status is as it was */
	config_write(at + 8, 0x8, 4);
	config_write(at + 12, 4, 4);
	assert_int_equal(config(at + 16, 4), 4); /* and only BAR 4 was written */
	config_write(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(get(COMMON + 0x14, 1), 3);
}

static void common_registers(void **state)
{
	assert_int_equal(get(COMMON + 0x12, 2), 3);
	put(COMMON + 0x12, 7, 2);
	assert_int_equal(get(COMMON + 0x12, 2), 3);
	assert_int_equal(get(COMMON + 0x10, 4), 0x0003ffff);
	for (unsigned i = 0; i < 4; i++) {
		put(COMMON + 0x16, i, 2);
		assert_int_equal(get(COMMON + 0x18, 2), i < 3 ? 256 : 0);
		assert_int_equal(get(COMMON + 0x1a, 2), 0xffff);
		assert_int_equal(get(COMMON + 0x1c, 2), 0);
		assert_int_equal(get(COMMON + 0x1e, 2), i < 3 ? i : 0);
	}
	put(COMMON + 0x18, 0, 2); /* of a queue that is not there */
	put(COMMON + 0x1c, 1, 2);
	put(COMMON + 0x16, 1, 2);
	put(COMMON + 0x18, 3, 2);
	assert_int_equal(get(COMMON + 0x18, 2), 256);
	put(COMMON + 0x18, 512, 2);
	assert_int_equal(get(COMMON + 0x18, 2), 256);
	put(COMMON + 0x18, 16, 2);
	assert_int_equal(get(COMMON + 0x18, 2), 16);
	put(COMMON + 0x18, 4, 1); /* a wrong width */
	assert_int_equal(get(COMMON + 0x18, 2), 16);
	put(COMMON + 0x24, 0x12345678, 4);
	put(COMMON + 0x20, 0x9abcdef0, 4);
	assert_true(get(COMMON + 0x20, 8) == 0x123456789abcdef0);
	put(COMMON + 0, 2, 4);
	assert_int_equal(get(COMMON + 4, 4), 0);
	put(COMMON + 0, 0xffffffff, 4);
	assert_int_equal(get(COMMON + 4, 4), 0);
	assert_int_equal(get(COMMON + 0x40, 4), 0);
	assert_int_equal(get(DEVICE_CFG, 8), (1 << 20) / 512);
	assert_int_equal(get(DEVICE_CFG + 60, 4), 0);
	assert_int_equal(get(DEVICE_CFG + 0xffc, 4), 0);
	put(DEVICE_CFG + 0xffc, 1, 4);
}

static void vectors(void **state)
{
	/* Four of them: one a queue, one for the configuration. */
	for (unsigned i = 0; i < 4; i++) {
		put(COMMON + 0x10, i, 2);
		assert_int_equal(get(COMMON + 0x10, 2), i);
		put(COMMON + 0x1a, i, 2);
		assert_int_equal(get(COMMON + 0x1a, 2), i);
	}
	put(COMMON + 0x10, 4, 2);
	put(COMMON + 0x1a, 4, 2);
	assert_int_equal(get(COMMON + 0x10, 2), 0xffff);
	assert_int_equal(get(COMMON + 0x1a, 2), 0xffff);
	put(COMMON + 0x1a, 2, 2);
	put(COMMON + 0x14, 0, 1);
	assert_int_equal(get(COMMON + 0x1a, 2), 0xffff);
}

static void intx_and_isr(void **state)
{
	start();
	submit();
	wait_used();
	assert_true(pin);
	assert_int_equal(config(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
	assert_int_equal(get(ISR, 1), 1);
	assert_false(pin);
	assert_int_equal(get(ISR, 1), 0);
	submit();
	wait_used();
	assert_true(pin);
	put(COMMON + 0x14, 0, 1); /* a reset drops it */
	assert_false(pin);
	assert_int_equal(get(ISR, 1), 0);
}

static void no_memory_access_without_mastering(void **state)
{
	start();
	config_write(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	submit();
	run_for(5000000);
	assert_int_equal(used_idx(), 0);
	assert_int_equal(ram[0x5000], 0xff);
	config_write(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	wait_used();
	assert_int_equal(ram[0x5000], 0);
}

static void queue_reset(void **state)
{
	start();
	submit();
	wait_used();
	put(COMMON + 0x3a, 1, 2);
	assert_int_equal(get(COMMON + 0x3a, 2), 0);
	assert_int_equal(get(COMMON + 0x1c, 2), 0);
	assert_int_equal(get(COMMON + 0x18, 2), 256);
	memset(ram + TABLE, 0, 0x3000);
	want_used = 0;
	put(COMMON + 0x18, 4, 2);
	put(COMMON + 0x20, TABLE, 8);
	put(COMMON + 0x28, AVAIL, 8);
	put(COMMON + 0x30, USED, 8);
	put(COMMON + 0x1c, 1, 2);
	assert_int_equal(get(COMMON + 0x1c, 2), 1);
	submit();
	wait_used();
}

static void config_vector_and_isr(void **state)
{
	struct error err;

	start();
	for (unsigned at = config(PCI_CAPABILITIES, 1); at; at = config(at + 1, 1))
		if (config(at, 1) == PCI_CAP_MSIX)
			config_write(at + 2, 0x8000, 2);
	put(MSIX_BAR + 12, 0, 4); /* unmasks entry 0 */
	put(COMMON + 0x10, 0, 2);
	pthread_mutex_lock(&machine.lock);
	assert_int_equal(block_resize(backend, 2 << 20, &err), 0);
	pthread_mutex_unlock(&machine.lock);
	run_for(5000000);
	assert_int_equal(messages, 1);
	assert_false(pin);
	assert_int_equal(get(ISR, 1), 2);
	put(COMMON + 0x10, 0xffff, 2);
	pthread_mutex_lock(&machine.lock);
	assert_int_equal(block_resize(backend, 3 << 20, &err), 0);
	pthread_mutex_unlock(&machine.lock);
	run_for(5000000);
	assert_int_equal(messages, 1);
}

static void what_is_not_there_is_refused(void **state)
{
	static const struct {
		const struct device_type *type;
		const char *text, *says;
	} cases[] = {
		{&virtio_blk_pci_type, "drive=d,disable-legacy=on,disable-modern=on",
			"neither modern nor legacy"},
		{&virtio_blk_pci_type, "drive=d,disable-legacy=on,vectors=5000", "vectors"},
		{&virtio_blk_pci_type, "disable-legacy=on", "drive property not set"},
	};
	struct error err;
	struct device *second;

	assert_null(
		new_device(&virtio_blk_pci_type, "drive=d,disable-legacy=on", &err)); /* in use */
	pthread_mutex_lock(&machine.lock);
	device_destroy(&pci->dev);
	pthread_mutex_unlock(&machine.lock);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		err.text[0] = 0;
		assert_null(new_device(cases[i].type, cases[i].text, &err));
		if (!strstr(err.text, cases[i].says))
			fail_msg("%s: %s", cases[i].text, err.text);
	}
	second = new_device(&virtio_blk_pci_non_transitional_type, "drive=d,vectors=0", &err);
	assert_non_null(second);
	pci = (struct pci_device *)second;
	assert_int_equal(config(PCI_VENDOR_ID, 4), 0x10421af4);
	for (unsigned at = config(PCI_CAPABILITIES, 1); at; at = config(at + 1, 1))
		assert_int_not_equal(config(at, 1), PCI_CAP_MSIX);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(identity),
		CASE(capabilities),
		CASE(the_window),
		CASE(common_registers),
		CASE(vectors),
		CASE(intx_and_isr),
		CASE(no_memory_access_without_mastering),
		CASE(queue_reset),
		CASE(config_vector_and_isr),
		CASE(what_is_not_there_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
