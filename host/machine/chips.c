/* SPDX-License-Identifier: MIT */
/* The field tables of the neutral chip states (chips.h), with the values that they may have. */
#include "machine/chips.h"

#include <errno.h>

#define VM_TIME_MAX INT64_C(0x0fffffffffffffff)
#define BCD_MODULUS 10000
#define MODULUS	    65536

static bool valid_base(const void *state, uint64_t value)
{
	return (value & 7) == 0;
}

static bool valid_init(const void *state, uint64_t value)
{
	return value == 0 || (value >= 2 && value <= 4);
}

static const struct state_field pic_fields[] = {
	STATE_UINT(struct pic_state, irr),
	STATE_UINT(struct pic_state, isr),
	STATE_UINT(struct pic_state, imr),
	STATE_UINT(struct pic_state, elcr),
	STATE_UINT(struct pic_state, input),
	STATE_UINT(struct pic_state, vector_base, .valid = valid_base),
	STATE_UINT(struct pic_state, lowest, .max = 7),
	STATE_UINT(struct pic_state, init, .valid = valid_init),
	STATE_BOOL(struct pic_state, needs_icw4),
	STATE_BOOL(struct pic_state, single),
	STATE_BOOL(struct pic_state, read_isr),
	STATE_BOOL(struct pic_state, poll),
	STATE_BOOL(struct pic_state, special_mask),
	STATE_BOOL(struct pic_state, auto_eoi),
	STATE_BOOL(struct pic_state, rotate_on_aeoi),
	STATE_BOOL(struct pic_state, special_nested),
	STATE_END,
};

static const struct state_table pic_table = {.name = "pic", .version = 1, .fields = pic_fields};

/* Reserved bits of a redirection entry (82093AA, 3.2.4). */
static bool valid_entry(const void *state, uint64_t value)
{
	return (value & UINT64_C(0x00fffffffffe0000)) == 0;
}

static const struct state_field ioapic_fields[] = {
	STATE_UINT(struct ioapic_state, select),
	STATE_UINT(struct ioapic_state, id, .max = 15),
	STATE_UINTS(struct ioapic_state, table, .valid = valid_entry),
	STATE_BOOLS(struct ioapic_state, input),
	STATE_BOOLS(struct ioapic_state, pending),
	STATE_END,
};

static const struct state_table ioapic_table = {
	.name = "ioapic", .version = 1, .fields = ioapic_fields};

static bool valid_time(const void *state, uint64_t value)
{
	return (int64_t)value >= -VM_TIME_MAX && (int64_t)value <= VM_TIME_MAX;
}

static bool valid_paused(const void *state, uint64_t value)
{
	return (int64_t)value >= -1 && (int64_t)value <= VM_TIME_MAX;
}

static const struct state_field counter_fields[] = {
	STATE_UINT(struct pit_counter, control, .max = 0x3f),
	STATE_UINT(struct pit_counter, mode, .max = 5),
	STATE_UINT(struct pit_counter, access, .max = 3),
	STATE_BOOL(struct pit_counter, bcd),
	STATE_BOOL(struct pit_counter, gate),
	STATE_BOOL(struct pit_counter, loaded),
	STATE_UINT(struct pit_counter, reload, .min = 1, .max = MODULUS),
	STATE_UINT(struct pit_counter, next, .max = MODULUS),
	STATE_UINT(struct pit_counter, start, .valid = valid_time),
	STATE_UINT(struct pit_counter, paused, .valid = valid_paused),
	STATE_BOOL(struct pit_counter, triggered),
	STATE_BOOL(struct pit_counter, write_msb),
	STATE_BOOL(struct pit_counter, read_msb),
	STATE_UINT(struct pit_counter, write_lsb),
	STATE_BOOL(struct pit_counter, count_latched),
	STATE_BOOL(struct pit_counter, status_latched),
	STATE_UINT(struct pit_counter, latch),
	STATE_UINT(struct pit_counter, status),
	STATE_END,
};

static int counter_loaded(void *state, unsigned version, struct error *err)
{
	const struct pit_counter *c = state;
	uint32_t most = c->bcd ? BCD_MODULUS : MODULUS;

	if (c->reload > most && c->loaded)
		return error_set(err, EINVAL, "reload: %u in BCD", c->reload);
	if (c->next > most)
		return error_set(err, EINVAL, "next: %u in BCD", c->next);
	return 0;
}

static const struct state_table counter_table = {
	.name = "counter", .version = 1, .fields = counter_fields, .post_load = counter_loaded};

static const struct state_field pit_fields[] = {
	STATE_PARTS(struct pit_state, counters, counter_table),
	STATE_BOOL(struct pit_state, speaker),
	STATE_END,
};

static const struct state_table pit_table = {.name = "pit", .version = 1, .fields = pit_fields};

static const struct state_field chips_fields[] = {
	STATE_PARTS(struct chips_state, pic, pic_table),
	STATE_PART(struct chips_state, ioapic, ioapic_table),
	STATE_PART(struct chips_state, pit, pit_table),
	STATE_END,
};

const struct state_table chips_state_table = {
	.name = "chips", .version = 1, .fields = chips_fields};
