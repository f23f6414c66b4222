/* SPDX-License-Identifier: MIT */
/*
 * Integer arithmetic, logic, shifts, multiplication and division (SDM 2).
 *
 * Flags that the SDM leaves undefined have one value here (docs/soft-cpu.md): AF is 0 after logic,
 * shifts and multiplication; shifts by more than one compute OF as for one; MUL and IMUL set SF,
 * ZF, PF by the low half; division leaves all flags as they were.
 */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/soft.h"

const uint8_t soft_parity[256] = {
#define P2(n) (n) * 4, (1 - (n)) * 4, (1 - (n)) * 4, (n)*4
#define P4(n) P2(n), P2(1 - (n)), P2(1 - (n)), P2(n)
#define P6(n) P4(n), P4(1 - (n)), P4(1 - (n)), P4(n)
	P6(1),
	P6(0),
	P6(0),
	P6(1),
};

bool soft_condition(const struct soft_cpu *c, unsigned condition)
{
	uint32_t f = c->flags;
	bool met;

	switch (condition >> 1) {
	case 0: met = f & F_OF; break;
	case 1: met = f & F_CF; break;
	case 2: met = f & F_ZF; break;
	case 3: met = f & (F_CF | F_ZF); break;
	case 4: met = f & F_SF; break;
	case 5: met = f & F_PF; break;
	case 6: met = !(f & F_SF) != !(f & F_OF); break;
	default: met = f & F_ZF || !(f & F_SF) != !(f & F_OF); break;
	}
	return met != (condition & 1);
}

static inline uint64_t add(
	struct soft_cpu *c, uint64_t a, uint64_t b, unsigned carry, unsigned size)
{
	uint64_t r = a + b + carry;

	soft_set_arithmetic(c, soft_flags_sum(a, b, r, size));
	return r;
}

static inline uint64_t sub(
	struct soft_cpu *c, uint64_t a, uint64_t b, unsigned borrow, unsigned size)
{
	uint64_t r = a - b - borrow;

	soft_set_arithmetic(c, soft_flags_difference(a, b, r, size));
	return r;
}

static inline uint64_t logic(struct soft_cpu *c, uint64_t r, unsigned size)
{
	soft_set_arithmetic(c, soft_flags_result(r, size));
	return r;
}

#define CARRY (c->flags & F_CF ? 1 : 0)

/* Each operation in four sizes: op 0 is read and written, op 1 is read. */
#define BINARY_SIZE(name, size, expr)                                            \
	static void name##_##size(struct soft_cpu *c, const struct soft_insn *i) \
	{                                                                        \
		uint64_t linear = 0, b = soft_get(c, i, 1, size);                \
		uint64_t a = soft_get_rmw(c, i, 0, size, &linear);               \
		uint32_t before = c->flags;                                      \
		uint64_t r = expr;                                               \
		uint32_t after = c->flags;                                       \
                                                                                 \
		c->flags = before; /* the store may fault */                     \
		soft_put_rmw(c, i, 0, r, size, linear);                          \
		c->flags = after;                                                \
	}
#define BINARY(name, EXPR)            \
	BINARY_SIZE(name, 1, EXPR(1)) \
	BINARY_SIZE(name, 2, EXPR(2)) \
	BINARY_SIZE(name, 4, EXPR(4)) \
	BINARY_SIZE(name, 8, EXPR(8))

#define DO_ADD(size) add(c, a, b, 0, size)
#define DO_ADC(size) add(c, a, b, CARRY, size)
#define DO_SUB(size) sub(c, a, b, 0, size)
#define DO_SBB(size) sub(c, a, b, CARRY, size)
#define DO_AND(size) logic(c, a &b, size)
#define DO_OR(size)  logic(c, a | b, size)
#define DO_XOR(size) logic(c, a ^ b, size)

BINARY(op_add, DO_ADD)
BINARY(op_adc, DO_ADC)
BINARY(op_sub, DO_SUB)
BINARY(op_sbb, DO_SBB)
BINARY(op_and, DO_AND)
BINARY(op_or, DO_OR)
BINARY(op_xor, DO_XOR)

/* The same without a write. */
#define COMPARE_SIZE(name, size, expr)                                             \
	static void name##_##size(struct soft_cpu *c, const struct soft_insn *i)   \
	{                                                                          \
		uint64_t a = soft_get(c, i, 0, size), b = soft_get(c, i, 1, size); \
                                                                                   \
		expr;                                                              \
	}
