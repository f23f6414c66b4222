/* SPDX-License-Identifier: MIT */
/*
 * One instruction of the guest as host code: the same instruction with its registers exchanged for
 * those that hold the guest's, and with a checked host address for its memory operand.
 */
#include <Zydis/Zydis.h>

#include "cpu/soft/translate.h"

const int16_t soft_host_register[16] = {H_RAX, H_RCX, H_RDX, H_RBX, H_R12, H_RBP, H_RSI, H_RDI, 8,
	9, 10, 11, H_NONE, H_NONE, H_NONE, H_NONE};

int soft_in_host(struct translation *t, unsigned reg, int spare)
{
	if (soft_host_register[reg] != H_NONE)
		return soft_host_register[reg];
	emit_load(t->e, spare, field_of_register(reg));
	return spare;
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
	bool memory = soft_touches_memory(i);

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
	bool dead = use >= FLAGS_SHIFT && soft_flags_are_dead(t, i);

	if (i->mnemonic == ZYDIS_MNEMONIC_LEA) {
		emit_lea_insn(t, i);
		return;
	}
	if (i->mnemonic == ZYDIS_MNEMONIC_NOP || i->mnemonic == ZYDIS_MNEMONIC_ENDBR64)
		return;
	if (soft_touches_memory(i)) {
		struct form f;

		look_at(t, i, &f);
		soft_keep_flags(t);
		soft_emit_address(t, i);
		soft_emit_check(t, i, memory_size(i), f.writes_memory);
	}
	if (use == FLAGS_TESTS || use == FLAGS_CARRIES || use == FLAGS_KEEPS_CF ||
		(use == FLAGS_ROTATE && !dead))
		soft_need_flags(t);
	if (soft_has_high_byte(i))
		emit_bytes(t->e, i->bytes, i->length);
	else
		emit_with_registers(t, i);
	if (use >= FLAGS_SETS) {
		t->flags_in_host = true;
		t->flags_in_memory = false;
	}
	if (use >= FLAGS_SHIFT && !dead)
		soft_define_flags(t, i, use);
}
