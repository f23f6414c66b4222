/* SPDX-License-Identifier: MIT */
/*
 * Instructions about descriptors and their tables (SDM 2): LGDT and its kin, LLDT, LTR, LAR, LSL,
 * VERR, VERW, ARPL, and the loads of far pointers.
 */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/soft.h"

static void load_table(struct soft_cpu *c, const struct soft_insn *i, struct cpu_table *table)
{
	unsigned size = c->long_mode ? 8 : 4;
	uint64_t linear, base;
	uint16_t limit;

	soft_need_level0(c);
	linear = soft_address(c, i, 2 + size, false);
	limit = soft_load(c, linear, 2);
	base = soft_load(c, linear + 2, size);
	if (!c->long_mode && i->size == 2)
		base &= 0xffffff;
	if (c->long_mode && (int64_t)(base << 16) >> 16 != (int64_t)base)
		soft_fault(c, V_GP, 0);
	*table = (struct cpu_table){base, limit};
}

static void store_table(
	struct soft_cpu *c, const struct soft_insn *i, const struct cpu_table *table)
{
	unsigned size = c->long_mode ? 8 : 4;
	uint64_t linear = soft_address(c, i, 2 + size, true);

	soft_check_umip(c);
	soft_check_write(c, linear, 2 + size);
	soft_store(c, linear, table->limit, 2);
	soft_store(c, linear + 2, table->base & soft_mask(size), size);
}

static void op_lgdt(struct soft_cpu *c, const struct soft_insn *i)
{
	load_table(c, i, &c->gdt);
}

static void op_lidt(struct soft_cpu *c, const struct soft_insn *i)
{
	load_table(c, i, &c->idt);
}

static void op_sgdt(struct soft_cpu *c, const struct soft_insn *i)
{
	store_table(c, i, &c->gdt);
}

static void op_sidt(struct soft_cpu *c, const struct soft_insn *i)
{
	store_table(c, i, &c->idt);
}

static void need_protected(struct soft_cpu *c)
{
	if (!(c->cr0 & CR0_PE) || c->flags & F_VM)
		soft_fault(c, V_UD, NO_ERROR_CODE);
}

static void op_lldt(struct soft_cpu *c, const struct soft_insn *i)
{
	need_protected(c);
	soft_need_level0(c);
	soft_load_ldt(c, soft_get(c, i, 0, 2));
}

static void op_ltr(struct soft_cpu *c, const struct soft_insn *i)
{
	need_protected(c);
	soft_need_level0(c);
	soft_load_tr(c, soft_get(c, i, 0, 2));
}

static void store_selector(struct soft_cpu *c, const struct soft_insn *i, unsigned segment)
{
	need_protected(c);
	soft_check_umip(c);
	soft_put(c, i, 0, c->seg[segment].selector, i->op[0].kind == O_MEM ? 2 : i->op[0].size);
}

static void op_sldt(struct soft_cpu *c, const struct soft_insn *i)
{
	store_selector(c, i, SEG_LDT);
}

static void op_str(struct soft_cpu *c, const struct soft_insn *i)
{
	store_selector(c, i, SEG_TR);
}

/* May the selector be looked at?  LAR, LSL, VERR, VERW answer by ZF and never fault for it. */
static bool visible(struct soft_cpu *c, uint16_t selector, struct soft_segment *s, bool system_too)
{
	uint64_t raw;
	unsigned dpl;

	if (!(selector & ~3) || !soft_descriptor(c, selector, &raw))
		return false;
	soft_unpack(s, selector, raw);
	if (!(s->rights & R_S) && !system_too)
		return false;
	dpl = R_DPL(s->rights);
	if ((s->rights & (R_S | R_CODE | R_DOWN)) == (R_S | R_CODE | R_DOWN))
		return true;
	return dpl >= c->cpl && dpl >= (selector & 3u);
}

static void set_zf(struct soft_cpu *c, bool on)
{
	c->flags = on ? c->flags | F_ZF : c->flags & ~F_ZF;
}

