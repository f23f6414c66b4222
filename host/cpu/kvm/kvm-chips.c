/* SPDX-License-Identifier: MIT */
/*
 * The kernel's PIC, IOAPIC and PIT to and from their neutral forms (machine/chips.h).
 *
 * Left out: the phase of the kernel's PIT.  It begins to count anew whenever it is set, so that
 * after a load the first period of a counter is a whole one.
 */
#include "cpu/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define PIN_OF_TIMER  2 /* GSI 0's */
#define ENTRY_LEVEL   (1ULL << 15)
#define ENTRY_MASKED  (1ULL << 16)
#define ENTRY_DEFINED (~0x00fffffffffe0000ULL)
#define PIT_NO_MODE   0xff

enum { RW_LSB = 1, RW_MSB, RW_WORD0, RW_WORD1 };

/* --- 8259 --- */

static void pic_out(const struct kvm_pic_state *k, struct pic_state *to)
{
	*to = (struct pic_state){
		.irr = k->irr,
		.isr = k->isr,
		.imr = k->imr,
		.elcr = k->elcr,
		.input = k->last_irr,
		.vector_base = k->irq_base & 0xf8,
		.lowest = (k->priority_add - 1) & 7,
		.init = k->init_state ? (k->init_state & 3) + 1 : 0,
		.needs_icw4 = k->init4,
		.read_isr = k->read_reg_select,
		.poll = k->poll,
		.special_mask = k->special_mask,
		.auto_eoi = k->auto_eoi,
		.rotate_on_aeoi = k->rotate_on_auto_eoi,
		.special_nested = k->special_fully_nested_mode,
	};
}

static void pic_in(struct kvm_pic_state *k, const struct pic_state *from)
{
	k->irr = from->irr;
	k->isr = from->isr;
	k->imr = from->imr;
	k->elcr = from->elcr & k->elcr_mask;
	k->last_irr = from->input;
	k->irq_base = from->vector_base;
	k->priority_add = (from->lowest + 1) & 7;
	k->init_state = from->init ? from->init - 1 : 0;
	k->init4 = from->needs_icw4;
	k->read_reg_select = from->read_isr;
	k->poll = from->poll;
	k->special_mask = from->special_mask;
	k->auto_eoi = from->auto_eoi;
	k->rotate_on_auto_eoi = from->rotate_on_aeoi;
	k->special_fully_nested_mode = from->special_nested;
}

/* --- IOAPIC: what the kernel calls IRR is the level of a level-triggered wire, or an edge that
 * was not delivered --- */

static unsigned pin_of(unsigned gsi)
{
	return gsi == 0 ? PIN_OF_TIMER : gsi;
}

static void ioapic_out(
	const struct kvm_engine *kvm, const struct kvm_ioapic_state *k, struct ioapic_state *to)
{
	*to = (struct ioapic_state){.select = k->ioregsel, .id = k->id & 15};
	for (unsigned pin = 0; pin < IOAPIC_PIN_COUNT; pin++) {
		to->table[pin] = k->redirtbl[pin].bits & ENTRY_DEFINED;
		to->pending[pin] =
			k->irr >> pin & 1 && !(to->table[pin] & (ENTRY_LEVEL | ENTRY_MASKED));
	}
	for (unsigned gsi = 0; gsi < GSI_COUNT; gsi++)
		if (gsi != PIN_OF_TIMER)
			to->input[pin_of(gsi)] = kvm->gsi_level[gsi];
}

static void ioapic_in(struct kvm_ioapic_state *k, const struct ioapic_state *from)
{
	k->ioregsel = from->select;
	k->id = from->id;
	k->irr = 0;
	for (unsigned pin = 0; pin < IOAPIC_PIN_COUNT; pin++) {
		bool level = from->table[pin] & ENTRY_LEVEL;

		k->redirtbl[pin].bits = from->table[pin];
		if (level ? from->input[pin] : from->pending[pin])
			k->irr |= 1u << pin;
	}
}

/* --- 8254 --- */

