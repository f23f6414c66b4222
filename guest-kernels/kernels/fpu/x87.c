/* SPDX-License-Identifier: MIT */
/* Kernel fpu: x87's stack, results, exceptions and environments, and MMX on the same registers. */
#include "kernels/fpu/fpu.h"

#define IE 0x01u
#define ZE 0x04u
#define PE 0x20u
#define SF 0x40u
#define ES 0x80u
#define C0 0x100u
#define C1 0x200u
#define C2 0x400u
#define C3 0x4000u

#define INDEFINITE 0xfff8000000000000ull
#define PI	   0x400921fb54442d18ull

/* What a piece of code at CPL 3 takes and leaves. */
struct outcome {
	uint64_t a, b, number, second;
	uint16_t cw, sw;
	uint32_t flags;
	uint8_t bytes[112];
};

#define CODE(name, text)                                                                     \
	static uint64_t name(void *arg)                                                      \
	{                                                                                    \
		struct outcome *o = arg;                                                     \
                                                                                             \
		__asm__ volatile(                                                            \
			"fninit\n"                                                           \
			"fldcw %[cw]\n" text "\n"                                            \
			: [n] "+m"(o->number), [sw] "+m"(o->sw), [cw] "+m"(o->cw),           \
			[m] "+m"(o->bytes), [second] "+m"(o->second), [flags] "+m"(o->flags) \
			: [a] "m"(o->a), [b] "m"(o->b)                                       \
			: "rax", "memory", "cc");                                            \
		return 0;                                                                    \
	}

static struct outcome run(uint64_t (*fn)(void *), uint16_t cw, uint64_t a, uint64_t b)
{
	struct outcome o = {.a = a, .b = b, .cw = cw, .number = 0x1234, .second = 0x1234};

	fpu_on();
	user_call(fn, &o);
	return o;
}

CODE(do_divide, "fldl %[a]\n fdivl %[b]\n fnstsw %[sw]\n fstpl %[n]")

TEST(x87_precision, "",
	"a quotient is rounded to the precision of the control word: 24, 53, 64 bits")
{
	struct outcome o = run(do_divide, 0x37f, ONE, THREE);

	EXPECT_EQ(o.number, ONE_THIRD);
	EXPECT_EQ(o.sw & 0x3fff & ~(C0 | C2 | C3), 0x3800 | PE | C1);
	o = run(do_divide, 0x07f, ONE, THREE);
	EXPECT_EQ(o.number, 0x3fd5555560000000);
	o = run(do_divide, 0x47f, ONE, THREE); /* down */
	EXPECT_EQ(o.number, 0x3fd5555540000000);
	EXPECT_EQ(o.sw & C1, 0);
}

TEST(x87_masked, "", "masked exceptions: flags, and an infinity, an indefinite as the result")
{
	struct outcome o = run(do_divide, 0x37f, ONE, 0);

	EXPECT_EQ(o.number, 0x7ff0000000000000);
	EXPECT_EQ(o.sw & 0xff, ZE);
	o = run(do_divide, 0x37f, 0, 0);
	EXPECT_EQ(o.number, INDEFINITE);
	EXPECT_EQ(o.sw & 0xff, IE);
}

CODE(do_sequence, "fldl %[a]\n fldl %[b]\n fxch\n fsub %%st(1), %%st\n fst %%st(2)\n fabs\n"
		  "fsqrt\n fistpq %[n]\n fstp %%st\n fstpl %[second]\n fnstsw %[sw]")

TEST(x87_stack, "", "loads push, stores pop, exchanges and copies name registers from the top")
{
	/* 1 - 5 = -4, which is kept two below; |-4| has the root 2. */
	struct outcome o = run(do_sequence, 0x37f, ONE, 0x4014000000000000);

	EXPECT_EQ(o.number, 2);
	EXPECT_EQ(o.second, 0xc010000000000000);
	EXPECT_EQ(o.sw >> 11 & 7, 1); /* three were popped, two pushed */
}

CODE(do_underflow, "fstpl %[n]\n fnstsw %[sw]")
CODE(do_overflow, "fld1\n fld1\n fld1\n fld1\n fld1\n fld1\n fld1\n fld1\n fld1\n fnstsw %[sw]\n"
		  "fstpl %[n]")

TEST(x87_stack_faults, "",
	"an empty source and a full stack are IE and SF, told apart by C1, with the indefinite")
{
	struct outcome o = run(do_underflow, 0x37f, 0, 0);

	EXPECT_EQ(o.number, INDEFINITE);
	EXPECT_EQ(o.sw & 0x2ff, IE | SF);
	o = run(do_overflow, 0x37f, 0, 0);
	EXPECT_EQ(o.number, INDEFINITE);
	EXPECT_EQ(o.sw & 0x2ff, IE | SF | C1);
}

CODE(do_open_divide, "fldl %[a]\n fdivl %[b]\n fnstsw %[sw]\n fnclex\n fstpl %[n]")
CODE(do_open_wait, "fldl %[a]\n fdivl %[b]\n fnstsw %[sw]\n fwait\n fstpl %[n]")

