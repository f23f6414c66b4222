/* SPDX-License-Identifier: MIT */
/* Kernel exceptions: seeing traps, tables of a TEST's own. */
#include "kernels/exceptions/exceptions.h"
#include "runtime/memory.h"

struct seen seen[SEEN_MAX];
volatile unsigned seen_count;
uint64_t mark;
static bool goes_on;

extern uint8_t idt[4096];
extern struct {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed)) gdt_pointer;

static uint64_t read_dr6(void)
{
	uint64_t value;

	__asm__ volatile("mov %%dr6, %0" : "=r"(value));
	return value;
}

static bool look(struct trap_frame *frame)
{
	unsigned n = seen_count < SEEN_MAX ? seen_count : SEEN_MAX - 1;
	struct seen *s = &seen[n];

	s->frame = *frame;
	s->at = (uint64_t)(frame + 1);
	s->cr2 = read_cr2();
	/* The debug registers may be guarded, which reading them would meet. */
	s->dr6 = frame->vector == TRAP_DB ? read_dr6() : 0;
	s->rflags = read_flags();
	__asm__ volatile("mov %%ss, %0" : "=r"(s->ss));
	seen_count++;
	if (!goes_on)
		return false;
	/* A fault of a breakpoint would come again. */
	if (frame->vector == TRAP_DB && seen_count < SEEN_MAX)
		frame->rflags |= FLAG_RF;
	return (frame->vector == TRAP_DB || frame->vector == TRAP_BP) && seen_count < SEEN_MAX;
}

void see(bool go_on)
{
	seen_count = 0;
	mark = 0;
	goes_on = go_on;
	memset(seen, 0, sizeof(seen));
	trap_hook(look);
}

struct gate *own_idt(uint16_t limit)
{
	struct gate *gates = arena_alloc(4096, 4096);
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {limit, phys(gates)};

	memcpy(gates, idt, 4096);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	return gates;
}

static void tables_back(void *opaque)
{
	__asm__ volatile("lgdt %0\n"
			 "mov %1, %%ss\n"
			 "mov %1, %%ds\n"
			 "mov %1, %%es\n"
			 "lldt %w2"
			 :
			 : "m"(gdt_pointer), "r"(SEL_DATA), "r"(0)
			 : "memory");
	for (unsigned n = 2; n <= 7; n++)
		ist_set(n, 0);
}

uint64_t *own_descriptors(void)
{
	static struct test_reset_hook hook = {.reset = tables_back};
	uint8_t *table = arena_alloc(4096, 4096);
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {4095, phys(table)};

	memcpy(table, (const void *)gdt_pointer.base, gdt_pointer.limit + 1u);
	test_reset_hook(&hook);
	__asm__ volatile("lgdt %0" : : "m"(pointer) : "memory");
	return (uint64_t *)(table + SEL_OWN);
}

void ist_set(unsigned n, uint64_t stack)
{
	memcpy(tss + 36 + (n - 1) * 8, &stack, 8);
}

bool is_amd(void)
{
	return cpuid(0, 0).ecx == 0x444d4163; /* "cAMD" */
}
