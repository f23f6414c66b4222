/* SPDX-License-Identifier: MIT */
/* Kernel fpu: what SSE and MMX instructions compute, MXCSR, and what they raise. */
#include "kernels/fpu/fpu.h"

void fpu_write_cr0(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

void fpu_write_cr4(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

static uint64_t reset_units(void *arg)
{
	uint32_t mxcsr = MXCSR_RESET;

	__asm__ volatile("fninit\n"
			 "ldmxcsr %0"
			 :
			 : "m"(mxcsr));
	return 0;
}

void fpu_on(void)
{
	fpu_write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	fpu_write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	user_call(reset_units, NULL);
}

bool fpu_has(unsigned ecx_bit)
{
	return cpuid(1, 0).ecx >> ecx_bit & 1;
}

void fpu_need(unsigned ecx_bit, const char *name)
{
	if (!fpu_has(ecx_bit))
		SKIP("the processor has no %s", name);
}

/* --- results --- */

struct operands {
	struct vector a, b, result;
};

/* xmm0 = a; xmm0 = xmm0 op b; the result. */
#define OPERATION(name, text)                                    \
	static uint64_t name(void *arg)                          \
	{                                                        \
		struct operands *o = arg;                        \
                                                                 \
		__asm__ volatile("movups %1, %%xmm0\n"           \
				 "movups %2, %%xmm1\n" text "\n" \
				 "movups %%xmm0, %0"             \
				 : "=m"(o->result)               \
				 : "m"(o->a), "m"(o->b)          \
				 : "memory", "cc");              \
		return 0;                                        \
	}

struct known {
	uint64_t (*run)(void *);
	const char *name;
	uint64_t a[2], b[2], result[2];
};

static void all_known(const struct known *rows, size_t count)
{
	for (size_t n = 0; n < count; n++) {
		struct operands o = {
			{{rows[n].a[0], rows[n].a[1]}}, {{rows[n].b[0], rows[n].b[1]}}, {{0, 0}}};

		user_call(rows[n].run, &o);
		if (!EXPECT_EQ(o.result.q[0], rows[n].result[0]) ||
			!EXPECT_EQ(o.result.q[1], rows[n].result[1]))
			note("%s", rows[n].name);
	}
}

#define ALL_KNOWN(rows) all_known(rows, sizeof(rows) / sizeof((rows)[0]))

OPERATION(do_addps, "addps %%xmm1, %%xmm0")
OPERATION(do_mulpd, "mulpd %%xmm1, %%xmm0")
OPERATION(do_subss, "subss %%xmm1, %%xmm0")
OPERATION(do_divsd, "divsd %%xmm1, %%xmm0")
OPERATION(do_sqrtsd, "sqrtsd %%xmm1, %%xmm0")
OPERATION(do_maxps, "maxps %%xmm1, %%xmm0")
OPERATION(do_cmpltpd, "cmpltpd %%xmm1, %%xmm0")
OPERATION(do_cvtdq2ps, "cvtdq2ps %%xmm1, %%xmm0")
OPERATION(do_cvttpd2dq, "cvttpd2dq %%xmm1, %%xmm0")
OPERATION(do_cvtss2sd, "cvtss2sd %%xmm1, %%xmm0")

TEST(sse_arithmetic, "",
	"packed and scalar arithmetic, comparison and conversion give IEEE 754's results")
{
	static const struct known rows[] = {
		{do_addps, "addps", {0x400000003f800000, 0xbf80000040400000},
			{0x3f8000003f800000, 0x3f8000003f000000},
			{0x4040000040000000, 0x0000000040600000}},
		{do_mulpd, "mulpd", {TWO, 0xbff8000000000000}, {THREE, THREE},
			{0x4018000000000000, 0xc012000000000000}},
		{do_subss, "subss", {0x1111111140000000, 7}, {0x222222223f800000, 8},
			{0x111111113f800000, 7}},
		{do_divsd, "divsd", {ONE, 5}, {THREE, 6}, {ONE_THIRD, 5}},
		{do_sqrtsd, "sqrtsd", {1, 5}, {TWO, 6}, {0x3ff6a09e667f3bcd, 5}},
		{do_maxps, "maxps", {0x7fc000003f800000, 0x8000000000000000},
			{0x3f80000040000000, 0x00000000bf800000},
			{0x3f80000040000000, 0x0000000000000000}},
		{do_cmpltpd, "cmpltpd", {ONE, 0x7ff8000000000000}, {TWO, ONE}, {~0ull, 0}},
		{do_cvtdq2ps, "cvtdq2ps", {0, 0}, {0xfffffffe00000003, 0x7fffffff80000000},
			{0xc000000040400000, 0x4f000000cf000000}},
		{do_cvttpd2dq, "cvttpd2dq", {1, 2}, {0xc007ae147ae147ae, 0x41f0000000000000},
			{0x80000000fffffffe, 0}},
		{do_cvtss2sd, "cvtss2sd", {9, 5}, {0x3eaaaaab, 6}, {0x3fd5555560000000, 5}},
	};

	fpu_on();
	ALL_KNOWN(rows);
}

OPERATION(do_paddsw, "paddsw %%xmm1, %%xmm0")
OPERATION(do_pmaddwd, "pmaddwd %%xmm1, %%xmm0")
OPERATION(do_pshufd, "pshufd $0x1b, %%xmm1, %%xmm0")
OPERATION(do_packuswb, "packuswb %%xmm1, %%xmm0")
OPERATION(do_psadbw, "psadbw %%xmm1, %%xmm0")
OPERATION(do_punpckhbw, "punpckhbw %%xmm1, %%xmm0")
OPERATION(do_pslldq, "pslldq $3, %%xmm0")
OPERATION(do_psrad, "psrad %%xmm1, %%xmm0")
OPERATION(do_shufps, "shufps $0x4e, %%xmm1, %%xmm0")
OPERATION(do_pmuludq, "pmuludq %%xmm1, %%xmm0")

TEST(sse_integers, "", "packed integers: saturation, products, shuffles, shifts")
{
	static const struct known rows[] = {
		{do_paddsw, "paddsw", {0x7fff80000001ffff, 5}, {0x0001ffff0002ffff, 6},
			{0x7fff80000003fffe, 11}},
		{do_pmaddwd, "pmaddwd", {0x0002000300040005, 0x8000800000010000},
			{0x00060007fff80009, 0x8000800000010001},
			{0x000000210000000d, 0x8000000000000001}},
		{do_pshufd, "pshufd", {0, 0}, {0x1111111100000000, 0x3333333322222222},
			{0x2222222233333333, 0x0000000011111111}},
		{do_packuswb, "packuswb", {0x0001ffff00ff0100, 0x0002000300040005},
			{0x7fff800000800081, 0}, {0x020304050100ffff, 0x00000000ff008081}},
		{do_psadbw, "psadbw", {0x00000000000000ff, 0x0101010101010101},
			{0x0000000000000001, 0x0200020002000200}, {0x0fe, 8}},
		{do_punpckhbw, "punpckhbw", {0, 0x0706050403020100}, {0, 0x1716151413121110},
			{0x1303120211011000, 0x1707160615051404}},
		{do_pslldq, "pslldq", {0x1122334455667788, 0x99aabbccddeeff00}, {0, 0},
			{0x4455667788000000, 0xccddeeff00112233}},
		{do_psrad, "psrad", {0x80000000ffffffff, 0x7fffffff00000010}, {4, 0},
			{0xf8000000ffffffff, 0x07ffffff00000001}},
		{do_shufps, "shufps", {0x0000000200000001, 0x0000000400000003},
			{0x0000000600000005, 0x0000000800000007},
			{0x0000000400000003, 0x0000000600000005}},
		{do_pmuludq, "pmuludq", {0xffffffffffffffff, 3}, {0x00000001ffffffff, 5},
			{0xfffffffe00000001, 15}},
	};

	fpu_on();
	ALL_KNOWN(rows);
}

OPERATION(do_haddps, "haddps %%xmm1, %%xmm0")
OPERATION(do_pshufb, "pshufb %%xmm1, %%xmm0")
OPERATION(do_roundsd, "roundsd $1, %%xmm1, %%xmm0")
OPERATION(do_dpps, "dpps $0xf1, %%xmm1, %%xmm0")
OPERATION(do_pcmpistrm, "pcmpistrm $0x40, %%xmm1, %%xmm0")
OPERATION(do_pclmul, "pclmulqdq $0, %%xmm1, %%xmm0")

static void extension(unsigned bit, const char *name, const struct known *row)
{
	fpu_on();
	fpu_need(bit, name);
	all_known(row, 1);
}

TEST(sse3_haddps, "", "HADDPS adds neighbours")
{
	static const struct known row = {do_haddps, "haddps",
		{0x3f8000003f800000, 0x4000000040000000}, {0x400000003f800000, 0},
		{0x4080000040000000, 0x0000000040400000}};

	extension(0, "SSE3", &row);
}

TEST(ssse3_pshufb, "", "PSHUFB takes bytes by number, and zero where bit 7 is set")
{
	static const struct known row = {do_pshufb, "pshufb",
		{0x0706050403020100, 0x0f0e0d0c0b0a0908}, {0x8000010203040506, 0x0f0f1f8f00000000},
		{0x0000010203040506, 0x0f0f0f0000000000}};

	extension(9, "SSSE3", &row);
}

TEST(sse41_results, "", "ROUNDSD rounds by its immediate; DPPS sums products where its mask says")
{
	static const struct known rows[] = {
		{do_roundsd, "roundsd", {0, 5}, {0xbff8000000000000, 0}, {0xc000000000000000, 5}},
		{do_dpps, "dpps", {0x400000003f800000, 0x4080000040400000},
			{0x3f8000003f800000, 0x3f8000003f800000}, {0x0000000041200000, 0}},
	};

	fpu_on();
	fpu_need(19, "SSE4.1");
	ALL_KNOWN(rows);
}

TEST(sse42_strings, "", "PCMPISTRM: the bytes of one string that are in the other, as a mask")
{
	/* xmm0 is the set "abc", xmm1 the string "xaybzc". */
	static const struct known row = {do_pcmpistrm, "pcmpistrm", {0x0000000000636261, 0},
		{0x0000637a62796178, 0}, {0x0000ff00ff00ff00, 0}};

	extension(20, "SSE4.2", &row);
}

TEST(pclmul_result, "", "PCLMULQDQ multiplies without carries")
{
	static const struct known row = {
		do_pclmul, "pclmulqdq", {0xffffffffffffffff, 0}, {3, 0}, {1, 1}};

	extension(1, "PCLMULQDQ", &row);
}

/* --- MXCSR --- */

struct control {
	uint32_t mxcsr, after;
	uint64_t a, b, result;
};

static uint64_t do_cvtsd2si(void *arg)
{
	struct control *o = arg;

	__asm__ volatile("ldmxcsr %2\n"
			 "cvtsd2si %3, %0\n"
			 "stmxcsr %1"
			 : "=r"(o->result), "=m"(o->after)
			 : "m"(o->mxcsr), "m"(o->a));
	return 0;
}

static uint64_t do_division(void *arg)
{
	struct control *o = arg;

	__asm__ volatile("ldmxcsr %2\n"
			 "movsd %3, %%xmm0\n"
			 "movsd %%xmm0, %0\n"
			 "divsd %4, %%xmm0\n"
			 "movsd %%xmm0, %0\n"
			 "stmxcsr %1"
			 : "=m"(o->result), "=m"(o->after)
			 : "m"(o->mxcsr), "m"(o->a), "m"(o->b)
			 : "memory");
	return 0;
}

TEST(mxcsr_rounding, "", "MXCSR.RC: to nearest even, down, up, toward zero")
{
	static const int64_t expected[4][2] = {{2, -2}, {2, -3}, {3, -2}, {2, -2}};

	fpu_on();
	for (unsigned rc = 0; rc < 4; rc++)
		for (unsigned n = 0; n < 2; n++) {
			struct control o = {.mxcsr = MXCSR_RESET | rc << 13,
				.a = n ? 0xc004000000000000 : 0x4004000000000000}; /* 2.5 */

			user_call(do_cvtsd2si, &o);
			EXPECT_EQ(o.result, expected[rc][n]);
			EXPECT_EQ(o.after, o.mxcsr | 0x20);
		}
}

TEST(mxcsr_flags, "", "masked exceptions leave their flags in MXCSR, which only software clears")
{
	static const struct {
		uint64_t a, b, result;
		uint32_t flags;
	} rows[] = {
		{ONE, 0, 0x7ff0000000000000, 0x04},
		{0, 0, 0xfff8000000000000, 0x01},
		{ONE, THREE, ONE_THIRD, 0x20},
		{0x7fe0000000000000, 0x0010000000000000, 0x7ff0000000000000, 0x28},
		{0x0010000000000000, 0x7fe0000000000000, 0, 0x30},
		{ONE, 0x0008000000000000, 0x7fe0000000000000, 0x02},
		{ONE, TWO, 0x3fe0000000000000, 0},
	};

	fpu_on();
	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		struct control o = {.mxcsr = MXCSR_RESET, .a = rows[n].a, .b = rows[n].b};

		user_call(do_division, &o);
		EXPECT_EQ(o.result, rows[n].result);
		EXPECT_EQ(o.after, MXCSR_RESET | rows[n].flags);
		/* What is there stays. */
		o.mxcsr = MXCSR_RESET | 0x3f;
		user_call(do_division, &o);
		EXPECT_EQ(o.after, MXCSR_RESET | 0x3f);
	}
}

TEST(mxcsr_denormals, "", "DAZ takes denormal operands as zero, FZ gives zero for denormal results")
{
	struct control o = {.mxcsr = MXCSR_RESET | 0x40, .a = 0x0008000000000000, .b = ONE};

	fpu_on();
	user_call(do_division, &o);
	EXPECT_EQ(o.result, 0);
	EXPECT_EQ(o.after, o.mxcsr);
	o = (struct control){.mxcsr = MXCSR_RESET | 0x8000, .a = 0x0010000000000000, .b = TWO};
	user_call(do_division, &o);
	EXPECT_EQ(o.result, 0);
	EXPECT_EQ(o.after, o.mxcsr | 0x30);
	o.mxcsr = MXCSR_RESET;
	user_call(do_division, &o);
	EXPECT_EQ(o.result, 0x0008000000000000);
	EXPECT_EQ(o.after, o.mxcsr);
}

static uint64_t do_stmxcsr(void *arg)
{
	__asm__ volatile("stmxcsr %0" : "=m"(*(uint32_t *)arg));
	return 0;
}

TEST(xm_of_unmasked, "",
	"an unmasked SIMD exception is #XM, its flag set, the destination as before")
{
	struct control o = {.mxcsr = MXCSR_RESET & ~(4u << 7), .a = ONE, .b = 0};

	fpu_on();
	EXPECT_TRAP(TRAP_XM, user_call(do_division, &o));
	EXPECT_EQ(o.result, ONE);
	user_call(do_stmxcsr, &o.after);
	EXPECT_EQ(o.after, o.mxcsr | 4);
}

TEST(ud_without_osxmmexcpt, "", "without CR4.OSXMMEXCPT an unmasked SIMD exception is #UD",
	NEEDS("exact"))
{
	struct control o = {.mxcsr = MXCSR_RESET & ~(4u << 7), .a = ONE, .b = 0};

	fpu_on();
	fpu_write_cr4(read_cr4() & ~CR4_OSXMMEXCPT);
	EXPECT_TRAP(TRAP_UD, user_call(do_division, &o));
	fpu_write_cr4(read_cr4() | CR4_OSXMMEXCPT);
	EXPECT_TRAP(TRAP_XM, user_call(do_division, &o));
}

static uint64_t do_ldmxcsr(void *arg)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(*(uint32_t *)arg));
	return 0;
}

