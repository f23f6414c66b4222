/* SPDX-License-Identifier: MIT */
/*
 * Host code for stack and transfers, and for the ends of blocks: counting, looking for attention,
 * and the jump to the next block.
 */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/translate.h"

#define FIELD(name) offsetof(struct soft_cpu, name)

struct aside *soft_aside(struct translation *t, int condition, int kind)
{
	struct aside *a = &t->aside[t->asides++];

	*a = (struct aside){.kind = kind, .jump = emit_jump_later(t->e, condition)};
	return a;
}

void soft_emit_entry(struct translation *t, uint64_t rip)
{
	struct emitter *e = t->e;

	EMIT(e, 0x49, 0x81, 0xbf); /* cmp qword [c->budget], count */
	emit32(e, FIELD(budget));
	emit32(e, t->block->count);
	soft_aside(t, JUMP_L, ASIDE_LEAVE)->rip = rip;
}

/* The block is done: its RIP is a constant or (known) c->rip already. */
static void emit_count(struct translation *t, bool known, uint64_t rip)
{
	struct emitter *e = t->e;

	emit_rex(e, 1, 0, 0, H_CPU);
	EMIT(e, 0x81, 0xaf); /* sub qword [c->budget], count */
	emit32(e, FIELD(budget));
	emit32(e, t->block->count);
	EMIT(e, 0x41, 0x80, 0xbf); /* cmp byte [c->attention], 0 */
	emit32(e, FIELD(attention));
	emit8(e, 0);
	if (known)
		emit_jump(e, JUMP_NZ, t->translator->leave);
	else
		soft_aside(t, JUMP_NZ, ASIDE_LEAVE)->rip = rip;
}

void soft_emit_goto(struct translation *t, uint64_t rip)
{
	struct emitter *e = t->e;
	struct aside *aside;
	uint32_t place;

	emit_count(t, false, rip);
	EMIT(e, 0x41, 0x81, 0xbf); /* cmp dword [c->generation], ... */
	emit32(e, FIELD(generation));
	place = e->at;
	emit32(e, 0); /* no generation yet */
	aside = soft_aside(t, JUMP_NZ, ASIDE_LINK);
	aside->rip = rip;
	aside->place = place;
	emit_set_target(e, emit_jump_later(e, JUMP_ALWAYS), e->at);
}

static uint64_t relative_target(const struct soft_insn *i)
{
	return i->rip + i->length + i->immediate;
}

/* TEMP: the target.  c->rip is the target then, and ADDRESS its code. */
static void emit_look_up(struct translation *t, const struct soft_insn *i)
{
	struct emitter *e = t->e;

	_Static_assert(sizeof(struct soft_jump) == 32, "the index is RIP times 32");
	emit_store(e, H_TEMP, FIELD(rip));
	emit_rr(e, 0, 0x89, H_TEMP, H_ADDRESS);
	EMIT(e, 0x41, 0x81, 0xe6); /* and r14d */
	emit32(e, SOFT_JUMPS - 1);
	EMIT(e, 0x41, 0xc1, 0xe6, 5); /* shl r14d, 5 */
	emit_indexed(e, 0x3b, H_TEMP, H_ADDRESS, FIELD(jumps) + offsetof(struct soft_jump, rip));
	soft_aside(t, JUMP_NZ, ASIDE_SLOW)->insn = i;
	emit_indexed(
		e, 0x8b, H_TEMP, H_ADDRESS, FIELD(jumps) + offsetof(struct soft_jump, generation));
	emit_cpu(e, 0, 0x3b, H_TEMP, FIELD(generation));
	soft_aside(t, JUMP_NZ, ASIDE_SLOW)->insn = i;
	emit_indexed(
		e, 0x8b, H_ADDRESS, H_ADDRESS, FIELD(jumps) + offsetof(struct soft_jump, code));
}

/* [RSP - 8] may be written: its host address in ADDRESS. */
static void emit_check_push(struct translation *t, const struct soft_insn *i)
{
	emit_lea(t->e, 1, H_ADDRESS, H_R12, H_NONE, 0, -8);
	soft_emit_check(t, i, 8, true);
}

static void emit_store_at_address(struct translation *t, int reg)
{
	emit_rex(t->e, 1, reg, 0, H_ADDRESS);
	EMIT(t->e, 0x89, (reg & 7) << 3 | (H_ADDRESS & 7));
}

static void emit_load_at_address(struct translation *t, int reg)
{
	emit_rex(t->e, 1, reg, 0, H_ADDRESS);
	EMIT(t->e, 0x8b, (reg & 7) << 3 | (H_ADDRESS & 7));
}

static void emit_push_constant(struct translation *t, uint64_t value)
{
	emit_constant(t->e, H_TEMP, value);
	emit_store_at_address(t, H_TEMP);
	emit_lea(t->e, 1, H_R12, H_R12, H_NONE, 0, -8);
}

