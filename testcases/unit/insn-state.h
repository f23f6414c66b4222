/* SPDX-License-Identifier: MIT */
/*
 * Registers for an instance: random, then bent so that its memory operands lie where the arena has
 * something to say (pages of all rights, their borders, non-canonical addresses) and its branches
 * land on INT3, or nowhere.
 */
#ifndef INSN_STATE_H
#define INSN_STATE_H

#include "insn-arena.h"
#include "insn-undefined.h"

struct machine_state {
	uint64_t gpr[16], rip, flags;
	uint64_t fs_base, gs_base; /* 64-bit code */
	bool aligned;		   /* alignment is checked */
	uint8_t fs, gs;		   /* entries of arena_ldt, or LDT_END for null: other code */
};

static inline uint64_t mode_mask(unsigned mode)
{
	return mode == MODE_64 ? UINT64_MAX : mode == MODE_32 ? 0xffffffff : 0xffff;
}

/* The linear address of an access of `size` bytes. */
static inline uint64_t random_target(unsigned size, bool wide)
{
	static const uint64_t edges[] = {AT(PAGE_DATA), AT(PAGE_DATA + 1), AT(PAGE_READ_ONLY),
		AT(PAGE_READ_ONLY + 1), AT(PAGE_STACK), AT(PAGE_STACK + 2)};
	static const uint64_t far_away[] = {0x0000800000000000, 0xffff7fffffffffff,
		0xffff800000001000, 0x7fff800000000000, 0x8000000000000000, 0x00007ffffffff800};
	uint64_t at;

	switch (below(20)) {
	case 0: return AT(PAGE_READ_ONLY) + below(PAGE_BYTES);
	case 1: return AT(PAGE_DATA - 1) + below(PAGE_BYTES);
	case 2:
	case 3: return edges[below(6)] - below(size + 2);
	case 4: return AT(PAGE_DATA + 1) - 1 - below(size);
	case 5:
		if (wide)
			return far_away[below(6)] + (one_in(2) ? below(64) : -(uint64_t)below(64));
		break;
	default: break;
	}
	at = AT(PAGE_DATA) + below(2 * PAGE_BYTES - 64);
	return one_in(3) ? at & ~63ULL : one_in(2) ? at & ~(uint64_t)(size - 1) : at;
}

/* Where a branch may go: INT3 throughout, or a hole, or no address at all. */
static inline uint64_t random_landing(const struct instance *in)
{
	if (in->form->key.mode == MODE_64 && one_in(20))
		return one_in(2) ? 0x0000800000000000 : 0x8000000000000000 | random64();
	if (one_in(20))
		return AT(PAGE_LANDING + 1) + below(PAGE_BYTES);
	/* Its first bytes belong to what crosses the end of the page before. */
	return AT(PAGE_LANDING) + SLOT + below(PAGE_BYTES - 2 * SLOT);
}

/* The same for a displacement of 32 bits. */
static inline uint64_t near_landing(const struct instance *in)
{
	uint64_t at;

	do
		at = random_landing(in);
	while (at >> 32);
	return at;
}

static inline unsigned register_number(ZydisRegister reg)
{
	return ZydisRegisterGetId(reg);
}

static inline bool is_general(ZydisRegister reg)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(reg);

	return class == ZYDIS_REGCLASS_GPR16 || class == ZYDIS_REGCLASS_GPR32 ||
	       class == ZYDIS_REGCLASS_GPR64;
}

static inline uint64_t segment_base(
	const struct machine_state *s, unsigned mode, ZydisRegister segment)
{
	uint8_t entry = segment == ZYDIS_REGISTER_FS ? s->fs : s->gs;
	bool own = segment == ZYDIS_REGISTER_FS || segment == ZYDIS_REGISTER_GS;

	if (mode == MODE_64)
		return segment == ZYDIS_REGISTER_FS   ? s->fs_base
		       : segment == ZYDIS_REGISTER_GS ? s->gs_base
						      : 0;
	if (own)
		return entry == LDT_END ? 0 : ARENA;
	return mode == MODE_16 ? ARENA : 0;
}

static inline void set_low(uint64_t *reg, uint64_t value, unsigned width)
{
	uint64_t mask = width == 64 ? UINT64_MAX : (1ULL << width) - 1;

	*reg = (*reg & ~mask) | (value & mask);
}

