/* SPDX-License-Identifier: MIT */
/*
 * The gdb stub: gdb's remote serial protocol (gdb's manual, appendix E) on a character device; a
 * vCPU is a thread, and all of them stop together.
 *
 * Left out: non-stop mode, several processes, reverse execution, physical memory.
 */
#include "debug/gdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/engine.h"
#include "cpu/report.h"
#include "debug/gdb-registers.h"

#define PACKET_MAX 4096
#define INPUT_MAX  4096
#define OUTPUT_MAX (1u << 20) /* a peer that does not read loses what is more */
#define INTERRUPT  0x03
#define PAGE	   4096u

/* gdb's numbers of signals */
enum { SIGNAL_INT = 2, SIGNAL_QUIT = 3, SIGNAL_TRAP = 5, SIGNAL_ABRT = 6, SIGNAL_IO = 23 };

enum phase { BETWEEN, IN_DATA, IN_SUM };

struct gdb {
	struct machine *machine;
	struct chardev *chr;
	struct chardev_user user;
	struct machine_observer observer;
	char *(*command)(struct machine *machine, const char *line);

	bool connected;
	bool resumed; /* gdb waits for the machine to stop */
	bool no_ack, knows_swbreak, knows_hwbreak;
	unsigned cpu;	  /* of register and memory packets */
	unsigned resumes; /* the thread of s and c; 0: any */
	struct cpu_debug debug;
	char types[CPU_DEBUG_POINTS]; /* of debug.points: gdb's digit */

	uint8_t input[INPUT_MAX];
	size_t input_length;
	enum phase phase;
	char packet[PACKET_MAX + 1];
	size_t length;
	bool too_long;
	char sum[3];
	unsigned sum_length;

	char reply[PACKET_MAX + 1];
	char *output; /* what the peer did not take yet, from `sent` on */
	size_t output_length, output_size, sent;
	char *last; /* the last packet, for a peer that did not get it */
	size_t last_length;
};

static struct gdb *the_stub;

/* --- sending --- */

static void flush(struct gdb *g)
{
	if (g->sent < g->output_length)
		g->sent += chardev_write(g->chr, (const uint8_t *)g->output + g->sent,
			g->output_length - g->sent);
	if (g->sent == g->output_length)
		g->sent = g->output_length = 0;
}

static void send_bytes(struct gdb *g, const char *data, size_t length)
{
	if (g->output_length + length > g->output_size) {
		size_t size = g->output_length + length + PACKET_MAX;
		char *grown = size > OUTPUT_MAX ? NULL : realloc(g->output, size);

		if (!grown)
			return;
		g->output = grown;
		g->output_size = size;
	}
	memcpy(g->output + g->output_length, data, length);
	g->output_length += length;
	flush(g);
}

static void send_packet(struct gdb *g, const char *text)
{
	size_t length = strlen(text);
	char *packet = realloc(g->last, length + 5);
	unsigned sum = 0;

	if (!packet)
		return;
	for (size_t i = 0; i < length; i++)
		sum += (uint8_t)text[i];
	g->last = packet;
	g->last_length = length + 4;
	snprintf(packet, length + 5, "$%s#%02x", text, sum & 0xff);
	send_bytes(g, packet, g->last_length);
}

static void reply_error(struct gdb *g, int number)
{
	char text[8];

	snprintf(text, sizeof(text), "E%02x", number & 0xff);
	send_packet(g, text);
}

static void to_hex(char *to, const uint8_t *bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < count; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As many bytes as there are pairs of digits, `max` at most. */
static size_t from_hex(uint8_t *to, const char *text, size_t max)
{
	size_t n = 0;

	for (; n < max && digit(text[0]) >= 0 && digit(text[1]) >= 0; text += 2)
		to[n++] = digit(text[0]) << 4 | digit(text[1]);
	return n;
}

/* A hexadecimal number; moves *text behind it. */
static bool take_number(const char **text, uint64_t *value)
{
	const char *begin = *text;

	for (*value = 0; digit(**text) >= 0; ++*text)
		*value = *value << 4 | digit(**text);
	return *text > begin;
}

static bool take_char(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}

/* "-1", "0" (both: any, 0), "N" or "pP.N". */
static bool take_thread(const char **text, uint64_t *thread)
{
	if (take_char(text, 'p')) {
		if (!take_char(text, '-') && !take_number(text, thread))
			return false;
		if (!take_char(text, '.')) {
			*thread = 0;
			return true;
		}
	}
	if (take_char(text, '-')) {
		bool ok = take_number(text, thread);

		*thread = 0;
		return ok;
	}
	return take_number(text, thread);
}

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
	case RUN_STATE_PAUSED:
		return SIGNAL_INT;
	case RUN_STATE_SHUTDOWN:
		return SIGNAL_QUIT;
	case RUN_STATE_IO_ERROR:
		return SIGNAL_IO;
	case RUN_STATE_INTERNAL_ERROR:
	case RUN_STATE_GUEST_PANICKED:
		return SIGNAL_ABRT;
	default:
		return SIGNAL_TRAP;
	}
}

