/* SPDX-License-Identifier: MIT */
/*
 * String instructions (SDM 2): one element after the other, each complete with its registers, so
 * that a fault or an interrupt finds a state from which the instruction goes on.
 */
#include <Zydis/Mnemonic.h>
#include <string.h>

#include "cpu/soft/soft.h"

/* A repeated instruction lets interrupts in where the elements left are a multiple of this: a place
 * that does not depend on why it stopped before. */
#define SLICE 0x10000

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
/* Many elements at once: how many, 0 if it cannot. */
typedef uint64_t run_of_elements(
	struct soft_cpu *c, const struct soft_insn *i, unsigned size, uint64_t left);

/* until: REP with CMPS and SCAS also ends by ZF.  run may be NULL. */
static void repeat(struct soft_cpu *c, const struct soft_insn *i, element *one,
	run_of_elements *run, bool until)
{
	unsigned size = element_size(i);
	uint64_t mask = soft_mask(i->address), left, done;

	if (!i->rep) {
		one(c, i, size);
		return;
	}
	for (bool begun = false; (left = c->gpr[RCX] & mask); begun = true) {
		bool pause = !(left % SLICE);

		if (begun && (pause || c->break_block || c->flags & F_TF)) {
			/* Again from here: the registers say how far it came.  A breakpoint on this
			 * instruction was met once (17.3.1.1).  It counts when it is done. */
			c->next_rip = c->rip;
			c->break_block = true;
			c->flags |= F_RF;
			c->after |= AFTER_KEEPS_RF | AFTER_UNFINISHED;
			c->yielded |= pause;
			return;
		}
		done = left % SLICE ? left % SLICE : SLICE;
		done = run && !(c->flags & F_TF) ? run(c, i, size, done) : 0;
		if (!done) {
			one(c, i, size);
			done = 1;
		}
		soft_set_reg(c, RCX, left - done, i->address);
		if (until && !(c->flags & F_ZF) == (i->rep == REP_E))
			return;
	}
}

/* How many elements lie before the end of the page, not more than `left`. */
static uint64_t within_page(uint64_t linear, unsigned size, uint64_t left)
{
	uint64_t room = (0x1000 - (linear & 0xfff)) / size;

	return room < left ? room : left;
}

/* What REP STOS and REP MOVS are mostly used for: forward, in RAM, 32 or 64-bit addresses. */
static uint64_t run_of_stos(
	struct soft_cpu *c, const struct soft_insn *i, unsigned size, uint64_t left)
{
	uint64_t mask = soft_mask(i->address), linear, run, value = c->gpr[RAX];
	struct tlb_entry *e;
	uint8_t *at;

	if (i->address < 4 || c->flags & F_DF)
		return 0;
	linear = destination(c, i, size, true);
	e = &c->tlb[c->user][linear >> 12 & (TLB_ENTRIES - 1)];
	run = within_page(linear, size, left);
	if (e->write != soft_page(linear) || run < 2 ||
		!soft_span_allowed(c, SEG_ES, c->gpr[RDI] & mask, run * size, true))
		return 0;
	at = (uint8_t *)(linear + e->offset);
	if (size == 1)
		memset(at, (uint8_t)value, run);
	else
		for (uint64_t n = 0; n < run; n++, at += size)
			memcpy(at, &value, size);
	soft_set_reg(c, RDI, c->gpr[RDI] + run * size, i->address);
	return run;
}

static uint64_t run_of_movs(
	struct soft_cpu *c, const struct soft_insn *i, unsigned size, uint64_t left)
{
	uint64_t mask = soft_mask(i->address), from, to, run;
	const uint8_t *source_at;
	struct tlb_entry *r, *w;
	uint8_t *at;

	if (i->address < 4 || c->flags & F_DF)
		return 0;
	from = source(c, i, size);
	to = destination(c, i, size, true);
	r = &c->tlb[c->user][from >> 12 & (TLB_ENTRIES - 1)];
	w = &c->tlb[c->user][to >> 12 & (TLB_ENTRIES - 1)];
	run = within_page(to, size, within_page(from, size, left));
	if (r->read != soft_page(from) || w->write != soft_page(to) || run < 2 ||
		!soft_span_allowed(c, i->segment, c->gpr[RSI] & mask, run * size, false) ||
		!soft_span_allowed(c, SEG_ES, c->gpr[RDI] & mask, run * size, true))
		return 0;
	at = (uint8_t *)(to + w->offset);
	source_at = (const uint8_t *)(from + r->offset);
	/* An element at a time where a copy reads what it just wrote; in RAM, whatever its pages'
	 * linear addresses are. */
	if (at > source_at && at < source_at + run * size)
		for (uint64_t n = 0; n < run * size; n += size)
			memmove(at + n, source_at + n, size);
	else
		memmove(at, source_at, run * size);
	soft_set_reg(c, RSI, c->gpr[RSI] + run * size, i->address);
	soft_set_reg(c, RDI, c->gpr[RDI] + run * size, i->address);
	return run;
}

static void op_movs(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, movs, run_of_movs, false);
}

static void op_stos(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, stos, run_of_stos, false);
}

static void op_lods(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, lods, NULL, false);
}

static void op_cmps(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, cmps, NULL, true);
}

static void op_scas(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, scas, NULL, true);
}

static void op_ins(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, ins, NULL, false);
}

static void op_outs(struct soft_cpu *c, const struct soft_insn *i)
{
	repeat(c, i, outs, NULL, false);
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
