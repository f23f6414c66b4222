/* SPDX-License-Identifier: MIT */
/*
 * x87 control (SDM 1, 8.1 and 8.3.12): control, status and tag words, environments in the 16- and
 * 32-bit layouts, FNSAVE and FRSTOR, WAIT.
 */
#include "cpu/soft/x87.h"

static void check_present(struct soft_cpu *c)
{
	if (c->cr0 & (CR0_EM | CR0_TS))
		soft_fault(c, V_NM, NO_ERROR_CODE);
}

static void set_control(struct soft_cpu *c, uint16_t value)
{
	c->fpu.cw = (value & 0x1f3f) | 0x40;
	x87_summarise(c);
}

static void initialise(struct soft_cpu *c)
{
	c->fpu.cw = X87_CW_RESET;
	c->fpu.sw = c->fpu.fop = 0;
	c->fpu.fip = c->fpu.fdp = 0;
	c->fpu.valid = 0;
}

static void op_fninit(struct soft_cpu *c, const struct soft_insn *i)
{
	check_present(c);
	initialise(c);
}

static void op_fnclex(struct soft_cpu *c, const struct soft_insn *i)
{
	check_present(c);
	c->fpu.sw &= 0x7f00;
}

static void op_fldcw(struct soft_cpu *c, const struct soft_insn *i)
{
	x87_begin(c);
	set_control(c, soft_load(c, soft_address(c, i, 2, false), 2));
}

static void op_fnstcw(struct soft_cpu *c, const struct soft_insn *i)
{
	check_present(c);
	soft_store(c, soft_address(c, i, 2, true), c->fpu.cw, 2);
}

static void op_fnstsw(struct soft_cpu *c, const struct soft_insn *i)
{
	check_present(c);
	if (i->op[0].kind == O_MEM)
		soft_store(c, soft_address(c, i, 2, true), c->fpu.sw, 2);
	else
		soft_set_reg(c, RAX, c->fpu.sw, 2);
}

/* FNOP, and FNENI, FNDISI, FNSETPM, which are nothing since the 387. */
static void op_nothing(struct soft_cpu *c, const struct soft_insn *i)
{
	if (i->opcode == 0xd9)
		x87_begin(c);
	else
		check_present(c);
}

static void op_fwait(struct soft_cpu *c, const struct soft_insn *i)
{
	if (c->cr0 & CR0_TS && c->cr0 & CR0_MP)
		soft_fault(c, V_NM, NO_ERROR_CODE);
	x87_check_pending(c);
}

static void op_turn(struct soft_cpu *c, const struct soft_insn *i)
{
	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	x87_turn(c, i->immediate == 0xf6 ? -1 : 1);
}

/* FFREE, and FFREEP, which pops, too. */
static void op_ffree(struct soft_cpu *c, const struct soft_insn *i)
{
	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	c->fpu.valid &= ~(1u << (((c->fpu.sw >> 11) + i->immediate) & 7));
	if (i->opcode == 0xdf)
		x87_pop(c);
}

/* --- environments --- */

