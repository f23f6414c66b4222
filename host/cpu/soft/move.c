/* SPDX-License-Identifier: MIT */
/* Moving data: MOV and its kin, stack, exchange, compare-and-exchange, bit tests (SDM 2). */
#include <Zydis/Mnemonic.h>

#include "base/fault.h"
#include "cpu/soft/soft.h"

#define MOV(size)                                                                \
	static void op_mov_##size(struct soft_cpu *c, const struct soft_insn *i) \
	{                                                                        \
		soft_put(c, i, 0, soft_get(c, i, 1, size), size);                \
	}
MOV(1)
MOV(2)
MOV(4)
MOV(8)

/* MOV with a segment register on one side. */
static void mov_segment(struct soft_cpu *c, const struct soft_insn *i)
{
	if (i->op[0].kind == O_SEG) {
		if (i->op[0].reg == SEG_CS)
			soft_fault(c, V_UD, NO_ERROR_CODE);
		soft_load_segment(c, i->op[0].reg, soft_get(c, i, 1, 2));
		if (i->op[0].reg == SEG_SS)
			c->inhibit = INHIBIT_SS;
	} else {
		uint64_t selector = c->seg[i->op[1].reg].selector;

		/* To a register: zero-extended to the operand size; to memory always 16 bits. */
		fault_cpu("read-segment", i->op[1].reg, &selector);
		soft_put(c, i, 0, selector, i->op[0].kind == O_MEM ? 2 : i->op[0].size);
	}
}

/* Which form of MOV this is was not known to the table: by the operands, once decoded. */
static void op_mov(struct soft_cpu *c, const struct soft_insn *i)
{
	static soft_handler *const forms[] = {op_mov_1, op_mov_2, op_mov_4, op_mov_8};
	unsigned first = i->op[0].kind, second = i->op[1].kind;

	if (first == O_SEG || second == O_SEG)
		mov_segment(c, i);
	else if (first == O_CR || first == O_DR || second == O_CR || second == O_DR)
		soft_move_control(c, i);
	else
		forms[i->op[0].size == 8 ? 3 : i->op[0].size == 4 ? 2 : i->op[0].size == 2](c, i);
}

static void op_movzx(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_set_reg(c, i->op[0].reg, soft_get(c, i, 1, i->op[1].size), i->op[0].size);
}

static void op_movsx(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned from = i->op[1].size;

	soft_set_reg(c, i->op[0].reg, soft_sign(soft_get(c, i, 1, from), from), i->op[0].size);
}

static void op_lea(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_set_reg(c, i->op[0].reg, soft_offset(c, i), i->op[0].size);
}

static void op_xchg(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t linear = 0, a, b = soft_get(c, i, 1, size);

	if (i->op[1].kind == O_MEM) {
		/* Zydis keeps the operands' order; the memory is what can fault. */
		linear = soft_address(c, i, size, true);
		b = soft_load_rmw(c, linear, size);
		a = soft_get(c, i, 0, size);
		soft_store(c, linear, a, size);
		soft_put(c, i, 0, b, size);
		return;
	}
	a = soft_get_rmw(c, i, 0, size, &linear);
	soft_put_rmw(c, i, 0, b, size, linear);
	soft_put(c, i, 1, a, size);
}

static void op_xadd(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t linear = 0, b = soft_get(c, i, 1, size);
	uint64_t a = soft_get_rmw(c, i, 0, size, &linear), r = a + b;

	if (i->op[0].kind == O_MEM) {
		soft_store(c, linear, r & soft_mask(size), size);
		soft_put(c, i, 1, a, size);
	} else {
		/* With the same register twice the sum is what stays. */
		soft_put(c, i, 1, a, size);
		soft_put(c, i, 0, r, size);
	}
	soft_set_arithmetic(c, soft_flags_sum(a, b, r, size));
}

static void op_cmpxchg(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t linear = 0, old = soft_get_rmw(c, i, 0, size, &linear);
	uint64_t expected = c->gpr[RAX] & soft_mask(size);

	/* The destination is written in either case, so a fault comes in either case. */
	if (old == expected) {
		soft_put_rmw(c, i, 0, soft_get(c, i, 1, size), size, linear);
	} else {
		if (i->op[0].kind == O_MEM)
			soft_store(c, linear, old, size);
		soft_set_reg(c, RAX, old, size);
	}
	soft_compare(c, expected, old, size);
}