#define COMPARE(name, EXPR)            \
	COMPARE_SIZE(name, 1, EXPR(1)) \
	COMPARE_SIZE(name, 2, EXPR(2)) \
	COMPARE_SIZE(name, 4, EXPR(4)) \
	COMPARE_SIZE(name, 8, EXPR(8))

COMPARE(op_cmp, DO_SUB)
COMPARE(op_test, DO_AND)

/* INC and DEC leave CF; NEG; NOT leaves all. */
static uint64_t inc(struct soft_cpu *c, uint64_t a, unsigned size)
{
	uint32_t carry = c->flags & F_CF;
	uint64_t r = add(c, a, 1, 0, size);

	c->flags = (c->flags & ~F_CF) | carry;
	return r;
}

static uint64_t dec(struct soft_cpu *c, uint64_t a, unsigned size)
{
	uint32_t carry = c->flags & F_CF;
	uint64_t r = sub(c, a, 1, 0, size);

	c->flags = (c->flags & ~F_CF) | carry;
	return r;
}

static void unary(struct soft_cpu *c, const struct soft_insn *i, unsigned size,
	uint64_t (*op)(struct soft_cpu *c, uint64_t a, unsigned size))
{
	uint64_t linear = 0, a = soft_get_rmw(c, i, 0, size, &linear), r;
	uint32_t before = c->flags, after;

	r = op(c, a, size);
	after = c->flags;
	c->flags = before;
	soft_put_rmw(c, i, 0, r, size, linear);
	c->flags = after;
}

static uint64_t neg(struct soft_cpu *c, uint64_t a, unsigned size)
{
	return sub(c, 0, a, 0, size);
}

static uint64_t complement(struct soft_cpu *c, uint64_t a, unsigned size)
{
	return ~a;
}

static void op_inc(struct soft_cpu *c, const struct soft_insn *i)
{
	unary(c, i, i->size, inc);
}

static void op_dec(struct soft_cpu *c, const struct soft_insn *i)
{
	unary(c, i, i->size, dec);
}

static void op_neg(struct soft_cpu *c, const struct soft_insn *i)
{
	unary(c, i, i->size, neg);
}

static void op_not(struct soft_cpu *c, const struct soft_insn *i)
{
	unary(c, i, i->size, complement);
}

/* --- shifts and rotates --- */

/* SHL, SHR, SAR: count is 1 to 31 or 63 here; above the width the operand is shifted out. */
static uint64_t shl(struct soft_cpu *c, uint64_t a, unsigned count, unsigned size)
{
	unsigned bits = size * 8;
	uint64_t r = count < 64 ? a << count : 0;
	bool carry = count <= bits && (a >> (bits - count) & 1);
	uint32_t flags = soft_flags_result(r, size) | (carry ? F_CF : 0);

	if ((r >> (bits - 1) & 1) != carry)
		flags |= F_OF;
	soft_set_arithmetic(c, flags);
	return r;
}

static uint64_t shr(struct soft_cpu *c, uint64_t a, unsigned count, unsigned size)
{
	unsigned bits = size * 8;
	uint64_t r = count < bits ? a >> count : 0;
	bool carry = count <= bits && (a >> (count - 1) & 1);
	uint32_t flags = soft_flags_result(r, size) | (carry ? F_CF : 0);

	/* OF: the sign changed, of a shift by one. */
	if ((r >> (bits - 1) ^ r >> (bits - 2)) & 1)
		flags |= F_OF;
	soft_set_arithmetic(c, flags);
	return r;
}

static uint64_t sar(struct soft_cpu *c, uint64_t a, unsigned count, unsigned size)
{
	int64_t value = soft_sign(a, size);
	uint64_t r = value >> (count < 63 ? count : 63);
	bool carry = value >> (count - 1 < 63 ? count - 1 : 63) & 1;

	soft_set_arithmetic(c, soft_flags_result(r, size) | (carry ? F_CF : 0));
	return r;
}

/* Rotates change CF and OF only. */
static void set_rotate(struct soft_cpu *c, bool carry, bool overflow)
{
	c->flags = (c->flags & ~(F_CF | F_OF)) | (carry ? F_CF : 0) | (overflow ? F_OF : 0);
}

static uint64_t rol(struct soft_cpu *c, uint64_t a, unsigned count, unsigned size)
{
	unsigned bits = size * 8, n = count % bits;
	uint64_t r = n ? (a << n | a >> (bits - n)) & soft_mask(size) : a;

	set_rotate(c, r & 1, (r & 1) != (r >> (bits - 1) & 1));
	return r;
}

