/* SPDX-License-Identifier: MIT */
/* The engines that are built in (engine.h). */
#include "cpu/engine.h"

#include <string.h>

const struct cpu_engine_ops *const engines[] = {&kvm_engine_ops, &soft_engine_ops, NULL};

const struct cpu_engine_ops *engine_find(const char *name)
{
	/* QEMU's word for an engine without KVM. */
	if (strcmp(name, "tcg") == 0)
		name = "soft";
	for (unsigned i = 0; engines[i]; i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	return NULL;
}
