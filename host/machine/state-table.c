/* SPDX-License-Identifier: MIT */
/* The table of what has no state (state-table.h). */
#include "machine/state-table.h"

static const struct state_field no_fields[] = {STATE_END};

const struct state_table state_nothing = {.name = "nothing", .version = 1, .fields = no_fields};
