/* SPDX-License-Identifier: MIT */
/* GSIs on a PC: below 16 to the 8259s and to the IOAPIC pin of the number, but 0 to pin 2. */
#include "board/irq-models.h"

#include <errno.h>

#include "devices/chipset/i8254.h"
#include "devices/chipset/i8259.h"
#include "devices/chipset/ioapic.h"
#include "devices/devices.h"

#define ISA_LINES    16
#define CASCADE	     2
#define PIN_OF_TIMER 2

static struct device *pics, *ioapic, *pit;

static void set_gsi(void *opaque, unsigned gsi, bool level)
{
	struct machine *machine = opaque;

	if (level)
		atomic_fetch_add_explicit(&machine->interrupts, 1, memory_order_relaxed);
	if (gsi < ISA_LINES && gsi != CASCADE)
		i8259_set(pics, gsi, level);
	if (gsi != CASCADE)
		ioapic_set(ioapic, gsi == 0 ? PIN_OF_TIMER : gsi, level);
}

static void eoi(void *opaque, uint8_t vector)
{
	ioapic_eoi(ioapic, vector);
}

static int get_chips(void *opaque, struct chips_state *state, struct error *err)
{
	i8259_get(pics, state->pic);
	ioapic_get(ioapic, &state->ioapic);
	i8254_get(pit, &state->pit);
	return 0;
}

static int set_chips(void *opaque, const struct chips_state *state, struct error *err)
{
	i8259_set_state(pics, state->pic);
	ioapic_set_state(ioapic, &state->ioapic);
	return i8254_set(pit, &state->pit, err);
}

int irq_models_create(struct machine *machine, struct error *err)
{
	pics = device_create(machine, &i8259_type, NULL, NULL, err);
	ioapic = pics ? device_create(machine, &ioapic_type, NULL, NULL, err) : NULL;
	if (!ioapic)
		return -EINVAL;
	for (unsigned i = 0; i < GSI_COUNT; i++)
		machine->gsi[i] = (struct irq_line){set_gsi, machine, i, "gsi"};
	machine->eoi = eoi;
	machine->chips = (struct machine_chips){get_chips, set_chips, machine};
	pit = device_create(machine, &i8254_type, NULL, NULL, err);
	return pit ? 0 : -EINVAL;
}