TEST(gp_of_ldmxcsr, "", "LDMXCSR with a reserved bit is #GP(0)", NEEDS("exact"))
{
	uint32_t values[] = {0x10000 | MXCSR_RESET, 0x80000000};

	fpu_on();
	for (volatile unsigned n = 0; n < 2; n++) {
		EXPECT_TRAP(TRAP_GP, user_call(do_ldmxcsr, &values[n]));
		EXPECT_EQ(trap_last.error, 0);
	}
}

/* --- moves, alignment --- */

struct moved {
	struct vector from, by_memory, by_register, low, high;
	uint32_t signs;
};

static uint64_t do_moves(void *arg)
{
	struct moved *m = arg;

	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n"
			 "movss %5, %%xmm0\n"
			 "movups %%xmm0, %0\n"
			 "pcmpeqd %%xmm0, %%xmm0\n"
			 "movups %5, %%xmm1\n"
			 "movss %%xmm1, %%xmm0\n"
			 "movups %%xmm0, %1\n"
			 "pcmpeqd %%xmm0, %%xmm0\n"
			 "movlps %5, %%xmm0\n"
			 "movups %%xmm0, %2\n"
			 "pcmpeqd %%xmm0, %%xmm0\n"
			 "movhpd %5, %%xmm0\n"
			 "movaps %%xmm0, %3\n"
			 "movmskps %%xmm1, %4"
			 : "=m"(m->by_memory), "=m"(m->by_register), "=m"(m->low), "=m"(m->high),
			 "=r"(m->signs)
			 : "m"(m->from)
			 : "memory");
	return 0;
}

