/* SPDX-License-Identifier: MIT */
/*
 * Instructions on general registers: the software processor against the host's own, the same bytes
 * with the same random registers and flags.  What the SDM leaves undefined is masked out.
 */
#include <sys/mman.h>

#include "soft-help.h"

#define CASES 40000

struct registers {
	uint64_t r[4]; /* RAX RCX RDX RBX */
	uint64_t flags;
};

struct form {
	uint8_t bytes[8];
	unsigned length;
	uint32_t undefined; /* flags */
	int free_register;  /* whose value is undefined, or -1 */
};

static uint64_t seed = 1;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Edges come more often than chance would bring them. */
static uint64_t random_operand(void)
{
	static const uint64_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
		0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX};

	return random64() % 3 ? random64() : edges[random64() % (sizeof(edges) / sizeof(edges[0]))];
}

static void run_on_host(void *code, struct registers *g)
{
	__asm__ volatile(
		"subq $128, %%rsp\n"
		"pushq %[flags]\n"
		"popfq\n"
		"call *%[code]\n"
		"pushfq\n"
		"popq %[flags]\n"
		"leaq 128(%%rsp), %%rsp\n"
		: "+a"(g->r[0]), "+c"(g->r[1]), "+d"(g->r[2]), "+b"(g->r[3]), [flags] "+S"(g->flags)
		: [code] "D"(code)
		: "memory", "cc");
}

static void put(struct form *f, unsigned byte)
{
	f->bytes[f->length++] = byte;
}

/* One of 1, 2, 4, 8 bytes, with the prefix that says so; odd opcodes are the wide form. */
static unsigned put_size(struct form *f, bool byte_form)
{
	unsigned size = 1u << (byte_form ? random64() % 4 : 1 + random64() % 3);

	if (size == 2)
		put(f, 0x66);
	if (size == 8)
		put(f, 0x48);
	return size;
}

static unsigned put_modrm(struct form *f, unsigned reg, unsigned size)
{
	unsigned rm = random64() % (size == 1 ? 8 : 4);

	put(f, 0xc0 | reg << 3 | rm);
	return rm;
}

static void make_alu(struct form *f, const struct registers *g)
{
	unsigned size = put_size(f, true), op = random64() % 8;

	put(f, op << 3 | (random64() & 2) | (size > 1));
	put_modrm(f, random64() % (size == 1 ? 8 : 4), size);
	if (op == 1 || op == 4 || op == 6)
		f->undefined = F_AF;
}

static void make_unary(struct form *f, const struct registers *g)
{
	unsigned size = put_size(f, true), op = random64() % 6;

	put(f, (op < 2 ? 0xfe : 0xf6) | (size > 1));
	put_modrm(f, op, size);
	if (op >= 4)
		f->undefined = F_SF | F_ZF | F_AF | F_PF;
}

static void make_shift(struct form *f, const struct registers *g)
{
	static const uint8_t opcodes[] = {0xd0, 0xd2, 0xc0};
	unsigned size = put_size(f, true), op = random64() % 8, way = random64() % 3;
	unsigned immediate = random64() & 0xff, count;

	put(f, opcodes[way] | (size > 1));
	put_modrm(f, op, size);
	if (way == 2)
		put(f, immediate);
	count = (way == 0 ? 1 : way == 1 ? g->r[1] & 0xff : immediate) & (size == 8 ? 63 : 31);
	if (count > 1)
		f->undefined |= F_OF;
	if (op < 4)
		return;
	if (count)
		f->undefined |= F_AF;
	if (count >= size * 8 && op != 7)
		f->undefined |= F_CF;
}

static void make_double_shift(struct form *f, const struct registers *g)
{
	unsigned size = put_size(f, false), by_cl = random64() & 1, rm;
	unsigned immediate = random64() & 0xff;
	unsigned count = (by_cl ? g->r[1] & 0xff : immediate) & (size == 8 ? 63 : 31);

	put(f, 0x0f);
	put(f, (random64() & 1 ? 0xa4 : 0xac) | by_cl);
	rm = put_modrm(f, random64() % 4, size);
	if (!by_cl)
		put(f, immediate);
	if (count)
		f->undefined = F_AF;
	if (count > 1)
		f->undefined |= F_OF;
	if (count > size * 8) {
		f->undefined = F_ARITHMETIC;
		f->free_register = rm;
	}
}