static uint64_t ror(struct soft_cpu *c, uint64_t a, unsigned count, unsigned size)
{
	unsigned bits = size * 8, n = count % bits;
	uint64_t r = n ? (a >> n | a << (bits - n)) & soft_mask(size) : a;

	set_rotate(c, r >> (bits - 1) & 1, (r >> (bits - 1) ^ r >> (bits - 2)) & 1);
	return r;
}

static uint64_t rcl(struct soft_cpu *c, uint64_t a, unsigned count, unsigned size)
{
	unsigned bits = size * 8, n = count % (bits + 1);
	bool carry = CARRY;

	for (; n; n--) {
		bool out = a >> (bits - 1) & 1;

		a = (a << 1 | carry) & soft_mask(size);
		carry = out;
	}
	set_rotate(c, carry, carry != (a >> (bits - 1) & 1));
	return a;
}

static uint64_t rcr(struct soft_cpu *c, uint64_t a, unsigned count, unsigned size)
{
	unsigned bits = size * 8, n = count % (bits + 1);
	bool carry = CARRY;

	for (; n; n--) {
		bool out = a & 1;

		a = a >> 1 | (uint64_t)carry << (bits - 1);
		carry = out;
	}
	set_rotate(c, carry, (a >> (bits - 1) ^ a >> (bits - 2)) & 1);
	return a;
}

static void shift(struct soft_cpu *c, const struct soft_insn *i,
	uint64_t (*op)(struct soft_cpu *c, uint64_t a, unsigned count, unsigned size))
{
	unsigned size = i->size, count = soft_get(c, i, 1, 1) & (size == 8 ? 63 : 31);
	uint64_t linear = 0, a = soft_get_rmw(c, i, 0, size, &linear), r = a;
	uint32_t before = c->flags, after = before;

	if (count) {
		r = op(c, a, count, size);
		after = c->flags;
		c->flags = before;
	}
	/* Even a count of 0 writes a 32-bit register (and so clears its upper half). */
	soft_put_rmw(c, i, 0, r, size, linear);
	c->flags = after;
}

#define SHIFT(name)                                                          \
	static void op_##name(struct soft_cpu *c, const struct soft_insn *i) \
	{                                                                    \
		shift(c, i, name);                                           \
	}
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)
SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)

/* SHLD and SHRD: with 16 bits and a count above 16 the result is undefined; here the operands are
 * rotated through as one 32-bit value with the first again behind it. */
static void double_shift(struct soft_cpu *c, const struct soft_insn *i, bool left)
{
	unsigned size = i->size, bits = size * 8;
	unsigned count = soft_get(c, i, 2, 1) & (size == 8 ? 63 : 31);
	uint64_t linear = 0, b = soft_get(c, i, 1, size);
	uint64_t a = soft_get_rmw(c, i, 0, size, &linear), r;
	uint32_t flags;
	bool carry;

	if (!count) {
		soft_put_rmw(c, i, 0, a, size, linear);
		return;
	}
	if (size == 2) {
		uint64_t wide = left ? a << 32 | b << 16 | a : a << 32 | b << 16 | a;

		r = left ? wide >> (32 - count) : wide >> count;
		carry = left ? wide >> (48 - count) & 1 : wide >> (count - 1) & 1;
		r &= 0xffff;
	} else if (left) {
		r = a << count | b >> (bits - count);
		carry = a >> (bits - count) & 1;
	} else {
		r = a >> count | b << (bits - count);
		carry = a >> (count - 1) & 1;
	}
	r &= soft_mask(size);
	flags = soft_flags_result(r, size) | (carry ? F_CF : 0);
	if ((r ^ a) >> (bits - 1) & 1)
		flags |= F_OF;
	soft_put_rmw(c, i, 0, r, size, linear);
	soft_set_arithmetic(c, flags);
}

static void op_shld(struct soft_cpu *c, const struct soft_insn *i)
{
	double_shift(c, i, true);
}

static void op_shrd(struct soft_cpu *c, const struct soft_insn *i)
{
	double_shift(c, i, false);
}

/* --- multiplication and division --- */

static void set_product(struct soft_cpu *c, uint64_t low, bool overflow, unsigned size)
{
	soft_set_arithmetic(c, soft_flags_result(low, size) | (overflow ? F_CF | F_OF : 0));
}

