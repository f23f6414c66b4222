/* SPDX-License-Identifier: MIT */
/*
 * x87 (SDM 1, 8.3.5, 8.3.6): arithmetic and comparison.  What is exactly specified the host's x87
 * computes, with the guest's control word.
 */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/x87.h"

/* FADD, FMUL, FSUB, FSUBR, FDIV, FDIVR in all forms. */
void x87_arithmetic(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned rm = i->immediate & 7;
	unsigned to = x87_has_memory(i) || i->opcode == 0xd8 ? 0 : rm, from = to ? 0 : rm;
	bool pops = i->opcode == 0xde && !x87_has_memory(i);
	uint8_t value[16] = {0}, result[16];

	x87_begin(c);
	if (x87_has_memory(i))
		x87_read_memory(c, i, value, i->op[0].size);
	x87_note(c, i);
	if (x87_is_empty(c, to) || (!x87_has_memory(i) && x87_is_empty(c, from))) {
		if (!x87_underflow(c))
			return;
		x87_set(c, to, x87_indefinite);
	} else {
		memcpy(result, x87_st(c, to), 16);
		if (!x87_has_memory(i))
			memcpy(value, x87_st(c, from), 16);
		if (x87_settle(c, x87_execute(c, i, result, value)) & X87_BEFORE)
			return;
		x87_set(c, to, result);
	}
	if (pops)
		x87_pop(c);
}

/* FSQRT, FRNDINT. */
void x87_unary(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t result[16];

	x87_begin(c);
	x87_note(c, i);
	if (x87_is_empty(c, 0)) {
		if (x87_underflow(c))
			x87_set(c, 0, x87_indefinite);
		return;
	}
	memcpy(result, x87_st(c, 0), 16);
	if (!(x87_settle(c, x87_execute(c, i, result, result)) & X87_BEFORE))
		x87_set(c, 0, result);
}

static bool is_nan(const uint8_t *value)
{
	uint64_t mantissa;

	memcpy(&mantissa, value, 8);
	return (value[9] & 0x7f) == 0x7f && value[8] == 0xff && mantissa << 1;
}

/* FPREM, FPREM1, FSCALE. */
void x87_binary(struct soft_cpu *c, const struct soft_insn *i)
{
	bool remainder = i->mnemonic != ZYDIS_MNEMONIC_FSCALE;
	uint8_t result[16];
	uint16_t sw;

	x87_begin(c);
	x87_note(c, i);
	if (x87_is_empty(c, 0) || x87_is_empty(c, 1)) {
		if (remainder)
			c->fpu.sw &= ~X87_C2; /* there is nothing left to reduce */
		if (x87_underflow(c))
			x87_set(c, 0, x87_indefinite);
		return;
	}
	memcpy(result, x87_st(c, 0), 16);
	sw = x87_execute(c, i, result, x87_st(c, 1));
	if (remainder && (sw & X87_INVALID || is_nan(result)))
		c->fpu.sw &= ~X87_C2; /* no quotient */
	else if (remainder)
		c->fpu.sw = (c->fpu.sw & ~X87_CODES) | (sw & X87_CODES);
	if (!(x87_settle(c, sw) & X87_BEFORE))
		x87_set(c, 0, result);
}

void x87_fxtract(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t significand[16], exponent[16];

	x87_begin(c);
	x87_note(c, i);
	if (x87_is_empty(c, 0) || !x87_is_empty(c, 7)) {
		if (!(x87_is_empty(c, 0) ? x87_underflow(c) : x87_overflow(c)))
			return;
		x87_set(c, 0, x87_indefinite);
		x87_turn(c, -1);
		x87_set(c, 0, x87_indefinite);
		return;
	}
	memcpy(significand, x87_st(c, 0), 16);
	if (x87_settle(c, x87_execute(c, i, significand, exponent)) & X87_BEFORE)
		return;
	x87_set(c, 0, exponent);
	x87_push(c, significand);
}

