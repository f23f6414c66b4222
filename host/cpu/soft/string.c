/* SPDX-License-Identifier: MIT */
/*
 * String instructions (SDM 2): one element after the other, each complete with its registers, so
 * that a fault or an interrupt finds a state from which the instruction goes on.
 */
#include <Zydis/Mnemonic.h>
#include <string.h>

#include "cpu/soft/soft.h"

#define SLICE 4096 /* elements after which a repeated instruction lets interrupts in */

static unsigned element_size(const struct soft_insn *i)
{
	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_LODSB:
	case ZYDIS_MNEMONIC_CMPSB:
	case ZYDIS_MNEMONIC_SCASB:
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_OUTSB: return 1;
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_LODSW:
	case ZYDIS_MNEMONIC_CMPSW:
	case ZYDIS_MNEMONIC_SCASW:
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_OUTSW: return 2;
	case ZYDIS_MNEMONIC_MOVSQ:
	case ZYDIS_MNEMONIC_STOSQ:
	case ZYDIS_MNEMONIC_LODSQ:
	case ZYDIS_MNEMONIC_CMPSQ:
	case ZYDIS_MNEMONIC_SCASQ: return 8;
	default: return 4;
	}
}

static uint64_t source(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	uint64_t at = c->gpr[RSI] & soft_mask(i->address);

	return soft_linear(c, i->segment, at, size, false);
}

/* The destination's segment is ES, whatever the prefixes say. */
static uint64_t destination(
	struct soft_cpu *c, const struct soft_insn *i, unsigned size, bool write)
{
	return soft_linear(c, SEG_ES, c->gpr[RDI] & soft_mask(i->address), size, write);
}

static void advance(struct soft_cpu *c, const struct soft_insn *i, unsigned reg, unsigned size)
{
	uint64_t step = c->flags & F_DF ? -(uint64_t)size : size;

	soft_set_reg(c, reg, c->gpr[reg] + step, i->address);
}

static void movs(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	uint64_t value = soft_load(c, source(c, i, size), size);

	soft_store(c, destination(c, i, size, true), value, size);
	advance(c, i, RSI, size);
	advance(c, i, RDI, size);
}

static void stos(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	soft_store(c, destination(c, i, size, true), c->gpr[RAX] & soft_mask(size), size);
	advance(c, i, RDI, size);
}

static void lods(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	soft_set_reg(c, RAX, soft_load(c, source(c, i, size), size), size);
	advance(c, i, RSI, size);
}

static void cmps(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	/* Where both fault, the one at RDI is told of, as an EPYC does. */
	uint64_t b = soft_load(c, destination(c, i, size, false), size);
	uint64_t a = soft_load(c, source(c, i, size), size);

	soft_compare(c, a, b, size);
	advance(c, i, RSI, size);
	advance(c, i, RDI, size);
}

static void scas(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	soft_compare(c, c->gpr[RAX] & soft_mask(size),
		soft_load(c, destination(c, i, size, false), size), size);
	advance(c, i, RDI, size);
}

static void ins(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	uint16_t port = c->gpr[RDX];
	uint64_t linear = destination(c, i, size, true);

	soft_check_io(c, port, size);
	soft_check_write(c, linear, size); /* a read of a port cannot be taken back */
	soft_store(c, linear, soft_port_read(c, port, size), size);
	advance(c, i, RDI, size);
}

static void outs(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	uint16_t port = c->gpr[RDX];

	soft_check_io(c, port, size);
	soft_port_write(c, port, soft_load(c, source(c, i, size), size), size);
	advance(c, i, RSI, size);
}

typedef void element(struct soft_cpu *c, const struct soft_insn *i, unsigned size);

/* until: REP with CMPS and SCAS also ends by ZF. */
static void repeat(struct soft_cpu *c, const struct soft_insn *i, element *one, bool until)
{
	unsigned size = element_size(i);
	uint64_t mask = soft_mask(i->address), left;

	if (!i->rep) {
		one(c, i, size);
		return;
	}
	for (unsigned n = 0; (left = c->gpr[RCX] & mask); n++) {
		if (n == SLICE || (n && (c->break_block || c->flags & F_TF))) {
			/* Again from here: the registers say how far it came.  A breakpoint on this
			 * instruction was met once (17.3.1.1). */
			c->next_rip = c->rip;
			c->break_block = true;
			c->flags |= F_RF;
			c->after |= AFTER_KEEPS_RF;
			c->yielded |= n == SLICE;
			return;
		}
		one(c, i, size);
		soft_set_reg(c, RCX, left - 1, i->address);
		if (until && !(c->flags & F_ZF) == (i->rep == REP_E))
			return;
	}
}

