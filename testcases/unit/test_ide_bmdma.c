/* SPDX-License-Identifier: MIT */
/*
 * IDE on fakes of the block room and of the interrupt line: the walk through PRD tables with
 * hostile values, and requests in flight that a reset or a stop takes away.  Guest memory is the
 * real one.
 */
#define FAKE_SECTORS 4096
#include "ide-help.h"

#define RAM	(1 << 20)
#define TABLE	0x10000
#define DATA	0x20000
#define SECTORS FAKE_SECTORS

/* ---- the block room, one request deep ---- */

struct block_backend {
	struct block_request *pending;
	unsigned submitted, drains;
	uint64_t offset, bytes;
	int iov_count;
};

static struct block_backend backend;

void block_submit(struct block_backend *blk, struct block_request *request)
{
	assert_null(blk->pending);
	blk->pending = request;
	blk->submitted++;
	blk->offset = request->offset;
	blk->bytes = request->bytes;
	blk->iov_count = request->iov_count;
}

static void complete(int result)
{
	struct block_request *request = backend.pending;

	assert_non_null(request);
	check_length(request);
	for (int i = 0; i < request->iov_count; i++)
		if (request->operation == BLOCK_READ && result == 0)
			memset(request->iov[i].iov_base, 0xd5, request->iov[i].iov_len);
	backend.pending = NULL;
	request->done(request, result);
}

void block_drain(struct block_backend *blk, struct loop *loop)
{
	blk->drains++;
	while (blk->pending)
		complete(0);
}

/* ---- a channel with one drive ---- */

static struct ide_drive drive;
static bool level;
static unsigned edges;

static void set_line(void *opaque, unsigned pin, bool to)
{
	edges += to && !level;
	level = to;
}

static int setup(void **state)
{
	struct error err;

	memset(&machine, 0, sizeof(machine));
	memset(&channel, 0, sizeof(channel));
	memset(&backend, 0, sizeof(backend));
	level = false;
	edges = 0;
	master = true;
	assert_int_equal(memory_add(&machine.memory, "ram", 0, RAM, false, &err), 0);
	space_init(&machine.ports, "ports", true);
	assert_int_equal(ide_dma_init(&channel, &err), 0);
	channel.machine = &machine;
	channel.irq = (struct irq_line){.set = set_line, .pin = 14, .name = "ide"};
	channel.is_master = is_master;
	channel.command_region = (struct region){.name = "c", .length = 8};
	fake_drive(&drive, 0, &backend, SECTORS);
	drive.write_cache_default = true;
	ide_channel_init(&channel, &machine, 0);
	ide_channel_map(&channel, 0x1f0, 0x3f6);
	ide_drive_init(&drive);
	channel.drives[0] = &drive;
	ide_channel_reset(&channel);
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < machine.memory.count; i++)
		assert_int_equal(machine.memory.blocks[i].pins, 0);
	ide_channel_unmap(&channel);
	bus_unregister(&channel.bus);
	ide_dma_destroy(&channel);
	free(drive.buffer);
	memory_destroy(&machine.memory);
	return 0;
}

static void put_prd(unsigned n, uint32_t address, uint16_t count, bool end)
{
	uint32_t words[2] = {address, count | (end ? 0x80000000U : 0)};

	assert_int_equal(guest_write(&machine.memory, TABLE + n * 8, words, 8), 0);
}

static void reg(unsigned n, uint8_t value)
{
	space_write(&machine.ports, 0x1f0 + n, value, 1);
}

static uint8_t status(void)
{
	return space_read(&machine.ports, 0x3f6, 1);
}

static void table_at(uint32_t address)
{
	for (unsigned i = 0; i < 4; i++)
		ide_dma_write(&channel, BM_TABLE + i, address >> (i * 8));
}

/* READ DMA EXT or WRITE DMA EXT of `count` sectors from sector 8, and start. */
static void command(uint8_t opcode, uint16_t count)
{
	reg(2, count >> 8);
	reg(2, count);
	reg(3, 0);
	reg(3, 8);
	reg(4, 0);
	reg(4, 0);
	reg(5, 0);
	reg(5, 0);
	reg(6, ATA_DEVICE_LBA);
	reg(7, opcode);
	ide_dma_write(
		&channel, BM_COMMAND, BM_COMMAND_START | (opcode == 0x25 ? BM_COMMAND_READ : 0));
}

