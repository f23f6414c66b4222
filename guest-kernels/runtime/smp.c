/* SPDX-License-Identifier: MIT */
/* Starting processors, giving them work and interrupts (smp.h). */
#include "runtime/smp.h"
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/run.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define MSR_APIC_BASE 0x1b
#define APIC_ENABLED  0x800u
#define APIC_X2	      0x400u
#define MSR_X2APIC    0x800u
#define MSR_GS_BASE   0xc0000101u
#define SEL_TSS	      0x28
#define GDT_BYTES     56
#define PAGE	      4096

/* The part of the start page that boot/ap.asm reads and writes. */
struct ap_page {
	uint8_t code[0xe00];
	uint32_t cr3, unused;
	uint32_t jump_offset;
	uint16_t jump_selector, unused2;
	uint16_t gdt_limit, gdt_base[2], unused3;
	uint64_t stack, argument, entry;
	uint64_t gdt[4];
	struct ap_seen seen;
};
_Static_assert(__builtin_offsetof(struct ap_page, seen) == 0xe00 + 80, "boot/ap.asm");

extern const uint8_t ap_start[], ap_start64[], ap_end[];
extern const struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed)) gdt_pointer;
extern volatile uint64_t pml4[512];

static struct smp_cpu cpus[PROCESSORS_MAX];
static unsigned count;
static irq_fn *handlers[256];
static struct ap_page *page;

/* --- the local APIC in either mode --- */

uint32_t smp_apic_read(unsigned reg)
{
	return smp_this()->x2apic ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16) : lapic_read(reg);
}

void smp_apic_write(unsigned reg, uint32_t value)
{
	if (smp_this()->x2apic)
		wrmsr(MSR_X2APIC + reg / 16, value);
	else
		lapic_write(reg, value);
}

void smp_ipi(uint32_t destination, uint32_t icr)
{
	if (smp_this()->x2apic) {
		wrmsr(MSR_X2APIC + LAPIC_ICR_LOW / 16, (uint64_t)destination << 32 | icr);
		return;
	}
	lapic_write(LAPIC_ICR_HIGH, destination << 24);
	lapic_write(LAPIC_ICR_LOW, icr);
}

bool smp_has_x2apic(void)
{
	return cpuid(1, 0).ecx >> 21 & 1;
}

void smp_x2apic_on(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_X2);
	smp_this()->x2apic = true;
}

/* The way back leads through a disabled APIC (SDM volume 3, 10.12.5), which forgets everything. */
static void x2apic_off(void)
{
	uint64_t base = rdmsr(MSR_APIC_BASE);

	if (!(base & APIC_X2))
		return;
	wrmsr(MSR_APIC_BASE, base & ~(uint64_t)(APIC_X2 | APIC_ENABLED));
	wrmsr(MSR_APIC_BASE, (base & ~(uint64_t)APIC_X2) | APIC_ENABLED);
}

/* --- what arrives at a processor --- */

static bool take_interrupt(unsigned vector)
{
	struct smp_cpu *c = smp_this();

	c->counts[vector]++;
	if (c->index == 0 && !c->x2apic)
		return false;
	if (handlers[vector] && c->index)
		handlers[vector](vector);
	else if (vector != IRQ_SPURIOUS)
		smp_apic_write(LAPIC_EOI, 0);
	if (c->index == 0)
		irq_counts[vector]++;
	return true;
}

