/* SPDX-License-Identifier: MIT */
/* Which processors the machine says it has: ACPI's MADT, else the MP table (MP specification 1.4).
 */
#ifndef ASSAY_RUNTIME_PROCESSORS_H
#define ASSAY_RUNTIME_PROCESSORS_H

#include <stdint.h>

#define PROCESSORS_MAX 16

struct processors {
	unsigned count;			  /* at least 1 */
	uint32_t apic_id[PROCESSORS_MAX]; /* this one first, then as the table has them */
	const char *source;		  /* "MADT", "MP table", "none" */
};

/* Looked for once. */
const struct processors *processors(void);

#endif
