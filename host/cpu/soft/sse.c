/* SPDX-License-Identifier: MIT */
/*
 * MMX and SSE instructions around their stubs (native.h): who may execute them (SDM 2, 2.5; SDM 3A,
 * 13.1), operands, alignment, MXCSR and #XM (SDM 1, 11.5).
 *
 * The host executes with all SIMD exceptions masked.  What the guest has not masked is worked out
 * from the flags that were raised, before anything of the guest is changed.
 *
 * RCPPS, RSQRTPS and their scalar forms differ between makers: here they give the exact quotient or
 * root rounded to nearest, denormal operands and results taken as zero.
 */
#include <Zydis/Mnemonic.h>
#include <emmintrin.h>
#include <string.h>

#include "cpu/soft/native.h"

/* MXCSR */
#define SIMD_INVALID	0x01u
#define SIMD_UNDERFLOW	0x10u
#define SIMD_EXCEPTIONS 0x3fu
#define SIMD_BEFORE	0x07u /* invalid, denormal, divide by zero: found before computing */
#define SIMD_MASKS	0x1f80u
#define SIMD_FLUSH	0x8000u
#define HOST_MXCSR	0x1f80u

_Noreturn static void undefined(struct soft_cpu *c)
{
	soft_fault(c, V_UD, NO_ERROR_CODE);
}

void sse_check(struct soft_cpu *c)
{
	if (c->cr0 & CR0_EM || !(c->cr4 & CR4_OSFXSR))
		undefined(c);
	if (c->cr0 & CR0_TS)
		soft_fault(c, V_NM, NO_ERROR_CODE);
}

void mmx_check(struct soft_cpu *c)
{
	if (c->cr0 & CR0_EM)
		undefined(c);
	if (c->cr0 & CR0_TS)
		soft_fault(c, V_NM, NO_ERROR_CODE);
	x87_check_pending(c);
}

void mmx_enter(struct soft_cpu *c)
{
	c->fpu.sw &= ~0x3800;
	c->fpu.valid = 0xff;
}

static void check(struct soft_cpu *c, const struct native_stub *s)
{
	if (!s->no_sse)
		sse_check(c);
	if (s->mmx)
		mmx_check(c);
}

/* --- memory operands --- */

static uint64_t operand_address(
	struct soft_cpu *c, const struct soft_insn *i, unsigned size, bool aligned, bool write)
{
	uint64_t linear = soft_address(c, i, size, write);

	if (aligned && linear & 15)
		soft_fault(c, V_GP, 0);
	return linear;
}

static void read_operand(
	struct soft_cpu *c, const struct soft_insn *i, unsigned size, bool aligned, void *to)
{
	uint64_t linear = operand_address(c, i, size, aligned, false), value;

	if (size == 16) {
		value = soft_load(c, linear, 8);
		memcpy(to, &value, 8);
		linear += 8;
		to = (uint8_t *)to + 8;
		size = 8;
	}
	value = soft_load(c, linear, size);
	memcpy(to, &value, 8);
}

static void write_operand(struct soft_cpu *c, const struct soft_insn *i, unsigned size,
	bool aligned, const void *from)
{
	uint64_t linear = operand_address(c, i, size, aligned, true), value;

	memcpy(&value, from, 8);
	if (size == 16) {
		/* Both halves may be written before one is. */
		if ((linear & 0xfff) > 0xff0)
			soft_check_write(c, linear, 16);
		soft_store(c, linear, value, 8);
		memcpy(&value, (const uint8_t *)from + 8, 8);
		linear += 8;
		size = 8;
	}
	soft_store(c, linear, value & soft_mask(size), size);
}

/* --- the quick ways --- */

static void run_registers(struct soft_cpu *c, const struct soft_insn *i)
{
	const struct native_stub *s = i->native;
	struct native_frame f;

	sse_check(c);
	s->code(c->fpu.xmm[i->op[s->reg_operand].reg], c->fpu.xmm[i->op[s->rm_operand].reg], &f);
}

