/* SPDX-License-Identifier: MIT */
/*
 * build/assay: options, then what lies on the host's side (character devices, iothreads, block
 * nodes), then the machine, the monitors, the signals; then the main loop until the VM ends.  The
 * one place that prints an error of start-up and the one that decides the exit status.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "block/block.h"
#include "block/iothread.h"
#include "board/board.h"
#include "board/replay.h"
#include "chardev/chardev.h"
#include "chardev/rng.h"
#include "cpu/engine.h"
#include "debug/gdb.h"
#include "machine/machine.h"
#include "machine/outside.h"
#include "migration/migration.h"
#include "monitor/command.h"
#include "monitor/monitor.h"
#include "options/options.h"
#include "options/process.h"

static struct options options;
static struct machine machine;

static int create_chardevs(struct loop *loop, struct error *err)
{
	struct list *pos;

	list_for_each (pos, &options.chardevs) {
		struct keyvals *kv = container_of(pos, struct keyvals, link);
		int rc = chardev_create(loop, kv, err);

		if (rc)
			return error_prefix(err, rc, "%s: ", kv->origin);
	}
	return 0;
}

/* The board finds them by name; their monitors (mon:) come after the machine. */
static int create_serials(struct loop *loop, struct error *err)
{
	for (unsigned i = 0; i < options.board.serial_count; i++) {
		const char *text = options.board.serial[i];
		char id[20];

		snprintf(id, sizeof(id), "serial%u", i);
		if (!chardev_create_short(loop, id, text, err) && err->text[0])
			return error_prefix(err, -EINVAL, "-serial %s: ", text);
	}
	return 0;
}

static int create_objects(struct loop *loop, struct error *err)
{
	struct list *pos;
	int rc;

	list_for_each (pos, &options.objects) {
		struct keyvals *kv = container_of(pos, struct keyvals, link);

		rc = strcmp(keyvals_get(kv, "qom-type"), "iothread") == 0
			     ? iothread_create(kv, err)
			     : rng_create(loop, kv, err);
		if (!rc && keyvals_left(kv))
			rc = error_set(err, EINVAL, "Invalid parameter '%s'", keyvals_left(kv));
		if (rc)
			return error_prefix(err, rc, "%s: ", kv->origin);
	}
	list_for_each (pos, &options.blockdevs) {
		struct keyvals *kv = container_of(pos, struct keyvals, link);

		if (!block_open_node(kv, err))
			return error_prefix(err, -EINVAL, "%s: ", kv->origin);
	}
	return 0;
}

static int create_monitors(struct loop *loop, struct error *err)
{
	unsigned number = 0;
	struct list *pos;
	int rc = 0;

	for (unsigned i = 0; !rc && i < options.board.serial_count; i++) {
		char id[20];

		snprintf(id, sizeof(id), "serial%u", i);
		if (!strncmp(options.board.serial[i], "mon:", 4))
			rc = monitor_create(&machine, chardev_find(id), MONITOR_HMP, err);
	}
	for (pos = options.monitors.next; !rc && pos != &options.monitors; pos = pos->next) {
		struct monitor_option *monitor = container_of(pos, struct monitor_option, link);
		struct chardev *chr;
		char id[32];

		err->text[0] = '\0';
		snprintf(id, sizeof(id), "compat_monitor%u", number);
		if (monitor->chardev) {
			chr = chardev_find(monitor->chardev);
			if (!chr)
				error_set(
					err, ENOENT, "chardev \"%s\" not found", monitor->chardev);
		} else {
			number++;
			chr = chardev_create_short(loop, id, monitor->text, err);
		}
		if (chr)
			rc = monitor_create(&machine, chr, monitor->mode, err);
		if (rc || err->text[0])
			return error_prefix(
				err, -EINVAL, "%s %s: ", monitor->option, monitor->text);
	}
	return rc;
}

/* A listening socket that nobody waits for, unless it says otherwise. */
static int create_gdb(struct loop *loop, struct error *err)
{
	bool is_tcp = options.gdb && !strncmp(options.gdb, "tcp:", 4);
	bool is_unix = options.gdb && !strncmp(options.gdb, "unix:", 5);
	struct chardev *chr;
	char text[512];
	int rc = 0;

	if (!options.gdb)
		return 0;
	snprintf(text, sizeof(text), "%s%s", options.gdb,
		(is_tcp || is_unix) && !strstr(options.gdb, ",server") ? ",server=on,wait=off"
								       : "");
	err->text[0] = '\0';
	chr = chardev_create_short(loop, "gdb", text, err);
	if (chr)
		rc = gdb_create(&machine, chr, hmp_run, err);
	if (rc || err->text[0])
		return error_prefix(err, -EINVAL, "-gdb %s: ", options.gdb);
	return 0;
}

