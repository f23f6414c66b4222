/* SPDX-License-Identifier: MIT */
/* The fault engine: rows as testcases/faults.tsv writes them, and what they do at each seam. */
#ifndef ASSAY_FAULTS
#define ASSAY_FAULTS 1
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

/* The library has the engine only with FAULTS=1; the test brings it along. */
#include "../../host/base/fault-row.c"
#undef COUNT
#include "../../host/base/fault.c"

static void use_rows(const char *text)
{
	char path[] = "/tmp/assay-fault-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	setenv("ASSAY_FAULTS", "a", 1);
	setenv("ASSAY_FAULTS_TABLE", path, 1);
	load();
	unlink(path);
	assert_int_equal(row_count, 1);
}

static int loaded_once(void **state)
{
	unsetenv("ASSAY_FAULTS");
	(void)faults_on();
	return 0;
}

static void region_read_masks_a_register_inside_a_wider_access(void **state)
{
	uint64_t value = 0x11223344;

	use_rows("a\tregion-read\tregion=ide* offset=0x1f2\txor=0xff\t-\n");
	fault_region_read("ide0", 0x1f0, 4, &value);
	assert_int_equal(value, 0x11dd3344);
	fault_region_read("uart", 0x1f0, 4, &value);
	assert_int_equal(value, 0x11dd3344);
	fault_region_read("ide0", 0x1f3, 1, &value);
	assert_int_equal(value, 0x11dd3344);
}

static void region_read_forces_only_the_register_of_a_wider_access(void **state)
{
	uint64_t value = 0x11223344;

	use_rows("a\tregion-read\toffset=2\tvalue=0x5a\t-\n");
	fault_region_read("x", 0, 4, &value);
	assert_int_equal(value, 0x115a3344);
	value = 0x77;
	fault_region_read("x", 2, 1, &value);
	assert_int_equal(value, 0x5a);
}

static void while_follows_the_last_write(void **state)
{
	uint64_t value = 0xec;

	use_rows("a\tregion-read\tregion=ide offset=0 while=7:0xec\tor=1\t-\n");
	assert_int_equal(fault_region_write("ide", 7, 1, &value), FAULT_PASS);
	value = 0;
	fault_region_read("ide", 0, 1, &value);
	assert_int_equal(value, 1);
	value = 0x20;
	fault_region_write("ide", 7, 1, &value);
	value = 0;
	fault_region_read("ide", 0, 1, &value);
	assert_int_equal(value, 0);
}

static void write_is_dropped_the_second_time_only(void **state)
{
	uint64_t value = 1;

	use_rows("a\tregion-write\tregion=x nth=2\tdrop\t-\n");
	assert_int_equal(fault_region_write("x", 0, 1, &value), FAULT_PASS);
	assert_int_equal(fault_region_write("x", 0, 1, &value), FAULT_DROP);
	assert_int_equal(fault_region_write("x", 0, 1, &value), FAULT_PASS);
}

static void used_length_and_id_change(void **state)
{
	uint32_t id = 3, length = 513;

	use_rows("a\tqueue-push\tdevice=virtio-blk* queue=0\tadd=-1 id-xor=1 twice\t-\n");
	assert_int_equal(fault_queue_push("virtio-blk-pci", 0, &id, &length), FAULT_TWICE);
	assert_int_equal(id, 2);
	assert_int_equal(length, 512);
	assert_int_equal(fault_queue_push("virtio-blk-pci", 1, &id, &length), FAULT_PASS);
}

static void interrupt_is_stuck_or_moved(void **state)
{
	uint32_t line = 14;
	int level = 0;

	use_rows("a\tirq\tline=14\tstuck line-add=1\t-\n");
	fault_irq("ide", &line, &level);
	assert_int_equal(line, 15);
	assert_int_equal(level, 1);
}

static void block_data_and_result_change(void **state)
{
	uint8_t first[4] = {0}, second[4] = {0};
	struct iovec iov[2] = {{first, 4}, {second, 4}};
	int result = 0;

	use_rows("a\tblock-complete\tdrive=* op=read\tcorrupt=5:0x80 error=5\t-\n");
	fault_block_complete("d", FAULT_BLOCK_WRITE, 0, iov, 2, &result);
	assert_int_equal(result, 0);
	fault_block_complete("d", FAULT_BLOCK_READ, 0, iov, 2, &result);
	assert_int_equal(second[1], 0x80);
	assert_int_equal(result, -EIO);
}

static void span_spills_past_its_end(void **state)
{
	uint8_t memory[8] = {0};
	struct iovec iov = {memory, 4};

	use_rows("a\tspan-put\t-\tspill=2\t-\n");
	fault_span_put("", 0x1000, &iov, 1);
	assert_int_equal(memory[3], 0);
	assert_int_equal(memory[5], 0xee);
	assert_int_equal(memory[6], 0);
}

static void a_word_nobody_knows_is_refused(void **state)
{
	char seam[] = "irq", match[] = "linus=3", action[] = "drop", name[] = "a";
	char *columns[4] = {name, seam, match, action};
	const char *bad = NULL;
	struct row row;

	assert_false(parse_row(&row, columns, &bad));
	assert_string_equal(bad, "linus");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(region_read_masks_a_register_inside_a_wider_access),
		cmocka_unit_test(region_read_forces_only_the_register_of_a_wider_access),
		cmocka_unit_test(while_follows_the_last_write),
		cmocka_unit_test(write_is_dropped_the_second_time_only),
		cmocka_unit_test(used_length_and_id_change),
		cmocka_unit_test(interrupt_is_stuck_or_moved),
		cmocka_unit_test(block_data_and_result_change),
		cmocka_unit_test(span_spills_past_its_end),
		cmocka_unit_test(a_word_nobody_knows_is_refused),
	};

	return cmocka_run_group_tests(tests, loaded_once, NULL);
}
