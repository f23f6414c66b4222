/* SPDX-License-Identifier: MIT */
/*
 * What CPUID offers (SDM 2A, CPUID): what this processor can do, of that what the host's can where
 * its instruction does the work (native.c), of that what the model has.
 */
#include <Zydis/Zydis.h>
#include <cpuid.h>

#include "cpu/soft/soft.h"

#define BIT(n) (1u << (n))

static const uint32_t own[FEATURE_WORDS] = {
	/* x87, MMX, FXSR, SSE, SSE2 are in every host of this architecture. */
	[FEATURE_1_EDX] = 0x078bfbfd,
	/* CX16, MOVBE, POPCNT, RDRAND, hypervisor, PCID, x2APIC, TSC deadline, XSAVE */
	[FEATURE_1_ECX] = BIT(13) | BIT(22) | BIT(23) | BIT(30) | BIT(31) | BIT(17) | BIT(21) |
			  BIT(24) | BIT(26),
	/* FSGSBASE, BMI1, SMEP, BMI2, ERMS, INVPCID, no FCS and FDS, ADX, SMAP */
	[FEATURE_7_EBX] = BIT(0) | BIT(3) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | FEATURE_NO_FCS |
			  BIT(19) | BIT(20),
	[FEATURE_7_ECX] = BIT(2),   /* UMIP */
	[FEATURE_D_1_EAX] = BIT(0), /* XSAVEOPT */
	/* SYSCALL, NX, RDTSCP, LM */
	[FEATURE_80000001_EDX] = BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29),
	/* LAHF, LZCNT */
	[FEATURE_80000001_ECX] = BIT(0) | BIT(5),
};

/* PCLMULQDQ, SSE3, SSSE3, SSE4.1, SSE4.2, AES */
#define BY_HOST_1_ECX (BIT(0) | BIT(1) | BIT(9) | BIT(19) | BIT(20) | BIT(25))

static void supported(uint32_t words[FEATURE_WORDS])
{
	unsigned eax, ebx, ecx = 0, edx;

	for (unsigned word = 0; word < FEATURE_WORDS; word++)
		words[word] = own[word];
	if (__get_cpuid(1, &eax, &ebx, &ecx, &edx))
		words[FEATURE_1_ECX] |= ecx & BY_HOST_1_ECX;
}

void soft_warn_features(const struct cpu_choice *choice)
{
	uint32_t words[FEATURE_WORDS];

	supported(words);
	cpu_choice_warn(choice, words, "soft");
}

void soft_set_features(struct soft_cpu *c, const struct cpu_choice *choice)
{
	uint32_t words[FEATURE_WORDS];

	supported(words);
	cpu_choice_features(choice, c->asked_features);
	for (unsigned word = 0; word < FEATURE_WORDS; word++)
		c->cpuid_features[word] = words[word] & c->asked_features[word];
}

static const struct {
	ZydisISASet set;
	enum feature_word word;
	uint8_t bit;
} sets[] = {
	{ZYDIS_ISA_SET_PENTIUMMMX, FEATURE_1_EDX, 23},
	{ZYDIS_ISA_SET_SSE, FEATURE_1_EDX, 25},
	{ZYDIS_ISA_SET_SSEMXCSR, FEATURE_1_EDX, 25},
	{ZYDIS_ISA_SET_SSE2, FEATURE_1_EDX, 26},
	{ZYDIS_ISA_SET_SSE2MMX, FEATURE_1_EDX, 26},
	{ZYDIS_ISA_SET_SSE3, FEATURE_1_ECX, 0},
	{ZYDIS_ISA_SET_SSSE3, FEATURE_1_ECX, 9},
	{ZYDIS_ISA_SET_SSSE3MMX, FEATURE_1_ECX, 9},
	{ZYDIS_ISA_SET_SSE4, FEATURE_1_ECX, 19},
	{ZYDIS_ISA_SET_SSE42, FEATURE_1_ECX, 20}, /* CRC32, too */
	{ZYDIS_ISA_SET_AES, FEATURE_1_ECX, 25},
	{ZYDIS_ISA_SET_PCLMULQDQ, FEATURE_1_ECX, 1},
	{ZYDIS_ISA_SET_FXSAVE, FEATURE_1_EDX, 24},
	{ZYDIS_ISA_SET_FXSAVE64, FEATURE_1_EDX, 24},
	{ZYDIS_ISA_SET_XSAVE, FEATURE_1_ECX, 26},
	{ZYDIS_ISA_SET_XSAVEOPT, FEATURE_D_1_EAX, 0},
	{ZYDIS_ISA_SET_POPCNT, FEATURE_1_ECX, 23},
	{ZYDIS_ISA_SET_CMPXCHG16B, FEATURE_1_ECX, 13},
	{ZYDIS_ISA_SET_MOVBE, FEATURE_1_ECX, 22},
	{ZYDIS_ISA_SET_RDRAND, FEATURE_1_ECX, 30},
	{ZYDIS_ISA_SET_BMI1, FEATURE_7_EBX, 3},
	{ZYDIS_ISA_SET_BMI2, FEATURE_7_EBX, 8},
	{ZYDIS_ISA_SET_ADOX_ADCX, FEATURE_7_EBX, 19},
	{ZYDIS_ISA_SET_INVPCID, FEATURE_7_EBX, 10},
	{ZYDIS_ISA_SET_SMAP, FEATURE_7_EBX, 20},
	{ZYDIS_ISA_SET_RDTSCP, FEATURE_80000001_EDX, 27},
};

bool soft_offers(const struct soft_cpu *c, unsigned isa_set, bool otherwise)
{
	for (unsigned n = 0; n < sizeof(sets) / sizeof(sets[0]); n++)
		if (sets[n].set == isa_set)
			return soft_has(c, sets[n].word, sets[n].bit);
	return otherwise;
}

uint64_t soft_cr4_bits(const struct soft_cpu *c)
{
	static const struct {
		enum feature_word word;
		uint8_t bit;
		uint32_t cr4;
	} rows[] = {
		{FEATURE_1_EDX, 24, CR4_OSFXSR},
		{FEATURE_1_EDX, 25, CR4_OSXMMEXCPT},
		{FEATURE_7_ECX, 2, CR4_UMIP},
		{FEATURE_7_EBX, 0, CR4_FSGSBASE},
		{FEATURE_1_ECX, 17, CR4_PCIDE},
		{FEATURE_1_ECX, 26, CR4_OSXSAVE},
		{FEATURE_7_EBX, 7, CR4_SMEP},
		{FEATURE_7_EBX, 20, CR4_SMAP},
	};
	uint64_t bits = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE;

	for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++)
		if (soft_has(c, rows[n].word, rows[n].bit))
			bits |= rows[n].cr4;
	return bits;
}
