/* SPDX-License-Identifier: MIT */
/*
 * Host code, x86-64, byte by byte (SDM 2, 2.1 to 2.2): the few forms that translated blocks are
 * made of.  Registers are numbers 0 to 15 as in the encoding.
 *
 * One memory holds the code and is mapped twice, once to write and once to execute; places in it
 * are offsets.
 */
#ifndef CPU_SOFT_EMIT_H
#define CPU_SOFT_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI, H_R8, H_R12 = 12 };
#define H_NONE	  (-1)
#define H_TEMP	  13 /* between two instructions of the guest these two are free */
#define H_ADDRESS 14
#define H_CPU	  15 /* struct soft_cpu */

struct emitter {
	uint8_t *write;	    /* the code, writable */
	const uint8_t *run; /* the same, executable */
	uint32_t at, size;
};

static inline void emit8(struct emitter *e, uint8_t byte)
{
	e->write[e->at++] = byte;
}

static inline void emit32(struct emitter *e, uint32_t value)
{
	memcpy(e->write + e->at, &value, 4);
	e->at += 4;
}

static inline void emit64(struct emitter *e, uint64_t value)
{
	memcpy(e->write + e->at, &value, 8);
	e->at += 8;
}

static inline void emit_bytes(struct emitter *e, const void *bytes, size_t count)
{
	memcpy(e->write + e->at, bytes, count);
	e->at += count;
}

#define EMIT(e, ...) \
	emit_bytes(e, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static inline void emit_rex(struct emitter *e, int wide, int reg, int index, int base)
{
	emit8(e, 0x40 | wide << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3);
}

/* op rm, reg */
static inline void emit_rr(struct emitter *e, int wide, uint8_t opcode, int reg, int rm)
{
	emit_rex(e, wide, reg, 0, rm);
	EMIT(e, opcode, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* op with a field of struct soft_cpu */
static inline void emit_cpu(struct emitter *e, int wide, uint8_t opcode, int reg, uint32_t field)
{
	emit_rex(e, wide, reg, 0, H_CPU);
	EMIT(e, opcode, 0x80 | (reg & 7) << 3 | (H_CPU & 7));
	emit32(e, field);
}

/* op with [CPU + TEMP + field] */
static inline void emit_indexed(
	struct emitter *e, uint8_t opcode, int reg, int index, uint32_t field)
{
	emit_rex(e, 1, reg, index, H_CPU);
	EMIT(e, opcode, 0x84 | (reg & 7) << 3, (index & 7) << 3 | (H_CPU & 7));
	emit32(e, field);
}

static inline void emit_move(struct emitter *e, int to, int from)
{
	if (to != from)
		emit_rr(e, 1, 0x89, from, to);
}

static inline void emit_load(struct emitter *e, int reg, uint32_t field)
{
	emit_cpu(e, 1, 0x8b, reg, field);
}

static inline void emit_store(struct emitter *e, int reg, uint32_t field)
{
	emit_cpu(e, 1, 0x89, reg, field);
}

static inline void emit_constant(struct emitter *e, int reg, uint64_t value)
{
	if (value <= UINT32_MAX) {
		emit_rex(e, 0, 0, 0, reg);
		emit8(e, 0xb8 | (reg & 7));
		emit32(e, value);
	} else if ((int64_t)value == (int32_t)value) {
		emit_rex(e, 1, 0, 0, reg);
		EMIT(e, 0xc7, 0xc0 | (reg & 7));
		emit32(e, value);
	} else {
		emit_rex(e, 1, 0, 0, reg);
		emit8(e, 0xb8 | (reg & 7));
		emit64(e, value);
	}
}

/* LEA to, [base + index << scale + displacement]; base and index may be H_NONE. */
static inline void emit_lea(struct emitter *e, int wide, int to, int base, int index,
	unsigned scale, int32_t displacement)
{
	bool near = displacement == (int8_t)displacement && base != H_NONE;

	emit_rex(e, wide, to, index == H_NONE ? 0 : index, base == H_NONE ? 0 : base);
	EMIT(e, 0x8d,
		(base == H_NONE ? 0x04
			: near	? 0x44
				: 0x84) |
			(to & 7) << 3,
		scale << 6 | (index == H_NONE ? 4 : index & 7) << 3 |
			(base == H_NONE ? 5 : base & 7));
	if (near)
		emit8(e, displacement);
	else
		emit32(e, displacement);
}

/* A jump whose target is not known yet: the place of its 32-bit distance. */
static inline uint32_t emit_jump_later(struct emitter *e, int condition)
{
	if (condition < 0)
		emit8(e, 0xe9);
	else
		EMIT(e, 0x0f, 0x80 | condition);
	emit32(e, 0);
	return e->at - 4;
}

static inline void emit_set_target(struct emitter *e, uint32_t place, uint32_t target)
{
	uint32_t distance = target - (place + 4);

	memcpy(e->write + place, &distance, 4);
}

static inline void emit_jump(struct emitter *e, int condition, uint32_t target)
{
	emit_set_target(e, emit_jump_later(e, condition), target);
}

static inline void emit_call(struct emitter *e, uint32_t target)
{
	emit8(e, 0xe8);
	emit32(e, target - (e->at + 4));
}

#define JUMP_ALWAYS (-1)
#define JUMP_O	    0x0
#define JUMP_Z	    0x4
#define JUMP_NZ	    0x5
#define JUMP_A	    0x7
#define JUMP_L	    0xc

#endif
