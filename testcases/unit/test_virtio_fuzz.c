/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk under drivers that write whatever comes to their mind: registers of the MMIO transport
 * and the three ring areas, seeded.  The process survives, time and memory are bounded, and after a
 * reset the disk works every time.
 */
#include "virtio-help.h"

#define ROUNDS 150
#define STEPS  60

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (seed >> 33) % below;
}

static uint64_t wild_address(void)
{
	switch (rnd(8)) {
	case 0: return BASE + 512 * 7 + rnd(512); /* its own registers */
	case 1: return UINT64_MAX - rnd(0x2000);
	case 2: return (1 << 20) - rnd(64);
	case 3: return TABLE + rnd(0x3000); /* its own rings */
	default: return rnd(1 << 20) & (rnd(2) ? ~15u : ~0u);
	}
}

static void wild_register(void)
{
	static const uint16_t known[] = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x50, 0x50, 0x64,
		0x70, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xc0, 0x120, 0x11c};
	static const uint32_t values[] = {
		0, 1, 2, 3, 8, 0xb, 0xf, 16, 0x7f, 0xff, 0xffffffff, TABLE, AVAIL, USED};
	unsigned offset = rnd(4) ? known[rnd(20)] : rnd(512);
	uint32_t value = rnd(3) ? values[rnd(14)] : rnd(1u << 31);

	lock();
	if (rnd(4))
		reg_write(offset & ~3u, value);
	else
		space_write(&machine.mmio, BASE + 512 * 7 + offset, value, 1u << rnd(4));
	(void)space_read(&machine.mmio, BASE + 512 * 7 + rnd(512), 1u << rnd(4));
	unlock();
}

static void wild_chain(void)
{
	for (unsigned i = 0; i < SIZE; i++) {
		uint32_t length = rnd(6) ? rnd(1200) : rnd(1u << 31) * 2;
		uint16_t flags = rnd(8) ? rnd(4) : rnd(8);

		descriptor(i, rnd(5) ? DATA + rnd(0x4000) : wild_address(), length, flags,
			rnd(10) ? rnd(SIZE) : rnd(65536));
	}
	for (unsigned i = 0; i < SIZE; i++) {
		uint16_t head = rnd(20) ? rnd(SIZE) : rnd(65536);

		memcpy(ram + AVAIL + 4 + 2 * i, &head, 2);
	}
	/* Headers that mean something lie all over the data. */
	for (unsigned i = 0; i < 64; i++) {
		uint32_t header[4] = {rnd(16), 0, rnd(3000), rnd(50) ? 0 : 0xffffffff};

		memcpy(ram + DATA + 256 * i, header, 16);
	}
}

static void wild_publish(void)
{
	uint16_t idx;

	memcpy(&idx, ram + AVAIL + 2, 2);
	idx += rnd(12) ? rnd(3) : rnd(65536);
	__atomic_store_n((uint16_t *)(ram + AVAIL + 2), idx, __ATOMIC_RELEASE);
	lock();
	reg_write(0x50, rnd(10) ? 0 : rnd(65536));
	unlock();
}

static void wild_round(void)
{
	start(rnd(2) ? FEATURE(VIRTIO_F_INDIRECT_DESC) | FEATURE(VIRTIO_F_EVENT_IDX) | FEATURE(13) |
				FEATURE(14) | FEATURE(VIRTIO_F_RING_RESET)
		     : 0);
	wild_chain();
	for (unsigned i = 0; i < STEPS; i++) {
		switch (rnd(10)) {
		case 0: wild_register(); break;
		case 1: wild_chain(); break;
		case 2: settle_for(rnd(300000)); break;
		default: wild_publish();
		}
	}
	lock();
	reg_write(0x70, 0);
	assert_int_equal(reg(0x70), 0);
	assert_int_equal(reg(0x60), 0);
	assert_int_equal(line_level, 0);
	unlock();
	for (unsigned i = 0; i < machine.memory.count; i++)
		assert_int_equal(atomic_load(&machine.memory.blocks[i].pins), 0);
}

static void wild_driver(void **state)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		seed = round + 1;
		wild_round();
		start(0);
		assert_int_equal(request(0, 0, 512, true), 0);
		assert_int_equal(used_length(), 513);
		lock();
		reg_write(0x70, 0);
		unlock();
	}
}

/* Sound rings that carry odd requests: each is answered, and no byte beyond its buffers changes. */
static void odd_requests(void **state)
{
	start(FEATURE(13) | FEATURE(14));
	seed = 7;
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t type = rnd(3) ? rnd(2) : rnd(17),
			 length = rnd(4) ? 512 * rnd(8) : rnd(4096);
		uint64_t sector = rnd(5) ? rnd(DISK / 512 + 8) : (uint64_t)rnd(1u << 31) << rnd(34);
		uint8_t status;

		memset(ram + DATA, 0x5a, 0x2000);
		for (unsigned j = 0; j < 9; j++)
			ram[DATA + 16 * j + rnd(16)] = rnd(4);
		status = request(type, sector, length, rnd(2));
		assert_in_range(status, 0, 2);
		assert_in_range(used_length(), 0, length + 1);
		for (unsigned j = length < 160 ? 160 : length; j < 0x2000; j++)
			assert_int_equal(ram[DATA + j], 0x5a);
		lock();
		reg_write(0x64, 1);
		assert_int_equal(reg(0x70), 0xf);
		unlock();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"wild_driver: main loop", wild_driver, on_main_loop, tear_down, NULL},
		{"wild_driver: iothread", wild_driver, on_iothread, tear_down, NULL},
		{"odd_requests: main loop", odd_requests, on_main_loop, tear_down, NULL},
		{"odd_requests: iothread", odd_requests, on_iothread, tear_down, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
