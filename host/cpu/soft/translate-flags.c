/* SPDX-License-Identifier: MIT */
/*
 * Which instructions are translated, and what becomes of the arithmetic flags.
 *
 * Those that the SDM leaves undefined get the values of docs/soft-cpu.md right behind the
 * instruction, unless they are overwritten before anybody can look.
 */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/translate.h"

#define FLAGS_FIELD offsetof(struct soft_cpu, host_flags)

static const struct {
	uint16_t mnemonic;
	uint8_t use;
} uses[] = {
	{ZYDIS_MNEMONIC_MOV, FLAGS_NONE},
	{ZYDIS_MNEMONIC_MOVZX, FLAGS_NONE},
	{ZYDIS_MNEMONIC_MOVSX, FLAGS_NONE},
	{ZYDIS_MNEMONIC_MOVSXD, FLAGS_NONE},
	{ZYDIS_MNEMONIC_LEA, FLAGS_NONE},
	{ZYDIS_MNEMONIC_NOT, FLAGS_NONE},
	{ZYDIS_MNEMONIC_BSWAP, FLAGS_NONE},
	{ZYDIS_MNEMONIC_XCHG, FLAGS_NONE},
	{ZYDIS_MNEMONIC_NOP, FLAGS_NONE},
	{ZYDIS_MNEMONIC_ENDBR64, FLAGS_NONE},
	{ZYDIS_MNEMONIC_CBW, FLAGS_NONE},
	{ZYDIS_MNEMONIC_CWDE, FLAGS_NONE},
	{ZYDIS_MNEMONIC_CDQE, FLAGS_NONE},
	{ZYDIS_MNEMONIC_CWD, FLAGS_NONE},
	{ZYDIS_MNEMONIC_CDQ, FLAGS_NONE},
	{ZYDIS_MNEMONIC_CQO, FLAGS_NONE},
	{ZYDIS_MNEMONIC_ADD, FLAGS_SETS},
	{ZYDIS_MNEMONIC_SUB, FLAGS_SETS},
	{ZYDIS_MNEMONIC_CMP, FLAGS_SETS},
	{ZYDIS_MNEMONIC_NEG, FLAGS_SETS},
	{ZYDIS_MNEMONIC_AND, FLAGS_SETS},
	{ZYDIS_MNEMONIC_OR, FLAGS_SETS},
	{ZYDIS_MNEMONIC_XOR, FLAGS_SETS},
	{ZYDIS_MNEMONIC_TEST, FLAGS_SETS},
	{ZYDIS_MNEMONIC_XADD, FLAGS_SETS},
	{ZYDIS_MNEMONIC_ADC, FLAGS_CARRIES},
	{ZYDIS_MNEMONIC_SBB, FLAGS_CARRIES},
	{ZYDIS_MNEMONIC_INC, FLAGS_KEEPS_CF},
	{ZYDIS_MNEMONIC_DEC, FLAGS_KEEPS_CF},
	{ZYDIS_MNEMONIC_SHL, FLAGS_SHIFT},
	{ZYDIS_MNEMONIC_SHR, FLAGS_SHIFT},
	{ZYDIS_MNEMONIC_SAR, FLAGS_SHIFT},
	{ZYDIS_MNEMONIC_ROL, FLAGS_ROTATE},
	{ZYDIS_MNEMONIC_ROR, FLAGS_ROTATE},
	{ZYDIS_MNEMONIC_IMUL, FLAGS_PRODUCT},
	{ZYDIS_MNEMONIC_PUSH, FLAGS_FLOW},
	{ZYDIS_MNEMONIC_POP, FLAGS_FLOW},
	{ZYDIS_MNEMONIC_CALL, FLAGS_FLOW},
	{ZYDIS_MNEMONIC_RET, FLAGS_FLOW},
	{ZYDIS_MNEMONIC_JMP, FLAGS_FLOW},
};

static bool is_jcc(uint16_t m)
{
	return m >= ZYDIS_MNEMONIC_JB && m <= ZYDIS_MNEMONIC_JZ && m != ZYDIS_MNEMONIC_JCXZ &&
	       m != ZYDIS_MNEMONIC_JECXZ && m != ZYDIS_MNEMONIC_JKNZD && m != ZYDIS_MNEMONIC_JKZD &&
	       m != ZYDIS_MNEMONIC_JMP && m != ZYDIS_MNEMONIC_JRCXZ;
}

