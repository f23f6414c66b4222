/* SPDX-License-Identifier: MIT */
/* Kernel guest32: transfers between privileges (SDM volume 3, 5.8). */
#include "stage32/stage32.h"

#define BOX(at) (mailbox()[(at) / 4])

extern void gate_target(void), gate_target16(void), gate_target_same(void);

/* What is on the inner stack, into the mailbox; then back, releasing three parameters. */
__asm__(".text\n"
	"gate_target:\n"
	"	mov %esp, 0x5f000\n"
	"	movl $0, 0x5f004; mov %cs, 0x5f004\n"
	"	movl $0, 0x5f008; mov %ss, 0x5f008\n"
	"	mov (%esp), %eax; mov %eax, 0x5f010\n"
	"	mov 4(%esp), %eax; mov %eax, 0x5f014\n"
	"	mov 8(%esp), %eax; mov %eax, 0x5f018\n"
	"	mov 12(%esp), %eax; mov %eax, 0x5f01c\n"
	"	mov 16(%esp), %eax; mov %eax, 0x5f020\n"
	"	mov 20(%esp), %eax; mov %eax, 0x5f024\n"
	"	mov 24(%esp), %eax; mov %eax, 0x5f028\n"
	"	lret $12\n"
	"gate_target16:\n"
	"	mov %esp, 0x5f000\n"
	"	mov (%esp), %eax; mov %eax, 0x5f010\n"
	"	mov 4(%esp), %eax; mov %eax, 0x5f014\n"
	"	mov 8(%esp), %eax; mov %eax, 0x5f018\n"
	"	lretw $4\n"
	"gate_target_same:\n"
	"	mov %esp, 0x5f000\n"
	"	movl $0, 0x5f004; mov %cs, 0x5f004\n"
	"	lret\n");

#define USER_CODE(name, text)                                  \
	static void name(void)                                 \
	{                                                      \
		__asm__ volatile(text "\n\tud2" ::: "memory"); \
		__builtin_unreachable();                       \
	}

/* SEL_FREE is 0x50, SEL_FREE + 8 0x58. */
USER_CODE(user_calls, "pushl $0x33; pushl $0x22; pushl $0x11; lcall $0x53, $0; mov %%esp, %%ebx")
USER_CODE(user_calls16, "pushw $0x22; pushw $0x11; lcall $0x53, $0; mov %%esp, %%ebx")
USER_CODE(user_calls_rpl0, "lcall $0x50, $0")
USER_CODE(user_jumps, "ljmp $0x53, $0")

static void put_gate(uint16_t selector, const void *target, unsigned rights, unsigned parameters)
{
	gdt_put(0, gate(selector, (uint32_t)target, rights, parameters));
}

STAGE(gate_copies_parameters)
{
	put_gate(SEL_CODE32, gate_target, D_PRESENT | D_CALL32 | D_DPL3, 3);
	EXPECT_TRUE(USER(user_calls));
	EXPECT_EQ(trap.vector, 6);
	EXPECT_EQ(trap.cs, SEL_UCODE);
	EXPECT_EQ(BOX(0), TRAP_STACK_TOP - 28);
	EXPECT_EQ(BOX(4), SEL_CODE32);
	EXPECT_EQ(BOX(8), SEL_DATA32);
	EXPECT_EQ(BOX(0x14) & 0xffff, SEL_UCODE);
	EXPECT_EQ(BOX(0x18), 0x11);
	EXPECT_EQ(BOX(0x1c), 0x22);
	EXPECT_EQ(BOX(0x20), 0x33);
	EXPECT_EQ(BOX(0x24), USER_STACK_TOP - 12);
	EXPECT_EQ(BOX(0x28) & 0xffff, SEL_UDATA);
	EXPECT_EQ(trap.ebx, USER_STACK_TOP); /* RET 12 released them outside, too */
}

