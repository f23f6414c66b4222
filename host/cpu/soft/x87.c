/* SPDX-License-Identifier: MIT */
/*
 * x87 (SDM 1, chapter 8): the stack, loads and stores, arithmetic and comparison.  What is exactly
 * specified the host's x87 computes, with the guest's control word: an unmasked exception is found
 * in the host's status word and cleared there before a waiting instruction meets it.
 *
 * FIP, FDP and FOP are of every instruction but control ones (no "only with an exception" as some
 * processors have it); FCS and FDS are 0.  Control is in x87-control.c, transcendental functions
 * are in x87-functions.c.
 */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/x87.h"

const uint8_t x87_indefinite[10] = {[7] = 0xc0, 0xff, 0xff};

void x87_check_pending(struct soft_cpu *c)
{
	if (!(c->fpu.sw & X87_SUMMARY & 0x80))
		return;
	if (c->cr0 & CR0_NE)
		soft_fault(c, V_MF, NO_ERROR_CODE);
}

void x87_begin(struct soft_cpu *c)
{
	if (c->cr0 & (CR0_EM | CR0_TS))
		soft_fault(c, V_NM, NO_ERROR_CODE);
	x87_check_pending(c);
}

void x87_note(struct soft_cpu *c, const struct soft_insn *i)
{
	bool real = !(c->cr0 & CR0_PE) || c->flags & F_VM;

	c->fpu.fip = c->rip + (real ? c->seg[SEG_CS].base : 0);
	c->fpu.fop = (i->opcode & 7) << 8 | (uint8_t)i->immediate;
	if (i->op[0].kind == O_MEM)
		c->fpu.fdp = soft_offset(c, i) + (real ? c->seg[i->segment].base : 0);
}

bool x87_underflow(struct soft_cpu *c)
{
	c->fpu.sw &= ~X87_C1;
	x87_raise(c, X87_INVALID | X87_STACK);
	return !x87_open(c, X87_INVALID);
}

bool x87_overflow(struct soft_cpu *c)
{
	x87_raise(c, X87_INVALID | X87_STACK | X87_C1);
	return !x87_open(c, X87_INVALID);
}

bool x87_push(struct soft_cpu *c, const void *value)
{
	if (!x87_is_empty(c, 7)) {
		if (!x87_overflow(c))
			return false;
		value = x87_indefinite;
	}
	x87_turn(c, -1);
	x87_set(c, 0, value);
	return true;
}

/* Flags and C1 of the host's status word; returns what the guest has not masked. */
static unsigned settle(struct soft_cpu *c, uint16_t sw)
{
	c->fpu.sw = (c->fpu.sw & ~X87_C1) | (sw & X87_C1);
	x87_raise(c, sw & X87_EXCEPTIONS);
	return x87_open(c, sw);
}

static uint16_t execute(struct soft_cpu *c, const struct soft_insn *i, void *st0, void *other)
{
	struct x87_frame f = {.cw = c->fpu.cw, .host_cw = X87_CW_RESET};
	x87_code *code;

	memcpy(&code, &i->native, sizeof(code));
	code(st0, other, &f);
	return f.sw;
}

static void read_memory(struct soft_cpu *c, const struct soft_insn *i, void *to, unsigned size)
{
	uint64_t linear = soft_address(c, i, size, false), value;

	if (size == 10) {
		soft_read_bytes(c, linear, to, 10);
		return;
	}
	value = soft_load(c, linear, size);
	memcpy(to, &value, 8);
}

static void write_memory(
	struct soft_cpu *c, const struct soft_insn *i, const void *from, unsigned size)
{
	uint64_t linear = soft_address(c, i, size, true), value;

	if (size == 10) {
		soft_write_bytes(c, linear, from, 10);
		return;
	}
	memcpy(&value, from, 8);
	soft_store(c, linear, value & soft_mask(size), size);
}

static unsigned memory_size(const struct soft_insn *i)
{
	return i->op[0].size;
}

static bool has_memory(const struct soft_insn *i)
{
	return i->op[0].kind == O_MEM;
}

/* --- arithmetic --- */

/* FADD, FMUL, FSUB, FSUBR, FDIV, FDIVR in all forms. */
static void op_arithmetic(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned rm = i->immediate & 7;
	unsigned to = has_memory(i) || i->opcode == 0xd8 ? 0 : rm, from = to ? 0 : rm;
	bool pops = i->opcode == 0xde && !has_memory(i);
	uint8_t value[16] = {0}, result[16];

	x87_begin(c);
	if (has_memory(i))
		read_memory(c, i, value, memory_size(i));
	x87_note(c, i);
	if (x87_is_empty(c, to) || (!has_memory(i) && x87_is_empty(c, from))) {
		if (!x87_underflow(c))
			return;
		x87_set(c, to, x87_indefinite);
	} else {
		memcpy(result, x87_st(c, to), 16);
		if (!has_memory(i))
			memcpy(value, x87_st(c, from), 16);
		if (settle(c, execute(c, i, result, value)) & X87_BEFORE)
			return;
		x87_set(c, to, result);
	}
	if (pops)
		x87_pop(c);
}

