/* SPDX-License-Identifier: MIT */
/* Transfers of control: jumps, calls, returns, loops, and the instructions that interrupt. */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/soft.h"

/* Near transfers: 64-bit code always has 64-bit targets. */
static unsigned target_size(const struct soft_cpu *c, const struct soft_insn *i)
{
	return c->long_mode ? 8 : i->size == 2 ? 2 : 4;
}

static bool target_allowed(const struct soft_cpu *c, uint64_t target)
{
	return c->long_mode ? soft_canonical(target, 1) : target <= c->seg[SEG_CS].limit;
}

static uint64_t check_target(struct soft_cpu *c, const struct soft_insn *i, uint64_t target)
{
	target &= soft_mask(target_size(c, i));
	if (!target_allowed(c, target))
		soft_fault(c, V_GP, 0);
	return target;
}

static uint64_t relative(struct soft_cpu *c, const struct soft_insn *i)
{
	return check_target(c, i, c->next_rip + i->immediate);
}

static void op_jcc(struct soft_cpu *c, const struct soft_insn *i)
{
	if (soft_condition(c, i->condition))
		c->next_rip = relative(c, i);
}

static void far_pointer(
	struct soft_cpu *c, const struct soft_insn *i, uint16_t *selector, uint64_t *offset)
{
	uint64_t linear;

	if (i->op[0].kind == O_IMM) {
		*offset = i->immediate;
		*selector = i->immediate2;
		return;
	}
	linear = soft_address(c, i, i->size + 2, false);
	*offset = soft_load(c, linear, i->size);
	*selector = soft_load(c, linear + i->size, 2);
}

static bool is_far(const struct soft_insn *i)
{
	/* FF /3 and /5 read a selector behind the offset; 9A and EA carry one. */
	return i->far;
}

static void op_jmp(struct soft_cpu *c, const struct soft_insn *i)
{
	uint16_t selector;
	uint64_t offset;

	if (is_far(i)) {
		far_pointer(c, i, &selector, &offset);
		soft_far_jump(c, selector, offset, i->size);
	} else if (i->op[0].kind == O_IMM) {
		c->next_rip = relative(c, i);
	} else {
		c->next_rip = check_target(c, i, soft_get(c, i, 0, target_size(c, i)));
	}
}

static void op_call(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = target_size(c, i);
	uint64_t target;
	uint16_t selector;

	if (is_far(i)) {
		far_pointer(c, i, &selector, &target);
		soft_far_call(c, selector, target, i->size);
		return;
	}
	target = i->op[0].kind == O_IMM ? c->next_rip + i->immediate : soft_get(c, i, 0, size);
	target &= soft_mask(size);
	if (!target_allowed(c, target)) {
		/* A fault of the stack comes before that of the target. */
		uint64_t sp = (c->gpr[RSP] - size) & soft_mask(soft_stack_size(c));

		soft_load_rmw(c, soft_linear(c, SEG_SS, sp, size, true), size);
		soft_fault(c, V_GP, 0);
	}
	soft_push(c, c->next_rip, size);
	c->next_rip = target;
}

static void release(struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t mask = soft_mask(soft_stack_size(c));

	if (i->op[0].kind == O_IMM)
		c->gpr[RSP] =
			(c->gpr[RSP] & ~mask) | ((c->gpr[RSP] + (uint16_t)i->immediate) & mask);
}

static void op_ret(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = target_size(c, i);
	uint64_t before = c->gpr[RSP], target, after;

	if (i->far) {
		soft_far_return(c, i->size, i->op[0].kind == O_IMM ? (uint16_t)i->immediate : 0);
		return;
	}
	target = soft_pop(c, size);
	after = c->gpr[RSP];
	c->gpr[RSP] = before;
	target = check_target(c, i, target);
	c->gpr[RSP] = after;
	release(c, i);
	c->next_rip = target;
}

static void op_iret(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_iret(c, i->size);
}

static void loop_if(struct soft_cpu *c, const struct soft_insn *i, bool condition)
{
	uint64_t count = (c->gpr[RCX] - 1) & soft_mask(i->address), target;

	if (count && condition) {
		target = relative(c, i);
		soft_set_reg(c, RCX, count, i->address);
		c->next_rip = target;
		return;
	}
	soft_set_reg(c, RCX, count, i->address);
}

