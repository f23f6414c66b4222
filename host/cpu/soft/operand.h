/* SPDX-License-Identifier: MIT */
/*
 * What handlers of instructions are made of: operands in registers and memory, the stack, and the
 * arithmetic flags of results.  soft.h includes it, at its end.
 */
#ifndef CPU_SOFT_OPERAND_H
#define CPU_SOFT_OPERAND_H

#include "cpu/soft/soft.h"

/* --- operands --- */
static inline uint64_t soft_mask(unsigned size)
{
	return size == 8 ? UINT64_MAX : (1ULL << size * 8) - 1;
}

static inline uint64_t soft_sign(uint64_t value, unsigned size)
{
	switch (size) {
	case 1: return (int8_t)value;
	case 2: return (int16_t)value;
	case 4: return (int32_t)value;
	default: return value;
	}
}

/* A 32-bit result clears the upper half; narrower ones keep the rest. */
static inline void soft_set_reg(struct soft_cpu *c, unsigned reg, uint64_t value, unsigned size)
{
	switch (size) {
	case 1: c->gpr[reg] = (c->gpr[reg] & ~0xffULL) | (uint8_t)value; break;
	case 2: c->gpr[reg] = (c->gpr[reg] & ~0xffffULL) | (uint16_t)value; break;
	case 4: c->gpr[reg] = (uint32_t)value; break;
	default: c->gpr[reg] = value; break;
	}
}

/* All `size` bytes from there have bits 48 to 63 like bit 47. */
static inline bool soft_canonical(uint64_t linear, unsigned size)
{
	return linear + (1ULL << 47) <= (1ULL << 48) - size;
}

/* The effective address of the memory operand, without the segment. */
static inline uint64_t soft_offset(const struct soft_cpu *c, const struct soft_insn *i)
{
	uint64_t at = i->displacement;

	if (i->base < 16)
		at += c->gpr[i->base];
	else if (i->base == RIP_REG)
		at += c->next_rip;
	if (i->index < 16)
		at += c->gpr[i->index] << i->scale;
	return at & soft_mask(i->address);
}

static inline uint64_t soft_address(
	struct soft_cpu *c, const struct soft_insn *i, unsigned size, bool write)
{
	uint64_t at = soft_offset(c, i);

	if (c->long_mode && i->segment < SEG_FS && soft_canonical(at, size))
		return at;
	return soft_linear(c, i->segment, at, size, write);
}

static inline uint64_t soft_get(
	struct soft_cpu *c, const struct soft_insn *i, unsigned n, unsigned size)
{
	const struct soft_operand *o = &i->op[n];

	switch (o->kind) {
	case O_REG: return c->gpr[o->reg] & soft_mask(size);
	case O_HIGH: return c->gpr[o->reg] >> 8 & 0xff;
	case O_IMM: return i->immediate & soft_mask(size);
	default: return soft_load(c, soft_address(c, i, size, false), size);
	}
}

static inline void soft_put(
	struct soft_cpu *c, const struct soft_insn *i, unsigned n, uint64_t value, unsigned size)
{
	const struct soft_operand *o = &i->op[n];

	switch (o->kind) {
	case O_REG: soft_set_reg(c, o->reg, value, size); break;
	case O_HIGH: c->gpr[o->reg] = (c->gpr[o->reg] & ~0xff00ULL) | (value & 0xff) << 8; break;
	default:
		soft_store(c, soft_address(c, i, size, true), value & soft_mask(size), size);
		break;
	}
}

/* The first operand of an instruction that reads and writes it: *linear is kept for the write. */
static inline uint64_t soft_get_rmw(
	struct soft_cpu *c, const struct soft_insn *i, unsigned n, unsigned size, uint64_t *linear)
{
	if (i->op[n].kind != O_MEM)
		return soft_get(c, i, n, size);
	*linear = soft_address(c, i, size, true);
	return soft_load_rmw(c, *linear, size);
}

static inline void soft_put_rmw(struct soft_cpu *c, const struct soft_insn *i, unsigned n,
	uint64_t value, unsigned size, uint64_t linear)
{
	if (i->op[n].kind == O_MEM)
		soft_store(c, linear, value & soft_mask(size), size);
	else
		soft_put(c, i, n, value, size);
}

/* --- stack --- */
static inline unsigned soft_stack_size(const struct soft_cpu *c)
{
	return c->long_mode ? 8 : c->seg[SEG_SS].rights & R_D ? 4 : 2;
}

void soft_push(struct soft_cpu *c, uint64_t value, unsigned size);
uint64_t soft_pop(struct soft_cpu *c, unsigned size);

/* --- flags --- */
extern const uint8_t soft_parity[256]; /* F_PF or 0 */

static inline uint32_t soft_flags_result(uint64_t result, unsigned size)
{
	uint32_t flags = soft_parity[result & 0xff];

	if (!(result & soft_mask(size)))
		flags |= F_ZF;
	if (result >> (size * 8 - 1) & 1)
		flags |= F_SF;
	return flags;
}

/* Of the carries out of each bit: CF, OF and AF. */
static inline uint32_t soft_flags_carries(uint64_t carries, unsigned size)
{
	unsigned top = size * 8 - 1;
	uint32_t flags = 0;

	if (carries >> top & 1)
		flags |= F_CF;
	if ((carries >> top ^ carries >> (top - 1)) & 1)
		flags |= F_OF;
	if (carries & 8)
		flags |= F_AF;
	return flags;
}

/* r is a + b or a + b + 1; a - b or a - b - 1. */
static inline uint32_t soft_flags_sum(uint64_t a, uint64_t b, uint64_t r, unsigned size)
{
	return soft_flags_result(r, size) | soft_flags_carries((a & b) | ((a | b) & ~r), size);
}

static inline uint32_t soft_flags_difference(uint64_t a, uint64_t b, uint64_t r, unsigned size)
{
	return soft_flags_result(r, size) | soft_flags_carries((~a & b) | ((~a | b) & r), size);
}

static inline void soft_set_arithmetic(struct soft_cpu *c, uint32_t flags)
{
	c->flags = (c->flags & ~F_ARITHMETIC) | flags;
}

/* CMP and what compares like it. */
static inline void soft_compare(struct soft_cpu *c, uint64_t a, uint64_t b, unsigned size)
{
	soft_set_arithmetic(c, soft_flags_difference(a, b, a - b, size));
}

bool soft_condition(const struct soft_cpu *c, unsigned condition); /* the low four opcode bits */

#endif