STAGE(gate_of_16_bits)
{
	gdt_put(1, descriptor(STAGE_BASE, 0xffff, D_PRESENT | D_CODE, D_32));
	put_gate(SEL_FREE + 8, (void *)((uint32_t)gate_target16 - STAGE_BASE),
		D_PRESENT | D_CALL16 | D_DPL3, 2);
	/* A gate of 16 bits keeps 16 bits of the return address, so the caller is in such a
	 * segment. */
	gdt_put(2, descriptor(STAGE_BASE, 0xffff, D_PRESENT | D_CODE | D_DPL3, D_32));
	EXPECT_TRAP(
		6, __asm__ volatile("mov $0x3b, %%eax; mov %%eax, %%ds; mov %%eax, %%es\n\t"
				    "pushl $0x3b; pushl %0; pushl $2; pushl $0x63; pushl %1; iret"
				    :
				    : "r"(USER_STACK_TOP), "r"((uint32_t)user_calls16 - STAGE_BASE)
				    : "eax", "memory"));
	EXPECT_EQ(BOX(0), TRAP_STACK_TOP - 12);
	EXPECT_EQ(BOX(0x10) >> 16, 0x63);
	EXPECT_EQ(BOX(0x14), 0x00220011);
	EXPECT_EQ(BOX(0x18), SEL_UDATA << 16 | ((USER_STACK_TOP - 4) & 0xffff));
	EXPECT_EQ(trap.ebx & 0xffff, USER_STACK_TOP & 0xffff);
}

static void expect_user_trap(void (*fn)(void), uint32_t vector, uint32_t error)
{
	EXPECT_TRUE(USER(fn));
	EXPECT_EQ(trap.vector, vector);
	EXPECT_EQ(trap.error, error);
	EXPECT_EQ(trap.cs, SEL_UCODE);
}

STAGE(gate_checks)
{
	put_gate(SEL_CODE32, gate_target, D_PRESENT | D_CALL32, 3);
	expect_user_trap(user_calls, 13, SEL_FREE); /* DPL 0 */
	put_gate(SEL_CODE32, gate_target, D_PRESENT | D_CALL32 | D_DPL(2), 3);
	expect_user_trap(user_calls_rpl0, 13, SEL_FREE);
	put_gate(SEL_CODE32, gate_target, D_CALL32 | D_DPL3, 3);
	expect_user_trap(user_calls, 11, SEL_FREE); /* not present */
	put_gate(0, gate_target, D_PRESENT | D_CALL32 | D_DPL3, 3);
	expect_user_trap(user_calls, 13, 0);
	put_gate(SEL_DATA32, gate_target, D_PRESENT | D_CALL32 | D_DPL3, 3);
	expect_user_trap(user_calls, 13, SEL_DATA32);
	put_gate(GDT_ENTRIES * 8, gate_target, D_PRESENT | D_CALL32 | D_DPL3, 3);
	expect_user_trap(user_calls, 13, GDT_ENTRIES * 8);
	gdt_put(1, descriptor(0, 0xfffff, D_CODE, D_PAGE | D_32));
	put_gate(SEL_FREE + 8, gate_target, D_PRESENT | D_CALL32 | D_DPL3, 3);
	expect_user_trap(user_calls, 11, SEL_FREE + 8);
	put_gate(SEL_CODE32, gate_target, D_PRESENT | D_CALL32 | D_DPL3, 3);
	expect_user_trap(user_jumps, 13, SEL_CODE32); /* a jump does not change the level */
	put_gate(SEL_UCODE, gate_target, D_PRESENT | D_CALL32, 0);
	EXPECT_TRAP_ERROR(13, SEL_UCODE & ~3, __asm__ volatile("lcall $0x50, $0")); /* outward */
}

STAGE(gate_within_a_level)
{
	volatile uint32_t esp = 0;

	put_gate(SEL_CODE32, gate_target_same, D_PRESENT | D_CALL32, 5);
	__asm__ volatile("mov %%esp, %0; lcall $0x50, $0x12345678" : "=m"(esp) : : "memory");
	EXPECT_EQ(BOX(0), esp - 8); /* no parameters are copied */
	EXPECT_EQ(BOX(4), SEL_CODE32);
}

USER_CODE(user_calls_conforming, "lcall $0x50, $1f; 1: mov %%cs, %%eax; mov %%esp, %%ebx")
USER_CODE(user_calls_kernel, "lcall $0x08, $0")

STAGE(conforming_code)
{
	gdt_put(0, descriptor(0, 0xfffff, D_PRESENT | D_CODE_CONFORMING, D_PAGE | D_32));
	EXPECT_TRUE(USER(user_calls_conforming));
	EXPECT_EQ(trap.vector, 6);
	EXPECT_EQ(trap.eax & 0xffff, SEL_FREE | 3); /* CPL stays 3 */
	EXPECT_EQ(trap.ebx, USER_STACK_TOP - 8);
	expect_user_trap(user_calls_kernel, 13, SEL_CODE32);
	/* Of a less privileged level it cannot be called. */
	gdt_put(0, descriptor(0, 0xfffff, D_PRESENT | D_CODE_CONFORMING | D_DPL3, D_PAGE | D_32));
	EXPECT_TRAP_ERROR(13, SEL_FREE, __asm__ volatile("lcall $0x50, $0"));
}

