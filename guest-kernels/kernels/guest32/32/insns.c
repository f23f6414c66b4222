/* SPDX-License-Identifier: MIT */
/* Kernel guest32: instructions that 64-bit mode does not have (SDM volume 2). */
#include "stage32/stage32.h"

#define CF 0x01u
#define PF 0x04u
#define AF 0x10u
#define ZF 0x40u
#define SF 0x80u

struct adjust {
	uint16_t ax;
	uint8_t flags; /* before: CF and AF */
	uint16_t result;
	uint8_t after; /* those of the mask */
};

#define ADJUST(instruction, table, mask)                                           \
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {          \
		uint32_t ax = (table)[i].ax, flags = (table)[i].flags | 2;         \
                                                                                   \
		__asm__ volatile("push %1; popfl; " instruction "; pushfl; pop %1" \
				 : "+a"(ax), "+r"(flags)                           \
				 :                                                 \
				 : "cc");                                          \
		EXPECT_EQ(i << 16 | (ax & 0xffff), i << 16 | (table)[i].result);   \
		EXPECT_EQ(i << 16 | (flags & (mask)), i << 16 | (table)[i].after); \
	}

STAGE(decimal_adjust)
{
	static const struct adjust daa[] = {
		{0x0015, 0, 0x0015, 0},
		{0x001a, 0, 0x0020, AF},
		{0x009a, 0, 0x0000, AF | CF | ZF | PF},
		{0x00ae, 0, 0x0014, AF | CF | PF},
		{0x0012, AF, 0x0018, AF | PF},
		{0x0012, CF, 0x0072, CF | PF},
		{0x0099, 0, 0x0099, SF | PF},
	};
	static const struct adjust das[] = {
		{0x0015, 0, 0x0015, 0},
		{0x001f, 0, 0x0019, AF},
		{0x00ee, AF, 0x0088, AF | CF | SF | PF},
		{0x0047, CF, 0x00e7, CF | SF | PF},
		{0x0003, AF, 0x00fd, AF | CF | SF},
	};

	ADJUST("daa", daa, CF | AF | ZF | SF | PF);
	ADJUST("das", das, CF | AF | ZF | SF | PF);
}

STAGE(ascii_adjust)
{
	static const struct adjust aaa[] = {
		{0x0005, 0, 0x0005, 0},
		{0x000a, 0, 0x0100, AF | CF},
		{0x01ff, 0, 0x0305, AF | CF},
		{0x0003, AF, 0x0109, AF | CF},
		{0x0045, 0, 0x0005, 0},
	};
	static const struct adjust aas[] = {
		{0x0005, 0, 0x0005, 0},
		{0x020a, 0, 0x0104, AF | CF},
		{0x0103, AF, 0xff0d, AF | CF},
		{0x0245, CF, 0x0205, 0},
	};
	uint32_t ax;

	/* 0x0103 - AF: AX - 6 is 0x00fd, AH less one 0xff, AL's low half 0x0d. */
	ADJUST("aaa", aaa, CF | AF);
	ADJUST("aas", aas, CF | AF);
	ax = 0x1263;
	__asm__ volatile("aam" : "+a"(ax) : : "cc");
	EXPECT_EQ(ax & 0xffff, 0x0909);
	ax = 0x00ff;
	__asm__ volatile(".byte 0xd4, 0x10" : "+a"(ax) : : "cc"); /* AAM 16 */
	EXPECT_EQ(ax & 0xffff, 0x0f0f);
	EXPECT_TRAP(0, __asm__ volatile(".byte 0xd4, 0" ::: "eax"));
	ax = 0x0907;
	__asm__ volatile("aad" : "+a"(ax) : : "cc");
	EXPECT_EQ(ax & 0xffff, 97);
	ax = 0x0203;
	__asm__ volatile(".byte 0xd5, 0x10" : "+a"(ax) : : "cc");
	EXPECT_EQ(ax & 0xffff, 0x23);
}

