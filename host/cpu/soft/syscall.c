/* SPDX-License-Identifier: MIT */
/* SYSCALL, SYSENTER and their returns, SWAPGS, the bases of FS and GS (SDM 2). */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/soft.h"

static void flat(struct soft_segment *s, uint16_t selector, uint32_t rights)
{
	*s = (struct soft_segment){.selector = selector, .limit = 0xffffffff, .rights = rights};
}

#define FLAT_CODE(dpl) (0x809bu | (dpl) << 5)
#define FLAT_DATA(dpl) (0xc093u | (dpl) << 5)

static void op_syscall(struct soft_cpu *c, const struct soft_insn *i)
{
	uint16_t selector = c->star >> 32 & 0xfffc;
	struct soft_segment cs;

	if (!(c->efer & EFER_SCE) || !(c->efer & EFER_LMA) || !c->long_mode)
		soft_fault(c, V_UD, NO_ERROR_CODE);
	c->gpr[RCX] = c->next_rip;
	c->gpr[R11] = c->flags & ~F_RF;
	soft_set_flags(c, 0, c->fmask | F_RF);
	flat(&cs, selector, FLAT_CODE(0) | R_L);
	flat(&c->seg[SEG_SS], selector + 8, FLAT_DATA(0));
	c->seg[SEG_CS] = cs;
	c->cpl = 0;
	soft_mode_changed(c);
	c->next_rip = c->lstar;
	c->after |= AFTER_STEP_BY_RESULT;
}

static void op_sysret(struct soft_cpu *c, const struct soft_insn *i)
{
	uint16_t selector = c->star >> 48;
	bool to_long = i->size == 8;
	struct soft_segment cs;

	if (!(c->efer & EFER_SCE) || !c->long_mode)
		soft_fault(c, V_UD, NO_ERROR_CODE);
	soft_need_level0(c);
	if (to_long && (int64_t)(c->gpr[RCX] << 16) >> 16 != (int64_t)c->gpr[RCX])
		soft_fault(c, V_GP, 0);
	flat(&cs, (selector + (to_long ? 16 : 0)) | 3, FLAT_CODE(3) | (to_long ? R_L : R_D));
	flat(&c->seg[SEG_SS], (selector + 8) | 3, FLAT_DATA(3));
	c->seg[SEG_CS] = cs;
	c->cpl = 3;
	soft_set_flags(c, c->gpr[R11], 0x3c7fd7);
	c->next_rip = to_long ? c->gpr[RCX] : (uint32_t)c->gpr[RCX];
	c->after |= AFTER_STEP_BY_RESULT;
	soft_mode_changed(c);
}

static void op_sysenter(struct soft_cpu *c, const struct soft_insn *i)
{
	uint16_t selector = c->sysenter_cs & 0xfffc;
	bool is_long = c->efer & EFER_LMA;

	if (!(c->cr0 & CR0_PE) || !selector)
		soft_fault(c, V_GP, 0);
	c->flags &= ~(F_VM | F_IF);
	flat(&c->seg[SEG_CS], selector, FLAT_CODE(0) | (is_long ? R_L : R_D));
	flat(&c->seg[SEG_SS], selector + 8, FLAT_DATA(0));
	c->cpl = 0;
	c->gpr[RSP] = is_long ? c->sysenter_esp : (uint32_t)c->sysenter_esp;
	c->next_rip = is_long ? c->sysenter_eip : (uint32_t)c->sysenter_eip;
	soft_mode_changed(c);
}

static void op_sysexit(struct soft_cpu *c, const struct soft_insn *i)
{
	bool to_long = i->size == 8;
	uint16_t selector = c->sysenter_cs;

	if (!(c->cr0 & CR0_PE) || !(selector & 0xfffc))
		soft_fault(c, V_GP, 0);
	soft_need_level0(c);
	selector += to_long ? 32 : 16;
	flat(&c->seg[SEG_CS], selector | 3, FLAT_CODE(3) | (to_long ? R_L : R_D));
	flat(&c->seg[SEG_SS], (selector + 8) | 3, FLAT_DATA(3));
	c->cpl = 3;
	c->gpr[RSP] = to_long ? c->gpr[RCX] : (uint32_t)c->gpr[RCX];
	c->next_rip = to_long ? c->gpr[RDX] : (uint32_t)c->gpr[RDX];
	soft_mode_changed(c);
}

static void op_swapgs(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t base = c->seg[SEG_GS].base;

	if (!c->long_mode)
		soft_fault(c, V_UD, NO_ERROR_CODE);
	soft_need_level0(c);
	c->seg[SEG_GS].base = c->kernel_gs_base;
	c->kernel_gs_base = base;
}

static void op_fsgsbase(struct soft_cpu *c, const struct soft_insn *i)
{
	bool write =
		i->mnemonic == ZYDIS_MNEMONIC_WRFSBASE || i->mnemonic == ZYDIS_MNEMONIC_WRGSBASE;
	bool fs = i->mnemonic == ZYDIS_MNEMONIC_RDFSBASE || i->mnemonic == ZYDIS_MNEMONIC_WRFSBASE;
	struct soft_segment *s = &c->seg[fs ? SEG_FS : SEG_GS];
	uint64_t value = c->gpr[i->op[0].reg] & soft_mask(i->op[0].size);

	if (!c->long_mode || !(c->cr4 & CR4_FSGSBASE))
		soft_fault(c, V_UD, NO_ERROR_CODE);
	if (!write) {
		soft_set_reg(c, i->op[0].reg, s->base, i->op[0].size);
		return;
	}
	if ((int64_t)(value << 16) >> 16 != (int64_t)value)
		soft_fault(c, V_GP, 0);
	s->base = value;
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}

const struct soft_handlers soft_syscall_handlers[] = {
	{ZYDIS_MNEMONIC_SYSCALL, SAME(op_syscall), true},
	{ZYDIS_MNEMONIC_SYSRET, SAME(op_sysret), true},
	{ZYDIS_MNEMONIC_SYSENTER, SAME(op_sysenter), true},
	{ZYDIS_MNEMONIC_SYSEXIT, SAME(op_sysexit), true},
	{ZYDIS_MNEMONIC_SWAPGS, SAME(op_swapgs)},
	{ZYDIS_MNEMONIC_RDFSBASE, SAME(op_fsgsbase)},
	{ZYDIS_MNEMONIC_RDGSBASE, SAME(op_fsgsbase)},
	{ZYDIS_MNEMONIC_WRFSBASE, SAME(op_fsgsbase)},
	{ZYDIS_MNEMONIC_WRGSBASE, SAME(op_fsgsbase)},
	{0},
};
