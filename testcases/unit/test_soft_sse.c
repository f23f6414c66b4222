/* SPDX-License-Identifier: MIT */
/*
 * MMX and SSE to SSE4.2, AES, PCLMULQDQ: every encoding the decoder's library knows of them, with
 * random registers, memory, rounding and masks, against the host executing the same bytes; and who
 * may execute them, as a table.
 */
#include <errno.h>

#include "native-help.h"

#define CASES_EACH 60
#define FORMS_MAX  2000

struct form {
	uint8_t bytes[8]; /* up to ModRM */
	uint8_t length, prefix;
	bool memory, immediate, aligned, wide;
	uint16_t mnemonic;
};

static struct form forms[FORMS_MAX];
static unsigned form_count;

static bool is_ours(const ZydisDecodedInstruction *z)
{
	switch (z->meta.isa_set) {
	case ZYDIS_ISA_SET_PENTIUMMMX:
	case ZYDIS_ISA_SET_SSE:
	case ZYDIS_ISA_SET_SSE2:
	case ZYDIS_ISA_SET_SSE2MMX:
	case ZYDIS_ISA_SET_SSE3:
	case ZYDIS_ISA_SET_SSSE3:
	case ZYDIS_ISA_SET_SSSE3MMX:
	case ZYDIS_ISA_SET_SSE4:
	case ZYDIS_ISA_SET_SSE42:
	case ZYDIS_ISA_SET_AES:
	case ZYDIS_ISA_SET_PCLMULQDQ: break;
	default: return false;
	}
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_RCPPS: /* of one value here: below */
	case ZYDIS_MNEMONIC_RCPSS:
	case ZYDIS_MNEMONIC_RSQRTPS:
	case ZYDIS_MNEMONIC_RSQRTSS:
	case ZYDIS_MNEMONIC_MASKMOVQ: /* below */
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_EMMS:
	case ZYDIS_MNEMONIC_MOVNTI: /* no SSE register */
	case ZYDIS_MNEMONIC_CRC32:
	case ZYDIS_MNEMONIC_POPCNT:
	case ZYDIS_MNEMONIC_LFENCE:
	case ZYDIS_MNEMONIC_MFENCE:
	case ZYDIS_MNEMONIC_SFENCE:
	case ZYDIS_MNEMONIC_CLFLUSH:
	case ZYDIS_MNEMONIC_PAUSE: return false;
	default: return true;
	}
}

static void try_form(
	unsigned prefix, bool wide, unsigned map, unsigned opcode, unsigned reg, bool memory)
{
	struct form f = {.memory = memory, .wide = wide, .prefix = prefix};
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	ZydisDecoder decoder;
	uint8_t bytes[16] = {0};

	if (prefix)
		f.bytes[f.length++] = prefix;
	f.bytes[f.length++] = 0x40 | wide << 3;
	f.bytes[f.length++] = 0x0f;
	if (map)
		f.bytes[f.length++] = map;
	f.bytes[f.length++] = opcode;
	f.bytes[f.length++] = memory ? 0x83 | reg << 3 : 0xc1 | reg << 3;
	memcpy(bytes, f.bytes, f.length);
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, sizeof(bytes), &z, operands)) ||
		z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !is_ours(&z) ||
		!(z.attributes & ZYDIS_ATTRIB_HAS_MODRM))
		return;
	f.immediate = z.raw.imm[0].size != 0;
	f.mnemonic = z.mnemonic;
	for (unsigned n = 0; n < z.operand_count_visible; n++)
		if (operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY && operands[n].size == 128)
			f.aligned = true;
	assert_true(form_count < FORMS_MAX);
	forms[form_count++] = f;
}

