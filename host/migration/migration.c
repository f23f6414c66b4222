/* SPDX-License-Identifier: MIT */
/*
 * The life of a migration to or from a file (migration.h).  There is one at a time, as there is one
 * machine in a process.
 */
#include "migration/migration.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "migration/machine-state.h"

#define STATUS_REFUSED 1 /* of the process, as for a command line that is refused */

static struct {
	struct machine *machine;
	struct migration_info info;
	struct loop_task task;
	char path[4096];
	int fd;
	bool stopped, was_running;
	enum run_state before;
	int64_t began, stopped_at;
	bool expected, autostart;
	void (*changed)(void *opaque, enum migration_status status);
	void *changed_opaque;
} migration = {.fd = -1};

static const char *const status_names[] = {
	[MIGRATION_NONE] = "none",
	[MIGRATION_SETUP] = "setup",
	[MIGRATION_ACTIVE] = "active",
	[MIGRATION_COMPLETED] = "completed",
	[MIGRATION_FAILED] = "failed",
	[MIGRATION_CANCELLED] = "cancelled",
};

const char *migration_status_name(enum migration_status status)
{
	return status_names[status];
}

const struct migration_info *migration_info(void)
{
	return &migration.info;
}

void migration_on_status(void (*changed)(void *opaque, enum migration_status status), void *opaque)
{
	migration.changed = changed;
	migration.changed_opaque = opaque;
}

static void set_status(enum migration_status status)
{
	migration.info.status = status;
	if (migration.changed)
		migration.changed(migration.changed_opaque, status);
}

/* Regular files: reading and writing them does not wait for anybody. */
static int open_file(const char *uri, int flags, struct error *err)
{
	static const char scheme[] = "file:";
	const char *path = uri + sizeof(scheme) - 1;
	struct stat st;
	int fd;

	if (strncmp(uri, scheme, sizeof(scheme) - 1) != 0)
		return error_set(
			err, EINVAL, "unknown migration protocol: %s (only file: is there)", uri);
	if (!*path)
		return error_set(err, EINVAL, "file: without a path");
	if (strlen(path) >= sizeof(migration.path))
		return error_set(err, ENAMETOOLONG, "the path is too long");
	fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "cannot open '%s'", path);
	if (fstat(fd, &st) < 0 || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ||
		S_ISDIR(st.st_mode)) {
		close(fd);
		return error_set(err, EINVAL, "'%s' is not a file", path);
	}
	strcpy(migration.path, path);
	return fd;
}

/* --- out --- */

static void close_file(bool keep)
{
	struct stat st;

	if (!keep && fstat(migration.fd, &st) == 0 && S_ISREG(st.st_mode))
		unlink(migration.path);
	close(migration.fd);
	migration.fd = -1;
}

static void give_up(const char *why)
{
	struct machine *machine = migration.machine;

	snprintf(migration.info.error, sizeof(migration.info.error), "%s", why);
	close_file(false);
	set_status(MIGRATION_FAILED);
	if (!migration.stopped || machine->ended)
		return;
	machine->state = migration.before;
	if (migration.was_running) {
		machine->state = RUN_STATE_PAUSED;
		machine_start(machine);
	}
}

static int write_all(struct error *err)
{
	struct machine *machine = migration.machine;
	struct migration_counts counts = {0};
	struct stream s;
	int rc = stream_init(&s, migration.fd, true, err);

	if (rc == 0)
		rc = machine_save(machine, &s, migration.was_running, &counts, err);
	migration.info.bytes = s.position;
	migration.info.zero_pages = counts.zero_pages;
	migration.info.normal_pages = counts.normal_pages;
	for (unsigned i = 0; i < machine->memory.count; i++)
		migration.info.ram_bytes += machine->memory.blocks[i].size;
	stream_destroy(&s);
	return rc;
}

/* The last exit of a vCPU may have asked for a reset: that comes first, and is saved. */
static bool has_to_wait(struct machine *machine)
{
	if (!machine_request_pending(machine))
		return false;
	loop_post(machine->loop, &migration.task);
	return true;
}

