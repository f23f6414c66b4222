/* SPDX-License-Identifier: MIT */
/*
 * Kernel exceptions, instructions (Intel SDM volume 3, 6.15; volume 2 by instruction): encodings
 * that are none, instructions that are not allowed now, and what needs a privilege.
 *
 * Code that a compiler would not write is bytes in a page of the arena, ended by UD2 so that what
 * is wrongly executed is seen as well.
 */
#include "kernels/exceptions/exceptions.h"
#include "runtime/memory.h"
#include "runtime/user.h"

#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)

#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)

struct code {
	uint8_t length, bytes[15];
};

/* Calls the bytes with all pointers at a buffer; what they raise is seen. */
static bool call_bytes(const void *bytes, size_t size)
{
	uint8_t *code = arena_alloc(64, 64), *buffer = arena_alloc(64, 64);

	memset(code, 0x0b, 64);
	memcpy(code, bytes, size);
	memcpy(code + size, "\x0f\x0b", 2);
	mark = phys(code);
	return TRAPS(__asm__ volatile(
		"call *%0"
		:
		: "r"(code), "a"(0), "b"(buffer), "c"(0), "d"(0), "S"(buffer), "D"(buffer)
		: "r8", "r9", "r10", "r11", "memory", "cc"));
}

/* Each of the table raises `vector` with `error` at itself. */
static void all_raise(const struct code *codes, size_t count, unsigned vector, uint64_t error)
{
	for (size_t i = 0; i < count; i++) {
		bool trapped;

		see(false);
		trapped = call_bytes(codes[i].bytes, codes[i].length);
		if (trapped && seen[0].frame.vector == vector && seen[0].frame.rip == mark &&
			(vector == TRAP_UD || seen[0].frame.error == error))
			continue;
		note("bytes %x %x %x %x ...: trap %d error 0x%lx at +%ld", codes[i].bytes[0],
			codes[i].bytes[1], codes[i].bytes[2], codes[i].bytes[3],
			trapped ? (int)seen[0].frame.vector : -1, seen[0].frame.error,
			(int64_t)(seen[0].frame.rip - mark));
		EXPECT_EQ(seen[0].frame.vector, vector);
		EXPECT_EQ(seen[0].frame.rip, mark);
	}
}

#define ALL_RAISE(codes, vector, error) \
	all_raise(codes, sizeof(codes) / sizeof((codes)[0]), vector, error)

TEST(ud_of_lock, "",
	"LOCK before an instruction that does not take it, or with a register destination, is #UD")
{
	static const struct code codes[] = {
		{2, {0xf0, 0x90}},		     /* nop */
		{3, {0xf0, 0x89, 0x03}},	     /* mov [rbx], eax */
		{3, {0xf0, 0x01, 0xc3}},	     /* add ebx, eax */
		{3, {0xf0, 0x03, 0x03}},	     /* add eax, [rbx] */
		{3, {0xf0, 0x39, 0x03}},	     /* cmp [rbx], eax */
		{3, {0xf0, 0x85, 0x03}},	     /* test [rbx], eax */
		{3, {0xf0, 0xff, 0x33}},	     /* push [rbx] */
		{4, {0xf0, 0x0f, 0xa3, 0x03}},	     /* bt [rbx], eax */
		{4, {0xf0, 0x0f, 0xb1, 0xc3}},	     /* cmpxchg ebx, eax */
		{3, {0xf0, 0xd1, 0x23}},	     /* shl dword [rbx], 1 */
		{2, {0xf0, 0xa5}},		     /* movsd */
		{3, {0xf0, 0x8d, 0x03}},	     /* lea eax, [rbx] */
		{2, {0xf0, 0xc3}},		     /* ret */
		{3, {0xf0, 0xeb, 0x00}},	     /* jmp */
		{5, {0xf0, 0x0f, 0x01, 0x3b, 0x90}}, /* invlpg */
	};

	ALL_RAISE(codes, TRAP_UD, 0);
}

TEST(ud_of_removed_opcodes, "", "opcodes that 64-bit mode took away are #UD", NEEDS("exact"))
{
	static const struct code codes[] = {
		{1, {0x06}},
		{1, {0x07}},
		{1, {0x0e}},
		{1, {0x16}},
		{1, {0x17}},
		{1, {0x1e}},
		{1, {0x1f}},
		{1, {0x27}},
		{1, {0x2f}},
		{1, {0x37}},
		{1, {0x3f}},
		{1, {0x60}},
		{1, {0x61}},
		{3, {0x82, 0xc0, 0x01}},
		{7, {0x9a, 0, 0, 0, 0, 8, 0}},
		{1, {0xce}},
		{2, {0xd4, 0x0a}},
		{2, {0xd5, 0x0a}},
		{1, {0xd6}},
		{7, {0xea, 0, 0, 0, 0, 8, 0}},
	};

	ALL_RAISE(codes, TRAP_UD, 0);
}

