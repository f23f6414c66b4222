/* SPDX-License-Identifier: MIT */
/*
 * The forms of instructions, found and not listed: every opcode of each map is decoded with each
 * prefix that means something and each class of ModRM, and what Zydis takes for an instruction the
 * software processor has is kept, once for each kind of operands.
 *
 * From a form come instances: other registers, addressing modes, displacements, immediates.
 */
#ifndef INSN_FORMS_H
#define INSN_FORMS_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "cpu/soft/soft.h"

#define FORMS_MAX    32768u
#define FORM_SLOTS   (1u << 17)
#define INSN_LONGEST 15u

enum { MODE_16, MODE_32, MODE_64 };

/* What tells two forms apart. */
struct form_key {
	uint16_t mnemonic, kinds; /* kinds: 3 bits for each visible operand */
	uint8_t opcode, map, mode, operand_width, address_width, sizes[4], prefixes;
};

struct form {
	struct form_key key;
	uint8_t prefix[3], prefixes;
	bool modrm_used, vex, wide; /* wide: REX.W or VEX.W */
	uint8_t map, opcode, modrm, pp;
	unsigned cases;
};

struct instance {
	const struct form *form;
	uint8_t bytes[INSN_LONGEST];
	unsigned length;
	uint64_t address;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
};

typedef bool form_filter(
	const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand, unsigned mode);

static form_filter *form_wanted;
static struct form forms[FORMS_MAX];
static unsigned form_count;
static uint32_t form_slots[FORM_SLOTS]; /* number + 1 */
static ZydisDecoder form_decoders[3];

static uint64_t seed = 1;

static inline uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1d;
}

static inline unsigned below(unsigned n)
{
	return (random64() >> 32) % n;
}

static inline bool one_in(unsigned n)
{
	return !below(n);
}

static inline uint64_t random_bits(unsigned count)
{
	return random64() >> (64 - count);
}

/* Edges come more often than chance would bring them. */
static inline uint64_t random_operand(void)
{
	static const uint64_t edges[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000,
		UINT64_MAX - 1, UINT64_MAX};

	switch (below(4)) {
	case 0: return edges[below(sizeof(edges) / sizeof(edges[0]))];
	case 1: return random64() >> below(64);
	default: return random64();
	}
}

/* --- which the software processor has --- */

static bool mnemonic_known[ZYDIS_MNEMONIC_MAX_VALUE + 1];

static inline void forms_know(void)
{
	for (unsigned t = 0; soft_handler_tables[t]; t++)
		for (const struct soft_handlers *h = soft_handler_tables[t]; h->mnemonic; h++)
			mnemonic_known[h->mnemonic] = true;
}

/* --- keys --- */

static inline struct form_key key_of(
	const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand, unsigned mode)
{
	struct form_key key;

	memset(&key, 0, sizeof(key));
	key.mnemonic = z->mnemonic;
	key.opcode = z->opcode;
	key.map = z->opcode_map | z->encoding << 4;
	key.mode = mode;
	key.operand_width = z->operand_width;
	key.address_width = z->address_width;
	key.prefixes = (z->attributes & ZYDIS_ATTRIB_HAS_LOCK ? 1 : 0) |
		       (z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE) ? 2 : 0) |
		       (z->attributes & ZYDIS_ATTRIB_HAS_REPNE ? 4 : 0);
	for (unsigned n = 0; n < z->operand_count_visible && n < 4; n++) {
		unsigned kind = operand[n].type;

		if (kind == ZYDIS_OPERAND_TYPE_REGISTER &&
			operand[n].encoding == ZYDIS_OPERAND_ENCODING_NONE)
			kind = 7; /* a register that the opcode implies */
		key.kinds |= kind << 3 * n;
		key.sizes[n] = operand[n].size / 8;
	}
	return key;
}

