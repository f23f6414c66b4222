/* SPDX-License-Identifier: MIT */
/*
 * -cpu: processor models and feature names, as QEMU spells them.  A model is a set of feature bits;
 * an engine gives the guest those of them that it can do.
 */
#ifndef CPU_MODEL_H
#define CPU_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The CPUID words that hold features. */
enum feature_word {
	FEATURE_1_EDX,
	FEATURE_1_ECX,
	FEATURE_7_EBX,
	FEATURE_7_ECX,
	FEATURE_7_EDX,
	FEATURE_D_1_EAX,
	FEATURE_80000001_EDX,
	FEATURE_80000001_ECX,
	FEATURE_WORDS,
};

struct cpu_model {
	const char *name, *description;
	bool everything; /* host, max: all that the engine can do */
	uint32_t features[FEATURE_WORDS];
};

/* What "-cpu MODEL,+a,-b,c=on" asks for. */
struct cpu_choice {
	const struct cpu_model *model;
	uint32_t add[FEATURE_WORDS], remove[FEATURE_WORDS];
	bool hide_hypervisor; /* hypervisor=off */
};

extern const struct cpu_model cpu_models[]; /* a NULL name ends it; the first is the default */

/* text NULL: the default model.  0, or -EINVAL with a sentence that names model or feature. */
int cpu_choice_parse(const char *text, struct cpu_choice *out, struct error *err);

/* One line on stderr for each feature the command line asked for that is not in `supported`. */
void cpu_choice_warn(const struct cpu_choice *choice, const uint32_t supported[FEATURE_WORDS],
	const char *engine);

/* All features that the choice asks for; for `max` every bit. */
void cpu_choice_features(const struct cpu_choice *choice, uint32_t out[FEATURE_WORDS]);

/* Was no feature asked for at `saved` that is not asked for `here`?  0, or -EINVAL with a sentence.
 */
int cpu_features_suffice(
	const uint32_t saved[FEATURE_WORDS], const uint32_t here[FEATURE_WORDS], struct error *err);

/* Feature names for -cpu help: the next one from *at on, or NULL at the end. */
const char *cpu_feature_name(unsigned index);

#endif