void x87_sign(struct soft_cpu *c, const struct soft_insn *i)
{
	x87_begin(c);
	x87_note(c, i);
	if (x87_is_empty(c, 0)) {
		if (x87_underflow(c))
			x87_set(c, 0, x87_indefinite);
		return;
	}
	c->fpu.sw &= ~X87_C1;
	if (i->mnemonic == ZYDIS_MNEMONIC_FCHS)
		x87_st(c, 0)[9] ^= 0x80;
	else
		x87_st(c, 0)[9] &= 0x7f;
}

/* --- comparison --- */

struct comparison {
	uint8_t pops;
	bool to_flags;
};

static struct comparison comparison_of(const struct soft_insn *i)
{
	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_FCOMP:
	case ZYDIS_MNEMONIC_FUCOMP:
	case ZYDIS_MNEMONIC_FICOMP: return (struct comparison){1, false};
	case ZYDIS_MNEMONIC_FCOMPP:
	case ZYDIS_MNEMONIC_FUCOMPP: return (struct comparison){2, false};
	case ZYDIS_MNEMONIC_FCOMI:
	case ZYDIS_MNEMONIC_FUCOMI: return (struct comparison){0, true};
	case ZYDIS_MNEMONIC_FCOMIP:
	case ZYDIS_MNEMONIC_FUCOMIP: return (struct comparison){1, true};
	default: return (struct comparison){0, false};
	}
}

static void put_comparison(struct soft_cpu *c, bool to_flags, unsigned codes)
{
	if (!to_flags) {
		c->fpu.sw = (c->fpu.sw & ~X87_CODES) | codes;
		return;
	}
	c->fpu.sw &= ~X87_C1;
	c->flags = (c->flags & ~F_ARITHMETIC) | (codes & X87_C0 ? F_CF : 0) |
		   (codes & X87_C2 ? F_PF : 0) | (codes & X87_C3 ? F_ZF : 0);
}

void x87_compare(struct soft_cpu *c, const struct soft_insn *i)
{
	struct comparison how = comparison_of(i);
	bool alone = i->mnemonic == ZYDIS_MNEMONIC_FTST;
	unsigned rm = i->immediate & 7;
	uint8_t value[16] = {0};
	uint16_t sw;

	x87_begin(c);
	if (x87_has_memory(i))
		x87_read_memory(c, i, value, i->op[0].size);
	x87_note(c, i);
	if (x87_is_empty(c, 0) || (!alone && !x87_has_memory(i) && x87_is_empty(c, rm))) {
		if (!x87_underflow(c))
			return;
		put_comparison(c, how.to_flags, X87_C0 | X87_C2 | X87_C3);
	} else {
		if (!alone && !x87_has_memory(i))
			memcpy(value, x87_st(c, rm), 16);
		sw = x87_execute(c, i, x87_st(c, 0), value);
		c->fpu.sw &= ~X87_C1;
		x87_raise(c, sw & X87_EXCEPTIONS);
		if (x87_open(c, sw) & X87_BEFORE)
			return;
		put_comparison(c, how.to_flags, sw & (X87_C0 | X87_C2 | X87_C3));
	}
	while (how.pops--)
		x87_pop(c);
}

void x87_fxam(struct soft_cpu *c, const struct soft_insn *i)
{
	const uint8_t *st = x87_st(c, 0);
	unsigned codes = st[9] & 0x80 ? X87_C1 : 0, exponent;
	uint64_t mantissa;

	x87_begin(c);
	x87_note(c, i);
	memcpy(&mantissa, st, 8);
	exponent = (st[9] << 8 | st[8]) & 0x7fff;
	if (x87_is_empty(c, 0))
		codes |= X87_C3 | X87_C0;
	else if (exponent == 0)
		codes |= mantissa ? X87_C3 | X87_C2 : X87_C3;
	else if (!(mantissa >> 63))
		codes |= 0; /* unsupported */
	else if (exponent == 0x7fff)
		codes |= mantissa << 1 ? X87_C0 : X87_C2 | X87_C0;
	else
		codes |= X87_C2;
	c->fpu.sw = (c->fpu.sw & ~X87_CODES) | codes;
}
