/* SPDX-License-Identifier: MIT */
/* System instructions (SDM 2): flags, MSRs, TSC, CPUID, RDRAND, HLT, PAUSE. */
#include <Zydis/Mnemonic.h>

#include "base/fault.h"
#include "cpu/soft/soft.h"

/* --- flags --- */

static void op_cli(struct soft_cpu *c, const struct soft_insn *i)
{
	if (c->cr0 & CR0_PE && !soft_iopl_allows(c))
		soft_fault(c, V_GP, 0);
	c->flags &= ~F_IF;
}

static void op_sti(struct soft_cpu *c, const struct soft_insn *i)
{
	if (c->cr0 & CR0_PE && !soft_iopl_allows(c))
		soft_fault(c, V_GP, 0);
	if (!(c->flags & F_IF))
		c->inhibit = INHIBIT_STI;
	c->flags |= F_IF;
	c->break_block = true;
}

static void op_clc(struct soft_cpu *c, const struct soft_insn *i)
{
	c->flags &= ~F_CF;
}

static void op_stc(struct soft_cpu *c, const struct soft_insn *i)
{
	c->flags |= F_CF;
}

static void op_cmc(struct soft_cpu *c, const struct soft_insn *i)
{
	c->flags ^= F_CF;
}

static void op_cld(struct soft_cpu *c, const struct soft_insn *i)
{
	c->flags &= ~F_DF;
}

static void op_std(struct soft_cpu *c, const struct soft_insn *i)
{
	c->flags |= F_DF;
}

static void set_ac(struct soft_cpu *c, bool on)
{
	if (c->cpl != 0)
		soft_fault(c, V_UD, NO_ERROR_CODE);
	soft_set_flags(c, on ? F_AC : 0, F_AC);
}

static void op_stac(struct soft_cpu *c, const struct soft_insn *i)
{
	set_ac(c, true);
}

static void op_clac(struct soft_cpu *c, const struct soft_insn *i)
{
	set_ac(c, false);
}

static unsigned stack_operand(const struct soft_cpu *c, const struct soft_insn *i)
{
	return c->long_mode && i->size == 4 ? 8 : i->size;
}

static void op_pushf(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t flags;

	if (c->flags & F_VM && !soft_iopl_allows(c))
		soft_fault(c, V_GP, 0);
	flags = (c->flags & ~(F_RF | F_VM)) | 2;
	fault_cpu("pushf", c->cpl, &flags);
	soft_push(c, flags, stack_operand(c, i));
}

static void op_popf(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = stack_operand(c, i);
	uint32_t mask = F_ARITHMETIC | F_TF | F_DF | F_NT;
	uint64_t value;

	if (c->flags & F_VM && !soft_iopl_allows(c))
		soft_fault(c, V_GP, 0);
	value = soft_pop(c, size);
	if (size > 2)
		mask |= F_AC | F_ID;
	if (soft_iopl_allows(c) || !(c->cr0 & CR0_PE))
		mask |= F_IF;
	if (c->cpl == 0 && !(c->flags & F_VM))
		mask |= F_IOPL;
	soft_set_flags(c, value & ~F_RF, mask);
	if (size > 2)
		c->flags &= ~F_RF;
}

/* --- MSRs, TSC, CPUID --- */

static void op_rdmsr(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t value = 0;

	soft_need_level0(c);
	if (!soft_rdmsr(c, c->gpr[RCX], &value))
		soft_fault(c, V_GP, 0);
	fault_cpu("read-msr", (uint32_t)c->gpr[RCX], &value);
	c->gpr[RAX] = (uint32_t)value;
	c->gpr[RDX] = value >> 32;
}

static void op_wrmsr(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t value = (uint32_t)c->gpr[RAX] | c->gpr[RDX] << 32;

	soft_need_level0(c);
	fault_cpu("write-msr", (uint32_t)c->gpr[RCX], &value);
	if (!soft_wrmsr(c, c->gpr[RCX], value))
		soft_fault(c, V_GP, 0);
	c->break_block = true;
}

