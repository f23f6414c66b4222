/* SPDX-License-Identifier: MIT */
/*
 * Blocks of 64-bit code that were executed often (engine->hot) become host code.
 *
 * Registers of the guest are in those of the host (soft_host_register), four stay in c->gpr.  What
 * is not simple is interpreted from within: the piece `slow` brings registers and flags to struct
 * soft_cpu, calls the instruction's handler, and goes on behind it.  An access to memory compares
 * with c->fast, which has the pages whose RAM may be accessed directly; all others are interpreted,
 * from the beginning of their instruction, so no translated instruction faults and all rules of
 * faults, devices and code that changes are those of the interpreter.
 *
 * A block is translated for one RIP and one privilege.  It begins only where c->budget, what is
 * left of the turn, has room for all of it.  Its end counts its instructions down there, looks at
 * c->attention, and jumps to the next block: directly while c->generation is what it was when the
 * jump was set, by the table c->jumps for targets that are computed.  A change of the translation
 * of addresses or of code gives the vCPU a new generation, as do all requests for c->break_block
 * leave the host code.
 *
 * Left out: other modes than 64-bit, instructions that are not frequent.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/soft/translate.h"

#define CODE_SIZE  (32u << 20)
#define BLOCK_ROOM (64u << 10) /* more than a block can need */
#define GO_ON	   ((const void *)1)

#define FIELD(name) offsetof(struct soft_cpu, name)

/* --- flags between c->flags and c->host_flags --- */

static void flags_in(struct soft_cpu *c)
{
	c->host_flags = (c->flags & 0xff) << 8 | (c->flags & F_OF ? 1 : 0);
}

static void flags_out(struct soft_cpu *c)
{
	c->flags = (c->flags & ~F_ARITHMETIC) | (c->host_flags >> 8 & F_ARITHMETIC & 0xff) |
		   (c->host_flags & 1 ? F_OF : 0);
}

/* --- called from host code --- */

static bool may_go_on(const struct soft_cpu *c)
{
	const struct soft_engine *soft = c->engine;

	return !c->break_block && c->budget > 0 && !c->yielded && !c->halted && !c->event.active &&
	       !c->after && !c->debug_hits && c->long_mode &&
	       !atomic_load_explicit(&c->attention, memory_order_relaxed) &&
	       !atomic_load_explicit(&soft->code_stale, memory_order_relaxed) && soft->running &&
	       !machine_request_pending(soft->engine.machine);
}

static const void *code_at(const struct soft_cpu *c, const struct soft_block *b)
{
	return b->code && b->code_rip == c->rip ? b->code : NULL;
}

/* Host code of the block at RIP, or NULL: to the interpreter.  May fault. */
static const void *next_code(struct soft_cpu *c)
{
	return may_go_on(c) ? code_at(c, soft_block_at(c)) : NULL;
}

/* Interprets `i`.  GO_ON behind it, or code to go on with, or NULL: leave. */
static const void *interpret(struct soft_cpu *c, const struct soft_insn *i)
{
	const void *code = NULL;

	flags_out(c);
	c->instructions = c->slice_end - c->budget + i->number;
	c->rip = i->rip;
	c->next_rip = i->rip + i->length;
	i->run(c, i);
	c->rip = c->next_rip;
	c->instructions += !(c->after & AFTER_UNFINISHED);
	if (i->ends_block || c->break_block || c->after || c->debug_hits) {
		c->budget = c->slice_end - c->instructions;
		code = next_code(c);
		if (code)
			c->jumps[c->rip % SOFT_JUMPS] =
				(struct soft_jump){c->rip, code, c->generation};
	} else {
		code = GO_ON;
	}
	flags_in(c);
	return code;
}

/* At RIP: the code of the next block, and the jump at `place` will go there directly. */
static const void *link_block(struct soft_cpu *c, uint64_t place)
{
	struct emitter *e = &c->engine->translator->code;
	uint32_t generation = c->generation;
	const void *code;

	flags_out(c);
	c->instructions = c->slice_end - c->budget;
	code = next_code(c);
	if (code && generation == c->generation) {
		/* cmp dword [...], generation; jne rel32; jmp rel32 */
		memcpy(e->write + place, &generation, 4);
		emit_set_target(e, place + 4 + 6 + 1, (const uint8_t *)code - e->run);
	}
	flags_in(c);
	return code;
}