TEST(mf_at_the_next, "",
	"an unmasked exception sets ES and keeps the operands; #MF comes with the next that waits")
{
	struct outcome o = {.a = ONE, .b = 0, .cw = 0x37b};

	fpu_on();
	EXPECT_FALSE(TRAPS(user_call(do_open_divide, &o)));
	EXPECT_EQ(o.sw & 0x80ff, 0x8000 | ES | ZE);
	EXPECT_EQ(o.number, ONE);
	o.number = 0;
	EXPECT_TRAP(TRAP_MF, user_call(do_open_wait, &o));
	EXPECT_EQ(o.number, 0);
	fpu_on();
}

CODE(do_fcomi, "fldl %[b]\n fldl %[a]\n fcomip %%st(1), %%st\n pushfq\n pop %%rax\n"
	       "mov %%eax, %[flags]\n fnstsw %[sw]")
CODE(do_fcom, "fldl %[a]\n fcoml %[b]\n fnstsw %[sw]")
CODE(do_fucomi, "fldl %[b]\n fldl %[a]\n fucomi %%st(1), %%st\n pushfq\n pop %%rax\n"
		"mov %%eax, %[flags]\n fnstsw %[sw]")

TEST(x87_comparison, "",
	"FCOM and FCOMI tell less, equal, greater, unordered; FUCOMI takes a quiet NaN")
{
	static const struct {
		uint64_t a, b;
		uint32_t codes, flags;
	} rows[] = {
		{ONE, TWO, C0, 1},
		{TWO, ONE, 0, 0},
		{ONE, ONE, C3, 0x40},
		{0x7ff8000000000000, ONE, C0 | C2 | C3, 0x45},
	};

	for (unsigned n = 0; n < 4; n++) {
		struct outcome o = run(do_fcom, 0x37f, rows[n].a, rows[n].b);

		EXPECT_EQ(o.sw & (C0 | C2 | C3), rows[n].codes);
		EXPECT_EQ(o.sw & IE, n == 3);
		o = run(do_fcomi, 0x37f, rows[n].a, rows[n].b);
		EXPECT_EQ(o.flags & 0x45, rows[n].flags);
		EXPECT_EQ(o.sw & IE, n == 3);
		o = run(do_fucomi, 0x37f, rows[n].a, rows[n].b);
		EXPECT_EQ(o.flags & 0x45, rows[n].flags);
		EXPECT_EQ(o.sw & IE, 0);
	}
}

CODE(do_bcd, "fildq %[a]\n fbstp %[m]\n fbld %[m]\n fistpq %[n]\n fnstsw %[sw]")

TEST(x87_decimal, "", "FBSTP writes eighteen packed digits and a sign, FBLD reads them")
{
	static const uint8_t digits[10] = {0x90, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0x80};
	struct outcome o = run(do_bcd, 0x37f, (uint64_t)-1234567890, 0);

	EXPECT_MEM(o.bytes, digits, 10);
	EXPECT_EQ(o.number, (uint64_t)-1234567890);
}

CODE(do_integers,
	"fldl %[a]\n fistl %[m]\n fisttpll 8+%[m]\n fldl %[a]\n fistps %[flags]\n fnstsw %[sw]")

TEST(x87_integers, "", "FIST rounds by RC, FISTTP cuts off; what does not fit is the indefinite")
{
	struct outcome o;
	uint32_t low;
	uint64_t cut;

	fpu_on();
	fpu_need(0, "SSE3");
	o = run(do_integers, 0x37f, 0xc007ae147ae147ae, 0); /* -2.96 */
	memcpy(&low, o.bytes, 4);
	memcpy(&cut, o.bytes + 8, 8);
	EXPECT_EQ(low, (uint32_t)-3);
	EXPECT_EQ(cut, (uint64_t)-2);
	EXPECT_EQ(o.flags & 0xffff, (uint16_t)-3);
	o = run(do_integers, 0x37f, 0x4202a05f20000000, 0); /* 1e10 */
	memcpy(&low, o.bytes, 4);
	memcpy(&cut, o.bytes + 8, 8);
	EXPECT_EQ(low, 0x80000000);
	EXPECT_EQ(cut, 10000000000);
	EXPECT_EQ(o.flags & 0xffff, 0x8000);
	EXPECT_EQ(o.sw & IE, IE);
}

CODE(do_functions, "fldz\n fsin\n fldz\n fcos\n faddp\n fstpl %[n]\n"
		   "fld1\n fld1\n fpatan\n fadd %%st, %%st\n fadd %%st, %%st\n fstpl %[second]\n"
		   "fld1\n fldl %[a]\n fyl2x\n fstpl %[m]\n fld1\n f2xm1\n fstpl 8+%[m]\n"
		   "fldl %[b]\n fptan\n fstpl 16+%[m]\n fstpl 24+%[m]\n"
		   "fldl 64+%[m]\n fsincos\n fnstsw %[sw]")