static uint8_t bm_status(void)
{
	return ide_dma_read(&channel, BM_STATUS) & 7;
}

static bool data_is(uint32_t address, uint8_t value, uint32_t bytes)
{
	uint8_t *data = machine.memory.blocks[0].host + address;

	for (uint32_t i = 0; i < bytes; i++)
		if (data[i] != value)
			return false;
	return true;
}

/* ---- tables ---- */

static void exact_table_ends_inactive(void **state)
{
	put_prd(0, DATA, 512, false);
	put_prd(1, DATA + 4096, 512, true);
	table_at(TABLE);
	command(0x25, 2);
	assert_int_equal(status(), ATA_BSY);
	assert_int_equal(backend.offset, 8 * 512);
	assert_int_equal(backend.iov_count, 2);
	complete(0);
	assert_int_equal(bm_status(), BM_STATUS_INTR);
	assert_int_equal(status(), ATA_DRDY | ATA_DSC);
	assert_int_equal(edges, 1);
	assert_true(data_is(DATA, 0xd5, 512) && data_is(DATA + 512, 0, 512));
	assert_true(data_is(DATA + 4096, 0xd5, 512));
}

static void larger_table_stays_active(void **state)
{
	put_prd(0, DATA, 1024, true);
	table_at(TABLE);
	command(0x25, 1);
	complete(0);
	assert_int_equal(bm_status(), BM_STATUS_INTR | BM_STATUS_ACTIVE);
	assert_true(data_is(DATA, 0xd5, 512) && data_is(DATA + 512, 0, 512));
}

static void smaller_table_waits_and_a_new_one_goes_on(void **state)
{
	put_prd(0, DATA, 512, true);
	table_at(TABLE);
	command(0x25, 2);
	complete(0);
	assert_int_equal(bm_status(), 0);
	assert_int_equal(edges, 0);
	assert_true(status() & ATA_DRQ);
	ide_dma_write(&channel, BM_COMMAND, 0);
	put_prd(0, DATA + 512, 512, true);
	ide_dma_write(&channel, BM_COMMAND, BM_COMMAND_START | BM_COMMAND_READ);
	assert_int_equal(backend.offset, 9 * 512);
	complete(0);
	assert_int_equal(bm_status(), BM_STATUS_INTR);
	assert_int_equal(edges, 1);
}

static void table_without_a_sector_submits_nothing(void **state)
{
	put_prd(0, DATA, 2, true);
	table_at(TABLE);
	command(0x25, 1);
	assert_int_equal(backend.submitted, 0);
	assert_int_equal(bm_status(), 0);
}

static void count_0_is_64_kib(void **state)
{
	put_prd(0, DATA, 0, true);
	table_at(TABLE);
	command(0x25, 128);
	assert_int_equal(backend.bytes, 65536);
	complete(0);
	assert_int_equal(bm_status(), BM_STATUS_INTR);
}

static void odd_addresses_and_counts_lose_bit_0(void **state)
{
	put_prd(0, DATA + 1, 513, true);
	table_at(TABLE + 3);
	command(0x25, 1);
	complete(0);
	assert_true(data_is(DATA, 0xd5, 512) && data_is(DATA + 512, 0, 1));
	assert_int_equal(bm_status(), BM_STATUS_INTR);
}

/* 8192 entries of 2 bytes are 32 sectors: the walk takes parts, and ends at 64 KiB of table. */
static void unterminated_table_of_two_byte_entries_is_bounded(void **state)
{
	for (unsigned i = 0; i < IDE_PRD_ENTRIES; i++)
		put_prd(i, 0xf0000, 2, false);
	table_at(TABLE);
	command(0x25, 4000);
	while (backend.pending) {
		assert_in_range(backend.iov_count, 1, IDE_DMA_IOVS);
		assert_int_equal(backend.bytes % 512, 0);
		complete(0);
	}
	assert_int_equal(drive.transfer.left, 4000 - 32);
	assert_in_range(backend.submitted, 1, 32);
	assert_int_equal(bm_status(), 0);
	assert_int_equal(edges, 0);
}