/* FSQRT, FRNDINT. */
static void op_unary(struct soft_cpu *c, const struct soft_insn *i)
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
	if (!(settle(c, execute(c, i, result, result)) & X87_BEFORE))
		x87_set(c, 0, result);
}

static void op_constant(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t result[16];

	x87_begin(c);
	x87_note(c, i);
	execute(c, i, result, result);
	c->fpu.sw &= ~X87_C1;
	x87_push(c, result);
}

static bool is_nan(const uint8_t *value)
{
	uint64_t mantissa;

	memcpy(&mantissa, value, 8);
	return (value[9] & 0x7f) == 0x7f && value[8] == 0xff && mantissa << 1;
}

/* FPREM, FPREM1, FSCALE. */
static void op_binary(struct soft_cpu *c, const struct soft_insn *i)
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
	sw = execute(c, i, result, x87_st(c, 1));
	if (remainder && (sw & X87_INVALID || is_nan(result)))
		c->fpu.sw &= ~X87_C2; /* no quotient */
	else if (remainder)
		c->fpu.sw = (c->fpu.sw & ~X87_CODES) | (sw & X87_CODES);
	if (!(settle(c, sw) & X87_BEFORE))
		x87_set(c, 0, result);
}

static void op_fxtract(struct soft_cpu *c, const struct soft_insn *i)
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
	if (settle(c, execute(c, i, significand, exponent)) & X87_BEFORE)
		return;
	x87_set(c, 0, exponent);
	x87_push(c, significand);
}

static void op_sign(struct soft_cpu *c, const struct soft_insn *i)
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

static void op_compare(struct soft_cpu *c, const struct soft_insn *i)
{
	struct comparison how = comparison_of(i);
	bool alone = i->mnemonic == ZYDIS_MNEMONIC_FTST;
	unsigned rm = i->immediate & 7;
	uint8_t value[16] = {0};
	uint16_t sw;

	x87_begin(c);
	if (has_memory(i))
		read_memory(c, i, value, memory_size(i));
	x87_note(c, i);
	if (x87_is_empty(c, 0) || (!alone && !has_memory(i) && x87_is_empty(c, rm))) {
		if (!x87_underflow(c))
			return;
		put_comparison(c, how.to_flags, X87_C0 | X87_C2 | X87_C3);
	} else {
		if (!alone && !has_memory(i))
			memcpy(value, x87_st(c, rm), 16);
		sw = execute(c, i, x87_st(c, 0), value);
		c->fpu.sw &= ~X87_C1;
		x87_raise(c, sw & X87_EXCEPTIONS);
		if (x87_open(c, sw) & X87_BEFORE)
			return;
		put_comparison(c, how.to_flags, sw & (X87_C0 | X87_C2 | X87_C3));
	}
	while (how.pops--)
		x87_pop(c);
}

static void op_fxam(struct soft_cpu *c, const struct soft_insn *i)
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

/* --- loads, stores, moves --- */

static void op_load(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t value[16] = {0}, result[16];
	uint16_t sw = 0;

	x87_begin(c);
	read_memory(c, i, value, memory_size(i));
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	if (!x87_is_empty(c, 7)) {
		x87_push(c, value);
		return;
	}
	if (i->native)
		sw = execute(c, i, result, value);
	else
		memcpy(result, value, 10);
	/* A denormal is loaded even if that exception is open, as processors do. */
	if (!(settle(c, sw) & X87_INVALID))
		x87_push(c, result);
}

static void op_load_register(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t value[16];
	unsigned rm = i->immediate & 7;

	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	memcpy(value, x87_st(c, rm), 16);
	if (x87_is_empty(c, rm)) {
		if (!x87_underflow(c))
			return;
		x87_turn(c, -1);
		x87_set(c, 0, x87_indefinite);
		return;
	}
	x87_push(c, value);
}

static bool store_pops(const struct soft_insn *i)
{
	return i->mnemonic != ZYDIS_MNEMONIC_FST && i->mnemonic != ZYDIS_MNEMONIC_FIST;
}

