/* SPDX-License-Identifier: MIT */
/*
 * What is the same for every monitor: the character device, the queue to a slow peer, and events.
 * A peer that does not read is first no longer listened to, then misses events; it never costs more
 * memory than QUEUE_MAX and never stops the VM.
 */
#include "monitor/monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "block/block.h"
#include "migration/migration.h"
#include "monitor/command.h"
#include "monitor/session.h"

#define INPUT_PIECE 4096
#define QUEUE_BUSY  65536	/* more than that waits: no further commands are read */
#define QUEUE_MAX   (16u << 20) /* events and answers beyond that are lost */

static struct list monitors = {&monitors, &monitors};
static struct machine_observer observer;
static struct block_observer drive_observer;
static const char *guest_name, *guest_uuid;

void monitor_set_names(const char *name, const char *uuid)
{
	guest_name = name;
	guest_uuid = uuid;
}

json_t *monitor_name(void)
{
	return guest_name ? json_pack("{s:s}", "name", guest_name) : json_object();
}

const char *monitor_uuid(void)
{
	return guest_uuid ? guest_uuid : "00000000-0000-0000-0000-000000000000";
}

/* Output. */

static void forget_output(struct monitor *mon)
{
	free(mon->out);
	mon->out = NULL;
	mon->out_length = mon->out_size = 0;
}

static void flush(struct monitor *mon)
{
	size_t done;

	if (!mon->out_length)
		return;
	done = chardev_write(mon->chr, (uint8_t *)mon->out, mon->out_length);
	mon->out_length -= done;
	if (mon->out_length)
		memmove(mon->out, mon->out + done, mon->out_length);
	else
		forget_output(mon);
}

void monitor_send(struct monitor *mon, const char *text, size_t length)
{
	size_t done = 0;

	/* The usual way: nothing waits, and the peer takes all. */
	if (!mon->out_length)
		done = chardev_write(mon->chr, (const uint8_t *)text, length);
	if (done == length || mon->out_length + length - done > QUEUE_MAX)
		return;
	if (mon->out_size < mon->out_length + length - done) {
		size_t size = (mon->out_length + length - done) * 2;
		char *out = realloc(mon->out, size);

		if (!out)
			return;
		mon->out = out;
		mon->out_size = size;
	}
	memcpy(mon->out + mon->out_length, text + done, length - done);
	mon->out_length += length - done;
}

/* The character device's side. */

static size_t can_receive(void *opaque)
{
	const struct monitor *mon = opaque;

	return mon->out_length > QUEUE_BUSY ? 0 : INPUT_PIECE;
}

static void receive(void *opaque, const uint8_t *data, size_t length)
{
	struct monitor *mon = opaque;

	if (mon->mode == MONITOR_HMP)
		hmp_session_receive(mon, data, length);
	else
		qmp_session_receive(mon, data, length);
}

static void chardev_happened(void *opaque, enum chardev_event event)
{
	struct monitor *mon = opaque;

	switch (event) {
	case CHARDEV_OPENED:
		forget_output(mon);
		if (mon->mode == MONITOR_HMP)
			hmp_session_begin(mon);
		else
			qmp_session_begin(mon);
		break;
	case CHARDEV_CLOSED:
		forget_output(mon);
		if (mon->mode != MONITOR_HMP)
			qmp_session_end(mon);
		break;
	case CHARDEV_WRITABLE:
		flush(mon);
		if (mon->out_length <= QUEUE_BUSY)
			chardev_accept_input(mon->chr);
		break;
	case CHARDEV_RESIZED:
	case CHARDEV_BREAK: break;
	}
}

/* Events. */

static json_t *event_data(const char *name, enum shutdown_cause cause)
{
	bool guest = cause == CAUSE_GUEST_SHUTDOWN || cause == CAUSE_GUEST_RESET ||
		     cause == CAUSE_GUEST_PANIC;

	if (strcmp(name, "SHUTDOWN") && strcmp(name, "RESET"))
		return NULL;
	return json_pack("{s:b,s:s}", "guest", guest, "reason", shutdown_cause_name(cause));
}

void monitor_event(const char *name, json_t *data)
{
	json_t *event;
	struct timeval now;
	struct list *pos;

	gettimeofday(&now, NULL);
	event = json_pack("{s:{s:I,s:I},s:s}", "timestamp", "seconds", (json_int_t)now.tv_sec,
		"microseconds", (json_int_t)now.tv_usec, "event", name);
	if (data)
		json_object_set_new(event, "data", data);
	list_for_each (pos, &monitors)
		qmp_session_event(container_of(pos, struct monitor, link), event);
	json_decref(event);
}

static void machine_event(void *opaque, const char *name, enum shutdown_cause cause)
{
	if (strcmp(name, "RECALL") != 0) /* nothing that QMP knows */
		monitor_event(name, event_data(name, cause));
}

static void drive_event(void *opaque, const struct block_failure *failure)
{
	static const char *const actions[] = {[ON_ERROR_REPORT] = "report",
		[ON_ERROR_IGNORE] = "ignore",
		[ON_ERROR_STOP] = "stop"};
	bool is_node = block_is_node(failure->blk);
	json_t *data =
		json_pack("{s:s,s:s,s:s,s:b,s:s}", "device", is_node ? "" : block_id(failure->blk),
			"operation", failure->operation == BLOCK_READ ? "read" : "write", "action",
			actions[failure->action], "nospace", failure->error == ENOSPC, "reason",
			strerror(failure->error));

	if (is_node)
		json_object_set_new(data, "node-name", json_string(block_id(failure->blk)));
	monitor_event("BLOCK_IO_ERROR", data);
}

static void migration_event(void *opaque, enum migration_status status)
{
	if (monitor_wants_migration_events())
		monitor_event(
			"MIGRATION", json_pack("{s:s}", "status", migration_status_name(status)));
}

int monitor_create(
	struct machine *machine, struct chardev *chr, enum monitor_mode mode, struct error *err)
{
	struct monitor *mon = calloc(1, sizeof(*mon));
	int rc;

	if (!mon)
		return error_set(err, ENOMEM, "out of memory");
	mon->machine = machine;
	mon->chr = chr;
	mon->mode = mode;
	mon->user = (struct chardev_user){.can_receive = can_receive,
		.receive = receive,
		.event = chardev_happened,
		.opaque = mon,
		.is_host = true};
	list_add_tail(&monitors, &mon->link);
	rc = chardev_attach(chr, &mon->user, err);
	if (rc) {
		list_remove(&mon->link);
		free(mon);
		return rc;
	}
	if (!observer.event) {
		observer.event = machine_event;
		machine_observe(machine, &observer);
		drive_observer.failed = drive_event;
		block_observe(machine->loop, &drive_observer);
		migration_on_status(migration_event, NULL);
	}
	return 0;
}

void monitor_destroy_all(void)
{
	while (!list_empty(&monitors)) {
		struct monitor *mon = container_of(monitors.next, struct monitor, link);

		flush(mon);
		chardev_detach(mon->chr, &mon->user);
		json_stream_reset(&mon->stream);
		free(mon->stream.text);
		forget_output(mon);
		list_remove(&mon->link);
		free(mon);
	}
}
