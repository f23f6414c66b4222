/* SPDX-License-Identifier: MIT */
/*
 * x87: every encoding the decoder's library knows but the transcendental functions, with random
 * stacks, tags, control words and memory, against the host executing the same bytes: registers,
 * tags, status and control word, memory, RFLAGS.  Not compared: FIP, FDP, FOP.
 */
#include "native-help.h"

#define CASES_EACH 24

/* FNSAVE's image in the 32-bit layout. */
struct image {
	uint32_t cw, sw, tags, ip, op, dp, ds;
	uint8_t st[8][10];
};

struct x87_state {
	struct image image;
	uint32_t pad;
	uint64_t rax, flags;
	uint8_t memory[128];
};

_Static_assert(offsetof(struct x87_state, rax) == 112, "the runner's offsets");

static void host_x87(struct x87_state *s, const uint8_t *bytes, size_t length)
{
	void (*run)(struct x87_state * s, void *memory);
	uint8_t *at = host_code;

	emit(&at, "\x53\x48\x89\xf3\xdd\x27", 6);	  /* push rbx; mov rbx, rsi; frstor [rdi] */
	emit(&at, "\xff\x77\x78\x9d\x48\x8b\x47\x70", 8); /* flags, rax */
	emit(&at, bytes, length);
	emit(&at, "\xdd\x37\x9c\x8f\x47\x78\x48\x89\x47\x70", 10); /* fnsave [rdi]; the same back */
	emit(&at, "\xdb\xe3\x5b\xc3", 4);
	memcpy(&run, &host_code, sizeof(run));
	run(s, s->memory);
}

static void random_real(uint8_t *to)
{
	static const uint16_t exponents[] = {0, 1, 0x3ffe, 0x3fff, 0x4000, 0x403e, 0x403d, 0x7ffe,
		0x7fff, 0x3f80, 0x407e, 0x3c00, 0x43fe, 0x3c01, 0x3f81, 0x3bcd};
	uint64_t mantissa = random64();
	uint16_t exponent = random64() % 3 ? exponents[random64() % 16] + random64() % 3 - 1
					   : 0x3ff0 + random64() % 80;

	if (random64() % 3 == 0)
		mantissa &= ~0ULL << random64() % 64;
	if (random64() % 8 && exponent & 0x7fff)
		mantissa |= 1ULL << 63;
	if (random64() % 8 == 0)
		mantissa = exponent & 0x7fff ? 1ULL << 63 : 0;
	exponent = (exponent & 0x7fff) | (random64() & 0x8000);
	memcpy(to, &mantissa, 8);
	memcpy(to + 8, &exponent, 2);
}

static void random_memory(uint8_t *to)
{
	static const uint64_t doubles[] = {0, 0x8000000000000000, 0x3ff0000000000000,
		0x7ff0000000000000, 0x7ff8000000000001, 0x7ff0000000000001, 1, 0x43e0000000000000};
	static const uint32_t floats[] = {
		0, 0x80000000, 0x3f800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 1};
	uint64_t value = random64();

	for (unsigned n = 0; n < 128; n++)
		to[n] = random64();
	switch (random64() % 5) {
	case 0: random_real(to); break;
	case 1: value = doubles[random64() % 8]; break;
	case 2: value = floats[random64() % 8]; break;
	case 3: /* decimal */
		for (unsigned n = 0; n < 9; n++)
			to[n] = random64() % 10 | random64() % 10 << 4;
		return;
	default: break;
	}
	memcpy(to, &value, random64() & 1 ? 8 : 0);
}

static void random_state(struct x87_state *s)
{
	memset(s, 0, sizeof(*s));
	s->image.cw = 0x40 | (random64() & 0xf00) | (random64() % 3 ? 0x3f : random64() & 0x3f);
	if ((s->image.cw & 0x300) == 0x100)
		s->image.cw |= 0x200; /* precision 01 is reserved */
	s->image.sw = (random64() & 0x7f40) | (random64() & random64() & s->image.cw & 0x3f);
	s->image.tags = random64() & random64() & 0xffff;
	for (unsigned n = 0; n < 8; n++)
		if (random64() % 4 == 0)
			s->image.tags |= 3u << 2 * n;
	for (unsigned n = 0; n < 8; n++)
		random_real(s->image.st[n]);
	random_memory(s->memory);
	s->rax = random64();
	s->flags = (random64() & F_ARITHMETIC) | 2;
}