/* Whole runs within a page at once: what REP STOS and REP MOVS are mostly used for. */
static uint64_t run_in_page(const struct soft_cpu *c, uint64_t linear, unsigned size)
{
	uint64_t room = (0x1000 - (linear & 0xfff)) / size;

	return c->flags & F_DF ? 1 : room;
}

static void fast_fill(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	uint64_t mask = soft_mask(i->address), left = c->gpr[RCX] & mask;
	uint64_t linear, run, value = c->gpr[RAX] & soft_mask(size);
	struct tlb_entry *e;
	uint8_t *at;

	if (!i->rep || i->address < 4 || !left || c->flags & F_TF)
		return;
	linear = destination(c, i, size, true);
	e = &c->tlb[c->user][linear >> 12 & (TLB_ENTRIES - 1)];
	run = run_in_page(c, linear, size);
	if (run > left)
		run = left;
	if (e->write != soft_page(linear) || run < 2)
		return;
	if (!soft_span_allowed(c, SEG_ES, c->gpr[RDI] & mask, run * size, true))
		return;
	at = (uint8_t *)(linear + e->offset);
	for (uint64_t n = 0; n < run; n++, at += size)
		memcpy(at, &value, size);
	soft_set_reg(c, RDI, c->gpr[RDI] + run * size, i->address);
	soft_set_reg(c, RCX, left - run, i->address);
}

static void fast_copy(struct soft_cpu *c, const struct soft_insn *i, unsigned size)
{
	uint64_t mask = soft_mask(i->address), left = c->gpr[RCX] & mask;
	uint64_t from, to, run, other;
	struct tlb_entry *r, *w;

	if (!i->rep || i->address < 4 || !left || c->flags & F_TF)
		return;
	from = source(c, i, size);
	to = destination(c, i, size, true);
	r = &c->tlb[c->user][from >> 12 & (TLB_ENTRIES - 1)];
	w = &c->tlb[c->user][to >> 12 & (TLB_ENTRIES - 1)];
	run = run_in_page(c, from, size);
	other = run_in_page(c, to, size);
	run = other < run ? other : run;
	run = left < run ? left : run;
	if (r->read != soft_page(from) || w->write != soft_page(to) || run < 2)
		return;
	if (!soft_span_allowed(c, i->segment, c->gpr[RSI] & mask, run * size, false) ||
		!soft_span_allowed(c, SEG_ES, c->gpr[RDI] & mask, run * size, true))
		return;
	/* Forward, an element at a time: an overlap copies what it just wrote. */
	for (uint64_t n = 0; n < run * size; n += size)
		memmove((uint8_t *)(to + w->offset) + n, (uint8_t *)(from + r->offset) + n, size);
	soft_set_reg(c, RSI, c->gpr[RSI] + run * size, i->address);
	soft_set_reg(c, RDI, c->gpr[RDI] + run * size, i->address);
	soft_set_reg(c, RCX, left - run, i->address);
}

static void op_movs(struct soft_cpu *c, const struct soft_insn *i)
{
	fast_copy(c, i, element_size(i));
	repeat(c, i, movs, false);
}

static void op_stos(struct soft_cpu *c, const struct soft_insn *i)
{
	fast_fill(c, i, element_size(i));
	repeat(c, i, stos, false);
}

static void op_lods(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, lods, false);
}

static void op_cmps(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, cmps, true);
}

static void op_scas(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, scas, true);
}

static void op_ins(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, ins, false);
}

static void op_outs(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, outs, false);
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}
#define FOUR(NAME, run)                                                               \
	{ZYDIS_MNEMONIC_##NAME##B, SAME(run)}, {ZYDIS_MNEMONIC_##NAME##W, SAME(run)}, \
		{ZYDIS_MNEMONIC_##NAME##D, SAME(run)},                                \
	{                                                                             \
		ZYDIS_MNEMONIC_##NAME##Q, SAME(run)                                   \
	}

/* MOVSD and CMPSD are also SSE's: the decoder tells them apart by their operands. */
const struct soft_handlers soft_string_handlers[] = {
	FOUR(MOVS, op_movs),
	FOUR(STOS, op_stos),
	FOUR(LODS, op_lods),
	FOUR(CMPS, op_cmps),
	FOUR(SCAS, op_scas),
	{ZYDIS_MNEMONIC_INSB, SAME(op_ins)},
	{ZYDIS_MNEMONIC_INSW, SAME(op_ins)},
	{ZYDIS_MNEMONIC_INSD, SAME(op_ins)},
	{ZYDIS_MNEMONIC_OUTSB, SAME(op_outs)},
	{ZYDIS_MNEMONIC_OUTSW, SAME(op_outs)},
	{ZYDIS_MNEMONIC_OUTSD, SAME(op_outs)},
	{0},
};