static void find_forms(void)
{
	static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2}, maps[] = {0, 0x38, 0x3a};

	for (unsigned p = 0; p < 4; p++)
		for (unsigned m = 0; m < 3; m++)
			for (unsigned opcode = 0; opcode < 256; opcode++)
				for (unsigned n = 0; n < 32; n++) {
					bool group = m == 0 && opcode >= 0x71 && opcode <= 0x73;

					if (!group && n >> 2)
						continue; /* ModRM.reg is random later */
					try_form(
						prefixes[p], n & 1, maps[m], opcode, n >> 2, n & 2);
				}
}

static uint64_t random_lanes(void)
{
	static const uint64_t edges[] = {0, 0x8000000000000000, 0x3ff0000000000000,
		0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 1,
		0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x43e0000000000000,
		0xc1e0000000000000, 0x3fe0000000000000, 0x800000000000000f, 0x37f0000000000000,
		0x47efffffffffffff};
	static const uint32_t halves[] = {0, 0x80000000, 0x3f800000, 0x7f800000, 0xff800000,
		0x7fc00000, 0x7f800001, 1, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000,
		0xcf000000, 0x3f000000, 0x8000000f, 0x20000000, 0x5f000000};
	uint64_t r = random64();

	switch (r % 6) {
	case 0: return random64();
	case 1: return edges[random64() % 17];
	case 2: return halves[random64() % 17] | (uint64_t)halves[random64() % 17] << 32;
	case 3: /* floats of like size */
		return (random64() & 0x807fffff807fffff) + 0x3f0000003f000000 +
		       (random64() & 0x0180000001800000);
	case 4: return (random64() & 0x800fffffffffffff) + ((0x3fdULL + random64() % 6) << 52);
	default: return random64() & 0x007f00ff80ff7f01;
	}
}

static void random_state(struct native_state *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned n = 0; n < 32; n++) {
		uint64_t value = random_lanes();

		memcpy((uint8_t *)s->xmm + 8 * n, &value, 8);
	}
	for (unsigned n = 0; n < 8; n++)
		s->mm[n] = random_lanes();
	for (unsigned n = 0; n < DATA_SIZE / 8; n++)
		((uint64_t *)s->memory)[n] = random_lanes();
	s->gpr[0] = random64() % 2 ? random64() : random64() % 20;
	s->gpr[1] = random_lanes();
	s->gpr[2] = random64() % 2 ? random64() : random64() % 20;
	s->gpr[6] = random64();
	s->flags = (random64() & F_ARITHMETIC) | 2;
	s->mxcsr = random64() & 0xe040;
	s->mxcsr |= random64() % 3 ? 0x1f80 : random64() & 0x1f80;
	s->mxcsr |= random64() & random64() & 0x3f;
}

/* Registers of the form: any XMM, MM; of the general ones those that the runner keeps. */
static size_t finish(const struct form *f, uint8_t *bytes, uint64_t *displacement)
{
	static const uint8_t gprs[] = {0, 1, 2, 6};
	uint8_t *rex = &bytes[f->prefix != 0], *modrm = &bytes[f->length - 1];
	bool group = f->bytes[f->length - 2] >= 0x71 && f->bytes[f->length - 2] <= 0x73 &&
		     f->length == 4 + (f->prefix != 0);
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	ZydisDecoder decoder;
	size_t length = f->length;

	memcpy(bytes, f->bytes, f->length);
	memset(bytes + f->length, 0, 8);
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, 16, &z, operands)));
	for (unsigned n = 0; n < z.operand_count_visible; n++) {
		bool is_reg = operands[n].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
		unsigned reg;

		if (operands[n].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(operands[n].reg.value)) {
		case ZYDIS_REGCLASS_XMM: reg = random64() % 16; break;
		case ZYDIS_REGCLASS_MMX: reg = random64() % 8; break;
		default: reg = gprs[random64() % 4]; break;
		}
		if (is_reg && !group) {
			*modrm = (*modrm & 0xc7) | (reg & 7) << 3;
			*rex |= reg >> 3 << 2;
		} else if (!is_reg) {
			*modrm = (*modrm & 0xf8) | (reg & 7);
			*rex |= reg >> 3;
		}
	}
	if (f->memory) {
		*displacement = f->aligned ? random64() % 15 * 16 : random64() % 240;
		bytes[length++] = *displacement;
		memset(bytes + length, 0, 3);
		length += 3;
	}
	if (f->immediate)
		bytes[length++] = random64() % 3 ? random64() % 20 : random64();
	return length;
}