TEST(ud_of_reserved_encodings, "", "encodings that no processor defines are #UD", NEEDS("exact"))
{
	static const struct code codes[] = {
		{3, {0x0f, 0xff, 0xc0}},    /* UD0 */
		{3, {0x0f, 0xb9, 0xc0}},    /* UD1 */
		{2, {0x8e, 0xc8}},	    /* mov cs, ax */
		{2, {0x8e, 0xf0}},	    /* mov to segment 6 */
		{2, {0x8c, 0xf8}},	    /* mov from segment 7 */
		{2, {0xfe, 0xd0}},	    /* FE /2 */
		{2, {0xff, 0xf8}},	    /* FF /7 */
		{2, {0x8f, 0xc8}},	    /* 8F /1 without XOP's map */
		{3, {0xc6, 0xc8, 0x01}},    /* C6 /1 */
		{4, {0x0f, 0xba, 0xc0, 1}}, /* 0F BA /0 */
		{2, {0x8d, 0xc0}},	    /* lea of a register */
		{3, {0x0f, 0x04, 0xc0}},    /* 0F 04 */
		{3, {0x0f, 0x0a, 0xc0}},
		{3, {0x0f, 0x24, 0xc0}}, /* mov from TR4 of the 386 */
		{3, {0x0f, 0xa6, 0x00}},
		{2, {0xff, 0xd8 | 0x03}}, /* far call of a register */
		{2, {0xff, 0xe8 | 0x03}},
	};

	ALL_RAISE(codes, TRAP_UD, 0);
}

TEST(ud_of_control_registers, "", "control registers that are not there are #UD")
{
	static const struct code codes[] = {
		{3, {0x0f, 0x20, 0xc8}},
		{3, {0x0f, 0x22, 0xc8}},
		{3, {0x0f, 0x20, 0xe8}},
		{3, {0x0f, 0x22, 0xf8}},
		{4, {0x44, 0x0f, 0x20, 0xc8}},
		{4, {0x44, 0x0f, 0x22, 0xf8}},
	};

	ALL_RAISE(codes, TRAP_UD, 0);
}

TEST(gp_of_too_long, "", "an instruction of more than 15 bytes is #GP with error code 0")
{
	uint8_t bytes[16];

	memset(bytes, 0x66, sizeof(bytes));
	bytes[15] = 0x90;
	see(false);
	EXPECT_TRUE(call_bytes(bytes, 16));
	EXPECT_EQ(seen[0].frame.vector, TRAP_GP);
	EXPECT_EQ(seen[0].frame.error, 0);
	EXPECT_EQ(seen[0].frame.rip, mark);
	see(false);
	EXPECT_TRUE(call_bytes(bytes + 1, 15)); /* 15 are good: the UD2 behind them is met */
	EXPECT_EQ(seen[0].frame.vector, TRAP_UD);
	EXPECT_EQ(seen[0].frame.rip, mark + 15);
}

TEST(nm_of_ts_and_em, "", "x87 instructions are #NM at themselves while CR0.TS or CR0.EM is set",
	NEEDS("exact"))
{
	uint64_t cr0 = read_cr0();

	if (!(cpuid(1, 0).edx & 1))
		SKIP("the processor has no x87");
	write_cr0(cr0 | CR0_TS);
	EXPECT_FAULT(TRAP_NM, 0, __asm__ volatile(MARK "fnop" : : : "rax", "memory"));
	write_cr0((cr0 & ~CR0_TS) | CR0_EM);
	EXPECT_FAULT(TRAP_NM, 0, __asm__ volatile(MARK "fnop" : : : "rax", "memory"));
	write_cr0(cr0 | CR0_TS | CR0_MP);
	EXPECT_FAULT(TRAP_NM, 0, __asm__ volatile(MARK "fwait" : : : "rax", "memory"));
	write_cr0(cr0 | CR0_TS);
	__asm__ volatile("clts");
	EXPECT_EQ(read_cr0() & CR0_TS, 0);
	write_cr0(cr0);
}

static void control_back(void *opaque)
{
	__asm__ volatile("fninit");
	write_cr4(read_cr4() & ~(CR4_OSFXSR | CR4_OSXMMEXCPT));
}

static void floating_point(void)
{
	static struct test_reset_hook hook = {.reset = control_back};

	if ((cpuid(1, 0).edx & 0x2000001) != 0x2000001)
		SKIP("the processor has no x87 or no SSE");
	test_reset_hook(&hook);
}

TEST(mf_waits_for_the_next, "",
	"an unmasked x87 exception is #MF at the next waiting instruction, not at its own",
	NEEDS("exact"))
{
	uint16_t unmasked = 0x37b; /* ZM clear */

	floating_point();
	see(false);
	EXPECT_TRAP(
		TRAP_MF, __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; nop;" MARK "fwait"
					  :
					  : "m"(unmasked)
					  : "rax", "memory"));
	EXPECT_EQ(seen[0].frame.rip, mark);
	/* An instruction that does not wait passes. */
	EXPECT_FALSE(TRAPS(__asm__ volatile("fnclex")));
	EXPECT_FALSE(TRAPS(__asm__ volatile("fwait")));
}

