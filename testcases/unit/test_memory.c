/* SPDX-License-Identifier: MIT */
/* Spans: what the accessor of guest memory hands out, and what it refuses (machine/memory.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "machine/memory.h"

#define KIB 1024ULL

/* RAM at 0..64K, ROM right behind it, a hole, RAM at 256K..320K and the very last page. */
static int set_up(void **state)
{
	static struct guest_memory mem;
	struct error err;

	memset(&mem, 0, sizeof(mem));
	assert_int_equal(memory_add(&mem, "high", 256 * KIB, 64 * KIB, false, &err), 0);
	assert_int_equal(memory_add(&mem, "low", 0, 64 * KIB, false, &err), 0);
	assert_int_equal(memory_add(&mem, "rom", 64 * KIB, 64 * KIB, true, &err), 0);
	assert_int_equal(memory_add(&mem, "top", -8192ULL, 4096, false, &err), 0);
	*state = &mem;
	return 0;
}

static int tear_down(void **state)
{
	memory_destroy(*state);
	return 0;
}

static unsigned pins(const struct guest_memory *mem)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < mem->count; i++)
		sum += atomic_load(&mem->blocks[i].pins);
	return sum;
}

static void refuses(
	struct guest_memory *mem, uint64_t address, uint64_t length, enum span_direction direction)
{
	struct span span;

	assert_int_equal(span_get(mem, address, length, direction, &span), -EFAULT);
	assert_int_equal(span.count, 0);
	assert_int_equal(pins(mem), 0);
}

static void a_span_crosses_adjoining_blocks(void **state)
{
	struct guest_memory *mem = *state;
	struct span span;

	assert_int_equal(span_get(mem, 60 * KIB, 8 * KIB, SPAN_READ, &span), 0);
	assert_int_equal(span.count, 2);
	assert_int_equal(span.iov[0].iov_len, 4 * KIB);
	assert_int_equal(span.iov[1].iov_len, 4 * KIB);
	assert_ptr_equal(span.iov[1].iov_base, mem->blocks[1].host);
	assert_int_equal(pins(mem), 2);
	span_put(&span, 0);
	assert_int_equal(pins(mem), 0);
}

static void an_empty_span_is_empty(void **state)
{
	struct span span;

	assert_int_equal(span_get(*state, 128 * KIB, 0, SPAN_WRITE, &span), 0);
	assert_int_equal(span.count, 0);
	span_put(&span, 0);
}

static void the_last_byte_is_in_and_the_next_is_out(void **state)
{
	struct span span;

	assert_int_equal(span_get(*state, 320 * KIB - 1, 1, SPAN_WRITE, &span), 0);
	span_put(&span, 1);
	refuses(*state, 320 * KIB - 1, 2, SPAN_WRITE);
	refuses(*state, 320 * KIB, 1, SPAN_WRITE);
}

static void holes_and_rom_are_refused(void **state)
{
	refuses(*state, 128 * KIB, 1, SPAN_READ);
	refuses(*state, 120 * KIB, 16 * KIB, SPAN_READ);
	refuses(*state, 200 * KIB, 100 * KIB, SPAN_READ);
	refuses(*state, 64 * KIB, 1, SPAN_WRITE);
	refuses(*state, 63 * KIB, 2 * KIB, SPAN_WRITE);
}

static void wrapping_around_is_refused(void **state)
{
	struct span span;

	assert_int_equal(span_get(*state, -8192ULL, 4096, SPAN_WRITE, &span), 0);
	span_put(&span, 4096);
	refuses(*state, -8192ULL, 8193, SPAN_WRITE);
	refuses(*state, UINT64_MAX, 2, SPAN_READ);
	refuses(*state, 0, UINT64_MAX, SPAN_READ);
	refuses(*state, 1, UINT64_MAX, SPAN_READ);
}

static uint64_t marked_address, marked_length;

static void written(void *opaque, uint64_t address, uint64_t length)
{
	marked_address = address;
	marked_length = length;
}

static int added(void *opaque, const struct ram_block *block, struct error *err)
{
	return 0;
}

static void what_was_written_is_marked(void **state)
{
	struct memory_listener listener = {.block_added = added, .written = written};
	struct span span;

	assert_int_equal(memory_listen(*state, &listener, NULL), 0);
	assert_int_equal(span_get(*state, 4096, 4096, SPAN_WRITE, &span), 0);
	span_put(&span, 100);
	assert_int_equal(marked_address, 4096);
	assert_int_equal(marked_length, 100);
	/* A device cannot have written more than the span. */
	assert_int_equal(span_get(*state, 0, 16, SPAN_WRITE, &span), 0);
	span_put(&span, 1000);
	assert_int_equal(marked_length, 16);
	marked_length = 0;
	assert_int_equal(span_get(*state, 0, 16, SPAN_READ, &span), 0);
	span_put(&span, 16);
	assert_int_equal(marked_length, 0);
}

static void copies_are_all_or_nothing(void **state)
{
	uint8_t out[16], in[16] = "fifteen letters";

	memset(out, 0x5a, sizeof(out));
	assert_int_equal(guest_write(*state, 64 * KIB - 16, in, 16), 0);
	assert_int_equal(guest_read(*state, 64 * KIB - 16, out, 16), 0);
	assert_memory_equal(in, out, 16);
	assert_int_equal(guest_write(*state, 64 * KIB - 8, "overrun", 16), -EFAULT);
	assert_int_equal(guest_read(*state, 64 * KIB - 8, out, 8), 0);
	assert_memory_equal(in + 8, out, 8);
	memset(out, 0x5a, sizeof(out));
	assert_int_equal(guest_read(*state, 320 * KIB - 8, out, 16), -EFAULT);
	assert_int_equal(out[0], 0x5a);
}

static void a_loader_may_write_rom(void **state)
{
	uint8_t out[4];

	assert_int_equal(guest_load(*state, 64 * KIB - 2, "\1\2\3\4", 4), 0);
	assert_int_equal(guest_read(*state, 64 * KIB - 2, out, 4), 0);
	assert_memory_equal(out, "\1\2\3\4", 4);
	assert_int_equal(guest_load(*state, 128 * KIB - 2, "\1\2\3\4", 4), -EFAULT);
	assert_int_equal(guest_load(*state, UINT64_MAX, "\1\2", 2), -EFAULT);
}

static void bad_blocks_are_refused(void **state)
{
	struct guest_memory *mem = *state;
	struct error err;

	assert_int_equal(memory_add(mem, "x", 32 * KIB, 4096, false, &err), -EEXIST);
	assert_int_equal(memory_add(mem, "x", 252 * KIB, 8 * KIB, false, &err), -EEXIST);
	assert_int_equal(memory_add(mem, "x", 1 << 20, 100, false, &err), -EINVAL);
	assert_int_equal(memory_add(mem, "x", 1 << 20, 0, false, &err), -EINVAL);
	assert_int_equal(memory_add(mem, "x", -4096ULL, 8192, false, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_span_crosses_adjoining_blocks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_empty_span_is_empty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			the_last_byte_is_in_and_the_next_is_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(holes_and_rom_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(wrapping_around_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_written_is_marked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(copies_are_all_or_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_loader_may_write_rom, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_blocks_are_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