static enum flags_use use_of_mnemonic(uint16_t m)
{
	if (is_jcc(m))
		return FLAGS_FLOW;
	if (m >= ZYDIS_MNEMONIC_CMOVB && m <= ZYDIS_MNEMONIC_CMOVZ)
		return FLAGS_TESTS;
	if (m >= ZYDIS_MNEMONIC_SETB && m <= ZYDIS_MNEMONIC_SETZ && m != ZYDIS_MNEMONIC_SETSSBSY)
		return FLAGS_TESTS;
	for (unsigned n = 0; n < sizeof(uses) / sizeof(uses[0]); n++)
		if (uses[n].mnemonic == m)
			return uses[n].use;
	return FLAGS_SLOW;
}

bool soft_touches_memory(const struct soft_insn *i)
{
	return (i->op[0].kind == O_MEM || i->op[1].kind == O_MEM) &&
	       i->mnemonic != ZYDIS_MNEMONIC_LEA && i->mnemonic != ZYDIS_MNEMONIC_NOP;
}

static bool operands_are_plain(const struct soft_insn *i)
{
	for (unsigned n = 0; n < 4; n++)
		switch (i->op[n].kind) {
		case O_NONE:
		case O_REG:
		case O_IMM: break;
		case O_HIGH:
			if (soft_touches_memory(i))
				return false;
			break;
		case O_MEM:
			if (i->address != 8)
				return false;
			break;
		default: return false;
		}
	return true;
}

bool soft_has_high_byte(const struct soft_insn *i)
{
	return i->op[0].kind == O_HIGH || i->op[1].kind == O_HIGH;
}

/* High bytes cannot be had with a REX prefix; registers below 8 are the host's own. */
static bool registers_are_own(const struct soft_insn *i)
{
	for (unsigned n = 0; n < 2; n++)
		if (i->op[n].kind == O_REG &&
			(i->op[n].reg >= 8 || soft_host_register[i->op[n].reg] != i->op[n].reg))
			return false;
	return true;
}

/* Stack and transfers: the near forms of 64 bits whose target or value is at hand. */
static bool flow_is_plain(const struct soft_insn *i)
{
	if (i->far || i->size == 2)
		return false;
	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_PUSH: return i->op[0].kind != O_MEM;
	case ZYDIS_MNEMONIC_POP: return i->op[0].kind == O_REG && i->op[0].reg != RSP;
	case ZYDIS_MNEMONIC_RET: return i->op[0].kind == O_NONE;
	default: return true;
	}
}

unsigned soft_shift_count(const struct soft_insn *i)
{
	return i->immediate & (i->size == 8 ? 63 : 31);
}

enum flags_use soft_flags_use(const struct soft_insn *i)
{
	enum flags_use use = use_of_mnemonic(i->mnemonic);
	unsigned count;

	if (i->run == soft_undefined || !operands_are_plain(i) ||
		(soft_has_high_byte(i) && !registers_are_own(i)))
		return FLAGS_SLOW;
	switch (use) {
	case FLAGS_FLOW: return flow_is_plain(i) ? use : FLAGS_SLOW;
	case FLAGS_SHIFT:
	case FLAGS_ROTATE:
		count = soft_shift_count(i);
		if (i->op[1].kind != O_IMM || !count || count >= i->size * 8u)
			return FLAGS_SLOW;
		if (use == FLAGS_ROTATE && (i->size < 4 || i->op[0].kind != O_REG))
			return FLAGS_SLOW;
		return use;
	case FLAGS_PRODUCT:
		return i->op[0].kind == O_REG && (i->op[2].kind == O_IMM || i->opcode == 0xaf)
			       ? use
			       : FLAGS_SLOW;
	default: break;
	}
	/* MOV to and from absolute addresses has no ModRM; 16-bit BSWAP is undefined. */
	if ((i->mnemonic == ZYDIS_MNEMONIC_MOV && i->opcode >= 0xa0 && i->opcode <= 0xa3) ||
		(i->mnemonic == ZYDIS_MNEMONIC_BSWAP && i->size == 2) ||
		(i->mnemonic == ZYDIS_MNEMONIC_LEA && i->size == 2))
		return FLAGS_SLOW;
	return use;
}

bool soft_flags_are_dead(const struct translation *t, const struct soft_insn *i)
{
	const struct soft_insn *end = t->block->insns + t->block->count;

	for (i++; i < end; i++) {
		if (soft_touches_memory(i))
			return false;
		switch (soft_flags_use(i)) {
		case FLAGS_NONE: break;
		case FLAGS_SETS:
		case FLAGS_SHIFT:
		case FLAGS_PRODUCT: return true;
		default: return false;
		}
	}
	return false;
}

/* --- between the host's flags and memory --- */