static void to_soft(const struct native_state *s)
{
	memcpy(cpu->fpu.xmm, s->xmm, sizeof(s->xmm));
	for (unsigned n = 0; n < 8; n++) {
		memcpy(cpu->fpu.st[n], &s->mm[n], 8);
		memset(cpu->fpu.st[n] + 8, 0xff, 2);
	}
	memcpy(cpu->gpr, s->gpr, 8 * 8);
	cpu->gpr[RBX] = DATA;
	cpu->gpr[RSP] = 0x8000;
	cpu->flags = s->flags;
	cpu->fpu.mxcsr = s->mxcsr;
	cpu->fpu.sw = 0x3800;
	cpu->fpu.valid = 0;
	memcpy(ram + DATA, s->memory, DATA_SIZE);
}

static const char *difference(const struct native_state *s)
{
	static const uint8_t gprs[] = {0, 1, 2, 6};

	if (memcmp(cpu->fpu.xmm, s->xmm, sizeof(s->xmm)) != 0)
		return "XMM";
	for (unsigned n = 0; n < 8; n++)
		if (memcmp(cpu->fpu.st[n], &s->mm[n], 8) != 0)
			return "MM";
	for (unsigned n = 0; n < 4; n++)
		if (cpu->gpr[gprs[n]] != s->gpr[gprs[n]])
			return "general registers";
	if ((cpu->flags ^ s->flags) & F_ARITHMETIC)
		return "flags";
	if (cpu->fpu.mxcsr != s->mxcsr)
		return "MXCSR";
	return memcmp(ram + DATA, s->memory, DATA_SIZE) ? "memory" : NULL;
}

static void fail_form(const struct form *f, const struct native_state *before,
	const struct native_state *host, const uint8_t *bytes, size_t length, const char *what)
{
	char text[64] = "";

	for (size_t n = 0; n < length; n++)
		snprintf(text + 3 * n, 4, "%02x ", bytes[n]);
	for (unsigned n = 0; n < 16; n++) {
		const uint64_t *a = (const uint64_t *)before->xmm[n],
			       *b = (const uint64_t *)host->xmm[n],
			       *c = (const uint64_t *)cpu->fpu.xmm[n];

		print_message("xmm%u %016llx%016llx host %016llx%016llx soft %016llx%016llx\n", n,
			(unsigned long long)a[1], (unsigned long long)a[0],
			(unsigned long long)b[1], (unsigned long long)b[0],
			(unsigned long long)c[1], (unsigned long long)c[0]);
	}
	fail_msg("%s (%s): %s differ; flags %llx host %llx soft %x, MXCSR %x host %x soft %x", text,
		ZydisMnemonicGetString(f->mnemonic), what, (unsigned long long)before->flags,
		(unsigned long long)host->flags, cpu->flags, before->mxcsr, host->mxcsr,
		cpu->fpu.mxcsr);
}