static void to_soft(const struct x87_state *s)
{
	cpu->fpu.cw = s->image.cw;
	cpu->fpu.sw = s->image.sw;
	cpu->fpu.valid = 0;
	for (unsigned n = 0; n < 8; n++) {
		uint8_t *st = cpu->fpu.st[((s->image.sw >> 11) + n) & 7];

		memset(st, 0, 16);
		memcpy(st, s->image.st[n], 10);
		if ((s->image.tags >> 2 * n & 3) != 3)
			cpu->fpu.valid |= 1u << n;
	}
	memcpy(ram + DATA, s->memory, sizeof(s->memory));
	cpu->gpr[RAX] = s->rax;
	cpu->gpr[RBX] = DATA;
	cpu->gpr[RSP] = 0x8000;
	cpu->flags = s->flags;
}

static uint8_t valid_of(uint32_t tags)
{
	uint8_t valid = 0;

	for (unsigned n = 0; n < 8; n++)
		if ((tags >> 2 * n & 3) != 3)
			valid |= 1u << n;
	return valid;
}

/* Codes that the operation leaves undefined; both makers keep or clear them. */
static const char *difference(const struct x87_state *s, uint32_t codes)
{
	if (cpu->fpu.cw != (s->image.cw & 0xffff))
		return "control words";
	if ((cpu->fpu.sw ^ s->image.sw) & 0xffff & ~codes)
		return "status words";
	if (cpu->fpu.valid != valid_of(s->image.tags))
		return "tags";
	for (unsigned n = 0; n < 8; n++)
		if (memcmp(cpu->fpu.st[((s->image.sw >> 11) + n) & 7], s->image.st[n], 10) != 0)
			return "registers";
	if (cpu->gpr[RAX] != s->rax)
		return "RAX";
	if ((cpu->flags ^ s->flags) & F_ARITHMETIC)
		return "flags";
	return memcmp(ram + DATA, s->memory, sizeof(s->memory)) ? "memory" : NULL;
}

static void fail_form(const struct x87_state *before, const struct x87_state *host,
	const uint8_t *bytes, size_t length, const char *name, const char *what)
{
	char text[64] = "";

	for (size_t n = 0; n < length; n++)
		snprintf(text + 3 * n, 4, "%02x ", bytes[n]);
	for (unsigned n = 0; n < 8; n++) {
		uint64_t m[3];
		uint16_t e[3];
		const uint8_t *st[3] = {before->image.st[n], host->image.st[n],
			cpu->fpu.st[((cpu->fpu.sw >> 11) + n) & 7]};

		for (unsigned k = 0; k < 3; k++) {
			memcpy(&m[k], st[k], 8);
			memcpy(&e[k], st[k] + 8, 2);
		}
		print_message("st%u %04x.%016llx host %04x.%016llx soft %04x.%016llx\n", n, e[0],
			(unsigned long long)m[0], e[1], (unsigned long long)m[1], e[2],
			(unsigned long long)m[2]);
	}
	for (unsigned n = 0; n < 16; n++)
		print_message("%02x/%02x/%02x ", before->memory[n], host->memory[n], ram[DATA + n]);
	fail_msg("%s (%s): %s differ; CW %x host %x soft %x, SW %x host %x soft %x, tags %x host "
		 "%x (valid %x) soft valid %x, flags %llx host %llx soft %x",
		text, name, what, before->image.cw, host->image.cw & 0xffff, cpu->fpu.cw,
		before->image.sw, host->image.sw & 0xffff, cpu->fpu.sw, before->image.tags,
		host->image.tags & 0xffff, valid_of(host->image.tags), cpu->fpu.valid,
		(unsigned long long)before->flags, (unsigned long long)host->flags, cpu->flags);
}

