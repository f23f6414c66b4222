/* SPDX-License-Identifier: MIT */
/* A whole machine, to and from a stream (docs/migration.md).  Main loop, lock held, VM stopped. */
#ifndef MIGRATION_MACHINE_STATE_H
#define MIGRATION_MACHINE_STATE_H

#include "machine/machine.h"
#include "migration/stream.h"

struct migration_counts {
	uint64_t zero_pages, normal_pages;
};

/* 0 or -errno with a sentence that names the section.  counts NULL: without memory, for who keeps
 * that himself. */
int machine_save(struct machine *machine, struct stream *s, bool running,
	struct migration_counts *counts, struct error *err);

/* Into a machine that has not run, or whose devices were reset.  After a failure it must not run.
 * *running: was the saved one?  NULL: the stream has no memory, what the machine has is right. */
int machine_load(struct machine *machine, struct stream *s, bool *running, struct error *err);

/* ram.c: one block as a section of its own kind. */
void ram_save(struct stream *s, const struct ram_block *block, struct migration_counts *counts);
int ram_load(struct stream *s, struct guest_memory *mem, struct ram_block *block);

#endif
