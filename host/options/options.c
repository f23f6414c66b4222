/* SPDX-License-Identifier: MIT */
/* Walks argv by the table, then settles what follows from several options together (options.h). */
#include "options/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "options/internal.h"

static const struct option_row *find_row(const char *name)
{
	for (unsigned i = 0; i < option_row_count; i++) {
		if (option_rows[i].name && !strcmp(option_rows[i].name, name))
			return &option_rows[i];
	}
	return NULL;
}

static int take_one(
	struct options *options, const char *word, const char *next, int *used, struct error *err)
{
	static const struct option_row disk_image = {.name = NULL};
	const struct option_row *row;
	int rc;

	*used = 1;
	if (*word != '-')
		return take_disk(options, &disk_image, word, err);
	row = find_row(word + (word[1] == '-' ? 2 : 1));
	if (!row)
		return error_set(err, EINVAL, "%s: invalid option", word);
	if (row->has_argument && !next)
		return error_set(err, EINVAL, "%s: requires an argument", word);
	*used = row->has_argument ? 2 : 1;
	rc = row->take(options, row, row->has_argument ? next : NULL, err);
	if (rc >= 0)
		return rc;
	return row->has_argument ? error_prefix(err, rc, "%s %s: ", word, next)
				 : error_prefix(err, rc, "%s: ", word);
}

static int settle(struct options *options, struct error *err)
{
	struct board_config *board = &options->board;
	const char *acpi;

	if (!board->kernel && board->append)
		return error_set(err, EINVAL, "-append only allowed with -kernel option");
	if (!board->kernel && board->initrd)
		return error_set(err, EINVAL, "-initrd only allowed with -kernel option");
	if (!board->kernel && options->dtb)
		return error_set(err, EINVAL, "-dtb only allowed with -kernel option");
	if (options->board.has_icount && options->board.host_clock)
		return error_set(
			err, EINVAL, "-icount and -accel soft,clock=host exclude each other");
	if (board->rr_file && options->incoming)
		return error_set(err, EINVAL, "-icount rr= and -incoming exclude each other");
	if (options->accel_list && options->accel_by_machine)
		return error_set(err, EINVAL,
			"-accel %s: the -accel and \"-machine accel=\" options are incompatible",
			options->accel_list);
	if (options->nographic && options->daemonize)
		return error_set(err, EINVAL, "-nographic cannot be used with -daemonize");
	acpi = board->machine_kv ? keyvals_get(board->machine_kv, "acpi") : NULL;
	if (acpi && strcmp(acpi, "auto")) {
		bool on;

		if (parse_bool("acpi", acpi, &on, err))
			return -EINVAL;
		if (on && board->machine && !strcmp(board->machine, "microvm"))
			return error_set(
				err, ENOTSUP, "-machine acpi=on: microvm has no ACPI tables");
		board->no_acpi = !on;
	}
	if (!board->smp.cpus)
		board->smp = (struct cpu_topology){1, 1, 1, 1, 1};
	if (board->no_defaults || !options->nographic)
		return 0;
	/* -nographic: the terminal is for the serial port and the monitor, whichever is left. */
	if (!options->has_serial) {
		board->serial[board->serial_count++] = options->has_monitor ? "stdio" : "mon:stdio";
	} else if (!options->has_monitor) {
		bool on_stdio = false;

		for (unsigned i = 0; i < board->serial_count; i++)
			on_stdio |= strstr(board->serial[i], "stdio") != NULL;
		if (!on_stdio)
			return take_monitor(options, find_row("monitor"), "stdio", err);
	}
	return 0;
}

int options_parse(int argc, char **argv, struct options *options, struct error *err)
{
	int i = 1, used, rc;

	memset(options, 0, sizeof(*options));
	options->board.icount_shift = ICOUNT_SHIFT;
	list_init(&options->board.devices);
	list_init(&options->board.drives);
	list_init(&options->board.fw_cfg);
	options->board.boot.splash_time = options->board.boot.reboot_timeout = -1;
	list_init(&options->chardevs);
	list_init(&options->objects);
	list_init(&options->blockdevs);
	list_init(&options->monitors);
	while (i < argc) {
		rc = take_one(options, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used, err);
		if (rc)
			return rc;
		i += used;
	}
	return settle(options, err);
}

static void free_list(struct list *list)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, list)
		keyvals_free(container_of(pos, struct keyvals, link));
}

void options_free(struct options *options)
{
	struct list *pos, *next;

	free_list(&options->board.devices);
	free_list(&options->board.drives);
	free_list(&options->board.fw_cfg);
	free_list(&options->chardevs);
	free_list(&options->objects);
	free_list(&options->blockdevs);
	list_for_each_safe (pos, next, &options->monitors) {
		struct monitor_option *monitor = container_of(pos, struct monitor_option, link);

		free(monitor->chardev);
		free(monitor);
	}
	list_init(&options->monitors);
	keyvals_free(options->board.machine_kv);
	keyvals_free(options->board.rtc);
	free(options->board.rr_file);
	free(options->accel_list);
	free(options->guest_name);
}
