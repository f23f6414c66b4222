/* SPDX-License-Identifier: MIT */
/* Kernel guest32: exceptions, their frames and error codes (SDM volume 3, 6.12.1, 6.13, 6.15). */
#include "stage32/stage32.h"

#define NT 0x4000u
#define AC 0x40000u

#define CODE(name, text)                                       \
	static void name(void)                                 \
	{                                                      \
		__asm__ volatile(text "\n\tud2" ::: "memory"); \
		__builtin_unreachable();                       \
	}

STAGE(enters_and_leaves)
{
	EXPECT_EQ(read_cr0() & 0x80000001, 1);
	EXPECT_EQ(rdmsr(0xc0000080) & 0x500, 0);
	EXPECT_EQ(READ_SEGMENT(cs), SEL_CODE32);
	EXPECT_TRAP(6, __asm__ volatile("ud2"));
	EXPECT_EQ(trap.cs, SEL_CODE32);
}

STAGE(frame_without_error)
{
	volatile uint32_t esp = 0, eip = 0;

	EXPECT_TRAP(6, __asm__ volatile("mov %%esp, %0; movl $1f, %1; 1: ud2"
					: "=m"(esp), "=m"(eip)));
	EXPECT_EQ(trap_frame + 4 + 12, esp); /* EIP, CS, EFLAGS; the stub pushed the rest */
	EXPECT_EQ(trap.eip, eip);
	EXPECT_EQ(trap.cs, SEL_CODE32);
	EXPECT_EQ(trap.eflags & 0x10002, 0x10002); /* RF: a fault */
}

STAGE(frame_with_error)
{
	volatile uint32_t esp = 0, eip = 0;

	EXPECT_TRAP(13, __asm__ volatile(
				"mov %%esp, %0; movl $1f, %1; mov $0x1f8, %%eax; 1: mov %%eax, %%fs"
				: "=m"(esp), "=m"(eip)
				:
				: "eax"));
	EXPECT_EQ(trap_frame + 4 + 12, esp);
	EXPECT_EQ(trap.error, 0x1f8);
	EXPECT_EQ(trap.eip, eip);
}

CODE(user_nothing, "")

STAGE(frame_from_user)
{
	EXPECT_TRUE(USER(user_nothing));
	EXPECT_EQ(trap.vector, 6);
	EXPECT_EQ(trap_frame, TRAP_STACK_TOP - 24);
	EXPECT_EQ(trap.cs, SEL_UCODE);
	EXPECT_EQ(trap.ss & 0xffff, SEL_UDATA);
	EXPECT_EQ(trap.esp, USER_STACK_TOP);
	EXPECT_EQ(trap.ds & 0xffff, SEL_UDATA);
	EXPECT_EQ(trap.eflags & 0x20202, 2);
}

static volatile uint32_t in_handler[4];

static bool look_at_flags(struct trap *frame)
{
	in_handler[0] = read_flags();
	in_handler[1] = frame->eflags;
	in_handler[2] = frame->vector;
	in_handler[3]++;
	return true;
}

STAGE(int_gate_clears_if)
{
	volatile uint32_t after;

	trap_hook = look_at_flags;
	stage_idt[0x21] = gate(SEL_CODE32, INT_ENTRY(0x21), D_PRESENT | D_INT32, 0);
	stage_idt[0x22] = gate(SEL_CODE32, INT_ENTRY(0x22), D_PRESENT | D_TRAP32, 0);
	__asm__ volatile("pushl $0x4202; popfl; sti; int $0x21; pushfl; popl %0; cli"
			 : "=m"(after));
	EXPECT_EQ(in_handler[0] & (NT | 0x300), 0);
	EXPECT_EQ(in_handler[1] & (NT | 0x200), NT | 0x200);
	EXPECT_EQ(after & (NT | 0x200), NT | 0x200);
	__asm__ volatile("pushl $2; popfl; sti; int $0x22; cli");
	EXPECT_EQ(in_handler[0] & 0x200, 0x200);
	EXPECT_EQ(in_handler[2], 0x22);
	EXPECT_EQ(in_handler[3], 2);
}