static void op_lar(struct soft_cpu *c, const struct soft_insn *i)
{
	/* Of a system descriptor: TSSes, LDT, call and task gates; only a few in long mode. */
	uint16_t types = c->efer & EFER_LMA ? 0x1a04 : 0x1a3e;
	struct soft_segment s;
	bool ok;

	need_protected(c);
	ok = visible(c, soft_get(c, i, 1, 2), &s, true) &&
	     (s.rights & R_S || types >> (s.rights & R_TYPE) & 1);
	if (ok) {
		uint32_t rights = (uint32_t)s.rights << 8 & 0xf0ff00;

		/* The limit's bits 16 to 19 are undefined in the result: zero. */
		soft_set_reg(c, i->op[0].reg, rights, i->op[0].size);
	}
	set_zf(c, ok);
}

static void op_lsl(struct soft_cpu *c, const struct soft_insn *i)
{
	uint16_t types = c->efer & EFER_LMA ? 0x0a04 : 0x0a0e;
	struct soft_segment s;
	bool ok;

	need_protected(c);
	ok = visible(c, soft_get(c, i, 1, 2), &s, true) &&
	     (s.rights & R_S || types >> (s.rights & R_TYPE) & 1);
	if (ok)
		soft_set_reg(c, i->op[0].reg, s.limit, i->op[0].size);
	set_zf(c, ok);
}

static void op_verr(struct soft_cpu *c, const struct soft_insn *i)
{
	struct soft_segment s;

	need_protected(c);
	set_zf(c, visible(c, soft_get(c, i, 0, 2), &s, false) &&
			  (!(s.rights & R_CODE) || s.rights & R_WRITE));
}

static void op_verw(struct soft_cpu *c, const struct soft_insn *i)
{
	struct soft_segment s;

	need_protected(c);
	set_zf(c, visible(c, soft_get(c, i, 0, 2), &s, false) && !(s.rights & R_CODE) &&
			  s.rights & R_WRITE);
}

static void op_arpl(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t a, b;

	need_protected(c);
	a = soft_get(c, i, 0, 2);
	b = soft_get(c, i, 1, 2);
	/* Memory is written only where it changes. */
	if ((a & 3) < (b & 3))
		soft_put(c, i, 0, (a & ~3) | (b & 3), 2);
	set_zf(c, (a & 3) < (b & 3));
}

/* LDS, LES, LFS, LGS, LSS: an offset, and a selector behind it. */
static void op_load_far(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size, segment;
	uint64_t linear = soft_address(c, i, size + 2, false), offset;

	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_LDS: segment = SEG_DS; break;
	case ZYDIS_MNEMONIC_LES: segment = SEG_ES; break;
	case ZYDIS_MNEMONIC_LFS: segment = SEG_FS; break;
	case ZYDIS_MNEMONIC_LGS: segment = SEG_GS; break;
	default: segment = SEG_SS; break;
	}
	offset = soft_load(c, linear, size);
	soft_load_segment(c, segment, soft_load(c, linear + size, 2));
	soft_set_reg(c, i->op[0].reg, offset, size);
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}

const struct soft_handlers soft_descriptor_handlers[] = {
	{ZYDIS_MNEMONIC_LGDT, SAME(op_lgdt)},
	{ZYDIS_MNEMONIC_LIDT, SAME(op_lidt)},
	{ZYDIS_MNEMONIC_SGDT, SAME(op_sgdt)},
	{ZYDIS_MNEMONIC_SIDT, SAME(op_sidt)},
	{ZYDIS_MNEMONIC_LLDT, SAME(op_lldt)},
	{ZYDIS_MNEMONIC_LTR, SAME(op_ltr)},
	{ZYDIS_MNEMONIC_SLDT, SAME(op_sldt)},
	{ZYDIS_MNEMONIC_STR, SAME(op_str)},
	{ZYDIS_MNEMONIC_LAR, SAME(op_lar)},
	{ZYDIS_MNEMONIC_LSL, SAME(op_lsl)},
	{ZYDIS_MNEMONIC_VERR, SAME(op_verr)},
	{ZYDIS_MNEMONIC_VERW, SAME(op_verw)},
	{ZYDIS_MNEMONIC_ARPL, SAME(op_arpl)},
	{ZYDIS_MNEMONIC_LDS, SAME(op_load_far)},
	{ZYDIS_MNEMONIC_LES, SAME(op_load_far)},
	{ZYDIS_MNEMONIC_LFS, SAME(op_load_far)},
	{ZYDIS_MNEMONIC_LGS, SAME(op_load_far)},
	{ZYDIS_MNEMONIC_LSS, SAME(op_load_far)},
	{0},
};
