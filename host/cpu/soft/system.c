/* SPDX-License-Identifier: MIT */
/*
 * System instructions (SDM 2): flags, ports, control and debug registers, descriptor tables, MSRs,
 * SYSCALL and SYSENTER, HLT, CPUID, TSC.
 */
#include <Zydis/Mnemonic.h>

#include "base/fault.h"
#include "cpu/soft/soft.h"

static void need_level0(struct soft_cpu *c)
{
	if (c->cpl != 0)
		soft_fault(c, V_GP, 0);
}

static bool iopl_allows(const struct soft_cpu *c)
{
	return c->cpl <= (c->flags & F_IOPL) >> 12;
}

/* --- flags --- */

static void op_cli(struct soft_cpu *c, const struct soft_insn *i)
{
	if (c->cr0 & CR0_PE && !iopl_allows(c))
		soft_fault(c, V_GP, 0);
	c->flags &= ~F_IF;
}

static void op_sti(struct soft_cpu *c, const struct soft_insn *i)
{
	if (c->cr0 & CR0_PE && !iopl_allows(c))
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

	if (c->flags & F_VM && !iopl_allows(c))
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

	if (c->flags & F_VM && !iopl_allows(c))
		soft_fault(c, V_GP, 0);
	value = soft_pop(c, size);
	if (size > 2)
		mask |= F_AC | F_ID;
	if (iopl_allows(c) || !(c->cr0 & CR0_PE))
		mask |= F_IF;
	if (c->cpl == 0 && !(c->flags & F_VM))
		mask |= F_IOPL;
	soft_set_flags(c, value & ~F_RF, mask);
	if (size > 2)
		c->flags &= ~F_RF;
}

/* --- ports --- */

void soft_check_io(struct soft_cpu *c, uint16_t port, unsigned size)
{
	const struct soft_segment *tr = &c->seg[SEG_TR];
	uint32_t map, bits;

	if (!(c->cr0 & CR0_PE) || (iopl_allows(c) && !(c->flags & F_VM)))
		return;
	/* The bitmap of a 32- or 64-bit TSS (SDM 1, 19.5.2). */
	if (!(tr->rights & 8) || tr->limit < 103)
		soft_fault(c, V_GP, 0);
	map = soft_system_load(c, tr->base + 102, 2);
	if (map + port / 8 + 1 > tr->limit)
		soft_fault(c, V_GP, 0);
	bits = soft_system_load(c, tr->base + map + port / 8, 2);
	if (bits >> (port & 7) & ((1u << size) - 1))
		soft_fault(c, V_GP, 0);
}

uint64_t soft_port_read(struct soft_cpu *c, uint16_t port, unsigned size)
{
	uint64_t value;

	c->counters.exits++;
	c->counters.port_exits++;
	if (c->debug_ports)
		soft_debug_port(c, port, size);
	value = space_read(&c->engine->engine.machine->ports, port, size);
	soft_after_access(c);
	return value;
}

void soft_port_write(struct soft_cpu *c, uint16_t port, uint64_t value, unsigned size)
{
	struct machine *machine = c->engine->engine.machine;

	c->counters.exits++;
	c->counters.port_exits++;
	if (c->debug_ports)
		soft_debug_port(c, port, size);
	space_write(&machine->ports, port, value, size);
	soft_after_access(c);
}

static void op_in(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint16_t port = i->op[1].kind == O_IMM ? (uint8_t)i->immediate : c->gpr[RDX];

	soft_check_io(c, port, size);
	soft_set_reg(c, RAX, soft_port_read(c, port, size), size);
}

static void op_out(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[1].size;
	uint16_t port = i->op[0].kind == O_IMM ? (uint8_t)i->immediate : c->gpr[RDX];

	soft_check_io(c, port, size);
	soft_port_write(c, port, c->gpr[RAX] & soft_mask(size), size);
}

/* --- control registers --- */

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

	need_level0(c);
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
	need_level0(c);
	c->cr0 &= ~(uint64_t)CR0_TS;
}

static void op_lmsw(struct soft_cpu *c, const struct soft_insn *i)
{
	uint16_t value;

	need_level0(c);
	value = soft_get(c, i, 0, 2);
	/* PE can be set, not cleared. */
	soft_set_cr0(c, (c->cr0 & ~0xeULL) | (value & 0xf));
}

static void check_umip(struct soft_cpu *c)
{
	if (c->cr4 & CR4_UMIP && c->cpl)
		soft_fault(c, V_GP, 0);
}

static void op_smsw(struct soft_cpu *c, const struct soft_insn *i)
{
	check_umip(c);
	soft_put(c, i, 0, c->cr0, i->op[0].kind == O_MEM ? 2 : i->op[0].size);
}

