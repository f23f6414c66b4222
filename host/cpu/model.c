/* SPDX-License-Identifier: MIT */
/* Models and features (model.h).  Bits: Intel SDM 2A, CPUID; AMD APM 3, appendix E. */
#include "cpu/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define BIT(n) (1u << (n))

/* fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2
 */
#define BASE_1_EDX 0x078bfbffu
/* the same bits where AMD repeats them, and syscall nx lm */
#define BASE_EXT_EDX (BIT(11) | BIT(20) | BIT(29))
#define HYPERVISOR   BIT(31)

const struct cpu_model cpu_models[] = {
	{"qemu64", "a plain 64-bit processor: SSE3, CX16", false,
		{[FEATURE_1_EDX] = BASE_1_EDX,
			[FEATURE_1_ECX] = BIT(0) | BIT(13) | HYPERVISOR,
			[FEATURE_80000001_EDX] = BASE_EXT_EDX,
			[FEATURE_80000001_ECX] = BIT(0)}},
	{"kvm64", "a plain 64-bit processor", false,
		{[FEATURE_1_EDX] = BASE_1_EDX,
			[FEATURE_1_ECX] = BIT(0) | BIT(13) | HYPERVISOR,
			[FEATURE_80000001_EDX] = BASE_EXT_EDX}},
	{"base", "baseline x86-64, no extension", false,
		{[FEATURE_1_EDX] = BASE_1_EDX,
			[FEATURE_1_ECX] = HYPERVISOR,
			[FEATURE_80000001_EDX] = BASE_EXT_EDX}},
	{"host", "the host's processor, all that the engine can do", true, {0}},
	{"max", "all that the engine can do", true, {0}},
	{NULL, NULL, false, {0}},
};

static const struct {
	const char *name;
	enum feature_word word;
	uint8_t bit;
} features[] = {
	{"3dnow", FEATURE_80000001_EDX, 31},
	{"abm", FEATURE_80000001_ECX, 5},
	{"adx", FEATURE_7_EBX, 19},
	{"aes", FEATURE_1_ECX, 25},
	{"apic", FEATURE_1_EDX, 9},
	{"avx", FEATURE_1_ECX, 28},
	{"avx2", FEATURE_7_EBX, 5},
	{"bmi1", FEATURE_7_EBX, 3},
	{"bmi2", FEATURE_7_EBX, 8},
	{"clflush", FEATURE_1_EDX, 19},
	{"clflushopt", FEATURE_7_EBX, 23},
	{"cmov", FEATURE_1_EDX, 15},
	{"cx16", FEATURE_1_ECX, 13},
	{"cx8", FEATURE_1_EDX, 8},
	{"de", FEATURE_1_EDX, 2},
	{"erms", FEATURE_7_EBX, 9},
	{"f16c", FEATURE_1_ECX, 29},
	{"fma", FEATURE_1_ECX, 12},
	{"fpu", FEATURE_1_EDX, 0},
	{"fsgsbase", FEATURE_7_EBX, 0},
	{"fxsr", FEATURE_1_EDX, 24},
	{"hypervisor", FEATURE_1_ECX, 31},
	{"invpcid", FEATURE_7_EBX, 10},
	{"lahf-lm", FEATURE_80000001_ECX, 0},
	{"la57", FEATURE_7_ECX, 16},
	{"lm", FEATURE_80000001_EDX, 29},
	{"mca", FEATURE_1_EDX, 14},
	{"mce", FEATURE_1_EDX, 7},
	{"mmx", FEATURE_1_EDX, 23},
	{"monitor", FEATURE_1_ECX, 3},
	{"movbe", FEATURE_1_ECX, 22},
	{"msr", FEATURE_1_EDX, 5},
	{"mtrr", FEATURE_1_EDX, 12},
	{"nx", FEATURE_80000001_EDX, 20},
	{"pae", FEATURE_1_EDX, 6},
	{"pat", FEATURE_1_EDX, 16},
	{"pcid", FEATURE_1_ECX, 17},
	{"pclmulqdq", FEATURE_1_ECX, 1},
	{"pdpe1gb", FEATURE_80000001_EDX, 26},
	{"pge", FEATURE_1_EDX, 13},
	{"pku", FEATURE_7_ECX, 3},
	{"pni", FEATURE_1_ECX, 0},
	{"popcnt", FEATURE_1_ECX, 23},
	{"pse", FEATURE_1_EDX, 3},
	{"pse36", FEATURE_1_EDX, 17},
	{"rdrand", FEATURE_1_ECX, 30},
	{"rdseed", FEATURE_7_EBX, 18},
	{"rdtscp", FEATURE_80000001_EDX, 27},
	{"sep", FEATURE_1_EDX, 11},
	{"sha-ni", FEATURE_7_EBX, 29},
	{"smap", FEATURE_7_EBX, 20},
	{"smep", FEATURE_7_EBX, 7},
	{"spec-ctrl", FEATURE_7_EDX, 26},
	{"arch-capabilities", FEATURE_7_EDX, 29},
	{"sse", FEATURE_1_EDX, 25},
	{"sse2", FEATURE_1_EDX, 26},
	{"sse3", FEATURE_1_ECX, 0},
	{"sse4.1", FEATURE_1_ECX, 19},
	{"sse4.2", FEATURE_1_ECX, 20},
	{"ssse3", FEATURE_1_ECX, 9},
	{"svm", FEATURE_80000001_ECX, 2},
	{"syscall", FEATURE_80000001_EDX, 11},
	{"tsc", FEATURE_1_EDX, 4},
	{"tsc-deadline", FEATURE_1_ECX, 24},
	{"umip", FEATURE_7_ECX, 2},
	{"vme", FEATURE_1_EDX, 1},
	{"vmx", FEATURE_1_ECX, 5},
	{"x2apic", FEATURE_1_ECX, 21},
	{"xsave", FEATURE_1_ECX, 26},
	{"xsaveopt", FEATURE_D_1_EAX, 0},
	{"zero-fcs-fds", FEATURE_7_EBX, 13},
};