CODE(user_int_21, "int $0x21")
CODE(user_int_22, "int $0x22")
CODE(user_int3, "int3")
CODE(user_into, "mov $0x7f, %%al; inc %%al; into")

STAGE(int_checks_the_gate)
{
	stage_idt[0x22] = gate(SEL_CODE32, INT_ENTRY(0x22), D_PRESENT | D_INT32 | D_DPL3, 0);
	EXPECT_TRUE(USER(user_int_21));
	EXPECT_EQ(trap.vector, 13);
	EXPECT_EQ(trap.error, 0x21 << 3 | 2);
	EXPECT_TRUE(USER(user_int_22));
	EXPECT_EQ(trap.vector, 0x22);
	EXPECT_EQ(trap.cs, SEL_UCODE);
	EXPECT_TRUE(USER(user_int3)); /* gate 3 has DPL 0 */
	EXPECT_EQ(trap.vector, 13);
	EXPECT_EQ(trap.error, 3 << 3 | 2);
	EXPECT_TRUE(USER(user_into));
	EXPECT_EQ(trap.vector, 13);
	EXPECT_EQ(trap.error, 4 << 3 | 2);
}

STAGE(bad_gates)
{
	stage_idt[0x20] = gate(SEL_CODE32, INT_ENTRY(0x20), D_INT32, 0); /* not present */
	EXPECT_TRAP_ERROR(11, 0x20 << 3 | 2, __asm__ volatile("int $0x20"));
	stage_idt[0x20] = gate(SEL_CODE32, INT_ENTRY(0x20), D_PRESENT | D_CALL32, 0);
	EXPECT_TRAP_ERROR(13, 0x20 << 3 | 2, __asm__ volatile("int $0x20"));
	EXPECT_TRAP_ERROR(13, 0x50 << 3 | 2, __asm__ volatile("int $0x50")); /* beyond the limit */
	stage_idt[0x20] = gate(SEL_DATA32, INT_ENTRY(0x20), D_PRESENT | D_INT32, 0);
	EXPECT_TRAP_ERROR(13, SEL_DATA32, __asm__ volatile("int $0x20"));
	stage_idt[0x20] = gate(0, INT_ENTRY(0x20), D_PRESENT | D_INT32, 0);
	EXPECT_TRAP_ERROR(13, 0, __asm__ volatile("int $0x20"));
	stage_idt[0x20] = gate(GDT_ENTRIES * 8, INT_ENTRY(0x20), D_PRESENT | D_INT32, 0);
	EXPECT_TRAP_ERROR(13, GDT_ENTRIES * 8, __asm__ volatile("int $0x20"));
	stage_idt[0x20] = gate(gdt_put(0, descriptor(0, 0xfffff, D_CODE, D_PAGE | D_32)),
		INT_ENTRY(0x20), D_PRESENT | D_INT32, 0);
	EXPECT_TRAP_ERROR(11, SEL_FREE, __asm__ volatile("int $0x20"));
	stage_idt[0x20] = gate(SEL_UCODE & ~3, INT_ENTRY(0x20), D_PRESENT | D_INT32, 0);
	EXPECT_TRAP_ERROR(13, SEL_UCODE & ~3, __asm__ volatile("int $0x20")); /* outward */
}

STAGE(external_bit)
{
	/* A fault while an exception is delivered has EXT set; while INT n is, not. */
	stage_idt[6] = gate(SEL_CODE32, INT_ENTRY(6), D_INT32, 0);
	EXPECT_TRAP_ERROR(11, 6 << 3 | 3, __asm__ volatile("ud2"));
	stage_idt[6] = gate(SEL_DATA32, INT_ENTRY(6), D_PRESENT | D_INT32, 0);
	EXPECT_TRAP_ERROR(13, SEL_DATA32 | 1, __asm__ volatile("ud2"));
}