static void op_loop(struct soft_cpu *c, const struct soft_insn *i)
{
	loop_if(c, i, true);
}

static void op_loope(struct soft_cpu *c, const struct soft_insn *i)
{
	loop_if(c, i, c->flags & F_ZF);
}

static void op_loopne(struct soft_cpu *c, const struct soft_insn *i)
{
	loop_if(c, i, !(c->flags & F_ZF));
}

static void op_jcxz(struct soft_cpu *c, const struct soft_insn *i)
{
	if (!(c->gpr[RCX] & soft_mask(i->address)))
		c->next_rip = relative(c, i);
}

/* In virtual-8086 mode INT n is IOPL-sensitive; the VME extension is not there. */
static void op_int(struct soft_cpu *c, const struct soft_insn *i)
{
	if (c->flags & F_VM && (c->flags & F_IOPL) != F_IOPL)
		soft_fault(c, V_GP, 0);
	soft_interrupt(c, (uint8_t)i->immediate, true);
}

static void op_int3(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_interrupt(c, V_BP, true);
}

static void op_int1(struct soft_cpu *c, const struct soft_insn *i)
{
	soft_interrupt(c, V_DB, false);
}

static void op_into(struct soft_cpu *c, const struct soft_insn *i)
{
	if (c->flags & F_OF)
		soft_interrupt(c, V_OF, true);
}

static void op_bound(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->size;
	uint64_t linear = soft_address(c, i, 2 * size, false);
	int64_t low = soft_sign(soft_load(c, linear, size), size);
	int64_t high = soft_sign(soft_load(c, linear + size, size), size);
	int64_t index = soft_sign(c->gpr[i->op[0].reg], size);

	if (index < low || index > high)
		soft_fault(c, V_BR, NO_ERROR_CODE);
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}
#define J(cc)                                            \
	{                                                \
		ZYDIS_MNEMONIC_J##cc, SAME(op_jcc), true \
	}

const struct soft_handlers soft_branch_handlers[] = {
	J(O),
	J(NO),
	J(B),
	J(NB),
	J(Z),
	J(NZ),
	J(BE),
	J(NBE),
	J(S),
	J(NS),
	J(P),
	J(NP),
	J(L),
	J(NL),
	J(LE),
	J(NLE),
	{ZYDIS_MNEMONIC_JMP, SAME(op_jmp), true},
	{ZYDIS_MNEMONIC_CALL, SAME(op_call), true},
	{ZYDIS_MNEMONIC_RET, SAME(op_ret), true},
	{ZYDIS_MNEMONIC_IRET, SAME(op_iret), true},
	{ZYDIS_MNEMONIC_IRETD, SAME(op_iret), true},
	{ZYDIS_MNEMONIC_IRETQ, SAME(op_iret), true},
	{ZYDIS_MNEMONIC_LOOP, SAME(op_loop), true},
	{ZYDIS_MNEMONIC_LOOPE, SAME(op_loope), true},
	{ZYDIS_MNEMONIC_LOOPNE, SAME(op_loopne), true},
	{ZYDIS_MNEMONIC_JCXZ, SAME(op_jcxz), true},
	{ZYDIS_MNEMONIC_JECXZ, SAME(op_jcxz), true},
	{ZYDIS_MNEMONIC_JRCXZ, SAME(op_jcxz), true},
	{ZYDIS_MNEMONIC_INT, SAME(op_int), true},
	{ZYDIS_MNEMONIC_INT3, SAME(op_int3), true},
	{ZYDIS_MNEMONIC_INT1, SAME(op_int1), true},
	{ZYDIS_MNEMONIC_INTO, SAME(op_into), true},
	{ZYDIS_MNEMONIC_BOUND, SAME(op_bound)},
	{ZYDIS_MNEMONIC_UD0, SAME(soft_undefined), true},
	{ZYDIS_MNEMONIC_UD1, SAME(soft_undefined), true},
	{ZYDIS_MNEMONIC_UD2, SAME(soft_undefined), true},
	{0},
};
