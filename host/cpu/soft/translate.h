/* SPDX-License-Identifier: MIT */
/*
 * Blocks of 64-bit code that are executed often become host code (translate.c has the whole
 * picture).  Private to translate.c (the frame of blocks), translate-insn.c and
 * translate-flow.c (instructions), translate-flags.c.
 */
#ifndef CPU_SOFT_TRANSLATE_H
#define CPU_SOFT_TRANSLATE_H

#include "cpu/soft/emit.h"
#include "cpu/soft/soft.h"

struct soft_translator {
	struct emitter code;
	uint32_t enter, leave, left, slow, link; /* common pieces, see make_common() */
	uint32_t start;				 /* where blocks begin */
};

/* A place out of the straight run of a block, made behind it. */
struct aside {
	enum { ASIDE_SLOW, ASIDE_LEAVE, ASIDE_LINK } kind;
	uint32_t jump;		      /* the jump that goes there */
	const struct soft_insn *insn; /* ASIDE_SLOW: to be interpreted */
	uint32_t back;		      /* ... and where to go on; 0: it ends the block */
	bool reload;		      /* ... with the flags in the host's register */
	uint64_t rip;		      /* the others: the target */
	uint32_t place;		      /* ASIDE_LINK: of the generation that is compared */
};

#define ASIDES_MAX 512

/* A block in the making.  The guest's arithmetic flags are in the host's flags, in c->host_flags
 * or in both. */
struct translation {
	struct soft_cpu *c;
	struct soft_translator *translator;
	struct emitter *e;
	const struct soft_block *block;
	bool flags_in_host, flags_in_memory;
	unsigned asides;
	struct aside aside[ASIDES_MAX];
};

/* What an instruction does with the arithmetic flags; FLAGS_SLOW: it is not translated. */
enum flags_use {
	FLAGS_SLOW,
	FLAGS_NONE,
	FLAGS_TESTS,	/* SETcc, CMOVcc */
	FLAGS_SETS,	/* all six, all defined */
	FLAGS_CARRIES,	/* ADC, SBB: tests CF, sets all */
	FLAGS_KEEPS_CF, /* INC, DEC */
	FLAGS_SHIFT,	/* sets all; AF and OF are ours to define */
	FLAGS_ROTATE,	/* sets CF and OF; OF is ours to define */
	FLAGS_PRODUCT,	/* sets all; SF, ZF, AF, PF are ours to define */
	FLAGS_FLOW,	/* stack and transfers: all are kept; Jcc tests */
};

enum flags_use soft_flags_use(const struct soft_insn *i);

/* Host register of a guest's, or H_NONE: it stays in c->gpr. */
extern const int16_t soft_host_register[16];

/* Emits `i`, which is no FLAGS_SLOW and no FLAGS_FLOW. */
void soft_translate_insn(struct translation *t, const struct soft_insn *i);

/* Emits `i`, a FLAGS_FLOW whose target, where it is a constant, is right: a wrong one faults, which
 * is for the interpreter. */
bool soft_target_is_right(const struct soft_insn *i);
void soft_translate_flow(struct translation *t, const struct soft_insn *i);
/* The end of the block: on to the one at `rip`. */
/* A block begins only if the turn has room for all of it: turns end at an instruction exactly. */
void soft_emit_entry(struct translation *t, uint64_t rip);
void soft_emit_goto(struct translation *t, uint64_t rip);

/* --- translate-flags.c --- */
/* Will all flags be set again before an instruction that may fault, tests them or ends the block?
 */
bool soft_flags_are_dead(const struct translation *t, const struct soft_insn *i);
/* Right behind a FLAGS_SHIFT, _ROTATE or _PRODUCT: gives undefined flags our value. */
void soft_define_flags(struct translation *t, const struct soft_insn *i, enum flags_use use);

/* --- shared pieces --- */
bool soft_touches_memory(const struct soft_insn *i);
bool soft_has_high_byte(const struct soft_insn *i); /* then its registers are all the host's own */
unsigned soft_shift_count(const struct soft_insn *i); /* of FLAGS_SHIFT, _ROTATE */
static inline uint32_t field_of_register(unsigned reg)
{
	return offsetof(struct soft_cpu, gpr) + 8 * reg;
}

/* The guest's register in a host register: its own, or `spare`, loaded. */
int soft_in_host(struct translation *t, unsigned reg, int spare);
/* Before the host's flags are changed: they are kept in memory.  Uses H_TEMP, as the next. */
void soft_keep_flags(struct translation *t);
void soft_need_flags(struct translation *t); /* in the host's */
/* The linear address into H_ADDRESS; then, if RAM may be accessed so, its host address there. Uses
 * H_TEMP, changes the host's flags. */
void soft_emit_address(struct translation *t, const struct soft_insn *i);
void soft_emit_check(struct translation *t, const struct soft_insn *i, unsigned size, bool write);
/* A jump to where `i` is interpreted. */
struct aside *soft_aside(struct translation *t, int condition, int kind);

#endif