static void run_memory(struct soft_cpu *c, const struct soft_insn *i)
{
	const struct native_stub *s = i->native;
	struct native_frame f;
	uint8_t memory[16] __attribute__((aligned(16))) = {0};

	sse_check(c);
	read_operand(c, i, i->op[s->rm_operand].size, s->aligned, memory);
	s->code(c->fpu.xmm[i->op[s->reg_operand].reg], memory, &f);
}

static void move_registers(struct soft_cpu *c, const struct soft_insn *i)
{
	sse_check(c);
	memcpy(c->fpu.xmm[i->op[0].reg], c->fpu.xmm[i->op[1].reg], 16);
}

static void move_load(struct soft_cpu *c, const struct soft_insn *i)
{
	const struct native_stub *s = i->native;
	uint8_t memory[16];

	sse_check(c);
	read_operand(c, i, 16, s->aligned, memory);
	memcpy(c->fpu.xmm[i->op[0].reg], memory, 16);
}

static void move_store(struct soft_cpu *c, const struct soft_insn *i)
{
	const struct native_stub *s = i->native;

	sse_check(c);
	write_operand(c, i, 16, s->aligned, c->fpu.xmm[i->op[1].reg]);
}

/* --- numeric instructions --- */

static bool is_denormal(const uint8_t *at, unsigned size)
{
	uint64_t value = 0, fraction = size == 8 ? (1ULL << 52) - 1 : (1u << 23) - 1;
	uint64_t exponent = size == 8 ? 0x7ffULL << 52 : 0xffu << 23;

	memcpy(&value, at, size);
	return !(value & exponent) && value & fraction;
}

/* Flags and, for what the guest did not mask, the fault.  An unmasked underflow is raised by any
 * tiny result, a masked one only by an inexact one (SDM 1, 11.5.2.5). */
static void settle(struct soft_cpu *c, const struct native_stub *s, const struct native_frame *f,
	const uint8_t *result)
{
	uint32_t raised = f->mxcsr & SIMD_EXCEPTIONS, open = ~c->fpu.mxcsr >> 7 & SIMD_EXCEPTIONS;

	if (open & SIMD_UNDERFLOW)
		for (unsigned n = 0; n < s->elements; n++)
			if (is_denormal(result + n * s->element, s->element))
				raised |= SIMD_UNDERFLOW;
	if (raised & open & SIMD_BEFORE)
		raised &= SIMD_BEFORE;
	c->fpu.mxcsr |= raised;
	if (!(raised & open))
		return;
	if (!(c->cr4 & CR4_OSXMMEXCPT))
		undefined(c);
	soft_fault(c, V_XM, NO_ERROR_CODE);
}

static void run_numeric(struct soft_cpu *c, const struct soft_insn *i)
{
	const struct native_stub *s = i->native;
	const struct soft_operand *operand = &i->op[s->rm_operand];
	uint8_t memory[16] = {0}, result[16], *to = c->fpu.xmm[i->op[s->reg_operand].reg];
	bool masked = (c->fpu.mxcsr & SIMD_MASKS) == SIMD_MASKS;
	struct native_frame f = {.host_mxcsr = HOST_MXCSR};

	sse_check(c);
	if (s->rm == N_MEM)
		read_operand(c, i, operand->size, s->aligned, memory);
	f.mxcsr = (c->fpu.mxcsr & ~SIMD_EXCEPTIONS) | SIMD_MASKS;
	if (masked) {
		s->code(to, s->rm == N_MEM ? memory : c->fpu.xmm[operand->reg], &f);
		c->fpu.mxcsr |= f.mxcsr & SIMD_EXCEPTIONS;
		return;
	}
	if (!(c->fpu.mxcsr & SIMD_UNDERFLOW << 7))
		f.mxcsr &= ~SIMD_FLUSH; /* it is for masked underflow only */
	memcpy(result, to, 16);
	s->code(result, s->rm == N_MEM ? memory : c->fpu.xmm[operand->reg], &f);
	settle(c, s, &f, result);
	if (s->reg_written)
		memcpy(to, result, 16);
}

/* --- all others --- */