/* Solves base + index * scale + displacement for the registers. */
static inline void aim(struct machine_state *s, const struct instance *in,
	const ZydisDecodedOperandMem *mem, uint64_t linear)
{
	unsigned width = in->z.address_width, mode = in->form->key.mode;
	uint64_t offset = linear - segment_base(s, mode, mem->segment) -
			  (mem->disp.has_displacement ? (uint64_t)mem->disp.value : 0);
	bool based = is_general(mem->base), indexed = is_general(mem->index);
	uint64_t *base = &s->gpr[based ? register_number(mem->base) : 0];
	uint64_t *index = &s->gpr[indexed ? register_number(mem->index) : 0];

	if (width == 32)
		offset = (uint32_t)offset;
	else if (width == 16)
		offset = (uint16_t)offset;
	/* AMD wants the sum canonical before the segment's base is added, too. */
	else if (mem->segment >= ZYDIS_REGISTER_FS && !soft_canonical(offset + mem->disp.value, 8))
		offset = AT(PAGE_DATA) - segment_base(s, mode, mem->segment) - mem->disp.value;
	if (based && indexed && base == index) {
		set_low(base, offset / (1 + mem->scale), width);
	} else if (based) {
		if (indexed)
			offset -= *index * mem->scale;
		set_low(base, offset, width);
	} else if (indexed) {
		set_low(index, offset / mem->scale, width);
	}
}

/* Where a memory operand really lies: what cannot be solved exactly lies a little beside. */
static inline uint64_t aimed_at(
	const struct machine_state *s, const struct instance *in, const ZydisDecodedOperandMem *mem)
{
	unsigned width = in->z.address_width;
	uint64_t offset = mem->disp.has_displacement ? (uint64_t)mem->disp.value : 0;

	if (is_general(mem->base))
		offset += s->gpr[register_number(mem->base)];
	else if (mem->base != ZYDIS_REGISTER_NONE)
		offset += in->address + in->length;
	if (is_general(mem->index))
		offset += s->gpr[register_number(mem->index)] * mem->scale;
	if (width != 64)
		offset &= (1ULL << width) - 1;
	offset += segment_base(s, in->form->key.mode, mem->segment);
	return in->form->key.mode == MODE_64 ? offset : (uint32_t)offset;
}

/* RIP-relative and absolute operands and relative branches: in the bytes.  Once an instance. */
static inline void instance_aim(struct instance *in, const struct machine_state *s)
{
	unsigned mode = in->form->key.mode;

	for (unsigned n = 0; n < in->z.operand_count_visible; n++) {
		const ZydisDecodedOperand *o = &in->operand[n];
		uint64_t value;

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && in->z.raw.disp.size &&
			!is_general(o->mem.base) && !is_general(o->mem.index)) {
			value = random_target(o->size / 8, false) -
				segment_base(s, mode, o->mem.segment);
			if (o->mem.base != ZYDIS_REGISTER_NONE)
				value -= in->address + in->length;
			memcpy(in->bytes + in->z.raw.disp.offset, &value, in->z.raw.disp.size / 8);
		} else if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && o->imm.is_relative) {
			/* A byte reaches within the slot: its first bytes are INT3. */
			value = (in->z.raw.imm[0].size == 8
						? (in->address & ~(uint64_t)(SLOT - 1)) + below(8)
						: near_landing(in)) -
				in->address - in->length;
			memcpy(in->bytes + in->z.raw.imm[0].offset, &value,
				in->z.raw.imm[0].size / 8);
		}
	}
	if (in->z.mnemonic == ZYDIS_MNEMONIC_ENTER && !one_in(4))
		in->bytes[in->z.raw.imm[0].offset + 1] &= 1;
	instance_again(in);
}

static inline uint64_t random_stack(unsigned mode)
{
	uint64_t at = AT(PAGE_STACK) + 1024 + below(2 * PAGE_BYTES - 2048);

	switch (below(24)) {
	case 0: at = AT(PAGE_STACK) + below(80); break;
	case 1: at = AT(PAGE_STACK + 2) - below(80); break;
	case 2: at = AT(PAGE_STACK + 1) + 8 - below(16); break;
	case 3:
		if (mode == MODE_64)
			return (one_in(2) ? 0x0000800000000000 : 0xffff800000000000) + 16 -
			       below(32);
		break;
	default: break;
	}
	if (!one_in(6))
		at &= ~7ULL;
	return mode == MODE_16 ? (random64() & 0xffff0000) | (uint16_t)(at - ARENA) : at;
}