static void reply_stop(struct gdb *g)
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
	snprintf(g->reply, sizeof(g->reply), "T%02xthread:%02x;%s", signal_of(g->machine),
		g->cpu + 1, why);
	send_packet(g, g->reply);
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
		reply_error(g, -rc);
		return;
	}
	g->machine->engine->debug_stop = (struct cpu_debug_stop){.reason = CPU_DEBUG_NONE};
	g->resumed = true;
	machine_start(g->machine);
}

/* --- registers and memory --- */

static int get_context(struct gdb *g, struct cpu_context *context)
{
	struct cpu_engine *engine = g->machine->engine;
	struct error err = {.text = ""};

	*context = (struct cpu_context){.activity = CPU_RUNNING};
	return engine->ops->get_context(engine, g->cpu, context, &err);
}

static int put_context(
	struct gdb *g, const struct cpu_context *before, const struct cpu_context *context)
{
	struct cpu_engine *engine = g->machine->engine;
	struct error err = {.text = ""};

	if (memcmp(before->fxsave, context->fxsave, sizeof(context->fxsave)) != 0)
		return engine->ops->set_context(engine, g->cpu, context, &err);
	return engine->ops->set_state(engine, g->cpu, &context->regs);
}

/* Page by page.  How many bytes there were. */
static size_t access_memory(
	struct gdb *g, uint64_t address, uint8_t *bytes, size_t count, bool write)
{
	struct guest_memory *mem = &g->machine->memory;
	struct cpu_engine *engine = g->machine->engine;
	struct cpu_state state;
	size_t done = 0;

	if (engine->ops->get_state(engine, g->cpu, &state) < 0)
		return 0;
	while (done < count) {
		uint64_t physical, at = address + done;
		size_t part = PAGE - at % PAGE;

		if (part > count - done)
			part = count - done;
		if (cpu_translate(mem, &state, at, &physical) ||
			(write ? guest_write(mem, physical, bytes + done, part)
			       : guest_read(mem, physical, bytes + done, part)))
			break;
		done += part;
	}
	return done;
}

static void read_registers(struct gdb *g, const char *args)
{
	uint8_t bytes[GDB_REGISTER_MAX];
	struct cpu_context context;
	char *to = g->reply;
	int rc = get_context(g, &context);

	if (rc < 0) {
		reply_error(g, -rc);
		return;
	}
	for (unsigned n = 0; n < gdb_register_count; n++) {
		unsigned size = gdb_register_get(&context, n, bytes);

		to_hex(to, bytes, size);
		to += size * 2;
	}
	send_packet(g, g->reply);
}

/* What cannot be set keeps its value: gdb sends all to change one. */
static void write_registers(struct gdb *g, const char *args)
{
	struct cpu_context before, context;
	int rc = get_context(g, &before);

	context = before;
	for (unsigned n = 0; rc == 0 && n < gdb_register_count; n++) {
		uint8_t bytes[GDB_REGISTER_MAX];
		unsigned size = gdb_register_size(n);

		if (from_hex(bytes, args, size) < size)
			break;
		gdb_register_set(&context, n, bytes);
		args += size * 2;
	}
	if (rc == 0)
		rc = put_context(g, &before, &context);
	if (rc < 0)
		reply_error(g, -rc);
	else
		send_packet(g, "OK");
}