/* The operand that is written in the instruction: Zydis lists AL, AX and so on behind it. */
static void op_mul(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size;
	uint64_t b = soft_get(c, i, 0, size), a = c->gpr[RAX] & soft_mask(size);
	unsigned __int128 product = (unsigned __int128)a * b;
	uint64_t high = product >> (size * 8);

	if (size == 1) {
		soft_set_reg(c, RAX, product, 2);
	} else {
		soft_set_reg(c, RAX, product, size);
		soft_set_reg(c, RDX, high, size);
	}
	set_product(c, product, high, size);
}

static void imul_wide(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size;
	int64_t b = soft_sign(soft_get(c, i, 0, size), size), a = soft_sign(c->gpr[RAX], size);
	__int128 product = (__int128)a * b;

	if (size == 1) {
		soft_set_reg(c, RAX, product, 2);
	} else {
		soft_set_reg(c, RAX, product, size);
		soft_set_reg(c, RDX, product >> (size * 8), size);
	}
	set_product(c, product, product != (int64_t)soft_sign(product, size), size);
}

static void imul_to(struct soft_cpu *c, const struct soft_insn *i, unsigned first, unsigned second)
{
	unsigned size = i->size;
	int64_t a = soft_sign(soft_get(c, i, first, size), size);
	int64_t b = soft_sign(soft_get(c, i, second, size), size);
	__int128 product = (__int128)a * b;

	soft_set_reg(c, i->op[0].reg, product, size);
	set_product(c, product, product != (int64_t)soft_sign(product, size), size);
}

/* One operand (F6 /5, F7 /5), two (0F AF) or three (69, 6B). */
static void op_imul(struct soft_cpu *c, const struct soft_insn *i)
{
	if (i->op[2].kind == O_IMM)
		imul_to(c, i, 1, 2);
	else if (i->opcode == 0xaf)
		imul_to(c, i, 0, 1);
	else
		imul_wide(c, i);
}

static void op_div(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size;
	uint64_t b = soft_get(c, i, 0, size);
	unsigned __int128 a, quotient;

	if (size == 1)
		a = c->gpr[RAX] & 0xffff;
	else
		a = (unsigned __int128)(c->gpr[RDX] & soft_mask(size)) << size * 8 |
		    (c->gpr[RAX] & soft_mask(size));
	if (!b || (quotient = a / b) > soft_mask(size))
		soft_fault(c, V_DE, NO_ERROR_CODE);
	if (size == 1) {
		soft_set_reg(c, RAX, quotient | (uint64_t)(a % b) << 8, 2);
		return;
	}
	soft_set_reg(c, RAX, quotient, size);
	soft_set_reg(c, RDX, a % b, size);
}

static void op_idiv(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size;
	int64_t b = soft_sign(soft_get(c, i, 0, size), size);
	__int128 a, quotient;

	if (size == 1)
		a = (int16_t)c->gpr[RAX];
	else
		a = (__int128)((unsigned __int128)(int64_t)soft_sign(c->gpr[RDX], size)
				       << size * 8 |
			       (c->gpr[RAX] & soft_mask(size)));
	/* The one quotient that does not fit 128 bits: -2^127 by -1. */
	if (!b || (b == -1 && a == (__int128)((unsigned __int128)1 << 127)))
		soft_fault(c, V_DE, NO_ERROR_CODE);
	quotient = a / b;
	if (quotient != (int64_t)soft_sign(quotient, size))
		soft_fault(c, V_DE, NO_ERROR_CODE);
	if (size == 1) {
		soft_set_reg(c, RAX, (quotient & 0xff) | (uint64_t)(a % b & 0xff) << 8, 2);
		return;
	}
	soft_set_reg(c, RAX, quotient, size);
	soft_set_reg(c, RDX, a % b, size);
}

/* --- decimal adjustment, 16 and 32-bit code only --- */

static void set_al(struct soft_cpu *c, uint8_t value)
{
	soft_set_reg(c, RAX, value, 1);
}

static void decimal_adjust(struct soft_cpu *c, bool subtract)
{
	uint8_t al = c->gpr[RAX], old = al;
	bool carry = c->flags & F_CF, out = false;
	uint32_t flags = 0;

	if ((al & 0xf) > 9 || c->flags & F_AF) {
		out = carry || (subtract ? al < 6 : al > 0xf9);
		al = subtract ? al - 6 : al + 6;
		flags |= F_AF;
	}
	if (old > 0x99 || carry) {
		al = subtract ? al - 0x60 : al + 0x60;
		out = true;
	}
	set_al(c, al);
	soft_set_arithmetic(c, flags | soft_flags_result(al, 1) | (out ? F_CF : 0));
}

static void op_daa(struct soft_cpu *c, const struct soft_insn *i)
{
	decimal_adjust(c, false);
}

