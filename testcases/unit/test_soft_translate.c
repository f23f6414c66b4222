/* SPDX-License-Identifier: MIT */
/*
 * Host code against the interpreter: random programs of the instructions that are translated, and
 * of some that are not, in a loop, with memory over the ends of pages, stack, calls and jumps.  All
 * registers, all flags (PUSHF is among them), memory, RIP and the count of instructions must be the
 * same.
 */
#include "soft-help.h"

#define PROGRAMS 3000
#define LENGTH	 40
#define DATA	 0x40000u
#define STACK	 0x60000u
#define LOOPS	 3

/* Registers that programs do not change: stack, two pointers, the loop's counter, an index. */
#define FIXED (1u << RSP | 1u << RSI | 1u << R13 | 1u << R14 | 1u << R15)

static uint64_t seed = 88172645463325252u;
static uint8_t program[LENGTH * 24 + 16];
static unsigned length;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static unsigned below(unsigned n)
{
	return (random64() >> 20) % n;
}

static void put(unsigned byte)
{
	program[length++] = byte;
}

static void put32(uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		put(value >> i * 8);
}

static unsigned changeable(void)
{
	unsigned reg;

	do
		reg = below(16);
	while (FIXED >> reg & 1);
	return reg;
}

/* REX with or without W, an opcode of one or two bytes, and operands: reg and a register or memory.
 */
static void form(unsigned escape, unsigned opcode, unsigned reg, bool memory, unsigned wide)
{
	unsigned base = below(2) ? RSI : R13, rm = memory ? base : changeable();
	bool indexed = memory && below(3) == 0;
	static const uint8_t near_end[] = {0xf8, 0xf9, 0xfa, 0xfc, 0xff};

	put(0x40 | wide << 3 | (reg >> 3) << 2 | (indexed ? 2 : 0) | rm >> 3);
	if (escape)
		put(0x0f);
	put(opcode);
	if (!memory) {
		put(0xc0 | (reg & 7) << 3 | (rm & 7));
		return;
	}
	put(0x40 | (reg & 7) << 3 | (indexed ? 4 : rm & 7));
	if (indexed)
		put(below(4) << 6 | (R15 & 7) << 3 | (rm & 7));
	/* RSI points to the last bytes of a page but for this much */
	put(below(3) ? below(0x70) : near_end[below(5)]);
}

static void arithmetic(void)
{
	static const uint8_t to_rm[] = {
		0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x87, 0x89};

	if (below(5) == 0)
		put(0x66);
	form(0, to_rm[below(sizeof(to_rm))] - (below(4) == 0), changeable(), below(2), below(2));
}

static void from_memory(void)
{
	static const uint8_t to_reg[] = {
		0x03, 0x0b, 0x13, 0x1b, 0x23, 0x2b, 0x33, 0x3b, 0x8b, 0x63};

	form(0, to_reg[below(sizeof(to_reg))], changeable(), below(3), below(2));
}

static void two_byte(void)
{
	static const uint8_t opcodes[] = {0xaf, 0xb6, 0xb7, 0xbe, 0xbf, 0xa3, 0xbc};

	if (below(3) == 0)
		form(1, 0x40 + below(16), changeable(), below(2), below(2)); /* CMOVcc */
	else if (below(3) == 0)
		form(1, 0x90 + below(16), 0, below(2), 0); /* SETcc */
	else
		form(1, opcodes[below(sizeof(opcodes))], changeable(), false, below(2));
}

static void with_immediate(void)
{
	if (below(2)) {
		form(0, 0x83, below(8), below(2), below(2));
		put(random64());
	} else {
		form(0, 0x81, below(8), below(2), below(2));
		put32(random64());
	}
}

static void shift(void)
{
	static const uint8_t which[] = {0, 1, 4, 5, 7, 4, 5, 2};
	unsigned reg = which[below(8)];
	bool memory = below(4) == 0;

	if (below(4) == 0) {
		form(0, below(4) ? 0xd1 : 0xd0, reg, memory, below(2));
	} else if (below(5) == 0) {
		form(0, 0xd3, reg, memory, below(2));
	} else {
		form(0, below(4) ? 0xc1 : 0xc0, reg, memory, below(2));
		put(below(3) ? below(8) : below(64));
	}
}

static void unary(void)
{
	form(0, below(4) ? 0xff : 0xfe, below(2), below(2), below(2));	   /* INC, DEC */
	form(0, below(4) ? 0xf7 : 0xf6, 2 + below(2), below(2), below(2)); /* NOT, NEG */
}

static void high_bytes(void)
{
	static const uint8_t opcodes[] = {0x00, 0x08, 0x10, 0x28, 0x30, 0x38, 0x88, 0x86};

	/* Of AL to BL and AH to BH: the others are not to be changed. */
	put(opcodes[below(sizeof(opcodes))]);
	put(0xc0 | below(8) << 3 | below(8));
}

static void moves(void)
{
	unsigned reg = changeable();

	switch (below(6)) {
	case 0:
		put(0x40 | reg >> 3);
		put(0xb8 | (reg & 7));
		put32(random64());
		break;
	case 1:
		put(0x48 | reg >> 3);
		put(0xb8 | (reg & 7));
		put32(random64());
		put32(random64());
		break;
	case 2:
		put(0x48 | reg >> 3);
		put(0x0f);
		put(0xc8 | (reg & 7));
		break;
	case 3: put(0x48), put(0x98 + below(2)); break; /* CDQE, CQO */
	case 4:
		form(0, 0xc7, 0, true, below(2));
		put32(random64());
		break;
	default: form(0, 0x8d, reg, true, below(2)); break; /* LEA */
	}
}