static void read_tsc(struct soft_cpu *c)
{
	uint64_t tsc;

	if (c->cr4 & CR4_TSD && c->cpl)
		soft_fault(c, V_GP, 0);
	tsc = soft_tsc(c);
	fault_cpu("tsc", c->cpl, &tsc);
	c->gpr[RAX] = (uint32_t)tsc;
	c->gpr[RDX] = tsc >> 32;
}

static void op_rdtsc(struct soft_cpu *c, const struct soft_insn *i)
{
	read_tsc(c);
}

static void op_rdtscp(struct soft_cpu *c, const struct soft_insn *i)
{
	read_tsc(c);
	c->gpr[RCX] = (uint32_t)c->tsc_aux;
}

static void fault_cpuid(uint32_t leaf, uint32_t out[4])
{
	static const char *const names[] = {"cpuid-eax", "cpuid-ebx", "cpuid-ecx", "cpuid-edx"};

	for (unsigned n = 0; n < 4; n++) {
		uint64_t value = out[n];

		fault_cpu(names[n], leaf, &value);
		out[n] = value;
	}
}

static void op_cpuid(struct soft_cpu *c, const struct soft_insn *i)
{
	uint32_t out[4];

	soft_cpuid(c, c->gpr[RAX], c->gpr[RCX], out);
	fault_cpuid(c->gpr[RAX], out);
	c->gpr[RAX] = out[0];
	c->gpr[RBX] = out[1];
	c->gpr[RCX] = out[2];
	c->gpr[RDX] = out[3];
}

static void op_rdrand(struct soft_cpu *c, const struct soft_insn *i)
{
	if (!(c->cpuid_features[FEATURE_1_ECX] >> 30 & 1))
		soft_fault(c, V_UD, NO_ERROR_CODE);
	soft_set_reg(c, i->op[0].reg, machine_random(c->engine->engine.machine), i->op[0].size);
	c->flags = (c->flags & ~F_ARITHMETIC) | F_CF;
}

static void op_hlt(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_need_level0(c);
	c->halted = true;
	c->counters.exits++;
	c->counters.halt_exits++;
	c->break_block = true;
}

static void op_pause(struct soft_cpu *c, const struct soft_insn *i)
{
	/* Others may be waited for: let the loop turn. */
	c->break_block = true;
	c->yielded = true;
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}

const struct soft_handlers soft_system_handlers[] = {
	{ZYDIS_MNEMONIC_CLI, SAME(op_cli)},
	{ZYDIS_MNEMONIC_STI, SAME(op_sti), true},
	{ZYDIS_MNEMONIC_CLC, SAME(op_clc)},
	{ZYDIS_MNEMONIC_STC, SAME(op_stc)},
	{ZYDIS_MNEMONIC_CMC, SAME(op_cmc)},
	{ZYDIS_MNEMONIC_CLD, SAME(op_cld)},
	{ZYDIS_MNEMONIC_STD, SAME(op_std)},
	{ZYDIS_MNEMONIC_STAC, SAME(op_stac)},
	{ZYDIS_MNEMONIC_CLAC, SAME(op_clac)},
	{ZYDIS_MNEMONIC_PUSHF, SAME(op_pushf)},
	{ZYDIS_MNEMONIC_PUSHFD, SAME(op_pushf)},
	{ZYDIS_MNEMONIC_PUSHFQ, SAME(op_pushf)},
	{ZYDIS_MNEMONIC_POPF, SAME(op_popf), true},
	{ZYDIS_MNEMONIC_POPFD, SAME(op_popf), true},
	{ZYDIS_MNEMONIC_POPFQ, SAME(op_popf), true},
	{ZYDIS_MNEMONIC_RDMSR, SAME(op_rdmsr)},
	{ZYDIS_MNEMONIC_WRMSR, SAME(op_wrmsr), true},
	{ZYDIS_MNEMONIC_RDTSC, SAME(op_rdtsc)},
	{ZYDIS_MNEMONIC_RDTSCP, SAME(op_rdtscp)},
	{ZYDIS_MNEMONIC_CPUID, SAME(op_cpuid)},
	{ZYDIS_MNEMONIC_RDRAND, SAME(op_rdrand)},
	{ZYDIS_MNEMONIC_HLT, SAME(op_hlt), true},
	{ZYDIS_MNEMONIC_PAUSE, SAME(op_pause), true},
	{0},
};