static inline bool key_same(const struct form_key *a, const struct form_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline uint32_t key_hash(const struct form_key *key)
{
	const uint8_t *at = (const uint8_t *)key;
	uint32_t hash = 2166136261u;

	for (unsigned n = 0; n < sizeof(*key); n++)
		hash = (hash ^ at[n]) * 16777619u;
	return hash;
}

/* The first of its kind stays. */
static inline void form_add(const struct form *f)
{
	uint32_t slot = key_hash(&f->key) % FORM_SLOTS;

	for (; form_slots[slot]; slot = (slot + 1) % FORM_SLOTS)
		if (key_same(&forms[form_slots[slot] - 1].key, &f->key))
			return;
	if (form_count == FORMS_MAX)
		return;
	forms[form_count++] = *f;
	form_slots[slot] = form_count;
}

/* --- encoding --- */

/* The opcode with what stands before it; rex: the three low bits. */
static inline unsigned form_head(const struct form *f, unsigned mode, unsigned rex, bool force_rex,
	unsigned vvvv, uint8_t *to)
{
	unsigned n = 0;

	memcpy(to, f->prefix, f->prefixes);
	n = f->prefixes;
	if (f->vex) {
		unsigned r = mode == MODE_64 ? ~rex & 7 : 7;

		to[n++] = 0xc4;
		to[n++] = (r & 4) << 5 | (r & 2) << 5 | (r & 1) << 5 | f->map;
		to[n++] = f->wide << 7 | (~vvvv & 15) << 3 | f->pp;
	} else {
		if (mode == MODE_64 && (f->wide || rex || force_rex))
			to[n++] = 0x40 | f->wide << 3 | rex;
		if (f->map)
			to[n++] = 0x0f;
		if (f->map > 1)
			to[n++] = f->map == 2 ? 0x38 : 0x3a;
	}
	to[n++] = f->opcode;
	return n;
}

static inline bool decode(unsigned mode, const uint8_t *bytes, unsigned size,
	ZydisDecodedInstruction *z, ZydisDecodedOperand *operand)
{
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&form_decoders[mode], bytes, size, z, operand)))
		return false;
	/* Zydis 4.0.0 takes REX.B for a base register where there is none. */
	for (unsigned n = 0; n < z->operand_count_visible; n++)
		if (operand[n].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			z->attributes & ZYDIS_ATTRIB_HAS_SIB && z->raw.modrm.mod == 0 &&
			z->raw.sib.base == 5) {
			operand[n].mem.base = ZYDIS_REGISTER_NONE;
			operand[n].mem.disp.has_displacement = true;
			operand[n].mem.disp.value = z->raw.disp.value;
		}
	return true;
}

/* Tries one template; true when its ModRM plays no part, so that the others need not be tried. */
static inline bool form_try(struct form *f, unsigned mode, form_filter *wanted)
{
	uint8_t bytes[32] = {0};
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
	unsigned n = form_head(f, mode, 0, false, 0, bytes);

	bytes[n] = f->modrm;
	if (!decode(mode, bytes, INSN_LONGEST, &z, operand))
		return false;
	f->modrm_used = z.attributes & ZYDIS_ATTRIB_HAS_MODRM;
	if (wanted(&z, operand, mode)) {
		f->key = key_of(&z, operand, mode);
		form_add(f);
	}
	return !f->modrm_used;
}

static inline bool is_prefix(unsigned opcode, unsigned mode)
{
	static const uint8_t prefixes[] = {
		0x0f, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};

	return opcode < 256 && (memchr(prefixes, (int)opcode, sizeof(prefixes)) ||
				       (mode == MODE_64 && (opcode & 0xf0) == 0x40));
}

static inline void forms_of_opcode(struct form *f, unsigned mode, form_filter *wanted)
{
	for (unsigned modrm = 0; modrm < 256; modrm++) {
		/* Memory: one addressing mode will do; registers: all. */
		if (modrm < 0xc0 && (modrm & 0xc7) != 0)
			continue;
		f->modrm = modrm;
		if (form_try(f, mode, wanted))
			return;
	}
}

