/* SPDX-License-Identifier: MIT */
/*
 * The gdb stub: gdb's remote serial protocol (gdb's manual, appendix E) on a character device; a
 * vCPU is a thread, and all of them stop together.
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

/* gdb's numbers of signals */
enum { SIGNAL_INT = 2, SIGNAL_QUIT = 3, SIGNAL_TRAP = 5, SIGNAL_ABRT = 6, SIGNAL_IO = 23 };

static struct gdb *the_stub;

static unsigned cpus(const struct gdb *g)
{
	return g->machine->engine->cpus;
}

static uint64_t all_cpus(const struct gdb *g)
{
	return (UINT64_C(2) << (cpus(g) - 1)) - 1;
}

/* --- stopping and going on --- */

static int signal_of(const struct machine *machine)
{
	switch (machine->state) {
	case RUN_STATE_PAUSED: return SIGNAL_INT;
	case RUN_STATE_SHUTDOWN: return SIGNAL_QUIT;
	case RUN_STATE_IO_ERROR: return SIGNAL_IO;
	case RUN_STATE_INTERNAL_ERROR:
	case RUN_STATE_GUEST_PANICKED: return SIGNAL_ABRT;
	default: return SIGNAL_TRAP;
	}
}

/* place: what gdb is told of it besides, or empty. */
static void reply_stop_at(struct gdb *g, const char *place)
{
	const struct cpu_debug_stop *stop = &g->machine->engine->debug_stop;
	bool ours = g->machine->state == RUN_STATE_DEBUG;
	char why[48] = "", type = '0';

	if (ours && stop->cpu < cpus(g))
		g->cpu = stop->cpu;
	for (unsigned n = 0; n < g->debug.count; n++)
		if (g->debug.points[n].address == stop->address &&
			(g->debug.points[n].kind == CPU_DEBUG_EXECUTE) ==
				(stop->reason == CPU_DEBUG_BREAK))
			type = g->types[n];
	if (ours && stop->reason == CPU_DEBUG_WATCH)
		snprintf(why, sizeof(why), "%swatch:%llx;",
			type == '3'   ? "r"
			: type == '4' ? "a"
				      : "",
			(unsigned long long)stop->address);
	else if (ours && stop->reason == CPU_DEBUG_BREAK && type == '0' && g->knows_swbreak)
		snprintf(why, sizeof(why), "swbreak:;");
	else if (ours && stop->reason == CPU_DEBUG_BREAK && type == '1' && g->knows_hwbreak)
		snprintf(why, sizeof(why), "hwbreak:;");
	snprintf(g->reply, sizeof(g->reply), "T%02xthread:%02x;%s%s", signal_of(g->machine),
		g->cpu + 1, why, place);
	gdb_send(g, g->reply);
}

static void reply_stop(struct gdb *g)
{
	reply_stop_at(g, outside_info().at_end ? "replaylog:end;" : "");
}

static void halt(struct gdb *g)
{
	if (g->machine->state == RUN_STATE_RUNNING)
		machine_stop(g->machine, RUN_STATE_PAUSED);
}

static int ask_engine(struct gdb *g)
{
	struct cpu_engine *engine = g->machine->engine;

	return engine->ops->set_debug(engine, &g->debug);
}

static void heard(void *opaque, const char *name, enum shutdown_cause cause)
{
	struct gdb *g = opaque;

	if (strcmp(name, "STOP") != 0 || !g->resumed)
		return;
	g->resumed = false;
	/* Whoever continues now is not gdb: all run. */
	g->debug.step = g->debug.frozen = 0;
	ask_engine(g);
	reply_stop(g);
}

static bool may_start(const struct machine *machine)
{
	return machine->state == RUN_STATE_PRELAUNCH || machine->state == RUN_STATE_PAUSED ||
	       machine->state == RUN_STATE_DEBUG || machine->state == RUN_STATE_IO_ERROR ||
	       machine->state == RUN_STATE_POSTMIGRATE;
}

static void resume(struct gdb *g, uint64_t step, uint64_t run)
{
	int rc;

	if (!may_start(g->machine)) {
		reply_stop(g);
		return;
	}
	g->debug.step = step;
	g->debug.frozen = all_cpus(g) & ~(step | run);
	rc = ask_engine(g);
	if (rc < 0) {
		g->debug.step = g->debug.frozen = 0;
		gdb_error(g, -rc);
		return;
	}
	g->machine->engine->debug_stop = (struct cpu_debug_stop){.reason = CPU_DEBUG_NONE};
	g->resumed = true;
	machine_start(g->machine);
}

/* --- breakpoints --- */

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