/* --- the common pieces --- */

static void move_registers(struct emitter *e, bool load)
{
	for (unsigned reg = 0; reg < 16; reg++)
		if (soft_host_register[reg] != H_NONE)
			emit_cpu(e, 1, load ? 0x8b : 0x89, soft_host_register[reg],
				field_of_register(reg));
}

/* Calls C with the registers saved: its result in TEMP and the flags compared with 0. */
static void emit_call_c(struct emitter *e, const void *function, unsigned align)
{
	move_registers(e, false);
	EMIT(e, 0x4c, 0x89, 0xff, 0x4c, 0x89, 0xee); /* mov rdi, r15; mov rsi, r13 */
	if (align)
		EMIT(e, 0x48, 0x83, 0xec, align); /* sub rsp */
	emit_constant(e, H_RAX, (uintptr_t)function);
	EMIT(e, 0xff, 0xd0); /* call rax */
	if (align)
		EMIT(e, 0x48, 0x83, 0xc4, align);
	EMIT(e, 0x49, 0x89, 0xc5, 0x4d, 0x85, 0xed); /* mov r13, rax; test r13, r13 */
}

static void make_common(struct soft_translator *t)
{
	struct emitter *e = &t->code;
	uint32_t out, other;

	/* enter(c, code): rbx, rbp, r12 to r15 are the caller's; rsp is then a multiple of 16 */
	t->enter = e->at;
	EMIT(e, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x48, 0x83, 0xec, 8);
	EMIT(e, 0x49, 0x89, 0xff, 0x49, 0x89, 0xf5); /* mov r15, rdi; mov r13, rsi */
	move_registers(e, true);
	EMIT(e, 0x41, 0xff, 0xe5); /* jmp r13 */

	t->leave = e->at;
	move_registers(e, false);
	t->left = e->at;
	EMIT(e, 0x48, 0x83, 0xc4, 8, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b,
		0xc3);

	/* called with TEMP: the instruction */
	t->slow = e->at;
	emit_call_c(e, interpret, 8);
	out = emit_jump_later(e, JUMP_Z);
	move_registers(e, true);
	EMIT(e, 0x49, 0x83, 0xfd, 1); /* cmp r13, GO_ON */
	other = emit_jump_later(e, JUMP_NZ);
	emit8(e, 0xc3);
	emit_set_target(e, other, e->at);
	EMIT(e, 0x48, 0x83, 0xc4, 8, 0x41, 0xff, 0xe5); /* add rsp, 8; jmp r13 */
	emit_set_target(e, out, e->at);
	EMIT(e, 0x48, 0x83, 0xc4, 8);
	emit_jump(e, JUMP_ALWAYS, t->left);

	/* jumped to with TEMP: the place */
	t->link = e->at;
	emit_call_c(e, link_block, 0);
	emit_jump(e, JUMP_Z, t->left);
	move_registers(e, true);
	EMIT(e, 0x41, 0xff, 0xe5);
	t->start = e->at;
}

/* --- a block --- */

static void emit_asides(struct translation *t)
{
	struct emitter *e = t->e;

	for (unsigned n = 0; n < t->asides; n++) {
		const struct aside *a = &t->aside[n];

		emit_set_target(e, a->jump, e->at);
		if (a->kind == ASIDE_SLOW) {
			emit_constant(e, H_TEMP, (uintptr_t)a->insn);
			emit_call(e, t->translator->slow);
			if (!a->back)
				continue; /* it does not come back */
			t->flags_in_host = false;
			if (a->reload)
				soft_need_flags(t);
			emit_jump(e, JUMP_ALWAYS, a->back);
			continue;
		}
		emit_constant(e, H_TEMP, a->rip);
		emit_store(e, H_TEMP, FIELD(rip));
		if (a->kind == ASIDE_LINK)
			emit_constant(e, H_TEMP, a->place);
		emit_jump(e, JUMP_ALWAYS,
			a->kind == ASIDE_LINK ? t->translator->link : t->translator->leave);
	}
}

static void emit_slow(struct translation *t, const struct soft_insn *i)
{
	soft_keep_flags(t);
	emit_constant(t->e, H_TEMP, (uintptr_t)i);
	emit_call(t->e, t->translator->slow);
	t->flags_in_host = false;
}