static void read_register(struct gdb *g, const char *args)
{
	uint8_t bytes[GDB_REGISTER_MAX];
	struct cpu_context context;
	uint64_t n;

	if (!take_number(&args, &n) || n >= gdb_register_count || get_context(g, &context) < 0) {
		reply_error(g, EINVAL);
		return;
	}
	to_hex(g->reply, bytes, gdb_register_get(&context, n, bytes));
	send_packet(g, g->reply);
}

static void write_register(struct gdb *g, const char *args)
{
	uint8_t bytes[GDB_REGISTER_MAX];
	struct cpu_context before, context;
	uint64_t n;

	if (!take_number(&args, &n) || n >= gdb_register_count || !take_char(&args, '=') ||
		from_hex(bytes, args, gdb_register_size(n)) < gdb_register_size(n) ||
		get_context(g, &before) < 0) {
		reply_error(g, EINVAL);
		return;
	}
	context = before;
	if (gdb_register_set(&context, n, bytes) < 0 || put_context(g, &before, &context) < 0)
		reply_error(g, EINVAL);
	else
		send_packet(g, "OK");
}

static bool take_span(const char **args, uint64_t *address, uint64_t *count)
{
	return take_number(args, address) && take_char(args, ',') && take_number(args, count);
}

static void read_memory(struct gdb *g, const char *args)
{
	uint8_t bytes[PACKET_MAX / 2];
	uint64_t address, count;
	size_t done;

	if (!take_span(&args, &address, &count)) {
		reply_error(g, EINVAL);
		return;
	}
	if (count > sizeof(bytes))
		count = sizeof(bytes);
	done = access_memory(g, address, bytes, count, false);
	if (!done && count) {
		reply_error(g, EFAULT);
		return;
	}
	to_hex(g->reply, bytes, done);
	send_packet(g, g->reply);
}

static void write_bytes(struct gdb *g, uint64_t address, uint8_t *bytes, size_t count, bool all)
{
	if (!all)
		reply_error(g, EINVAL);
	else if (access_memory(g, address, bytes, count, true) < count)
		reply_error(g, EFAULT);
	else
		send_packet(g, "OK");
}

static void write_memory(struct gdb *g, const char *args)
{
	uint8_t bytes[PACKET_MAX / 2];
	uint64_t address, count;

	if (!take_span(&args, &address, &count) || !take_char(&args, ':') || count > sizeof(bytes))
		reply_error(g, EINVAL);
	else
		write_bytes(g, address, bytes, count, from_hex(bytes, args, count) == count);
}

/* Bytes as they are, but for four that stand behind '}'. */
static void write_binary(struct gdb *g, const char *args)
{
	const char *end = g->packet + g->length;
	uint8_t bytes[PACKET_MAX];
	uint64_t address, count;
	size_t n = 0;

	if (!take_span(&args, &address, &count) || !take_char(&args, ':')) {
		reply_error(g, EINVAL);
		return;
	}
	while (args < end) {
		bool escaped = *args == '}' && args + 1 < end;

		args += escaped;
		bytes[n++] = (uint8_t)*args++ ^ (escaped ? 0x20 : 0);
	}
	write_bytes(g, address, bytes, n, n == count);
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
	if (!take_char(&args, ',') || !take_span(&args, &point->address, &length) || !length ||
		length > UINT32_MAX)
		return false;
	point->kind = kinds[*type - '0'];
	point->length = length;
	return true;
}