static void imul_three(void)
{
	form(0, 0x6b, changeable(), below(2), below(2));
	put(random64());
}

static void stack(void)
{
	unsigned reg = changeable(), other = changeable();

	switch (below(4)) {
	case 0: put(0x9c); break;			      /* PUSHF */
	case 1: put(0x6a), put(random64()); break;	      /* PUSH imm8 */
	default: put(0x40 | reg >> 3), put(0x50 | (reg & 7)); /* PUSH */
	}
	put(0x40 | other >> 3);
	put(0x58 | (other & 7));
}

static void flow(void)
{
	static const uint8_t call_of_ret[] = {0xeb, 0x01, 0xc3, 0xe8, 0xfa, 0xff, 0xff, 0xff};
	unsigned at;

	switch (below(4)) {
	case 0:
		for (unsigned i = 0; i < sizeof(call_of_ret); i++)
			put(call_of_ret[i]);
		break;
	case 1: /* call +0; pop: a RIP that is known */
		put(0xe8), put32(0);
		put(0x59);
		break;
	case 2: /* lea rax, [rip + 2]; jmp rax */
		put(0x48), put(0x8d), put(0x05), put32(2);
		put(0xff), put(0xe0);
		break;
	default: /* over one instruction */
		put(0x70 + below(16));
		at = length;
		put(0);
		arithmetic();
		program[at] = length - at - 1;
	}
}

static void make_program(void)
{
	static void (*const kinds[])(void) = {arithmetic, arithmetic, from_memory, from_memory,
		two_byte, with_immediate, shift, unary, high_bytes, moves, imul_three, stack, flow};
	unsigned count = 1 + below(LENGTH);

	length = 0;
	for (unsigned i = 0; i < count; i++)
		kinds[below(sizeof(kinds) / sizeof(kinds[0]))]();
	put(0x49), put(0xff), put(0xce); /* dec r14; jnz to the start */
	put(0x0f), put(0x85), put32(-(length + 4));
	put(0xf4);
}

struct outcome {
	uint64_t gpr[16], rip, instructions, flags; /* no padding: compared as bytes */
	uint8_t data[0x3000], stack[0x100];
};

static void show(const struct outcome *a, const struct outcome *b)
{
	for (unsigned i = 0; i < length; i++)
		printf("%02x ", program[i]);
	printf("\n");
	for (unsigned reg = 0; reg < 16; reg++)
		if (a->gpr[reg] != b->gpr[reg])
			printf("register %u: interpreted %016lx, translated %016lx\n", reg,
				a->gpr[reg], b->gpr[reg]);
	printf("flags %08lx, %08lx; instructions %lu, %lu; rip %lx, %lx\n", a->flags, b->flags,
		a->instructions, b->instructions, a->rip, b->rip);
}

static void run(struct outcome *o, uint64_t from, uint32_t hot)
{
	uint64_t before = cpu->instructions;

	seed = from;
	soft->hot = hot;
	reset_flat64();
	for (unsigned reg = 0; reg < 16; reg++)
		cpu->gpr[reg] = below(3) ? random64() : below(256);
	cpu->gpr[RSP] = STACK;
	cpu->gpr[RSI] = DATA + 0xfff - below(0x70);
	cpu->gpr[R13] = DATA + 0x1000;
	cpu->gpr[R14] = LOOPS;
	cpu->gpr[R15] = below(64);
	cpu->flags = 2 | (random64() & F_ARITHMETIC);
	for (unsigned i = 0; i < 0x3000; i++)
		ram[DATA + i - 0x800] = i * 37;
	memset(ram + STACK - 0x100, 0, 0x100);
	memcpy(ram + CODE, program, length);
	soft_code_written(soft, CODE, length);
	soft_run(cpu, 100000);
	assert_true(cpu->halted);
	memcpy(o->gpr, cpu->gpr, sizeof(o->gpr));
	o->rip = cpu->rip;
	o->instructions = cpu->instructions - before;
	o->flags = cpu->flags;
	memcpy(o->data, ram + DATA - 0x800, sizeof(o->data));
	memcpy(o->stack, ram + STACK - 0x100, sizeof(o->stack));
}

static void as_interpreted(void **state)
{
	static struct outcome interpreted, translated;
	unsigned translations = 0;

	for (unsigned n = 0; n < PROGRAMS; n++) {
		uint64_t from;

		make_program();
		from = seed;
		run(&interpreted, from, UINT32_MAX);
		run(&translated, from, 1);
		if (memcmp(&interpreted, &translated, sizeof(interpreted))) {
			show(&interpreted, &translated);
			fail_msg("program %u", n);
		}
		cpu->rip = CODE;
		translations += soft_block_at(cpu)->code != NULL;
	}
	if (soft->translator)
		assert_int_equal(translations, PROGRAMS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(as_interpreted)};

	return cmocka_run_group_tests(tests, start_soft, end_soft);
}