static void compare(const struct form *f)
{
	static struct native_state before, host;
	uint8_t bytes[24];
	uint64_t displacement = 0;
	const char *what;
	size_t length;
	bool faulted;
	int vector;

	random_state(&before);
	length = finish(f, bytes, &displacement);
	host = before;
	faulted = host_run(&host, bytes, length);
	to_soft(&before);
	vector = soft_step(bytes, length);
	if (vector != (faulted ? V_XM : -1))
		fail_form(f, &before, &host, bytes, length,
			faulted ? "#XM, which is missing, makes" : "an exception makes");
	/* Whether an unmasked overflow or underflow is inexact, too, is told here, not everywhere.
	 */
	if (faulted && host.mxcsr & ~host.mxcsr >> 7 & 0x18)
		host.mxcsr |= cpu->fpu.mxcsr & 0x20;
	/* Dot products: whether the sum's exceptions count after one of the products was open. */
	if (faulted && (f->mnemonic == ZYDIS_MNEMONIC_DPPS || f->mnemonic == ZYDIS_MNEMONIC_DPPD))
		host.mxcsr |= cpu->fpu.mxcsr & 0x3f;
	what = difference(&host);
	if (what)
		fail_form(f, &before, &host, bytes, length, what);
}

static void as_on_the_host(void **state)
{
	unsigned cases = 0;

	catch_fpe();
	reset_flat64();
	cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	find_forms();
	for (unsigned n = 0; n < form_count; n++)
		for (unsigned k = 0; k < CASES_EACH; k++, cases++)
			compare(&forms[n]);
	print_message("%u forms, %u cases\n", form_count, cases);
	assert_true(form_count > 500);
}

/* --- what the host does not decide --- */

static uint32_t one_float(const char *bytes, uint32_t x)
{
	uint32_t result;

	memcpy(cpu->fpu.xmm[1], &x, 4);
	assert_int_equal(soft_step((const uint8_t *)bytes, 4), -1);
	memcpy(&result, cpu->fpu.xmm[0], 4);
	return result;
}

static void one_value_on_every_host(void **state)
{
	static const struct {
		uint32_t x, reciprocal, root;
	} rows[] = {
		{0x3f800000, 0x3f800000, 0x3f800000}, /* 1 */
		{0x40800000, 0x3e800000, 0x3f000000}, /* 4 */
		{0x40400000, 0x3eaaaaab, 0x3f13cd3a}, /* 3 */
		{0xc0000000, 0xbf000000, 0xffc00000}, /* -2 */
		{0x00000000, 0x7f800000, 0x7f800000},
		{0x80000000, 0xff800000, 0xff800000},
		{0x007fffff, 0x7f800000, 0x7f800000}, /* a denormal number counts as 0 */
		{0x7f7fffff, 0x00000000, 0x1f800000}, /* a denormal result is 0 */
		{0x7f800000, 0x00000000, 0x00000000},
		{0xff800000, 0x80000000, 0xffc00000},
		{0x7f800001, 0x7fc00001, 0x7fc00001},
		{0xffc01234, 0xffc01234, 0xffc01234},
	};

	reset_flat64();
	cpu->cr4 |= CR4_OSFXSR;
	cpu->fpu.mxcsr = 0;
	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		assert_int_equal(one_float("\xf3\x0f\x53\xc1", rows[n].x), rows[n].reciprocal);
		assert_int_equal(one_float("\xf3\x0f\x52\xc1", rows[n].x), rows[n].root);
	}
	assert_int_equal(cpu->fpu.mxcsr, 0);
}

static void masked_bytes_are_stored(void **state)
{
	static const uint8_t bytes[] = {0x66, 0x0f, 0xf7, 0xc1}; /* MASKMOVDQU xmm0, xmm1 */

	reset_flat64();
	cpu->cr4 |= CR4_OSFXSR;
	cpu->gpr[RDI] = DATA + 3;
	memset(ram + DATA, 0x55, 32);
	for (unsigned n = 0; n < 16; n++) {
		cpu->fpu.xmm[0][n] = n;
		cpu->fpu.xmm[1][n] = n % 3 ? 0x7f : 0x80;
	}
	assert_int_equal(soft_step(bytes, 4), -1);
	for (unsigned n = 0; n < 32; n++)
		assert_int_equal(
			ram[DATA + n], n >= 3 && n < 19 && (n - 3) % 3 == 0 ? n - 3 : 0x55);
}

/* --- who may --- */