static void emit_push(struct translation *t, const struct soft_insn *i)
{
	emit_check_push(t, i);
	if (i->op[0].kind == O_IMM) {
		emit_push_constant(t, i->immediate);
		return;
	}
	emit_store_at_address(t, soft_in_host(t, i->op[0].reg, H_TEMP));
	emit_lea(t->e, 1, H_R12, H_R12, H_NONE, 0, -8);
}

static void emit_check_pop(struct translation *t, const struct soft_insn *i)
{
	emit_move(t->e, H_ADDRESS, H_R12);
	soft_emit_check(t, i, 8, false);
}

static void emit_pop(struct translation *t, const struct soft_insn *i)
{
	unsigned reg = i->op[0].reg;
	int host = soft_host_register[reg] == H_NONE ? H_TEMP : soft_host_register[reg];

	emit_check_pop(t, i);
	emit_load_at_address(t, host);
	emit_lea(t->e, 1, H_R12, H_R12, H_NONE, 0, 8);
	if (host == H_TEMP)
		emit_store(t->e, host, field_of_register(reg));
}

/* The target of an indirect jump or call into TEMP. */
static void emit_target(struct translation *t, const struct soft_insn *i)
{
	if (i->op[0].kind == O_REG) {
		emit_move(t->e, H_TEMP, soft_in_host(t, i->op[0].reg, H_TEMP));
		return;
	}
	soft_emit_address(t, i);
	soft_emit_check(t, i, 8, false);
	emit_load_at_address(t, H_TEMP);
}

static void emit_jump_insn(struct translation *t, const struct soft_insn *i)
{
	if (i->op[0].kind == O_IMM) {
		soft_emit_goto(t, relative_target(i));
		return;
	}
	emit_target(t, i);
	emit_look_up(t, i);
	emit_count(t, true, 0);
	EMIT(t->e, 0x41, 0xff, 0xe6); /* jmp r14 */
}

static void emit_call_insn(struct translation *t, const struct soft_insn *i)
{
	uint64_t back = i->rip + i->length;

	if (i->op[0].kind == O_IMM) {
		emit_check_push(t, i);
		emit_push_constant(t, back);
		soft_emit_goto(t, relative_target(i));
		return;
	}
	emit_target(t, i);
	emit_look_up(t, i);
	emit_store(t->e, H_ADDRESS, FIELD(jump_target));
	emit_check_push(t, i);
	emit_push_constant(t, back);
	emit_count(t, true, 0);
	EMIT(t->e, 0x41, 0xff, 0xa7); /* jmp [c->jump_target] */
	emit32(t->e, FIELD(jump_target));
}

static void emit_return_insn(struct translation *t, const struct soft_insn *i)
{
	emit_check_pop(t, i);
	emit_load_at_address(t, H_TEMP);
	emit_look_up(t, i);
	emit_lea(t->e, 1, H_R12, H_R12, H_NONE, 0, 8);
	emit_count(t, true, 0);
	EMIT(t->e, 0x41, 0xff, 0xe6);
}

static void emit_conditional(struct translation *t, const struct soft_insn *i)
{
	uint32_t taken;

	soft_need_flags(t);
	soft_keep_flags(t);
	taken = emit_jump_later(t->e, i->condition);
	soft_emit_goto(t, i->rip + i->length);
	emit_set_target(t->e, taken, t->e->at);
	soft_emit_goto(t, relative_target(i));
}

void soft_translate_flow(struct translation *t, const struct soft_insn *i)
{
	if (i->mnemonic != ZYDIS_MNEMONIC_PUSH && i->mnemonic != ZYDIS_MNEMONIC_POP &&
		i->mnemonic != ZYDIS_MNEMONIC_CALL && i->mnemonic != ZYDIS_MNEMONIC_RET &&
		i->mnemonic != ZYDIS_MNEMONIC_JMP) {
		emit_conditional(t, i);
		return;
	}
	soft_keep_flags(t);
	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_PUSH: emit_push(t, i); break;
	case ZYDIS_MNEMONIC_POP: emit_pop(t, i); break;
	case ZYDIS_MNEMONIC_CALL: emit_call_insn(t, i); break;
	case ZYDIS_MNEMONIC_RET: emit_return_insn(t, i); break;
	default: emit_jump_insn(t, i); break;
	}
}

static bool is_canonical(uint64_t address)
{
	return (int64_t)(address << 16) >> 16 == (int64_t)address;
}

/* Where direct jumps would fault, the interpreter finds out. */
bool soft_target_is_right(const struct soft_insn *i)
{
	return i->op[0].kind != O_IMM || i->mnemonic == ZYDIS_MNEMONIC_PUSH ||
	       is_canonical(relative_target(i));
}
