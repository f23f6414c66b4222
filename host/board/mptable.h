/* SPDX-License-Identifier: MIT */
/* The MultiProcessor table, for machines without ACPI. */
#ifndef BOARD_MPTABLE_H
#define BOARD_MPTABLE_H

#include "base/error.h"
#include "cpu/topology.h"
#include "machine/machine.h"

/* Writes it to guest memory; called again after a reset.  0 or -errno. */
int mptable_load(struct machine *machine, const struct cpu_topology *smp, struct error *err);

#endif
