/* SPDX-License-Identifier: MIT */
/* Kernel fpu: FXSAVE, XSAVE, their images and checks, and what CPUID says of them. */
#include "kernels/fpu/fpu.h"

#define AT_MXCSR  24
#define AT_MASK	  28
#define AT_ST	  32
#define AT_XMM	  160
#define AT_HEADER 512
#define PI_TOP	  0xc90fdaa22168c235ull

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, 4);
	return value;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, 8);
	return value;
}

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, 8);
}

/* A state to be recognised: pi on the stack, a number in XMM3 and XMM12. */
static uint64_t make_state(void *arg)
{
	uint32_t mxcsr = 0x3f80;

	__asm__ volatile("fninit\n"
			 "fldpi\n"
			 "ldmxcsr %0\n"
			 "movups %1, %%xmm3\n"
			 "movups %1, %%xmm12"
			 :
			 : "m"(mxcsr), "m"(*(struct vector *)arg));
	return 0;
}

static uint64_t spoil_state(void *arg)
{
	uint32_t mxcsr = MXCSR_RESET;

	__asm__ volatile("fninit\n"
			 "ldmxcsr %0\n"
			 "pxor %%xmm3, %%xmm3\n"
			 "pxor %%xmm12, %%xmm12"
			 :
			 : "m"(mxcsr));
	return 0;
}

/* No privilege is asked for; at CPL 3 every host executes them itself. */
static uint64_t do_fxsave(void *arg)
{
	__asm__ volatile("fxsave64 (%0)" : : "r"(arg) : "memory");
	return 0;
}

static uint64_t do_fxrstor(void *arg)
{
	__asm__ volatile("fxrstor64 (%0)" : : "r"(arg) : "memory");
	return 0;
}

static void fxsave(uint8_t *image)
{
	user_call(do_fxsave, image);
}

static void fxrstor(uint8_t *image)
{
	user_call(do_fxrstor, image);
}

static const struct vector pattern = {{0x1122334455667788, 0x99aabbccddeeff00}};

TEST(fxsave_image, "",
	"FXSAVE writes the words, the stack from its top, MXCSR and its mask, and XMM registers")
{
	uint8_t *image = arena_alloc(512, 16);

	fpu_on();
	memset(image, 0xa5, 512);
	user_call(make_state, (void *)&pattern);
	fxsave(image);
	EXPECT_EQ(get32(image) & 0xffff, 0x37f);
	EXPECT_EQ(get32(image) >> 16, 7 << 11);
	EXPECT_EQ(image[4], 0x80);
	EXPECT_EQ(get32(image + AT_MXCSR), 0x3f80);
	EXPECT_EQ(get32(image + AT_MASK) & 0xffbf, 0xffbf);
	EXPECT_EQ(get64(image + AT_ST), PI_TOP);
	EXPECT_EQ(get32(image + AT_ST + 8) & 0xffff, 0x4000);
	EXPECT_MEM(image + AT_XMM + 3 * 16, &pattern, 16);
	EXPECT_MEM(image + AT_XMM + 12 * 16, &pattern, 16);
	for (unsigned n = 464; n < 512; n++)
		EXPECT_EQ(image[n], 0xa5);
}

TEST(fxrstor_restores, "", "FXRSTOR brings back what FXSAVE wrote")
{
	uint8_t *image = arena_alloc(512, 16), *again = arena_alloc(512, 16);

	fpu_on();
	memset(image, 0, 512);
	memset(again, 0, 512);
	user_call(make_state, (void *)&pattern);
	fxsave(image);
	user_call(spoil_state, NULL);
	fxrstor(image);
	fxsave(again);
	EXPECT_MEM(again, image, 8);
	EXPECT_MEM(again + AT_MXCSR, image + AT_MXCSR, AT_XMM + 256 - AT_MXCSR);
}

TEST(fxsave_checks, "",
	"FXSAVE and FXRSTOR want 16-byte alignment, FXRSTOR no reserved bit of MXCSR: #GP(0)",
	NEEDS("exact"))
{
	uint8_t *image = arena_alloc(1024, 16);

	fpu_on();
	memset(image, 0, 1024);
	EXPECT_TRAP(TRAP_GP, fxsave(image + 8));
	EXPECT_EQ(trap_last.error, 0);
	fxsave(image);
	EXPECT_TRAP(TRAP_GP, fxrstor(image + 8));
	put64(image + AT_MXCSR, 0x10000 | MXCSR_RESET);
	EXPECT_TRAP(TRAP_GP, fxrstor(image));
	EXPECT_EQ(trap_last.error, 0);
}

TEST(fxsave_and_ts, "", "FXSAVE and FXRSTOR are #NM while CR0.TS or CR0.EM is set", NEEDS("exact"))
{
	uint8_t *image = arena_alloc(512, 16);
	uint64_t cr0;

	fpu_on();
	cr0 = read_cr0();
	fxsave(image);
	for (volatile unsigned n = 0; n < 2; n++) {
		fpu_write_cr0(cr0 | (n ? CR0_EM : CR0_TS));
		EXPECT_TRAP(TRAP_NM, fxsave(image));
		EXPECT_TRAP(TRAP_NM, fxrstor(image));
	}
	fpu_write_cr0(cr0);
}

/* --- XSAVE --- */

