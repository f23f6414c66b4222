/* SPDX-License-Identifier: MIT */
/* Kernel guest32: task switches (SDM volume 3, chapter 7). */
#include "stage32/stage32.h"

#define BOX(at)	 (mailbox()[(at) / 4])
#define NT	 0x4000u
#define SEL_B	 SEL_FREE
#define BUSY(s)	 (stage_gdt[(s) / 8] >> 41 & 1)
#define SWITCHED 8u /* CR0.TS */

static struct tss32 task_b __attribute__((aligned(128)));

extern void b_jumps_back(void), b_returns(void), b_takes_error(void), b_ends(void);
__asm__(".text\n"
	"b_look:\n"
	"	mov %eax, 0x5f000; mov %ebp, 0x5f004; mov %esp, 0x5f008\n"
	"	pushfl; popl 0x5f00c\n"
	"	str %eax; mov %eax, 0x5f010\n"
	"	mov %cr0, %eax; mov %eax, 0x5f014\n"
	"	ret\n"
	"b_jumps_back: call b_look; ljmp $0x40, $0\n"
	"b_returns: call b_look; iret; call b_look; incl 0x5f020; iret\n"
	"b_takes_error: popl 0x5f030; call b_look; addl $2, stage_tss+32; iret\n"
	"b_ends: ud2\n");

static void make_b(void (*eip)(void))
{
	task_b = (struct tss32){.esp0 = TRAP_STACK_TOP - 0x400,
		.ss0 = SEL_DATA32,
		.eip = (uint32_t)eip,
		.eflags = 2,
		.eax = 0xaaaa,
		.ebp = 0xbbbb,
		.esp = STACK_TOP - 0x1000,
		.es = SEL_DATA32,
		.cs = SEL_CODE32,
		.ss = SEL_DATA32,
		.ds = SEL_DATA32,
		.map = sizeof(struct tss32)};
	gdt_put(0, descriptor((uint32_t)&task_b, sizeof(task_b) - 1, D_PRESENT | D_TSS32, 0));
}

/* After a trap in another task: TR is the stage's again. */
static void own_task(void)
{
	stage_gdt[SEL_TSS / 8] &= ~(2ull << 40);
	stage_gdt[SEL_B / 8] &= ~(2ull << 40);
	__asm__ volatile("ltr %w0; clts" : : "r"(SEL_TSS) : "memory");
}

STAGE(task_by_jump)
{
	uint32_t ebx = 0x1234;

	make_b(b_jumps_back);
	task_b.link = 0x7777;
	__asm__ volatile("ljmp $0x50, $0x11223344" : "+b"(ebx) : : "memory", "cc");
	EXPECT_EQ(BOX(0), 0xaaaa);
	EXPECT_EQ(BOX(4), 0xbbbb);
	EXPECT_EQ(BOX(8), STACK_TOP - 0x1000 - 4);
	EXPECT_EQ(BOX(0xc) & NT, 0);
	EXPECT_EQ(BOX(0x10) & 0xffff, SEL_B);
	EXPECT_EQ(BOX(0x14) & SWITCHED, SWITCHED);
	EXPECT_EQ(ebx, 0x1234);
	EXPECT_EQ(task_b.link, 0x7777);
	EXPECT_EQ(BUSY(SEL_TSS), 1);
	EXPECT_EQ(BUSY(SEL_B), 0);
	EXPECT_EQ(stage_tss.ebx, 0x1234);
	EXPECT_EQ(stage_tss.cs & 0xffff, SEL_CODE32);
}

STAGE(task_by_call)
{
	make_b(b_returns);
	__asm__ volatile("clts; lcall $0x50, $0" ::: "memory", "cc");
	EXPECT_EQ(BOX(0xc) & NT, NT);
	EXPECT_EQ(task_b.link & 0xffff, SEL_TSS);
	EXPECT_EQ(BUSY(SEL_TSS), 1);
	EXPECT_EQ(BUSY(SEL_B), 0);
	EXPECT_EQ(task_b.eflags & NT, 0); /* IRET clears it in what it saves */
	EXPECT_EQ(read_flags() & NT, 0);
	/* It goes on behind its IRET. */
	BOX(0x20) = 0;
	__asm__ volatile("lcall $0x50, $0" ::: "memory", "cc");
	EXPECT_EQ(BOX(0x20), 1);
}

STAGE(task_by_gates)
{
	make_b(b_returns);
	gdt_put(1, gate(SEL_B, 0, D_PRESENT | D_TASK_GATE, 0));
	BOX(0x10) = 0;
	__asm__ volatile("lcall $0x58, $0" ::: "memory", "cc");
	EXPECT_EQ(BOX(0x10) & 0xffff, SEL_B);
	BOX(0x20) = 0;
	stage_idt[0x22] = gate(SEL_B, 0, D_PRESENT | D_TASK_GATE, 0);
	__asm__ volatile("int $0x22" ::: "memory", "cc");
	EXPECT_EQ(BOX(0x20), 1);
	EXPECT_EQ(BOX(0xc) & NT, NT);
	EXPECT_EQ(task_b.link & 0xffff, SEL_TSS);
}