static void table_outside_memory_is_an_error(void **state)
{
	static const uint32_t places[] = {RAM, RAM - 4, 0xfec00000, 0xfffffffc, 0xfffffff8};

	for (unsigned i = 0; i < 5; i++) {
		table_at(places[i]);
		command(0x25, 1);
		assert_int_equal(backend.submitted, 0);
		assert_int_equal(bm_status(), BM_STATUS_ERROR);
		ide_dma_write(&channel, BM_COMMAND, 0);
		ide_dma_write(&channel, BM_STATUS, BM_STATUS_ERROR);
		space_write(&machine.ports, 0x3f6, ATA_CONTROL_SRST, 1);
		space_write(&machine.ports, 0x3f6, 0, 1);
	}
}

static void data_outside_memory_is_an_error(void **state)
{
	static const struct {
		uint32_t address;
		uint16_t count;
	} bad[] = {{RAM, 512}, {RAM - 256, 512}, {0xfee00000, 512}, {0xfffffffe, 512},
		{0xffff0000, 0}};

	for (unsigned i = 0; i < 5; i++) {
		put_prd(0, bad[i].address, bad[i].count, true);
		table_at(TABLE);
		command(i % 2 ? 0x35 : 0x25, 1);
		assert_int_equal(backend.submitted, 0);
		assert_int_equal(bm_status(), BM_STATUS_ERROR);
		assert_int_equal(edges, 0);
		ide_dma_write(&channel, BM_COMMAND, 0);
		ide_dma_write(&channel, BM_STATUS, BM_STATUS_ERROR);
		space_write(&machine.ports, 0x3f6, ATA_CONTROL_SRST, 1);
		space_write(&machine.ports, 0x3f6, 0, 1);
	}
}

static void good_sectors_before_a_bad_descriptor_move(void **state)
{
	put_prd(0, DATA, 512, false);
	put_prd(1, RAM, 512, true);
	table_at(TABLE);
	command(0x25, 2);
	assert_int_equal(backend.bytes, 512);
	complete(0);
	assert_int_equal(bm_status(), BM_STATUS_ERROR);
	assert_true(data_is(DATA, 0xd5, 512));
}

/* The table lies in the buffer: the entries read count, the transfer ends. */
static void data_over_the_table_is_harmless(void **state)
{
	put_prd(0, TABLE, 512, false);
	put_prd(1, DATA, 512, true);
	table_at(TABLE);
	command(0x25, 2);
	complete(0);
	assert_int_equal(bm_status(), BM_STATUS_INTR);
}

/* ---- what takes a transfer away ---- */

static void not_master_waits(void **state)
{
	master = false;
	put_prd(0, DATA, 512, true);
	table_at(TABLE);
	command(0x25, 1);
	assert_int_equal(backend.submitted, 0);
	assert_int_equal(bm_status(), BM_STATUS_ACTIVE);
	master = true;
	ide_dma_run(&channel);
	complete(0);
	assert_int_equal(bm_status(), BM_STATUS_INTR);
}

static void reset_in_flight_waits_and_forgets(void **state)
{
	put_prd(0, DATA, 512, true);
	table_at(TABLE);
	command(0x25, 1);
	space_write(&machine.ports, 0x3f6, ATA_CONTROL_SRST, 1);
	assert_int_equal(backend.drains, 1);
	assert_null(backend.pending);
	assert_int_equal(status(), ATA_BSY);
	space_write(&machine.ports, 0x3f6, 0, 1);
	assert_int_equal(status(), ATA_DRDY | ATA_DSC);
	assert_int_equal(edges, 0);
	assert_int_equal(space_read(&machine.ports, 0x1f1, 1), 1);
}

static void stop_in_flight_waits_and_asks_for_no_more(void **state)
{
	for (unsigned i = 0; i < 1024; i++)
		put_prd(i, DATA, 2, i == 1023);
	table_at(TABLE);
	command(0x25, 4);
	assert_non_null(backend.pending);
	ide_dma_write(&channel, BM_COMMAND, 0);
	assert_null(backend.pending);
	assert_int_equal(backend.submitted, 1);
	assert_int_equal(bm_status() & BM_STATUS_ACTIVE, 0);
}

static void reset_in_flight_of_pio(void **state)
{
	reg(2, 4);
	reg(3, 1);
	reg(6, ATA_DEVICE_LBA);
	reg(7, 0x20);
	assert_int_equal(status(), ATA_BSY);
	ide_channel_reset(&channel);
	assert_int_equal(status(), ATA_DRDY | ATA_DSC);
	assert_int_equal(edges, 0);
}