static void insert_point(struct gdb *g, const char *args)
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
		rc = ask_engine(g);
		if (rc < 0)
			g->debug.count--;
	}
	if (rc < 0)
		gdb_error(g, -rc);
	else
		gdb_send(g, "OK");
}

static void remove_point(struct gdb *g, const char *args)
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
		ask_engine(g);
	}
	gdb_send(g, "OK");
}

static void forget_points(struct gdb *g)
{
	g->debug.count = 0;
	g->debug.step = g->debug.frozen = 0;
	ask_engine(g);
}

/* --- threads and execution --- */

static void choose_thread(struct gdb *g, const char *args)
{
	char what = *args;
	uint64_t thread;

	if (what)
		args++;
	if (!gdb_take_thread(&args, &thread) || thread > cpus(g)) {
		gdb_error(g, EINVAL);
		return;
	}
	if (what == 'g' && thread)
		g->cpu = thread - 1;
	else if (what == 'c')
		g->resumes = thread;
	gdb_send(g, "OK");
}

static void thread_alive(struct gdb *g, const char *args)
{
	uint64_t thread;

	if (gdb_take_thread(&args, &thread) && thread && thread <= cpus(g))
		gdb_send(g, "OK");
	else
		gdb_error(g, EINVAL);
}

/* An address to go on at: 0, or -EINVAL. */
static int go_on_at(struct gdb *g, const char *args)
{
	struct cpu_engine *engine = g->machine->engine;
	struct cpu_state state;
	uint64_t address;

	if (!*args)
		return 0;
	if (outside_mode() != OUTSIDE_LIVE || !gdb_take_number(&args, &address) ||
		engine->ops->get_state(engine, g->cpu, &state) < 0 ||
		(int64_t)(address << 16) >> 16 != (int64_t)address)
		return -EINVAL;
	state.rip = address;
	return engine->ops->set_state(engine, g->cpu, &state);
}

static void go_on(struct gdb *g, const char *args)
{
	if (go_on_at(g, args) < 0)
		gdb_error(g, EINVAL);
	else
		resume(g, 0, all_cpus(g));
}

static void step(struct gdb *g, const char *args)
{
	unsigned cpu = g->resumes ? g->resumes - 1 : g->cpu;

	if (go_on_at(g, args) < 0)
		gdb_error(g, EINVAL);
	else
		resume(g, UINT64_C(1) << cpu, g->resumes ? 0 : all_cpus(g));
}

/* vCont;ACTION[:THREAD]...: for each thread the first that names it; none: it stays stopped. */
static void v_cont(struct gdb *g, const char *args)
{
	uint64_t steps = 0, runs = 0, left = all_cpus(g);

	while (gdb_take_char(&args, ';')) {
		uint64_t thread = 0, unused, named;
		char action = *args;

		if (!action || !strchr("cCsS", action)) {
			gdb_error(g, EINVAL);
			return;
		}
		args++;
		if ((action == 'C' || action == 'S') && !gdb_take_number(&args, &unused)) {
			gdb_error(g, EINVAL);
			return;
		}
		if (gdb_take_char(&args, ':') &&
			(!gdb_take_thread(&args, &thread) || thread > cpus(g))) {
			gdb_error(g, EINVAL);
			return;
		}
		named = left & (thread ? UINT64_C(1) << (thread - 1) : left);
		left &= ~named;
		*((action | 0x20) == 's' ? &steps : &runs) |= named;
	}
	if (*args || left == all_cpus(g))
		gdb_error(g, EINVAL);
	else
		resume(g, steps, runs);
}

/* --- back in a replayed run --- */

static void went_back(struct gdb *g, int rc)
{
	if (rc < 0 && rc != -ENOENT) {
		gdb_error(g, -rc);
		return;
	}
	if (may_start(g->machine))
		g->machine->state = RUN_STATE_DEBUG;
	reply_stop_at(g, rc == -ENOENT ? "replaylog:begin;" : "");
}

static bool can_go_back(struct gdb *g)
{
	if (rewind_is_there() && may_start(g->machine))
		return true;
	gdb_send(g, "");
	return false;
}

/* To before the thread's last instruction. */
static void step_back(struct gdb *g, const char *args)
{
	struct cpu_engine *engine = g->machine->engine;
	struct cpu_goal goal = {g->resumes ? (int)g->resumes - 1 : (int)g->cpu, 0};
	struct engine_counters counters;
	int rc = -ENOENT;

	if (!can_go_back(g))
		return;
	engine->ops->counters(engine, goal.cpu, &counters);
	goal.instructions = counters.instructions - 1;
	if (counters.instructions)
		rc = rewind_to(&goal);
	engine->debug_stop = (struct cpu_debug_stop){CPU_DEBUG_STEP, (unsigned)goal.cpu, 0};
	went_back(g, rc);
}

