/* SPDX-License-Identifier: MIT */
/* Kernel guest32: segments (SDM volume 3, chapters 3 and 5): limits, types, loads, what LAR says.
 */
#include "stage32/stage32.h"

#define RD8(seg, at)                                        \
	({                                                  \
		uint8_t v_;                                 \
		__asm__ volatile("movb %%" #seg ":(%1), %0" \
				 : "=q"(v_)                 \
				 : "r"((uint32_t)(at))      \
				 : "memory");               \
		v_;                                         \
	})
#define RD32(seg, at)                                       \
	({                                                  \
		uint32_t v_;                                \
		__asm__ volatile("movl %%" #seg ":(%1), %0" \
				 : "=r"(v_)                 \
				 : "r"((uint32_t)(at))      \
				 : "memory");               \
		v_;                                         \
	})
#define WR8(seg, at) __asm__ volatile("movb $1, %%" #seg ":(%0)" : : "r"((uint32_t)(at)) : "memory")
#define WR32(seg, at) \
	__asm__ volatile("movl $1, %%" #seg ":(%0)" : : "r"((uint32_t)(at)) : "memory")

static uint16_t data(uint32_t base, uint32_t limit, unsigned type, unsigned flags)
{
	return gdt_put(0, descriptor(base, limit, D_PRESENT | type, flags));
}

STAGE(limit_of_data)
{
	LOAD_SEGMENT(fs, data(MAILBOX, 0xff, D_DATA, D_32));
	mailbox()[0x3f] = 0x12345678;
	EXPECT_EQ(RD32(fs, 0xfc), 0x12345678);
	EXPECT_EQ(RD8(fs, 0xff), 0x12);
	EXPECT_TRAP_ERROR(13, 0, RD8(fs, 0x100));
	EXPECT_TRAP_ERROR(13, 0, RD32(fs, 0xfd));
	EXPECT_TRAP_ERROR(13, 0, WR32(fs, 0xfd));
	EXPECT_EQ(mailbox()[0x3f], 0x12345678);
	EXPECT_TRAP_ERROR(13, 0, RD32(fs, 0xffffffff));
	/* In pages: limit 0 is 4 KiB. */
	LOAD_SEGMENT(fs, data(MAILBOX, 0, D_DATA, D_PAGE | D_32));
	EXPECT_EQ(RD8(fs, 0xff), 0x12);
	RD8(fs, 0xfff);
	EXPECT_TRAP_ERROR(13, 0, RD8(fs, 0x1000));
}

STAGE(expand_down)
{
	LOAD_SEGMENT(fs, data(MAILBOX, 0xff, D_DATA_DOWN, D_32));
	EXPECT_TRAP_ERROR(13, 0, RD8(fs, 0xff));
	EXPECT_TRAP_ERROR(13, 0, RD8(fs, 0));
	EXPECT_TRAP_ERROR(13, 0, RD32(fs, 0xfd)); /* begins below */
	mailbox()[0x40] = 0x55667788;
	EXPECT_EQ(RD32(fs, 0x100), 0x55667788);
	/* B clear: up to 64 KiB only. */
	LOAD_SEGMENT(fs, data(MAILBOX, 0xff, D_DATA_DOWN, D_16));
	EXPECT_EQ(RD32(fs, 0x100), 0x55667788);
	RD32(fs, 0xfffc);
	EXPECT_TRAP_ERROR(13, 0, RD32(fs, 0xfffd));
	EXPECT_TRAP_ERROR(13, 0, RD8(fs, 0x10000));
}

STAGE(rights_of_types)
{
	LOAD_SEGMENT(fs, data(MAILBOX, 0xff, D_DATA_RO, D_32));
	RD8(fs, 0);
	EXPECT_TRAP_ERROR(13, 0, WR8(fs, 0));
	LOAD_SEGMENT(fs, data(MAILBOX, 0xff, D_CODE, D_32));
	RD8(fs, 0);
	EXPECT_TRAP_ERROR(13, 0, WR8(fs, 0));
	EXPECT_TRAP_ERROR(13, 0, __asm__ volatile("movb $0, %%cs:0x5f000" ::: "memory"));
	EXPECT_TRAP_ERROR(13, SEL_FREE, LOAD_SEGMENT(fs, data(MAILBOX, 0xff, D_CODE_XO, D_32)));
	EXPECT_TRAP_ERROR(13, SEL_FREE, LOAD_SEGMENT(fs, data(MAILBOX, 0xff, D_LDT, 0)));
	EXPECT_TRAP_ERROR(13, SEL_FREE, LOAD_SEGMENT(ss, data(MAILBOX, 0xff, D_DATA_RO, D_32)));
	EXPECT_TRAP_ERROR(13, SEL_FREE, LOAD_SEGMENT(ss, data(MAILBOX, 0xff, D_CODE, D_32)));
}

STAGE(null_segment)
{
	LOAD_SEGMENT(fs, 0);
	LOAD_SEGMENT(gs, 3);
	EXPECT_EQ(READ_SEGMENT(gs), 3);
	EXPECT_TRAP_ERROR(13, 0, RD8(fs, 0x5f000));
	EXPECT_TRAP_ERROR(13, 0, WR8(gs, 0x5f000));
	EXPECT_TRAP_ERROR(13, 0, LOAD_SEGMENT(ss, 0));
	EXPECT_TRAP_ERROR(13, 0, LOAD_SEGMENT(ss, 3));
}

STAGE(load_errors)
{
	EXPECT_TRAP_ERROR(13, GDT_ENTRIES * 8, LOAD_SEGMENT(fs, GDT_ENTRIES * 8));
	EXPECT_TRAP_ERROR(13, GDT_ENTRIES * 8, LOAD_SEGMENT(fs, GDT_ENTRIES * 8 + 3));
	EXPECT_TRAP_ERROR(13, 0x0c, LOAD_SEGMENT(fs, 0x0c)); /* there is no LDT */
	gdt_put(0, descriptor(0, 0xff, D_DATA, D_32));	     /* not present */
	EXPECT_TRAP_ERROR(11, SEL_FREE, LOAD_SEGMENT(fs, SEL_FREE));
	EXPECT_TRAP_ERROR(11, SEL_FREE, LOAD_SEGMENT(fs, SEL_FREE | 0));
	EXPECT_TRAP_ERROR(12, SEL_FREE, LOAD_SEGMENT(ss, SEL_FREE));
	EXPECT_TRAP_ERROR(13, SEL_FREE, LOAD_SEGMENT(ss, SEL_FREE | 3)); /* RPL comes first */
	EXPECT_TRAP_ERROR(13, SEL_UDATA & ~3, LOAD_SEGMENT(ss, SEL_UDATA));
	EXPECT_TRAP_ERROR(13, SEL_DATA32, LOAD_SEGMENT(fs, SEL_DATA32 | 3));
	/* A failed load leaves the register as it was. */
	LOAD_SEGMENT(fs, SEL_DATA32);
	EXPECT_TRAP(13, LOAD_SEGMENT(fs, GDT_ENTRIES * 8));
	EXPECT_EQ(READ_SEGMENT(fs), SEL_DATA32);
}

STAGE(accessed_bit)
{
	uint16_t fresh = data(0, 0xfffff, D_DATA, D_PAGE | D_32);

	EXPECT_EQ(stage_gdt[fresh / 8] >> 40 & 1, 0);
	LOAD_SEGMENT(fs, fresh);
	EXPECT_EQ(stage_gdt[fresh / 8] >> 40 & 1, 1);
	/* Not by LAR, and the cache is not read again. */
	data(MAILBOX, 0xff, D_DATA, D_32);
	__asm__ volatile("lar %0, %%eax" : : "r"((uint32_t)fresh) : "eax", "cc");
	EXPECT_EQ(stage_gdt[fresh / 8] >> 40 & 1, 0);
	mailbox()[0] = 0x77;
	EXPECT_EQ(RD8(fs, MAILBOX), 0x77);
}

STAGE(stack_faults)
{
	/* By EBP and ESP the segment is SS: #SS(0), not #GP. */
	uint16_t small = gdt_put(1, descriptor(0, 0x6ffff, D_PRESENT | D_DATA, D_32));

	LOAD_SEGMENT(ss, small);
	EXPECT_TRAP_ERROR(12, 0,
		__asm__ volatile("push %%ebp; mov $0x70000, %%ebp;"
				 "mov (%%ebp), %%eax; pop %%ebp" ::
					 : "eax", "memory"));
	LOAD_SEGMENT(ss, small);
	EXPECT_TRAP_ERROR(12, 0,
		__asm__ volatile("mov $0x6fffe, %%eax; mov %%ss:(%%eax), %%ecx" ::
					 : "eax", "ecx", "memory"));
	EXPECT_EQ(READ_SEGMENT(ss), SEL_DATA32);
	EXPECT_TRAP_ERROR(13, 0,
		__asm__ volatile("mov %0, %%fs; mov $0x70000, %%ebx; mov %%fs:(%%ebx), %%eax"
				 :
				 : "r"((uint32_t)small)
				 : "eax", "ebx"));
}

STAGE(stack_16_bits)
{
	/* B clear: SP wraps at 64 KiB and the upper half of ESP stays. */
	uint16_t stack = gdt_put(1, descriptor(STAGE_BASE, 0xffff, D_PRESENT | D_DATA, D_16));
	volatile uint32_t after = 0, popped = 0;

	mailbox()[0x3ff] = 0;
	__asm__ volatile("mov %%esp, %%esi; mov %%ss, %%edi\n\t"
			 "mov %2, %%ss; mov $0x12340000, %%esp\n\t"
			 "push $0x5a5a5a5a; mov %%esp, %%eax; pop %%ecx; mov %%esp, %%edx\n\t"
			 "mov %%edi, %%ss; mov %%esi, %%esp\n\t"
			 "mov %%eax, %0; mov %%ecx, %1"
			 : "=m"(after), "=m"(popped)
			 : "r"((uint32_t)stack)
			 : "eax", "ecx", "edx", "esi", "edi", "memory");
	EXPECT_EQ(after, 0x1234fffc);
	EXPECT_EQ(popped, 0x5a5a5a5a);
	EXPECT_EQ(mailbox()[0x3ff], 0x5a5a5a5a);
}

STAGE(code_limit)
{
	/* RET at the limit runs; an instruction over it, and a jump beyond it, are #GP(0). */
	uint8_t *code = (uint8_t *)MAILBOX;
	uint16_t small = gdt_put(1, descriptor(MAILBOX, 0xf, D_PRESENT | D_CODE, D_32));

	code[0xf] = 0xcb; /* RETF */
	__asm__ volatile("pushl %0; pushl $0xf; lcall *(%%esp); add $8, %%esp"
			 :
			 : "r"((uint32_t)small)
			 : "memory");
	code[0xe] = 0xb0; /* MOV AL, imm8 */
	code[0xf] = 0x55;
	code[0x10] = 0xcb;
	code[0xd] = 0x90;
	EXPECT_TRAP_ERROR(13, 0,
		__asm__ volatile("pushl %0; pushl $0xd; ljmp *(%%esp)"
				 :
				 : "r"((uint32_t)small)
				 : "memory"));
	EXPECT_EQ(trap.cs, SEL_FREE + 8);
	code[0xf] = 0xb0; /* at 0xf, its immediate beyond */
	EXPECT_TRAP_ERROR(13, 0,
		__asm__ volatile("pushl %0; pushl $0xf; ljmp *(%%esp)"
				 :
				 : "r"((uint32_t)small)
				 : "memory"));
	EXPECT_EQ(trap.eip, 0xf);
	EXPECT_EQ(trap.cs, SEL_FREE + 8);
	EXPECT_TRAP_ERROR(13, 0,
		__asm__ volatile("pushl %0; pushl $0x10; ljmp *(%%esp)"
				 :
				 : "r"((uint32_t)small)
				 : "memory"));
	EXPECT_EQ(trap.cs, SEL_CODE32);
	code[0xe] = 0xeb; /* JMP +2: beyond, so that the jump itself faults */
	code[0xf] = 0x02;
	EXPECT_TRAP_ERROR(13, 0,
		__asm__ volatile("pushl %0; pushl $0xe; ljmp *(%%esp)"
				 :
				 : "r"((uint32_t)small)
				 : "memory"));
	EXPECT_EQ(trap.eip, 0xe);
}

static uint64_t ldt[4] __attribute__((aligned(8)));

STAGE(local_table)
{
	ldt[1] = descriptor(MAILBOX, 0xff, D_PRESENT | D_DATA, D_32);
	gdt_put(0, descriptor((uint32_t)ldt, 2 * 8 - 1, D_PRESENT | D_LDT, 0));
	__asm__ volatile("lldt %w0" : : "r"(SEL_FREE));
	mailbox()[0] = 0xcafe;
	LOAD_SEGMENT(fs, 0x0c);
	EXPECT_EQ(RD32(fs, 0), 0xcafe);
	EXPECT_EQ(ldt[1] >> 40 & 1, 1);
	EXPECT_TRAP_ERROR(13, 0x14, LOAD_SEGMENT(fs, 0x14)); /* beyond its limit */
	EXPECT_TRAP_ERROR(13, 0x14, LOAD_SEGMENT(fs, 0x17));
	/* Selector 4 is no null selector: entry 0 of the LDT can be used. */
	ldt[0] = ldt[1];
	LOAD_SEGMENT(fs, 0x04);
	EXPECT_EQ(RD32(fs, 0), 0xcafe);
	EXPECT_TRAP_ERROR(13, SEL_DATA32, __asm__ volatile("lldt %w0" : : "r"(SEL_DATA32)));
	EXPECT_TRAP_ERROR(13, 0x0c, __asm__ volatile("lldt %w0" : : "r"(0x0c)));
	gdt_put(1, descriptor((uint32_t)ldt, 31, D_LDT, 0));
	EXPECT_TRAP_ERROR(11, SEL_FREE + 8, __asm__ volatile("lldt %w0" : : "r"(SEL_FREE + 8)));
	__asm__ volatile("lldt %w0" : : "r"(0));
	EXPECT_TRAP_ERROR(13, 0x0c, LOAD_SEGMENT(fs, 0x0c));
}

static uint32_t lar(uint32_t selector, bool *ok)
{
	uint32_t v = 0xdeadbeef;
	uint8_t zf;

	__asm__ volatile("lar %2, %0; setz %1" : "+r"(v), "=q"(zf) : "r"(selector) : "cc");
	*ok = zf;
	return v;
}

static uint32_t lsl(uint32_t selector, bool *ok)
{
	uint32_t v = 0xdeadbeef;
	uint8_t zf;

	__asm__ volatile("lsl %2, %0; setz %1" : "+r"(v), "=q"(zf) : "r"(selector) : "cc");
	*ok = zf;
	return v;
}

static bool verr(uint32_t selector)
{
	uint8_t zf;

	__asm__ volatile("verr %w1; setz %0" : "=q"(zf) : "r"(selector) : "cc");
	return zf;
}

static bool verw(uint32_t selector)
{
	uint8_t zf;

	__asm__ volatile("verw %w1; setz %0" : "=q"(zf) : "r"(selector) : "cc");
	return zf;
}

STAGE(lar_of_types)
{
	/* SDM volume 2, LAR, table 3-53: system types that are valid in 32-bit mode. */
	static const uint8_t valid[16] = {0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0};
	bool ok;

	for (unsigned type = 0; type < 32; type++) {
		uint16_t s = gdt_put(0, descriptor(0x12345678, 0x9abcd, D_PRESENT | type, D_32));
		uint32_t rights = lar(s, &ok);

		EXPECT_EQ((type << 8) | ok, (type << 8) | (type >= 16 || valid[type]));
		EXPECT_EQ(ok ? rights & 0xf0ff00 : 0, ok ? (0x400000 | 0x8000 | type << 8) : 0);
		if (!ok)
			EXPECT_EQ(rights, 0xdeadbeef);
	}
	lar(0, &ok);
	EXPECT_EQ(ok, 0);
	lar(GDT_ENTRIES * 8, &ok);
	EXPECT_EQ(ok, 0);
	lar(SEL_DATA32 | 3, &ok); /* RPL above DPL */
	EXPECT_EQ(ok, 0);
}

STAGE(lsl_of_types)
{
	static const uint8_t valid[16] = {0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0};
	bool ok;

	for (unsigned type = 0; type < 32; type++) {
		uint16_t s = gdt_put(0, descriptor(0x12345678, 0x9abcd, D_PRESENT | type, D_32));
		uint32_t limit = lsl(s, &ok);

		EXPECT_EQ((type << 8) | ok, (type << 8) | (type >= 16 || valid[type]));
		EXPECT_EQ(limit, ok ? 0x9abcd : 0xdeadbeef);
	}
	EXPECT_EQ(lsl(SEL_DATA32, &ok), 0xffffffff);
	EXPECT_EQ(lsl(SEL_CODE16, &ok), 0xffff);
}

STAGE(verr_and_verw)
{
	EXPECT_TRUE(verr(SEL_DATA32) && verw(SEL_DATA32));
	EXPECT_TRUE(verr(SEL_CODE32) && !verw(SEL_CODE32));
	EXPECT_TRUE(!verr(0) && !verw(0));
	EXPECT_TRUE(!verr(SEL_TSS) && !verw(SEL_TSS));
	EXPECT_TRUE(verr(data(0, 0, D_DATA_RO, 0)) && !verw(SEL_FREE));
	EXPECT_TRUE(!verr(data(0, 0, D_CODE_XO, 0)) && !verw(SEL_FREE));
	EXPECT_TRUE(!verr(SEL_DATA32 | 3) && !verw(SEL_DATA32 | 3));
	EXPECT_TRUE(verr(SEL_UDATA) && verw(SEL_UDATA));
	data(0, 0, D_CODE_CONFORMING, 0);
	EXPECT_TRUE(verr(SEL_FREE | 3)); /* conforming: privilege does not count */
	EXPECT_TRUE(!verr(GDT_ENTRIES * 8));
}

STAGE(arpl)
{
	uint32_t v = 0xabcd0010;
	uint8_t zf;

	__asm__ volatile("arpl %w2, %w0; setz %1" : "+r"(v), "=q"(zf) : "r"(3) : "cc");
	EXPECT_EQ(v, 0xabcd0013);
	EXPECT_EQ(zf, 1);
	__asm__ volatile("arpl %w2, %w0; setz %1" : "+r"(v), "=q"(zf) : "r"(2) : "cc");
	EXPECT_EQ(v, 0xabcd0013);
	EXPECT_EQ(zf, 0);
	mailbox()[0] = 0x11110008;
	__asm__ volatile("arpl %w1, %0" : "+m"(*(uint16_t *)mailbox()) : "r"(1) : "cc");
	EXPECT_EQ(mailbox()[0], 0x11110009);
}

STAGE(far_pointers)
{
	volatile uint32_t offset = 0;
	static struct {
		uint32_t offset;
		uint16_t selector;
	} __attribute__((packed)) at = {0x11223344, SEL_DATA32};

	__asm__ volatile("lfs %1, %%eax; mov %%eax, %0" : "=m"(offset) : "m"(at) : "eax");
	EXPECT_EQ(offset, 0x11223344);
	EXPECT_EQ(READ_SEGMENT(fs), SEL_DATA32);
	at.selector = SEL_CODE16;
	__asm__ volatile(
		"push %%es; les %2, %%eax; mov %%eax, %0; mov %%es, %%eax; pop %%es; mov %%eax, %1"
		: "=m"(offset), "=m"(mailbox()[0])
		: "m"(at)
		: "eax");
	EXPECT_EQ(mailbox()[0], SEL_CODE16);
	/* The register is loaded last: a bad selector leaves it. */
	at.selector = GDT_ENTRIES * 8;
	EXPECT_TRAP_ERROR(13, GDT_ENTRIES * 8,
		__asm__ volatile("mov $0x55, %%eax; lgs %0, %%eax"
				 :
				 : "m"(at)
				 : "eax"));
	EXPECT_EQ(trap.eax, 0x55);
	at.selector = SEL_DATA32;
	__asm__ volatile("push %%ds; lds %0, %%eax; pop %%ds; mov %%eax, 0x5f000"
			 :
			 : "m"(at)
			 : "eax", "memory");
	EXPECT_EQ(mailbox()[0], 0x11223344);
}