static void op_cmpxchg8b(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t linear = soft_address(c, i, 8, true), old = soft_load_rmw(c, linear, 8);
	uint64_t expected = (uint32_t)c->gpr[RAX] | c->gpr[RDX] << 32;

	if (old == expected) {
		soft_store(c, linear, (uint32_t)c->gpr[RBX] | c->gpr[RCX] << 32, 8);
		c->flags |= F_ZF;
	} else {
		soft_store(c, linear, old, 8);
		c->gpr[RAX] = (uint32_t)old;
		c->gpr[RDX] = old >> 32;
		c->flags &= ~F_ZF;
	}
}

static void op_cmpxchg16b(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t linear, low, high;

	/* Before an address that is not canonical is noticed. */
	if ((soft_offset(c, i) + (i->segment >= SEG_FS ? c->seg[i->segment].base : 0)) & 15)
		soft_fault(c, V_GP, 0);
	linear = soft_address(c, i, 16, true);
	low = soft_load_rmw(c, linear, 8);
	high = soft_load_rmw(c, linear + 8, 8);
	if (low == c->gpr[RAX] && high == c->gpr[RDX]) {
		soft_store(c, linear, c->gpr[RBX], 8);
		soft_store(c, linear + 8, c->gpr[RCX], 8);
		c->flags |= F_ZF;
	} else {
		c->gpr[RAX] = low;
		c->gpr[RDX] = high;
		c->flags &= ~F_ZF;
	}
}

static void op_bswap(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t value = c->gpr[i->op[0].reg];

	/* Of 16 bits it is undefined: zero, as processors do. */
	if (i->size == 8)
		c->gpr[i->op[0].reg] = __builtin_bswap64(value);
	else
		soft_set_reg(c, i->op[0].reg, i->size == 4 ? __builtin_bswap32(value) : 0, i->size);
}

static void op_movbe(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t value = soft_get(c, i, 1, size);

	value = size == 8   ? __builtin_bswap64(value)
		: size == 4 ? __builtin_bswap32(value)
			    : __builtin_bswap16(value);
	soft_put(c, i, 0, value, size);
}

static void op_setcc(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_put(c, i, 0, soft_condition(c, i->condition), 1);
}

/* The source is read, and the upper half cleared, whether or not the condition holds. */
static void op_cmovcc(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t value = soft_get(c, i, 1, size);

	soft_set_reg(c, i->op[0].reg,
		soft_condition(c, i->condition) ? value : c->gpr[i->op[0].reg], size);
}

static void op_push(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size == 4 && c->long_mode ? 8 : i->size;
	uint64_t value;

	if (i->op[0].kind == O_SEG)
		value = c->seg[i->op[0].reg].selector;
	else if (i->op[0].kind == O_IMM)
		value = i->immediate;
	else
		value = soft_get(c, i, 0, size);
	soft_push(c, value, size);
}

static void op_pop(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size == 4 && c->long_mode ? 8 : i->size;
	uint64_t before = c->gpr[RSP], value = soft_pop(c, size), after = c->gpr[RSP];

	if (i->op[0].kind == O_REG) {
		soft_set_reg(c, i->op[0].reg, value, size);
		return;
	}
	/* An address by RSP is computed after the increment; a fault leaves RSP as it was. */
	c->gpr[RSP] = before;
	if (i->op[0].kind == O_SEG) {
		soft_load_segment(c, i->op[0].reg, value);
		if (i->op[0].reg == SEG_SS)
			c->inhibit = INHIBIT_SS;
	} else {
		uint64_t linear;

		c->gpr[RSP] = after;
		if (i->base == RSP || i->op[0].kind == O_MEM) {
			linear = soft_offset(c, i);
			c->gpr[RSP] = before;
			linear = soft_linear(c, i->segment, linear, size, true);
			soft_store(c, linear, value, size);
		}
	}
	c->gpr[RSP] = after;
}

/* A push that does not move RSP yet: the stack pointer after it. */
static uint64_t push_below(struct soft_cpu *c, uint64_t sp, uint64_t value, unsigned size)
{
	sp = (sp - size) & soft_mask(soft_stack_size(c));
	soft_store(c, soft_linear(c, SEG_SS, sp, size, true), value & soft_mask(size), size);
	return sp;
}

