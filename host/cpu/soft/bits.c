/* SPDX-License-Identifier: MIT */
/*
 * Bits: BT and its kin, scans, counts, BMI1, BMI2, ADX, CRC32 (SDM 2).
 *
 * Undefined by the SDM, with one value here: BSF and BSR of zero leave the destination; all flags
 * but the named ones of BT, scans and BMI are left as they were.
 */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/soft.h"

static void set_flag(struct soft_cpu *c, uint32_t flag, bool on)
{
	c->flags = on ? c->flags | flag : c->flags & ~flag;
}

/* BT reg/mem, reg reaches beyond the operand in memory; an immediate does not. */
static void bit_test(
	struct soft_cpu *c, const struct soft_insn *i, uint64_t (*change)(uint64_t a, uint64_t bit))
{
	unsigned size = i->op[0].size, bits = size * 8;
	int64_t index = soft_sign(soft_get(c, i, 1, size), size);
	uint64_t linear = 0, a, bit = 1ULL << (index & (bits - 1));

	if (i->op[0].kind == O_MEM) {
		uint64_t at = soft_offset(c, i);

		if (i->op[1].kind == O_REG)
			at += (index >> (size == 8 ? 6 : size == 4 ? 5 : 4)) * size;
		linear = soft_linear(
			c, i->segment, at & soft_mask(i->address), size, change != NULL);
		a = change ? soft_load_rmw(c, linear, size) : soft_load(c, linear, size);
	} else {
		a = soft_get(c, i, 0, size);
	}
	if (change)
		soft_put_rmw(c, i, 0, change(a, bit), size, linear);
	set_flag(c, F_CF, a & bit);
}

static uint64_t set_bit(uint64_t a, uint64_t bit)
{
	return a | bit;
}

static uint64_t reset_bit(uint64_t a, uint64_t bit)
{
	return a & ~bit;
}

static uint64_t flip_bit(uint64_t a, uint64_t bit)
{
	return a ^ bit;
}

static void op_bt(struct soft_cpu *c, const struct soft_insn *i)
{
	bit_test(c, i, NULL);
}

static void op_bts(struct soft_cpu *c, const struct soft_insn *i)
{
	bit_test(c, i, set_bit);
}

static void op_btr(struct soft_cpu *c, const struct soft_insn *i)
{
	bit_test(c, i, reset_bit);
}

static void op_btc(struct soft_cpu *c, const struct soft_insn *i)
{
	bit_test(c, i, flip_bit);
}

static void scan(struct soft_cpu *c, const struct soft_insn *i, bool reverse)
{
	unsigned size = i->op[0].size;
	uint64_t a = soft_get(c, i, 1, size);

	set_flag(c, F_ZF, !a);
	if (a)
		soft_set_reg(c, i->op[0].reg,
			reverse ? 63 - __builtin_clzll(a) : __builtin_ctzll(a), size);
}

static void op_bsf(struct soft_cpu *c, const struct soft_insn *i)
{
	scan(c, i, false);
}

static void op_bsr(struct soft_cpu *c, const struct soft_insn *i)
{
	scan(c, i, true);
}

static void op_popcnt(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t a = soft_get(c, i, 1, size);

	soft_set_reg(c, i->op[0].reg, __builtin_popcountll(a), size);
	c->flags = (c->flags & ~F_ARITHMETIC) | (a ? 0 : F_ZF);
}

static void count_zeros(struct soft_cpu *c, const struct soft_insn *i, bool leading)
{
	unsigned size = i->op[0].size, bits = size * 8, n = bits;
	uint64_t a = soft_get(c, i, 1, size);

	if (a)
		n = (unsigned)(leading ? __builtin_clzll(a) - 64 + (int)bits : __builtin_ctzll(a));
	soft_set_reg(c, i->op[0].reg, n, size);
	set_flag(c, F_CF, !a);
	set_flag(c, F_ZF, !n);
}

static void op_lzcnt(struct soft_cpu *c, const struct soft_insn *i)
{
	count_zeros(c, i, true);
}

static void op_tzcnt(struct soft_cpu *c, const struct soft_insn *i)
{
	count_zeros(c, i, false);
}

static void bmi_flags(struct soft_cpu *c, uint64_t r, unsigned size, bool carry)
{
	set_flag(c, F_ZF, !(r & soft_mask(size)));
	set_flag(c, F_SF, r >> (size * 8 - 1) & 1);
	set_flag(c, F_OF, false);
	set_flag(c, F_CF, carry);
}

static void op_andn(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t r = ~soft_get(c, i, 1, size) & soft_get(c, i, 2, size);

	soft_set_reg(c, i->op[0].reg, r, size);
	bmi_flags(c, r, size, false);
}

static void op_bextr(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t a = soft_get(c, i, 1, size), control = soft_get(c, i, 2, size), r;
	unsigned start = control & 0xff, length = control >> 8 & 0xff;

	r = start < 64 ? a >> start : 0;
	if (length < 64)
		r &= (1ULL << length) - 1;
	soft_set_reg(c, i->op[0].reg, r, size);
	set_flag(c, F_ZF, !r);
	set_flag(c, F_CF | F_OF, false);
}

static void op_blsi(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t a = soft_get(c, i, 1, size), r = a & -a;

	soft_set_reg(c, i->op[0].reg, r, size);
	bmi_flags(c, r, size, a);
}

static void op_blsmsk(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t a = soft_get(c, i, 1, size), r = a ^ (a - 1);

	soft_set_reg(c, i->op[0].reg, r, size);
	bmi_flags(c, r, size, !a);
}