TEST(x87_functions, "",
	"sine, cosine, tangent, arc tangent, 2^x - 1 and logarithm where the result is known")
{
	struct outcome o = {.a = 0x4020000000000000, .b = 0, .cw = 0x37f};
	uint64_t results[4], large = 0x43f0000000000000; /* 2^64 */

	fpu_on();
	memcpy(o.bytes + 64, &large, 8);
	user_call(do_functions, &o);
	memcpy(results, o.bytes, 32);
	EXPECT_EQ(o.number, ONE);
	EXPECT_EQ(o.second, PI);
	EXPECT_EQ(results[0], THREE);
	EXPECT_EQ(results[1], ONE);
	EXPECT_EQ(results[2], ONE);
	EXPECT_EQ(results[3], 0);
	EXPECT_EQ(o.sw & C2, C2); /* 2^64 is not reduced */
}

CODE(do_environment,
	"fldpi\n fldz\n ffree %%st(7)\n fnstenv %[m]\n fnstcw %[cw]\n fninit\n fldenv %[m]\n"
	"fnstsw %[sw]\n fstp %%st\n fstpl %[n]")

TEST(x87_environment, "",
	"FNSTENV writes control, status and tag words and masks all; FLDENV takes them")
{
	struct outcome o = run(do_environment, 0x360, 0, 0);
	uint32_t words[3];

	memcpy(words, o.bytes, 12);
	EXPECT_EQ(words[0] & 0xffff, 0x360);
	EXPECT_EQ(words[1] & 0x38ff, 6 << 11);
	EXPECT_EQ(words[2] & 0xffff, 0x1fff); /* R7 valid, R6 zero */
	EXPECT_EQ(o.cw, 0x37f);
	EXPECT_EQ(o.sw & 0x38ff, 6 << 11);
	EXPECT_EQ(o.number, PI);
}

CODE(do_save, "fldpi\n fld1\n fnsave %[m]\n fnstsw %[sw]\n fnstcw %[cw]\n frstor %[m]\n"
	      "fstpl %[n]\n fstpl %[second]")

TEST(x87_save, "", "FNSAVE writes environment and stack and initialises; FRSTOR brings them back")
{
	static const uint8_t one[10] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};
	struct outcome o = run(do_save, 0x27f, 0, 0);

	EXPECT_MEM(o.bytes + 28, one, 10);
	EXPECT_EQ(o.sw, 0);
	EXPECT_EQ(o.cw, 0x37f);
	EXPECT_EQ(o.number, ONE);
	EXPECT_EQ(o.second, PI);
}

CODE(do_fcmov, "fldl %[a]\n fldl %[b]\n cmpq $1, %[second]\n fcmove %%st(1), %%st\n fstpl %[n]")

TEST(x87_conditional_move, "", "FCMOV moves by RFLAGS")
{
	struct outcome o = {.a = ONE, .b = TWO, .cw = 0x37f, .second = 1};

	fpu_on();
	user_call(do_fcmov, &o);
	EXPECT_EQ(o.number, ONE);
	o.second = 2;
	user_call(do_fcmov, &o);
	EXPECT_EQ(o.number, TWO);
}

CODE(do_mmx, "fldpi\n movq %[a], %%mm0\n paddw %[b], %%mm0\n movq %%mm0, %[n]\n fnstenv %[m]\n"
	     "fstpt 64+%[m]\n emms\n fnstenv 32+%[m]")

TEST(mmx_on_x87_registers, "",
	"MMX sets all tags valid, TOP to 0, the exponent of what it writes to ones; EMMS empties")
{
	struct outcome o = run(do_mmx, 0x37f, 0x0001ffff00030004, 0x0001000200050006);
	uint16_t tags, exponent, status;

	EXPECT_EQ(o.number, 0x000200010008000a);
	memcpy(&status, o.bytes + 4, 2);
	EXPECT_EQ(status & 0x3800, 0);
	memcpy(&tags, o.bytes + 8, 2);
	EXPECT_EQ(tags & 3, 2); /* special: a NaN to x87 */
	EXPECT_EQ(tags >> 14, 0);
	memcpy(&exponent, o.bytes + 72, 2);
	EXPECT_EQ(exponent, 0xffff);
	memcpy(&tags, o.bytes + 40, 2);
	EXPECT_EQ(tags, 0xffff);
}

CODE(do_mmx_integers,
	"movq %[a], %%mm1\n packuswb %%mm1, %%mm1\n movq %%mm1, %[n]\n movq %[a], %%mm2\n"
	"pmulhw %[b], %%mm2\n movq %%mm2, %[second]\n movd %%mm2, %[flags]\n emms")

TEST(mmx_integers, "", "MMX: packing with saturation, high products, a move of the low half")
{
	struct outcome o = run(do_mmx_integers, 0x37f, 0x7fff8000010000ff, 0x40008000ffff0100);

	EXPECT_EQ(o.number, 0xff00ffffff00ffff);
	EXPECT_EQ(o.second, 0x1fff4000ffff0000);
	EXPECT_EQ(o.flags, 0xffff0000);
}
