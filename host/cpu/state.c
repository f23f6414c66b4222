/* SPDX-License-Identifier: MIT */
/* The states in which a vCPU begins (state.h). */
#include "cpu/state.h"

#define CR0_PE	   (1u << 0)
#define CR0_ET	   (1u << 4)
#define CR0_NW	   (1u << 29)
#define CR0_CD	   (1u << 30)
#define CR0_PG	   (1u << 31)
#define CR4_PAE	   (1u << 5)
#define EFER_LME   (1u << 8)
#define EFER_LMA   (1u << 10)
#define RFLAGS_ONE 0x2

#define TYPE_DATA_WRITE 0x3
#define TYPE_CODE_READ	0xb
#define TYPE_LDT	0x2
#define TYPE_TSS32_BUSY 0xb

static struct cpu_segment real_segment(uint16_t selector, uint64_t base, uint8_t type)
{
	return (struct cpu_segment){.selector = selector,
		.base = base,
		.limit = 0xffff,
		.type = type,
		.code_or_data = true,
		.present = true};
}

static struct cpu_segment flat_segment(uint16_t selector, uint8_t type)
{
	return (struct cpu_segment){.selector = selector,
		.limit = 0xffffffff,
		.type = type,
		.code_or_data = true,
		.present = true,
		.db = true,
		.granular = true};
}

static struct cpu_segment system_segment(uint8_t type, uint32_t limit)
{
	return (struct cpu_segment){.limit = limit, .type = type, .present = true};
}

void cpu_state_reset(struct cpu_state *state)
{
	struct cpu_segment data = real_segment(0, 0, TYPE_DATA_WRITE);

	*state = (struct cpu_state){
		.rip = 0xfff0,
		.rflags = RFLAGS_ONE,
		.cs = real_segment(0xf000, 0xffff0000, TYPE_CODE_READ),
		.ds = data,
		.es = data,
		.fs = data,
		.gs = data,
		.ss = data,
		.ldt = system_segment(TYPE_LDT, 0xffff),
		.tr = system_segment(TYPE_TSS32_BUSY, 0xffff),
		.gdt = {0, 0xffff},
		.idt = {0, 0xffff},
		.cr0 = CR0_ET | CR0_NW | CR0_CD,
	};
	state->gpr[RDX] = 0x60fb1; /* family, model, stepping of the default model */
}

void cpu_state_flat32(struct cpu_state *state, uint32_t entry)
{
	struct cpu_segment data = flat_segment(0x10, TYPE_DATA_WRITE);

	cpu_state_reset(state);
	state->rip = entry;
	state->cs = flat_segment(0x8, TYPE_CODE_READ);
	state->ds = state->es = state->fs = state->gs = state->ss = data;
	state->tr = system_segment(TYPE_TSS32_BUSY, 0x67);
	state->gdt = (struct cpu_table){0, 0};
	state->idt = (struct cpu_table){0, 0};
	state->cr0 = CR0_PE | CR0_ET;
	state->gpr[RDX] = 0;
}

void cpu_state_long64(struct cpu_state *state, uint64_t cr3, struct cpu_table gdt)
{
	state->cs = flat_segment(0x10, TYPE_CODE_READ);
	state->cs.db = false;
	state->cs.l = true;
	state->ds = state->es = state->fs = state->gs = state->ss =
		flat_segment(0x18, TYPE_DATA_WRITE);
	state->gdt = gdt;
	state->cr0 |= CR0_PG;
	state->cr3 = cr3;
	state->cr4 |= CR4_PAE;
	state->efer = EFER_LME | EFER_LMA;
}
