/* SPDX-License-Identifier: MIT */
/* The gdb stub's breakpoints and watchpoints (gdb's manual, E.2 z and Z): kept by the engine. */
#include <errno.h>

#include "debug/gdb-session.h"

static bool take_point(const char *args, char *type, struct cpu_debug_point *point)
{
	static const enum cpu_debug_kind kinds[] = {CPU_DEBUG_EXECUTE, CPU_DEBUG_EXECUTE,
		CPU_DEBUG_WRITE, CPU_DEBUG_ACCESS, CPU_DEBUG_ACCESS};
	uint64_t length;

	*type = *args;
	if (*type < '0' || *type > '4')
		return false;
	args++;
	if (!gdb_take_char(&args, ',') || !gdb_take_span(&args, &point->address, &length) ||
		!length || length > UINT32_MAX)
		return false;
	point->kind = kinds[*type - '0'];
	point->length = length;
	return true;
}

static unsigned find_point(const struct gdb *g, char type, const struct cpu_debug_point *point)
{
	unsigned n = 0;

	while (n < g->debug.count &&
		(g->types[n] != type || g->debug.points[n].address != point->address ||
			g->debug.points[n].length != point->length))
		n++;
	return n;
}

void gdb_insert_point(struct gdb *g, const char *args)
{
	struct cpu_debug_point point;
	int rc = 0;
	char type;

	if (!take_point(args, &type, &point)) {
		/* A type that is not known is answered with nothing. */
		if (*args > '4')
			gdb_send(g, "");
		else
			gdb_error(g, EINVAL);
		return;
	}
	if (find_point(g, type, &point) == g->debug.count) {
		if (g->debug.count == CPU_DEBUG_POINTS) {
			gdb_error(g, ENOSPC);
			return;
		}
		g->debug.points[g->debug.count] = point;
		g->types[g->debug.count++] = type;
		rc = gdb_ask_engine(g);
		if (rc < 0)
			g->debug.count--;
	}
	if (rc < 0)
		gdb_error(g, -rc);
	else
		gdb_send(g, "OK");
}

void gdb_remove_point(struct gdb *g, const char *args)
{
	struct cpu_debug_point point;
	unsigned n;
	char type;

	if (!take_point(args, &type, &point)) {
		gdb_error(g, EINVAL);
		return;
	}
	n = find_point(g, type, &point);
	if (n < g->debug.count) {
		g->debug.count--;
		g->debug.points[n] = g->debug.points[g->debug.count];
		g->types[n] = g->types[g->debug.count];
		gdb_ask_engine(g);
	}
	gdb_send(g, "OK");
}

void gdb_forget_points(struct gdb *g)
{
	g->debug.count = 0;
	g->debug.step = g->debug.frozen = 0;
	gdb_ask_engine(g);
}
