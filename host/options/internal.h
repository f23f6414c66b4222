/* SPDX-License-Identifier: MIT */
/* What the files of this room share: the table's rows and their handlers. */
#ifndef OPTIONS_INTERNAL_H
#define OPTIONS_INTERNAL_H

#include "options/options.h"

struct option_row {
	const char *name;
	bool has_argument;
	/* 0, OPTIONS_DONE or -errno with a sentence without the option, which the caller puts in
	 * front.  argument: NULL if there is none. */
	int (*take)(struct options *options, const struct option_row *row, const char *argument,
		struct error *err);
	const char *help; /* in QEMU's form, NULL: not shown */
	const char *note; /* for `refuse`: what to do instead; for `only`: the words accepted */
	size_t offset;	  /* for `flag` and `string`: in struct options */
};

#define OPTION_SECTION(title)                 \
	{                                     \
		.name = NULL, .help = (title) \
	}

extern const struct option_row option_rows[]; /* sections have a NULL name */
extern const unsigned option_row_count;

typedef int option_take(struct options *options, const struct option_row *row, const char *argument,
	struct error *err);

/* handlers.c: for several rows each */
option_take take_flag, take_string, take_nothing, take_refused, take_only;
/* handlers.c */
option_take take_object, take_blockdev, take_drive, take_disk, take_cdrom, take_device, take_global,
	take_chardev, take_serial, take_monitor, take_mon, take_fw_cfg, take_name, take_uuid,
	take_debug, take_action, take_seed, take_version, take_help, take_audiodev, take_echr,
	take_msg, take_bios, take_gdb_short;
/* machine.c */
option_take take_machine, take_memory, take_boot, take_rtc;
/* accel.c */
option_take take_accel, take_icount, take_enable_kvm;
/* processors.c */
option_take take_cpu, take_smp;

/* A list of pairs from text, which is JSON where QEMU takes JSON and the text begins with '{'. */
struct keyvals *parse_json(const char *option, const char *text, struct error *err);

/* -EINVAL with QEMU's sentence if a pair is left that nobody knows. */
int refuse_left(const struct keyvals *kv, struct error *err);
bool is_help_word(const char *text);

/* help.c */
void print_help(void);
void print_version(void);
void print_machines(void);
void print_accels(void);
void print_accel_properties(const char *name); /* of an engine */
void print_cpus(void);
void print_devices(void);
int print_device_properties(const char *name, struct error *err);
void print_log_items(void);
void print_objects(void);

#endif
