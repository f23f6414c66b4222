/* SPDX-License-Identifier: MIT */
/*
 * The 32-bit stage: code of a kernel that runs outside of long mode. The 64-bit kernel copies the
 * stage to STAGE_BASE before each TEST, leaves long mode, calls the function of the TEST's name and
 * comes back (runtime/stage32.h). A function begins in 32-bit protected mode, CPL 0, no paging,
 * interrupts off, flat segments, IDT and TSS of the stage:
 *
 *	STAGE(name)
 *	{
 *		EXPECT_TRAP(13, ...);
 *		EXPECT_EQ(trap.error, 0);
 *	}
 *
 * What it changes need not be put back, but for what the way out needs: CPL 0 and identity paging.
 */
#ifndef ASSAY_STAGE32_STAGE32_H
#define ASSAY_STAGE32_STAGE32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/registers.h"

#define STAGE_BASE     0x50000u
#define STAGE_SEGMENT  0x5000u
#define MAILBOX	       0x5f000u /* 4 KiB that 16-bit code knows as DS:F000 */
#define TABLES	       0x60000u /* 32 KiB for page tables, TSSes, frames */
#define USER_STACK_TOP 0x6d000u
#define TRAP_STACK_TOP 0x6c000u /* of traps from CPL 3 and virtual-8086 mode */
#define STACK_TOP      0x6f000u
#define INT_ENTRY(n)   ((uint32_t)stage_stubs + (n)*16)

enum {
	SEL_CODE32 = 0x08,
	SEL_DATA32 = 0x10,
	SEL_CODE64 = 0x18,
	SEL_CODE16 = 0x20,
	SEL_DATA16 = 0x28,
	SEL_UCODE = 0x33,
	SEL_UDATA = 0x3b,
	SEL_TSS = 0x40,
	SEL_DF_TSS = 0x48,
	SEL_FREE = 0x50, /* from here on the GDT is the TEST's */
	GDT_ENTRIES = 64,
	IDT_ENTRIES = 64,
};

/* Descriptor types (SDM volume 3, 3.4.5 and 3.5), with P and DPL in rights(). */
enum {
	D_DATA = 0x12,
	D_DATA_RO = 0x10,
	D_DATA_DOWN = 0x16,
	D_CODE = 0x1a,
	D_CODE_XO = 0x18,
	D_CODE_CONFORMING = 0x1e,
	D_TSS16 = 0x01,
	D_LDT = 0x02,
	D_CALL16 = 0x04,
	D_TASK_GATE = 0x05,
	D_INT16 = 0x06,
	D_TRAP16 = 0x07,
	D_TSS32 = 0x09,
	D_TSS32_BUSY = 0x0b,
	D_CALL32 = 0x0c,
	D_INT32 = 0x0e,
	D_TRAP32 = 0x0f,
	D_PRESENT = 0x80,
	D_DPL3 = 0x60,
};
#define D_DPL(n) ((n) << 5)
/* flags of descriptor() */
#define D_16   0u
#define D_32   4u
#define D_PAGE 8u

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned rights, unsigned flags);
uint64_t gate(uint16_t selector, uint32_t offset, unsigned rights, unsigned parameters);

struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp,
		ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, map;
};
_Static_assert(sizeof(struct tss32) == 104, "SDM volume 3, figure 7-2");

extern uint64_t stage_gdt[GDT_ENTRIES], stage_idt[IDT_ENTRIES];
extern struct tss32 stage_tss, stage_df_tss;
extern uint8_t stage_stubs[];

/* Points SEL_FREE + 8 * n at a descriptor and returns the selector. */
uint16_t gdt_put(unsigned n, uint64_t raw);

/* --- traps --- */
struct trap {
	uint32_t gs, fs, es, ds, edi, esi, ebp, unused_esp, ebx, edx, ecx, eax, vector, error, eip,
		cs, eflags, esp, ss, v86_es, v86_ds, v86_fs, v86_gs;
};
extern struct trap trap;    /* the latest */
extern uint32_t trap_frame; /* where its frame (from error on) was */
extern uint32_t trap_cr2;
typedef bool trap_hook_fn(struct trap *frame); /* true: go on by IRET */
extern trap_hook_fn *trap_hook;

