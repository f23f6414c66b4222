/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk behind the MMIO transport, driven through its registers without an engine: start-up,
 * requests on the main loop and on an iothread, broken rings, reset, resize.
 */
#include <fcntl.h>

#include "virtio-help.h"

static void registers_at_rest(void **state)
{
	uint64_t base;
	unsigned gsi;

	lock();
	assert_int_equal(reg(0x00), 0x74726976);
	assert_int_equal(reg(0x04), 2);
	assert_int_equal(reg(0x08), 2);
	assert_int_equal(reg(0x70), 0);
	assert_int_equal(reg(0x60), 0);
	assert_int_equal(reg(0x34), 8);
	reg_write(0x30, 1);
	assert_int_equal(reg(0x34), 0);
	assert_int_equal(reg(0x100), DISK / 512);
	assert_int_equal(reg(0xb0), 0xffffffff);
	assert_int_equal(space_read(&machine.mmio, BASE, 4), 0x74726976);
	assert_int_equal(space_read(&machine.mmio, BASE + 8, 4), 0); /* an empty slot */
	unlock();
	assert_true(virtio_mmio_used(&machine, 0, &base, &gsi));
	assert_int_equal(base, BASE + 512 * 7);
	assert_int_equal(gsi, GSI + 7);
	assert_false(virtio_mmio_used(&machine, 1, &base, &gsi));
}

static void features_that_were_not_offered_are_refused(void **state)
{
	lock();
	for (unsigned bit = 0; bit < 64; bit++) {
		uint32_t offered;

		reg_write(0x14, bit / 32);
		offered = reg(0x10);
		negotiate(FEATURE(VIRTIO_F_VERSION_1) | FEATURE(bit));
		assert_int_equal(reg(0x70), offered >> bit % 32 & 1 ? 0xb : 0x3);
		reg_write(0x70, 0);
		assert_int_equal(reg(0x70), 0);
	}
	negotiate(0); /* VERSION_1 is required */
	assert_int_equal(reg(0x70), 0x3);
	reg_write(0x14, 2);
	assert_int_equal(reg(0x10), 0);
	unlock();
}

static void write_and_read_back(void **state)
{
	start(0);
	memset(ram + DATA, 0x5a, 1024);
	assert_int_equal(request(1, 3, 1024, false), 0);
	assert_int_equal(used_length(), 1);
	memset(ram + DATA, 0, 2048);
	assert_int_equal(request(0, 2, 2048, true), 0);
	assert_int_equal(used_length(), 2049);
	assert_int_equal(ram[DATA + 511], 0);
	assert_int_equal(ram[DATA + 512], 0x5a);
	assert_int_equal(ram[DATA + 1535], 0x5a);
	assert_int_equal(ram[DATA + 1536], 0);
	run_until(line_is_up);
	lock();
	assert_int_equal(reg(0x60), 1);
	reg_write(0x64, 1);
	assert_int_equal(line_level, 0);
	unlock();
}

static void what_is_wrong_is_said(void **state)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t length;
		uint8_t status;
	} cases[] = {
		{0, DISK / 512, 512, 1},
		{0, DISK / 512 - 1, 1024, 1},
		{0, UINT64_MAX, 512, 1},
		{0, UINT64_MAX / 512 + 1, 512, 1}, /* times 512 is 0 */
		{0, 0, 511, 1},
		{0, 0, 513, 1},
		{0, DISK / 512, 0, 0},
		{2, 0, 512, 2},
		{0x80000000, 0, 512, 2},
		{10, 0, 6, 2},	/* lifetime was not offered */
		{11, 0, 16, 2}, /* discard was not accepted */
		{13, 0, 16, 2},
		{16, 0, 64, 2},
		{0, DISK / 512 - 1, 512, 0},
	};

	start(0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(request(cases[i].type, cases[i].sector, cases[i].length, true),
			cases[i].status);
}

static uint8_t zero_or_discard(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	memcpy(ram + DATA, &sector, 8);
	memcpy(ram + DATA + 8, &sectors, 4);
	memcpy(ram + DATA + 12, &flags, 4);
	return request(type, 0, 16, false);
}