static unsigned find_point(const struct gdb *g, char type, const struct cpu_debug_point *point)
{
	unsigned n = 0;

	while (n < g->debug.count && (g->types[n] != type ||
					     g->debug.points[n].address != point->address ||
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
			send_packet(g, "");
		else
			reply_error(g, EINVAL);
		return;
	}
	if (find_point(g, type, &point) == g->debug.count) {
		if (g->debug.count == CPU_DEBUG_POINTS) {
			reply_error(g, ENOSPC);
			return;
		}
		g->debug.points[g->debug.count] = point;
		g->types[g->debug.count++] = type;
		rc = ask_engine(g);
		if (rc < 0)
			g->debug.count--;
	}
	if (rc < 0)
		reply_error(g, -rc);
	else
		send_packet(g, "OK");
}

static void remove_point(struct gdb *g, const char *args)
{
	struct cpu_debug_point point;
	unsigned n;
	char type;

	if (!take_point(args, &type, &point)) {
		reply_error(g, EINVAL);
		return;
	}
	n = find_point(g, type, &point);
	if (n < g->debug.count) {
		g->debug.count--;
		g->debug.points[n] = g->debug.points[g->debug.count];
		g->types[n] = g->types[g->debug.count];
		ask_engine(g);
	}
	send_packet(g, "OK");
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
	if (!take_thread(&args, &thread) || thread > cpus(g)) {
		reply_error(g, EINVAL);
		return;
	}
	if (what == 'g' && thread)
		g->cpu = thread - 1;
	else if (what == 'c')
		g->resumes = thread;
	send_packet(g, "OK");
}

static void thread_alive(struct gdb *g, const char *args)
{
	uint64_t thread;

	if (take_thread(&args, &thread) && thread && thread <= cpus(g))
		send_packet(g, "OK");
	else
		reply_error(g, EINVAL);
}

/* An address to go on at: 0, or -EINVAL. */
static int go_on_at(struct gdb *g, const char *args)
{
	struct cpu_engine *engine = g->machine->engine;
	struct cpu_state state;
	uint64_t address;

	if (!*args)
		return 0;
	if (!take_number(&args, &address) || engine->ops->get_state(engine, g->cpu, &state) < 0 ||
		(int64_t)(address << 16) >> 16 != (int64_t)address)
		return -EINVAL;
	state.rip = address;
	return engine->ops->set_state(engine, g->cpu, &state);
}

static void go_on(struct gdb *g, const char *args)
{
	if (go_on_at(g, args) < 0)
		reply_error(g, EINVAL);
	else
		resume(g, 0, all_cpus(g));
}

static void step(struct gdb *g, const char *args)
{
	unsigned cpu = g->resumes ? g->resumes - 1 : g->cpu;

	if (go_on_at(g, args) < 0)
		reply_error(g, EINVAL);
	else
		resume(g, UINT64_C(1) << cpu, g->resumes ? 0 : all_cpus(g));
}

/* vCont;ACTION[:THREAD]...: for each thread the first that names it; none: it stays stopped. */
static void v_cont(struct gdb *g, const char *args)
{
	uint64_t steps = 0, runs = 0, left = all_cpus(g);

	while (take_char(&args, ';')) {
		uint64_t thread = 0, unused, named;
		char action = *args;

		if (!action || !strchr("cCsS", action)) {
			reply_error(g, EINVAL);
			return;
		}
		args++;
		if ((action == 'C' || action == 'S') && !take_number(&args, &unused)) {
			reply_error(g, EINVAL);
			return;
		}
		if (take_char(&args, ':') && (!take_thread(&args, &thread) || thread > cpus(g))) {
			reply_error(g, EINVAL);
			return;
		}
		named = left & (thread ? UINT64_C(1) << (thread - 1) : left);
		left &= ~named;
		*((action | 0x20) == 's' ? &steps : &runs) |= named;
	}
	if (*args || left == all_cpus(g))
		reply_error(g, EINVAL);
	else
		resume(g, steps, runs);
}

static void detach(struct gdb *g, const char *args)
{
	forget_points(g);
	send_packet(g, "OK");
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
		"QStartNoAckMode+",
		PACKET_MAX);
	send_packet(g, g->reply);
}

static void list_threads(struct gdb *g, const char *args)
{
	size_t length = 0;

	for (unsigned n = 0; n < cpus(g); n++)
		length += snprintf(g->reply + length, sizeof(g->reply) - length, "%c%02x",
			n ? ',' : 'm', n + 1);
	send_packet(g, g->reply);
}

static void end_threads(struct gdb *g, const char *args)
{
	send_packet(g, "l");
}

static void current_thread(struct gdb *g, const char *args)
{
	snprintf(g->reply, sizeof(g->reply), "QC%02x", g->cpu + 1);
	send_packet(g, *args ? "" : g->reply); /* qCRC is another */
}

static void describe_thread(struct gdb *g, const char *args)
{
	static const char *const words[] = {
		[CPU_RUNNING] = "running", [CPU_HALTED] = "halted", [CPU_WAITS_FOR_SIPI] = "not started"};
	unsigned before = g->cpu;
	struct cpu_context context;
	uint64_t thread;
	char text[32];

	if (!take_thread(&args, &thread) || !thread || thread > cpus(g)) {
		reply_error(g, EINVAL);
		return;
	}
	g->cpu = thread - 1;
	snprintf(text, sizeof(text), "CPU#%u [%s]", g->cpu,
		get_context(g, &context) < 0 ? "?" : words[context.activity]);
	g->cpu = before;
	to_hex(g->reply, (const uint8_t *)text, strlen(text));
	send_packet(g, g->reply);
}