static void make_bit(struct form *f, const struct registers *g)
{
	unsigned size = put_size(f, false), reg = random64() % 4, rm, kind = random64() % 6;

	put(f, 0x0f);
	put(f, kind < 4 ? 0xa3 + kind * 8 : 0xbc + (kind & 1));
	rm = put_modrm(f, reg, size);
	if (kind < 4) {
		f->undefined = F_OF | F_SF | F_AF | F_PF;
		return;
	}
	f->undefined = F_CF | F_OF | F_SF | F_AF | F_PF;
	if (!(g->r[rm] & soft_mask(size)))
		f->free_register = reg;
}

static void make_two_byte(struct form *f, const struct registers *g)
{
	static const uint8_t opcodes[] = {0xb0, 0xb1, 0xc0, 0xc1, 0xb6, 0xb7, 0xbe, 0xbf, 0xaf,
		0x40, 0x44, 0x47, 0x4c, 0x4d, 0x90, 0x92, 0x98, 0x9f};
	unsigned opcode = opcodes[random64() % sizeof(opcodes)];
	bool is_byte = opcode == 0xb0 || opcode == 0xc0 || (opcode & 0xf0) == 0x90;
	unsigned size = is_byte ? 1 : put_size(f, false);

	put(f, 0x0f);
	put(f, opcode);
	/* The source of MOVZX and MOVSX may be a high byte. */
	put_modrm(f, random64() % 4, opcode == 0xb6 || opcode == 0xbe ? (size == 8 ? 2 : 1) : size);
	if (opcode == 0xaf)
		f->undefined = F_SF | F_ZF | F_AF | F_PF;
}

static void make_plain(struct form *f, const struct registers *g)
{
	static const uint8_t opcodes[] = {0x98, 0x99, 0x9e, 0x9f, 0xf5, 0xf8, 0xf9, 0x90};

	put_size(f, false);
	if (random64() & 1) {
		f->length = 0;
		put(f, 0x48);
		put(f, 0x0f);
		put(f, 0xc8 + random64() % 4); /* BSWAP */
		return;
	}
	put(f, opcodes[random64() % sizeof(opcodes)]);
}

static void check(const struct form *f, void *code, const struct registers *before)
{
	struct registers host = *before;
	char text[32] = "";

	memcpy(code, f->bytes, f->length);
	((uint8_t *)code)[f->length] = 0xc3;
	run_on_host(code, &host);
	memcpy(cpu->gpr, before->r, sizeof(before->r));
	cpu->flags = before->flags;
	run_bytes(f->bytes, f->length);
	if (f->free_register >= 0)
		cpu->gpr[f->free_register] = host.r[f->free_register];
	if (!memcmp(cpu->gpr, host.r, sizeof(host.r)) &&
		!((cpu->flags ^ host.flags) & F_ARITHMETIC & ~f->undefined))
		return;
	for (unsigned i = 0; i < f->length; i++)
		snprintf(text + 3 * i, 4, "%02x ", f->bytes[i]);
	for (unsigned i = 0; i < 4; i++)
		print_message("register %u: before %016llx host %016llx soft %016llx\n", i,
			(unsigned long long)before->r[i], (unsigned long long)host.r[i],
			(unsigned long long)cpu->gpr[i]);
	fail_msg("%s: flags before %03llx host %03llx soft %03x, undefined %03x", text,
		(unsigned long long)before->flags, (unsigned long long)host.flags, cpu->flags,
		f->undefined);
}

static void as_on_the_host(void **state)
{
	static void (*const makers[])(struct form * f, const struct registers *g) = {make_alu,
		make_unary, make_shift, make_double_shift, make_bit, make_two_byte, make_plain};
	void *code = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(code != MAP_FAILED);
	reset_flat64();
	for (unsigned n = 0; n < CASES; n++) {
		struct form f = {.free_register = -1};
		struct registers before;

		for (unsigned i = 0; i < 4; i++)
			before.r[i] = random_operand();
		before.flags = (random64() & F_ARITHMETIC) | 2;
		makers[n % 7](&f, &before);
		check(&f, code, &before);
	}
	munmap(code, 4096);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_on_the_host),
	};

	return cmocka_run_group_tests(tests, start_soft, end_soft);
}
