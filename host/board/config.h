/* SPDX-License-Identifier: MIT */
/*
 * What the command line asked for, as the board consumes it.  options/ fills it, board/ reads it.
 */
#ifndef BOARD_CONFIG_H
#define BOARD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/keyval.h"
#include "base/list.h"
#include "cpu/topology.h"

#define SERIAL_MAX   4
#define ICOUNT_SHIFT 3 /* unless told: 125 million instructions a second of VM time */

/* -boot */
struct board_boot {
	char order[20], once[20]; /* letters; empty: not given */
	bool menu, strict;
	int splash_time;    /* ms, -1: not given */
	int reboot_timeout; /* ms, -1: never */
};

struct board_config {
	const char *machine;	    /* "pc", "microvm"; aliases are resolved by board_find() */
	struct keyvals *machine_kv; /* -machine's further pairs, or NULL */
	const char *accels;	    /* "kvm:tcg": first that works; NULL: the default */
	bool host_clock;	    /* -accel soft,clock=host */
	unsigned icount_shift;	    /* -icount: an instruction is 2^shift ns */
	bool icount_sleep;	    /* -icount sleep=on: idle time passes at the host's pace */
	bool has_icount, has_seed;
	bool rr_record, rr_replay; /* -icount rr= */
	char *rr_file;		   /* rrfile= */
	uint64_t seed;		   /* -seed, -accel soft,seed= */
	const char *cpu;	   /* -cpu MODEL[,+feature...]; NULL: the machine's default */
	uint64_t memory;	   /* bytes */
	struct cpu_topology smp;   /* -smp; the default is one of each */
	const char *kernel, *initrd, *append; /* NULL: not given */
	const char *firmware_path;	      /* -L */
	const char *bios;		      /* -bios */
	const char *uuid, *name;
	struct board_boot boot;
	struct keyvals *rtc; /* -rtc base=,clock=,driftfix=; or NULL */
	bool no_defaults, no_reboot, no_shutdown, no_acpi;
	bool start_paused; /* -S */
	bool snapshot;	   /* -snapshot */

	struct list devices; /* of struct keyvals.link: -device, implied key "driver", in order */
	struct list drives;  /* of struct keyvals.link: -drive, -hda .. -hdd, -cdrom, in order */
	struct list fw_cfg;  /* of struct keyvals.link: -fw_cfg name=,file=|string= */
	const char *serial[SERIAL_MAX]; /* -serial in order; NULL: not given */
	unsigned serial_count;
};

#endif