STAGE(bound_and_into)
{
	static const int32_t range[2] = {-5, 10};
	volatile uint32_t eip = 0;

	__asm__ volatile("bound %0, %1" : : "r"(-5), "m"(range));
	__asm__ volatile("bound %0, %1" : : "r"(10), "m"(range));
	EXPECT_TRAP(5, __asm__ volatile("movl $1f, %0; 1: bound %1, %2"
					: "=m"(eip)
					: "r"(11), "m"(range)));
	EXPECT_EQ(trap.eip, eip); /* a fault */
	EXPECT_TRAP(5, __asm__ volatile("bound %0, %1" : : "r"(-6), "m"(range)));
	__asm__ volatile("xor %%eax, %%eax; into" ::: "eax", "cc");
	EXPECT_TRAP(4, __asm__ volatile("movl $1f, %0; mov $0x7f, %%al; inc %%al; into; 1: nop"
					: "=m"(eip)
					:
					: "eax", "cc"));
	EXPECT_EQ(trap.eip, eip); /* a trap */
}

STAGE(push_and_pop_all)
{
	uint32_t esp;

	__asm__ volatile(
		"mov %%esp, %%ecx\n\t"
		"mov $0x5f100, %%esp\n\t"
		"mov $0xa0, %%eax; mov $0xb0, %%ebx; mov $0xd0, %%edx\n\t"
		"push %%ebp; push %%esi; push %%edi\n\t"
		"mov $0x51, %%esi; mov $0xd1, %%edi; mov $0xb1, %%ebp\n\t"
		"pushal\n\t"
		"movl $0xffffffff, 12(%%esp)\n\t" /* POPA leaves ESP alone */
		"mov $0, %%eax; mov $0, %%ebx; mov $0, %%ebp\n\t"
		"popal\n\t"
		"mov %%esp, 0x5f200; mov %%eax, 0x5f204; mov %%ebx, 0x5f208; mov %%ebp, 0x5f20c\n\t"
		"pop %%edi; pop %%esi; pop %%ebp\n\t"
		"mov %%ecx, %%esp" ::
			: "eax", "ebx", "ecx", "edx", "memory");
	esp = 0x5f100 - 12;
	EXPECT_EQ(mailbox()[0x200 / 4], esp);
	EXPECT_EQ(mailbox()[0x204 / 4], 0xa0);
	EXPECT_EQ(mailbox()[0x208 / 4], 0xb0);
	EXPECT_EQ(mailbox()[0x20c / 4], 0xb1);
	/* EAX is pushed first, EDI last; ESP is the one of before. */
	EXPECT_EQ(*(uint32_t *)(esp - 4), 0xa0);
	EXPECT_EQ(*(uint32_t *)(esp - 12), 0xd0);
	EXPECT_EQ(*(uint32_t *)(esp - 16), 0xb0);
	EXPECT_EQ(*(uint32_t *)(esp - 24), 0xb1);
	EXPECT_EQ(*(uint32_t *)(esp - 28), 0x51);
	EXPECT_EQ(*(uint32_t *)(esp - 32), 0xd1);
}

STAGE(short_forms)
{
	uint32_t eax = 5, ecx = 7;

	/* 40 to 4F are INC and DEC, 06 to 1F push and pop segments, 82 is 80, D6 is SALC. */
	__asm__ volatile(".byte 0x40, 0x49" : "+a"(eax), "+c"(ecx) : : "cc");
	EXPECT_EQ(eax, 6);
	EXPECT_EQ(ecx, 6);
	__asm__ volatile("stc; .byte 0xd6" : "+a"(eax) : : "cc");
	EXPECT_EQ(eax, 0xff);
	__asm__ volatile("clc; .byte 0xd6" : "+a"(eax) : : "cc");
	EXPECT_EQ(eax, 0);
	__asm__ volatile(".byte 0x82, 0xc0, 0x7f" : "+a"(eax) : : "cc"); /* ADD AL, 0x7f */
	EXPECT_EQ(eax, 0x7f);
	__asm__ volatile("push %%cs; pop %0" : "=r"(eax));
	EXPECT_EQ(eax & 0xffff, SEL_CODE32);
	__asm__ volatile("push %%ds; pop %%es; push %%es; pop %0" : "=r"(eax));
	EXPECT_EQ(eax & 0xffff, SEL_DATA32);
}