static void discard_and_write_zeroes(void **state)
{
	start(FEATURE(13) | FEATURE(14));
	memset(ram + DATA, 0x77, 4096);
	assert_int_equal(request(1, 0, 4096, false), 0);
	assert_int_equal(zero_or_discard(13, 1, 2, 0), 0);
	assert_int_equal(zero_or_discard(13, 5, 1, 1), 0);
	assert_int_equal(zero_or_discard(11, 6, 1, 0), 0);
	assert_int_equal(zero_or_discard(11, 6, 1, 1), 2);
	assert_int_equal(zero_or_discard(11, 6, 1, 0x80000000), 2);
	assert_int_equal(zero_or_discard(13, 6, 1, 2), 2);
	assert_int_equal(zero_or_discard(13, DISK / 512, 1, 0), 1);
	assert_int_equal(zero_or_discard(13, UINT64_MAX, 2, 0), 1);
	assert_int_equal(zero_or_discard(13, 0, 0x400000, 0), 1);
	assert_int_equal(request(13, 0, 17, false), 1);
	assert_int_equal(request(13, 0, 0, false), 1);
	assert_int_equal(request(13, 0, 16 * 9, false), 1);
	memset(ram + DATA, 0xee, 4096);
	assert_int_equal(request(0, 0, 4096, true), 0);
	assert_int_equal(ram[DATA], 0x77);
	assert_int_equal(ram[DATA + 512], 0);
	assert_int_equal(ram[DATA + 3 * 512 - 1], 0);
	assert_int_equal(ram[DATA + 3 * 512], 0x77);
	assert_int_equal(ram[DATA + 5 * 512], 0);
}

/* A read whose header is cut into bytes and whose data and status share descriptors. */
static void any_layout(void **state)
{
	start(FEATURE(VIRTIO_F_INDIRECT_DESC));
	memset(ram + DATA, 0x11, 512);
	assert_int_equal(request(1, 9, 512, false), 0);
	memset(ram + HEADER, 0, 16);
	ram[HEADER + 8] = 9;
	descriptor(0, HEADER, 1, NEXT, 1);
	descriptor(1, HEADER + 1, 7, NEXT, 2);
	descriptor(2, HEADER + 8, 1, NEXT, 3);
	descriptor(3, HEADER + 9, 7, NEXT, 4);
	descriptor(4, DATA + 0x2000, 300, NEXT | WRITE, 5);
	descriptor(5, DATA + 0x3000, 213, WRITE, 0);
	ram[DATA + 0x3000 + 212] = 0xff;
	publish(0);
	want_used++;
	run_until(has_used);
	assert_int_equal(used_length(), 513);
	assert_int_equal(ram[DATA + 0x2000 + 299], 0x11);
	assert_int_equal(ram[DATA + 0x3000 + 211], 0x11);
	assert_int_equal(ram[DATA + 0x3000 + 212], 0);
}

static void a_broken_ring_needs_reset(void **state)
{
	start(0);
	publish(SIZE);
	run_until(needs_reset);
	lock();
	assert_int_equal(reg(0x60) & 2, 2);
	unlock();
	assert_int_equal(used_idx(), 0);
	/* Nothing is served. */
	descriptor(0, HEADER, 16, NEXT, 1);
	publish(0);
	lock();
	reg_write(0x70, 0);
	assert_int_equal(reg(0x70), 0);
	assert_int_equal(reg(0x60), 0);
	assert_int_equal(line_level, 0);
	unlock();
	start(0);
	assert_int_equal(request(0, 0, 512, true), 0);
}

static void no_room_for_a_status(void **state)
{
	start(0);
	descriptor(0, HEADER, 16, 0, 0);
	publish(0);
	run_until(needs_reset);
	assert_int_equal(used_idx(), 0);
}

