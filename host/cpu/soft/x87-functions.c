/* SPDX-License-Identifier: MIT */
/*
 * x87's transcendental functions (SDM 1, 8.3.8 to 8.3.10): FSIN, FCOS, FSINCOS, FPTAN, FPATAN,
 * F2XM1, FYL2X, FYL2XP1.  Processors differ in their last bits, so here MPFR computes them: the
 * exact value, rounded once to 64 bits by RC (PC does not matter), the same on every host.
 *
 * Where the SDM leaves a result undefined: F2XM1 outside of -1 to 1 gives its operand; FYL2XP1 is
 * y * log2(x + 1) wherever that is real.
 */
#include <mpfr.h>

#include "cpu/soft/x87.h"

#define BITS	   64
#define BIAS	   16383
#define EXP_MIN	   (-16381) /* MPFR's exponents, of 0.5 <= m < 1: the smallest normal number */
#define EXP_MAX	   16384
#define EXP_TINY   (-16444) /* the smallest denormal number */
#define OPEN_SCALE 24576    /* an unmasked overflow or underflow (SDM 1, 8.5.4, 8.5.5) */

struct real {
	mpfr_t value;
	mp_limb_t limbs[BITS / GMP_NUMB_BITS];
};

static uint64_t mantissa_of(const uint8_t *from)
{
	uint64_t mantissa;

	memcpy(&mantissa, from, 8);
	return mantissa;
}

static unsigned exponent_of(const uint8_t *from)
{
	return (from[9] << 8 | from[8]) & 0x7fff;
}

static bool is_infinite(const uint8_t *from)
{
	return exponent_of(from) == 0x7fff && mantissa_of(from) == 1ULL << 63;
}

/* A NaN, or an encoding that is no number. */
static bool is_no_number(const uint8_t *from)
{
	if (exponent_of(from) == 0)
		return false;
	return !(mantissa_of(from) >> 63) || (exponent_of(from) == 0x7fff && !is_infinite(from));
}

static bool is_denormal(const uint8_t *from)
{
	return exponent_of(from) == 0 && mantissa_of(from);
}

static void real_get(struct real *r, const uint8_t *from)
{
	unsigned exponent = exponent_of(from);

	mpfr_custom_init(r->limbs, BITS);
	mpfr_custom_init_set(r->value, MPFR_ZERO_KIND, 0, BITS, r->limbs);
	if (is_infinite(from))
		mpfr_set_inf(r->value, 1);
	else
		mpfr_set_ui_2exp(r->value, mantissa_of(from),
			(mpfr_exp_t)(exponent ? exponent : 1) - BIAS - 63, MPFR_RNDN);
	mpfr_setsign(r->value, r->value, from[9] >> 7, MPFR_RNDN);
}

static void real_put(const struct real *r, uint8_t *to)
{
	uint64_t mantissa = 0;
	unsigned exponent = 0;

	if (mpfr_inf_p(r->value)) {
		mantissa = 1ULL << 63;
		exponent = 0x7fff;
	} else if (!mpfr_zero_p(r->value)) {
		mpfr_exp_t e = mpfr_get_exp(r->value);

		mantissa = r->limbs[0];
		if (e < EXP_MIN)
			mantissa >>= EXP_MIN - e;
		else
			exponent = e - 1 + BIAS;
	}
	exponent |= mpfr_signbit(r->value) ? 0x8000 : 0;
	memcpy(to, &mantissa, 8);
	to[8] = exponent;
	to[9] = exponent >> 8;
}

static mpfr_rnd_t rounding(const struct soft_cpu *c)
{
	static const mpfr_rnd_t modes[] = {MPFR_RNDN, MPFR_RNDD, MPFR_RNDU, MPFR_RNDZ};

	return modes[c->fpu.cw >> 10 & 3];
}

/* Brings the result into the format's range; returns the flags, C1 among them: the magnitude was
 * rounded up.  `ternary` is MPFR's: the sign of the error. */
static unsigned finish(struct soft_cpu *c, struct real *r, int ternary)
{
	mpfr_exp_t least = mpfr_get_emin(), most = mpfr_get_emax();
	unsigned flags = 0;

	if (mpfr_regular_p(r->value) && mpfr_get_exp(r->value) < EXP_MIN) {
		if (x87_open(c, X87_UNDERFLOW)) {
			mpfr_mul_2si(r->value, r->value, OPEN_SCALE, MPFR_RNDN);
			flags |= X87_UNDERFLOW;
		} else {
			mpfr_set_emin(EXP_TINY);
			ternary = mpfr_check_range(r->value, ternary, rounding(c));
			ternary = mpfr_subnormalize(r->value, ternary, rounding(c));
			mpfr_set_emin(least);
			flags |= ternary ? X87_UNDERFLOW : 0;
		}
	} else if (mpfr_regular_p(r->value) && mpfr_get_exp(r->value) > EXP_MAX) {
		flags |= X87_OVERFLOW;
		if (x87_open(c, X87_OVERFLOW)) {
			mpfr_mul_2si(r->value, r->value, -OPEN_SCALE, MPFR_RNDN);
		} else {
			mpfr_set_emax(EXP_MAX);
			ternary = mpfr_check_range(r->value, ternary, rounding(c));
			mpfr_set_emax(most);
		}
	}
	if (!ternary)
		return flags;
	return flags | X87_PRECISION | ((ternary > 0) != !!mpfr_signbit(r->value) ? X87_C1 : 0);
}

