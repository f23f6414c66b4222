/* SPDX-License-Identifier: MIT */
/* The 32-bit stage: its tables, its traps and what it says to the 64-bit side. */
#include "stage32/stage32.h"

#define FAILURES 16

/* struct stage32_result of runtime/stage32.h: addresses are 32-bit ones. */
struct failure {
	const char *what, *file;
	uint32_t line, expected, got;
};
struct {
	uint32_t failures, stray; /* stray: a trap that nobody expected */
	const char *skip;
	struct failure failure[FAILURES];
	struct trap trap;
} stage_result;

#define DF_STACK_TOP 0x6b000

extern void stage_df_entry(void);

struct tss32 stage_tss __attribute__((aligned(128))) = {
	.esp0 = TRAP_STACK_TOP, .ss0 = SEL_DATA32, .map = sizeof(struct tss32)};
struct tss32 stage_df_tss __attribute__((aligned(128)));
/* With these three the stage is entered; stage_tables() makes the rest. */
uint64_t stage_gdt[GDT_ENTRIES] __attribute__((aligned(8))) = {
	[SEL_CODE32 / 8] = 0x00cf9b000000ffff,
	[SEL_DATA32 / 8] = 0x00cf93000000ffff,
	[SEL_CODE64 / 8] = 0x00af9b000000ffff,
};
uint64_t stage_idt[IDT_ENTRIES] __attribute__((aligned(8)));

struct trap trap;
uint32_t trap_frame, trap_cr2;
trap_hook_fn *trap_hook;
struct context trap_context;
bool trap_catching, trap_caught;

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned rights, unsigned flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)rights << 40 |
	       (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)flags << 52 |
	       (uint64_t)(base >> 24) << 56;
}

uint64_t gate(uint16_t selector, uint32_t offset, unsigned rights, unsigned parameters)
{
	return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)parameters << 32 |
	       (uint64_t)rights << 40 | (uint64_t)(offset >> 16) << 48;
}

uint16_t gdt_put(unsigned n, uint64_t raw)
{
	stage_gdt[SEL_FREE / 8 + n] = raw;
	return SEL_FREE + n * 8;
}

/* Fields of descriptors are not addresses that a linker fills in. */
void stage_tables(void);
void stage_tables(void)
{
	const unsigned code = D_PRESENT | D_CODE | 1, data = D_PRESENT | D_DATA | 1;

	stage_gdt[SEL_CODE16 / 8] = descriptor(STAGE_BASE, 0xffff, code, D_16);
	stage_gdt[SEL_DATA16 / 8] = descriptor(STAGE_BASE, 0xffff, data, D_16);
	stage_gdt[SEL_UCODE / 8] = descriptor(0, 0xfffff, code | D_DPL3, D_PAGE | D_32);
	stage_gdt[SEL_UDATA / 8] = descriptor(0, 0xfffff, data | D_DPL3, D_PAGE | D_32);
	stage_gdt[SEL_TSS / 8] =
		descriptor((uint32_t)&stage_tss, sizeof(stage_tss) - 1, D_PRESENT | D_TSS32, 0);
	stage_gdt[SEL_DF_TSS / 8] = descriptor(
		(uint32_t)&stage_df_tss, sizeof(stage_df_tss) - 1, D_PRESENT | D_TSS32, 0);
	for (unsigned i = 0; i < IDT_ENTRIES; i++)
		stage_idt[i] = gate(SEL_CODE32, INT_ENTRY(i), D_PRESENT | D_INT32, 0);
	stage_idt[8] = gate(SEL_DF_TSS, 0, D_PRESENT | D_TASK_GATE, 0);
	stage_df_tss = (struct tss32){.eip = (uint32_t)stage_df_entry,
		.eflags = 2,
		.esp = DF_STACK_TOP,
		.es = SEL_DATA32,
		.cs = SEL_CODE32,
		.ss = SEL_DATA32,
		.ds = SEL_DATA32};
}

/* A double fault came by a task switch: TR goes back to the stage's own TSS. */
static void take_tr_back(void)
{
	stage_gdt[SEL_TSS / 8] &= ~(2ull << 40);
	stage_gdt[SEL_DF_TSS / 8] &= ~(2ull << 40);
	__asm__ volatile("ltr %w0; clts" : : "r"(SEL_TSS) : "memory");
	stage_df_tss.eip = (uint32_t)stage_df_entry;
	stage_df_tss.esp = DF_STACK_TOP;
}

void stage_trap(struct trap *frame);
void stage_trap(struct trap *frame)
{
	if (trap_hook && trap_hook(frame))
		return;
	trap = *frame;
	trap_frame = (uint32_t)&frame->error;
	__asm__ volatile("mov %%cr2, %0" : "=r"(trap_cr2));
	if (frame->vector == 8)
		take_tr_back();
	if (trap_catching) {
		trap_catching = false;
		trap_caught = true;
		stage_resume(&trap_context);
	}
	stage_result.stray = 1;
	stage_result.trap = *frame;
	stage_leave();
}

bool stage_expect(
	bool holds, const char *what, uint32_t expected, uint32_t got, const char *file, int line)
{
	if (holds)
		return true;
	if (stage_result.failures < FAILURES)
		stage_result.failure[stage_result.failures] =
			(struct failure){what, file, line, expected, got};
	stage_result.failures++;
	return false;
}

void stage_skip(const char *why)
{
	stage_result.skip = why;
	stage_leave();
}

void *memset(void *to, int value, size_t size)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(size) : : "memory");
	return to;
}