static void a_reset_forgets_what_is_in_flight(void **state)
{
	for (unsigned round = 0; round < 50; round++) {
		start(FEATURE(VIRTIO_F_EVENT_IDX));
		queue_up(0, 0, 0, 4096, true);
		queue_up(3, 0, 64, 4096, true);
		lock();
		reg_write(0x70, 0);
		assert_int_equal(reg(0x70), 0);
		assert_int_equal(line_level, 0);
		memset(ram + USED, 0x33, 128);
		memset(ram + DATA, 0x44, 0x5000);
		unlock();
		settle();
		for (unsigned i = 0; i < 128; i++)
			assert_int_equal(ram[USED + i], 0x33);
		for (unsigned i = 0; i < 0x5000; i++)
			assert_int_equal(ram[DATA + i], 0x44);
		assert_int_equal(line_level, 0);
	}
}

static void nothing_before_driver_ok(void **state)
{
	lock();
	negotiate(FEATURE(VIRTIO_F_VERSION_1));
	enable_queue();
	unlock();
	queue_up(0, 0, 0, 512, true);
	settle();
	assert_int_equal(used_idx(), 0);
	assert_int_equal(ram[STATUS], 0xff);
	lock();
	reg_write(0x70, 0xf);
	unlock();
	want_used = 1;
	run_until(has_used);
	assert_int_equal(ram[STATUS], 0);
}

static void rings_that_cannot_be(void **state)
{
	lock();
	negotiate(FEATURE(VIRTIO_F_VERSION_1));
	reg_write(0x44, 1); /* no addresses */
	assert_int_equal(reg(0x44), 0);
	assert_int_equal(reg(0x70) & STATUS_NEEDS_RESET, STATUS_NEEDS_RESET);
	reg_write(0x70, 0);
	negotiate(FEATURE(VIRTIO_F_VERSION_1));
	enable_queue();
	reg_write(0x80, 0x8000); /* a live queue keeps its place */
	reg_write(0x38, 4);
	reg_write(0x70, 0xf);
	unlock();
	assert_int_equal(request(0, 0, 512, true), 0);
}

static void a_resize_is_announced(void **state)
{
	struct error err;
	uint32_t generation;

	start(0);
	lock();
	generation = reg(0xfc);
	assert_int_equal(block_resize(backend, 2 * DISK, &err), 0);
	assert_int_not_equal(reg(0xfc), generation);
	assert_int_equal(reg(0x100), 2 * DISK / 512);
	unlock();
	run_until(line_is_up);
	lock();
	assert_int_equal(reg(0x60), 2);
	reg_write(0x64, 2);
	unlock();
	assert_int_equal(request(0, 2 * DISK / 512 - 1, 512, true), 0);
}

static void ready_off_and_on(void **state)
{
	start(0);
	assert_int_equal(request(0, 0, 512, true), 0);
	lock();
	reg_write(0x44, 0);
	assert_int_equal(reg(0x44), 0);
	enable_queue();
	unlock();
	assert_int_equal(request(0, 0, 512, true), 0);
	lock();
	reg_write(0xc0, 1); /* the feature was not accepted */
	assert_int_equal(reg(0x44), 1);
	unlock();
}

static void get_id_and_flush(void **state)
{
	start(FEATURE(9));
	assert_int_equal(request(4, 0, 0, true), 0);
	assert_int_equal(used_length(), 1);
	memset(ram + DATA, 0xaa, 20);
	assert_int_equal(request(8, 0, 20, true), 0);
	assert_int_equal(used_length(), 21);
	assert_int_equal(ram[DATA], 0);
	assert_int_equal(ram[DATA + 19], 0);
}

static void properties_that_cannot_be(void **state)
{
	static const char *const bad[][2] = {
		{"drive=d,queue-size=100", "power of 2"},
		{"drive=d,queue-size=2", "> 2"},
		{"drive=d,num-queues=0", "larger than 0"},
		{"drive=d,logical_block_size=1000", "power of two"},
		{"drive=d,logical_block_size=4096,physical_block_size=512", "physical"},
		{"queue-size=8", "drive property not set"},
	};

	lock();
	device_destroy(disk);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error err = {""};
		struct keyvals *kv = keyvals_parse("-device", bad[i][0], NULL, &err);

		disk = device_create(&machine, &virtio_blk_device_type, NULL, kv, &err);
		assert_null(disk);
		assert_non_null(strstr(err.text, bad[i][1]));
		keyvals_free(kv);
	}
	struct error err;
	struct keyvals *kv = keyvals_parse("-device", "drive=d,queue-size=8", NULL, &err);

	disk = device_create(&machine, &virtio_blk_device_type, NULL, kv, &err);
	assert_non_null(disk);
	keyvals_free(kv);
	unlock();
}