static void xsave_on(void)
{
	fpu_on();
	fpu_need(26, "XSAVE");
	fpu_write_cr4(read_cr4() | CR4_OSXSAVE);
}

static void xsetbv(uint32_t index, uint64_t value)
{
	__asm__ volatile("xsetbv"
			 :
			 : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static uint64_t xgetbv(uint32_t index)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(index));
	return low | (uint64_t)high << 32;
}

static void xsave(uint8_t *area, uint32_t components)
{
	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(components), "d"(0) : "memory");
}

static void xrstor(const uint8_t *area, uint32_t components)
{
	__asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(components), "d"(0) : "memory");
}

TEST(xsave_needs_osxsave, "",
	"XSAVE, XGETBV and XSETBV are #UD without CR4.OSXSAVE, which CPUID shows", NEEDS("exact"))
{
	uint8_t *area = arena_alloc(1024, 64);

	xsave_on();
	EXPECT_TRUE(fpu_has(27));
	fpu_write_cr4(read_cr4() & ~CR4_OSXSAVE);
	EXPECT_FALSE(fpu_has(27));
	EXPECT_TRAP(TRAP_UD, xsave(area, 3));
	EXPECT_TRAP(TRAP_UD, xgetbv(0));
	EXPECT_TRAP(TRAP_UD, xsetbv(0, 1));
}

TEST(xsetbv_checks, "",
	"XCR0 keeps what is supported; x87 cleared, unknown bits and other registers are #GP(0)",
	NEEDS("exact"))
{
	struct cpuid known;

	xsave_on();
	known = cpuid(0xd, 0);
	EXPECT_EQ(known.eax & 3, 3);
	xsetbv(0, 3);
	EXPECT_EQ(xgetbv(0), 3);
	EXPECT_GE(cpuid(0xd, 0).ebx, 576);
	EXPECT_GE(cpuid(0xd, 0).ecx, cpuid(0xd, 0).ebx);
	EXPECT_TRAP(TRAP_GP, xsetbv(0, 2));
	EXPECT_EQ(trap_last.error, 0);
	EXPECT_TRAP(TRAP_GP, xsetbv(0, 3 | 1ull << 62));
	EXPECT_TRAP(TRAP_GP, xsetbv(5, 3));
	EXPECT_TRAP(TRAP_GP, xgetbv(0x55));
	EXPECT_EQ(xgetbv(0), 3);
}

TEST(xsave_and_xrstor, "",
	"XSAVE writes what is asked for and says so; XRSTOR restores, or initialises what is not "
	"there",
	NEEDS("exact"))
{
	uint8_t *area = arena_alloc(1024, 64), *image = arena_alloc(512, 16);

	xsave_on();
	xsetbv(0, 3);
	memset(area, 0, 1024);
	user_call(make_state, (void *)&pattern);
	xsave(area, 2);
	EXPECT_EQ(get64(area + AT_HEADER), 2);
	EXPECT_EQ(get64(area + AT_ST), 0);
	EXPECT_MEM(area + AT_XMM + 3 * 16, &pattern, 16);
	xsave(area, 1);
	EXPECT_EQ(get64(area + AT_HEADER), 3);
	EXPECT_EQ(get64(area + AT_ST), PI_TOP);
	user_call(spoil_state, NULL);
	xrstor(area, 3);
	fxsave(image);
	EXPECT_MEM(image + AT_XMM + 12 * 16, &pattern, 16);
	EXPECT_EQ(get32(image + AT_MXCSR), 0x3f80);
	EXPECT_EQ(get64(image + AT_ST), PI_TOP);
	put64(area + AT_HEADER, 0);
	xrstor(area, 3);
	fxsave(image);
	EXPECT_EQ(get64(image + AT_XMM + 12 * 16), 0);
	EXPECT_EQ(image[4], 0);
	EXPECT_EQ(get32(image) & 0xffff, 0x37f);
}

TEST(xrstor_checks, "",
	"XRSTOR: alignment to 64, unknown components, a header that is not zero, MXCSR: #GP(0)",
	NEEDS("exact"))
{
	uint8_t *area = arena_alloc(2048, 64);

	xsave_on();
	xsetbv(0, 3);
	memset(area, 0, 2048);
	xsave(area, 3);
	EXPECT_TRAP(TRAP_GP, xsave(area + 16, 3));
	EXPECT_TRAP(TRAP_GP, xrstor(area + 32, 3));
	put64(area + AT_HEADER, 1ull << 61);
	EXPECT_TRAP(TRAP_GP, xrstor(area, 3));
	put64(area + AT_HEADER, 3);
	put64(area + AT_HEADER + 16, 1);
	EXPECT_TRAP(TRAP_GP, xrstor(area, 3));
	put64(area + AT_HEADER + 16, 0);
	put64(area + AT_MXCSR, 0x80000000);
	EXPECT_TRAP(TRAP_GP, xrstor(area, 3));
	EXPECT_EQ(trap_last.error, 0);
}

TEST(baseline_features, "",
	"CPUID offers what every x86-64 has: FPU, TSC, CX8, CMOV, MMX, FXSR, SSE, SSE2")
{
	uint32_t wanted =
		1u << 0 | 1u << 4 | 1u << 8 | 1u << 15 | 1u << 23 | 1u << 24 | 1u << 25 | 1u << 26;

	EXPECT_EQ(cpuid(1, 0).edx & wanted, wanted);
}