/* FIP, FOP, FDP and the selectors in an image that was stored. */
static void clear_pointers(uint8_t *memory, const ZydisDecodedInstruction *z)
{
	if (z->mnemonic != ZYDIS_MNEMONIC_FNSTENV && z->mnemonic != ZYDIS_MNEMONIC_FNSAVE)
		return;
	memset(memory + (z->operand_width == 16 ? 6 : 12), 0, z->operand_width == 16 ? 8 : 16);
}

static void compare(const uint8_t *bytes, size_t length, const ZydisDecodedInstruction *z)
{
	static struct x87_state before, host;
	const char *what;
	uint32_t codes;

	random_state(&before);
	host = before;
	host_x87(&host, bytes, length);
	to_soft(&before);
	if (soft_step(bytes, length) != -1)
		fail_form(&before, &host, bytes, length, ZydisMnemonicGetString(z->mnemonic),
			"an exception makes");
	clear_pointers(ram + DATA, z);
	clear_pointers(host.memory, z);
	/* Comparisons that fault: the SDM sets no codes then, other processors do. */
	codes = host.image.sw & ~host.image.cw & 7 ? 0x4500 : 0;
	if (z->cpu_flags->modified & ZYDIS_CPUFLAG_ZF)
		codes |= 0x200; /* FCOMI and its kin: by the SDM C1 is cleared */
	if (codes & 0x4000)
		host.flags = cpu->flags;
	what = difference(&host, codes);
	if (what)
		fail_form(&before, &host, bytes, length, ZydisMnemonicGetString(z->mnemonic), what);
}

static bool is_transcendental(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_F2XM1:
	case ZYDIS_MNEMONIC_FYL2X:
	case ZYDIS_MNEMONIC_FYL2XP1:
	case ZYDIS_MNEMONIC_FPTAN:
	case ZYDIS_MNEMONIC_FPATAN:
	case ZYDIS_MNEMONIC_FSIN:
	case ZYDIS_MNEMONIC_FCOS:
	case ZYDIS_MNEMONIC_FSINCOS: return true;
	default: return false;
	}
}

static void as_on_the_host(void **state)
{
	unsigned forms = 0, cases = 0;
	ZydisDecoder decoder;

	reset_flat64();
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (unsigned n = 0; n < 2048; n++) {
		uint8_t bytes[16] = {0xd8 + (n >> 8), n};
		ZydisDecodedInstruction z;
		ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

		if (bytes[1] < 0xc0 && (bytes[1] & 7) != 3)
			continue; /* [RBX] */
		bytes[1] = bytes[1] < 0xc0 ? bytes[1] & 0x3f : bytes[1];
		if ((n & 0xff) < 0xc0 && (n & 0xff) >= 0x40)
			continue;
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, 16, &z, operands)) ||
			is_transcendental(z.mnemonic))
			continue;
		forms++;
		for (unsigned k = 0; k < CASES_EACH * (bytes[1] < 0xc0 ? 8 : 1); k++, cases++)
			compare(bytes, z.length, &z);
	}
	print_message("%u forms, %u cases\n", forms, cases);
	assert_true(forms > 400);
}

/* --- transcendental functions --- */

static long double real_of(const uint8_t *from)
{
	long double value = 0;

	memcpy(&value, from, 10);
	return value;
}

static int64_t ulps(const uint8_t *a, const uint8_t *b)
{
	int64_t m[2];
	int16_t e[2];

	memcpy(&m[0], a, 8);
	memcpy(&m[1], b, 8);
	memcpy(&e[0], a + 8, 2);
	memcpy(&e[1], b + 8, 2);
	if (e[0] != e[1])
		return m[0] == INT64_MIN || m[1] == INT64_MIN ? 2 : INT64_MAX;
	return m[0] > m[1] ? m[0] - m[1] : m[1] - m[0];
}

