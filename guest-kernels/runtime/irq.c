/* SPDX-License-Identifier: MIT */
/*
 * Interrupt controllers and the counting of what they deliver.
 */
#include "runtime/irq.h"
#include "runtime/run.h"
#include "runtime/test.h"

volatile uint32_t irq_counts[256];
static irq_fn *handlers[256];
static unsigned next_vector = IRQ_VECTOR_FIRST;
static uint32_t routed; /* I/O APIC pins that may be unmasked */
static bool ioapic_known, pic_used;

irq_elsewhere_fn *irq_elsewhere;

void irq_dispatch(unsigned vector)
{
	if (irq_elsewhere && irq_elsewhere(vector))
		return;
	irq_counts[vector]++;
	if (handlers[vector])
		handlers[vector](vector);
	else if (vector >= IRQ_VECTOR_FIRST && vector != IRQ_SPURIOUS)
		lapic_eoi();
	else if (vector >= IRQ_PIC_BASE && vector < IRQ_PIC_BASE + 16)
		pic_eoi(vector - IRQ_PIC_BASE);
}

unsigned irq_vector(void)
{
	unsigned vector = next_vector;

	if (vector > IRQ_VECTOR_LAST)
		ERROR("no vector is left");
	next_vector = vector + 1;
	irq_counts[vector] = 0;
	handlers[vector] = NULL;
	return vector;
}

void irq_handler(unsigned vector, irq_fn *handler)
{
	handlers[vector & 0xff] = handler;
}

uint32_t irq_total(void)
{
	uint32_t sum = 0;

	for (unsigned i = 32; i < 256; i++)
		sum += irq_counts[i];
	return sum;
}

static bool bit_of(unsigned bank, unsigned vector)
{
	return lapic_read(bank + (vector >> 5) * 0x10) >> (vector & 31) & 1;
}

bool lapic_requested(unsigned vector)
{
	return bit_of(LAPIC_IRR, vector);
}

bool lapic_in_service(unsigned vector)
{
	return bit_of(LAPIC_ISR, vector);
}

unsigned lapic_anything(void)
{
	for (unsigned i = 0; i < 8; i++) {
		uint32_t bits = lapic_read(LAPIC_IRR + i * 0x10) | lapic_read(LAPIC_ISR + i * 0x10);

		if (bits)
			return i * 32 + __builtin_ctz(bits);
	}
	return 0;
}

uint8_t lapic_id(void)
{
	return lapic_read(LAPIC_ID) >> 24;
}

void lapic_self_ipi(unsigned vector)
{
	lapic_write(LAPIC_ICR_LOW, 0x40000 | vector);
}

uint32_t ioapic_read(unsigned reg)
{
	mmio_write32((void *)IOAPIC_BASE, reg);
	return mmio_read32((void *)(IOAPIC_BASE + 0x10));
}

void ioapic_write(unsigned reg, uint32_t value)
{
	mmio_write32((void *)IOAPIC_BASE, reg);
	mmio_write32((void *)(IOAPIC_BASE + 0x10), value);
}

uint32_t ioapic_entry_low(unsigned pin)
{
	return ioapic_read(0x10 + pin * 2);
}

void ioapic_route(unsigned pin, unsigned vector, uint32_t flags)
{
	if (pin >= IOAPIC_PINS)
		ERROR("the I/O APIC has no pin %u", pin);
	routed |= 1u << pin;
	ioapic_write(0x10 + pin * 2, IOAPIC_MASK);
	ioapic_write(0x11 + pin * 2, (uint32_t)lapic_id() << 24);
	ioapic_write(0x10 + pin * 2, flags | vector);
}

void ioapic_mask(unsigned pin)
{
	ioapic_write(0x10 + pin * 2, IOAPIC_MASK);
}

unsigned ioapic_isa_pin(unsigned irq)
{
	return irq == 0 ? 2 : irq;
}

void pic_set_mask(uint16_t mask)
{
	outb(0x21, mask & 0xff);
	outb(0xa1, mask >> 8);
}

void pic_mask_all(void)
{
	pic_set_mask(0xffff);
}

void pic_eoi(unsigned irq)
{
	if (irq >= 8)
		outb(0xa0, 0x20);
	outb(0x20, 0x20);
}

void pic_remap(void)
{
	pic_used = true;
	outb(0x20, 0x11); /* ICW1: edge, cascade, ICW4 */
	outb(0x21, IRQ_PIC_BASE);
	outb(0x21, 4); /* ICW3: slave at 2 */
	outb(0x21, 1); /* ICW4: 8086 mode */
	outb(0xa0, 0x11);
	outb(0xa1, IRQ_PIC_BASE + 8);
	outb(0xa1, 2);
	outb(0xa1, 1);
	pic_mask_all();
}

void pic_to_cpu(bool on)
{
	pic_used |= on;
	lapic_write(LAPIC_LVT_LINT0, on ? 0x700 : LAPIC_LVT_MASKED | 0x700);
}

/* The local APIC is enabled by software here; its LVTs come masked out of reset (10.4.7.1), but
 * firmware may have run. */
void irq_init(void)
{
	pic_mask_all();
	lapic_write(LAPIC_SVR, 0x100 | IRQ_SPURIOUS);
	lapic_write(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED);
	lapic_write(LAPIC_LVT_LINT0, LAPIC_LVT_MASKED | 0x700);
	lapic_write(LAPIC_LVT_LINT1, 0x400); /* NMI: the host's way to ask where we are */
	lapic_write(LAPIC_LVT_ERROR, LAPIC_LVT_MASKED);
	lapic_write(LAPIC_TPR, 0);
}

bool irq_isolate(void)
{
	unsigned vector;

	if (!ioapic_known) { /* firmware may have left some unmasked */
		ioapic_known = true;
		routed = 0xffffff;
	}
	for (unsigned pin = 0; routed; pin++, routed >>= 1) {
		if (routed & 1)
			ioapic_mask(pin);
	}
	lapic_write(LAPIC_LVT_TIMER, LAPIC_LVT_MASKED);
	lapic_write(LAPIC_TIMER_INITIAL, 0);
	lapic_write(LAPIC_TPR, 0);
	if (pic_used) {
		pic_remap();
		pic_to_cpu(false);
		pic_used = false;
	}
	for (unsigned v = IRQ_PIC_BASE; v < next_vector; v++)
		handlers[v] = NULL;
	irq_enable();
	/* Some hosts deliver late: each turn is 16 readings of the APIC, all of them some 100 ms.
	 */
	for (int i = 0; i < 2000 && (vector = lapic_anything()) != 0; i++) {
		if (lapic_in_service(vector))
			lapic_eoi();
		cpu_relax();
	}
	next_vector = IRQ_VECTOR_FIRST;
	irq_counts[IRQ_SPURIOUS] = 0;
	return lapic_anything() == 0;
}