/* The stub is in a segment of its own, because the offset has 16 bits. */
STAGE(sixteen_bit_gate)
{
	volatile uint32_t esp = 0;
	uint16_t code = gdt_put(0, descriptor(STAGE_BASE, 0xffff, D_PRESENT | D_CODE, D_32));

	stage_idt[6] = gate(code, INT_ENTRY(6) - STAGE_BASE, D_PRESENT | D_INT16, 0);
	EXPECT_TRAP(6, __asm__ volatile("mov %%esp, %0; ud2" : "=m"(esp)));
	EXPECT_EQ(trap_frame + 4 + 6, esp);
	/* Words: IP and CS are in EIP's place, FLAGS in CS's. */
	EXPECT_EQ(trap.eip >> 16, SEL_CODE32);
	EXPECT_EQ(trap.cs & 0x3202, 2);
}

STAGE(double_fault_by_task)
{
	volatile uint32_t eip = 0;

	/* #GP whose gate leads to a data segment: #GP again while it is delivered. */
	stage_idt[13] = gate(SEL_DATA32, INT_ENTRY(13), D_PRESENT | D_INT32, 0);
	EXPECT_TRAP(8, __asm__ volatile("movl $1f, %0; mov $0x1f8, %%eax; 1: mov %%eax, %%fs"
					: "=m"(eip)
					:
					: "eax"));
	EXPECT_EQ(trap.error, 0);
	EXPECT_EQ(stage_tss.eip, eip);
	EXPECT_EQ(stage_tss.cs, SEL_CODE32);
	EXPECT_EQ(stage_df_tss.link, SEL_TSS);
}

STAGE(benign_then_contributory)
{
	/* #UD is benign: the #NP of its delivery is delivered as itself (table 6-5). */
	stage_idt[6] = gate(SEL_CODE32, INT_ENTRY(6), D_INT32, 0);
	EXPECT_TRAP(11, __asm__ volatile("ud2"));
	/* #DE is contributory: #NP while it is delivered is a double fault. */
	stage_idt[0] = gate(SEL_CODE32, INT_ENTRY(0), D_INT32, 0);
	EXPECT_TRAP(8, __asm__ volatile("xor %%ecx, %%ecx; div %%ecx" ::: "eax", "ecx", "edx"));
}

CODE(user_misaligned, "mov $0x5f001, %%eax; mov (%%eax), %%eax")

STAGE(alignment_check)
{
	write_cr0(read_cr0() | 1u << 18);
	EXPECT_TRUE(TRAPS(stage_user(user_misaligned, USER_STACK_TOP, AC | 2)));
	EXPECT_EQ(trap.vector, 17);
	EXPECT_EQ(trap.error, 0);
	EXPECT_TRUE(TRAPS(stage_user(user_misaligned, USER_STACK_TOP, 2)));
	EXPECT_EQ(trap.vector, 6);
	write_cr0(read_cr0() & ~(1u << 18));
	EXPECT_TRUE(TRAPS(stage_user(user_misaligned, USER_STACK_TOP, AC | 2)));
	EXPECT_EQ(trap.vector, 6);
}

CODE(user_hlt, "hlt")
CODE(user_cli, "cli")
CODE(user_sti, "sti")
CODE(user_lgdt, "lgdt 0x5f000")
CODE(user_lidt, "lidt 0x5f000")
CODE(user_lldt, "xor %%eax, %%eax; lldt %%ax")
CODE(user_ltr, "mov $0x40, %%eax; ltr %%ax")
CODE(user_mov_cr, "mov %%cr0, %%eax")
CODE(user_mov_to_cr, "mov %%eax, %%cr3")
CODE(user_mov_dr, "mov %%dr7, %%eax")
CODE(user_clts, "clts")
CODE(user_lmsw, "mov $1, %%eax; lmsw %%ax")
CODE(user_invlpg, "invlpg 0x5f000")
CODE(user_wbinvd, "wbinvd")
CODE(user_rdmsr, "mov $0x10, %%ecx; rdmsr")
CODE(user_wrmsr, "mov $0x10, %%ecx; wrmsr")
CODE(user_in, "in $0x80, %%al")
CODE(user_outs, "mov $0x80, %%edx; mov $0x5f000, %%esi; outsb")

