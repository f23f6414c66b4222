/* SPDX-License-Identifier: MIT */
/*
 * x87 (SDM 1, chapter 8): the register stack and its exceptions, how the host's x87 computes for
 * the guest, and which handler and stub an encoding has.  An unmasked exception is found in the
 * host's status word and cleared there before a waiting instruction meets it.
 *
 * FIP, FDP and FOP are of every instruction but control ones (no "only with an exception" as some
 * processors have it); FCS and FDS are 0.  Operations are in x87-arithmetic.c and x87-move.c,
 * control is in x87-control.c, transcendental functions are in x87-functions.c.
 */
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
unsigned x87_settle(struct soft_cpu *c, uint16_t sw)
{
	c->fpu.sw = (c->fpu.sw & ~X87_C1) | (sw & X87_C1);
	x87_raise(c, sw & X87_EXCEPTIONS);
	return x87_open(c, sw);
}

uint16_t x87_execute(struct soft_cpu *c, const struct soft_insn *i, void *st0, void *other)
{
	struct x87_frame f = {.cw = c->fpu.cw, .host_cw = X87_CW_RESET};
	x87_code *code;

	memcpy(&code, &i->native, sizeof(code));
	code(st0, other, &f);
	return f.sw;
}

void x87_read_memory(struct soft_cpu *c, const struct soft_insn *i, void *to, unsigned size)
{
	uint64_t linear = soft_address(c, i, size, false), value;

	if (size == 10) {
		soft_read_bytes(c, linear, to, 10);
		return;
	}
	value = soft_load(c, linear, size);
	memcpy(to, &value, 8);
}

/* --- decoding --- */

/* An operation by the host: what its stub takes and gives. */
struct row {
	soft_handler *run;
	uint8_t how;
};

#define IN_OUT (X87_IN0 | X87_OUT)

static const struct row memory_rows[8][8] = {
	[1] = {{x87_load, X87_OUT}, {NULL, 0}, {x87_store, X87_IN0 | X87_RESET},
		{x87_store, X87_IN0 | X87_RESET}},
	[3] = {{x87_load, X87_OUT}, {x87_store, X87_IN0 | X87_RESET},
		{x87_store, X87_IN0 | X87_RESET}, {x87_store, X87_IN0 | X87_RESET}, {NULL, 0},
		{x87_load, 0}, {NULL, 0}, {x87_store, 0}},
	[5] = {{x87_load, X87_OUT}, {x87_store, X87_IN0 | X87_RESET},
		{x87_store, X87_IN0 | X87_RESET}, {x87_store, X87_IN0 | X87_RESET}},
	[7] = {{x87_load, X87_OUT}, {x87_store, X87_IN0 | X87_RESET},
		{x87_store, X87_IN0 | X87_RESET}, {x87_store, X87_IN0 | X87_RESET},
		{x87_load, X87_OUT}, {x87_load, X87_OUT}, {x87_store, X87_IN0 | X87_RESET},
		{x87_store, X87_IN0 | X87_RESET}},
};

static struct row memory_row(uint8_t opcode, unsigned reg)
{
	if (opcode & 1)
		return memory_rows[opcode & 7][reg];
	if (reg == 2 || reg == 3)
		return (struct row){x87_compare, X87_IN0};
	return (struct row){x87_arithmetic, IN_OUT};
}

/* D9 E0 to FF. */
static const struct row d9_rows[32] = {
	[0x00] = {x87_sign, 0},
	{x87_sign, 0},
	[0x04] = {x87_compare, X87_IN0},
	{x87_fxam, 0},
	[0x08] = {x87_constant, X87_OUT},
	{x87_constant, X87_OUT},
	{x87_constant, X87_OUT},
	{x87_constant, X87_OUT},
	{x87_constant, X87_OUT},
	{x87_constant, X87_OUT},
	{x87_constant, X87_OUT},
	[0x14] = {x87_fxtract, IN_OUT | X87_OUT2 | X87_RESET},
	{x87_binary, IN_OUT | X87_IN1},
	[0x18] = {x87_binary, IN_OUT | X87_IN1},
	[0x1a] = {x87_unary, IN_OUT},
	[0x1c] = {x87_unary, IN_OUT},
	{x87_binary, IN_OUT | X87_IN1},
};

#define COMPARE                                \
	{                                      \
		x87_compare, X87_IN0 | X87_IN1 \
	}
#define ARITHMETIC                               \
	{                                        \
		x87_arithmetic, IN_OUT | X87_IN1 \
	}

static const struct row register_rows[8][8] = {
	{ARITHMETIC, ARITHMETIC, COMPARE, COMPARE, ARITHMETIC, ARITHMETIC, ARITHMETIC, ARITHMETIC},
	{{x87_load_register, 0}, {x87_fxch, 0}, {NULL, 0}, {x87_store_register, 0}},
	{{x87_fcmov, 0}, {x87_fcmov, 0}, {x87_fcmov, 0}, {x87_fcmov, 0}, {NULL, 0}, COMPARE},
	{{x87_fcmov, 0}, {x87_fcmov, 0}, {x87_fcmov, 0}, {x87_fcmov, 0}, {NULL, 0}, COMPARE,
		COMPARE},
	{ARITHMETIC, ARITHMETIC, COMPARE, COMPARE, ARITHMETIC, ARITHMETIC, ARITHMETIC, ARITHMETIC},
	{{NULL, 0}, {x87_fxch, 0}, {x87_store_register, 0}, {x87_store_register, 0}, COMPARE,
		COMPARE},
	{ARITHMETIC, ARITHMETIC, COMPARE, COMPARE, ARITHMETIC, ARITHMETIC, ARITHMETIC, ARITHMETIC},
	{{NULL, 0}, {x87_fxch, 0}, {x87_store_register, 0}, {x87_store_register, 0}, {NULL, 0},
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
	} else if (row.run == x87_arithmetic) {
		/* DC and DE name the reverse forms the other way round. */
		modrm = 0xc1 | (opcode != 0xd8 && reg >= 4 ? reg ^ 1 : reg) << 3;
		opcode = 0xd8;
	} else if (row.run == x87_compare && row.how & X87_IN1) {
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
