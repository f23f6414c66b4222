/* SPDX-License-Identifier: MIT */
/* Address spaces: which region answers, and in which pieces (machine/space.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "machine/space.h"

/* A device that remembers how it was called and answers with its fill byte and the offset. */
struct probe {
	struct region region;
	uint8_t fill;
	unsigned calls;
	uint64_t offset[16], value[16];
	unsigned size[16];
	bool unmap_on_write;
};

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size)
{
	struct probe *p = opaque;
	uint64_t value = 0;

	p->offset[p->calls & 15] = offset;
	p->size[p->calls++ & 15] = size;
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)(uint8_t)(p->fill + offset + i) << (i * 8);
	return value;
}

static void probe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct probe *p = opaque;

	p->offset[p->calls & 15] = offset;
	p->value[p->calls & 15] = value;
	p->size[p->calls++ & 15] = size;
	if (p->unmap_on_write)
		space_unmap(&p->region);
}

static const struct region_ops bytes = {probe_read, probe_write, 1, 1, false};
static const struct region_ops words = {probe_read, probe_write, 2, 2, false};
static const struct region_ops dwords = {probe_read, probe_write, 4, 4, false};
static const struct region_ops anything = {probe_read, probe_write, 1, 8, true};

static struct address_space space;
static struct probe a, b;

static int set_up(void **state)
{
	space_init(&space, "test", false);
	a = (struct probe){.region = {.name = "a", .length = 16}, .fill = 0x10};
	b = (struct probe){.region = {.name = "b", .length = 16}, .fill = 0x80};
	a.region.opaque = &a;
	b.region.opaque = &b;
	a.region.ops = b.region.ops = &anything;
	return 0;
}

static void nobody_there_reads_ones(void **state)
{
	assert_int_equal(space_read(&space, 0, 1), 0xff);
	assert_int_equal(space_read(&space, 0, 4), 0xffffffff);
	assert_true(space_read(&space, 0, 8) == UINT64_MAX);
	space_write(&space, 0, 1, 4);
}

static void wide_accesses_are_split(void **state)
{
	a.region.ops = &bytes;
	space_map(&space, &a.region, 0x100);
	assert_int_equal(space_read(&space, 0x104, 4), 0x17161514);
	assert_int_equal(a.calls, 4);
	a.calls = 0;
	space_write(&space, 0x102, 0xaabbccdd, 4);
	assert_int_equal(a.calls, 4);
	assert_int_equal(a.value[0], 0xdd);
	assert_int_equal(a.value[3], 0xaa);
	assert_int_equal(a.offset[3], 5);
}

static void unaligned_accesses_are_split_where_alignment_counts(void **state)
{
	a.region.ops = &words;
	space_map(&space, &a.region, 0x100);
	assert_int_equal(space_read(&space, 0x102, 4), 0x15141312);
	assert_int_equal(a.calls, 2);
	a.region.ops = &anything;
	a.calls = 0;
	assert_int_equal(space_read(&space, 0x101, 4), 0x14131211);
	assert_int_equal(a.calls, 1);
}

static void narrow_reads_are_widened_and_narrow_writes_dropped(void **state)
{
	a.region.ops = &dwords;
	space_map(&space, &a.region, 0x100);
	assert_int_equal(space_read(&space, 0x106, 1), 0x16);
	assert_int_equal(a.size[0], 4);
	assert_int_equal(a.offset[0], 4);
	a.calls = 0;
	space_write(&space, 0x104, 1, 2);
	assert_int_equal(a.calls, 0);
}

static void an_access_ends_with_its_region(void **state)
{
	space_map(&space, &a.region, 0x100);
	space_map(&space, &b.region, 0x110);
	a.region.ops = &bytes;
	assert_int_equal(space_read(&space, 0x10e, 4), 0xffff1f1e);
	assert_int_equal(b.calls, 0);
	a.calls = 0;
	space_write(&space, 0x10f, 0x1234, 2);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 0);
}

static void priority_then_age_decide_an_overlap(void **state)
{
	space_map(&space, &a.region, 0x100);
	space_map(&space, &b.region, 0x108);
	assert_int_equal(space_read(&space, 0x108, 1), 0x80);
	assert_int_equal(space_read(&space, 0x107, 1), 0x17);
	/* The older one comes back when the newer leaves. */
	space_unmap(&b.region);
	assert_int_equal(space_read(&space, 0x108, 1), 0x18);
	b.region.priority = -1;
	space_map(&space, &b.region, 0x108);
	assert_int_equal(space_read(&space, 0x108, 1), 0x18);
	assert_int_equal(space_read(&space, 0x110, 1), 0x88);
}

static void a_region_at_the_end_of_the_space_is_reached(void **state)
{
	a.region.ops = &bytes;
	space_map(&space, &a.region, UINT64_MAX - 15);
	assert_int_equal(space_read(&space, UINT64_MAX, 1), 0x1f);
	/* The bytes past the end are nobody's. */
	assert_int_equal(space_read(&space, UINT64_MAX, 4), 0xffffff1f);
}

static void a_region_may_leave_while_it_is_written(void **state)
{
	a.region.ops = &bytes;
	a.unmap_on_write = true;
	space_map(&space, &a.region, 0x100);
	space_write(&space, 0x100, 0x01020304, 4);
	assert_int_equal(a.calls, 1);
	assert_null(a.region.space);
}

static void odd_sizes_are_taken_apart(void **state)
{
	space_map(&space, &a.region, 0x100);
	a.region.ops = &words;
	assert_int_equal(space_read(&space, 0x100, 3), 0x121110);
}

static unsigned events_now;

static int event_added(
	void *opaque, struct address_space *s, uint64_t address, const struct region_event *event)
{
	assert_int_equal(address, *(uint64_t *)opaque + event->offset);
	events_now++;
	return 0;
}

static void event_removed(
	void *opaque, struct address_space *s, uint64_t address, const struct region_event *event)
{
	assert_int_equal(address, *(uint64_t *)opaque + event->offset);
	events_now--;
}

static void events_follow_their_region(void **state)
{
	uint64_t base = 0x100;
	struct space_listener listener = {event_added, event_removed, &base};
	struct region_event event = {.offset = 4, .size = 2};

	events_now = 0;
	region_event_add(&a.region, &event);
	assert_int_equal(events_now, 0);
	space_map(&space, &a.region, base);
	space_listen(&space, &listener);
	assert_int_equal(events_now, 1);
	space_unmap(&a.region);
	assert_int_equal(events_now, 0);
	base = 0x200;
	space_map(&space, &a.region, base);
	assert_int_equal(events_now, 1);
	region_event_remove(&event);
	assert_int_equal(events_now, 0);
	space_unmap(&a.region);
	assert_int_equal(events_now, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nobody_there_reads_ones, set_up),
		cmocka_unit_test_setup(wide_accesses_are_split, set_up),
		cmocka_unit_test_setup(unaligned_accesses_are_split_where_alignment_counts, set_up),
		cmocka_unit_test_setup(narrow_reads_are_widened_and_narrow_writes_dropped, set_up),
		cmocka_unit_test_setup(an_access_ends_with_its_region, set_up),
		cmocka_unit_test_setup(priority_then_age_decide_an_overlap, set_up),
		cmocka_unit_test_setup(a_region_at_the_end_of_the_space_is_reached, set_up),
		cmocka_unit_test_setup(a_region_may_leave_while_it_is_written, set_up),
		cmocka_unit_test_setup(odd_sizes_are_taken_apart, set_up),
		cmocka_unit_test_setup(events_follow_their_region, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
