/* SPDX-License-Identifier: MIT */
/*
 * One instruction of the guest as host code: the same instruction with its registers exchanged for
 * those that hold the guest's, and with a checked host address for its memory operand.
 *
 * Flags that the SDM leaves undefined get the values of docs/soft-cpu.md right behind the
 * instruction, unless they are overwritten before anybody can look.
 */
#include <Zydis/Zydis.h>

#include "cpu/soft/translate.h"

#define FLAGS_FIELD offsetof(struct soft_cpu, host_flags)

const int8_t soft_host_register[16] = {H_RAX, H_RCX, H_RDX, H_RBX, H_R12, H_RBP, H_RSI, H_RDI, 8, 9,
	10, 11, H_NONE, H_NONE, H_NONE, H_NONE};

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

static bool touches_memory(const struct soft_insn *i)
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
			if (touches_memory(i))
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

static bool has_high_byte(const struct soft_insn *i)
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

static unsigned shift_count(const struct soft_insn *i)
{
	return i->immediate & (i->size == 8 ? 63 : 31);
}

enum flags_use soft_flags_use(const struct soft_insn *i)
{
	enum flags_use use = use_of_mnemonic(i->mnemonic);
	unsigned count;

	if (i->run == soft_undefined || !operands_are_plain(i) ||
		(has_high_byte(i) && !registers_are_own(i)))
		return FLAGS_SLOW;
	switch (use) {
	case FLAGS_FLOW: return flow_is_plain(i) ? use : FLAGS_SLOW;
	case FLAGS_SHIFT:
	case FLAGS_ROTATE:
		count = shift_count(i);
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

/* Will all flags be set again before an instruction that may fault, tests them or ends the block?
 */
static bool flags_are_dead(const struct translation *t, const struct soft_insn *i)
{
	const struct soft_insn *end = t->block->insns + t->block->count;

	for (i++; i < end; i++) {
		if (touches_memory(i))
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

/* --- pieces --- */

int soft_in_host(struct translation *t, unsigned reg, int spare)
{
	if (soft_host_register[reg] != H_NONE)
		return soft_host_register[reg];
	emit_load(t->e, spare, field_of_register(reg));
	return spare;
}

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

/* Where the address goes, as a LEA would have it: to any register. */
static void emit_effective(struct translation *t, const struct soft_insn *i, int to, int wide)
{
	int base = H_NONE, index = H_NONE;

	if (i->base == RIP_REG) {
		uint64_t at = i->rip + i->length + i->displacement;

		emit_constant(t->e, to, wide ? at : (uint32_t)at);
		return;
	}
	if (i->base < 16)
		base = soft_in_host(t, i->base, H_ADDRESS);
	if (i->index < 16)
		index = soft_in_host(t, i->index, H_TEMP);
	emit_lea(t->e, wide, to, base, index, i->index < 16 ? i->scale : 0, i->displacement);
}

void soft_emit_address(struct translation *t, const struct soft_insn *i)
{
	emit_effective(t, i, H_ADDRESS, 1);
	if (i->segment == SEG_FS || i->segment == SEG_GS)
		emit_cpu(t->e, 1, 0x03, H_ADDRESS,
			offsetof(struct soft_cpu, seg) + i->segment * sizeof(struct soft_segment) +
				offsetof(struct soft_segment, base));
}

void soft_emit_check(struct translation *t, const struct soft_insn *i, unsigned size, bool write)
{
	uint32_t table = offsetof(struct soft_cpu, fast) +
			 t->c->user * TLB_ENTRIES * sizeof(struct fast_page);
	struct emitter *e = t->e;
	struct aside *aside;

	_Static_assert(sizeof(struct fast_page) == 32, "the index is the page's number times 32");
	emit_rr(e, 0, 0x89, H_ADDRESS, H_TEMP);
	EMIT(e, 0x41, 0xc1, 0xed, 12 - 5); /* shr r13d, 7 */
	EMIT(e, 0x41, 0x81, 0xe5);	   /* and r13d, ... */
	emit32(e, (TLB_ENTRIES - 1) * 32);
	emit_indexed(e, 0x03, H_ADDRESS, H_TEMP,
		table + (write ? offsetof(struct fast_page, minus_write)
			       : offsetof(struct fast_page, minus_read)));
	EMIT(e, 0x49, 0x81, 0xfe); /* cmp r14, ...: now an offset within the page */
	emit32(e, 0x1000 - size);
	aside = soft_aside(t, JUMP_A, ASIDE_SLOW);
	aside->insn = i;
	emit_indexed(e, 0x03, H_ADDRESS, H_TEMP, table + offsetof(struct fast_page, host));
	t->flags_in_host = false;
}

/* --- the instruction itself --- */

struct form {
	ZydisDecodedInstruction z;
	int reg, rm; /* guest registers of the ModRM fields, H_NONE: an opcode's digit, memory */
	bool writes_reg, writes_rm, writes_memory;
};

static void look_at(struct translation *t, const struct soft_insn *i, struct form *f)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderDecodeFull(&decoder, i->bytes, i->length, &f->z, operands);
	f->reg = f->rm = H_NONE;
	f->writes_reg = f->writes_rm = f->writes_memory = false;
	for (unsigned n = 0; n < f->z.operand_count_visible && n < 4; n++) {
		const ZydisDecodedOperand *o = &operands[n];
		bool writes = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			f->writes_memory = writes;
		} else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) {
			f->reg = i->op[n].reg;
			f->writes_reg = writes;
		} else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
			f->rm = i->op[n].reg;
			f->writes_rm = writes;
		}
	}
}

static bool is_prefix(uint8_t byte)
{
	return byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 ||
	       (byte & 0xe7) == 0x26 || byte == 0x64 || byte == 0x65;
}