/* What an empty register gives in each format. */
static void indefinite_of(const struct soft_insn *i, uint8_t *value)
{
	bool integer = i->mnemonic == ZYDIS_MNEMONIC_FIST || i->mnemonic == ZYDIS_MNEMONIC_FISTP ||
		       i->mnemonic == ZYDIS_MNEMONIC_FISTTP;
	uint64_t indefinite = integer		    ? 1ULL << (memory_size(i) * 8 - 1)
			      : memory_size(i) == 4 ? 0xffc00000
						    : 0xfff8000000000000ULL;

	memcpy(value, &indefinite, 8);
	if (memory_size(i) == 10)
		memcpy(value, x87_indefinite, 10);
}

static void op_store(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t value[16] = {0};
	uint16_t sw = 0;

	x87_begin(c);
	if (x87_is_empty(c, 0)) {
		indefinite_of(i, value);
		if (!x87_open(c, X87_INVALID))
			write_memory(c, i, value, memory_size(i));
		x87_note(c, i);
		if (!x87_underflow(c))
			return;
	} else {
		if (i->native)
			sw = execute(c, i, x87_st(c, 0), value);
		else
			memcpy(value, x87_st(c, 0), 10);
		/* With one of these open nothing is stored, and nothing popped. */
		if (x87_open(c, sw & ~X87_PRECISION)) {
			x87_note(c, i);
			settle(c, sw);
			return;
		}
		write_memory(c, i, value, memory_size(i));
		x87_note(c, i);
		settle(c, sw);
	}
	if (store_pops(i))
		x87_pop(c);
}

static void op_store_register(struct soft_cpu *c, const struct soft_insn *i)
{
	bool pops = i->mnemonic != ZYDIS_MNEMONIC_FST;

	x87_begin(c);
	x87_note(c, i);
	if (x87_is_empty(c, 0) && i->mnemonic == ZYDIS_MNEMONIC_FSTPNCE) {
		/* An undocumented encoding: as on AMD's processors it only pops then. */
		c->fpu.sw &= ~X87_C1;
	} else if (x87_is_empty(c, 0)) {
		if (!x87_underflow(c))
			return;
		x87_set(c, i->immediate & 7, x87_indefinite);
	} else {
		c->fpu.sw &= ~X87_C1;
		x87_set(c, i->immediate & 7, x87_st(c, 0));
	}
	if (pops)
		x87_pop(c);
}

static void op_fxch(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned rm = i->immediate & 7;
	uint8_t value[16];

	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	if (x87_is_empty(c, 0) || x87_is_empty(c, rm)) {
		if (!x87_underflow(c))
			return;
		if (x87_is_empty(c, 0))
			x87_set(c, 0, x87_indefinite);
		if (x87_is_empty(c, rm))
			x87_set(c, rm, x87_indefinite);
	}
	memcpy(value, x87_st(c, 0), 16);
	x87_set(c, 0, x87_st(c, rm));
	x87_set(c, rm, value);
}

static void op_fcmov(struct soft_cpu *c, const struct soft_insn *i)
{
	static const uint32_t masks[] = {F_CF, F_ZF, F_CF | F_ZF, F_PF};
	unsigned which = i->immediate >> 3 & 3;
	bool condition = (c->flags & masks[which]) != 0;
	unsigned rm = i->immediate & 7;

	x87_begin(c);
	x87_note(c, i);
	if (i->opcode == 0xdb)
		condition = !condition;
	if (x87_is_empty(c, 0) || x87_is_empty(c, rm)) {
		if (x87_underflow(c))
			x87_set(c, 0, x87_indefinite);
		return;
	}
	if (condition)
		x87_set(c, 0, x87_st(c, rm));
}

/* --- decoding --- */

/* An operation by the host: what its stub takes and gives. */
struct row {
	soft_handler *run;
	uint8_t how;
};

#define IN_OUT (X87_IN0 | X87_OUT)

static const struct row memory_rows[8][8] = {
	[1] = {{op_load, X87_OUT}, {NULL, 0}, {op_store, X87_IN0 | X87_RESET},
		{op_store, X87_IN0 | X87_RESET}},
	[3] = {{op_load, X87_OUT}, {op_store, X87_IN0 | X87_RESET}, {op_store, X87_IN0 | X87_RESET},
		{op_store, X87_IN0 | X87_RESET}, {NULL, 0}, {op_load, 0}, {NULL, 0}, {op_store, 0}},
	[5] = {{op_load, X87_OUT}, {op_store, X87_IN0 | X87_RESET}, {op_store, X87_IN0 | X87_RESET},
		{op_store, X87_IN0 | X87_RESET}},
	[7] = {{op_load, X87_OUT}, {op_store, X87_IN0 | X87_RESET}, {op_store, X87_IN0 | X87_RESET},
		{op_store, X87_IN0 | X87_RESET}, {op_load, X87_OUT}, {op_load, X87_OUT},
		{op_store, X87_IN0 | X87_RESET}, {op_store, X87_IN0 | X87_RESET}},
};