static inline void forms_find(form_filter *wanted)
{
	static const struct {
		uint8_t prefix[3], count;
	} sets[] = {{{0}, 0}, {{0x66}, 1}, {{0x67}, 1}, {{0x66, 0x67}, 2}, {{0xf2}, 1}, {{0xf3}, 1},
		{{0x66, 0xf2}, 2}, {{0x66, 0xf3}, 2}, {{0x67, 0xf2}, 2}, {{0x67, 0xf3}, 2},
		{{0xf0}, 1}, {{0xf0, 0x66}, 2}, {{0xf0, 0x67}, 2}};
	static const ZydisMachineMode modes[] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
		ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_MACHINE_MODE_LONG_64};
	static const ZydisStackWidth stacks[] = {
		ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};

	forms_know();
	form_wanted = wanted;
	for (unsigned mode = 0; mode < 3; mode++) {
		ZydisDecoderInit(&form_decoders[mode], modes[mode], stacks[mode]);
		for (unsigned s = 0; s < sizeof(sets) / sizeof(sets[0]); s++)
			for (unsigned wide = 0; wide <= (mode == MODE_64); wide++)
				for (unsigned opcode = 0; opcode < 1024; opcode++) {
					struct form f = {.prefixes = sets[s].count,
						.wide = wide,
						.map = opcode >> 8,
						.opcode = opcode};

					memcpy(f.prefix, sets[s].prefix, 3);
					forms_of_opcode(&f, mode, wanted);
				}
		for (unsigned n = 0; n < 2 * 4 * 2 * 256; n++) {
			struct form f = {.vex = true,
				.wide = n & 1,
				.pp = n >> 1 & 3,
				.map = 2 + (n >> 3 & 1),
				.opcode = n >> 4};

			forms_of_opcode(&f, mode, wanted);
		}
	}
}

/* --- instances --- */

static inline unsigned random_modrm(const struct form *f, bool exact)
{
	unsigned modrm = exact ? f->modrm : random_bits(8);

	if (f->modrm >= 0xc0)
		return modrm | 0xc0;
	/* Plain [disp] and RIP-relative ones, and those with a SIB byte, are a fourth each. */
	modrm = (modrm & 0x38) | below(3) << 6 | (one_in(4) ? 5 : one_in(3) ? 4 : random_bits(3));
	return exact ? (modrm & ~0x38u) | (f->modrm & 0x38) : modrm;
}

/* False: chance did not find one of this form. */
static inline bool instance_make(struct instance *in, const struct form *f, uint64_t address)
{
	unsigned mode = f->key.mode;

	in->form = f;
	in->address = address;
	for (unsigned turn = 0; turn < 60; turn++) {
		uint8_t bytes[48];
		unsigned n = 0, modrm;
		struct form_key key;

		static const uint8_t segments[] = {0x64, 0x65, 0x64, 0x65, 0x26, 0x2e, 0x36, 0x3e};
		if ((f->modrm_used ? f->modrm < 0xc0 : true) && one_in(6))
			bytes[n++] = segments[random_bits(3)];
		n += form_head(f, mode, one_in(2) ? random_bits(3) : 0, one_in(4),
			one_in(2) ? random_bits(4) : 0, bytes + n);
		modrm = random_modrm(f, turn > 20);
		for (unsigned i = n; i < sizeof(bytes); i += 8) {
			uint64_t value = one_in(4) ? random_operand() : random64();

			memcpy(bytes + i, &value, i + 8 <= sizeof(bytes) ? 8 : sizeof(bytes) - i);
		}
		if (f->modrm_used)
			bytes[n] = modrm;
		if (!decode(mode, bytes, INSN_LONGEST, &in->z, in->operand))
			continue;
		key = key_of(&in->z, in->operand, mode);
		if (!key_same(&key, &f->key) || !form_wanted(&in->z, in->operand, mode))
			continue;
		in->length = in->z.length;
		memcpy(in->bytes, bytes, in->length);
		return true;
	}
	return false;
}

/* After a change of its bytes. */
static inline void instance_again(struct instance *in)
{
	decode(in->form->key.mode, in->bytes, in->length, &in->z, in->operand);
}

#endif
