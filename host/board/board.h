/* SPDX-License-Identifier: MIT */
/*
 * Boards: what a machine type consists of.  A board puts devices together, loads the kernel and
 * keeps nothing that devices need to know.
 */
#ifndef BOARD_BOARD_H
#define BOARD_BOARD_H

#include "base/error.h"
#include "board/config.h"
#include "machine/machine.h"

struct board_type {
	const char *name, *alias;  /* "pc-i440fx-7.2" with alias "pc"; alias may be NULL */
	const char *description;   /* for -machine help */
	uint64_t default_memory;   /* bytes */
	const char *default_drive; /* -drive without if=: "ide", "virtio" */
	unsigned max_cpus;
	bool dies;	   /* -smp dies= may be more than 1 */
	bool engine_chips; /* PIC, IOAPIC and PIT are the engine's, not models of ours */
	/* Builds everything but -device devices; 0 or -errno. */
	int (*build)(struct machine *machine, const struct board_config *config, struct error *err);
	/* After all devices exist, and at each system reset: what firmware would do.  Sets *rsdp to
	 * the guest address of the ACPI root pointer, or leaves it 0. */
	int (*load)(struct machine *machine, const struct board_config *config, uint64_t *rsdp,
		struct error *err);
	/* What the board puts behind -append: writes at most `size` bytes.  NULL: nothing. */
	int (*append)(struct machine *machine, const struct board_config *config, char *to,
		size_t size, struct error *err);
};

extern const struct board_type *const board_types[];   /* NULL-terminated, default first */
const struct board_type *board_find(const char *name); /* NULL: unknown */

extern const struct device_type *const device_types[];	      /* NULL-terminated, alphabetical */
const struct device_type *device_type_find(const char *name); /* by QEMU's name or alias */

/*
 * Builds the machine that `config` describes: engine, board, serial ports, drives, devices, kernel.
 * Character devices, block nodes and iothreads of the command line exist already.
 * 0 or -errno with one sentence that begins with the option at fault.
 */
int board_create(struct machine *machine, struct board_config *config, struct error *err);

#endif