TEST(moves, "",
	"MOVSS from memory clears the rest, from a register keeps it; MOVLPS, MOVHPD keep a half")
{
	struct moved m = {.from = {{0x8000000012345678, 0x80000000ffffffff}}};

	fpu_on();
	user_call(do_moves, &m);
	EXPECT_EQ(m.by_memory.q[0], 0x12345678);
	EXPECT_EQ(m.by_memory.q[1], 0);
	EXPECT_EQ(m.by_register.q[0], 0xffffffff12345678);
	EXPECT_EQ(m.by_register.q[1], ~0ull);
	EXPECT_EQ(m.low.q[0], m.from.q[0]);
	EXPECT_EQ(m.low.q[1], ~0ull);
	EXPECT_EQ(m.high.q[0], ~0ull);
	EXPECT_EQ(m.high.q[1], m.from.q[0]);
	EXPECT_EQ(m.signs, 0xe);
}

#define ACCESS(name, text)                                      \
	static uint64_t name(void *arg)                         \
	{                                                       \
		__asm__ volatile(text : : "r"(arg) : "memory"); \
		return 0;                                       \
	}
ACCESS(do_movaps_load, "movaps (%0), %%xmm0")
ACCESS(do_movdqa_store, "movdqa %%xmm0, (%0)")
ACCESS(do_addps_memory, "addps (%0), %%xmm0")
ACCESS(do_paddd_memory, "paddd (%0), %%xmm0")
ACCESS(do_movups_load, "movups (%0), %%xmm0")
ACCESS(do_movdqu_store, "movdqu %%xmm0, (%0)")
ACCESS(do_addss_memory, "addss (%0), %%xmm0")

