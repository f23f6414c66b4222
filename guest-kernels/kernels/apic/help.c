/* SPDX-License-Identifier: MIT */
/* Kernel apic: a line to pull, NMIs counted, and the way back from any APIC mode. */
#include "kernels/apic/apic.h"
#include "runtime/irq.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define APIC_BASE 0x1b
#define ENABLED	  0x800ull
#define X2APIC	  0x400ull

#define UART 0x3f8
#define IER  (UART + 1)
#define MCR  (UART + 4)

unsigned vector_at(unsigned wanted)
{
	unsigned vector = irq_vector();

	while (vector != wanted)
		vector = irq_vector();
	return vector;
}

static uint32_t seen_in_service;

static void look_in_service(unsigned vector)
{
	seen_in_service = lapic_in_service(vector);
	lapic_eoi();
}

bool under_kvm(void)
{
	struct cpuid hypervisor = cpuid(0x40000000, 0);

	return hypervisor.ebx == 0x4b4d564b && hypervisor.ecx == 0x564b4d56; /* "KVMKVMKVM" */
}

void need_isr(void)
{
	unsigned vector;

	if (!under_kvm())
		return;
	vector = irq_vector();
	irq_handler(vector, look_in_service);
	lapic_self_ipi(vector);
	if (WAIT_UNTIL(irq_count(vector), SOON_US) && !seen_in_service)
		SKIP("the host's KVM keeps no in-service register");
}

void line_raise(void)
{
	outb(MCR, 3 | 8);
	outb(IER, 2);
}

void line_drop(void)
{
	outb(IER, 0);
	outb(MCR, 3);
}

static void put_back(void *opaque)
{
	uint64_t base = rdmsr(APIC_BASE);

	line_drop();
	irq_disable();
	if ((base & (ENABLED | X2APIC)) != ENABLED) {
		wrmsr(APIC_BASE, base & ~(ENABLED | X2APIC));
		wrmsr(APIC_BASE, (base & ~X2APIC) | ENABLED);
	}
	lapic_write(LAPIC_DFR, 0xffffffff);
	lapic_write(LAPIC_LDR, 0);
	irq_init();
	irq_enable();
}

void apic_ready(void)
{
	static struct test_reset_hook hook = {.reset = put_back};

	test_reset_hook(&hook);
}

static volatile uint32_t nmis;

static bool count_nmi(struct trap_frame *frame)
{
	if (frame->vector != TRAP_NMI)
		return false;
	nmis++;
	return true;
}

void nmi_count_begin(void)
{
	nmis = 0;
	trap_hook(count_nmi);
}

uint32_t nmi_count(void)
{
	return nmis;
}
