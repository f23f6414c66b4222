/* SPDX-License-Identifier: MIT */
/*
 * The command line: QEMU's options, read into what main, board and monitor consume.  One table has
 * a row an option (table.c); help, unknown options and refusals come from it.
 */
#ifndef OPTIONS_OPTIONS_H
#define OPTIONS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/keyval.h"
#include "board/config.h"
#include "monitor/monitor.h"

#define OPTIONS_DONE 1 /* help or version was printed: the process ends with 0 */

/* -monitor, -qmp, -qmp-pretty (text) or -mon (chardev id), in order. */
struct monitor_option {
	struct list link;
	const char *option; /* "-qmp", for error messages */
	const char *text;   /* the short form, or the argument of -mon */
	char *chardev;	    /* -mon: id */
	enum monitor_mode mode;
};

struct options {
	struct board_config board;
	struct list chardevs, objects, blockdevs; /* of struct keyvals.link, in order */
	struct list monitors;			  /* of struct monitor_option.link */
	const char *pidfile, *log_file;
	const char *gdb;      /* -gdb, -s: the short form of a character device; or NULL */
	const char *incoming; /* -incoming: "file:PATH" or "defer"; or NULL */
	bool daemonize, nographic;

	/* private: put together while reading */
	bool has_serial, has_monitor;
	char *accel_list, *guest_name;
	bool accel_by_machine;
	const char *dtb;
	struct cpu_topology smp; /* what -smp said; 0: nothing */
	unsigned maxcpus;
};

/*
 * Reads all options.  0, OPTIONS_DONE, or -errno with a sentence that begins with the option at
 * fault.  Nothing is opened; strings stay in argv or are owned by `options`.
 */
int options_parse(int argc, char **argv, struct options *options, struct error *err);
void options_free(struct options *options);

#endif
