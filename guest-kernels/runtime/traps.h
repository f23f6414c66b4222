/* SPDX-License-Identifier: MIT */
/*
 * Traps: exceptions 0 to 31 (Intel SDM volume 3, chapter 6).
 *
 * A trap nobody expects fails the running TEST with its vector, error code, RIP and CR2, and the
 * run goes on with the next TEST. A TEST that wants one says so:
 *
 *	EXPECT_TRAP(TRAP_UD, __asm__ volatile("ud2"));
 *	EXPECT_EQ(trap_last.error, 0);
 */
#ifndef ASSAY_RUNTIME_TRAPS_H
#define ASSAY_RUNTIME_TRAPS_H

#include <stdbool.h>
#include <stdint.h>

enum {
	TRAP_DE = 0,
	TRAP_DB = 1,
	TRAP_NMI = 2,
	TRAP_BP = 3,
	TRAP_OF = 4,
	TRAP_BR = 5,
	TRAP_UD = 6,
	TRAP_NM = 7,
	TRAP_DF = 8,
	TRAP_TS = 10,
	TRAP_NP = 11,
	TRAP_SS = 12,
	TRAP_GP = 13,
	TRAP_PF = 14,
	TRAP_MF = 16,
	TRAP_AC = 17,
	TRAP_MC = 18,
	TRAP_XM = 19,
};

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct trap {
	uint64_t vector, error, rip, cr2, cs, rflags;
};

/* The latest trap that was expected or caught. */
extern struct trap trap_last;

/* Registers that a function must keep: boot/vectors.asm knows the layout. */
struct context {
	uint64_t rip, rsp, rbx, rbp, r12, r13, r14, r15;
};

int context_save(struct context *context) __attribute__((returns_twice));
void context_resume(struct context *context, int value) __attribute__((noreturn));

/* Used by EXPECT_TRAP: catches traps until trap_catch_end(); not nested. */
extern struct context trap_context;
void trap_catch_begin(void);
/* True if a trap came since begin. */
bool trap_catch_end(void);

#define TRAPS(statement)                                \
	({                                              \
		trap_catch_begin();                     \
		if (context_save(&trap_context) == 0) { \
			statement;                      \
		}                                       \
		trap_catch_end();                       \
	})

/* A function that sees each trap first; true = handled, go on at frame->rip (which it may change).
 */
typedef bool trap_hook_fn(struct trap_frame *frame);
/* NULL takes it away; the runtime does that after each TEST. */
void trap_hook(trap_hook_fn *hook);
/* Asked before it, when more than one processor runs (smp.c). */
extern trap_hook_fn *trap_elsewhere;

/* The runtime's IDT again (boot/vectors.asm). */
void idt_load(void);

#endif