/* An operand for which the host's result is good: within a unit or two in the last place. */
static void function_state(struct x87_state *s, uint8_t modrm)
{
	bool logarithm = modrm == 0xf1, angle = modrm == 0xf3;
	uint64_t mantissa = random64() | 1ULL << 63;
	uint16_t exponent =
		logarithm || angle ? 0x3fd0 + random64() % 96 : 0x3ffe - random64() % 40;

	memset(s, 0, sizeof(*s));
	s->image.cw = 0x37f | (random64() & 0xc00);
	s->image.tags = 0x0fff; /* R6 and R7 are in use */
	s->image.sw = 0x3000;
	s->flags = 2;
	if (random64() % 6 == 0)
		mantissa = 1ULL << 63;
	if (modrm == 0xf9)
		exponent = 0x3ffc - random64() % 60;
	if (!logarithm && random64() & 1)
		exponent |= 0x8000;
	memcpy(s->image.st[0], &mantissa, 8);
	memcpy(s->image.st[0] + 8, &exponent, 2);
	mantissa = random64() | 1ULL << 63;
	exponent = (0x3ff0 + random64() % 32) | (random64() & 0x8000);
	memcpy(s->image.st[1], &mantissa, 8);
	memcpy(s->image.st[1] + 8, &exponent, 2);
}

static void functions_are_near(void **state)
{
	static const uint8_t functions[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff};
	static struct x87_state before, host;

	reset_flat64();
	for (unsigned n = 0; n < 8 * 400; n++) {
		uint8_t bytes[] = {0xd9, functions[n % 8]};

		function_state(&before, bytes[1]);
		host = before;
		host_x87(&host, bytes, 2);
		to_soft(&before);
		assert_int_equal(soft_step(bytes, 2), -1);
		/* How it was rounded, C1, follows from the last bit. */
		if ((cpu->fpu.sw ^ host.image.sw) & 0xffff & ~0x4720u ||
			cpu->fpu.valid != valid_of(host.image.tags))
			fail_msg("d9 %02x: SW host %x soft %x", bytes[1], host.image.sw & 0xffff,
				cpu->fpu.sw);
		for (unsigned k = 0; k < 2; k++) {
			const uint8_t *st = cpu->fpu.st[((cpu->fpu.sw >> 11) + k) & 7];

			if (!(cpu->fpu.valid >> (((cpu->fpu.sw >> 11) + k) & 7) & 1))
				continue;
			if (ulps(st, host.image.st[k]) > 2)
				fail_msg(
					"d9 %02x of %.21Lg, %.21Lg: ST(%u) host %.21Lg soft %.21Lg",
					bytes[1], real_of(before.image.st[0]),
					real_of(before.image.st[1]), k, real_of(host.image.st[k]),
					real_of(st));
		}
	}
}

/* Infinities, zeros, NaNs, empty registers: exact, so compared to the bit. */
static void functions_of_edges(void **state)
{
	static const uint8_t functions[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff};
	static const struct {
		uint64_t mantissa;
		uint16_t exponent;
	} edges[] = {{0, 0}, {0, 0x8000}, {1ULL << 63, 0x7fff}, {1ULL << 63, 0xffff},
		{1ULL << 63, 0x3fff}, {1ULL << 63, 0xbfff}, {0xc000000000000001, 0x7fff},
		{0xa000000000000002, 0xffff}, {0x4000000000000000, 0x3fff}, {1ULL << 63, 0x4000},
		{1ULL << 63, 0x403e}, {1ULL << 63, 0xc050}};
	static struct x87_state before, host;
	unsigned cases = 0;

	reset_flat64();
	for (unsigned n = 0; n < 8 * 12 * 12 * 8; n++) {
		uint8_t bytes[] = {0xd9, functions[n % 8]};
		unsigned a = n / 8 % 12, b = n / 96 % 12, mode = n / 1152;
		bool one = bytes[1] != 0xf1 && bytes[1] != 0xf3 && bytes[1] != 0xf9;
		const char *what;

		/* Outside of what F2XM1 and FYL2XP1 are defined for. */
		if (bytes[1] == 0xf0 && (a == 9 || a == 10 || a == 11))
			continue;
		if (bytes[1] == 0xf9 && (a == 2 || a == 3 || a == 4 || a == 5 || a >= 9))
			continue;
		if (one && b)
			continue;
		memset(&before, 0, sizeof(before));
		before.image.cw = mode & 1 ? 0x37f : 0x340 | (random64() & 0x3f);
		before.image.sw = 0x3000;
		before.image.tags = mode & 2 ? 0x0fff : mode & 4 ? 0x3fff : 0xf0ff;
		memcpy(before.image.st[0], &edges[a], 10);
		memcpy(before.image.st[1], &edges[b], 10);
		before.flags = 2;
		host = before;
		host_x87(&host, bytes, 2);
		to_soft(&before);
		assert_int_equal(soft_step(bytes, 2), -1);
		cases++;
		if (host.image.sw & 0x20 && cpu->fpu.sw & 0x20)
			continue; /* inexact: not for this test */
		/* The host calls some exact results inexact. */
		what = difference(&host, 0x4500 | (host.image.sw & 0x40 ? 0 : 0x200) |
						 (host.image.sw & 0x20 ? 0x80a0 : 0));
		if (what)
			fail_form(&before, &host, bytes, 2, "function", what);
	}
	print_message("%u cases\n", cases);
}

