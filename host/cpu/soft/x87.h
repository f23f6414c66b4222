/* SPDX-License-Identifier: MIT */
/*
 * Private to the x87 files: the register stack, exceptions, and the host's own instruction as a
 * stub.  The guest's stack is kept in struct soft_fpu; a stub sees at most two operands on a host
 * stack that is otherwise empty, so stack faults, tags and pops are ours.
 */
#ifndef CPU_SOFT_X87_H
#define CPU_SOFT_X87_H

#include <string.h>

#include "cpu/soft/native.h"

/* status and control word; the low six are masks in the control word */
#define X87_INVALID	0x01u
#define X87_DENORMAL	0x02u
#define X87_ZERO_DIVIDE 0x04u
#define X87_OVERFLOW	0x08u
#define X87_UNDERFLOW	0x10u
#define X87_PRECISION	0x20u
#define X87_EXCEPTIONS	0x3fu
#define X87_STACK	0x40u
#define X87_SUMMARY	0x8080u /* ES and B */
#define X87_C0		0x0100u
#define X87_C1		0x0200u
#define X87_C2		0x0400u
#define X87_C3		0x4000u
#define X87_CODES	(X87_C0 | X87_C1 | X87_C2 | X87_C3)
/* those that leave the operands as they were */
#define X87_BEFORE   (X87_INVALID | X87_DENORMAL | X87_ZERO_DIVIDE)
#define X87_CW_RESET 0x37fu

/* Offsets are known to the stubs' code. */
struct x87_frame {
	uint16_t cw, host_cw, sw;
};

typedef void x87_code(void *st0, void *other, struct x87_frame *frame);

enum {
	X87_IN0 = 1,	/* the stub loads ST(0) from its first argument */
	X87_IN1 = 2,	/* and ST(1) from its second */
	X87_OUT = 4,	/* and stores ST(0) to its first */
	X87_OUT2 = 8,	/* and what is then on top, to its second */
	X87_RESET = 16, /* what is left on the stack depends: FNINIT */
};
/* The stub for this operation: `modrm` names ST(1), or memory at the second argument. */
x87_code *x87_stub(uint8_t opcode, uint8_t modrm, unsigned how);

extern const uint8_t x87_indefinite[10];

static inline uint8_t *x87_st(struct soft_cpu *c, unsigned n)
{
	return c->fpu.st[((c->fpu.sw >> 11) + n) & 7];
}

static inline bool x87_is_empty(const struct soft_cpu *c, unsigned n)
{
	return !(c->fpu.valid >> (((c->fpu.sw >> 11) + n) & 7) & 1);
}

static inline void x87_set(struct soft_cpu *c, unsigned n, const void *value)
{
	memcpy(x87_st(c, n), value, 10);
	c->fpu.valid |= 1u << (((c->fpu.sw >> 11) + n) & 7);
}

static inline void x87_turn(struct soft_cpu *c, int by) /* TOP */
{
	c->fpu.sw = (c->fpu.sw & ~0x3800) | ((c->fpu.sw + by * 0x800) & 0x3800);
}

static inline void x87_pop(struct soft_cpu *c)
{
	c->fpu.valid &= ~(1u << (c->fpu.sw >> 11 & 7));
	x87_turn(c, 1);
}

/* ES and B follow from flags and masks. */
static inline void x87_summarise(struct soft_cpu *c)
{
	c->fpu.sw &= ~X87_SUMMARY;
	if (c->fpu.sw & ~c->fpu.cw & X87_EXCEPTIONS)
		c->fpu.sw |= X87_SUMMARY;
}

static inline void x87_raise(struct soft_cpu *c, unsigned flags)
{
	c->fpu.sw |= flags;
	x87_summarise(c);
}

/* Which of these flags the guest has not masked. */
static inline unsigned x87_open(const struct soft_cpu *c, unsigned flags)
{
	return flags & ~c->fpu.cw & X87_EXCEPTIONS;
}

/* #NM, #MF; every instruction that waits begins so. */
void x87_begin(struct soft_cpu *c);
/* FIP, FOP, and FDP where there is a memory operand. */
void x87_note(struct soft_cpu *c, const struct soft_insn *i);
/* A stack fault is raised; the result says whether the masked response (indefinite) follows. */
bool x87_underflow(struct soft_cpu *c);
bool x87_overflow(struct soft_cpu *c);
/* Pushes, or faults, or pushes the indefinite; returns whether ST(0) is new. */
bool x87_push(struct soft_cpu *c, const void *value);

/* The instruction's stub on the guest's control word; the host's status word. */
uint16_t x87_execute(struct soft_cpu *c, const struct soft_insn *i, void *st0, void *other);
/* Flags and C1 of that status word; returns what the guest has not masked. */
unsigned x87_settle(struct soft_cpu *c, uint16_t sw);
void x87_read_memory(struct soft_cpu *c, const struct soft_insn *i, void *to, unsigned size);

static inline bool x87_has_memory(const struct soft_insn *i)
{
	return i->op[0].kind == O_MEM;
}

/* --- x87-arithmetic.c, x87-move.c: handlers --- */
soft_handler x87_arithmetic, x87_unary, x87_binary, x87_fxtract, x87_sign, x87_compare, x87_fxam;
soft_handler x87_load, x87_load_register, x87_constant, x87_store, x87_store_register, x87_fxch,
	x87_fcmov;

/* Tables of the files; NULL: not there. */
soft_handler *x87_control(uint8_t opcode, uint8_t modrm);
soft_handler *x87_transcendental(uint8_t opcode, uint8_t modrm);

#endif
