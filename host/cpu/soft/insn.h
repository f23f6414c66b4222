/* SPDX-License-Identifier: MIT */
/*
 * Decoded instructions and the blocks they stand in: who makes them (decode.c by zydis.c), who
 * executes them (handlers by mnemonic, native.c's stubs, translate.c's host code), who forgets
 * them.
 */
#ifndef CPU_SOFT_INSN_H
#define CPU_SOFT_INSN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct soft_cpu;
struct soft_engine;
struct soft_insn;
typedef void soft_handler(struct soft_cpu *c, const struct soft_insn *i);

enum operand_kind {
	O_NONE,
	O_REG,
	O_HIGH /* AH CH DH BH */,
	O_MEM,
	O_IMM,
	O_SEG,
	O_CR,
	O_DR,
	O_XMM,
	O_MMX,
	O_ST,
	O_BND,
	O_OTHER,
};

struct soft_operand {
	uint8_t kind, reg, size; /* size: bytes */
};

enum { REP_NONE, REP_E, REP_NE };
#define NO_REG	0xff
#define RIP_REG 0xfe

struct soft_insn {
	soft_handler *run;
	struct soft_operand op[4];
	uint8_t length;
	uint8_t size;	 /* operand size: 1, 2, 4, 8 */
	uint8_t address; /* address size: 2, 4, 8 */
	uint8_t stack;	 /* stack operand size of push, pop, call, ret: 2, 4, 8 */
	uint8_t segment, base, index, scale; /* of the memory operand; NO_REG: none */
	uint8_t rep;
	bool lock, far, ends_block; /* far: the transfer carries or reads a selector */
	uint8_t opcode;
	uint8_t condition; /* Jcc, SETcc, CMOVcc */
	uint8_t number;	   /* within its block */
	uint16_t mnemonic;
	int64_t displacement;
	uint64_t immediate, immediate2;
	uint8_t bytes[15];
	void *native; /* cached stub of native.c */
	uint64_t rip; /* once translated */
};

struct soft_block {
	const uint8_t *host; /* of the first byte; NULL: free */
	uint32_t mode;
	uint32_t count, bytes;
	struct soft_insn *insns;
	struct soft_block *next_in_page;
	const void *code; /* translated for `code_rip`, or NULL */
	uint64_t code_rip;
	uint32_t runs; /* before it was translated */
};

/* --- zydis.c --- */
int soft_zydis_load(struct error *err); /* once a process; again is no harm */

/* --- decode.c --- */
/* The block at RIP, decoded or from the cache.  Faults as the fetch does. */
struct soft_block *soft_block_at(struct soft_cpu *c);
int soft_decode_init(struct soft_engine *engine, struct error *err);
/* Features are known: without BMI1 and LZCNT, TZCNT and LZCNT are BSF and BSR. */
void soft_decode_features(struct soft_engine *engine);
void soft_decode_destroy(struct soft_engine *engine);
void soft_blocks_flush(struct soft_engine *engine);
/* Who wrote to code: the seam "code-written" of fault injection tells them apart. */
enum { CODE_BY_STORE, CODE_BY_WALK, CODE_BY_DEVICE };
/* A write to physical memory: forgets what was decoded there. */
void soft_code_written(struct soft_engine *engine, uint64_t physical, uint64_t length);
bool soft_is_code(const struct soft_engine *engine, uint64_t physical);

/* --- translate.c --- */
/* Executes the block as host code, and those behind it until the interpreter is needed.  False: it
 * is not translated (yet), nothing happened. */
bool soft_execute_translated(struct soft_cpu *c, struct soft_block *b);
void soft_translate_flush(struct soft_engine *engine); /* with all blocks */
void soft_translate_destroy(struct soft_engine *engine);

/* --- handlers, by mnemonic --- */
struct soft_handlers {
	uint16_t mnemonic;
	soft_handler *
		by_size[4]; /* operand of 1, 2, 4, 8 bytes; all the same where it does not matter */
	bool ends_block;
};
extern const struct soft_handlers soft_alu_handlers[], soft_move_handlers[], soft_string_handlers[],
	soft_branch_handlers[], soft_system_handlers[], soft_bit_handlers[], soft_port_handlers[],
	soft_control_handlers[], soft_descriptor_handlers[],
	soft_syscall_handlers[];				    /* mnemonic 0 ends */
void soft_undefined(struct soft_cpu *c, const struct soft_insn *i); /* #UD */
extern const struct soft_handlers *const soft_handler_tables[];	    /* all of them; NULL ends */

/* --- native.c, with sse.c and x87.c: x87, MMX, SSE --- */
struct ZydisDecodedInstruction_;
struct ZydisDecodedOperand_;
/* Gives the instruction its handler, if it is one of those and the guest's CPUID has it. */
void soft_native_decode(const struct soft_cpu *c, struct soft_insn *i,
	const struct ZydisDecodedInstruction_ *z, const struct ZydisDecodedOperand_ *operands);
int soft_native_init(struct error *err); /* once a process; again is no harm */

#endif