static void op_pusha(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t mask = soft_mask(soft_stack_size(c)), sp = c->gpr[RSP];

	for (unsigned r = 0; r < 8; r++)
		sp = push_below(c, sp, c->gpr[r], i->size);
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | sp;
}

static void op_popa(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t values[8], mask = soft_mask(soft_stack_size(c)), sp = c->gpr[RSP] & mask;

	for (int r = 7; r >= 0; r--, sp = (sp + i->size) & mask)
		values[r] = soft_load(c, soft_linear(c, SEG_SS, sp, i->size, false), i->size);
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | sp;
	for (unsigned r = 0; r < 8; r++)
		if (r != RSP)
			soft_set_reg(c, r, values[r], i->size);
}

static void op_enter(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size == 4 && c->long_mode ? 8 : i->size, level = i->immediate2 & 31;
	uint64_t mask = soft_mask(soft_stack_size(c)), bp = c->gpr[RBP], frame, sp;

	sp = push_below(c, c->gpr[RSP], bp, size);
	frame = (c->gpr[RSP] & ~mask) | sp;
	for (unsigned n = 1; n < level; n++) {
		bp = (bp - size) & mask;
		sp = push_below(
			c, sp, soft_load(c, soft_linear(c, SEG_SS, bp, size, false), size), size);
	}
	if (level)
		sp = push_below(c, sp, frame, size);
	sp = (sp - (uint16_t)i->immediate) & mask;
	/* The new stack pointer must be one that can be written to (SDM 2, ENTER, #PF). */
	soft_load_rmw(c, soft_linear(c, SEG_SS, sp, size, true), size);
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | sp;
	soft_set_reg(c, RBP, frame, size);
}

static void op_leave(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size == 4 && c->long_mode ? 8 : i->size;
	uint64_t mask = soft_mask(soft_stack_size(c)), bp = c->gpr[RBP] & mask, value;

	value = soft_load(c, soft_linear(c, SEG_SS, bp, size, false), size);
	c->gpr[RSP] = (c->gpr[RSP] & ~mask) | ((bp + size) & mask);
	soft_set_reg(c, RBP, value, size);
}

static void op_cbw(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_set_reg(c, RAX, (int8_t)c->gpr[RAX], 2);
}

static void op_cwde(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_set_reg(c, RAX, (int16_t)c->gpr[RAX], 4);
}

static void op_cdqe(struct soft_cpu *c, const struct soft_insn *i)
{
	c->gpr[RAX] = (int32_t)c->gpr[RAX];
}

static void op_cwd(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_set_reg(c, RDX, (int16_t)c->gpr[RAX] < 0 ? -1 : 0, 2);
}

static void op_cdq(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_set_reg(c, RDX, (int32_t)c->gpr[RAX] < 0 ? -1 : 0, 4);
}

static void op_cqo(struct soft_cpu *c, const struct soft_insn *i)
{
	c->gpr[RDX] = (int64_t)c->gpr[RAX] < 0 ? -1 : 0;
}

static void op_lahf(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t flags = (c->flags & (F_SF | F_ZF | F_AF | F_PF | F_CF)) | 2;

	c->gpr[RAX] = (c->gpr[RAX] & ~0xff00ULL) | flags << 8;
}

static void op_sahf(struct soft_cpu *c, const struct soft_insn *i)
{
	uint32_t mask = F_SF | F_ZF | F_AF | F_PF | F_CF;

	c->flags = (c->flags & ~mask) | (c->gpr[RAX] >> 8 & mask);
}

static void op_xlat(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t at = (c->gpr[RBX] + (c->gpr[RAX] & 0xff)) & soft_mask(i->address);

	soft_set_reg(c, RAX, soft_load(c, soft_linear(c, i->segment, at, 1, false), 1), 1);
}

static void op_nop(struct soft_cpu *c, const struct soft_insn *i)
{
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}
#define SET(cc)                                        \
	{                                              \
		ZYDIS_MNEMONIC_SET##cc, SAME(op_setcc) \
	}
#define CMOV(cc)                                         \
	{                                                \
		ZYDIS_MNEMONIC_CMOV##cc, SAME(op_cmovcc) \
	}