TEST(xm_at_the_instruction, "",
	"an unmasked SSE exception is #XM at its instruction, or #UD without CR4.OSXMMEXCPT",
	NEEDS("exact"))
{
	uint32_t unmasked = 0x1d80; /* ZM clear */

	floating_point();
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	EXPECT_FAULT(TRAP_XM, 0,
		__asm__ volatile("pxor %%xmm1, %%xmm1; mov $0x3f800000, %%eax; movd %%eax, %%xmm0;"
				 "ldmxcsr %0;" MARK "divss %%xmm1, %%xmm0"
				 :
				 : "m"(unmasked)
				 : "rax", "memory"));
	write_cr4(read_cr4() & ~CR4_OSXMMEXCPT);
	EXPECT_FAULT(TRAP_UD, 0,
		__asm__ volatile(MARK "divss %%xmm1, %%xmm0"
				 :
				 :
				 : "rax", "memory"));
	unmasked = 0x1f80;
	__asm__ volatile("ldmxcsr %0" : : "m"(unmasked));
}

TEST(sse_needs_osfxsr, "",
	"SSE instructions are #UD without CR4.OSFXSR or with CR0.EM, and #NM with CR0.TS",
	NEEDS("exact"))
{
	uint64_t cr0 = read_cr0();

	floating_point();
	write_cr4(read_cr4() & ~CR4_OSFXSR);
	EXPECT_FAULT(TRAP_UD, 0,
		__asm__ volatile(MARK "addps %%xmm0, %%xmm0"
				 :
				 :
				 : "rax", "memory"));
	write_cr4(read_cr4() | CR4_OSFXSR);
	write_cr0(cr0 | CR0_TS);
	EXPECT_FAULT(TRAP_NM, 0,
		__asm__ volatile(MARK "addps %%xmm0, %%xmm0"
				 :
				 :
				 : "rax", "memory"));
	write_cr0(cr0 | CR0_EM);
	EXPECT_FAULT(TRAP_UD, 0,
		__asm__ volatile(MARK "addps %%xmm0, %%xmm0"
				 :
				 :
				 : "rax", "memory"));
	write_cr0(cr0);
	EXPECT_FALSE(TRAPS(__asm__ volatile("addps %%xmm0, %%xmm0" :)));
}

/* --- privilege --- */

static uint64_t run_at_3(void *arg)
{
	mark = (uint64_t)arg;
	__asm__ volatile("call *%0" : : "r"(arg) : "rax", "rcx", "rdx", "memory");
	return 0;
}

static void is_refused_at_3(const struct code *instruction)
{
	uint8_t *code = arena_alloc(16, 16);

	memcpy(code, instruction->bytes, instruction->length);
	memcpy(code + instruction->length, "\x0f\x0b", 2);
	EXPECT_FAULT(TRAP_GP, 0, user_call(run_at_3, code));
}

TEST(gp_of_privileged_instructions, "", "privileged instructions at CPL 3 are #GP(0) at themselves")
{
	static const struct code codes[] = {
		{1, {0xf4}},		       /* hlt */
		{2, {0x0f, 0x06}},	       /* clts */
		{2, {0x0f, 0x08}},	       /* invd */
		{2, {0x0f, 0x09}},	       /* wbinvd */
		{2, {0x0f, 0x30}},	       /* wrmsr */
		{2, {0x0f, 0x32}},	       /* rdmsr */
		{3, {0x0f, 0x20, 0xc0}},       /* mov rax, cr0 */
		{3, {0x0f, 0x22, 0xd8}},       /* mov cr3, rax */
		{3, {0x0f, 0x21, 0xf8}},       /* mov rax, dr7 */
		{3, {0x0f, 0x23, 0xc0}},       /* mov dr0, rax */
		{3, {0x0f, 0x01, 0xf0}},       /* lmsw ax */
		{3, {0x0f, 0x00, 0xd0}},       /* lldt ax */
		{3, {0x0f, 0x00, 0xd8}},       /* ltr ax */
		{4, {0x0f, 0x01, 0x3c, 0x24}}, /* invlpg [rsp] */
		{4, {0x0f, 0x01, 0x14, 0x24}}, /* lgdt [rsp] */
		{4, {0x0f, 0x01, 0x1c, 0x24}}, /* lidt [rsp] */
		{3, {0x0f, 0x01, 0xf8}},       /* swapgs */
		{3, {0x48, 0x0f, 0x07}},       /* sysret */
	};
	uint64_t efer = rdmsr(0xc0000080);

	wrmsr(0xc0000080, efer | 1); /* SYSRET is #UD else */
	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		is_refused_at_3(&codes[i]);
	wrmsr(0xc0000080, efer);
}

TEST(ports_at_level_3, "", "a port at CPL 3 without IOPL and without a permission map is #GP(0)")
{
	static const struct code codes[] = {
		{2, {0xe4, 0x80}},
		{2, {0xe6, 0x80}},
		{1, {0xec}},
		{1, {0xef}},
		{1, {0x6c}},
		{1, {0x6e}},
	};

	for (unsigned i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		is_refused_at_3(&codes[i]);
}