static struct row memory_row(uint8_t opcode, unsigned reg)
{
	if (opcode & 1)
		return memory_rows[opcode & 7][reg];
	if (reg == 2 || reg == 3)
		return (struct row){op_compare, X87_IN0};
	return (struct row){op_arithmetic, IN_OUT};
}

/* D9 E0 to FF. */
static const struct row d9_rows[32] = {
	[0x00] = {op_sign, 0},
	{op_sign, 0},
	[0x04] = {op_compare, X87_IN0},
	{op_fxam, 0},
	[0x08] = {op_constant, X87_OUT},
	{op_constant, X87_OUT},
	{op_constant, X87_OUT},
	{op_constant, X87_OUT},
	{op_constant, X87_OUT},
	{op_constant, X87_OUT},
	{op_constant, X87_OUT},
	[0x14] = {op_fxtract, IN_OUT | X87_OUT2 | X87_RESET},
	{op_binary, IN_OUT | X87_IN1},
	[0x18] = {op_binary, IN_OUT | X87_IN1},
	[0x1a] = {op_unary, IN_OUT},
	[0x1c] = {op_unary, IN_OUT},
	{op_binary, IN_OUT | X87_IN1},
};

#define COMPARE                               \
	{                                     \
		op_compare, X87_IN0 | X87_IN1 \
	}
#define ARITHMETIC                              \
	{                                       \
		op_arithmetic, IN_OUT | X87_IN1 \
	}

static const struct row register_rows[8][8] = {
	{ARITHMETIC, ARITHMETIC, COMPARE, COMPARE, ARITHMETIC, ARITHMETIC, ARITHMETIC, ARITHMETIC},
	{{op_load_register, 0}, {op_fxch, 0}, {NULL, 0}, {op_store_register, 0}},
	{{op_fcmov, 0}, {op_fcmov, 0}, {op_fcmov, 0}, {op_fcmov, 0}, {NULL, 0}, COMPARE},
	{{op_fcmov, 0}, {op_fcmov, 0}, {op_fcmov, 0}, {op_fcmov, 0}, {NULL, 0}, COMPARE, COMPARE},
	{ARITHMETIC, ARITHMETIC, COMPARE, COMPARE, ARITHMETIC, ARITHMETIC, ARITHMETIC, ARITHMETIC},
	{{NULL, 0}, {op_fxch, 0}, {op_store_register, 0}, {op_store_register, 0}, COMPARE, COMPARE},
	{ARITHMETIC, ARITHMETIC, COMPARE, COMPARE, ARITHMETIC, ARITHMETIC, ARITHMETIC, ARITHMETIC},
	{{NULL, 0}, {op_fxch, 0}, {op_store_register, 0}, {op_store_register, 0}, {NULL, 0},
		COMPARE, COMPARE},
};

/* The operation on ST(0) and ST(1) that a register form is, whichever of them it writes. */
static void set_stub(struct soft_insn *i, struct row row)
{
	uint8_t opcode = i->opcode, modrm = i->immediate, reg = modrm >> 3 & 7;
	x87_code *code;

	if (!row.how)
		return;
	if (modrm < 0xc0) {
		modrm = reg << 3 | 6; /* [RSI] */
	} else if (row.run == op_arithmetic) {
		/* DC and DE name the reverse forms the other way round. */
		modrm = 0xc1 | (opcode != 0xd8 && reg >= 4 ? reg ^ 1 : reg) << 3;
		opcode = 0xd8;
	} else if (row.run == op_compare && row.how & X87_IN1) {
		bool unordered = (opcode == 0xdd || reg == 5) && opcode != 0xd8;

		opcode = unordered ? 0xdd : 0xd8;
		modrm = unordered ? 0xe1 : 0xd1;
	}
	code = x87_stub(opcode, modrm, row.how);
	memcpy(&i->native, &code, sizeof(code));
	i->run = code ? row.run : NULL;
}

void x87_decode(struct soft_insn *i)
{
	uint8_t modrm = i->immediate, reg = modrm >> 3 & 7;
	struct row row;

	i->run = x87_control(i->opcode, modrm);
	if (!i->run)
		i->run = x87_transcendental(i->opcode, modrm);
	if (i->run)
		return;
	if (modrm < 0xc0)
		row = memory_row(i->opcode, reg);
	else if (i->opcode == 0xd9 && modrm >= 0xe0)
		row = d9_rows[modrm & 31];
	else
		row = register_rows[i->opcode & 7][reg];
	i->run = row.run;
	set_stub(i, row);
}