static void op_das(struct soft_cpu *c, const struct soft_insn *i)
{
	decimal_adjust(c, true);
}

static void ascii_adjust(struct soft_cpu *c, int by)
{
	bool adjust = (c->gpr[RAX] & 0xf) > 9 || c->flags & F_AF;
	uint16_t ax = c->gpr[RAX];

	if (adjust)
		ax += by * 0x106;
	soft_set_reg(c, RAX, ax & 0xff0f, 2);
	soft_set_arithmetic(c, soft_flags_result(ax & 0xf, 1) | (adjust ? F_AF | F_CF : 0));
}

static void op_aaa(struct soft_cpu *c, const struct soft_insn *i)
{
	ascii_adjust(c, 1);
}

static void op_aas(struct soft_cpu *c, const struct soft_insn *i)
{
	ascii_adjust(c, -1);
}

static void op_aam(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t base = i->immediate, al = c->gpr[RAX];

	if (!base) {
		soft_fault(c, V_DE, NO_ERROR_CODE);
		return;
	}
	soft_set_reg(c, RAX, al / base << 8 | al % base, 2);
	soft_set_arithmetic(c, soft_flags_result(al % base, 1));
}

static void op_aad(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t al = c->gpr[RAX] + (c->gpr[RAX] >> 8 & 0xff) * (uint8_t)i->immediate;

	soft_set_reg(c, RAX, al, 2);
	soft_set_arithmetic(c, soft_flags_result(al, 1));
}

/* Not in the SDM, but in every processor. */
static void op_salc(struct soft_cpu *c, const struct soft_insn *i)
{
	set_al(c, c->flags & F_CF ? 0xff : 0);
}

#define SIZES(name)                                    \
	{                                              \
		name##_1, name##_2, name##_4, name##_8 \
	}
#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}

const struct soft_handlers soft_alu_handlers[] = {
	{ZYDIS_MNEMONIC_ADD, SIZES(op_add)},
	{ZYDIS_MNEMONIC_ADC, SIZES(op_adc)},
	{ZYDIS_MNEMONIC_SUB, SIZES(op_sub)},
	{ZYDIS_MNEMONIC_SBB, SIZES(op_sbb)},
	{ZYDIS_MNEMONIC_AND, SIZES(op_and)},
	{ZYDIS_MNEMONIC_OR, SIZES(op_or)},
	{ZYDIS_MNEMONIC_XOR, SIZES(op_xor)},
	{ZYDIS_MNEMONIC_CMP, SIZES(op_cmp)},
	{ZYDIS_MNEMONIC_TEST, SIZES(op_test)},
	{ZYDIS_MNEMONIC_INC, SAME(op_inc)},
	{ZYDIS_MNEMONIC_DEC, SAME(op_dec)},
	{ZYDIS_MNEMONIC_NEG, SAME(op_neg)},
	{ZYDIS_MNEMONIC_NOT, SAME(op_not)},
	{ZYDIS_MNEMONIC_SHL, SAME(op_shl)},
	{ZYDIS_MNEMONIC_SALC, SAME(op_salc)},
	{ZYDIS_MNEMONIC_SHR, SAME(op_shr)},
	{ZYDIS_MNEMONIC_SAR, SAME(op_sar)},
	{ZYDIS_MNEMONIC_ROL, SAME(op_rol)},
	{ZYDIS_MNEMONIC_ROR, SAME(op_ror)},
	{ZYDIS_MNEMONIC_RCL, SAME(op_rcl)},
	{ZYDIS_MNEMONIC_RCR, SAME(op_rcr)},
	{ZYDIS_MNEMONIC_SHLD, SAME(op_shld)},
	{ZYDIS_MNEMONIC_SHRD, SAME(op_shrd)},
	{ZYDIS_MNEMONIC_MUL, SAME(op_mul)},
	{ZYDIS_MNEMONIC_IMUL, SAME(op_imul)},
	{ZYDIS_MNEMONIC_DIV, SAME(op_div)},
	{ZYDIS_MNEMONIC_IDIV, SAME(op_idiv)},
	{ZYDIS_MNEMONIC_DAA, SAME(op_daa)},
	{ZYDIS_MNEMONIC_DAS, SAME(op_das)},
	{ZYDIS_MNEMONIC_AAA, SAME(op_aaa)},
	{ZYDIS_MNEMONIC_AAS, SAME(op_aas)},
	{ZYDIS_MNEMONIC_AAM, SAME(op_aam)},
	{ZYDIS_MNEMONIC_AAD, SAME(op_aad)},
	{0},
};