static void rules_of_control_registers(void **state)
{
	enum { NONE = -1 };
	static const struct {
		uint8_t bytes[5], length;
		int em, ts, both, no_osfxsr; /* the vector with this set or clear */
	} rows[] = {
		{{0x0f, 0x58, 0xc1}, 3, V_UD, V_NM, V_UD, V_UD},	     /* addps */
		{{0x0f, 0x28, 0xc1}, 3, V_UD, V_NM, V_UD, V_UD},	     /* movaps */
		{{0x66, 0x0f, 0xfe, 0xc1}, 4, V_UD, V_NM, V_UD, V_UD},	     /* paddd */
		{{0x0f, 0x2a, 0xc1}, 3, V_UD, V_NM, V_UD, V_UD},	     /* cvtpi2ps */
		{{0xf3, 0x0f, 0xd6, 0xc1}, 4, V_UD, V_NM, V_UD, V_UD},	     /* movq2dq */
		{{0x0f, 0xae, 0x13}, 3, V_UD, V_NM, V_UD, V_UD},	     /* ldmxcsr [rbx] */
		{{0x0f, 0xfe, 0xc1}, 3, V_UD, V_NM, V_UD, NONE},	     /* paddd mm */
		{{0x0f, 0x38, 0x00, 0xc1}, 4, V_UD, V_NM, V_UD, NONE},	     /* pshufb mm */
		{{0x0f, 0xd4, 0xc1}, 3, V_UD, V_NM, V_UD, NONE},	     /* paddq mm */
		{{0x0f, 0x77}, 2, V_UD, V_NM, V_UD, NONE},		     /* emms */
		{{0xd8, 0xc1}, 2, V_NM, V_NM, V_NM, NONE},		     /* fadd */
		{{0xdb, 0xe3}, 2, V_NM, V_NM, V_NM, NONE},		     /* fninit */
		{{0x9b}, 1, NONE, NONE, NONE, NONE},			     /* fwait, MP clear */
		{{0x0f, 0xae, 0x03}, 3, V_NM, V_NM, V_NM, NONE},	     /* fxsave [rbx] */
		{{0x0f, 0xae, 0x0b}, 3, V_NM, V_NM, V_NM, NONE},	     /* fxrstor [rbx] */
		{{0x0f, 0xae, 0x23}, 3, NONE, V_NM, V_NM, NONE},	     /* xsave [rbx] */
		{{0x0f, 0xc3, 0x03}, 3, NONE, NONE, NONE, NONE},	     /* movnti */
		{{0xf2, 0x0f, 0x38, 0xf0, 0xc1}, 5, NONE, NONE, NONE, NONE}, /* crc32 */
		{{0x0f, 0xae, 0xe8}, 3, NONE, NONE, NONE, NONE},	     /* lfence */
	};

	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		const int expected[] = {
			NONE, rows[n].em, rows[n].ts, rows[n].both, rows[n].no_osfxsr};

		for (unsigned k = 0; k < 5; k++) {
			reset_flat64();
			soft_fpu_reset(cpu);
			cpu->cr4 |= CR4_OSXSAVE | (k == 4 ? 0 : CR4_OSFXSR);
			cpu->xcr0 = 3;
			cpu->gpr[RBX] = DATA;
			memset(ram + DATA, 0, 1024);
			cpu->cr0 &= ~(uint64_t)(CR0_EM | CR0_TS | CR0_MP);
			cpu->cr0 |=
				(k == 1 || k == 3 ? CR0_EM : 0) | (k == 2 || k == 3 ? CR0_TS : 0);
			if (soft_step(rows[n].bytes, rows[n].length) != expected[k])
				fail_msg("row %u, case %u: vector %d", n, k, expected[k]);
		}
	}
}