/* An exception is pending: who waits for it, and what CR0.NE has to do with it. */
static void pending_exceptions(void **state)
{
	static const struct {
		uint8_t bytes[4], length;
		bool waits;
	} rows[] = {
		{{0xd9, 0xe8}, 2, true},	      /* fld1 */
		{{0xd9, 0x03}, 2, true},	      /* fld dword [rbx] */
		{{0xdd, 0x1b}, 2, true},	      /* fstp qword [rbx] */
		{{0xd9, 0x2b}, 2, true},	      /* fldcw */
		{{0xd9, 0x23}, 2, true},	      /* fldenv */
		{{0xd9, 0xd0}, 2, true},	      /* fnop */
		{{0xd9, 0xfe}, 2, true},	      /* fsin */
		{{0xda, 0xc1}, 2, true},	      /* fcmovb */
		{{0x9b}, 1, true},		      /* fwait */
		{{0x0f, 0xfe, 0xc1}, 3, true},	      /* paddd mm0, mm1 */
		{{0x0f, 0x77}, 2, true},	      /* emms */
		{{0x0f, 0x2c, 0xc1}, 3, true},	      /* cvttps2pi */
		{{0xdb, 0xe3}, 2, false},	      /* fninit */
		{{0xdb, 0xe2}, 2, false},	      /* fnclex */
		{{0xdf, 0xe0}, 2, false},	      /* fnstsw ax */
		{{0xd9, 0x3b}, 2, false},	      /* fnstcw */
		{{0xd9, 0x33}, 2, false},	      /* fnstenv */
		{{0xdd, 0x33}, 2, false},	      /* fnsave */
		{{0x0f, 0xae, 0x03}, 3, false},	      /* fxsave */
		{{0x0f, 0x58, 0xc1}, 3, false},	      /* addps */
		{{0x66, 0x0f, 0xfe, 0xc1}, 4, false}, /* paddd xmm0, xmm1 */
	};

	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		reset_flat64();
		soft_fpu_reset(cpu);
		cpu->cr0 |= CR0_NE;
		cpu->cr4 |= CR4_OSFXSR;
		cpu->gpr[RBX] = DATA;
		cpu->fpu.cw = 0x37b;
		cpu->fpu.sw = 0x8084; /* zero divide, open */
		if (soft_step(rows[n].bytes, rows[n].length) != (rows[n].waits ? V_MF : -1))
			fail_msg("row %u", n);
		if (rows[n].waits)
			assert_int_equal(cpu->fpu.sw, 0x8084);
	}
	/* FLDCW that masks it makes it go; one that opens it brings it. */
	cpu->fpu.sw = 4;
	cpu->fpu.cw = 0x37f;
	memcpy(ram + DATA, (const uint8_t[]){0x7b, 3}, 2);
	assert_int_equal(soft_step((const uint8_t *)"\xd9\x2b", 2), -1);
	assert_int_equal(cpu->fpu.sw, 0x8084);
	assert_int_equal(soft_step((const uint8_t *)"\x9b", 1), V_MF);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_on_the_host),
		cmocka_unit_test(pending_exceptions),
		cmocka_unit_test(functions_are_near),
		cmocka_unit_test(functions_of_edges),
	};

	return cmocka_run_group_tests(tests, start_native, end_soft);
}