static void op_blsr(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t a = soft_get(c, i, 1, size), r = a & (a - 1);

	soft_set_reg(c, i->op[0].reg, r, size);
	bmi_flags(c, r, size, !a);
}

static void op_bzhi(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size, n = soft_get(c, i, 2, size) & 0xff;
	uint64_t a = soft_get(c, i, 1, size), r = n < size * 8 ? a & ((1ULL << n) - 1) : a;

	soft_set_reg(c, i->op[0].reg, r, size);
	bmi_flags(c, r, size, n >= size * 8);
}

static void op_pdep(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	uint64_t a = soft_get(c, i, 1, size), mask = soft_get(c, i, 2, size), r = 0;

	for (; mask; mask &= mask - 1, a >>= 1)
		if (a & 1)
			r |= mask & -mask;
	soft_set_reg(c, i->op[0].reg, r, size);
}

static void op_pext(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size, n = 0;
	uint64_t a = soft_get(c, i, 1, size), mask = soft_get(c, i, 2, size), r = 0;

	for (; mask; mask &= mask - 1, n++)
		if (a & mask & -mask)
			r |= 1ULL << n;
	soft_set_reg(c, i->op[0].reg, r, size);
}

static void op_mulx(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size;
	unsigned __int128 r =
		(unsigned __int128)(c->gpr[RDX] & soft_mask(size)) * soft_get(c, i, 2, size);

	soft_set_reg(c, i->op[1].reg, r, size);
	soft_set_reg(c, i->op[0].reg, r >> (size * 8), size);
}

static void op_rorx(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size, bits = size * 8, n = i->immediate & (bits - 1);
	uint64_t a = soft_get(c, i, 1, size);

	soft_set_reg(c, i->op[0].reg, n ? a >> n | a << (bits - n) : a, size);
}

static void op_shift_x(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[0].size, n = soft_get(c, i, 2, size) & (size * 8 - 1);
	uint64_t a = soft_get(c, i, 1, size);

	if (i->mnemonic == ZYDIS_MNEMONIC_SHLX)
		a <<= n;
	else if (i->mnemonic == ZYDIS_MNEMONIC_SHRX)
		a >>= n;
	else
		a = (int64_t)soft_sign(a, size) >> n;
	soft_set_reg(c, i->op[0].reg, a, size);
}

/* ADCX carries through CF alone, ADOX through OF alone. */
static void add_with(struct soft_cpu *c, const struct soft_insn *i, uint32_t flag)
{
	unsigned size = i->op[0].size;
	uint64_t a = soft_get(c, i, 0, size), b = soft_get(c, i, 1, size);
	unsigned __int128 r = (unsigned __int128)a + b + (c->flags & flag ? 1 : 0);

	soft_set_reg(c, i->op[0].reg, r, size);
	set_flag(c, flag, r >> (size * 8));
}

static void op_adcx(struct soft_cpu *c, const struct soft_insn *i)
{
	add_with(c, i, F_CF);
}

static void op_adox(struct soft_cpu *c, const struct soft_insn *i)
{
	add_with(c, i, F_OF);
}

/* CRC-32C, reflected polynomial 0x82f63b78. */
static void op_crc32(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned size = i->op[1].size;
	uint64_t data = soft_get(c, i, 1, size);
	uint32_t crc = c->gpr[i->op[0].reg];

	for (unsigned n = 0; n < size; n++) {
		crc ^= data >> (n * 8) & 0xff;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	c->gpr[i->op[0].reg] = crc;
}

#define SAME(name)                     \
	{                              \
		name, name, name, name \
	}

const struct soft_handlers soft_bit_handlers[] = {
	{ZYDIS_MNEMONIC_BT, SAME(op_bt)},
	{ZYDIS_MNEMONIC_BTS, SAME(op_bts)},
	{ZYDIS_MNEMONIC_BTR, SAME(op_btr)},
	{ZYDIS_MNEMONIC_BTC, SAME(op_btc)},
	{ZYDIS_MNEMONIC_BSF, SAME(op_bsf)},
	{ZYDIS_MNEMONIC_BSR, SAME(op_bsr)},
	{ZYDIS_MNEMONIC_POPCNT, SAME(op_popcnt)},
	{ZYDIS_MNEMONIC_LZCNT, SAME(op_lzcnt)},
	{ZYDIS_MNEMONIC_TZCNT, SAME(op_tzcnt)},
	{ZYDIS_MNEMONIC_ANDN, SAME(op_andn)},
	{ZYDIS_MNEMONIC_BEXTR, SAME(op_bextr)},
	{ZYDIS_MNEMONIC_BLSI, SAME(op_blsi)},
	{ZYDIS_MNEMONIC_BLSMSK, SAME(op_blsmsk)},
	{ZYDIS_MNEMONIC_BLSR, SAME(op_blsr)},
	{ZYDIS_MNEMONIC_BZHI, SAME(op_bzhi)},
	{ZYDIS_MNEMONIC_PDEP, SAME(op_pdep)},
	{ZYDIS_MNEMONIC_PEXT, SAME(op_pext)},
	{ZYDIS_MNEMONIC_MULX, SAME(op_mulx)},
	{ZYDIS_MNEMONIC_RORX, SAME(op_rorx)},
	{ZYDIS_MNEMONIC_SHLX, SAME(op_shift_x)},
	{ZYDIS_MNEMONIC_SHRX, SAME(op_shift_x)},
	{ZYDIS_MNEMONIC_SARX, SAME(op_shift_x)},
	{ZYDIS_MNEMONIC_ADCX, SAME(op_adcx)},
	{ZYDIS_MNEMONIC_ADOX, SAME(op_adox)},
	{ZYDIS_MNEMONIC_CRC32, SAME(op_crc32)},
	{0},
};