TEST(gp_of_unaligned, "",
	"a 16-byte operand at another address is #GP(0), but of MOVUPS and MOVDQU", NEEDS("exact"))
{
	static uint64_t (*const strict[])(void *) = {
		do_movaps_load, do_movdqa_store, do_addps_memory, do_paddd_memory};
	static uint64_t (*const lax[])(void *) = {do_movups_load, do_movdqu_store, do_addss_memory};
	uint8_t *buffer = arena_alloc(64, 64);

	fpu_on();
	memset(buffer, 0, 64);
	for (volatile unsigned n = 0; n < 4; n++) {
		EXPECT_TRAP(TRAP_GP, user_call(strict[n], buffer + 8));
		EXPECT_EQ(trap_last.error, 0);
		EXPECT_FALSE(TRAPS(user_call(strict[n], buffer + 16)));
	}
	for (volatile unsigned n = 0; n < 3; n++)
		EXPECT_FALSE(TRAPS(user_call(lax[n], buffer + 9)));
}

/* --- who may --- */

#define AT_ONCE(text) __asm__ volatile(text)

TEST(ud_without_osfxsr, "", "without CR4.OSFXSR SSE instructions are #UD; MMX and MOVNTI are not",
	NEEDS("exact"))
{
	uint32_t word = MXCSR_RESET;

	fpu_on();
	fpu_write_cr4(read_cr4() & ~CR4_OSFXSR);
	EXPECT_TRAP(TRAP_UD, AT_ONCE("addps %xmm0, %xmm0"));
	EXPECT_TRAP(TRAP_UD, AT_ONCE("movdqa %xmm0, %xmm1"));
	EXPECT_TRAP(TRAP_UD, __asm__ volatile("ldmxcsr %0" : : "m"(word)));
	EXPECT_FALSE(TRAPS(AT_ONCE("paddd %mm0, %mm0\n emms")));
	EXPECT_FALSE(TRAPS(__asm__ volatile("movnti %1, %0" : "=m"(word) : "r"(5))));
	fpu_on();
	EXPECT_EQ(word, 5);
}

