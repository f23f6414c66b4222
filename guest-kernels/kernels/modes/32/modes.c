/* SPDX-License-Identifier: MIT */
/*
 * Kernel modes: real mode, 16-bit protected mode, virtual-8086 mode and the ways between them (SDM
 * volume 3, chapters 9 and 20). The code of 16 bits is in real.asm.
 */
#include "stage32/stage32.h"

#define CODE(name) extern const uint8_t name[];
CODE(code_state)
CODE(code_segments)
CODE(code_int)
CODE(code_handler)
CODE(code_vectors)
CODE(code_ud)
CODE(code_de)
CODE(code_limit)
CODE(code_limit_stack)
CODE(code_limit_dword)
CODE(code_bound)
CODE(code_into)
CODE(code_lldt)
CODE(code_str)
CODE(code_lar)
CODE(code_arpl)
CODE(code_stack_wrap)
CODE(code_string_wrap)
CODE(code_far)
CODE(code_unreal)
CODE(code_lgdt24)
CODE(code_lmsw)
CODE(code_jump_wraps)
CODE(code_runs_over)
CODE(code_call_800)
CODE(code_high)
CODE(stage_real_back)
extern uint16_t code_caught_jump[];

#define IVT	  TABLES
#define OFFSET(x) ((uint32_t)(x)-STAGE_BASE)
#define BOX(at)	  (mailbox()[(at) / 4])
#define BOX16(at) (BOX(at) & 0xffff)
#define SP0	  0xeff0

static void real(const void *code)
{
	uint32_t *ivt;

	__asm__("mov %1, %0" : "=r"(ivt) : "i"(IVT));
	for (unsigned i = 0; i < 32; i++)
		ivt[i] = STAGE_SEGMENT << 16 | (OFFSET(code_vectors) + 8 * i);
	ivt[0x21] = STAGE_SEGMENT << 16 | OFFSET(code_handler);
	code_caught_jump[0] = OFFSET(stage_real_back);
	memset(mailbox(), 0, 0x100);
	BOX(0) = 0xffff;
	stage_real(code, IVT);
}

STAGE(real_state)
{
	real(code_state);
	EXPECT_EQ(BOX16(0), (uint32_t)code_state >> 4);
	EXPECT_EQ(BOX16(4), STAGE_SEGMENT);
	EXPECT_EQ(BOX16(8), SP0 - 4);
	EXPECT_EQ(BOX16(12) & 1, 0);
	EXPECT_EQ(BOX(20), 0x11113333);
	EXPECT_EQ(BOX16(24), SP0 - 6);
	EXPECT_EQ(BOX16(28), SP0 - 8);
	EXPECT_EQ(BOX(32), 0x12345678);
	EXPECT_EQ(BOX16(36), SP0 - 6);
	EXPECT_EQ(read_cr0() & 1, 1);
}

STAGE(real_segments)
{
	real(code_segments);
	EXPECT_EQ(*(volatile uint16_t *)0x60154, 0xbeef);
	EXPECT_EQ(BOX16(0), 0xbeef);
	EXPECT_EQ(BOX16(4), 0x6012);
	EXPECT_EQ(BOX16(8), 0x6012);
}

STAGE(real_interrupt)
{
	real(code_int);
	EXPECT_EQ(BOX16(0), BOX16(0x20) - 6);
	EXPECT_EQ(BOX16(4) & 0x300, 0);
	EXPECT_EQ(BOX16(12), (uint32_t)code_int >> 4);
	EXPECT_EQ(BOX16(16) & 0x3202, 0x3202);
	EXPECT_EQ(BOX16(0x24) & 0x3202, 0x3202);
	EXPECT_EQ(BOX16(0x28), BOX16(0x20));
}

static void real_fault(const void *code, unsigned vector, unsigned ip)
{
	real(code);
	EXPECT_EQ(BOX16(0), vector);
	EXPECT_EQ(BOX16(4), ip);
	EXPECT_EQ(BOX16(8), (uint32_t)code >> 4);
	/* Six bytes and no error code: the stack is where it was. */
	EXPECT_EQ(BOX16(16), SP0 - 4);
}