USER_CODE(user_sees_segments, "mov %%ds, %%eax; mov %%es, %%ebx; mov %%fs, %%ecx; mov %%esp, %%edx")

STAGE(far_return_outward)
{
	EXPECT_TRAP(6,
		__asm__ volatile("mov %1, %%fs; pushl $0x3b; pushl %2; pushl $7; pushl $8\n\t"
				 "pushl $0x33; pushl %0; lret $8"
				 :
				 : "r"(user_sees_segments), "r"(SEL_UDATA), "r"(USER_STACK_TOP - 32)
				 : "memory"));
	EXPECT_EQ(trap.cs, SEL_UCODE);
	EXPECT_EQ(trap.eax & 0xffff, 0); /* of level 0: null now */
	EXPECT_EQ(trap.ebx & 0xffff, 0);
	EXPECT_EQ(trap.ecx & 0xffff, SEL_UDATA);
	EXPECT_EQ(trap.edx, USER_STACK_TOP - 32 + 8);
}

USER_CODE(user_returns_inward, "pushl $0x08; pushl $0; lret")
USER_CODE(user_irets_inward, "pushl $2; pushl $0x08; pushl $0; iret")

STAGE(returns_are_checked)
{
	expect_user_trap(user_returns_inward, 13, SEL_CODE32);
	expect_user_trap(user_irets_inward, 13, SEL_CODE32);
	EXPECT_TRAP_ERROR(13, 0, __asm__ volatile("pushl $0; pushl $0; lret"));
	EXPECT_TRAP_ERROR(13, SEL_DATA32, __asm__ volatile("pushl $0x10; pushl $0; lret"));
	EXPECT_TRAP_ERROR(13, SEL_UCODE & ~3, __asm__ volatile("pushl $0x30; pushl $0; lret"));
	EXPECT_TRAP_ERROR(13, 0x1f8, __asm__ volatile("pushl $2; pushl $0x1f8; pushl $0; iret"));
	/* Outward with a stack that does not fit. */
	EXPECT_TRAP_ERROR(13, SEL_DATA32,
		__asm__ volatile("pushl $0x10; pushl $0; pushl $2; pushl $0x33; pushl $0; iret"));
	EXPECT_TRAP_ERROR(13, 0,
		__asm__ volatile("pushl $0; pushl $0; pushl $2; pushl $0x33; pushl $0; iret"));
}

/* Through a gate to level 1, so that #TS has level 0's good stack. */
STAGE(stacks_of_the_tss)
{
	uint16_t code =
		gdt_put(1, descriptor(0, 0xfffff, D_PRESENT | D_CODE | D_DPL(1), D_PAGE | D_32));
	uint16_t stack =
		gdt_put(2, descriptor(0, 0xfffff, D_PRESENT | D_DATA | D_DPL(1), D_PAGE | D_32));
	uint16_t absent = gdt_put(3, descriptor(0, 0xfffff, D_DATA | D_DPL(1), D_PAGE | D_32));

	put_gate(code | 1, gate_target, D_PRESENT | D_CALL32 | D_DPL3, 3);
	stage_tss.esp1 = STACK_TOP - 0x800;
	stage_tss.ss1 = stack | 1;
	EXPECT_TRUE(USER(user_calls));
	EXPECT_EQ(trap.vector, 6);
	EXPECT_EQ(BOX(4), code | 1);
	EXPECT_EQ(BOX(8), stack | 1);
	EXPECT_EQ(BOX(0), STACK_TOP - 0x800 - 28);
	stage_tss.ss1 = 0;
	expect_user_trap(user_calls, 10, 0);
	stage_tss.ss1 = stack; /* RPL is not 1 */
	expect_user_trap(user_calls, 10, stack);
	stage_tss.ss1 = SEL_UDATA;
	expect_user_trap(user_calls, 10, SEL_UDATA & ~3);
	stage_tss.ss1 = GDT_ENTRIES * 8 | 1;
	expect_user_trap(user_calls, 10, GDT_ENTRIES * 8);
	stage_tss.ss1 = absent | 1;
	expect_user_trap(user_calls, 12, absent);
}