static void *place(struct soft_cpu *c, unsigned class, const struct soft_operand *o, uint8_t *copy)
{
	switch (class) {
	case N_XMM: memcpy(copy, c->fpu.xmm[o->reg], 16); break;
	case N_MMX: memcpy(copy, c->fpu.st[o->reg], 8); break;
	case N_GPR: memcpy(copy, &c->gpr[o->reg], 8); break;
	default: break;
	}
	return copy;
}

static void put_back(struct soft_cpu *c, const struct soft_insn *i, const struct native_stub *s,
	unsigned class, const struct soft_operand *o, const uint8_t *copy)
{
	uint64_t value;

	memcpy(&value, copy, 8);
	switch (class) {
	case N_XMM: memcpy(c->fpu.xmm[o->reg], copy, 16); break;
	case N_MMX:
		memcpy(c->fpu.st[o->reg], copy, 8);
		memset(c->fpu.st[o->reg] + 8, 0xff, 2);
		break;
	case N_GPR: soft_set_reg(c, o->reg, value, o->size); break;
	case N_MEM: write_operand(c, i, o->size, s->aligned, copy); break;
	default: break;
	}
}

static void run_general(struct soft_cpu *c, const struct soft_insn *i)
{
	const struct native_stub *s = i->native;
	const struct soft_operand *reg = &i->op[s->reg_operand], *rm = &i->op[s->rm_operand];
	uint8_t reg_copy[16] = {0}, rm_copy[16] = {0};
	struct native_frame f = {.host_mxcsr = HOST_MXCSR, .rax = c->gpr[RAX], .rdx = c->gpr[RDX]};

	check(c, s);
	if (s->rm == N_MEM && s->rm_read)
		read_operand(c, i, rm->size, s->aligned, rm_copy);
	f.mxcsr = (c->fpu.mxcsr & ~SIMD_EXCEPTIONS) | SIMD_MASKS;
	if (s->xmm0_read)
		memcpy(f.xmm0, c->fpu.xmm[0], 16);
	s->code(place(c, s->reg, reg, reg_copy), place(c, s->rm, rm, rm_copy), &f);
	if (s->numeric)
		settle(c, s, &f, reg_copy);
	/* Memory first: it may fault. */
	if (s->rm_written)
		put_back(c, i, s, s->rm, rm, rm_copy);
	if (s->mmx)
		mmx_enter(c);
	if (s->reg_written)
		put_back(c, i, s, s->reg, reg, reg_copy);
	if (s->xmm0_written)
		memcpy(c->fpu.xmm[0], f.xmm0, 16);
	if (s->index)
		c->gpr[RCX] = (uint32_t)f.rcx;
	if (s->flags)
		c->flags = (c->flags & ~F_ARITHMETIC) | (f.flags & F_ARITHMETIC);
}

static bool is_plain_move(uint16_t mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD:
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQA:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_MOVNTDQ:
	case ZYDIS_MNEMONIC_MOVNTPS:
	case ZYDIS_MNEMONIC_MOVNTPD: return true;
	default: return false;
	}
}

soft_handler *sse_runner(const struct native_stub *s, const struct soft_insn *i)
{
	bool plain = !s->flags && !s->xmm0_read && !s->xmm0_written && !s->index;

	if (is_plain_move(i->mnemonic))
		return i->op[0].kind == O_MEM	? move_store
		       : i->op[1].kind == O_MEM ? move_load
						: move_registers;
	if (!plain || s->reg != N_XMM || s->rm_written)
		return run_general;
	if (s->rm != N_XMM && s->rm != N_MEM)
		return run_general;
	if (s->mmx || (s->rm == N_MEM && !s->rm_read))
		return run_general;
	if (s->numeric)
		return run_numeric;
	return s->rm == N_XMM ? run_registers : run_memory;
}

/* --- not the host's own --- */

static uint32_t reciprocal(uint32_t bits)
{
	uint32_t sign = bits & 0x80000000, exponent = bits >> 23 & 0xff;
	float value;

	if (exponent == 0xff)
		return bits & 0x7fffff ? bits | 0x400000 : sign;
	if (exponent == 0)
		return sign | 0x7f800000;
	memcpy(&value, &bits, 4);
	value = 1.0f / value;
	memcpy(&bits, &value, 4);
	return bits >> 23 & 0xff ? bits : sign;
}