STAGE(real_exceptions)
{
	real_fault(code_ud, 6, 0);
	real_fault(code_de, 0, 2);
	real_fault(code_into, 4, 5);
	real(code_bound);
	EXPECT_EQ(BOX16(0), 5);
}

STAGE(real_limits)
{
	real_fault(code_limit, 13, 3);
	real_fault(code_limit_stack, 12, 3);
	real_fault(code_limit_dword, 13, 6);
}

STAGE(real_has_no_descriptors)
{
	real_fault(code_lldt, 6, 0);
	real_fault(code_str, 6, 0);
	real_fault(code_lar, 6, 0);
	real_fault(code_arpl, 6, 0);
}

STAGE(real_stack_wraps)
{
	real(code_stack_wrap);
	EXPECT_EQ(BOX16(0), 0xfffe);
	EXPECT_EQ(BOX16(4), 0);
	EXPECT_EQ(BOX16(8), 0x7788);
	EXPECT_EQ(*(volatile uint16_t *)(0x5f100 + 0xfffe), 0x7788);
}

STAGE(real_strings_wrap)
{
	real(code_string_wrap);
	EXPECT_EQ(BOX(0), 0x04030201);
	EXPECT_EQ(BOX16(8), 2);
	EXPECT_EQ(BOX16(12), 0);
}

STAGE(real_far_calls)
{
	real(code_far);
	EXPECT_EQ(BOX16(4), BOX16(0) - 4);
	EXPECT_EQ(BOX16(8), BOX16(0));
	EXPECT_EQ(BOX16(12), BOX16(0) - 8);
	EXPECT_EQ(BOX16(16), BOX16(0));
}

STAGE(unreal_mode)
{
	*(volatile uint32_t *)0x61234 = 0xfeedbeef;
	real(code_unreal);
	EXPECT_EQ(BOX(0), 0xfeedbeef);
	EXPECT_EQ(BOX(4), 0xfeedbeef);
	EXPECT_EQ(BOX16(8), STAGE_SEGMENT);
}

STAGE(real_table_bases)
{
	real(code_lgdt24);
	EXPECT_EQ(BOX16(0), 0x1f);
	EXPECT_EQ(*(volatile uint32_t *)(MAILBOX + 2), 0x060000);
}

STAGE(lmsw_sets_only)
{
	real(code_lmsw);
	EXPECT_EQ(BOX16(0) & 1, 1);
	EXPECT_EQ(BOX16(4) & 1, 1);
	EXPECT_EQ(BOX16(8) & 1, 0);
}

STAGE(jumps_wrap)
{
	real(code_jump_wraps);
	EXPECT_EQ(BOX16(0), 0x600d);
}

STAGE(code_does_not_wrap)
{
	real(code_runs_over);
	EXPECT_EQ(BOX16(0), 13);
	EXPECT_EQ(BOX16(8), 0x5f10);
}

STAGE(protected_16)
{
	memset(mailbox(), 0, 0x100);
	stage_code16(code_state);
	EXPECT_EQ(BOX16(0), SEL_CODE16);
	EXPECT_EQ(BOX16(4), SEL_DATA16);
	EXPECT_EQ(BOX16(8), SP0 - 4);
	EXPECT_EQ(BOX16(12) & 1, 1);
	EXPECT_EQ(BOX(20), 0x11113333);
	EXPECT_EQ(BOX16(24), SP0 - 6);
	EXPECT_EQ(BOX16(28), SP0 - 8);
	EXPECT_EQ(BOX16(36), SP0 - 6);
}

STAGE(protected_16_faults)
{
	EXPECT_TRAP(13, stage_code16(code_limit));
	EXPECT_EQ(trap.error, 0);
	EXPECT_EQ(trap.cs, SEL_CODE16);
	EXPECT_EQ(trap.eip, OFFSET(code_limit) + 3);
	EXPECT_TRAP(6, stage_code16(code_ud));
	EXPECT_EQ(trap.eip, OFFSET(code_ud));
	EXPECT_TRAP(12, stage_code16(code_limit_stack));
	EXPECT_EQ(trap.error, 0);
}