/* The tag of a register that is not empty follows from its contents. */
static unsigned tag_of(const uint8_t *st)
{
	unsigned exponent = (st[9] << 8 | st[8]) & 0x7fff;
	uint64_t mantissa;

	memcpy(&mantissa, st, 8);
	if (exponent == 0 && mantissa == 0)
		return 1;
	return exponent == 0 || exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static uint16_t tag_word(const struct soft_cpu *c)
{
	uint16_t tags = 0;

	for (unsigned n = 0; n < 8; n++)
		tags |= (c->fpu.valid >> n & 1 ? tag_of(c->fpu.st[n]) : 3) << 2 * n;
	return tags;
}

static bool is_real(const struct soft_cpu *c)
{
	return !(c->cr0 & CR0_PE) || c->flags & F_VM;
}

#define ENVIRONMENT_32 28
#define ENVIRONMENT_16 14

/* The seven words of figures 8-9 to 8-12, as 32-bit values. */
static void environment(const struct soft_cpu *c, bool wide, uint32_t words[7])
{
	const struct soft_fpu *fpu = &c->fpu;
	uint32_t ip = fpu->fip, dp = fpu->fdp;

	words[0] = 0xffff0000 | fpu->cw;
	words[1] = 0xffff0000 | fpu->sw;
	words[2] = 0xffff0000 | tag_word(c);
	if (!is_real(c)) {
		words[3] = ip;
		words[4] = wide ? (uint32_t)fpu->fop << 16 : 0;
		words[5] = dp;
		words[6] = 0xffff0000;
		return;
	}
	words[3] = 0xffff0000 | (ip & 0xffff);
	words[4] = (ip >> 16 & (wide ? 0xffff : 0xf)) << 12 | fpu->fop;
	words[5] = 0xffff0000 | (dp & 0xffff);
	words[6] = (dp >> 16 & (wide ? 0xffff : 0xf)) << 12;
}

static void take_environment(struct soft_cpu *c, bool wide, const uint32_t words[7])
{
	struct soft_fpu *fpu = &c->fpu;

	fpu->cw = (words[0] & 0x1f3f) | 0x40;
	fpu->sw = words[1];
	fpu->valid = 0;
	for (unsigned n = 0; n < 8; n++)
		if ((words[2] >> 2 * n & 3) != 3)
			fpu->valid |= 1u << n;
	if (is_real(c)) {
		fpu->fip = (words[3] & 0xffff) | (words[4] >> 12 & 0xffff) << 16;
		fpu->fop = words[4] & 0x7ff;
		fpu->fdp = (words[5] & 0xffff) | (words[6] >> 12 & 0xffff) << 16;
	} else {
		fpu->fip = words[3];
		fpu->fop = wide ? words[4] >> 16 & 0x7ff : 0;
		fpu->fdp = words[5];
	}
	x87_summarise(c);
}

/* In memory: seven words of four bytes, or of two. */
static unsigned pack(uint8_t *to, bool wide, const uint32_t words[7])
{
	unsigned size = wide ? 4 : 2;

	for (unsigned n = 0; n < 7; n++)
		memcpy(to + n * size, &words[n], size);
	return 7 * size;
}

static unsigned unpack(const uint8_t *from, bool wide, uint32_t words[7])
{
	unsigned size = wide ? 4 : 2;

	for (unsigned n = 0; n < 7; n++) {
		words[n] = 0;
		memcpy(&words[n], from + n * size, size);
	}
	return 7 * size;
}

static void op_fnstenv(struct soft_cpu *c, const struct soft_insn *i)
{
	bool wide = i->op[0].size == ENVIRONMENT_32;
	uint8_t image[ENVIRONMENT_32];
	uint32_t words[7];

	check_present(c);
	environment(c, wide, words);
	pack(image, wide, words);
	soft_write_bytes(c, soft_address(c, i, i->op[0].size, true), image, i->op[0].size);
	set_control(c, c->fpu.cw | X87_EXCEPTIONS);
}

static void op_fldenv(struct soft_cpu *c, const struct soft_insn *i)
{
	bool wide = i->op[0].size == ENVIRONMENT_32;
	uint8_t image[ENVIRONMENT_32];
	uint32_t words[7];

	x87_begin(c);
	soft_read_bytes(c, soft_address(c, i, i->op[0].size, false), image, i->op[0].size);
	unpack(image, wide, words);
	take_environment(c, wide, words);
}

static void op_fnsave(struct soft_cpu *c, const struct soft_insn *i)
{
	bool wide = i->op[0].size == ENVIRONMENT_32 + 80;
	uint8_t image[ENVIRONMENT_32 + 80];
	uint32_t words[7];
	unsigned at;

	check_present(c);
	environment(c, wide, words);
	at = pack(image, wide, words);
	for (unsigned n = 0; n < 8; n++)
		memcpy(image + at + 10 * n, x87_st(c, n), 10);
	soft_write_bytes(c, soft_address(c, i, i->op[0].size, true), image, i->op[0].size);
	initialise(c);
}

static void op_frstor(struct soft_cpu *c, const struct soft_insn *i)
{
	bool wide = i->op[0].size == ENVIRONMENT_32 + 80;
	uint8_t image[ENVIRONMENT_32 + 80];
	uint32_t words[7];
	unsigned at;

	x87_begin(c);
	soft_read_bytes(c, soft_address(c, i, i->op[0].size, false), image, i->op[0].size);
	at = unpack(image, wide, words);
	take_environment(c, wide, words);
	for (unsigned n = 0; n < 8; n++)
		memcpy(x87_st(c, n), image + at + 10 * n, 10);
}

static const struct {
	uint8_t opcode, first, last; /* ModRM; with memory: reg << 3 */
	soft_handler *run;
} rows[] = {
	{0xd9, 4 << 3, 4 << 3, op_fldenv},
	{0xd9, 5 << 3, 5 << 3, op_fldcw},
	{0xd9, 6 << 3, 6 << 3, op_fnstenv},
	{0xd9, 7 << 3, 7 << 3, op_fnstcw},
	{0xdd, 4 << 3, 4 << 3, op_frstor},
	{0xdd, 6 << 3, 6 << 3, op_fnsave},
	{0xdd, 7 << 3, 7 << 3, op_fnstsw},
	{0xd9, 0xd0, 0xd0, op_nothing},
	{0xd9, 0xf6, 0xf7, op_turn},
	{0xdb, 0xe0, 0xe1, op_nothing},
	{0xdb, 0xe2, 0xe2, op_fnclex},
	{0xdb, 0xe3, 0xe3, op_fninit},
	{0xdb, 0xe4, 0xe4, op_nothing},
	{0xdd, 0xc0, 0xc7, op_ffree},
	{0xdf, 0xc0, 0xc7, op_ffree},
	{0xdf, 0xe0, 0xe0, op_fnstsw},
};

soft_handler *x87_control(uint8_t opcode, uint8_t modrm)
{
	if (opcode == 0x9b)
		return op_fwait;
	if (modrm < 0xc0)
		modrm &= 0x38;
	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++)
		if (rows[n].opcode == opcode && modrm >= rows[n].first && modrm <= rows[n].last)
			return rows[n].run;
	return NULL;
}
