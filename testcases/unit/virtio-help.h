/* SPDX-License-Identifier: MIT */
/* What the tests of virtio-blk share: a machine without an engine, with one disk in the last MMIO
 * slot. */
#ifndef VIRTIO_HELP_H
#define VIRTIO_HELP_H

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

#include "block/iothread.h"
#include "virtio/mmio.h"
#include "virtio/virtio-types.h"

#define BASE   0xfeb00000u
#define GSI    5
#define SIZE   8
#define TABLE  0x1000u
#define AVAIL  0x2000u
#define USED   0x3000u
#define HEADER 0x4000u
#define STATUS 0x5000u
#define DATA   0x10000u
#define DISK   (1u << 20)

#define NEXT  1
#define WRITE 2

static struct device *disk;
static uint16_t avail_idx;
static int line_level, line_rises;
static const char *force_legacy = "off";

static inline void set_line(void *opaque, unsigned pin, bool level)
{
	line_rises += level && !line_level;
	line_level = level;
}

static inline uint32_t reg(unsigned offset)
{
	return space_read(&machine.mmio, BASE + 512 * 7 + offset, 4);
}

static inline void reg_write(unsigned offset, uint32_t value)
{
	space_write(&machine.mmio, BASE + 512 * 7 + offset, value, 4);
}

/* Runs the main loop until `done` says so, or two seconds. */
static inline void run_until(bool (*done)(void))
{
	struct loop_timer timer = {.expired = stop_loop};

	for (int i = 0; i < 2000 && !done(); i++) {
		loop_timer_arm(loop, &timer, loop_now() + 1000000);
		loop_run(loop);
	}
	loop_timer_cancel(loop, &timer);
	assert_true(done());
}

static inline void settle_for(int64_t ns)
{
	struct loop_timer timer = {.expired = stop_loop};

	loop_timer_arm(loop, &timer, loop_now() + ns);
	loop_run(loop);
}

/* Lets whatever could still happen happen. */
static inline void settle(void)
{
	settle_for(2000000);
}

static inline uint16_t used_idx(void)
{
	return __atomic_load_n((uint16_t *)(ram + USED + 2), __ATOMIC_ACQUIRE);
}

static uint16_t want_used;

static inline bool has_used(void)
{
	return used_idx() == want_used;
}

static inline bool line_is_up(void)
{
	return line_level;
}

static inline bool needs_reset(void)
{
	uint32_t status;

	lock();
	status = reg(0x70);
	unlock();
	return status & STATUS_NEEDS_RESET && line_level;
}

static inline void begin(const char *properties)
{
	char text[160];
	struct error err;
	struct keyvals *kv;

	bare_machine(1 << 20, DISK);
	machine.gsi[GSI + 7] = (struct irq_line){.set = set_line};
	avail_idx = want_used = 0;
	line_level = line_rises = 0;
	kv = keyvals_parse("-object", "id=t", NULL, &err);
	assert_int_equal(iothread_create(kv, &err), 0);
	keyvals_free(kv);
	device_global_add("virtio-mmio", "force-legacy", force_legacy);
	assert_int_equal(virtio_mmio_create(&machine, 8, BASE, GSI, &err), 0);
	snprintf(text, sizeof(text), "drive=d,queue-size=8%s", properties);
	disk = add_device(&virtio_blk_device_type, text);
}

static inline void end(void)
{
	end_machine();
	iothread_destroy_all();
}

static inline int on_main_loop(void **state)
{
	begin("");
	return 0;
}

static inline int on_iothread(void **state)
{
	begin(",iothread=t");
	return 0;
}

static inline int tear_down(void **state)
{
	end();
	return 0;
}

static inline void negotiate(uint64_t features)
{
	reg_write(0x70, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
	reg_write(0x24, 0);
	reg_write(0x20, features);
	reg_write(0x24, 1);
	reg_write(0x20, features >> 32);
	reg_write(0x70, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
}

static inline void enable_queue(void)
{
	memset(ram + TABLE, 0, 0x3000);
	avail_idx = want_used = 0;
	reg_write(0x30, 0);
	reg_write(0x38, SIZE);
	reg_write(0x80, TABLE);
	reg_write(0x90, AVAIL);
	reg_write(0xa0, USED);
	reg_write(0x44, 1);
}

static inline void start(uint64_t features)
{
	lock();
	negotiate(features | FEATURE(VIRTIO_F_VERSION_1));
	assert_int_equal(reg(0x70), 0xb);
	enable_queue();
	assert_int_equal(reg(0x44), 1);
	reg_write(0x70, 0xf);
	assert_int_equal(reg(0x70), 0xf);
	unlock();
}

static inline void descriptor(
	unsigned i, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
	memcpy(ram + TABLE + 16 * i, &address, 8);
	memcpy(ram + TABLE + 16 * i + 8, &length, 4);
	memcpy(ram + TABLE + 16 * i + 12, &flags, 2);
	memcpy(ram + TABLE + 16 * i + 14, &next, 2);
}

static inline void publish(uint16_t head)
{
	memcpy(ram + AVAIL + 4 + 2 * (avail_idx % SIZE), &head, 2);
	__atomic_store_n((uint16_t *)(ram + AVAIL + 2), ++avail_idx, __ATOMIC_RELEASE);
	lock();
	reg_write(0x50, 0);
	unlock();
}

/* Three descriptors from `head`: header, data, status. */
static inline void queue_up(
	unsigned head, uint32_t type, uint64_t sector, uint32_t length, bool to_guest)
{
	uint32_t at = HEADER + 16 * head;

	memset(ram + at, 0, 16);
	memcpy(ram + at, &type, 4);
	memcpy(ram + at + 8, &sector, 8);
	ram[STATUS + head] = 0xff;
	descriptor(head, at, 16, NEXT, head + 1);
	descriptor(head + 1, DATA + 0x1000 * head, length, NEXT | (to_guest ? WRITE : 0), head + 2);
	descriptor(head + 2, STATUS + head, 1, WRITE, 0);
	publish(head);
}

static inline uint8_t request(uint32_t type, uint64_t sector, uint32_t length, bool to_guest)
{
	queue_up(0, type, sector, length, to_guest);
	want_used++;
	run_until(has_used);
	return ram[STATUS];
}

static inline uint32_t used_length(void)
{
	uint32_t length;

	memcpy(&length, ram + USED + 4 + 8 * ((want_used - 1) % SIZE) + 4, 4);
	return length;
}

#endif
