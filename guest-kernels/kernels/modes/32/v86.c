/* SPDX-License-Identifier: MIT */
/* Kernel modes: virtual-8086 mode (SDM volume 3, chapter 20). */
#include "stage32/stage32.h"

#define CODE(name) extern const uint8_t name[];
CODE(v86_state)
CODE(v86_pushf)
CODE(v86_popf)
CODE(v86_cli)
CODE(v86_sti)
CODE(v86_int)
CODE(v86_int3)
CODE(v86_iret)
CODE(v86_hlt)
CODE(v86_mov_cr)
CODE(v86_lgdt)
CODE(v86_clts)
CODE(v86_in60)
CODE(v86_in61)
CODE(v86_limit)
CODE(v86_lldt)
CODE(v86_ltr)
CODE(v86_lar)
CODE(v86_arpl)
CODE(v86_far)

#define VM	  0x20000u
#define VIF	  0x80000u
#define VIP	  0x100000u
#define IOPL3	  0x3000u
#define OFFSET(x) ((uint32_t)(x)-STAGE_BASE)
#define BOX16(at) (mailbox()[(at) / 4] & 0xffff)

/* Runs until a trap; its vector. */
static uint32_t run(const uint8_t *code, uint32_t flags)
{
	struct v86 state = {.ip = OFFSET(code),
		.cs = STAGE_SEGMENT,
		.eflags = VM | flags | 2,
		.sp = 0xeff0,
		.ss = STAGE_SEGMENT,
		.ds = STAGE_SEGMENT,
		.es = 0x1111,
		.fs = 0x2222,
		.gs = 0x3333};

	if (!TRAPS(stage_v86(&state)))
		return ~0u;
	return trap.vector;
}

#define EXPECT_V86(vector_, error_, code, flags)      \
	do {                                          \
		EXPECT_EQ(run(code, flags), vector_); \
		EXPECT_EQ(trap.error, error_);        \
		EXPECT_EQ(trap.eflags &VM, VM);       \
	} while (0)

STAGE(v86_enters_and_leaves)
{
	memset(mailbox(), 0, 0x100);
	EXPECT_V86(6, 0, v86_state, 0);
	EXPECT_EQ(BOX16(0), STAGE_SEGMENT);
	EXPECT_EQ(BOX16(4), STAGE_SEGMENT);
	EXPECT_EQ(BOX16(8), 0xeff0);
	EXPECT_EQ(BOX16(12) & 1, 1);
	EXPECT_EQ(*(volatile uint16_t *)0x60154, 0xfeed);
	/* Nine words on the inner stack, the segment registers null. */
	EXPECT_EQ(trap_frame, TRAP_STACK_TOP - 40);
	EXPECT_EQ(trap.cs & 0xffff, STAGE_SEGMENT);
	EXPECT_EQ(trap.ss & 0xffff, STAGE_SEGMENT);
	EXPECT_EQ(trap.esp, 0xeff0);
	EXPECT_EQ(trap.v86_ds & 0xffff, STAGE_SEGMENT);
	EXPECT_EQ(trap.v86_es & 0xffff, 0x1111);
	EXPECT_EQ(trap.v86_fs & 0xffff, 0x6012);
	EXPECT_EQ(trap.v86_gs & 0xffff, 0x3333);
	EXPECT_EQ(trap.ds & 0xffff, 0);
	EXPECT_EQ(trap.es & 0xffff, 0);
	EXPECT_EQ(trap.gs & 0xffff, 0);
}

STAGE(v86_iopl_0)
{
	static const uint8_t *const code[] = {v86_pushf, v86_cli, v86_sti, v86_int};

	for (unsigned i = 0; i < 4; i++) {
		EXPECT_V86(13, 0, code[i], 0);
		EXPECT_EQ(trap.eip, OFFSET(code[i]));
	}
	EXPECT_V86(13, 0, v86_popf, 0);
	EXPECT_V86(13, 0, v86_iret, 0);
}

STAGE(v86_iopl_3)
{
	EXPECT_V86(6, 0, v86_pushf, IOPL3);
	EXPECT_EQ(trap.eax & 0x3002, 0x3002);
	EXPECT_EQ(trap.ebx & (VM | 0x10000), 0); /* PUSHFD shows neither VM nor RF */
	EXPECT_V86(6, 0, v86_popf, IOPL3 | 0x200);
	EXPECT_EQ(trap.eax & 0x3200, 0x3000); /* IF goes, IOPL stays */
	EXPECT_V86(6, 0, v86_cli, IOPL3 | 0x200);
	EXPECT_EQ(trap.eax & 0x200, 0);
	EXPECT_EQ(trap.ebx & 0x200, 0x200);
	EXPECT_V86(6, 0, v86_iret, IOPL3);
	EXPECT_EQ(trap.ebx & 0xffff, 0x600d);
	EXPECT_EQ(trap.eflags & IOPL3, IOPL3);
}