/*
 * XOR EAX; 40: INC, or a prefix; NOP; 05: ADD EAX, 1, or ADD AX, 1 and ADD [BX + SI], AL; RET.
 * The 64-bit side puts them there and calls them before and after.
 */
STAGE(same_bytes)
{
	uint32_t eax;

	__asm__ volatile("call *%1" : "=a"(eax) : "r"(MAILBOX + 0x800) : "memory", "cc");
	EXPECT_EQ(eax, 2);
	BOX(0x900) = 0;
	stage_code16(code_call_800);
	EXPECT_EQ(BOX(0), 2);
	EXPECT_EQ(BOX(0x900), 2);
	/* Changed here, and executed by both again. */
	*((volatile uint8_t *)MAILBOX + 0x805) = 3;
	__asm__ volatile("call *%1" : "=a"(eax) : "r"(MAILBOX + 0x800) : "memory", "cc");
	EXPECT_EQ(eax, 4);
	stage_code16(code_call_800);
	EXPECT_EQ(BOX(0), 4);
}

static uint32_t high_in_real(void)
{
	real(code_high);
	return BOX(0);
}

static uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

STAGE(a20_gate)
{
	volatile uint32_t *low = mailbox() + 0x400 / 4, *high = low + 0x100000 / 4;
	uint8_t port92 = inb(0x92);
	uint32_t through, hypervisor[4];

	cpuid(0x40000000, hypervisor);
	if (hypervisor[1] == 0x4b4d564b && hypervisor[2] == 0x564b4d56) /* "KVMKVMKVM" */
		stage_skip("KVM keeps A20 open");
	if (port92 == 0xff)
		stage_skip("there is no port 92h");
	*high = 0x11111111;
	*low = 0x22222222;
	EXPECT_EQ(*high, 0x11111111);
	outb(0x92, port92 & ~3);
	through = *high;
	*high = 0x33333333;
	outb(0x92, (port92 & ~1) | 2);
	EXPECT_EQ(through, 0x22222222);
	EXPECT_EQ(*low, 0x33333333);
	EXPECT_EQ(*high, 0x11111111);
	outb(0x92, port92);
}

STAGE(real_above_1m)
{
	volatile uint32_t *at;
	uint32_t was, seen;

	__asm__("mov $0x100500, %0" : "=r"(at));
	was = *at;
	*at = 0x5ca1ab1e;
	seen = high_in_real(); /* FFF0:0600 */
	*at = was;
	EXPECT_EQ(seen, 0x5ca1ab1e);
}

STAGE(long_mode_activation)
{
	extern uint32_t saved_cr3[];
	uint64_t efer = rdmsr(0xc0000080);

	/* LME alone changes nothing; PG without PAE then is #GP(0), and PG without PE always. */
	wrmsr(0xc0000080, efer | 0x100);
	EXPECT_EQ(rdmsr(0xc0000080) & 0x500, 0x100);
	write_cr3(saved_cr3[0]);
	EXPECT_TRAP_ERROR(13, 0, write_cr0(read_cr0() | 0x80000000));
	EXPECT_TRAP_ERROR(13, 0, write_cr0(0x80000010));
	EXPECT_TRAP_ERROR(
		13, 0, write_cr0((read_cr0() & ~(1u << 30)) | 1u << 29)); /* NW without CD */
	write_cr4(0x20);
	/* Now it works: compatibility mode, because CS.L is clear. */
	write_cr0(read_cr0() | 0x80000000);
	efer = rdmsr(0xc0000080);
	write_cr0(read_cr0() & 0x7fffffff);
	EXPECT_EQ(efer & 0x500, 0x500);
	EXPECT_EQ(rdmsr(0xc0000080) & 0x500, 0x100);
	/* With CS.L set it would be #GP: 64-bit code cannot be entered so. */
	wrmsr(0xc0000080, efer & ~0x500ull);
	EXPECT_EQ(rdmsr(0xc0000080) & 0x500, 0);
}