#define FEATURES (sizeof(features) / sizeof(features[0]))

const char *cpu_feature_name(unsigned index)
{
	return index < FEATURES ? features[index].name : NULL;
}

/* QEMU takes "_" and "." for the "-" of its names. */
static bool is_named(const char *name, const char *text)
{
	for (; *name && *text; name++, text++) {
		bool dash = *name == '-' || *name == '.';

		if (*name != *text && !(dash && (*text == '-' || *text == '_')))
			return false;
	}
	return *name == *text;
}

static int set_feature(struct cpu_choice *choice, const char *name, bool on, struct error *err)
{
	for (unsigned i = 0; i < FEATURES; i++) {
		uint32_t *to = on ? choice->add : choice->remove;

		if (!is_named(features[i].name, name))
			continue;
		to[features[i].word] |= BIT(features[i].bit);
		return 0;
	}
	return error_set(
		err, EINVAL, "Property '%s-x86_64-cpu.%s' not found", choice->model->name, name);
}

void cpu_choice_warn(const struct cpu_choice *choice, const uint32_t supported[FEATURE_WORDS],
	const char *engine)
{
	static const char *const words[FEATURE_WORDS] = {
		[FEATURE_1_EDX] = "01H:EDX",
		[FEATURE_1_ECX] = "01H:ECX",
		[FEATURE_7_EBX] = "07H:EBX",
		[FEATURE_7_ECX] = "07H:ECX",
		[FEATURE_7_EDX] = "07H:EDX",
		[FEATURE_D_1_EAX] = "0DH:EAX",
		[FEATURE_80000001_EDX] = "80000001H:EDX",
		[FEATURE_80000001_ECX] = "80000001H:ECX",
	};
	uint32_t told[FEATURE_WORDS] = {0};

	for (unsigned i = 0; i < FEATURES; i++) {
		unsigned word = features[i].word;
		uint32_t bit = BIT(features[i].bit), wanted = choice->add[word];

		if (!(wanted & ~choice->remove[word] & ~supported[word] & ~told[word] & bit))
			continue;
		told[word] |= bit;
		log_error("warning: %s doesn't support requested feature: CPUID.%s.%s [bit %u]",
			engine, words[word], features[i].name, features[i].bit);
	}
}

void cpu_choice_features(const struct cpu_choice *choice, uint32_t out[FEATURE_WORDS])
{
	for (unsigned word = 0; word < FEATURE_WORDS; word++) {
		out[word] = choice->model->everything ? ~0u : choice->model->features[word];
		out[word] = (out[word] | choice->add[word]) & ~choice->remove[word];
	}
}

int cpu_features_suffice(
	const uint32_t saved[FEATURE_WORDS], const uint32_t here[FEATURE_WORDS], struct error *err)
{
	const char *first = NULL;
	unsigned missing = 0;

	for (unsigned i = 0; i < FEATURES; i++) {
		unsigned word = features[i].word;
		uint32_t bit = BIT(features[i].bit);

		if (!(saved[word] & ~here[word] & bit))
			continue;
		first = first ? first : features[i].name;
		missing++;
	}
	if (!missing)
		return 0;
	return error_set(err, EINVAL, "-cpu: saved with %s%s, not asked for here", first,
		missing > 1 ? " and more" : "");
}

/* One of "+name", "-name", "name=on", "name=off", "name". */
static int parse_feature(struct cpu_choice *choice, char *text, struct error *err)
{
	char *value = strchr(text, '=');

	if (text[0] == '+' || text[0] == '-')
		return set_feature(choice, text + 1, text[0] == '+', err);
	if (value)
		*value++ = '\0';
	if (!value || strcmp(value, "on") == 0)
		return set_feature(choice, text, true, err);
	if (strcmp(value, "off") == 0)
		return set_feature(choice, text, false, err);
	return error_set(err, EINVAL, "Parameter '%s' expects 'on' or 'off'", text);
}

int cpu_choice_parse(const char *text, struct cpu_choice *out, struct error *err)
{
	char *copy = strdup(text ? text : cpu_models[0].name);
	char *rest = copy, *name, *feature;
	int rc = 0;

	*out = (struct cpu_choice){0};
	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	name = strsep(&rest, ",");
	for (const struct cpu_model *model = cpu_models; model->name; model++)
		if (strcmp(model->name, name) == 0)
			out->model = model;
	if (!out->model)
		rc = error_set(err, EINVAL, "unable to find CPU model '%s'", name);
	while (rc == 0 && (feature = strsep(&rest, ",")))
		rc = parse_feature(out, feature, err);
	free(copy);
	return rc;
}