static void op_invlpg(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t at = soft_offset(c, i);

	need_level0(c);
	if (i->segment >= SEG_FS || !c->long_mode)
		at += c->seg[i->segment].base;
	soft_tlb_flush_page(c, c->long_mode ? at : (uint32_t)at);
	c->break_block = true;
}

static void op_invpcid(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t type = c->gpr[i->op[0].reg] & soft_mask(c->long_mode ? 8 : 4), linear, pcid, address;

	need_level0(c);
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
	need_level0(c);
}

/* --- descriptor tables --- */

static void load_table(struct soft_cpu *c, const struct soft_insn *i, struct cpu_table *table)
{
	unsigned size = c->long_mode ? 8 : 4;
	uint64_t linear, base;
	uint16_t limit;

	need_level0(c);
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

	check_umip(c);
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
	need_level0(c);
	soft_load_ldt(c, soft_get(c, i, 0, 2));
}

static void op_ltr(struct soft_cpu *c, const struct soft_insn *i)
{
	need_protected(c);
	need_level0(c);
	soft_load_tr(c, soft_get(c, i, 0, 2));
}

static void store_selector(struct soft_cpu *c, const struct soft_insn *i, unsigned segment)
{
	need_protected(c);
	check_umip(c);
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

/* --- MSRs, TSC, CPUID --- */

static void op_rdmsr(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t value = 0;

	need_level0(c);
	if (!soft_rdmsr(c, c->gpr[RCX], &value))
		soft_fault(c, V_GP, 0);
	fault_cpu("read-msr", (uint32_t)c->gpr[RCX], &value);
	c->gpr[RAX] = (uint32_t)value;
	c->gpr[RDX] = value >> 32;
}

static void op_wrmsr(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t value = (uint32_t)c->gpr[RAX] | c->gpr[RDX] << 32;

	need_level0(c);
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

/* --- system calls --- */

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
	need_level0(c);
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
	need_level0(c);
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
	need_level0(c);
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

static void op_hlt(struct soft_cpu *c, const struct soft_insn *i)
{
	need_level0(c);
	c->halted = true;
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
	{ZYDIS_MNEMONIC_IN, SAME(op_in)},
	{ZYDIS_MNEMONIC_OUT, SAME(op_out)},
	{ZYDIS_MNEMONIC_CLTS, SAME(op_clts)},
	{ZYDIS_MNEMONIC_LMSW, SAME(op_lmsw), true},
	{ZYDIS_MNEMONIC_SMSW, SAME(op_smsw)},
	{ZYDIS_MNEMONIC_INVLPG, SAME(op_invlpg), true},
	{ZYDIS_MNEMONIC_INVPCID, SAME(op_invpcid), true},
	{ZYDIS_MNEMONIC_WBINVD, SAME(op_wbinvd)},
	{ZYDIS_MNEMONIC_INVD, SAME(op_wbinvd)},
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
	{ZYDIS_MNEMONIC_RDMSR, SAME(op_rdmsr)},
	{ZYDIS_MNEMONIC_WRMSR, SAME(op_wrmsr), true},
	{ZYDIS_MNEMONIC_RDTSC, SAME(op_rdtsc)},
	{ZYDIS_MNEMONIC_RDTSCP, SAME(op_rdtscp)},
	{ZYDIS_MNEMONIC_CPUID, SAME(op_cpuid)},
	{ZYDIS_MNEMONIC_RDRAND, SAME(op_rdrand)},
	{ZYDIS_MNEMONIC_SYSCALL, SAME(op_syscall), true},
	{ZYDIS_MNEMONIC_SYSRET, SAME(op_sysret), true},
	{ZYDIS_MNEMONIC_SYSENTER, SAME(op_sysenter), true},
	{ZYDIS_MNEMONIC_SYSEXIT, SAME(op_sysexit), true},
	{ZYDIS_MNEMONIC_SWAPGS, SAME(op_swapgs)},
	{ZYDIS_MNEMONIC_RDFSBASE, SAME(op_fsgsbase)},
	{ZYDIS_MNEMONIC_RDGSBASE, SAME(op_fsgsbase)},
	{ZYDIS_MNEMONIC_WRFSBASE, SAME(op_fsgsbase)},
	{ZYDIS_MNEMONIC_WRGSBASE, SAME(op_fsgsbase)},
	{ZYDIS_MNEMONIC_HLT, SAME(op_hlt), true},
	{ZYDIS_MNEMONIC_PAUSE, SAME(op_pause), true},
	{0},
};
