/* SPDX-License-Identifier: MIT */
/*
 * What gdb asks and chooses (gdb's manual, E.5; E.2 H and T): what the stub can do, the threads,
 * which are the vCPUs, the target's description, and lines for the monitor.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "debug/gdb-session.h"
#include "migration/rewind.h"

/* --- what the stub can do --- */

void gdb_supported(struct gdb *g, const char *args)
{
	g->knows_swbreak = strstr(args, "swbreak+");
	g->knows_hwbreak = strstr(args, "hwbreak+");
	snprintf(g->reply, sizeof(g->reply),
		"PacketSize=%x;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
		"QStartNoAckMode+%s",
		PACKET_MAX, rewind_is_there() ? ";ReverseStep+;ReverseContinue+" : "");
	gdb_send(g, g->reply);
}

void gdb_no_ack(struct gdb *g, const char *args)
{
	gdb_send(g, "OK");
	g->no_ack = true;
}

void gdb_is_attached(struct gdb *g, const char *args)
{
	gdb_send(g, "1");
}

void gdb_send_description(struct gdb *g, const char *args)
{
	uint64_t offset, count;
	char text[8192];
	size_t length;

	if (!gdb_take_span(&args, &offset, &count)) {
		gdb_error(g, EINVAL);
		return;
	}
	length = gdb_description(text, sizeof(text));
	if (length > sizeof(text) || offset > length) {
		gdb_error(g, EINVAL);
		return;
	}
	if (count > PACKET_MAX - 2)
		count = PACKET_MAX - 2;
	if (count > length - offset)
		count = length - offset;
	g->reply[0] = offset + count < length ? 'm' : 'l';
	memcpy(g->reply + 1, text + offset, count);
	g->reply[1 + count] = '\0';
	gdb_send(g, g->reply);
}

/* --- threads --- */

void gdb_choose_thread(struct gdb *g, const char *args)
{
	char what = *args;
	uint64_t thread;

	if (what)
		args++;
	if (!gdb_take_thread(&args, &thread) || thread > gdb_cpus(g)) {
		gdb_error(g, EINVAL);
		return;
	}
	if (what == 'g' && thread)
		g->cpu = thread - 1;
	else if (what == 'c')
		g->resumes = thread;
	gdb_send(g, "OK");
}

void gdb_thread_alive(struct gdb *g, const char *args)
{
	uint64_t thread;

	if (gdb_take_thread(&args, &thread) && thread && thread <= gdb_cpus(g))
		gdb_send(g, "OK");
	else
		gdb_error(g, EINVAL);
}

void gdb_list_threads(struct gdb *g, const char *args)
{
	size_t length = 0;

	for (unsigned n = 0; n < gdb_cpus(g); n++)
		length += snprintf(g->reply + length, sizeof(g->reply) - length, "%c%02x",
			n ? ',' : 'm', n + 1);
	gdb_send(g, g->reply);
}

void gdb_end_threads(struct gdb *g, const char *args)
{
	gdb_send(g, "l");
}

void gdb_current_thread(struct gdb *g, const char *args)
{
	snprintf(g->reply, sizeof(g->reply), "QC%02x", g->cpu + 1);
	gdb_send(g, *args ? "" : g->reply); /* qCRC is another */
}

void gdb_describe_thread(struct gdb *g, const char *args)
{
	static const char *const words[] = {[CPU_RUNNING] = "running",
		[CPU_HALTED] = "halted",
		[CPU_WAITS_FOR_SIPI] = "not started"};
	unsigned before = g->cpu;
	struct cpu_context context;
	uint64_t thread;
	char text[32];

	if (!gdb_take_thread(&args, &thread) || !thread || thread > gdb_cpus(g)) {
		gdb_error(g, EINVAL);
		return;
	}
	g->cpu = thread - 1;
	snprintf(text, sizeof(text), "CPU#%u [%s]", g->cpu,
		gdb_context(g, &context) < 0 ? "?" : words[context.activity]);
	g->cpu = before;
	gdb_to_hex(g->reply, (const uint8_t *)text, strlen(text));
	gdb_send(g, g->reply);
}

/* --- the monitor --- */

/* gdb's "monitor" command: what the line prints comes in packets of its own. */
void gdb_run_command(struct gdb *g, const char *args)
{
	char line[PACKET_MAX / 2 + 1], *text;

	line[gdb_from_hex((uint8_t *)line, args, sizeof(line) - 1)] = '\0';
	text = g->command ? g->command(g->machine, line) : NULL;
	for (const char *at = text ? text : ""; *at;) {
		size_t part = strnlen(at, (PACKET_MAX - 2) / 2);

		g->reply[0] = 'O';
		gdb_to_hex(g->reply + 1, (const uint8_t *)at, part);
		gdb_send(g, g->reply);
		at += part;
	}
	free(text);
	gdb_send(g, "OK");
}