struct context {
	uint32_t eip, esp, ebx, esi, edi, ebp;
};
extern struct context trap_context;
extern bool trap_catching, trap_caught;
int stage_save(struct context *context) __attribute__((returns_twice));
void stage_resume(struct context *context) __attribute__((noreturn));

#define TRAPS(statement)                              \
	({                                            \
		trap_caught = false;                  \
		trap_catching = true;                 \
		if (stage_save(&trap_context) == 0) { \
			statement;                    \
		}                                     \
		trap_catching = false;                \
		trap_caught;                          \
	})
#define EXPECT_TRAP(number, statement)                                                     \
	({                                                                                 \
		bool trapped_ = TRAPS(statement);                                          \
		stage_expect(trapped_ &&trap.vector == (number), #statement " traps with", \
			(number), trapped_ ? trap.vector : ~0u, __FILE__, __LINE__);       \
	})
/* The trap and its error code. */
#define EXPECT_TRAP_ERROR(number, code, statement)               \
	do {                                                     \
		if (EXPECT_TRAP(number, statement))              \
			EXPECT_EQ(trap.error, (uint32_t)(code)); \
	} while (0)

/* --- verdicts --- */
bool stage_expect(
	bool holds, const char *what, uint32_t expected, uint32_t got, const char *file, int line);
#define EXPECT_EQ(got_expression, expected_value)                                                 \
	({                                                                                        \
		uint32_t got_ = (uint32_t)(got_expression);                                       \
		uint32_t expected_ = (uint32_t)(expected_value);                                  \
		stage_expect(                                                                     \
			got_ == expected_, #got_expression, expected_, got_, __FILE__, __LINE__); \
	})
#define EXPECT_TRUE(condition) stage_expect(!!(condition), #condition, 1, 0, __FILE__, __LINE__)
void stage_skip(const char *why) __attribute__((noreturn));
void stage_leave(void) __attribute__((noreturn));

struct stage_test {
	const char *name;
	void (*run)(void);
};
#define STAGE(test)                                                                     \
	static void stage_##test(void);                                                 \
	static const struct stage_test stage_record_##test                              \
		__attribute__((used, section(".stage.tests"))) = {#test, stage_##test}; \
	static void stage_##test(void)

/* --- other modes (start.asm says what they do) --- */
struct v86 {
	uint32_t eax, ebx, ecx, edx, esi, ip, cs, eflags, sp, ss, es, ds, fs, gs;
};
void stage_user(void (*eip)(void), uint32_t esp, uint32_t eflags);
void stage_v86(const struct v86 *state);
void stage_real(const void *code, uint32_t ivt);
void stage_code16(const void *code);

/* fn at CPL 3 on the user stack until it traps; UD2 is the ordinary end. */
#define USER(fn) TRAPS(stage_user(fn, USER_STACK_TOP, 2))

/* --- instructions --- */
static inline void cpuid(uint32_t leaf, uint32_t out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(0));
}

static inline uint32_t cpuid_edx(uint32_t leaf)
{
	uint32_t out[4];

	cpuid(leaf, out);
	return out[3];
}

#define LOAD_SEGMENT(reg, selector) \
	__asm__ volatile("mov %w0, %%" #reg : : "r"((uint32_t)(selector)) : "memory")
#define READ_SEGMENT(reg)                                          \
	({                                                         \
		uint32_t v_;                                       \
		__asm__ volatile("mov %%" #reg ", %0" : "=r"(v_)); \
		v_ & 0xffff;                                       \
	})

static inline uint32_t *mailbox(void)
{
	uint32_t *at;

	/* So that the compiler does not take it for an object of its own. */
	__asm__("mov %1, %0" : "=r"(at) : "i"(MAILBOX));
	return at;
}

void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);

#endif