/* One line, whatever is in the file name or the value that it quotes. */
static void print_error(struct error *err)
{
	for (char *c = err->text; *c; c++) {
		if ((unsigned char)*c < ' ')
			*c = '?';
	}
	log_error("%s", err->text);
}

static void terminate(void *opaque)
{
	machine_request_shutdown(&machine, CAUSE_HOST_UI);
}

/* Everything up to a machine that could run. */
static int set_up(struct loop *loop, struct error *err)
{
	int rc = machine_init(&machine, loop, err);

	if (rc)
		return rc;
	if (options.board.has_seed)
		machine.random_state = options.board.seed;
	monitor_set_names(options.board.name, options.board.uuid);
	rc = create_chardevs(loop, err);
	if (!rc)
		rc = create_serials(loop, err);
	if (!rc)
		rc = create_objects(loop, err);
	if (!rc)
		rc = pidfile_create(options.pidfile, err);
	if (!rc)
		rc = replay_prepare(&machine, &options.board, err);
	if (!rc)
		rc = board_create(&machine, &options.board, err);
	if (!rc)
		rc = replay_begin(&machine, &options.board, err);
	if (!rc) {
		qmp_replay_init(&machine); /* a log may have commands where no monitor is */
		rc = create_monitors(loop, err);
	}
	if (!rc)
		rc = create_gdb(loop, err);
	if (!rc && options.log_file) {
		rc = log_set_file(options.log_file);
		if (rc)
			error_set_errno(
				err, -rc, "-D %s: Could not open the log file", options.log_file);
	}
	return rc;
}

/* A saved state takes the place of power-on. */
static int take_incoming(struct error *err)
{
	int rc = 0;

	if (!options.incoming)
		return 0;
	pthread_mutex_lock(&machine.lock);
	migration_expect(&machine, options.board.start_paused);
	if (strcmp(options.incoming, "defer") != 0)
		rc = migration_load(&machine, options.incoming, err);
	pthread_mutex_unlock(&machine.lock);
	return rc ? error_prefix(err, rc, "-incoming %s: ", options.incoming) : 0;
}

static void tear_down(void)
{
	gdb_destroy();
	monitor_destroy_all();
	machine_destroy(&machine);
	if (machine.engine)
		machine.engine->ops->destroy(machine.engine);
	block_close_all();
	iothread_destroy_all();
	rng_destroy_all();
	chardev_close_all();
	pidfile_remove();
}

static int run(struct loop *loop)
{
	pthread_mutex_lock(&machine.lock);
	if (!options.board.start_paused && !options.incoming)
		machine_start(&machine);
	pthread_mutex_unlock(&machine.lock);
	loop_run(loop);
	outside_end();
	return machine.exit_status;
}

int main(int argc, char **argv)
{
	struct error err = {.text = ""};
	struct loop *loop;
	int rc, status = 1;

	standard_fds_open();
	rc = options_parse(argc, argv, &options, &err);
	if (rc == OPTIONS_DONE)
		return fflush(stdout) ? 1 : 0;
	if (!rc && options.daemonize)
		rc = daemon_begin(&err);
	if (rc) {
		print_error(&err);
		return 1;
	}
	signals_block();
	loop = loop_create("main", &err);
	rc = loop ? 0 : -ENOMEM;
	if (!rc)
		rc = set_up(loop, &err);
	if (!rc)
		rc = signals_watch(loop, &machine, &err);
	if (!rc)
		rc = take_incoming(&err);
	chardev_on_terminate(terminate, NULL);
	if (!rc && options.daemonize)
		rc = daemon_ready(&err);
	if (!rc)
		status = run(loop);
	else if (signals_tell())
		status = 0; /* it broke the wait for a connection */
	else
		print_error(&err);
	if (rc)
		chardev_forget_files();
	signals_unwatch();
	if (loop) {
		tear_down();
		loop_destroy(loop);
	}
	options_free(&options);
	return status;
}