TEST(em_and_ts, "", "CR0.EM makes SSE and MMX #UD and x87 #NM; CR0.TS makes all of them #NM",
	NEEDS("exact"))
{
	uint64_t cr0;

	fpu_on();
	cr0 = read_cr0();
	fpu_write_cr0(cr0 | CR0_EM);
	EXPECT_TRAP(TRAP_UD, AT_ONCE("addps %xmm0, %xmm0"));
	EXPECT_TRAP(TRAP_UD, AT_ONCE("paddd %mm0, %mm0"));
	EXPECT_TRAP(TRAP_NM, AT_ONCE("fninit"));
	fpu_write_cr0(cr0 | CR0_EM | CR0_TS);
	EXPECT_TRAP(TRAP_UD, AT_ONCE("addps %xmm0, %xmm0"));
	fpu_write_cr0(cr0 | CR0_TS);
	EXPECT_TRAP(TRAP_NM, AT_ONCE("addps %xmm0, %xmm0"));
	EXPECT_TRAP(TRAP_NM, AT_ONCE("movups %xmm0, %xmm1"));
	EXPECT_TRAP(TRAP_NM, AT_ONCE("paddd %mm0, %mm0"));
	EXPECT_TRAP(TRAP_NM, AT_ONCE("fninit"));
	fpu_write_cr0(cr0);
	EXPECT_FALSE(TRAPS(AT_ONCE("addps %xmm0, %xmm0")));
}

TEST(wait_and_mp, "", "WAIT is #NM with CR0.TS only if CR0.MP is set, too", NEEDS("exact"))
{
	uint64_t cr0;

	fpu_on();
	cr0 = read_cr0();
	fpu_write_cr0((cr0 & ~CR0_MP) | CR0_TS);
	EXPECT_FALSE(TRAPS(AT_ONCE("fwait")));
	fpu_write_cr0(cr0 | CR0_MP | CR0_TS);
	EXPECT_TRAP(TRAP_NM, AT_ONCE("fwait"));
	fpu_write_cr0(cr0);
}