/* #GP(0), and nothing changed; of those that take any address, nothing. */
static void unaligned_operands(void **state)
{
	static const struct {
		uint8_t bytes[6], length;
		int vector;
	} rows[] = {
		{{0x0f, 0x28, 0x03}, 3, V_GP},		    /* movaps xmm0, [rbx] */
		{{0x0f, 0x29, 0x03}, 3, V_GP},		    /* movaps [rbx], xmm0 */
		{{0x66, 0x0f, 0xe7, 0x03}, 4, V_GP},	    /* movntdq */
		{{0x66, 0x0f, 0x38, 0x2a, 0x03}, 5, V_GP},  /* movntdqa */
		{{0x0f, 0x58, 0x03}, 3, V_GP},		    /* addps */
		{{0x66, 0x0f, 0x70, 0x03, 0x1b}, 5, V_GP},  /* pshufd */
		{{0x66, 0x0f, 0x38, 0xdc, 0x03}, 5, V_GP},  /* aesenc */
		{{0x0f, 0x53, 0x03}, 3, V_GP},		    /* rcpps */
		{{0x0f, 0xae, 0x03}, 3, V_GP},		    /* fxsave */
		{{0x0f, 0x10, 0x03}, 3, -1},		    /* movups */
		{{0xf2, 0x0f, 0xf0, 0x03}, 4, -1},	    /* lddqu */
		{{0x66, 0x0f, 0x3a, 0x63, 0x03, 0}, 6, -1}, /* pcmpistri */
		{{0xf3, 0x0f, 0x58, 0x03}, 4, -1},	    /* addss */
		{{0xf3, 0x0f, 0xe6, 0x03}, 4, -1},	    /* cvtdq2pd */
	};

	reset_flat64();
	cpu->cr4 |= CR4_OSFXSR;
	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
		uint8_t before[16][16];

		soft_fpu_reset(cpu);
		memset(cpu->fpu.xmm, n, sizeof(cpu->fpu.xmm));
		memcpy(before, cpu->fpu.xmm, sizeof(before));
		memset(ram + DATA, 0, 1024);
		cpu->gpr[RBX] = DATA + 8;
		if (soft_step(rows[n].bytes, rows[n].length) != rows[n].vector)
			fail_msg("row %u", n);
		if (rows[n].vector == V_GP) {
			assert_int_equal(cpu->fault_error, 0);
			assert_memory_equal(cpu->fpu.xmm, before, sizeof(before));
		}
	}
}

static void image_goes_both_ways(void **state)
{
	uint8_t image[FXSAVE_SIZE], again[FXSAVE_SIZE];

	reset_flat64();
	for (unsigned n = 0; n < 8; n++)
		for (unsigned k = 0; k < 10; k++)
			cpu->fpu.st[n][k] = random64();
	for (unsigned n = 0; n < 16; n++)
		memset(cpu->fpu.xmm[n], random64(), 16);
	cpu->fpu.sw = 0x2800;
	cpu->fpu.valid = 0x5a;
	cpu->fpu.mxcsr = 0x9fc0;
	cpu->fpu.fip = 0x123456789abc;
	soft_fpu_save(cpu, image);
	assert_memory_equal(image + 32, cpu->fpu.st[5], 10);
	soft_fpu_reset(cpu);
	assert_int_equal(soft_fpu_load(cpu, image), 0);
	soft_fpu_save(cpu, again);
	assert_memory_equal(again, image, FXSAVE_SIZE);
	image[26] = 1; /* a reserved bit of MXCSR */
	memset(image + 160, 0x77, 16);
	assert_int_equal(soft_fpu_load(cpu, image), -EINVAL);
	soft_fpu_save(cpu, image);
	assert_memory_equal(again, image, FXSAVE_SIZE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_on_the_host),
		cmocka_unit_test(one_value_on_every_host),
		cmocka_unit_test(masked_bytes_are_stored),
		cmocka_unit_test(rules_of_control_registers),
		cmocka_unit_test(unaligned_operands),
		cmocka_unit_test(image_goes_both_ways),
	};

	return cmocka_run_group_tests(tests, start_native, end_soft);
}