static void register_writes_of_a_busy_drive_do_nothing(void **state)
{
	reg(2, 4);
	reg(3, 1);
	reg(6, ATA_DEVICE_LBA);
	reg(7, 0x20);
	reg(7, 0xec);
	reg(2, 9);
	assert_int_equal(backend.submitted, 1);
	complete(0);
	assert_int_equal(space_read(&machine.ports, 0x1f2, 1), 4);
	assert_int_equal(status(), ATA_DRDY | ATA_DSC | ATA_DRQ);
}

/* ---- errors of the backend ---- */

static void dma_error_is_unc_with_an_interrupt(void **state)
{
	put_prd(0, DATA, 512, true);
	table_at(TABLE);
	command(0x25, 1);
	complete(-EIO);
	assert_int_equal(status(), ATA_DRDY | ATA_DSC | ATA_ERR);
	assert_int_equal(space_read(&machine.ports, 0x1f1, 1), ATA_UNC);
	assert_int_equal(edges, 1);
}

/* Sector 8 + 5 is bad: the first five are delivered, then its address is reported. */
static void pio_error_names_the_sector(void **state)
{
	unsigned delivered = 0;

	reg(2, 8);
	reg(3, 8);
	reg(4, 0);
	reg(5, 0);
	reg(6, ATA_DEVICE_LBA);
	reg(7, 0x20);
	while (backend.pending || status() & ATA_DRQ) {
		if (backend.pending) {
			uint64_t first = backend.offset / 512, end = first + backend.bytes / 512;

			complete(first <= 13 && end > 13 ? -EIO : 0);
			continue;
		}
		for (unsigned i = 0; i < 128; i++)
			assert_int_equal(space_read(&machine.ports, 0x1f0, 4), 0xd5d5d5d5);
		delivered++;
	}
	assert_int_equal(delivered, 5);
	assert_int_equal(space_read(&machine.ports, 0x1f1, 1), ATA_UNC);
	assert_int_equal(space_read(&machine.ports, 0x1f3, 1), 13);
}

static void write_error_aborts(void **state)
{
	reg(2, 1);
	reg(3, 8);
	reg(6, ATA_DEVICE_LBA);
	reg(7, 0x30);
	for (unsigned i = 0; i < 256; i++)
		space_write(&machine.ports, 0x1f0, i, 2);
	complete(-ENOSPC);
	assert_int_equal(status(), ATA_DRDY | ATA_DSC | ATA_ERR);
	assert_int_equal(space_read(&machine.ports, 0x1f1, 1), ATA_ABRT);
}

static void trim_beyond_the_end_trims_nothing(void **state)
{
	uint64_t ranges[64] = {8 | 4ULL << 48, SECTORS | 1ULL << 48};

	assert_int_equal(guest_write(&machine.memory, DATA, ranges, sizeof(ranges)), 0);
	put_prd(0, DATA, 512, true);
	table_at(TABLE);
	reg(1, 1);
	reg(2, 0);
	reg(2, 1);
	reg(6, ATA_DEVICE_LBA);
	reg(7, 0x06);
	ide_dma_write(&channel, BM_COMMAND, BM_COMMAND_START);
	assert_int_equal(backend.submitted, 0);
	assert_int_equal(space_read(&machine.ports, 0x1f1, 1), ATA_ABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(exact_table_ends_inactive),
		T(larger_table_stays_active),
		T(smaller_table_waits_and_a_new_one_goes_on),
		T(table_without_a_sector_submits_nothing),
		T(count_0_is_64_kib),
		T(odd_addresses_and_counts_lose_bit_0),
		T(unterminated_table_of_two_byte_entries_is_bounded),
		T(table_outside_memory_is_an_error),
		T(data_outside_memory_is_an_error),
		T(good_sectors_before_a_bad_descriptor_move),
		T(data_over_the_table_is_harmless),
		T(not_master_waits),
		T(reset_in_flight_waits_and_forgets),
		T(stop_in_flight_waits_and_asks_for_no_more),
		T(reset_in_flight_of_pio),
		T(register_writes_of_a_busy_drive_do_nothing),
		T(dma_error_is_unc_with_an_interrupt),
		T(pio_error_names_the_sector),
		T(write_error_aborts),
		T(trim_beyond_the_end_trims_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
