/* SPDX-License-Identifier: MIT */
/* State between a struct and a stream, by its table (machine/state-table.h). */
#ifndef MIGRATION_FIELDS_H
#define MIGRATION_FIELDS_H

#include "machine/state-table.h"
#include "migration/stream.h"

/* All pre_save() of the table and of the groups in it. */
void fields_prepare(const struct state_table *table, void *state);
/* The body of a section: fields, then the subsections that are needed. */
void fields_save(struct stream *s, const struct state_table *table, void *state);
/*
 * A body that ends at s->limit.  Stops at the first thing that is wrong; s->rc and s->err say what,
 * beginning with "field NAME".
 */
int fields_load(struct stream *s, const struct state_table *table, void *state, unsigned version);

#endif
