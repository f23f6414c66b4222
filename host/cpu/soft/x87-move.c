/* SPDX-License-Identifier: MIT */
/* x87 (SDM 1, 8.3.3, 8.3.4): loads and stores in every format, constants, exchange and conditional
 * moves. */
#include <Zydis/Mnemonic.h>

#include "cpu/soft/x87.h"

static void write_memory(
	struct soft_cpu *c, const struct soft_insn *i, const void *from, unsigned size)
{
	uint64_t linear = soft_address(c, i, size, true), value;

	if (size == 10) {
		soft_write_bytes(c, linear, from, 10);
		return;
	}
	memcpy(&value, from, 8);
	soft_store(c, linear, value & soft_mask(size), size);
}

static unsigned memory_size(const struct soft_insn *i)
{
	return i->op[0].size;
}

void x87_load(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t value[16] = {0}, result[16];
	uint16_t sw = 0;

	x87_begin(c);
	x87_read_memory(c, i, value, memory_size(i));
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	if (!x87_is_empty(c, 7)) {
		x87_push(c, value);
		return;
	}
	if (i->native)
		sw = x87_execute(c, i, result, value);
	else
		memcpy(result, value, 10);
	/* A denormal is loaded even if that exception is open, as processors do. */
	if (!(x87_settle(c, sw) & X87_INVALID))
		x87_push(c, result);
}

void x87_load_register(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t value[16];
	unsigned rm = i->immediate & 7;

	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	memcpy(value, x87_st(c, rm), 16);
	if (x87_is_empty(c, rm)) {
		if (!x87_underflow(c))
			return;
		x87_turn(c, -1);
		x87_set(c, 0, x87_indefinite);
		return;
	}
	x87_push(c, value);
}

void x87_constant(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t result[16];

	x87_begin(c);
	x87_note(c, i);
	x87_execute(c, i, result, result);
	c->fpu.sw &= ~X87_C1;
	x87_push(c, result);
}

static bool store_pops(const struct soft_insn *i)
{
	return i->mnemonic != ZYDIS_MNEMONIC_FST && i->mnemonic != ZYDIS_MNEMONIC_FIST;
}

/* What an empty register gives in each format. */
static void indefinite_of(const struct soft_insn *i, uint8_t *value)
{
	bool integer = i->mnemonic == ZYDIS_MNEMONIC_FIST || i->mnemonic == ZYDIS_MNEMONIC_FISTP ||
		       i->mnemonic == ZYDIS_MNEMONIC_FISTTP;
	uint64_t indefinite = integer		    ? 1ULL << (memory_size(i) * 8 - 1)
			      : memory_size(i) == 4 ? 0xffc00000
						    : 0xfff8000000000000ULL;

	memcpy(value, &indefinite, 8);
	if (memory_size(i) == 10)
		memcpy(value, x87_indefinite, 10);
}

void x87_store(struct soft_cpu *c, const struct soft_insn *i)
{
	uint8_t value[16] = {0};
	uint16_t sw = 0;

	x87_begin(c);
	if (x87_is_empty(c, 0)) {
		indefinite_of(i, value);
		if (!x87_open(c, X87_INVALID))
			write_memory(c, i, value, memory_size(i));
		x87_note(c, i);
		if (!x87_underflow(c))
			return;
	} else {
		if (i->native)
			sw = x87_execute(c, i, x87_st(c, 0), value);
		else
			memcpy(value, x87_st(c, 0), 10);
		/* With one of these open nothing is stored, and nothing popped. */
		if (x87_open(c, sw & ~X87_PRECISION)) {
			x87_note(c, i);
			x87_settle(c, sw);
			return;
		}
		write_memory(c, i, value, memory_size(i));
		x87_note(c, i);
		x87_settle(c, sw);
	}
	if (store_pops(i))
		x87_pop(c);
}

void x87_store_register(struct soft_cpu *c, const struct soft_insn *i)
{
	bool pops = i->mnemonic != ZYDIS_MNEMONIC_FST;

	x87_begin(c);
	x87_note(c, i);
	if (x87_is_empty(c, 0) && i->mnemonic == ZYDIS_MNEMONIC_FSTPNCE) {
		/* An undocumented encoding: as on AMD's processors it only pops then. */
		c->fpu.sw &= ~X87_C1;
	} else if (x87_is_empty(c, 0)) {
		if (!x87_underflow(c))
			return;
		x87_set(c, i->immediate & 7, x87_indefinite);
	} else {
		c->fpu.sw &= ~X87_C1;
		x87_set(c, i->immediate & 7, x87_st(c, 0));
	}
	if (pops)
		x87_pop(c);
}

void x87_fxch(struct soft_cpu *c, const struct soft_insn *i)
{
	unsigned rm = i->immediate & 7;
	uint8_t value[16];

	x87_begin(c);
	x87_note(c, i);
	c->fpu.sw &= ~X87_C1;
	if (x87_is_empty(c, 0) || x87_is_empty(c, rm)) {
		if (!x87_underflow(c))
			return;
		if (x87_is_empty(c, 0))
			x87_set(c, 0, x87_indefinite);
		if (x87_is_empty(c, rm))
			x87_set(c, rm, x87_indefinite);
	}
	memcpy(value, x87_st(c, 0), 16);
	x87_set(c, 0, x87_st(c, rm));
	x87_set(c, rm, value);
}

void x87_fcmov(struct soft_cpu *c, const struct soft_insn *i)
{
	static const uint32_t masks[] = {F_CF, F_ZF, F_CF | F_ZF, F_PF};
	unsigned which = i->immediate >> 3 & 3;
	bool condition = (c->flags & masks[which]) != 0;
	unsigned rm = i->immediate & 7;

	x87_begin(c);
	x87_note(c, i);
	if (i->opcode == 0xdb)
		condition = !condition;
	if (x87_is_empty(c, 0) || x87_is_empty(c, rm)) {
		if (x87_underflow(c))
			x87_set(c, 0, x87_indefinite);
		return;
	}
	if (condition)
		x87_set(c, 0, x87_st(c, rm));
}
