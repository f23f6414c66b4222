/* SPDX-License-Identifier: MIT */
/*
 * -d int, in_asm and cpu_reset, with QEMU's words for them: each interrupt and exception as it is
 * delivered, each block of code when it is decoded, each reset with what the processor was at.
 */
#include <stdio.h>

#include "base/log.h"
#include "cpu/report.h"
#include "cpu/soft/soft.h"

#define INSN_TEXT 96

static struct cpu_state state_of(const struct soft_cpu *c)
{
	struct cpu_state state;

	c->engine->engine.ops->get_state(&c->engine->engine, c->index, &state);
	return state;
}

void soft_trace_interrupt(
	const struct soft_cpu *c, unsigned vector, bool software, int64_t error, uint64_t rip)
{
	static unsigned long number;

	log_line("%6lu: v=%02x e=%04llx i=%u cpl=%u cpu=%u IP=%04x:%016llx SP=%04x:%016llx "
		 "CR2=%016llx RAX=%016llx",
		number++, vector, (unsigned long long)(error), software, c->cpl, c->index,
		c->seg[SEG_CS].selector, (unsigned long long)rip, c->seg[SEG_SS].selector,
		(unsigned long long)c->gpr[RSP], (unsigned long long)c->cr2,
		(unsigned long long)c->gpr[RAX]);
}

void soft_trace_block(const struct soft_cpu *c, const struct soft_block *b)
{
	struct cpu_state state = state_of(c);
	uint64_t rip = c->rip;

	log_line("----------------\nIN: cpu %u", c->index);
	for (unsigned n = 0; n < b->count; n++) {
		char text[INSN_TEXT];

		cpu_disassemble(
			&state, rip, b->insns[n].bytes, b->insns[n].length, text, sizeof(text));
		log_line("0x%016llx:  %s", (unsigned long long)rip, *text ? text : "(bad)");
		rip += b->insns[n].length;
	}
}

void soft_trace_reset(const struct soft_cpu *c)
{
	log_line("CPU Reset (CPU %u)\nRIP=%04x:%016llx RFL=%08x CR0=%08llx CR2=%016llx CR3=%016llx "
		 "CR4=%08llx EFER=%08llx",
		c->index, c->seg[SEG_CS].selector, (unsigned long long)c->rip, c->flags,
		(unsigned long long)c->cr0, (unsigned long long)c->cr2, (unsigned long long)c->cr3,
		(unsigned long long)c->cr4, (unsigned long long)c->efer);
}
