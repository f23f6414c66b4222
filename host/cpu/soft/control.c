/* SPDX-License-Identifier: MIT */
/*
 * Control registers (SDM 3A, 2.5): MOV to and from CRn and DRn, CLTS, LMSW, SMSW, INVLPG, INVPCID,
 * and what a change of CR0, CR3, CR4 or the flags brings with it.
 */
#include <Zydis/Mnemonic.h>

#include "base/fault.h"
#include "cpu/soft/soft.h"

static uint64_t control(struct soft_cpu *c, unsigned n)
{
	switch (n) {
	case 0: return c->cr0;
	case 2: return c->cr2;
	case 3: return c->cr3;
	case 4: return c->cr4;
	case 8: return soft_lapic_tpr(c) >> 4;
	default: soft_fault(c, V_UD, NO_ERROR_CODE);
	}
}

static uint64_t read_control(struct soft_cpu *c, unsigned n)
{
	uint64_t value = control(c, n);

	fault_cpu("read-cr", n, &value);
	return value;
}

static void write_control(struct soft_cpu *c, unsigned n, uint64_t value)
{
	fault_cpu("write-cr", n, &value);
	switch (n) {
	case 0: soft_set_cr0(c, value); break;
	case 2: c->cr2 = value; break;
	case 3: soft_set_cr3(c, value); break;
	case 4: soft_set_cr4(c, value); break;
	case 8:
		if (value >> 4)
			soft_fault(c, V_GP, 0);
		soft_lapic_set_tpr(c, value << 4);
		break;
	default: soft_fault(c, V_UD, NO_ERROR_CODE);
	}
}

void soft_move_control(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = c->long_mode ? 8 : 4;
	const struct soft_operand *to = &i->op[0], *from = &i->op[1];

	soft_need_level0(c);
	if (to->kind == O_CR)
		write_control(c, to->reg, c->gpr[from->reg] & soft_mask(size));
	else if (to->kind == O_DR)
		soft_write_debug(c, to->reg, c->gpr[from->reg] & soft_mask(size));
	else if (from->kind == O_CR)
		soft_set_reg(c, to->reg, read_control(c, from->reg), size);
	else
		soft_set_reg(c, to->reg, soft_read_debug(c, from->reg), size);
}

static void op_clts(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_need_level0(c);
	c->cr0 &= ~(uint64_t)CR0_TS;
}

static void op_lmsw(struct soft_cpu *c, const struct soft_insn *i)
{
	uint16_t value;

	soft_need_level0(c);
	value = soft_get(c, i, 0, 2);
	/* PE can be set, not cleared. */
	soft_set_cr0(c, (c->cr0 & ~0xeULL) | (value & 0xf));
}

static void op_smsw(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_check_umip(c);
	soft_put(c, i, 0, c->cr0, i->op[0].kind == O_MEM ? 2 : i->op[0].size);
}

static void op_invlpg(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t at = soft_offset(c, i);

	soft_need_level0(c);
	if (i->segment >= SEG_FS || !c->long_mode)
		at += c->seg[i->segment].base;
	soft_tlb_flush_page(c, c->long_mode ? at : (uint32_t)at);
	c->break_block = true;
}

static void op_invpcid(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t type = c->gpr[i->op[0].reg] & soft_mask(c->long_mode ? 8 : 4), linear, pcid,
		 address;

	soft_need_level0(c);
	linear = soft_address(c, i, 16, false);
	pcid = soft_load(c, linear, 8);
	address = soft_load(c, linear + 8, 8);
	/* The descriptor: twelve bits of PCID, the rest of its first word reserved. */
	if (type > 3 || pcid >> 12 || (type < 2 && pcid && !(c->cr4 & CR4_PCIDE)) ||
		(type == 0 && (int64_t)(address << 16) >> 16 != (int64_t)address))
		soft_fault(c, V_GP, 0);
	soft_tlb_flush(c, true);
	c->break_block = true;
}

static void op_wbinvd(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_need_level0(c);
}

/* PAE without long mode reads its four top entries with CR3.  Before any register has changed,
 * because reserved bits in them are #GP. */
#define PDPTE_RESERVED 0xffffff00000001e6ULL /* with 40 bits of physical address */