STAGE(privileged_instructions)
{
	static void (*const list[])(void) = {user_hlt, user_cli, user_sti, user_lgdt, user_lidt,
		user_lldt, user_ltr, user_mov_cr, user_mov_to_cr, user_mov_dr, user_clts, user_lmsw,
		user_invlpg, user_wbinvd, user_rdmsr, user_wrmsr, user_in, user_outs};
	static volatile unsigned i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		EXPECT_TRUE(USER(list[i]));
		EXPECT_EQ(trap.vector << 16 | i, 13 << 16 | i);
		EXPECT_EQ(trap.error, 0);
	}
}

CODE(user_popf, "pushl $0x3202; popfl; pushfl; popl %%eax")
CODE(user_cli_sti, "cli; sti; pushfl; popl %%eax")
CODE(user_popf_if, "pushl $0x2; popfl; pushfl; popl %%eax")

STAGE(iopl_at_user)
{
	EXPECT_TRUE(TRAPS(stage_user(user_popf, USER_STACK_TOP, 2)));
	EXPECT_EQ(trap.eax & 0x3200, 0); /* neither IF nor IOPL, and no fault */
	EXPECT_TRUE(TRAPS(stage_user(user_popf_if, USER_STACK_TOP, 0x202)));
	EXPECT_EQ(trap.eax & 0x3200, 0x200);
	EXPECT_TRUE(TRAPS(stage_user(user_cli_sti, USER_STACK_TOP, 0x3002)));
	EXPECT_EQ(trap.vector, 6);
	EXPECT_EQ(trap.eax & 0x3200, 0x3200);
	EXPECT_TRUE(TRAPS(stage_user(user_popf_if, USER_STACK_TOP, 0x3202)));
	EXPECT_EQ(trap.eax & 0x3200, 0x3000); /* IF by POPF, IOPL never */
}

/* I/O permission bitmap: the stage's TSS is 104 bytes; a longer one here. */
static struct {
	struct tss32 tss;
	uint8_t map[16];
} io_tss __attribute__((aligned(128)));

CODE(user_in_61, "in $0x61, %%al")
CODE(user_in_60, "in $0x60, %%al")
CODE(user_in_62w, "in $0x62, %%ax")
CODE(user_in_5ew, "in $0x5e, %%ax")
CODE(user_in_78, "in $0x78, %%al")

static bool user_io(void (*fn)(void))
{
	return TRAPS(stage_user(fn, USER_STACK_TOP, 2)) && trap.vector == 6;
}

