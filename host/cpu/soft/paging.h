/* SPDX-License-Identifier: MIT */
/* The walk through the page tables, and what it shares with the cache of translations.  Private to
 * paging.c and mmu.c. */
#ifndef CPU_SOFT_PAGING_H
#define CPU_SOFT_PAGING_H

#include "cpu/soft/soft.h"

struct soft_walk {
	struct soft_cpu *c;
	uint64_t linear;
	bool write, user, fetch;
	bool probe;	   /* no faults, no accessed bits */
	uint64_t rights;   /* AND of U and W, OR of NX of all levels */
	uint64_t physical; /* result: of the byte */
	bool global;
	uint8_t shift; /* of the page's size */
};

/* Fills in the result, or faults; a probe that finds nothing: false. */
bool soft_translate(struct soft_walk *w);
/* Bytes of physical memory were written (CODE_BY_x): what was decoded there is forgotten. */
void soft_wrote(struct soft_cpu *c, uint64_t physical, unsigned size, unsigned by);

static inline struct guest_memory *soft_memory(struct soft_cpu *c)
{
	return &c->engine->engine.machine->memory;
}

#endif