STAGE(task_gets_error_code)
{
	make_b(b_takes_error);
	stage_idt[13] = gate(SEL_B, 0, D_PRESENT | D_TASK_GATE, 0);
	__asm__ volatile("mov $0x1f8, %%eax; mov %%eax, %%fs" ::: "eax", "memory", "cc");
	EXPECT_EQ(BOX(0x30), 0x1f8);
	EXPECT_EQ(BOX(8), STACK_TOP - 0x1000 - 4); /* popped */
}

STAGE(task_switch_checks)
{
	make_b(b_ends);
	stage_gdt[SEL_B / 8] |= 2ull << 40;
	EXPECT_TRAP_ERROR(13, SEL_B, __asm__ volatile("ljmp $0x50, $0")); /* busy */
	gdt_put(0, descriptor((uint32_t)&task_b, 102, D_PRESENT | D_TSS32, 0));
	EXPECT_TRAP_ERROR(10, SEL_B, __asm__ volatile("ljmp $0x50, $0"));
	gdt_put(0, descriptor((uint32_t)&task_b, 103, D_TSS32, 0));
	EXPECT_TRAP_ERROR(11, SEL_B, __asm__ volatile("lcall $0x50, $0"));
	gdt_put(1, gate(SEL_B, 0, D_TASK_GATE, 0));
	EXPECT_TRAP_ERROR(11, SEL_FREE + 8, __asm__ volatile("lcall $0x58, $0"));
	/* IRET with NT: the link must be a busy TSS. */
	make_b(b_ends);
	stage_tss.link = SEL_B;
	EXPECT_TRAP_ERROR(10, SEL_B, __asm__ volatile("pushl $0x4002; popfl; iret" ::: "cc"));
	stage_tss.link = 0;
	EXPECT_TRAP_ERROR(10, 0, __asm__ volatile("pushl $0x4002; popfl; iret" ::: "cc"));
	EXPECT_EQ(BUSY(SEL_TSS), 1);
}

/* The new task is of level 3, so that its faults have a stack. */
static void bad_task(uint32_t vector, uint32_t error)
{
	EXPECT_TRAP(vector, __asm__ volatile("ljmp $0x50, $0"));
	EXPECT_EQ(trap.error, error);
	/* It is the new task's fault already. */
	EXPECT_EQ(BUSY(SEL_B), 1);
	EXPECT_EQ(trap.eip, (uint32_t)b_ends);
	own_task();
}

static void make_user_b(void)
{
	make_b(b_ends);
	task_b.cs = SEL_UCODE;
	task_b.ss = task_b.ds = task_b.es = SEL_UDATA;
}

STAGE(invalid_tasks)
{
	gdt_put(2, descriptor(0, 0xfffff, D_DATA | D_DPL3, D_PAGE | D_32)); /* absent: 0x60 */
	make_user_b();
	task_b.cs = SEL_UDATA;
	bad_task(10, SEL_UDATA & ~3);
	make_user_b();
	task_b.cs = 3;
	bad_task(10, 0);
	make_user_b();
	task_b.ss = SEL_DATA32 | 3;
	bad_task(10, SEL_DATA32);
	make_user_b();
	task_b.ss = 0;
	bad_task(10, 0);
	make_user_b();
	task_b.ss = 0x63;
	bad_task(12, 0x60);
	make_user_b();
	task_b.ds = SEL_DATA32;
	bad_task(10, SEL_DATA32);
	make_user_b();
	task_b.ds = 0x63;
	bad_task(11, 0x60);
	make_user_b();
	task_b.es = GDT_ENTRIES * 8;
	bad_task(10, GDT_ENTRIES * 8);
	make_user_b();
	task_b.ldt = SEL_DATA32;
	bad_task(10, SEL_DATA32);
}

STAGE(task_trap_bit)
{
	uint32_t dr6;

	make_user_b();
	task_b.trap = 1;
	EXPECT_TRAP(1, __asm__ volatile("ljmp $0x50, $0"));
	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	EXPECT_EQ(dr6 & 0x8000, 0x8000);
	EXPECT_EQ(trap.eip, (uint32_t)b_ends);
	EXPECT_EQ(trap.cs, SEL_UCODE);
	own_task();
}

STAGE(task_in_v86)
{
	*(volatile uint16_t *)(MAILBOX + 0x800) = 0x0b0f; /* UD2 */
	make_b(b_ends);
	task_b.eip = 0xf800;
	task_b.cs = STAGE_SEGMENT;
	task_b.ss = 0x6000;
	task_b.ds = 0x1234;
	task_b.eflags = 0x20002;
	EXPECT_TRAP(6, __asm__ volatile("ljmp $0x50, $0"));
	EXPECT_EQ(trap.eflags & 0x20000, 0x20000);
	EXPECT_EQ(trap.cs & 0xffff, STAGE_SEGMENT);
	EXPECT_EQ(trap.eip, 0xf800);
	EXPECT_EQ(trap.v86_ds & 0xffff, 0x1234);
	EXPECT_EQ(trap_frame, TRAP_STACK_TOP - 0x400 - 40);
	own_task();
}