static void send_description(struct gdb *g, const char *args)
{
	uint64_t offset, count;
	char text[8192];
	size_t length;

	if (!take_span(&args, &offset, &count)) {
		reply_error(g, EINVAL);
		return;
	}
	length = gdb_description(text, sizeof(text));
	if (length > sizeof(text) || offset > length) {
		reply_error(g, EINVAL);
		return;
	}
	if (count > PACKET_MAX - 2)
		count = PACKET_MAX - 2;
	if (count > length - offset)
		count = length - offset;
	g->reply[0] = offset + count < length ? 'm' : 'l';
	memcpy(g->reply + 1, text + offset, count);
	g->reply[1 + count] = '\0';
	send_packet(g, g->reply);
}

static void no_ack(struct gdb *g, const char *args)
{
	send_packet(g, "OK");
	g->no_ack = true;
}

/* gdb's "monitor" command: what the line prints comes in packets of its own. */
static void run_command(struct gdb *g, const char *args)
{
	char line[PACKET_MAX / 2 + 1], *text;

	line[from_hex((uint8_t *)line, args, sizeof(line) - 1)] = '\0';
	text = g->command ? g->command(g->machine, line) : NULL;
	for (const char *at = text ? text : ""; *at;) {
		size_t part = strnlen(at, (PACKET_MAX - 2) / 2);

		g->reply[0] = 'O';
		to_hex(g->reply + 1, (const uint8_t *)at, part);
		send_packet(g, g->reply);
		at += part;
	}
	free(text);
	send_packet(g, "OK");
}

static void is_attached(struct gdb *g, const char *args)
{
	send_packet(g, "1");
}

static void v_cont_actions(struct gdb *g, const char *args)
{
	send_packet(g, "vCont;c;C;s;S");
}

/* --- packets --- */

/* By how they begin; a longer one before one that is its beginning. */
static const struct {
	const char *begin;
	void (*act)(struct gdb *g, const char *args);
} packets[] = {
	{"?", say_stop},
	{"c", go_on},
	{"D", detach},
	{"g", read_registers},
	{"G", write_registers},
	{"H", choose_thread},
	{"k", end_machine},
	{"m", read_memory},
	{"M", write_memory},
	{"p", read_register},
	{"P", write_register},
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
	{"X", write_binary},
	{"z", remove_point},
	{"Z", insert_point},
};

static void obey(struct gdb *g)
{
	/* Registers can be had of what stands still only. */
	halt(g);
	for (size_t i = 0; !g->too_long && i < sizeof(packets) / sizeof(packets[0]); i++) {
		size_t length = strlen(packets[i].begin);

		if (strncmp(g->packet, packets[i].begin, length) != 0)
			continue;
		packets[i].act(g, g->packet + length);
		return;
	}
	send_packet(g, ""); /* not known */
}

static void packet_ended(struct gdb *g)
{
	unsigned sum = 0;

	for (size_t i = 0; i < g->length; i++)
		sum += (uint8_t)g->packet[i];
	if (!g->no_ack) {
		bool right = !g->too_long && digit(g->sum[0]) >= 0 && digit(g->sum[1]) >= 0 &&
			     (sum & 0xff) ==
				     (unsigned)(digit(g->sum[0]) << 4 | digit(g->sum[1]));

		send_bytes(g, right ? "+" : "-", 1);
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
			send_bytes(g, g->last, g->last_length);
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
		flush(g);
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
	g->user = (struct chardev_user){can_receive, receive, event, g};
	rc = chardev_attach(chr, &g->user, err);
	if (rc < 0) {
		free(g);
		return rc;
	}
	g->observer = (struct machine_observer){.event = heard, .opaque = g};
	machine_observe(machine, &g->observer);
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
		send_packet(g, g->reply);
	}
	list_remove(&g->observer.link);
	chardev_detach(g->chr, &g->user);
	free(g->output);
	free(g->last);
	free(g);
	the_stub = NULL;
}