#define BOTH(name)                                                     \
	{#name ": main loop", name, on_main_loop, tear_down, NULL},    \
	{                                                              \
#name ": iothread", name, on_iothread, tear_down, NULL \
	}

static int with_secure_erase(void **state)
{
	begin(",secure-erase=on,iothread=t");
	return 0;
}

static uint8_t byte_of_disk(off_t at)
{
	uint8_t byte;

	assert_int_equal(pread(drive_fd, &byte, 1, at), 1);
	return byte;
}

/* Erasing is done in pieces, and a reset waits for one of them. */
static void a_reset_ends_an_erasure(void **state)
{
	uint64_t size = 64u << 20;
	struct range {
		uint64_t sector;
		uint32_t sectors, flags;
	} range = {0, size / 512, 0};
	struct error err;

	assert_int_equal(block_resize(backend, size, &err), 0);
	assert_int_equal(pwrite(drive_fd, "\xff", 1, 0), 1);
	assert_int_equal(pwrite(drive_fd, "\xff", 1, size - 1), 1);
	start(FEATURE(16));
	memcpy(ram + DATA, &range, sizeof(range));
	queue_up(0, 14, 0, sizeof(range), false);
	for (int i = 0; i < 100000 && byte_of_disk(0); i++)
		settle_for(10000);
	lock();
	reg_write(0x70, 0);
	unlock();
	assert_int_equal(byte_of_disk(0), 0);
	assert_int_equal(byte_of_disk(size - 1), 0xff);
	assert_int_equal(ram[STATUS], 1);
}

/* Without a reset it goes on to the end. */
static void an_erasure_ends_by_itself(void **state)
{
	struct range {
		uint64_t sector;
		uint32_t sectors, flags;
	} ranges[] = {{0, 12288, 0}, {12289, 0, 0}, {12290, 4093, 0}};
	struct error err;

	assert_int_equal(block_resize(backend, 8u << 20, &err), 0);
	for (unsigned at = 0; at < 8u << 20; at += 512)
		assert_int_equal(pwrite(drive_fd, "\xff", 1, at), 1);
	start(FEATURE(16));
	memcpy(ram + DATA, ranges, sizeof(ranges));
	assert_int_equal(request(14, 0, sizeof(ranges), false), 0);
	for (unsigned sector = 0; sector < 8u << 11; sector++) {
		bool erased = sector < 12288 || (sector >= 12290 && sector < 12290 + 4093);

		if (byte_of_disk(sector * 512) != (erased ? 0 : 0xff))
			fail_msg("sector %u", sector);
	}
}

static void its_interrupt_goes_with_a_device(void **state)
{
	start(0);
	assert_int_equal(request(0, 0, 512, true), 0);
	run_until(line_is_up);
	lock();
	device_destroy(disk);
	unlock();
	disk = NULL;
	settle();
	assert_int_equal(line_level, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(registers_at_rest),
		BOTH(features_that_were_not_offered_are_refused),
		BOTH(write_and_read_back),
		BOTH(what_is_wrong_is_said),
		BOTH(discard_and_write_zeroes),
		BOTH(any_layout),
		BOTH(get_id_and_flush),
		BOTH(a_broken_ring_needs_reset),
		BOTH(no_room_for_a_status),
		BOTH(a_reset_forgets_what_is_in_flight),
		BOTH(nothing_before_driver_ok),
		BOTH(rings_that_cannot_be),
		BOTH(a_resize_is_announced),
		BOTH(ready_off_and_on),
		BOTH(properties_that_cannot_be),
		BOTH(its_interrupt_goes_with_a_device),
		cmocka_unit_test_setup_teardown(
			a_reset_ends_an_erasure, with_secure_erase, tear_down),
		cmocka_unit_test_setup_teardown(
			an_erasure_ends_by_itself, with_secure_erase, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
