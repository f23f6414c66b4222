/* SPDX-License-Identifier: MIT */
/* fw_cfg: items by port and by DMA, the directory, and commands that no driver would write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "devices/chipset/fw-cfg.h"
#include "devices/devices.h"
#include "machine/machine.h"

#define RAM_SIZE 0x10000
#define COMMAND	 0x1000

static struct machine machine;
static struct device *cfg;
static struct error err;

static int set_up(void **state)
{
	machine_init(&machine, loop_create("test", &err), &err);
	memory_add(&machine.memory, "ram", 0, RAM_SIZE, false, &err);
	cfg = device_create(&machine, &fw_cfg_type, NULL, NULL, &err);
	assert_non_null(cfg);
	return 0;
}

static int tear_down(void **state)
{
	struct loop *loop = machine.loop;

	machine_destroy(&machine);
	loop_destroy(loop);
	return 0;
}

static void select_key(uint16_t key)
{
	space_write(&machine.ports, 0x510, key, 2);
}

static uint64_t read_be(unsigned size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | space_read(&machine.ports, 0x511, 1);
	return value;
}

/* Returns the control word as the device left it. */
static uint32_t dma(uint64_t at, uint32_t control, uint32_t length, uint64_t address)
{
	struct {
		uint32_t control, length;
		uint64_t address;
	} command = {
		__builtin_bswap32(control), __builtin_bswap32(length), __builtin_bswap64(address)};

	guest_write(&machine.memory, at, &command, sizeof(command));
	space_write(&machine.ports, 0x514, __builtin_bswap32(at >> 32), 4);
	space_write(&machine.ports, 0x518, __builtin_bswap32((uint32_t)at), 4);
	guest_read(&machine.memory, at, &command, 4);
	return __builtin_bswap32(command.control);
}

static void signature_and_id(void **state)
{
	select_key(FW_CFG_SIGNATURE);
	assert_int_equal(read_be(4), 0x51454d55);
	assert_int_equal(read_be(4), 0);
	select_key(FW_CFG_ID);
	assert_int_equal(read_be(1) & 3, 3);
	assert_int_equal(space_read(&machine.ports, 0x514, 4), 0x554d4551);
}

static void directory_is_sorted(void **state)
{
	char name[56];

	assert_int_equal(fw_cfg_add_file(cfg, "opt/z", "zz", 2, &err), 0);
	assert_int_equal(fw_cfg_add_file(cfg, "etc/a", "abc", 3, &err), 0);
	assert_int_equal(fw_cfg_add_file(cfg, "opt/m", "", 0, &err), 0);
	assert_int_equal(fw_cfg_add_file(cfg, "etc/a", "abcd", 4, &err), 0);
	select_key(FW_CFG_FILE_DIR);
	assert_int_equal(read_be(4), 3);
	assert_int_equal(read_be(4), 4);
	assert_int_equal(read_be(2), 0x20);
	assert_int_equal(read_be(2), 0);
	for (unsigned i = 0; i < sizeof(name); i++)
		name[i] = (char)read_be(1);
	assert_string_equal(name, "etc/a");
	select_key(0x22);
	assert_int_equal(read_be(2), 0x7a7a);
	select_key(0x20);
	assert_int_equal(read_be(4), 0x61626364);
}

static void names_have_limits(void **state)
{
	char name[58];

	memset(name, 'n', sizeof(name));
	name[56] = '\0';
	assert_true(fw_cfg_add_file(cfg, name, "", 0, &err) < 0);
	name[55] = '\0';
	assert_int_equal(fw_cfg_add_file(cfg, name, "", 0, &err), 0);
	assert_true(fw_cfg_add_file(cfg, "", "", 0, &err) < 0);
	for (unsigned i = 0; i < 63; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(fw_cfg_add_file(cfg, name, "", 0, &err), 0);
	}
	assert_true(fw_cfg_add_file(cfg, "one too many", "", 0, &err) < 0);
}

static void unknown_keys_read_zero(void **state)
{
	for (uint32_t key = 0; key < 0x10000; key += 7) {
		select_key(key);
		space_read(&machine.ports, 0x511, 1);
	}
	select_key(0x3fff);
	assert_int_equal(read_be(8), 0);
}

static void dma_reads(void **state)
{
	uint8_t bytes[8];

	memset(bytes, 0xff, sizeof(bytes));
	guest_write(&machine.memory, 0x2000, bytes, sizeof(bytes));
	assert_int_equal(dma(COMMAND, FW_CFG_SIGNATURE << 16 | 0x08 | 0x02, 6, 0x2000), 0);
	guest_read(&machine.memory, 0x2000, bytes, sizeof(bytes));
	assert_memory_equal(bytes, "QEMU\0\0\xff\xff", 8);
	/* Skip, then read on from there. */
	assert_int_equal(dma(COMMAND, FW_CFG_SIGNATURE << 16 | 0x08 | 0x04, 2, 0), 0);
	assert_int_equal(dma(COMMAND, 0x02, 2, 0x2000), 0);
	guest_read(&machine.memory, 0x2000, bytes, 2);
	assert_memory_equal(bytes, "MU", 2);
}

static void dma_refuses(void **state)
{
	uint8_t byte = 0x5a;

	guest_write(&machine.memory, RAM_SIZE - 1, &byte, 1);
	/* Beyond RAM, wrapping, and a write: an error each, and nothing half done. */
	assert_int_equal(dma(COMMAND, 0x0a, 2, RAM_SIZE - 1), 1);
	guest_read(&machine.memory, RAM_SIZE - 1, &byte, 1);
	assert_int_equal(byte, 0x5a);
	assert_int_equal(dma(COMMAND, 0x0a, UINT32_MAX, UINT64_MAX - 3), 1);
	assert_int_equal(dma(COMMAND, 0x18, 1, 0x2000), 1);
	/* A command that is nowhere. */
	space_write(&machine.ports, 0x514, UINT32_MAX, 4);
	space_write(&machine.ports, 0x518, UINT32_MAX, 4);
	assert_int_equal(dma(COMMAND, 0x0a, 4, 0x2000), 0);
	/* A position that would wrap stays at the end. */
	assert_int_equal(dma(COMMAND, 0x0c, UINT32_MAX, 0), 0);
	assert_int_equal(dma(COMMAND, 0x04, UINT32_MAX, 0), 0);
	assert_int_equal(dma(COMMAND, 0x02, 4, 0x2000), 0);
	guest_read(&machine.memory, 0x2000, &byte, 1);
	assert_int_equal(byte, 0);
}

#define CFG_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CFG_TEST(signature_and_id),
		CFG_TEST(directory_is_sorted),
		CFG_TEST(names_have_limits),
		CFG_TEST(unknown_keys_read_zero),
		CFG_TEST(dma_reads),
		CFG_TEST(dma_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
