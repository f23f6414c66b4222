/* SPDX-License-Identifier: MIT */
/*
 * The processor state that both engines know: what a boot loader sets, what `info registers` and a
 * fault report show.  Neutral: no KVM structure in it.
 */
#ifndef CPU_STATE_H
#define CPU_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct cpu_segment {
	uint16_t selector;
	uint64_t base;
	uint32_t limit; /* bytes, granularity applied */
	uint8_t type;	/* 4 bits, SDM table 3-1 */
	bool code_or_data, present, db, l, granular;
	uint8_t dpl;
	bool unusable;
};

struct cpu_table {
	uint64_t base;
	uint16_t limit;
};

enum cpu_register { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

struct cpu_state {
	uint64_t gpr[16]; /* by enum cpu_register */
	uint64_t rip, rflags;
	struct cpu_segment cs, ds, es, fs, gs, ss, ldt, tr;
	struct cpu_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer;
};

/* After power-on or INIT (SDM 3A, table 9-1): real mode at F000:FFF0. */
void cpu_state_reset(struct cpu_state *state);

/* 32-bit protected mode with flat 4 GiB segments, paging and interrupts off: what multiboot and
 * PVH ask for at `entry`. */
void cpu_state_flat32(struct cpu_state *state, uint32_t entry);

/* From there to long mode, with the page table at cr3; the table has 64-bit code at 0x10 and data
 * at 0x18 (Linux's 64-bit boot protocol). */
void cpu_state_long64(struct cpu_state *state, uint64_t cr3, struct cpu_table gdt);

#endif
