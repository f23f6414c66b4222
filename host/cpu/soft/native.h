/* SPDX-License-Identifier: MIT */
/*
 * Private to native.c, sse.c and the x87 files: an MMX or SSE instruction as a stub of the host's.
 *
 * The stub executes the instruction's own operation with its operands moved to fixed registers, so
 * there is one stub a distinct encoding, however many guests use it with whatever registers.  It
 * takes pointers to the operand of ModRM.reg and to that of ModRM.rm (a register's place in the
 * guest's state, or a copy of what was read from memory) and a frame for the rest.
 */
#ifndef CPU_SOFT_NATIVE_H
#define CPU_SOFT_NATIVE_H

#include "cpu/soft/soft.h"

/* What the hidden operands are; offsets are known to native.c's code. */
struct native_frame {
	uint32_t mxcsr;	     /* in: exceptions masked, flags clear; out: with the flags raised */
	uint32_t host_mxcsr; /* what C code runs with */
	_Alignas(16) uint64_t flags;
	uint64_t rax, rdx, rcx; /* PCMPxSTRx */
	uint8_t xmm0[16];
};

enum native_class { N_NONE, N_XMM, N_MMX, N_GPR, N_MEM };

struct native_stub {
	void (*code)(void *reg, void *rm, struct native_frame *frame);
	uint8_t reg, rm;		 /* enum native_class */
	uint8_t reg_operand, rm_operand; /* index into soft_insn.op */
	bool reg_written, rm_written, rm_read;
	bool aligned; /* the memory operand must be (SDM 3A, table 23-4 on) */
	bool numeric; /* by MXCSR; may raise #XM */
	bool flags;   /* the arithmetic flags are a result */
	bool xmm0_read, xmm0_written, lengths, index; /* lengths: RAX, RDX; index: ECX */
	bool mmx;				      /* enters MMX state */
	bool no_sse;				      /* CR4.OSFXSR does not matter */
	uint8_t element, elements; /* of a result that can be tiny: its size and count */
};

/* By privilege of the control registers: #UD, #NM, #MF. */
void sse_check(struct soft_cpu *c);
void mmx_check(struct soft_cpu *c);
void mmx_enter(struct soft_cpu *c);
void x87_check_pending(struct soft_cpu *c); /* #MF, or FERR# */

/* The handler for a stub of this kind, the quickest that will do. */
soft_handler *sse_runner(const struct native_stub *stub, const struct soft_insn *i);
/* Instructions that are not the host's own to execute; NULL: no such. */
soft_handler *sse_special(uint16_t mnemonic, const struct soft_insn *i);
soft_handler *fxsave_special(uint16_t mnemonic, const struct soft_insn *i);
/* An x87 instruction: opcode and, in `immediate`, ModRM are there. */
void x87_decode(struct soft_insn *i);

#endif