STAGE(prefixes)
{
	uint32_t v, si = 0x12340010;

	/* 66: 16-bit operands keep the upper half; 67: 16-bit addresses. */
	v = 0xaaaa0000;
	__asm__ volatile("movw $0x1234, %w0" : "+r"(v));
	EXPECT_EQ(v, 0xaaaa1234);
	LOAD_SEGMENT(fs, SEL_DATA16);
	mailbox()[0x10 / 4] = 0x99;
	si = 0x1234f010;
	/* mov eax, fs:[si] */
	__asm__ volatile(".byte 0x64, 0x67, 0x8b, 0x04" : "=a"(v) : "S"(si) : "memory");
	EXPECT_EQ(v, 0x99);
	/* fs:[bx + si + 0x20] wraps at 64 KiB: 0xf000 + 0x1000 + ... - 0x10000 */
	__asm__ volatile(".byte 0x64, 0x67, 0x8d, 0x40, 0x20" : "=a"(v) : "b"(0xfff0), "S"(0x0020));
	EXPECT_EQ(v, 0x30);
	/* LOOP and JCXZ by CX with 67 */
	v = 0;
	__asm__ volatile("mov $0x10003, %%ecx; 1: inc %0; .byte 0x67; loop 1b; mov %%ecx, %%eax"
			 : "+r"(v)
			 :
			 : "eax", "ecx", "cc");
	EXPECT_EQ(v, 3);
	/* A near jump with 66 cuts EIP to 16 bits: from here that is outside of nothing, so just
	 * see that CALL with 66 pushes a word. */
	__asm__ volatile("mov %%esp, %%ecx; pushw $0x1111; sub %%esp, %%ecx; add $2, %%esp"
			 : "=c"(v)
			 :
			 : "memory");
	EXPECT_EQ(v, 2);
}

STAGE(enter_nests)
{
	/* ENTER 8, 2 copies one frame pointer of the display and pushes the new one. */
	__asm__ volatile("mov %%esp, %%ecx; push %%ebp\n\t"
			 "mov %%esp, %%edx\n\t"
			 "mov $0x5f400, %%esp; mov $0x5f500, %%ebp\n\t"
			 "movl $0x77, -4(%%ebp)\n\t"
			 "enter $8, $2\n\t"
			 "mov %%esp, 0x5f600; mov %%ebp, 0x5f604\n\t"
			 "leave\n\t"
			 "mov %%esp, 0x5f608; mov %%ebp, 0x5f60c\n\t"
			 "mov %%edx, %%esp; pop %%ebp; mov %%ecx, %%esp" ::
				 : "ecx", "edx", "memory");
	EXPECT_EQ(mailbox()[0x604 / 4], 0x5f3fc);
	EXPECT_EQ(mailbox()[0x600 / 4], 0x5f3fc - 8 - 8);
	EXPECT_EQ(mailbox()[0x3fc / 4], 0x5f500);
	EXPECT_EQ(mailbox()[0x3f8 / 4], 0x77);
	EXPECT_EQ(mailbox()[0x3f4 / 4], 0x5f3fc);
	EXPECT_EQ(mailbox()[0x608 / 4], 0x5f400);
	EXPECT_EQ(mailbox()[0x60c / 4], 0x5f500);
}

STAGE(no_long_mode_instructions)
{
	/* SYSCALL without EFER.SCE, and SWAPGS's bytes, are #UD here. */
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
	EXPECT_TRAP(6, __asm__ volatile("syscall" ::: "ecx"));
	EXPECT_TRAP(6, __asm__ volatile(".byte 0x0f, 0x01, 0xf8"));
}
