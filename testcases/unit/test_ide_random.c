/* SPDX-License-Identifier: MIT */
/*
 * IDE under random register accesses, tables and completions: whatever a guest does, memory beyond
 * its own stays as it was, nothing stays pinned once the controller is reset, and a reset gives
 * back a drive that works.  The sequence follows from a seed; under SAN=1 the sanitizers watch.
 */
#include <stdio.h>

#define FAKE_SECTORS 70000
#include "ide-help.h"

#define RAM	(1 << 18)
#define SECTORS FAKE_SECTORS
#define ROUNDS	400
#define STEPS	500

static uint64_t seed = 20261121;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % below;
}

struct block_backend {
	struct block_request *pending;
};

static struct block_backend backends[2];
static uint8_t sink[65536]; /* what is written goes here */

void block_submit(struct block_backend *blk, struct block_request *request)
{
	assert_null(blk->pending);
	if (request->operation != BLOCK_FLUSH) {
		assert_int_equal(request->offset % 512, 0);
		assert_int_not_equal(request->bytes, 0);
		assert_true(request->offset + request->bytes <= SECTORS * 512ULL);
	}
	check_length(request);
	blk->pending = request;
}

static void complete(struct block_backend *blk, int result)
{
	struct block_request *request = blk->pending;

	if (!request)
		return;
	/* Touches all of it, as the host's kernel would. */
	for (int i = 0; i < request->iov_count; i++) {
		if (request->operation == BLOCK_READ)
			memset(request->iov[i].iov_base, 0x5a, request->iov[i].iov_len);
		else
			memcpy(sink, request->iov[i].iov_base, request->iov[i].iov_len);
	}
	blk->pending = NULL;
	request->done(request, result);
}

void block_drain(struct block_backend *blk, struct loop *loop)
{
	while (blk->pending)
		complete(blk, draw(4) ? 0 : -EIO);
}

static struct ide_drive drives[2];

static void make_drive(unsigned unit)
{
	struct ide_drive *drive = &drives[unit];

	fake_drive(drive, unit, &backends[unit], SECTORS);
	ide_drive_init(drive);
	channel.drives[unit] = drive;
}

/* Commands that go far are likely, and so are those that nobody knows. */
static uint8_t draw_command(void)
{
	static const uint8_t known[] = {0x20, 0x24, 0x25, 0x27, 0x29, 0x30, 0x34, 0x35, 0x39, 0x3d,
		0x40, 0x42, 0x70, 0x90, 0x91, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xce, 0xe0, 0xe5, 0xe7,
		0xea, 0xec, 0xef, 0xf8, 0x06, 0x10, 0x00, 0x08};

	return draw(8) ? known[draw(sizeof(known))] : draw(256);
}

static void draw_table(void)
{
	uint32_t at = draw(RAM / 8) * 8;
	unsigned entries = draw(4) ? draw(40) : draw(9000);

	for (unsigned i = 0; i < entries && at + i * 8 + 8 <= RAM; i++) {
		uint32_t prd[2] = {draw(16) ? draw(RAM) : draw(1 << 30) * 4,
			(draw(2) ? draw(64) : draw(65536)) | (draw(30) ? 0 : 0x80000000U)};

		guest_write(&machine.memory, at + i * 8, prd, sizeof(prd));
	}
	for (unsigned i = 0; i < 4; i++)
		ide_dma_write(&channel, BM_TABLE + i, at >> (i * 8));
}

static void step(void)
{
	static const unsigned sizes[] = {1, 2, 4};
	unsigned size = sizes[draw(3)];

	switch (draw(16)) {
	case 0 ... 2:
		space_write(&machine.ports, 0x1f1 + draw(5), draw(4) ? draw(20) : draw(256), 1);
		break;
	case 3:
		space_write(&machine.ports, 0x1f6, draw(3) ? 0x40 | draw(2) << 4 : draw(256), 1);
		break;
	case 4 ... 5: space_write(&machine.ports, 0x1f7, draw_command(), 1); break;
	case 6:
		for (unsigned i = draw(600); i > 0; i--)
			space_read(&machine.ports, 0x1f0, size);
		break;
	case 7:
		for (unsigned i = draw(600); i > 0; i--)
			space_write(&machine.ports, 0x1f0, draw(256), size);
		break;
	case 8: space_write(&machine.ports, 0x3f6, draw(8) ? draw(2) * 2 : draw(256), 1); break;
	case 9: draw_table(); break;
	case 10: ide_dma_write(&channel, BM_COMMAND, draw(3) ? 9 : draw(256)); break;
	case 11: ide_dma_write(&channel, draw(8), draw(256)); break;
	case 12: space_read(&machine.ports, 0x1f0 + draw(8), size); break;
	case 13: complete(&backends[draw(2)], draw(5) ? 0 : -EIO); break;
	case 14:
		complete(&backends[0], 0);
		complete(&backends[1], 0);
		break;
	case 15:
		master = draw(8);
		ide_dma_run(&channel);
		break;
	}
}

static void check_after_reset(void)
{
	ide_channel_reset(&channel);
	for (unsigned i = 0; i < machine.memory.count; i++)
		assert_int_equal(machine.memory.blocks[i].pins, 0);
	assert_null(backends[0].pending);
	assert_null(backends[1].pending);
	space_write(&machine.ports, 0x1f6, 0x40, 1);
	space_write(&machine.ports, 0x1f7, 0xec, 1);
	assert_int_equal(space_read(&machine.ports, 0x1f7, 1), ATA_DRDY | ATA_DSC | ATA_DRQ);
	for (unsigned i = 0; i < 256; i++)
		space_read(&machine.ports, 0x1f0, 2);
	assert_int_equal(space_read(&machine.ports, 0x1f7, 1), ATA_DRDY | ATA_DSC);
}

static void whatever_a_guest_does(void **state)
{
	struct error err;

	assert_int_equal(memory_add(&machine.memory, "low", 0, RAM / 2, false, &err), 0);
	assert_int_equal(memory_add(&machine.memory, "next", RAM / 2, RAM / 2, false, &err), 0);
	space_init(&machine.ports, "ports", true);
	channel.is_master = is_master;
	ide_channel_init(&channel, &machine, 0);
	ide_channel_map(&channel, 0x1f0, 0x3f6);
	assert_int_equal(ide_dma_init(&channel, &err), 0);
	make_drive(0);
	make_drive(1);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < STEPS; i++)
			step();
		check_after_reset();
	}
	ide_channel_unmap(&channel);
	bus_unregister(&channel.bus);
	ide_dma_destroy(&channel);
	free(drives[0].buffer);
	free(drives[1].buffer);
	memory_destroy(&machine.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_a_guest_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