static bool take_trap(struct trap_frame *frame)
{
	struct smp_cpu *c = smp_this();

	if (frame->vector == TRAP_NMI)
		c->nmis++;
	if (c->index == 0)
		return false;
	if (frame->vector == TRAP_NMI)
		return true;
	c->trap = (struct trap){
		frame->vector, frame->error, frame->rip, read_cr2(), frame->cs, frame->rflags};
	c->trapped = true;
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* --- on another processor --- */

static void load_segments(struct smp_cpu *c)
{
	struct table gdtr = {GDT_BYTES - 1, (uint64_t)c->gdt};
	uint64_t tss = (uint64_t)c->tss, top = (uint64_t)(c->nmi_stack + sizeof(c->nmi_stack));

	memset(c->tss, 0, sizeof(c->tss));
	memcpy(c->tss + 4, &(uint64_t){(uint64_t)(c->stack + SMP_STACK)}, 8);
	memcpy(c->tss + 36, &top, 8); /* IST1 */
	c->tss[102] = 104;	      /* no I/O bitmap */
	memcpy(c->gdt, (void *)gdt_pointer.base, GDT_BYTES);
	c->gdt[5] = 103 | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
	c->gdt[6] = tss >> 32;
	__asm__ volatile("lgdt %0; ltr %w1" : : "m"(gdtr), "r"(SEL_TSS) : "memory");
	idt_load();
	wrmsr(MSR_GS_BASE, (uint64_t)c);
}

static void __attribute__((noreturn)) idle(struct smp_cpu *c)
{
	c->online = true;
	for (;;) {
		irq_disable();
		if (!c->fn) {
			__asm__ volatile("sti; hlt" : : : "memory");
			continue;
		}
		irq_enable();
		c->result = c->fn(c->arg);
		compiler_barrier();
		c->fn = NULL;
	}
}

static void __attribute__((noreturn)) ap_entry(struct smp_cpu *c)
{
	load_segments(c);
	x2apic_off();
	c->x2apic = false;
	c->svr = lapic_read(LAPIC_SVR);
	c->tpr = lapic_read(LAPIC_TPR);
	lapic_write(LAPIC_SVR, 0x100 | IRQ_SPURIOUS);
	idle(c);
}

/* --- on the first --- */

/* A page of RAM below 640 KiB: boot/kernel.ld's kernels find 0x8000 free, UEFI may keep it. */
static bool is_free(uint64_t at)
{
	for (unsigned i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *r = &boot_info.ranges[i];

		if (r->type == MEMORY_RAM && at >= r->base && at + PAGE <= r->base + r->size)
			return true;
	}
	return false;
}

static struct ap_page *find_page(void)
{
	for (uint64_t at = 0x8000; at < 0x90000; at += PAGE)
		if (is_free(at))
			return (struct ap_page *)at;
	ERROR("no page below 640 KiB is free");
}

bool smp_use_next_page(void)
{
	uint64_t at = (uint64_t)find_page() + PAGE;

	if (is_free(at))
		page = (struct ap_page *)at;
	return is_free(at);
}

static void clear(struct smp_cpu *c)
{
	c->online = c->x2apic = c->trapped = false;
	c->fn = NULL;
	c->nmis = 0;
	memset((void *)c->counts, 0, sizeof(c->counts));
}

/* Before each TEST: INIT to all others, so that none runs what the last TEST gave it. */
static void send_back(void *opaque)
{
	x2apic_off();
	cpus[0].x2apic = false;
	irq_init();
	lapic_write(LAPIC_LDR, 0);
	lapic_write(LAPIC_DFR, 0xffffffff);
	if (count > 1)
		smp_ipi(0, IPI_INIT | IPI_ASSERT | IPI_OTHERS);
	memset(handlers, 0, sizeof(handlers));
	page = find_page();
	for (unsigned i = 0; i < count; i++)
		clear(&cpus[i]);
}

void smp_init(void)
{
	static struct test_reset_hook hook = {.reset = send_back};
	const struct processors *found = processors();

	if (count)
		return;
	for (unsigned i = 0; i < found->count; i++) {
		cpus[i].self = &cpus[i];
		cpus[i].index = i;
		cpus[i].apic_id = found->apic_id[i];
	}
	wrmsr(MSR_GS_BASE, (uint64_t)&cpus[0]);
	cpus[0].online = true;
	count = found->count;
	irq_elsewhere = take_interrupt;
	trap_elsewhere = take_trap;
	tsc_per_us(); /* measured once, by this processor */
	send_back(NULL);
	test_reset_hook(&hook);
}

unsigned smp_count(void)
{
	smp_init();
	return count;
}

struct smp_cpu *smp_cpu(unsigned cpu)
{
	if (cpu >= smp_count())
		ERROR("there is no processor %u", cpu);
	return &cpus[cpu];
}

struct ap_seen *smp_seen(void)
{
	return &page->seen;
}

uint8_t smp_prepare(unsigned cpu)
{
	struct smp_cpu *c = smp_cpu(cpu);

	memset(page, 0, PAGE);
	memcpy(page->code, ap_start, ap_end - ap_start);
	page->cr3 = (uint32_t)(uint64_t)pml4;
	page->jump_offset = (uint32_t)(uint64_t)page + (ap_start64 - ap_start);
	page->jump_selector = 0x08;
	page->gdt_limit = sizeof(page->gdt) - 1;
	page->gdt_base[0] = (uint64_t)page->gdt;
	page->gdt_base[1] = (uint64_t)page->gdt >> 16;
	page->gdt[1] = 0x00af9b000000ffff;
	page->gdt[2] = 0x00cf93000000ffff;
	page->stack = (uint64_t)(c->stack + SMP_STACK);
	page->argument = (uint64_t)c;
	page->entry = (uint64_t)ap_entry;
	c->online = c->trapped = false;
	c->fn = NULL;
	return (uint64_t)page / PAGE;
}

static void __attribute__((noreturn)) park(struct smp_cpu *c)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* All have the stack of one, but put the same return address on it and nothing else. */
uint8_t smp_prepare_parked(void)
{
	uint8_t number = smp_prepare(smp_count() - 1);

	page->entry = (uint64_t)park;
	return number;
}

void smp_start(unsigned cpu)
{
	uint8_t number = smp_prepare(cpu);
	struct smp_cpu *c = smp_cpu(cpu);

	smp_ipi(c->apic_id, IPI_INIT | IPI_ASSERT);
	delay_us(100);
	smp_ipi(c->apic_id, IPI_STARTUP | IPI_ASSERT | number);
	if (!WAIT_UNTIL(c->online, SOON_US))
		FAIL("processor %u (APIC id %u) does not start: %u starts seen", cpu, c->apic_id,
			page->seen.count);
}

void smp_start_all(void)
{
	for (unsigned i = 1; i < smp_count(); i++)
		smp_start(i);
}

void smp_run(unsigned cpu, smp_fn *fn, void *arg)
{
	struct smp_cpu *c = smp_cpu(cpu);

	if (!c->online || cpu == 0)
		ERROR("processor %u cannot be given work", cpu);
	c->arg = arg;
	compiler_barrier();
	c->fn = fn;
	smp_ipi(c->apic_id, IPI_FIXED | IPI_ASSERT | SMP_WAKE);
}

bool smp_is_done(unsigned cpu)
{
	return !cpus[cpu].fn || cpus[cpu].trapped;
}

uint64_t smp_wait(unsigned cpu, uint64_t us)
{
	struct smp_cpu *c = smp_cpu(cpu);

	if (!WAIT_UNTIL(smp_is_done(cpu), us))
		FAIL("processor %u does not come to its end", cpu);
	if (c->trapped)
		FAIL("trap %lu on processor %u: error 0x%lx rip 0x%lx cr2 0x%lx", c->trap.vector,
			cpu, c->trap.error, c->trap.rip, c->trap.cr2);
	return c->result;
}

uint64_t smp_call(unsigned cpu, smp_fn *fn, void *arg)
{
	smp_run(cpu, fn, arg);
	return smp_wait(cpu, SOON_US);
}

void smp_handler(unsigned vector, irq_fn *handler)
{
	smp_init();
	handlers[vector & 0xff] = handler;
}

uint32_t smp_irqs(unsigned cpu, unsigned vector)
{
	return cpus[cpu].counts[vector & 0xff];
}

uint32_t smp_irq_total(unsigned cpu)
{
	uint32_t sum = 0;

	for (unsigned i = 32; i < 256; i++)
		sum += i == SMP_WAKE ? 0 : cpus[cpu].counts[i];
	return sum;
}