static void continue_back(struct gdb *g, const char *args)
{
	if (can_go_back(g))
		went_back(g, rewind_to_stop());
}

static void detach(struct gdb *g, const char *args)
{
	forget_points(g);
	gdb_send(g, "OK");
	if (may_start(g->machine))
		machine_start(g->machine);
}

static void end_machine(struct gdb *g, const char *args)
{
	forget_points(g);
	machine_request_shutdown(g->machine, CAUSE_HOST_UI);
}

static void say_stop(struct gdb *g, const char *args)
{
	reply_stop(g);
}

/* --- queries --- */

static void supported(struct gdb *g, const char *args)
{
	g->knows_swbreak = strstr(args, "swbreak+");
	g->knows_hwbreak = strstr(args, "hwbreak+");
	snprintf(g->reply, sizeof(g->reply),
		"PacketSize=%x;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
		"QStartNoAckMode+%s",
		PACKET_MAX, rewind_is_there() ? ";ReverseStep+;ReverseContinue+" : "");
	gdb_send(g, g->reply);
}

static void list_threads(struct gdb *g, const char *args)
{
	size_t length = 0;

	for (unsigned n = 0; n < cpus(g); n++)
		length += snprintf(g->reply + length, sizeof(g->reply) - length, "%c%02x",
			n ? ',' : 'm', n + 1);
	gdb_send(g, g->reply);
}

static void end_threads(struct gdb *g, const char *args)
{
	gdb_send(g, "l");
}

static void current_thread(struct gdb *g, const char *args)
{
	snprintf(g->reply, sizeof(g->reply), "QC%02x", g->cpu + 1);
	gdb_send(g, *args ? "" : g->reply); /* qCRC is another */
}

static void describe_thread(struct gdb *g, const char *args)
{
	static const char *const words[] = {[CPU_RUNNING] = "running",
		[CPU_HALTED] = "halted",
		[CPU_WAITS_FOR_SIPI] = "not started"};
	unsigned before = g->cpu;
	struct cpu_context context;
	uint64_t thread;
	char text[32];

	if (!gdb_take_thread(&args, &thread) || !thread || thread > cpus(g)) {
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

static void send_description(struct gdb *g, const char *args)
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

static void no_ack(struct gdb *g, const char *args)
{
	gdb_send(g, "OK");
	g->no_ack = true;
}

/* gdb's "monitor" command: what the line prints comes in packets of its own. */
static void run_command(struct gdb *g, const char *args)
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

static void is_attached(struct gdb *g, const char *args)
{
	gdb_send(g, "1");
}

static void v_cont_actions(struct gdb *g, const char *args)
{
	gdb_send(g, "vCont;c;C;s;S");
}

/* --- packets --- */

/* By how they begin; a longer one before one that is its beginning. */
static const struct {
	const char *begin;
	void (*act)(struct gdb *g, const char *args);
} packets[] = {
	{"?", say_stop},
	{"bc", continue_back},
	{"bs", step_back},
	{"c", go_on},
	{"D", detach},
	{"g", gdb_read_registers},
	{"G", gdb_write_registers},
	{"H", choose_thread},
	{"k", end_machine},
	{"m", gdb_read_memory},
	{"M", gdb_write_memory},
	{"p", gdb_read_register},
	{"P", gdb_write_register},
	{"qAttached", is_attached},
	{"qC", current_thread},
	{"qfThreadInfo", list_threads},
	{"qRcmd,", run_command},
	{"qsThreadInfo", end_threads},
	{"qSupported", supported},
	{"qThreadExtraInfo,", describe_thread},
	{"qXfer:features:read:target.xml:", send_description},
	{"QStartNoAckMode", no_ack},
	{"s", step},
	{"T", thread_alive},
	{"vCont?", v_cont_actions},
	{"vCont", v_cont},
	{"X", gdb_write_binary},
	{"z", remove_point},
	{"Z", insert_point},
};

/* A run that is recorded or replayed stays the one it is. */
static bool is_refused(const struct gdb *g)
{
	return outside_mode() != OUTSIDE_LIVE && strchr("GMPX", g->packet[0]) && g->packet[0];
}

static void obey(struct gdb *g)
{
	/* Registers can be had of what stands still only. */
	halt(g);
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
			halt(g);
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
	halt(g);
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
	halt(g);
	forget_points(g);
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
	g->observer = (struct machine_observer){.event = heard, .opaque = g};
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
