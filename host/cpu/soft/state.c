/* SPDX-License-Identifier: MIT */
/* The engine's vCPUs as the neutral struct cpu_state, out and in: segments with their descriptor
 * caches, tables, control registers. */
#include <string.h>

#include "cpu/soft/soft.h"

static struct soft_segment segment_in(const struct cpu_segment *s)
{
	return (struct soft_segment){
		.selector = s->selector,
		.base = s->base,
		.limit = s->limit,
		.unusable = s->unusable,
		.rights = s->type | s->code_or_data << 4 | s->dpl << 5 | s->present << 7 |
			  s->l << 13 | s->db << 14 | s->granular << 15,
	};
}

static struct cpu_segment segment_out(const struct soft_segment *s)
{
	return (struct cpu_segment){
		.selector = s->selector,
		.base = s->base,
		.limit = s->limit,
		.unusable = s->unusable,
		.type = s->rights & R_TYPE,
		.code_or_data = s->rights & R_S,
		.dpl = R_DPL(s->rights),
		.present = s->rights & R_PRESENT,
		.l = s->rights & R_L,
		.db = s->rights & R_D,
		.granular = s->rights & R_G,
	};
}

int soft_set_state(struct cpu_engine *engine, unsigned cpu, const struct cpu_state *state)
{
	struct soft_cpu *c = &container_of(engine, struct soft_engine, engine)->cpus[cpu];
	const struct cpu_segment *from[SEGMENTS] = {&state->es, &state->cs, &state->ss, &state->ds,
		&state->fs, &state->gs, &state->ldt, &state->tr};

	memcpy(c->gpr, state->gpr, sizeof(c->gpr));
	c->rip = state->rip;
	c->flags = state->rflags;
	for (unsigned i = 0; i < SEGMENTS; i++)
		c->seg[i] = segment_in(from[i]);
	c->gdt = state->gdt;
	c->idt = state->idt;
	c->cr0 = state->cr0;
	c->cr2 = state->cr2;
	c->cr3 = state->cr3;
	c->cr4 = state->cr4;
	c->efer = state->efer;
	c->cpl = R_DPL(c->seg[SEG_SS].rights);
	soft_mode_changed(c);
	soft_tlb_flush(c, true);
	return 0;
}

int soft_get_state(struct cpu_engine *engine, unsigned cpu, struct cpu_state *state)
{
	const struct soft_cpu *c = &container_of(engine, struct soft_engine, engine)->cpus[cpu];

	*state = (struct cpu_state){
		.rip = c->rip,
		.rflags = c->flags | 2,
		.es = segment_out(&c->seg[SEG_ES]),
		.cs = segment_out(&c->seg[SEG_CS]),
		.ss = segment_out(&c->seg[SEG_SS]),
		.ds = segment_out(&c->seg[SEG_DS]),
		.fs = segment_out(&c->seg[SEG_FS]),
		.gs = segment_out(&c->seg[SEG_GS]),
		.ldt = segment_out(&c->seg[SEG_LDT]),
		.tr = segment_out(&c->seg[SEG_TR]),
		.gdt = c->gdt,
		.idt = c->idt,
		.cr0 = c->cr0,
		.cr2 = c->cr2,
		.cr3 = c->cr3,
		.cr4 = c->cr4,
		.cr8 = soft_lapic_tpr(c) >> 4,
		.efer = c->efer,
	};
	memcpy(state->gpr, c->gpr, sizeof(c->gpr));
	return 0;
}
