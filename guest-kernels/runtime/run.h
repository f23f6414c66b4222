/* SPDX-License-Identifier: MIT */
/*
 * Inside the runtime only: start-up in its order.
 */
#ifndef ASSAY_RUNTIME_RUN_H
#define ASSAY_RUNTIME_RUN_H

#include "runtime/boot.h"
#include "runtime/traps.h"

/* From boot/entry.asm and boot/efi.c. */
void boot_main_pvh(uint32_t start) __attribute__((noreturn));
void boot_main_multiboot(uint32_t start) __attribute__((noreturn));
/* boot_info is filled: sets up the rest, runs the TESTs, ends the machine. */
void runtime_main(void) __attribute__((noreturn));
void cmdline_init(void);

/* From boot/vectors.asm: traps with all registers, interrupts with their vector. */
void trap_dispatch(struct trap_frame *frame);
void irq_dispatch(unsigned vector);

/* Where a TEST is left, and whether one runs. */
extern struct context test_context;
extern bool test_running;

#endif