STAGE(io_bitmap)
{
	io_tss.tss = stage_tss;
	io_tss.tss.map = sizeof(struct tss32);
	memset(io_tss.map, 0xff, sizeof(io_tss.map));
	io_tss.map[0x60 / 8] = 0xf5; /* 0x61 and 0x63 are allowed */
	io_tss.map[0x5e / 8] = 0x3f; /* 0x5e and 0x5f as well */
	gdt_put(0, descriptor((uint32_t)&io_tss, sizeof(io_tss) - 1, D_PRESENT | D_TSS32, 0));
	__asm__ volatile("ltr %w0" : : "r"(SEL_FREE));
	EXPECT_TRUE(user_io(user_in_61));
	EXPECT_TRUE(!user_io(user_in_60));
	EXPECT_EQ(trap.vector, 13);
	EXPECT_EQ(trap.error, 0);
	EXPECT_TRUE(!user_io(user_in_62w)); /* one of two is not allowed */
	EXPECT_TRUE(user_io(user_in_5ew));
	/* The byte behind the one looked at must be within the limit, too. */
	gdt_put(0,
		descriptor((uint32_t)&io_tss, sizeof(struct tss32) + 0xd, D_PRESENT | D_TSS32, 0));
	__asm__ volatile("ltr %w0" : : "r"(SEL_FREE));
	EXPECT_TRUE(user_io(user_in_61));
	gdt_put(0,
		descriptor((uint32_t)&io_tss, sizeof(struct tss32) + 0xc, D_PRESENT | D_TSS32, 0));
	__asm__ volatile("ltr %w0" : : "r"(SEL_FREE));
	EXPECT_TRUE(!user_io(user_in_61));
	EXPECT_TRUE(user_io(user_in_5ew));
	gdt_put(0,
		descriptor((uint32_t)&io_tss, sizeof(struct tss32) + 0xb, D_PRESENT | D_TSS32, 0));
	__asm__ volatile("ltr %w0" : : "r"(SEL_FREE));
	EXPECT_TRUE(!user_io(user_in_5ew));
	EXPECT_TRUE(!user_io(user_in_61));
	EXPECT_TRUE(!user_io(user_in_78));
}

CODE(user_sysenter, "mov %%esp, %%ebp; sysenter")
CODE(kernel_entry, "mov %%esp, %%eax; mov %%cs, %%ebx; mov %%ss, %%ecx; pushfl; popl %%edx")

STAGE(sysenter_32)
{
	if (!(cpuid_edx(1) >> 11 & 1))
		stage_skip("the processor has no SYSENTER");
	wrmsr(0x174, 0);
	EXPECT_TRUE(USER(user_sysenter));
	EXPECT_EQ(trap.vector, 13);
	EXPECT_EQ(trap.error, 0);
	wrmsr(0x174, SEL_CODE32);
	wrmsr(0x175, TRAP_STACK_TOP - 256);
	wrmsr(0x176, (uint32_t)kernel_entry);
	EXPECT_TRUE(TRAPS(stage_user(user_sysenter, USER_STACK_TOP, 0x202)));
	EXPECT_EQ(trap.vector, 6);
	EXPECT_EQ(trap.cs, SEL_CODE32);
	EXPECT_EQ(trap.eax, TRAP_STACK_TOP - 256);
	EXPECT_EQ(trap.ebx & 0xffff, SEL_CODE32);
	EXPECT_EQ(trap.ecx & 0xffff, SEL_CODE32 + 8);
	EXPECT_EQ(trap.edx & 0x20200, 0);
}

CODE(user_after_exit, "mov %%esp, %%eax; mov %%cs, %%ebx; mov %%ss, %%ecx")

STAGE(sysexit_32)
{
	if (!(cpuid_edx(1) >> 11 & 1))
		stage_skip("the processor has no SYSENTER");
	/* CS is SYSENTER_CS + 16, SS + 24, whatever stands in the table. */
	wrmsr(0x174, SEL_UCODE - 16 - 3);
	EXPECT_TRAP(6, __asm__ volatile("sysexit"
					:
					: "c"(USER_STACK_TOP - 64), "d"(user_after_exit)
					: "memory"));
	EXPECT_EQ(trap.cs, SEL_UCODE);
	EXPECT_EQ(trap.eax, USER_STACK_TOP - 64);
	EXPECT_EQ(trap.ebx & 0xffff, SEL_UCODE);
	EXPECT_EQ(trap.ecx & 0xffff, SEL_UDATA);
}

STAGE(single_step)
{
	volatile uint32_t target = 0;

	EXPECT_TRAP(1, __asm__ volatile("movl $1f, %0; pushl $0x102; popfl; nop; 1: nop; nop"
					: "=m"(target)));
	EXPECT_EQ(trap.eip, target);
	EXPECT_EQ(trap.eflags & 0x100, 0x100);
}