const struct soft_handlers soft_move_handlers[] = {
	{ZYDIS_MNEMONIC_MOV, SAME(op_mov)},
	{ZYDIS_MNEMONIC_MOVZX, SAME(op_movzx)},
	{ZYDIS_MNEMONIC_MOVSX, SAME(op_movsx)},
	{ZYDIS_MNEMONIC_MOVSXD, SAME(op_movsx)},
	{ZYDIS_MNEMONIC_LEA, SAME(op_lea)},
	{ZYDIS_MNEMONIC_XCHG, SAME(op_xchg)},
	{ZYDIS_MNEMONIC_XADD, SAME(op_xadd)},
	{ZYDIS_MNEMONIC_CMPXCHG, SAME(op_cmpxchg)},
	{ZYDIS_MNEMONIC_CMPXCHG8B, SAME(op_cmpxchg8b)},
	{ZYDIS_MNEMONIC_CMPXCHG16B, SAME(op_cmpxchg16b)},
	{ZYDIS_MNEMONIC_BSWAP, SAME(op_bswap)},
	{ZYDIS_MNEMONIC_MOVBE, SAME(op_movbe)},
	{ZYDIS_MNEMONIC_MOVNTI, SAME(op_mov)},
	{ZYDIS_MNEMONIC_PUSH, SAME(op_push)},
	{ZYDIS_MNEMONIC_POP, SAME(op_pop)},
	{ZYDIS_MNEMONIC_PUSHA, SAME(op_pusha)},
	{ZYDIS_MNEMONIC_PUSHAD, SAME(op_pusha)},
	{ZYDIS_MNEMONIC_POPA, SAME(op_popa)},
	{ZYDIS_MNEMONIC_POPAD, SAME(op_popa)},
	{ZYDIS_MNEMONIC_ENTER, SAME(op_enter)},
	{ZYDIS_MNEMONIC_LEAVE, SAME(op_leave)},
	{ZYDIS_MNEMONIC_CBW, SAME(op_cbw)},
	{ZYDIS_MNEMONIC_CWDE, SAME(op_cwde)},
	{ZYDIS_MNEMONIC_CDQE, SAME(op_cdqe)},
	{ZYDIS_MNEMONIC_CWD, SAME(op_cwd)},
	{ZYDIS_MNEMONIC_CDQ, SAME(op_cdq)},
	{ZYDIS_MNEMONIC_CQO, SAME(op_cqo)},
	{ZYDIS_MNEMONIC_LAHF, SAME(op_lahf)},
	{ZYDIS_MNEMONIC_SAHF, SAME(op_sahf)},
	{ZYDIS_MNEMONIC_XLAT, SAME(op_xlat)},
	{ZYDIS_MNEMONIC_NOP, SAME(op_nop)},
	{ZYDIS_MNEMONIC_ENDBR64, SAME(op_nop)},
	{ZYDIS_MNEMONIC_ENDBR32, SAME(op_nop)},
	{ZYDIS_MNEMONIC_LFENCE, SAME(op_nop)},
	{ZYDIS_MNEMONIC_MFENCE, SAME(op_nop)},
	{ZYDIS_MNEMONIC_SFENCE, SAME(op_nop)},
	{ZYDIS_MNEMONIC_PREFETCHNTA, SAME(op_nop)},
	{ZYDIS_MNEMONIC_PREFETCHT0, SAME(op_nop)},
	{ZYDIS_MNEMONIC_PREFETCHT1, SAME(op_nop)},
	{ZYDIS_MNEMONIC_PREFETCHT2, SAME(op_nop)},
	{ZYDIS_MNEMONIC_PREFETCHW, SAME(op_nop)},
	{ZYDIS_MNEMONIC_PREFETCH, SAME(op_nop)},
	SET(O),
	SET(NO),
	SET(B),
	SET(NB),
	SET(Z),
	SET(NZ),
	SET(BE),
	SET(NBE),
	SET(S),
	SET(NS),
	SET(P),
	SET(NP),
	SET(L),
	SET(NL),
	SET(LE),
	SET(NLE),
	CMOV(O),
	CMOV(NO),
	CMOV(B),
	CMOV(NB),
	CMOV(Z),
	CMOV(NZ),
	CMOV(BE),
	CMOV(NBE),
	CMOV(S),
	CMOV(NS),
	CMOV(P),
	CMOV(NP),
	CMOV(L),
	CMOV(NL),
	CMOV(LE),
	CMOV(NLE),
	{0},
};