/* AH: SF ZF AF PF CF; AL: OF.  None of these changes the host's flags. */
void soft_keep_flags(struct translation *t)
{
	if (t->flags_in_memory)
		return;
	emit_move(t->e, H_TEMP, H_RAX);
	EMIT(t->e, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
	emit8(t->e, 0x66);
	emit_cpu(t->e, 0, 0x89, H_RAX, FLAGS_FIELD);
	emit_move(t->e, H_RAX, H_TEMP);
	t->flags_in_memory = true;
}

void soft_need_flags(struct translation *t)
{
	if (t->flags_in_host)
		return;
	emit_move(t->e, H_TEMP, H_RAX);
	emit_rex(t->e, 0, H_RAX, 0, H_CPU);
	EMIT(t->e, 0x0f, 0xb7, 0x87); /* movzx eax, word */
	emit32(t->e, FLAGS_FIELD);
	EMIT(t->e, 0x04, 0x7f, 0x9e); /* add al, 0x7f: overflows from 1; sahf */
	emit_move(t->e, H_RAX, H_TEMP);
	t->flags_in_host = true;
}

/* --- flags of our own definition --- */

static void result_to_address(struct translation *t, const struct soft_insn *i)
{
	if (soft_host_register[i->op[0].reg] == H_NONE)
		emit_load(t->e, H_ADDRESS, field_of_register(i->op[0].reg));
	else
		emit_move(t->e, H_ADDRESS, soft_host_register[i->op[0].reg]);
}

/* AF is 0; OF of more than one place is that of the last. */
static void define_shift(struct translation *t, const struct soft_insn *i)
{
	if (soft_shift_count(i) == 1)
		EMIT(t->e, 0x9f, 0x0f, 0x90, 0xc0); /* lahf; seto al */
	else if (i->mnemonic == ZYDIS_MNEMONIC_SHL) /* lahf; al = SF ^ CF */
		EMIT(t->e, 0x9f, 0x88, 0xe0, 0xc0, 0xe8, 0x07, 0x30, 0xe0, 0x24, 0x01);
	else
		EMIT(t->e, 0x9f, 0xb0, 0x00); /* lahf; mov al, 0 */
	EMIT(t->e, 0x80, 0xe4, 0xef);	      /* and ah, ~AF */
}

/* OF: right, whether the two top bits differ; left, whether top and bottom do. */
static void define_rotate(struct translation *t, const struct soft_insn *i)
{
	EMIT(t->e, 0x9f);
	if (i->size == 4)
		EMIT(t->e, 0x49, 0xc1, 0xe6, 32); /* shl r14, 32 */
	if (i->mnemonic == ZYDIS_MNEMONIC_ROR) {
		EMIT(t->e, 0x49, 0xc1, 0xee, 62);		/* shr r14, 62: 1 and 2 differ */
		EMIT(t->e, 0x41, 0xff, 0xc6);			/* inc r14d */
		EMIT(t->e, 0x41, 0xd1, 0xee, 0x44, 0x88, 0xf0); /* shr r14d, 1; mov al, r14b */
	} else {
		EMIT(t->e, 0x49, 0xc1, 0xee, 63, 0x44, 0x88, 0xf0); /* shr r14, 63; mov al, r14b */
		EMIT(t->e, 0x30, 0xe0);				    /* xor al, ah: CF */
	}
	EMIT(t->e, 0x24, 0x01); /* and al, 1 */
}

/* SF, ZF, PF of the low half. */
static void define_product(struct translation *t, const struct soft_insn *i)
{
	EMIT(t->e, 0x0f, 0x90, 0xc0); /* seto al */
	if (i->size == 2)
		emit8(t->e, 0x66);
	emit_rr(t->e, i->size == 8, 0x85, H_ADDRESS, H_ADDRESS);
	EMIT(t->e, 0x9f, 0x80, 0xe4, 0xee, 0x08, 0xc4); /* lahf; and ah, ~(AF | CF); or ah, al */
}

void soft_define_flags(struct translation *t, const struct soft_insn *i, enum flags_use use)
{
	if (use != FLAGS_SHIFT)
		result_to_address(t, i);
	emit_move(t->e, H_TEMP, H_RAX);
	if (use == FLAGS_SHIFT)
		define_shift(t, i);
	else if (use == FLAGS_ROTATE)
		define_rotate(t, i);
	else
		define_product(t, i);
	emit8(t->e, 0x66);
	emit_cpu(t->e, 0, 0x89, H_RAX, FLAGS_FIELD);
	emit_move(t->e, H_RAX, H_TEMP);
	t->flags_in_host = false;
	t->flags_in_memory = true;
}
