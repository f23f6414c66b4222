/* SPDX-License-Identifier: MIT */
/*
 * The gdb stub: gdb's remote serial protocol (gdb's manual, appendix E) on a character device; a
 * vCPU is a thread, and all of them stop together.  Here: how packets come in, the table of them,
 * and the peer's coming and going; what they do is in gdb-{access,breakpoints,query,run}.c.
 *
 * Left out: non-stop mode, several processes, physical memory.
 */
#include "debug/gdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug/gdb-session.h"
#include "machine/outside.h"
#include "migration/rewind.h"

#define INTERRUPT 0x03

static struct gdb *the_stub;

/* By how they begin; a longer one before one that is its beginning. */
static const struct {
	const char *begin;
	void (*act)(struct gdb *g, const char *args);
} packets[] = {
	{"?", gdb_say_stop},
	{"bc", gdb_continue_back},
	{"bs", gdb_step_back},
	{"c", gdb_go_on},
	{"D", gdb_detach},
	{"g", gdb_read_registers},
	{"G", gdb_write_registers},
	{"H", gdb_choose_thread},
	{"k", gdb_end_machine},
	{"m", gdb_read_memory},
	{"M", gdb_write_memory},
	{"p", gdb_read_register},
	{"P", gdb_write_register},
	{"qAttached", gdb_is_attached},
	{"qC", gdb_current_thread},
	{"qfThreadInfo", gdb_list_threads},
	{"qRcmd,", gdb_run_command},
	{"qsThreadInfo", gdb_end_threads},
	{"qSupported", gdb_supported},
	{"qThreadExtraInfo,", gdb_describe_thread},
	{"qXfer:features:read:target.xml:", gdb_send_description},
	{"QStartNoAckMode", gdb_no_ack},
	{"s", gdb_step},
	{"T", gdb_thread_alive},
	{"vCont?", gdb_v_cont_actions},
	{"vCont", gdb_v_cont},
	{"X", gdb_write_binary},
	{"z", gdb_remove_point},
	{"Z", gdb_insert_point},
};

/* A run that is recorded or replayed stays the one it is. */
static bool is_refused(const struct gdb *g)
{
	return outside_mode() != OUTSIDE_LIVE && strchr("GMPX", g->packet[0]) && g->packet[0];
}

static void obey(struct gdb *g)
{
	/* Registers can be had of what stands still only. */
	gdb_halt(g);
	if (is_refused(g)) {
		gdb_error(g, EPERM);
		return;
	}
	for (size_t i = 0; !g->too_long && i < sizeof(packets) / sizeof(packets[0]); i++) {
		size_t length = strlen(packets[i].begin);

		if (strncmp(g->packet, packets[i].begin, length) != 0)
			continue;
		packets[i].act(g, g->packet + length);
		return;
	}
	gdb_send(g, ""); /* not known */
}

static void packet_ended(struct gdb *g)
{
	unsigned sum = 0;

	for (size_t i = 0; i < g->length; i++)
		sum += (uint8_t)g->packet[i];
	if (!g->no_ack) {
		bool right = !g->too_long && gdb_digit(g->sum[0]) >= 0 &&
			     gdb_digit(g->sum[1]) >= 0 &&
			     (sum & 0xff) ==
				     (unsigned)(gdb_digit(g->sum[0]) << 4 | gdb_digit(g->sum[1]));

		gdb_send_bytes(g, right ? "+" : "-", 1);
		if (!right)
			return;
	}
	g->packet[g->length] = '\0';
	obey(g);
}

static void take_byte(struct gdb *g, char c)
{
	switch (g->phase) {
	case BETWEEN:
		if (c == '$') {
			g->phase = IN_DATA;
			g->length = g->sum_length = 0;
			g->too_long = false;
		} else if (c == INTERRUPT) {
			gdb_halt(g);
		} else if (c == '-' && g->last) {
			gdb_send_bytes(g, g->last, g->last_length);
		}
		break;
	case IN_DATA:
		if (c == '#')
			g->phase = IN_SUM;
		else if (g->length < PACKET_MAX)
			g->packet[g->length++] = c;
		else
			g->too_long = true;
		break;
	case IN_SUM:
		g->sum[g->sum_length++] = c;
		if (g->sum_length == 2) {
			g->phase = BETWEEN;
			packet_ended(g);
		}
		break;
	}
}

/* As long as the answers are taken. */
static void work(struct gdb *g)
{
	size_t n = 0;

	while (n < g->input_length && !g->output_length)
		take_byte(g, (char)g->input[n++]);
	memmove(g->input, g->input + n, g->input_length - n);
	g->input_length -= n;
}

static size_t can_receive(void *opaque)
{
	struct gdb *g = opaque;

	return INPUT_MAX - g->input_length;
}

static void receive(void *opaque, const uint8_t *data, size_t length)
{
	struct gdb *g = opaque;

	memcpy(g->input + g->input_length, data, length);
	g->input_length += length;
	work(g);
}

static void peer_came(struct gdb *g)
{
	g->connected = true;
	outside_stay_at_end(true);
	g->resumed = g->no_ack = g->knows_swbreak = g->knows_hwbreak = false;
	g->cpu = g->resumes = 0;
	g->phase = BETWEEN;
	g->input_length = g->output_length = g->sent = 0;
	free(g->last);
	g->last = NULL;
	gdb_halt(g);
}

/* Without D: its breakpoints go, and the machine runs on if it ran. */
static void peer_went(struct gdb *g)
{
	bool was_running = g->machine->state == RUN_STATE_RUNNING;

	g->connected = g->resumed = false;
	outside_stay_at_end(false);
	g->input_length = g->output_length = g->sent = 0;
	if (!g->debug.count && !g->debug.step && !g->debug.frozen)
		return;
	gdb_halt(g);
	gdb_forget_points(g);
	if (was_running)
		machine_start(g->machine);
}

static void event(void *opaque, enum chardev_event event)
{
	struct gdb *g = opaque;

	if (event == CHARDEV_OPENED) {
		peer_came(g);
	} else if (event == CHARDEV_CLOSED) {
		peer_went(g);
	} else if (event == CHARDEV_WRITABLE) {
		gdb_flush(g);
		work(g);
		chardev_accept_input(g->chr);
	}
}

int gdb_create(struct machine *machine, struct chardev *chr,
	char *(*command)(struct machine *machine, const char *line), struct error *err)
{
	struct gdb *g = calloc(1, sizeof(*g));
	int rc;

	if (!g)
		return error_set(err, ENOMEM, "out of memory");
	g->machine = machine;
	g->chr = chr;
	g->command = command;
	g->user = (struct chardev_user){can_receive, receive, event, g, true};
	rc = chardev_attach(chr, &g->user, err);
	if (rc < 0) {
		free(g);
		return rc;
	}
	g->observer = (struct machine_observer){.event = gdb_heard, .opaque = g};
	machine_observe(machine, &g->observer);
	rewind_prepare(machine);
	the_stub = g;
	return 0;
}

void gdb_destroy(void)
{
	struct gdb *g = the_stub;

	if (!g)
		return;
	if (g->connected && g->resumed) {
		snprintf(g->reply, sizeof(g->reply), "W%02x", g->machine->exit_status & 0xff);
		gdb_send(g, g->reply);
	}
	rewind_forget();
	list_remove(&g->observer.link);
	chardev_detach(g->chr, &g->user);
	free(g->output);
	free(g->last);
	free(g);
	the_stub = NULL;
}