/* --- the operands' own exceptions --- */

/* Raises; returns whether the instruction ends without a result. */
static bool raise_before(struct soft_cpu *c, unsigned flags)
{
	x87_raise(c, flags);
	return x87_open(c, flags) & X87_BEFORE;
}

/* NaNs and what is no number: the host's FADD says what comes of one or two of them. */
static bool propagate(struct soft_cpu *c, const uint8_t *a, const uint8_t *b, uint8_t *result)
{
	x87_code *add = x87_stub(0xd8, 0xc1, X87_IN0 | X87_IN1 | X87_OUT);
	struct x87_frame f = {.cw = c->fpu.cw, .host_cw = X87_CW_RESET};
	uint8_t other[16];

	if (!is_no_number(a) && !is_no_number(b))
		return false;
	memcpy(result, a, 16);
	memcpy(other, b, 16);
	if (add)
		add(result, other, &f);
	if (raise_before(c, f.sw & X87_EXCEPTIONS))
		memcpy(result, a, 16);
	return true;
}

/* --- one operand: FSIN, FCOS, FPTAN, FSINCOS, F2XM1 --- */

typedef int function(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);

/* The function's value of ST(0), which is a finite number. */
static unsigned apply(struct soft_cpu *c, function *f, const uint8_t *from, uint8_t *to)
{
	struct real x, r;
	unsigned flags;

	real_get(&x, from);
	real_get(&r, from);
	flags = finish(c, &r, f(r.value, x.value, rounding(c)));
	real_put(&r, to);
	return flags;
}

/* FSINCOS and FPTAN need a free register; what is said there replaces both. */
static bool has_stack_fault(struct soft_cpu *c, bool pushes)
{
	bool masked;

	if (x87_is_empty(c, 0))
		masked = x87_underflow(c);
	else if (pushes && !x87_is_empty(c, 7))
		masked = x87_overflow(c);
	else
		return false;
	if (!masked)
		return true;
	x87_set(c, 0, x87_indefinite);
	if (pushes) {
		x87_turn(c, -1);
		x87_set(c, 0, x87_indefinite);
	}
	return true;
}

/* Results that need no computing; returns whether there was one, in result. */
static bool trigonometric_special(struct soft_cpu *c, const uint8_t *st, uint8_t *result)
{
	if (propagate(c, st, st, result))
		return true;
	if (!is_infinite(st))
		return false;
	memcpy(result, raise_before(c, X87_INVALID) ? st : x87_indefinite, 10);
	return true;
}

static void op_trigonometric(struct soft_cpu *c, const struct soft_insn *i)
{
	static const uint8_t one[10] = {[7] = 0x80, 0xff, 0x3f};
	uint8_t modrm = i->immediate, result[16] = {0}, second[16] = {0};
	bool tangent = modrm == 0xf2, both = modrm == 0xfb, pushes = tangent || both;
	const uint8_t *st = x87_st(c, 0);
	unsigned flags;

	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~(X87_C1 | X87_C2);
	if (has_stack_fault(c, pushes))
		return;
	if (trigonometric_special(c, st, result)) {
		if (x87_open(c, c->fpu.sw) & X87_INVALID)
			return;
		x87_set(c, 0, result);
		if (pushes)
			x87_push(c, result);
		return;
	}
	if (exponent_of(st) >= BIAS + 63) {
		c->fpu.sw |= X87_C2; /* not reduced */
		return;
	}
	if (is_denormal(st) && raise_before(c, X87_DENORMAL))
		return;
	flags = apply(c, tangent ? mpfr_tan : modrm == 0xff ? mpfr_cos : mpfr_sin, st, result);
	if (both) /* C1 is the cosine's */
		flags = (flags & ~X87_C1) | apply(c, mpfr_cos, st, second);
	x87_raise(c, flags);
	x87_set(c, 0, result);
	if (pushes)
		x87_push(c, both ? second : one);
}