STAGE(v86_interrupts)
{
	stage_idt[0x21] = gate(SEL_CODE32, INT_ENTRY(0x21), D_PRESENT | D_INT32 | D_DPL3, 0);
	EXPECT_V86(0x21, 0, v86_int, IOPL3);
	EXPECT_EQ(trap.eip, OFFSET(v86_int) + 2);
	stage_idt[0x21] = gate(SEL_CODE32, INT_ENTRY(0x21), D_PRESENT | D_INT32, 0);
	EXPECT_V86(13, 0x21 * 8 + 2, v86_int, IOPL3);
	/* The handler must be at CPL 0. */
	stage_idt[0x21] = gate(SEL_UCODE & ~3, INT_ENTRY(0x21), D_PRESENT | D_INT32 | D_DPL3, 0);
	EXPECT_V86(13, SEL_UCODE & ~3, v86_int, IOPL3);
	/* INT3 does not look at IOPL, but at its gate. */
	EXPECT_V86(13, 3 * 8 + 2, v86_int3, 0);
	stage_idt[3] = gate(SEL_CODE32, INT_ENTRY(3), D_PRESENT | D_INT32 | D_DPL3, 0);
	EXPECT_V86(3, 0, v86_int3, 0);
}

STAGE(v86_is_level_3)
{
	EXPECT_V86(13, 0, v86_hlt, IOPL3);
	EXPECT_V86(13, 0, v86_mov_cr, IOPL3);
	EXPECT_V86(13, 0, v86_lgdt, IOPL3);
	EXPECT_V86(13, 0, v86_clts, IOPL3);
}

STAGE(v86_has_no_descriptors)
{
	EXPECT_V86(6, 0, v86_lldt, IOPL3);
	EXPECT_V86(6, 0, v86_ltr, IOPL3);
	EXPECT_V86(6, 0, v86_lar, IOPL3);
	EXPECT_V86(6, 0, v86_arpl, IOPL3);
	EXPECT_EQ(trap.eip, OFFSET(v86_arpl));
}

STAGE(v86_limits)
{
	EXPECT_V86(13, 0, v86_limit, IOPL3);
	*(volatile uint16_t *)0x5f100 = 0x0b0f; /* UD2 */
	EXPECT_V86(6, 0, v86_far, IOPL3);
	EXPECT_EQ(trap.cs & 0xffff, 0x5f10);
	EXPECT_EQ(trap.eip, 0);
}

static struct {
	struct tss32 tss;
	uint8_t redirection[32];
	uint8_t map[16];
} long_tss __attribute__((aligned(128)));

static void load_long_tss(void)
{
	long_tss.tss = stage_tss;
	long_tss.tss.map = sizeof(struct tss32) + sizeof(long_tss.redirection);
	memset(long_tss.map, 0xff, sizeof(long_tss.map));
	long_tss.map[0x60 / 8] = 0xfd; /* 0x61 */
	gdt_put(0, descriptor((uint32_t)&long_tss, sizeof(long_tss) - 1, D_PRESENT | D_TSS32, 0));
	__asm__ volatile("ltr %w0" : : "r"(SEL_FREE));
}

STAGE(v86_ports)
{
	EXPECT_V86(13, 0, v86_in61, IOPL3); /* IOPL does not help: there is no bitmap */
	load_long_tss();
	EXPECT_V86(6, 0, v86_in61, 0);
	EXPECT_V86(13, 0, v86_in60, IOPL3);
}

STAGE(v86_extensions)
{
	if (!(cpuid_edx(1) >> 1 & 1)) {
		EXPECT_TRAP_ERROR(13, 0, write_cr4(read_cr4() | 1));
		stage_skip("the processor has no VME; CR4.VME is #GP(0)");
	}
	write_cr4(read_cr4() | 1);
	load_long_tss();
	/* With IOPL 0, IF is VIF: shown by PUSHF with IOPL 3 in the image. */
	EXPECT_V86(6, 0, v86_cli, VIF);
	EXPECT_EQ(trap.eax & (0x200 | IOPL3), IOPL3);
	EXPECT_EQ(trap.ebx & (0x200 | IOPL3), IOPL3 | 0x200);
	EXPECT_EQ(trap.eflags & VIF, VIF);
	EXPECT_V86(13, 0, v86_sti, VIP);
	write_cr4(read_cr4() & ~1u);
}