/* What an instruction wants beside its operands to do more than fault. */
static inline void suit(struct machine_state *s, const struct instance *in)
{
	unsigned mode = in->form->key.mode, size = in->operand[0].size / 8;
	const ZydisDecodedOperand *o = in->operand;

	switch (in->z.mnemonic) {
	case ZYDIS_MNEMONIC_DIV:
	case ZYDIS_MNEMONIC_IDIV:
		if (one_in(4))
			return;
		s->gpr[RAX] = size == 1 ? random_bits(16) >> below(12) : random_operand();
		s->gpr[RDX] = one_in(3) ? 0 : random64() >> below(63);
		if (one_in(4)) { /* the sign of RAX */
			unsigned shift = 64 - 8 * (size ? size : 1);

			s->gpr[RDX] = (int64_t)(s->gpr[RAX] << shift) < 0 ? UINT64_MAX : 0;
		}
		return;
	case ZYDIS_MNEMONIC_LOOP:
	case ZYDIS_MNEMONIC_LOOPE:
	case ZYDIS_MNEMONIC_LOOPNE:
	case ZYDIS_MNEMONIC_JCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
	case ZYDIS_MNEMONIC_JRCXZ:
		if (one_in(2))
			s->gpr[RCX] = below(3) | (one_in(3)	     ? 0x100000000
							 : one_in(2) ? 0x10000
								     : 0);
		return;
	case ZYDIS_MNEMONIC_LEAVE:
	case ZYDIS_MNEMONIC_ENTER:
		set_low(&s->gpr[RBP], random_stack(mode), mode == MODE_16 ? 16 : 64);
		return;
	case ZYDIS_MNEMONIC_BT:
	case ZYDIS_MNEMONIC_BTS:
	case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC:
		/* The bit's number moves the operand: by 512 bytes at most. */
		if (o[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			o[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
			set_low(&s->gpr[register_number(o[1].reg.value)],
				(int64_t)(random_bits(13)) - 4096, o[1].size);
		return;
	default: break;
	}
	if (in->z.attributes &
		(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
		set_low(&s->gpr[RCX], one_in(8) ? below(1500) : below(30), in->z.address_width);
	/* Where ports are refused, a count of 0 is, too, or is not: the SDM does not say. */
	if (in->z.meta.category == ZYDIS_CATEGORY_IOSTRINGOP)
		s->gpr[RCX] |= 1;
}

/* The value that CMPXCHG and its kin compare with: the same, every other time. */
static inline void suit_compare(struct machine_state *s, const struct instance *in, uint64_t linear)
{
	const ZydisDecodedOperand *o = in->operand;
	unsigned size = o[0].size / 8;

	if (one_in(2) || o[0].type != ZYDIS_OPERAND_TYPE_MEMORY ||
		(is_general(o[0].mem.base) && (register_number(o[0].mem.base) == RAX ||
						      register_number(o[0].mem.base) == RDX)) ||
		(is_general(o[0].mem.index) && (register_number(o[0].mem.index) == RAX ||
						       register_number(o[0].mem.index) == RDX)))
		return;
	if (in->z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG) {
		s->gpr[RAX] = arena_peek(linear, size);
	} else if (in->z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B ||
		   in->z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B) {
		set_low(&s->gpr[RAX], arena_peek(linear, size / 2), size * 4);
		set_low(&s->gpr[RDX], arena_peek(linear + size / 2, size / 2), size * 4);
	}
}

static inline bool is_branch(const struct instance *in)
{
	return in->z.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR;
}

static inline void aim_memory(
	struct machine_state *s, const struct instance *in, const ZydisDecodedOperand *o)
{
	unsigned mode = in->form->key.mode, size = o->size / 8 ? o->size / 8 : 1;
	/* Not for a stack pointer: the stack would fault, too. */
	bool wide =
		mode == MODE_64 && in->z.address_width == 64 && register_number(o->mem.base) != RSP;
	uint64_t linear = random_target(size, wide), landing;

	if (in->z.mnemonic == ZYDIS_MNEMONIC_XLAT)
		linear -= s->gpr[RAX] & 0xff;
	if (size == 16 && !one_in(4))
		linear &= ~15ULL;
	aim(s, in, &o->mem, linear);
	linear = aimed_at(s, in, &o->mem);
	suit_compare(s, in, linear);
	if (in->z.mnemonic == ZYDIS_MNEMONIC_BOUND && one_in(2)) {
		uint64_t bounds = size == 4 ? 0x7fff8000 : 0x7fffffff80000000;

		arena_poke(linear, &bounds, size);
	}
	if (!is_branch(in))
		return;
	landing = random_landing(in);
	if (mode == MODE_16)
		landing -= ARENA;
	arena_poke(linear, &landing, 8);
}

/* What is popped: a place to land, or flags without TF. */
static inline void suit_stack(struct machine_state *s, const struct instance *in)
{
	unsigned mode = in->form->key.mode;
	uint64_t linear = mode == MODE_16 ? ARENA + (uint16_t)s->gpr[RSP] : s->gpr[RSP], value;

	if (mode == MODE_32)
		linear = (uint32_t)linear;
	switch (in->z.mnemonic) {
	case ZYDIS_MNEMONIC_RET:
		value = random_landing(in) - (mode == MODE_16 ? ARENA : 0);
		arena_poke(linear, &value, 8);
		break;
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
		value = random64() & ~(uint64_t)F_TF;
		arena_poke(linear, &value, 8);
		break;
	default: break;
	}
}

static inline void state_environment(struct machine_state *s, const struct instance *in)
{
	static const uint8_t entries[] = {LDT_SHORT, LDT_SHORT, LDT_READ_ONLY, LDT_DOWN, LDT_DOWN,
		LDT_CODE32, LDT_CODE32, LDT_END};

	s->fs = entries[below(8)];
	s->gs = entries[below(8)];
	s->fs_base = (int64_t)(random64() << 17) >> 17 >> below(40);
	s->gs_base = one_in(2) ? ARENA + below(0x10000) : s->fs_base ^ 0x1000;
	/* Offsets of 32 bits cannot make good for a base far away, where this process has its own.
	 */
	if (in->z.address_width == 32 ||
		(in->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			!is_general(in->operand[0].mem.base)) ||
		(in->operand[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			!is_general(in->operand[1].mem.base)) ||
		(in->operand[2].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			!is_general(in->operand[2].mem.base))) {
		s->fs_base &= 0xffffff;
		s->gs_base &= 0xffffff;
	}
	s->aligned = one_in(24);
}

/* Code pages are not the same in both, so no data may come from there. */
static inline bool reads_code(const struct machine_state *s, const struct instance *in)
{
	const ZydisDecodedOperand *o = in->operand;
	unsigned size = o[0].size / 8;
	uint64_t at;

	if (in->form->key.mode == MODE_16 && (uint16_t)s->gpr[RSP] < 4 * PAGE_BYTES)
		return true;
	if (in->z.meta.category != ZYDIS_CATEGORY_BITBYTE ||
		o[0].type != ZYDIS_OPERAND_TYPE_MEMORY || !size ||
		o[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	at = aimed_at(s, in, &o[0].mem) +
	     ((int64_t)soft_sign(s->gpr[register_number(o[1].reg.value)], size) >> 3) / size * size;
	return at - ARENA + 64 < 4 * PAGE_BYTES;
}

/* All registers for one case of this instance.  False: there is none this time. */
static inline bool state_make(struct machine_state *s, const struct instance *in)
{
	unsigned mode = in->form->key.mode;

	for (unsigned n = 0; n < 16; n++)
		s->gpr[n] = random_operand();
	if (one_in(12))
		s->gpr[below(16)] = s->gpr[below(16)];
	s->flags = (random64() & F_ARITHMETIC) | 0x202 | (one_in(6) ? F_DF : 0) |
		   (s->aligned ? F_AC : 0);
	s->gpr[RSP] = random_stack(mode);
	s->rip = in->address - (mode == MODE_16 ? ARENA : 0);
	suit(s, in);
	for (unsigned n = 0; n < in->z.operand_count; n++) {
		const ZydisDecodedOperand *o = &in->operand[n];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.type == ZYDIS_MEMOP_TYPE_MEM &&
			(n < in->z.operand_count_visible ||
				(register_number(o->mem.base) != RSP &&
					register_number(o->mem.base) != RBP)))
			aim_memory(s, in, o);
		else if (is_branch(in) && o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
			 n < in->z.operand_count_visible && register_number(o->reg.value) != RSP)
			s->gpr[register_number(o->reg.value)] =
				random_landing(in) - (mode == MODE_16 ? ARENA : 0);
	}
	suit_stack(s, in);
	if (mode != MODE_64)
		for (unsigned n = 0; n < 16; n++)
			s->gpr[n] = n < 8 ? (uint32_t)s->gpr[n] : 0;
	return !reads_code(s, in);
}

#endif
