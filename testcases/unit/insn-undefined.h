/* SPDX-License-Identifier: MIT */
/*
 * What the SDM leaves undefined after an instruction, in one place: these are the only masks of the
 * comparison with the host.  Beside each stands what the software processor gives
 * (docs/soft-cpu.md), and that is checked, too.
 */
#ifndef INSN_UNDEFINED_H
#define INSN_UNDEFINED_H

#include "insn-forms.h"

struct undefined {
	uint32_t flags;
	bool destination; /* of operand 0 */
	bool registers;	  /* all but RSP */
};

/* Those whose undefined flags do not depend on operands.  `here`: how they come out here. */
enum here { ZERO, KEPT, BY_LOW_HALF, OTHER };

static const struct {
	uint16_t mnemonic;
	uint32_t flags;
	enum here here;
} undefined_flags[] = {
	{ZYDIS_MNEMONIC_AND, F_AF, ZERO},
	{ZYDIS_MNEMONIC_OR, F_AF, ZERO},
	{ZYDIS_MNEMONIC_XOR, F_AF, ZERO},
	{ZYDIS_MNEMONIC_TEST, F_AF, ZERO},
	{ZYDIS_MNEMONIC_MUL, F_AF, ZERO},
	{ZYDIS_MNEMONIC_MUL, F_SF | F_ZF | F_PF, BY_LOW_HALF},
	{ZYDIS_MNEMONIC_IMUL, F_AF, ZERO},
	{ZYDIS_MNEMONIC_IMUL, F_SF | F_ZF | F_PF, BY_LOW_HALF},
	{ZYDIS_MNEMONIC_DIV, F_ARITHMETIC, KEPT},
	{ZYDIS_MNEMONIC_IDIV, F_ARITHMETIC, KEPT},
	{ZYDIS_MNEMONIC_BSF, F_ARITHMETIC & ~F_ZF, KEPT},
	{ZYDIS_MNEMONIC_BSR, F_ARITHMETIC & ~F_ZF, KEPT},
	{ZYDIS_MNEMONIC_BT, F_OF | F_SF | F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_BTS, F_OF | F_SF | F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_BTR, F_OF | F_SF | F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_BTC, F_OF | F_SF | F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_LZCNT, F_OF | F_SF | F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_TZCNT, F_OF | F_SF | F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_ANDN, F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_BLSI, F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_BLSMSK, F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_BLSR, F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_BZHI, F_AF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_BEXTR, F_AF | F_SF | F_PF, KEPT},
	{ZYDIS_MNEMONIC_DAA, F_OF, ZERO},
	{ZYDIS_MNEMONIC_DAS, F_OF, ZERO},
	{ZYDIS_MNEMONIC_AAA, F_OF | F_SF | F_ZF | F_PF, OTHER},
	{ZYDIS_MNEMONIC_AAS, F_OF | F_SF | F_ZF | F_PF, OTHER},
	{ZYDIS_MNEMONIC_AAM, F_OF | F_AF | F_CF, ZERO},
	{ZYDIS_MNEMONIC_AAD, F_OF | F_AF | F_CF, ZERO},
};

static inline bool is_rotate(unsigned mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_ROL || mnemonic == ZYDIS_MNEMONIC_ROR ||
	       mnemonic == ZYDIS_MNEMONIC_RCL || mnemonic == ZYDIS_MNEMONIC_RCR;
}

static inline bool is_shift(unsigned mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_SHL || mnemonic == ZYDIS_MNEMONIC_SHR ||
	       mnemonic == ZYDIS_MNEMONIC_SAR;
}

/* The count of a shift: an immediate, or CL. */
static inline unsigned shift_count(const struct instance *in, const uint64_t gpr[16])
{
	const ZydisDecodedOperand *last = &in->operand[in->z.operand_count_visible - 1];
	uint64_t count =
		last->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? last->imm.value.u : gpr[RCX] & 0xff;

	return count & (in->operand[0].size == 64 ? 63 : 31);
}

static inline struct undefined undefined_shift(const struct instance *in, const uint64_t gpr[16])
{
	struct undefined u = {0};
	unsigned count = shift_count(in, gpr), mnemonic = in->z.mnemonic;

	if (count > 1)
		u.flags |= F_OF;
	if (is_rotate(mnemonic))
		return u;
	if (count)
		u.flags |= F_AF;
	if (is_shift(mnemonic)) {
		if (count >= in->operand[0].size && mnemonic != ZYDIS_MNEMONIC_SAR)
			u.flags |= F_CF;
	} else if (count > in->operand[0].size) {
		u.flags = F_ARITHMETIC;
		u.destination = true;
	}
	return u;
}

/* gpr: before.  faulted: it did not come to its end. */
static inline struct undefined undefined_of(
	const struct instance *in, const uint64_t gpr[16], bool faulted)
{
	struct undefined u = {0};
	unsigned mnemonic = in->z.mnemonic;

	if (is_rotate(mnemonic) || is_shift(mnemonic) || mnemonic == ZYDIS_MNEMONIC_SHLD ||
		mnemonic == ZYDIS_MNEMONIC_SHRD)
		return undefined_shift(in, gpr);
	for (unsigned n = 0; n < sizeof(undefined_flags) / sizeof(undefined_flags[0]); n++)
		if (undefined_flags[n].mnemonic == mnemonic)
			u.flags |= undefined_flags[n].flags;
	u.destination = mnemonic == ZYDIS_MNEMONIC_BSWAP && in->z.operand_width == 16;
	/* A POPA that faults half-way has popped some registers already, or none, as here. */
	u.registers =
		faulted && (mnemonic == ZYDIS_MNEMONIC_POPA || mnemonic == ZYDIS_MNEMONIC_POPAD);
	return u;
}

/* The undefined flags of an instruction that came to its end, as they must be here; *mask: which.
 */
static inline uint32_t documented_flags(
	const struct instance *in, const uint64_t gpr[16], uint32_t before, uint32_t *mask)
{
	unsigned mnemonic = in->z.mnemonic, count;
	uint32_t value = 0;

	*mask = 0;
	for (unsigned n = 0; n < sizeof(undefined_flags) / sizeof(undefined_flags[0]); n++) {
		if (undefined_flags[n].mnemonic != mnemonic || undefined_flags[n].here > KEPT)
			continue;
		*mask |= undefined_flags[n].flags;
		if (undefined_flags[n].here == KEPT)
			value |= before & undefined_flags[n].flags;
	}
	if (!is_shift(mnemonic) && mnemonic != ZYDIS_MNEMONIC_SHLD &&
		mnemonic != ZYDIS_MNEMONIC_SHRD)
		return value;
	count = shift_count(in, gpr);
	if (count)
		*mask |= F_AF;
	if (count > in->operand[0].size &&
		(mnemonic == ZYDIS_MNEMONIC_SHL || mnemonic == ZYDIS_MNEMONIC_SHR))
		*mask |= F_CF;
	return value;
}

#endif