static void emit_insn(struct translation *t, const struct soft_insn *i)
{
	enum flags_use use = soft_flags_use(i);
	unsigned first = t->asides;

	if (use == FLAGS_SLOW || (use == FLAGS_FLOW && !soft_target_is_right(i)))
		emit_slow(t, i);
	else if (use == FLAGS_FLOW)
		soft_translate_flow(t, i);
	else
		soft_translate_insn(t, i);
	if (i->ends_block)
		return;
	for (; first < t->asides; first++) {
		t->aside[first].back = t->e->at;
		t->aside[first].reload = t->flags_in_host;
	}
}

static void translate(struct soft_cpu *c, struct soft_block *b)
{
	struct soft_translator *translator = c->engine->translator;
	struct translation t = {.c = c,
		.translator = translator,
		.e = &translator->code,
		.block = b,
		.flags_in_memory = true};
	uint32_t start = t.e->at;
	uint64_t rip = c->rip;

	for (unsigned n = 0; n < b->count; n++) {
		b->insns[n].rip = rip;
		rip += b->insns[n].length;
	}
	soft_emit_entry(&t, c->rip);
	for (unsigned n = 0; n < b->count; n++)
		emit_insn(&t, &b->insns[n]);
	if (!b->insns[b->count - 1].ends_block) {
		soft_keep_flags(&t);
		soft_emit_goto(&t, rip);
	}
	emit_asides(&t);
	b->code_rip = c->rip;
	b->code = t.e->run + start;
}

/* --- the interface --- */

/* The host's AND, OR, XOR and TEST clear AF, on every processor known; else there is no use. */
static bool host_is_fit(void)
{
	uint64_t flags;

	__asm__("sub $1, %0\n\tand $0, %0\n\tpushfq\n\tpop %0" : "=r"(flags) : "0"(0ULL) : "cc");
	return !(flags & F_AF);
}

/* The code's memory; NULL where the host does not allow it: everything is interpreted then. */
static struct soft_translator *create(void)
{
	struct soft_translator *t = calloc(1, sizeof(*t));
	int fd = memfd_create("assay-code", MFD_CLOEXEC);

	if (!t || fd < 0 || ftruncate(fd, CODE_SIZE) < 0 || !host_is_fit())
		goto fail;
	t->code.size = CODE_SIZE;
	t->code.write = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	t->code.run = mmap(NULL, CODE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (t->code.write == MAP_FAILED || t->code.run == MAP_FAILED)
		goto fail;
	close(fd);
	make_common(t);
	return t;
fail:
	if (t && t->code.write && t->code.write != MAP_FAILED)
		munmap(t->code.write, CODE_SIZE);
	if (fd >= 0)
		close(fd);
	free(t);
	return NULL;
}

void soft_translate_destroy(struct soft_engine *engine)
{
	struct soft_translator *t = engine->translator;

	if (!t)
		return;
	munmap(t->code.write, CODE_SIZE);
	munmap((void *)t->code.run, CODE_SIZE);
	free(t);
	engine->translator = NULL;
}

void soft_translate_flush(struct soft_engine *engine)
{
	if (engine->translator)
		engine->translator->code.at = engine->translator->start;
}

static bool prepare(struct soft_engine *engine)
{
	if (engine->translates && !engine->translator) {
		engine->translator = create();
		engine->translates = engine->translator != NULL;
	}
	return engine->translates;
}

bool soft_execute_translated(struct soft_cpu *c, struct soft_block *b)
{
	struct soft_engine *engine = c->engine;
	void (*enter)(struct soft_cpu * c, const void *code);

	if (!c->long_mode || c->flags & F_RF || !b->host)
		return false;
	if (!b->code) {
		if (++b->runs < engine->hot || !prepare(engine))
			return false;
		if (engine->translator->code.at + BLOCK_ROOM > CODE_SIZE) {
			soft_blocks_flush(engine);
			return false;
		}
		translate(c, b);
	}
	if (b->code_rip != c->rip || c->slice_end - c->instructions < b->count)
		return false;
	c->generation = c->generations[c->user];
	c->budget = c->slice_end - c->instructions;
	flags_in(c);
	enter = (void (*)(struct soft_cpu *, const void *))(
		engine->translator->code.run + engine->translator->enter);
	enter(c, b->code);
	flags_out(c);
	c->instructions = c->slice_end - c->budget;
	return true;
}