static void load_pdpte(struct soft_cpu *c, uint64_t cr0, uint64_t cr3, uint64_t cr4)
{
	uint64_t entries[4];

	if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE) || c->efer & EFER_LME)
		return;
	for (unsigned i = 0; i < 4; i++) {
		if (guest_peek(&c->engine->engine.machine->memory, (cr3 & 0xffffffe0) + i * 8,
			    &entries[i], 8) < 0)
			entries[i] = 0;
		if (entries[i] & 1 && entries[i] & PDPTE_RESERVED)
			soft_fault(c, V_GP, 0);
	}
	for (unsigned i = 0; i < 4; i++)
		c->pdpte[i] = entries[i];
}

void soft_set_cr0(struct soft_cpu *c, uint64_t value)
{
	uint64_t old = c->cr0;

	if (value >> 32 || (value & CR0_PG && !(value & CR0_PE)) ||
		(value & CR0_NW && !(value & CR0_CD)))
		soft_fault(c, V_GP, 0);
	if ((old ^ value) & CR0_PG)
		load_pdpte(c, value, c->cr3, c->cr4);
	if (value & CR0_PG && !(old & CR0_PG) && c->efer & EFER_LME) {
		if (!(c->cr4 & CR4_PAE) || c->seg[SEG_CS].rights & R_L)
			soft_fault(c, V_GP, 0);
		c->efer |= EFER_LMA;
	} else if (!(value & CR0_PG) && old & CR0_PG && c->efer & EFER_LMA) {
		if (c->long_mode)
			soft_fault(c, V_GP, 0);
		c->efer &= ~(uint64_t)EFER_LMA;
	}
	c->cr0 = (value & (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW |
				  CR0_CD | CR0_PG)) |
		 CR0_ET;
	if ((old ^ c->cr0) & (CR0_PG | CR0_WP | CR0_PE | CR0_AM))
		soft_tlb_flush(c, true);
	soft_mode_changed(c);
}

void soft_set_cr3(struct soft_cpu *c, uint64_t value)
{
	bool keep = c->cr4 & CR4_PCIDE && value >> 63;
	uint64_t old = c->cr3, flushed = value;

	if (c->cr4 & CR4_PCIDE)
		value &= ~(1ULL << 63);
	if (c->long_mode && value >> 40)
		soft_fault(c, V_GP, 0);
	load_pdpte(c, c->cr0, value, c->cr4);
	c->cr3 = value;
	/* One set of translations is kept: those of another PCID go with the switch. */
	if ((!keep || (old & 0xfff) != (value & 0xfff)) &&
		fault_cpu("flush", 3, &flushed) != FAULT_DROP)
		soft_tlb_flush(c, false);
}

void soft_set_cr4(struct soft_cpu *c, uint64_t value)
{
	uint64_t old = c->cr4;

	if (value & ~soft_cr4_bits(c) || (c->efer & EFER_LMA && !(value & CR4_PAE)) ||
		(value & CR4_PCIDE && !(old & CR4_PCIDE) &&
			(!(c->efer & EFER_LMA) || c->cr3 & 0xfff)))
		soft_fault(c, V_GP, 0);
	if ((old ^ value) & CR4_PAE)
		load_pdpte(c, c->cr0, c->cr3, value);
	c->cr4 = value;
	if ((old ^ value) & CR4_DE)
		soft_debug_changed(c);
	if ((old ^ value) & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP))
		soft_tlb_flush(c, true);
	c->break_block = true;
}

void soft_set_flags(struct soft_cpu *c, uint32_t value, uint32_t changeable)
{
	uint32_t old = c->flags;

	c->flags = (old & ~changeable) | (value & changeable) | 2;
	/* SMAP's exception, and whether user pages may be accessed directly. */
	if ((old ^ c->flags) & F_AC && (c->cr4 & CR4_SMAP || c->cr0 & CR0_AM))
		soft_tlb_flush(c, true);
	/* Interrupts that waited for IF, and the trap after the next instruction. */
	if (c->flags & (F_IF | F_TF))
		c->break_block = true;
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}

const struct soft_handlers soft_control_handlers[] = {
	{ZYDIS_MNEMONIC_CLTS, SAME(op_clts)},
	{ZYDIS_MNEMONIC_LMSW, SAME(op_lmsw), true},
	{ZYDIS_MNEMONIC_SMSW, SAME(op_smsw)},
	{ZYDIS_MNEMONIC_INVLPG, SAME(op_invlpg), true},
	{ZYDIS_MNEMONIC_INVPCID, SAME(op_invpcid), true},
	{ZYDIS_MNEMONIC_WBINVD, SAME(op_wbinvd)},
	{ZYDIS_MNEMONIC_INVD, SAME(op_wbinvd)},
	{0},
};