static void counter_out(
	const struct kvm_engine *kvm, const struct kvm_pit_channel_state *k, struct pit_counter *to)
{
	bool has_mode = k->mode != PIT_NO_MODE;
	int64_t start = k->count_load_time - kvm->engine.machine->clock.offset;
	int64_t now = vm_clock_now(&kvm->engine.machine->clock);

	*to = (struct pit_counter){
		.mode = has_mode ? k->mode % 6 : 3,
		.access = k->rw_mode ? k->rw_mode & 3 : RW_WORD0,
		.bcd = k->bcd,
		.gate = k->gate,
		.loaded = has_mode && k->count,
		.reload = k->count && k->count <= 65536 ? k->count : 65536,
		/* The kernel keeps the host's time of it. */
		.start = start < now ? start : now,
		.paused = -1,
		.triggered = true,
		.write_msb = k->write_state == RW_WORD1,
		.read_msb =
			k->count_latched ? k->count_latched == RW_WORD1 : k->read_state == RW_WORD1,
		.write_lsb = k->write_latch,
		.count_latched = k->count_latched,
		.latch = k->latched_count,
		.status_latched = k->status_latched,
		.status = k->status,
	};
	to->control = to->access << 4 | to->mode << 1 | to->bcd;
	if (to->bcd && to->reload > 10000)
		to->reload = 10000;
}

static void counter_in(struct kvm_pit_channel_state *k, const struct pit_counter *from)
{
	uint8_t word = from->access == 3 ? RW_WORD0 : from->access;

	*k = (struct kvm_pit_channel_state){
		.count = from->reload,
		.latched_count = from->latch,
		.status_latched = from->status_latched,
		.status = from->status,
		.read_state = from->access == 3 && from->read_msb ? RW_WORD1 : word,
		.write_state = from->access == 3 && from->write_msb ? RW_WORD1 : word,
		.write_latch = from->write_lsb,
		.rw_mode = word,
		.mode = from->loaded || from->mode != 3 ? from->mode : PIT_NO_MODE,
		.bcd = from->bcd,
		.gate = from->gate,
	};
	if (from->count_latched)
		k->count_latched = from->access == 3 && from->read_msb ? RW_WORD1 : word;
}

/* --- together --- */

static int get_chips(void *opaque, struct chips_state *state, struct error *err)
{
	struct kvm_engine *kvm = opaque;
	struct kvm_irqchip chips[3];
	struct kvm_pit_state2 pit;

	for (unsigned i = 0; i < 3; i++) {
		chips[i].chip_id = i;
		if (ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &chips[i]) < 0)
			return error_set_errno(err, errno, "KVM does not tell its chips' state");
	}
	if (ioctl(kvm->vm_fd, KVM_GET_PIT2, &pit) < 0)
		return error_set_errno(err, errno, "KVM does not tell its PIT's state");
	pic_out(&chips[0].chip.pic, &state->pic[0]);
	pic_out(&chips[1].chip.pic, &state->pic[1]);
	ioapic_out(kvm, &chips[2].chip.ioapic, &state->ioapic);
	for (unsigned i = 0; i < 3; i++)
		counter_out(kvm, &pit.channels[i], &state->pit.counters[i]);
	state->pit.speaker = pit.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	return 0;
}

/* The kernel remembers the level of each line beside the chips; it hears of it first, so that what
 * that does to the chips is overwritten. */
static void set_lines(struct kvm_engine *kvm, const struct chips_state *state)
{
	for (unsigned gsi = 0; gsi < GSI_COUNT; gsi++) {
		bool level = gsi == PIN_OF_TIMER ? false : state->ioapic.input[pin_of(gsi)];
		struct kvm_irq_level line = {.irq = gsi, .level = level};

		kvm->gsi_level[gsi] = level;
		ioctl(kvm->vm_fd, KVM_IRQ_LINE, &line);
	}
}

static int set_chips(void *opaque, const struct chips_state *state, struct error *err)
{
	struct kvm_engine *kvm = opaque;
	struct kvm_pit_state2 pit = kvm->poweron_pit;

	set_lines(kvm, state);
	for (unsigned i = 0; i < 3; i++)
		counter_in(&pit.channels[i], &state->pit.counters[i]);
	pit.flags = state->pit.speaker ? pit.flags | KVM_PIT_FLAGS_SPEAKER_DATA_ON
				       : pit.flags & ~KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	if (ioctl(kvm->vm_fd, KVM_SET_PIT2, &pit) < 0)
		return error_set_errno(err, errno, "KVM refuses the PIT's state");
	for (unsigned i = 0; i < 3; i++) {
		struct kvm_irqchip chip = kvm->poweron_chips[i];

		if (i < 2)
			pic_in(&chip.chip.pic, &state->pic[i]);
		else
			ioapic_in(&chip.chip.ioapic, &state->ioapic);
		if (ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
			return error_set_errno(err, errno, "KVM refuses the chips' state");
	}
	return 0;
}

void kvm_chips_init(struct kvm_engine *kvm)
{
	kvm->engine.machine->chips = (struct machine_chips){get_chips, set_chips, kvm};
}
