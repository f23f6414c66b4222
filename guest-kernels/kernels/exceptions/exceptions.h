/* SPDX-License-Identifier: MIT */
/*
 * Kernel exceptions: what its files share.  A TRAPS or EXPECT_TRAP in force ends the statement at
 * its first trap; what the processor saved is in seen[], the whole frame of each.
 */
#ifndef ASSAY_KERNELS_EXCEPTIONS_H
#define ASSAY_KERNELS_EXCEPTIONS_H

#include "runtime/io.h"
#include "runtime/test.h"

#define FLAG_CF 0x1ull
#define FLAG_TF 0x100ull
#define FLAG_IF 0x200ull
#define FLAG_NT 0x4000ull
#define FLAG_RF 0x10000ull
#define FLAG_AC 0x40000ull

#define GATE_INTERRUPT 0x8e
#define GATE_TRAP      0x8f
#define GATE_DPL3      0x60

#define SEL_CODE	0x08
#define SEL_DATA	0x10
#define SEL_USER_DATA	0x1b
#define SEL_USER_CODE	0x23
#define SEL_OWN		0x40 /* the first of own_descriptor() */
#define DESCRIPTOR_CODE 0x00af9b000000ffffull
#define DESCRIPTOR_DATA 0x00cf93000000ffffull

struct seen {
	struct trap_frame frame;
	uint64_t at; /* address of the frame's end on the handler's stack: of the saved SS's end */
	uint64_t cr2, dr6, rflags; /* of the handler: RFLAGS as it found them */
	uint16_t ss;
};
#define SEEN_MAX 16
extern struct seen seen[SEEN_MAX];
extern volatile unsigned seen_count;
/* The address a statement says of its instruction: MARK stands before it and takes RAX. */
extern uint64_t mark;
#define MARK "leaq 771f(%%rip), %%rax; movq %%rax, mark(%%rip); 771: "

/* From now on traps are seen; with `go_on` #DB, #BP and NMI return to what they interrupted. */
void see(bool go_on);
#define SEE(statement)                         \
	({                                     \
		see(false);                    \
		bool seen_ = TRAPS(statement); \
		seen_;                         \
	})

/* The statement must trap so, at its MARK with this error code. */
#define EXPECT_FAULT(vector_, error_, statement)                \
	do {                                                    \
		see(false);                                     \
		if (EXPECT_TRAP(vector_, statement)) {          \
			EXPECT_EQ(seen[0].frame.error, error_); \
			EXPECT_EQ(seen[0].frame.rip, mark);     \
		}                                               \
	} while (0)

struct gate {
	uint16_t low, selector;
	uint8_t ist, type;
	uint16_t middle;
	uint32_t high, zero;
};

/* Copies of the runtime's tables for this TEST, loaded. */
struct gate *own_idt(uint16_t limit);
/* `count` descriptors of the caller's from SEL_OWN on, in a copy of the GDT. */
uint64_t *own_descriptors(void);
extern uint8_t tss[];
/* Where a way back to level 0 stands in the TSS is changed by user_call(): IST n (1 to 7). */
void ist_set(unsigned n, uint64_t stack);

bool is_amd(void);
static inline bool has_feature_7(unsigned bit) /* CPUID.7.EBX */
{
	return cpuid(0, 0).eax >= 7 && cpuid(7, 0).ebx >> bit & 1;
}

#endif
