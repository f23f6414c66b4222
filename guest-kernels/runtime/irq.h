/* SPDX-License-Identifier: MIT */
/*
 * Interrupts: local APIC (xAPIC, Intel SDM volume 3 chapter 10), I/O APIC (82093AA), both 8259A
 * masked.
 *
 * TESTs run with IF = 1 and every source masked. Ask for a vector, route a source to it, count:
 *
 *	unsigned vector = irq_vector();
 *	ioapic_route(4, vector, IOAPIC_EDGE);
 *	... make the device interrupt ...
 *	EXPECT_TRUE(WAIT_UNTIL(irq_count(vector) == 1, SOON_US));
 *
 * A vector without a handler is counted and gets its EOI. A handler does the EOI itself. Vectors
 * 0x20 to 0x2f are the 8259As' (pic_remap), 0x30 to 0xef irq_vector()'s, 0xff the local APIC's
 * spurious one.
 */
#ifndef ASSAY_RUNTIME_IRQ_H
#define ASSAY_RUNTIME_IRQ_H

#include "runtime/io.h"

#define IRQ_PIC_BASE	 0x20
#define IRQ_VECTOR_FIRST 0x30
#define IRQ_VECTOR_LAST	 0xef
#define IRQ_SPURIOUS	 0xff

typedef void irq_fn(unsigned vector);

extern volatile uint32_t irq_counts[256];

static inline uint32_t irq_count(unsigned vector)
{
	return irq_counts[vector & 0xff];
}

/* The next free vector, its count at 0; all are free again before each TEST. */
unsigned irq_vector(void);
void irq_handler(unsigned vector, irq_fn *handler);
/* Sum of the counts of all vectors: for "no interrupt at all came". */
uint32_t irq_total(void);

/* Local APIC registers, by offset. */
enum {
	LAPIC_ID = 0x20,
	LAPIC_VERSION = 0x30,
	LAPIC_TPR = 0x80,
	LAPIC_PPR = 0xa0,
	LAPIC_EOI = 0xb0,
	LAPIC_LDR = 0xd0,
	LAPIC_DFR = 0xe0,
	LAPIC_SVR = 0xf0,
	LAPIC_ISR = 0x100,
	LAPIC_TMR = 0x180,
	LAPIC_IRR = 0x200,
	LAPIC_ESR = 0x280,
	LAPIC_ICR_LOW = 0x300,
	LAPIC_ICR_HIGH = 0x310,
	LAPIC_LVT_TIMER = 0x320,
	LAPIC_LVT_LINT0 = 0x350,
	LAPIC_LVT_LINT1 = 0x360,
	LAPIC_LVT_ERROR = 0x370,
	LAPIC_TIMER_INITIAL = 0x380,
	LAPIC_TIMER_CURRENT = 0x390,
	LAPIC_TIMER_DIVIDE = 0x3e0,
};

#define LAPIC_BASE	   0xfee00000ul
#define LAPIC_LVT_MASKED   0x10000u
#define LAPIC_LVT_PERIODIC 0x20000u

static inline uint32_t lapic_read(unsigned reg)
{
	return mmio_read32((void *)(LAPIC_BASE + reg));
}

static inline void lapic_write(unsigned reg, uint32_t value)
{
	mmio_write32((void *)(LAPIC_BASE + reg), value);
}

static inline void lapic_eoi(void)
{
	lapic_write(LAPIC_EOI, 0);
}

/* True if the vector is requested (IRR) or in service (ISR). */
bool lapic_requested(unsigned vector);
bool lapic_in_service(unsigned vector);
/* The lowest vector (0x10 up) requested or in service, or 0. */
unsigned lapic_anything(void);
uint8_t lapic_id(void);
/* A software-made interrupt to this CPU (ICR, fixed, self). */
void lapic_self_ipi(unsigned vector);

#define IOAPIC_BASE	  0xfec00000ul
#define IOAPIC_EDGE	  0u
#define IOAPIC_LEVEL	  0x8000u
#define IOAPIC_LOW	  0x2000u
#define IOAPIC_MASK	  0x10000u
#define IOAPIC_REMOTE_IRR 0x4000u
#define IOAPIC_PINS	  24

uint32_t ioapic_read(unsigned reg);
void ioapic_write(unsigned reg, uint32_t value);
/* Unmasked, fixed, physical destination this CPU. flags: IOAPIC_EDGE or _LEVEL, IOAPIC_LOW,
 * IOAPIC_MASK. */
void ioapic_route(unsigned pin, unsigned vector, uint32_t flags);
void ioapic_mask(unsigned pin);
uint32_t ioapic_entry_low(unsigned pin);
/* The pin of an ISA interrupt: 0 is at 2 (MADT override, as on every PC), others at their number.
 */
unsigned ioapic_isa_pin(unsigned irq);

/* The 8259As. pic_remap: full ICW sequence to IRQ_PIC_BASE, everything masked. */
void pic_remap(void);
void pic_mask_all(void);
void pic_set_mask(uint16_t mask);
void pic_eoi(unsigned irq);
/* Lets the 8259As' INTR through LINT0 (ExtINT), or not. */
void pic_to_cpu(bool on);

/* Asked first by each interrupt, when more than one processor runs: true = dealt with (smp.c). */
typedef bool irq_elsewhere_fn(unsigned vector);
extern irq_elsewhere_fn *irq_elsewhere;

void irq_init(void);
/* Before each TEST: masks all sources, drains what is pending; false = something does not go away.
 */
bool irq_isolate(void);

#endif