static void op_f2xm1(struct soft_cpu *c, const struct soft_insn *i)
{
	const uint8_t *st = x87_st(c, 0);
	uint8_t result[16] = {0};
	struct real x;

	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	if (has_stack_fault(c, false))
		return;
	if (!propagate(c, st, st, result)) {
		if (is_denormal(st) && raise_before(c, X87_DENORMAL))
			return;
		memcpy(result, st, 16);
		real_get(&x, st);
		if (is_infinite(st) ? st[9] >> 7 : mpfr_cmpabs_ui(x.value, 1) <= 0)
			x87_raise(c, apply(c, mpfr_exp2m1, st, result));
	}
	x87_set(c, 0, result);
}

/* --- two operands: FPATAN, FYL2X, FYL2XP1; ST(1) gets the result, ST(0) is popped --- */

/* y * f(x) rounded once.  f(x) is exact or irrational (x is rational), and with it the product, so
 * a precision that tells how to round is found; 64 bits more a round. */
static int multiply(
	struct soft_cpu *c, function *f, struct real *r, const struct real *x, const struct real *y)
{
	mpfr_prec_t precision = 192;
	int inexact, ternary = 0;
	mpfr_t logarithm, product;

	mpfr_init2(logarithm, precision);
	mpfr_init2(product, precision + BITS);
	for (;; precision += 64) {
		mpfr_set_prec(logarithm, precision);
		mpfr_set_prec(product, precision + BITS);
		inexact = f(logarithm, x->value, MPFR_RNDN);
		mpfr_mul(product, logarithm, y->value, MPFR_RNDN); /* exact: it has room for it */
		if (!inexact || !mpfr_regular_p(product) ||
			mpfr_can_round(product, precision - 2, MPFR_RNDN, rounding(c), BITS))
			break;
	}
	ternary = mpfr_set(r->value, product, rounding(c));
	mpfr_clear(logarithm);
	mpfr_clear(product);
	return ternary;
}

/* The logarithm's exceptions: of a negative number, of zero, zero times infinity. */
static unsigned logarithm_flags(const struct real *x, const struct real *y, bool plus1)
{
	int sign = plus1 ? mpfr_cmp_si(x->value, -1) : mpfr_sgn(x->value);
	bool log_is_zero = plus1 ? mpfr_zero_p(x->value) : !mpfr_cmp_ui(x->value, 1);
	bool log_is_infinite = sign == 0 || mpfr_inf_p(x->value);

	if (sign < 0 || (log_is_infinite && mpfr_zero_p(y->value)) ||
		(log_is_zero && mpfr_inf_p(y->value)))
		return X87_INVALID;
	return sign == 0 && !mpfr_inf_p(y->value) ? X87_ZERO_DIVIDE : 0;
}

/* The result of two numbers; false: none, an exception is open. */
static bool apply_two(
	struct soft_cpu *c, uint8_t modrm, const uint8_t *st0, const uint8_t *st1, uint8_t *result)
{
	bool angle = modrm == 0xf3, plus1 = modrm == 0xf9;
	struct real x, y, r;
	unsigned flags = 0;
	int ternary;

	real_get(&x, st0);
	real_get(&y, st1);
	real_get(&r, st1);
	if (!angle)
		flags = logarithm_flags(&x, &y, plus1);
	if (!(flags & X87_INVALID) && (is_denormal(st0) || is_denormal(st1)))
		flags |= X87_DENORMAL;
	if (raise_before(c, flags))
		return false;
	if (flags & X87_INVALID) {
		memcpy(result, x87_indefinite, 10);
		return true;
	}
	ternary = angle ? mpfr_atan2(r.value, y.value, x.value, rounding(c))
			: multiply(c, plus1 ? mpfr_log2p1 : mpfr_log2, &r, &x, &y);
	x87_raise(c, finish(c, &r, ternary));
	real_put(&r, result);
	return true;
}

static void op_two(struct soft_cpu *c, const struct soft_insn *i)
{
	const uint8_t *st0 = x87_st(c, 0), *st1 = x87_st(c, 1);
	uint8_t result[16] = {0};

	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	if (x87_is_empty(c, 0) || x87_is_empty(c, 1)) {
		if (!x87_underflow(c))
			return;
		memcpy(result, x87_indefinite, 10);
	} else if (propagate(c, st0, st1, result)) {
		if (x87_open(c, c->fpu.sw) & X87_BEFORE)
			return;
	} else if (!apply_two(c, i->immediate, st0, st1, result)) {
		return;
	}
	x87_set(c, 1, result);
	x87_pop(c);
}

soft_handler *x87_transcendental(uint8_t opcode, uint8_t modrm)
{
	if (opcode != 0xd9)
		return NULL;
	switch (modrm) {
	case 0xf0: return op_f2xm1;
	case 0xf1:			    /* FYL2X */
	case 0xf3:			    /* FPATAN */
	case 0xf9: return op_two;	    /* FYL2XP1 */
	case 0xf2:			    /* FPTAN */
	case 0xfb:			    /* FSINCOS */
	case 0xfe:			    /* FSIN */
	case 0xff: return op_trigonometric; /* FCOS */
	default: return NULL;
	}
}