static uint32_t reciprocal_root(uint32_t bits)
{
	uint32_t exponent = bits >> 23 & 0xff;
	double root;
	float value;

	if (exponent == 0xff && bits & 0x7fffff)
		return bits | 0x400000;
	if (exponent == 0)
		return (bits & 0x80000000) | 0x7f800000;
	if (bits & 0x80000000)
		return 0xffc00000;
	if (exponent == 0xff)
		return 0;
	memcpy(&value, &bits, 4);
	root = _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(value)));
	value = (float)(1.0 / root);
	memcpy(&bits, &value, 4);
	return bits;
}

static void op_approximate(struct soft_cpu *c, const struct soft_insn *i)
{
	bool packed = i->mnemonic == ZYDIS_MNEMONIC_RCPPS || i->mnemonic == ZYDIS_MNEMONIC_RSQRTPS;
	bool root = i->mnemonic == ZYDIS_MNEMONIC_RSQRTPS || i->mnemonic == ZYDIS_MNEMONIC_RSQRTSS;
	uint32_t value[4] = {0};

	sse_check(c);
	if (i->op[1].kind == O_MEM)
		read_operand(c, i, packed ? 16 : 4, packed, value);
	else
		memcpy(value, c->fpu.xmm[i->op[1].reg], 16);
	for (unsigned n = 0; n < (packed ? 4 : 1); n++)
		value[n] = root ? reciprocal_root(value[n]) : reciprocal(value[n]);
	memcpy(c->fpu.xmm[i->op[0].reg], value, packed ? 16 : 4);
}

/* MASKMOVQ, MASKMOVDQU: bytes whose mask has its top bit set, to [rDI]. */
static void op_maskmov(struct soft_cpu *c, const struct soft_insn *i)
{
	bool mmx = i->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ;
	const uint8_t *from, *mask;
	uint64_t at = c->gpr[RDI], linear[16];
	unsigned size = mmx ? 8 : 16;

	if (mmx)
		mmx_check(c);
	else
		sse_check(c);
	from = mmx ? c->fpu.st[i->op[0].reg] : c->fpu.xmm[i->op[0].reg];
	mask = mmx ? c->fpu.st[i->op[1].reg] : c->fpu.xmm[i->op[1].reg];
	for (unsigned n = 0; n < size; n++) {
		if (!(mask[n] & 0x80))
			continue;
		linear[n] = soft_linear(c, i->segment, (at + n) & soft_mask(i->address), 1, true);
		soft_check_write(c, linear[n], 1);
	}
	for (unsigned n = 0; n < size; n++)
		if (mask[n] & 0x80)
			soft_store(c, linear[n], from[n], 1);
	if (mmx)
		mmx_enter(c);
}

static void op_ldmxcsr(struct soft_cpu *c, const struct soft_insn *i)
{
	uint32_t value;

	sse_check(c);
	value = soft_load(c, soft_address(c, i, 4, false), 4);
	if (value & ~MXCSR_MASK)
		soft_fault(c, V_GP, 0);
	c->fpu.mxcsr = value;
}

static void op_stmxcsr(struct soft_cpu *c, const struct soft_insn *i)
{
	sse_check(c);
	soft_store(c, soft_address(c, i, 4, true), c->fpu.mxcsr, 4);
}

static void op_emms(struct soft_cpu *c, const struct soft_insn *i)
{
	mmx_check(c);
	c->fpu.valid = 0;
}

soft_handler *sse_special(uint16_t mnemonic, const struct soft_insn *i)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_RCPPS:
	case ZYDIS_MNEMONIC_RCPSS:
	case ZYDIS_MNEMONIC_RSQRTPS:
	case ZYDIS_MNEMONIC_RSQRTSS: return op_approximate;
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU: return op_maskmov;
	case ZYDIS_MNEMONIC_LDMXCSR: return op_ldmxcsr;
	case ZYDIS_MNEMONIC_STMXCSR: return op_stmxcsr;
	case ZYDIS_MNEMONIC_EMMS: return op_emms;
	default: return NULL;
	}
}