static void run_save(void *opaque)
{
	struct machine *machine = migration.machine;
	struct error err = {.text = ""};
	int64_t end;

	if (migration.info.status != MIGRATION_SETUP && migration.info.status != MIGRATION_ACTIVE)
		return;
	if (!migration.stopped) {
		migration.before = machine->state;
		migration.was_running = machine->state == RUN_STATE_RUNNING;
		migration.stopped_at = loop_now();
		machine_stop(machine, RUN_STATE_FINISH_MIGRATE);
		migration.stopped = true;
		set_status(MIGRATION_ACTIVE);
	}
	if (machine->ended) {
		give_up("the VM has ended");
		return;
	}
	if (has_to_wait(machine))
		return;
	if (write_all(&err) < 0) {
		give_up(err.text);
		return;
	}
	close_file(true);
	end = loop_now();
	migration.info.total_ms = (end - migration.began) / 1000000;
	migration.info.setup_ms = (migration.stopped_at - migration.began) / 1000000;
	migration.info.downtime_ms = (end - migration.stopped_at) / 1000000;
	machine->state = RUN_STATE_POSTMIGRATE;
	set_status(MIGRATION_COMPLETED);
}

int migration_save(struct machine *machine, const char *uri, struct error *err)
{
	int fd;

	if (migration.info.status == MIGRATION_SETUP || migration.info.status == MIGRATION_ACTIVE)
		return error_set(err, EBUSY, "There's a migration process in progress");
	if (migration.expected)
		return error_set(err, EBUSY, "Guest is waiting for an incoming migration");
	fd = open_file(uri, O_WRONLY | O_CREAT | O_TRUNC, err);
	if (fd < 0)
		return fd;
	migration.machine = machine;
	migration.info = (struct migration_info){.status = MIGRATION_NONE};
	migration.fd = fd;
	migration.stopped = false;
	migration.began = loop_now();
	migration.task = (struct loop_task){.run = run_save};
	set_status(MIGRATION_SETUP);
	loop_post(machine->loop, &migration.task);
	return 0;
}

void migration_cancel(struct machine *machine)
{
	if (migration.info.status != MIGRATION_SETUP)
		return;
	loop_cancel(machine->loop, &migration.task);
	close_file(false);
	set_status(MIGRATION_CANCELLED);
}

/* --- in --- */

void migration_expect(struct machine *machine, bool start_paused)
{
	machine->state = RUN_STATE_INMIGRATE;
	migration.expected = true;
	migration.autostart = !start_paused;
}

bool migration_is_expected(void)
{
	return migration.expected;
}

void migration_set_autostart(bool start)
{
	migration.autostart = start;
}

static int load_from(struct machine *machine, int fd, struct error *err)
{
	bool running = false;
	struct stream s;
	int rc = stream_init(&s, fd, false, err);

	set_status(MIGRATION_ACTIVE);
	if (rc == 0)
		rc = machine_load(machine, &s, &running, err);
	stream_destroy(&s);
	close(fd);
	if (rc < 0) {
		set_status(MIGRATION_FAILED);
		return rc;
	}
	migration.expected = false;
	set_status(MIGRATION_COMPLETED);
	machine->state = RUN_STATE_PAUSED;
	if (migration.autostart && running)
		machine_start(machine);
	return 0;
}

int migration_load(struct machine *machine, const char *uri, struct error *err)
{
	int fd = open_file(uri, O_RDONLY, err);

	return fd < 0 ? fd : load_from(machine, fd, err);
}

static void run_load(void *opaque)
{
	struct machine *machine = migration.machine;
	struct error err = {.text = ""};
	int fd = migration.fd;

	migration.fd = -1;
	if (load_from(machine, fd, &err) == 0)
		return;
	log_error("migrate-incoming file:%s: %s", migration.path, err.text);
	machine_request_exit(machine, STATUS_REFUSED);
}

int migration_load_soon(struct machine *machine, const char *uri, struct error *err)
{
	int fd;

	if (!migration.expected)
		return error_set(err, EINVAL, "'-incoming' was not specified on the command line");
	if (migration.fd >= 0 || migration.info.status != MIGRATION_NONE)
		return error_set(err, EBUSY, "The incoming migration has already been started");
	fd = open_file(uri, O_RDONLY, err);
	if (fd < 0)
		return fd;
	migration.machine = machine;
	migration.fd = fd;
	migration.task = (struct loop_task){.run = run_load};
	loop_post(machine->loop, &migration.task);
	return 0;
}