/* The instruction with other registers; rm is H_ADDRESS as the address when `memory`. */
static void emit_form(struct translation *t, const struct soft_insn *i, const struct form *f,
	int reg, int rm, bool memory)
{
	unsigned at = 0, after = f->z.raw.imm[0].size ? f->z.raw.imm[0].offset : i->length;
	unsigned digit = f->reg == H_NONE ? f->z.raw.modrm.reg : (unsigned)reg & 7;

	for (; is_prefix(i->bytes[at]) || (i->bytes[at] & 0xf0) == 0x40; at++)
		if (i->bytes[at] == 0x66 || i->bytes[at] >= 0xf0)
			emit8(t->e, i->bytes[at]);
	/* Always there: SPL, BPL, SIL, DIL are not AH, CH, DH, BH. */
	emit_rex(t->e, f->z.raw.rex.W, f->reg == H_NONE ? 0 : reg, 0, rm);
	emit_bytes(t->e, i->bytes + at, f->z.raw.modrm.offset - at);
	emit8(t->e, (memory ? 0 : 0xc0) | digit << 3 | (rm & 7));
	emit_bytes(t->e, i->bytes + after, i->length - after);
}

/* Forms without ModRM, with RAX or a register in the opcode. */
static void emit_short(struct translation *t, const struct soft_insn *i)
{
	unsigned reg = i->op[0].reg;
	int host;

	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		host = soft_in_host(t, reg, H_TEMP);
		if (i->size == 1 || i->size == 2) {
			if (i->size == 2)
				emit8(t->e, 0x66);
			emit_rex(t->e, 0, 0, 0, host);
			emit8(t->e, (i->size == 1 ? 0xb0 : 0xb8) | (host & 7));
			emit_bytes(t->e, &i->immediate, i->size);
		} else {
			emit_constant(
				t->e, host, i->size == 4 ? (uint32_t)i->immediate : i->immediate);
		}
		break;
	case ZYDIS_MNEMONIC_BSWAP:
		host = soft_in_host(t, reg, H_TEMP);
		emit_rex(t->e, i->size == 8, 0, 0, host);
		EMIT(t->e, 0x0f, 0xc8 | (host & 7));
		break;
	case ZYDIS_MNEMONIC_XCHG: {
		unsigned other = i->op[1].reg;
		int second = soft_in_host(t, other, H_ADDRESS);

		host = soft_in_host(t, reg, H_TEMP);
		if (i->size == 2)
			emit8(t->e, 0x66);
		emit_rr(t->e, i->size == 8, 0x87, second, host);
		if (second == H_ADDRESS)
			emit_store(t->e, second, field_of_register(other));
		break;
	}
	default: /* RAX, RDX: they are where they are */
		emit_bytes(t->e, i->bytes, i->length);
		return;
	}
	if (host == H_TEMP)
		emit_store(t->e, host, field_of_register(reg));
}

static void emit_with_registers(struct translation *t, const struct soft_insn *i)
{
	struct form f;
	int reg = 0, rm = H_ADDRESS;
	bool memory = touches_memory(i);

	look_at(t, i, &f);
	if (!(f.z.attributes & ZYDIS_ATTRIB_HAS_MODRM)) {
		emit_short(t, i);
		return;
	}
	if (f.reg != H_NONE)
		reg = soft_in_host(t, f.reg, H_TEMP);
	if (f.rm != H_NONE)
		rm = soft_in_host(t, f.rm, H_ADDRESS);
	emit_form(t, i, &f, reg, rm, memory);
	if (f.writes_reg && reg == H_TEMP)
		emit_store(t->e, reg, field_of_register(f.reg));
	if (f.writes_rm && rm == H_ADDRESS)
		emit_store(t->e, rm, field_of_register(f.rm));
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
	if (shift_count(i) == 1)
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

static void define_flags(struct translation *t, const struct soft_insn *i, enum flags_use use)
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

static void emit_lea_insn(struct translation *t, const struct soft_insn *i)
{
	int to = soft_host_register[i->op[0].reg];

	emit_effective(t, i, to == H_NONE ? H_ADDRESS : to, i->size == 8);
	if (to == H_NONE)
		emit_store(t->e, H_ADDRESS, field_of_register(i->op[0].reg));
}

static unsigned memory_size(const struct soft_insn *i)
{
	return i->op[i->op[0].kind == O_MEM ? 0 : 1].size;
}

void soft_translate_insn(struct translation *t, const struct soft_insn *i)
{
	enum flags_use use = soft_flags_use(i);
	bool dead = use >= FLAGS_SHIFT && flags_are_dead(t, i);

	if (i->mnemonic == ZYDIS_MNEMONIC_LEA) {
		emit_lea_insn(t, i);
		return;
	}
	if (i->mnemonic == ZYDIS_MNEMONIC_NOP || i->mnemonic == ZYDIS_MNEMONIC_ENDBR64)
		return;
	if (touches_memory(i)) {
		struct form f;

		look_at(t, i, &f);
		soft_keep_flags(t);
		soft_emit_address(t, i);
		soft_emit_check(t, i, memory_size(i), f.writes_memory);
	}
	if (use == FLAGS_TESTS || use == FLAGS_CARRIES || use == FLAGS_KEEPS_CF ||
		(use == FLAGS_ROTATE && !dead))
		soft_need_flags(t);
	if (has_high_byte(i))
		emit_bytes(t->e, i->bytes, i->length);
	else
		emit_with_registers(t, i);
	if (use >= FLAGS_SETS) {
		t->flags_in_host = true;
		t->flags_in_memory = false;
	}
	if (use >= FLAGS_SHIFT && !dead)
		define_flags(t, i, use);
}
