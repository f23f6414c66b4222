/* SPDX-License-Identifier: MIT */
/*
 * More than one processor. TESTs run on the boot processor, number 0; before each TEST all others
 * are sent back to waiting for a start-up IPI. A TEST starts those it needs:
 *
 *	smp_start_all();
 *	EXPECT_EQ(smp_call(1, read_apic_id, NULL), smp_cpu(1)->apic_id);
 *
 * A started processor halts with interrupts on, counts what arrives, and runs what smp_run() gives
 * it. Functions that run there may use memory, ports and MSRs, but not EXPECT, print or the arena.
 */
#ifndef ASSAY_RUNTIME_SMP_H
#define ASSAY_RUNTIME_SMP_H

#include "runtime/irq.h"
#include "runtime/processors.h"
#include "runtime/traps.h"

typedef uint64_t smp_fn(void *arg);

/* What a processor found when its start-up IPI came; boot/ap.asm knows the layout. */
struct ap_seen {
	volatile uint32_t count; /* start-ups since smp_prepare() */
	uint16_t cs, ds, es, ss, fs, gs, ip, unused;
	uint32_t flags, cr0, eax, edx;
};

#define SMP_STACK 8192

struct smp_cpu {
	struct smp_cpu *self; /* GS:0 */
	unsigned index;
	uint32_t apic_id;
	volatile bool online; /* runs the idle loop or a function */
	bool x2apic;	      /* its local APIC is in x2APIC mode */
	uint32_t svr, tpr;    /* its APIC's, as found at its start */
	smp_fn *volatile fn;  /* NULL: idle */
	void *arg;
	volatile uint64_t result;
	volatile uint32_t counts[256]; /* interrupts by vector */
	volatile uint32_t nmis;
	volatile bool trapped; /* halted for good by an exception: `trap` */
	struct trap trap;
	uint64_t gdt[8] __attribute__((aligned(16)));
	uint8_t tss[112] __attribute__((aligned(16)));
	uint8_t nmi_stack[1024] __attribute__((aligned(16)));
	uint8_t stack[SMP_STACK] __attribute__((aligned(16)));
};

/* Looks for processors and takes over GS and interrupts; called by the rest as needed. */
void smp_init(void);
unsigned smp_count(void);
struct smp_cpu *smp_cpu(unsigned cpu);
/* The processor that asks. */
static inline struct smp_cpu *smp_this(void)
{
	struct smp_cpu *c;

	__asm__ volatile("mov %%gs:0, %0" : "=r"(c));
	return c;
}

/* INIT and a start-up IPI to one, and waits until it idles; the TEST fails if it does not. */
void smp_start(unsigned cpu);
void smp_start_all(void);
/* The start page for one processor, without any IPI: its number is what the IPI carries. */
uint8_t smp_prepare(unsigned cpu);
/* The same for any number at once: they come to rest in an endless HLT. */
uint8_t smp_prepare_parked(void);
/* Another page to start from, the next behind the usual one; false: it is not free RAM. */
bool smp_use_next_page(void);
struct ap_seen *smp_seen(void);

/* fn(arg) on another processor; _run does not wait. The TEST fails if it traps there or takes
 * longer than `us` microseconds of looking (smp_call: SOON_US). */
void smp_run(unsigned cpu, smp_fn *fn, void *arg);
uint64_t smp_wait(unsigned cpu, uint64_t us);
uint64_t smp_call(unsigned cpu, smp_fn *fn, void *arg);
/* True when the function is over (or the processor has trapped, which smp_wait() tells). */
bool smp_is_done(unsigned cpu);

/* A handler on other processors than the first; it does the EOI. NULL: counted and EOI. Gone before
 * the next TEST. */
void smp_handler(unsigned vector, irq_fn *handler);
uint32_t smp_irqs(unsigned cpu, unsigned vector);
/* Interrupts of any vector but SMP_WAKE at that processor since the TEST began. */
uint32_t smp_irq_total(unsigned cpu);

#define SMP_WAKE 0xf1 /* brings a processor out of its idle loop */

/* ICR, low half. */
#define IPI_FIXED   0x000u
#define IPI_LOWEST  0x100u
#define IPI_NMI	    0x400u
#define IPI_INIT    0x500u
#define IPI_STARTUP 0x600u
#define IPI_LOGICAL 0x800u
#define IPI_ASSERT  0x4000u
#define IPI_SELF    0x40000u
#define IPI_ALL	    0x80000u
#define IPI_OTHERS  0xc0000u

/* From the processor that calls, in the mode its APIC is in. */
void smp_ipi(uint32_t destination, uint32_t icr);
uint32_t smp_apic_read(unsigned reg); /* LAPIC_x of runtime/irq.h */
void smp_apic_write(unsigned reg, uint32_t value);
/* The calling processor's APIC to x2APIC mode. Before the next TEST all are back. */
void smp_x2apic_on(void);
bool smp_has_x2apic(void);

#endif
