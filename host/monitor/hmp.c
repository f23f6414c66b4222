/* SPDX-License-Identifier: MIT */
/*
 * The monitor for people: a prompt, and a table of commands that call those of QMP.  Words and
 * answers are QEMU's, because scripts read them.  Left out: history and completion.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyval.h"
#include "base/version.h"
#include "cpu/engine.h"
#include "machine/outside.h"
#include "cpu/situation.h"
#include "monitor/command.h"
#include "monitor/session.h"

#define PROMPT "(qemu) "

struct hmp_command {
	const char *name, *alias;
	const char *arguments, *help;
	void (*run)(struct machine *machine, const char *argument, FILE *out);
};

#define NOT_UTF8 "Error: the line is not UTF-8\r\n"

/* Calls a QMP command and prints its error, if any.  Returns the result for the caller to free. */
static json_t *call(struct machine *machine, qmp_run *run, json_t *args, FILE *out)
{
	struct qmp_error err = {.class = QMP_GENERIC};
	const struct qmp_command *command = qmp_commands;
	json_t *result;

	while (command->name && command->run != run)
		command++;
	result = command->name ? qmp_command_run(machine, command, args, &err)
			       : run(machine, args, &err);

	json_decref(args);
	if (!result)
		fprintf(out, "Error: %s\r\n", err.text.text);
	/* cppcheck-suppress returnDanglingLifetime ; the result never points to err */
	return result;
}

/* The same for the arguments that json_pack() made, if it could: a word cut short is not UTF-8. */
static void call_with(struct machine *machine, qmp_run *run, json_t *args, FILE *out)
{
	if (args)
		json_decref(call(machine, run, args, out));
	else
		fputs(NOT_UTF8, out);
}

#define FORWARD(name, command)                                                     \
	static void name(struct machine *machine, const char *argument, FILE *out) \
	{                                                                          \
		json_decref(call(machine, command, NULL, out));                    \
	}

FORWARD(do_cont, run_cont)
FORWARD(do_migrate_cancel, run_migrate_cancel)
FORWARD(do_nmi, run_inject_nmi)
FORWARD(do_quit, run_quit)
FORWARD(do_stop, run_stop)
FORWARD(do_powerdown, run_system_powerdown)
FORWARD(do_reset, run_system_reset)

FORWARD(do_replay_delete_break, run_replay_delete_break)

static void with_icount(struct machine *machine, qmp_run *run, const char *argument, FILE *out)
{
	unsigned long long icount;
	char rest;

	if (sscanf(argument, "%llu %c", &icount, &rest) != 1)
		fprintf(out, "an instruction count is expected\r\n");
	else
		call_with(machine, run, json_pack("{s:I}", "icount", (json_int_t)icount), out);
}

static void do_replay_break(struct machine *machine, const char *argument, FILE *out)
{
	with_icount(machine, run_replay_break, argument, out);
}

static void do_replay_seek(struct machine *machine, const char *argument, FILE *out)
{
	with_icount(machine, run_replay_seek, argument, out);
}

static void do_block_resize(struct machine *machine, const char *argument, FILE *out)
{
	char device[128] = "", size[64] = "";
	struct error why;
	uint64_t bytes;

	if (sscanf(argument, "%127s %63s", device, size) != 2) {
		fprintf(out, "block_resize: string and size expected\r\n");
		return;
	}
	if (parse_size("size", size, 1 << 20, &bytes, &why)) {
		fprintf(out, "Error: %s\r\n", why.text);
		return;
	}
	call_with(machine, run_block_resize,
		json_pack("{s:s,s:I}", "device", device, "size", (json_int_t)bytes), out);
}

/* "device_add DRIVER,KEY=VALUE,...", as -device has it. */
static void do_device_add(struct machine *machine, const char *argument, FILE *out)
{
	struct error why = {.text = ""};
	struct keyvals *kv = keyvals_parse("device_add", argument, "driver", &why);
	json_t *args = json_object();
	struct list *pos;
	int rc = 0;

	if (kv && keyvals_get(kv, "driver")) {
		list_for_each (pos, &kv->pairs) {
			struct keyval *pair = container_of(pos, struct keyval, link);

			rc |= json_object_set_new(args, pair->key, json_string(pair->value));
		}
		call_with(machine, run_device_add, rc ? NULL : json_incref(args), out);
	} else {
		fprintf(out, "Error: %s\r\n", kv ? "Parameter 'driver' is missing" : why.text);
	}
	json_decref(args);
	keyvals_free(kv);
}

/* A command whose one argument is an id. */
static void call_with_id(
	struct machine *machine, const char *name, qmp_run *run, const char *argument, FILE *out)
{
	if (*argument)
		call_with(machine, run, json_pack("{s:s}", "id", argument), out);
	else
		fprintf(out, "%s: string expected\r\n", name);
}

static void do_device_del(struct machine *machine, const char *argument, FILE *out)
{
	call_with_id(machine, "device_del", run_device_del, argument, out);
}

static void do_chardev_remove(struct machine *machine, const char *argument, FILE *out)
{
	call_with_id(machine, "chardev-remove", run_chardev_remove, argument, out);
}

/* "migrate [-d] uri": it never waits here, so -d says nothing new. */
static void do_migrate(struct machine *machine, const char *argument, FILE *out)
{
	if (!strncmp(argument, "-d ", 3))
		argument += 3 + strspn(argument + 3, " ");
	call_with(machine, run_migrate, json_pack("{s:s}", "uri", argument), out);
}

static void do_migrate_incoming(struct machine *machine, const char *argument, FILE *out)
{
	call_with(machine, run_migrate_incoming, json_pack("{s:s}", "uri", argument), out);
}

static void info_migrate(struct machine *machine, const char *argument, FILE *out)
{
	json_t *info = call(machine, query_migrate, NULL, out), *ram = json_object_get(info, "ram");
	static const char *const times[] = {"total-time", "downtime", "setup-time"};
	static const char *const counts[] = {"transferred", "remaining", "total", "duplicate",
		"normal", "normal-bytes", "page-size"};
	const char *error = json_string_value(json_object_get(info, "error-desc"));

	if (json_object_get(info, "status"))
		fprintf(out, "Migration status: %s%s%s%s\r\n",
			json_string_value(json_object_get(info, "status")), error ? " (" : "",
			error ? error : "", error ? ")" : "");
	for (unsigned i = 0; ram && i < sizeof(times) / sizeof(times[0]); i++)
		fprintf(out, "%s: %" JSON_INTEGER_FORMAT " ms\r\n", times[i],
			json_integer_value(json_object_get(info, times[i])));
	for (unsigned i = 0; ram && i < sizeof(counts) / sizeof(counts[0]); i++)
		fprintf(out, "%s: %" JSON_INTEGER_FORMAT "\r\n", counts[i],
			json_integer_value(json_object_get(ram, counts[i])));
	json_decref(info);
}

static void info_status(struct machine *machine, const char *argument, FILE *out)
{
	bool running = machine->state == RUN_STATE_RUNNING;

	fprintf(out, "VM status: %s", running ? "running" : "paused");
	if (!running && machine->state != RUN_STATE_PAUSED)
		fprintf(out, " (%s)", run_state_name(machine->state));
	fprintf(out, "\r\n");
}

static void info_version(struct machine *machine, const char *argument, FILE *out)
{
	fprintf(out, "%d.%d.%dassay %s\r\n", QEMU_MAJOR, QEMU_MINOR, QEMU_MICRO, ASSAY_VERSION);
}

static void info_name(struct machine *machine, const char *argument, FILE *out)
{
	json_t *name = monitor_name();
	const char *text = json_string_value(json_object_get(name, "name"));

	if (text)
		fprintf(out, "%s\r\n", text);
	json_decref(name);
}

static void info_uuid(struct machine *machine, const char *argument, FILE *out)
{
	fprintf(out, "%s\r\n", monitor_uuid());
}

static void info_kvm(struct machine *machine, const char *argument, FILE *out)
{
	const char *engine = machine->engine->ops->name;

	fprintf(out, "kvm support: %s\r\nengine: %s\r\n",
		strcmp(engine, "kvm") ? "disabled" : "enabled", engine);
}

static void info_chardev(struct machine *machine, const char *argument, FILE *out)
{
	json_t *list = call(machine, query_chardev, NULL, out), *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		fprintf(out, "%s: filename=%s\r\n",
			json_string_value(json_object_get(item, "label")),
			json_string_value(json_object_get(item, "filename")));
	}
	json_decref(list);
}

static void info_block(struct machine *machine, const char *argument, FILE *out)
{
	json_t *list = call(machine, query_block, NULL, out), *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		json_t *inserted = json_object_get(item, "inserted");
		json_t *image = json_object_get(inserted, "image");

		fprintf(out, "%s: %" JSON_INTEGER_FORMAT " bytes (raw%s)\r\n",
			json_string_value(json_object_get(item, "device")),
			json_integer_value(json_object_get(image, "virtual-size")),
			json_is_true(json_object_get(inserted, "ro")) ? ", read-only" : "");
	}
	json_decref(list);
}

static void info_cpus(struct machine *machine, const char *argument, FILE *out)
{
	for (unsigned i = 0; i < machine->engine->cpus; i++)
		fprintf(out, "%c CPU #%u: thread_id=%d\r\n", i ? ' ' : '*', i,
			machine->engine->ops->thread_id(machine->engine, i));
}

static void print_general(const struct cpu_state *s, FILE *out)
{
	static const char *const names[] = {"RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP",
		"R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
	static const uint8_t order[] = {
		RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8, R9, R10, R11, R12, R13, R14, R15};

	for (unsigned i = 0; i < 16; i++)
		fprintf(out, "%s=%016llx%s", names[i], (unsigned long long)s->gpr[order[i]],
			i % 4 == 3 ? "\r\n" : " ");
	fprintf(out, "RIP=%016llx RFL=%08llx CPL=%d\r\n", (unsigned long long)s->rip,
		(unsigned long long)s->rflags, s->cs.selector & 3);
}

static void print_segment(const char *name, const struct cpu_segment *seg, FILE *out)
{
	fprintf(out, "%s=%04x %016llx %08x type=%x dpl=%u%s\r\n", name, seg->selector,
		(unsigned long long)seg->base, seg->limit, seg->type, seg->dpl,
		seg->l		? " CS64"
		: seg->db	? " 32"
		: seg->unusable ? " unusable"
				: "");
}

static void print_registers(const struct cpu_state *s, FILE *out)
{
	print_general(s, out);
	print_segment("ES ", &s->es, out);
	print_segment("CS ", &s->cs, out);
	print_segment("SS ", &s->ss, out);
	print_segment("DS ", &s->ds, out);
	print_segment("FS ", &s->fs, out);
	print_segment("GS ", &s->gs, out);
	print_segment("LDT", &s->ldt, out);
	print_segment("TR ", &s->tr, out);
	fprintf(out, "GDT=     %016llx %08x\r\nIDT=     %016llx %08x\r\n",
		(unsigned long long)s->gdt.base, s->gdt.limit, (unsigned long long)s->idt.base,
		s->idt.limit);
	fprintf(out, "CR0=%08llx CR2=%016llx CR3=%016llx CR4=%08llx\r\nEFER=%016llx\r\n",
		(unsigned long long)s->cr0, (unsigned long long)s->cr2, (unsigned long long)s->cr3,
		(unsigned long long)s->cr4, (unsigned long long)s->efer);
}

/* The first processor's, or with -a each one's under its number. */
static void info_registers(struct machine *machine, const char *argument, FILE *out)
{
	struct cpu_engine *engine = machine->engine;
	bool running = machine->state == RUN_STATE_RUNNING, all = !strcmp(argument, "-a");
	struct cpu_state s;

	/* The processors must stand still for the moment, which nobody else hears of. */
	if (running)
		engine->ops->stop(engine);
	for (unsigned i = 0; i < (all ? engine->cpus : 1); i++) {
		if (engine->ops->get_state(engine, i, &s))
			continue;
		if (all)
			fprintf(out, "%sCPU#%u\r\n", i ? "\r\n" : "", i);
		print_registers(&s, out);
	}
	if (running)
		engine->ops->start(engine);
}

static void info_guest(struct machine *machine, const char *argument, FILE *out)
{
	char *text = NULL;
	size_t size;
	FILE *page = open_memstream(&text, &size);

	if (!page)
		return;
	cpu_situation_print_all(page, machine);
	fclose(page);
	for (const char *c = text; *c; c++)
		fputs(*c == '\n' ? "\r\n" : (char[]){*c, 0}, out);
	free(text);
}

static void info_replay(struct machine *machine, const char *argument, FILE *out)
{
	struct outside_info info = outside_info();

	if (info.mode == OUTSIDE_LIVE)
		fprintf(out, "Record/replay is not active\r\n");
	else
		fprintf(out, "%s execution '%s': instruction count = %llu\r\n",
			info.mode == OUTSIDE_RECORD ? "Recording" : "Replaying", info.path,
			(unsigned long long)info.instructions);
}

static const struct hmp_command infos[] = {
	{"block", NULL, "", "the drives", info_block},
	{"chardev", NULL, "", "the character devices", info_chardev},
	{"cpus", NULL, "", "the processors' threads", info_cpus},
	{"guest", NULL, "", "a page about each processor: what it is doing", info_guest},
	{"kvm", NULL, "", "whether KVM runs the guest", info_kvm},
	{"migrate", NULL, "", "show how far saving the state is", info_migrate},
	{"name", NULL, "", "the guest's name", info_name},
	{"registers", NULL, "[-a]", "the first processor's registers, or all processors'",
		info_registers},
	{"replay", NULL, "", "what -icount rr= is at", info_replay},
	{"status", NULL, "", "whether the guest runs", info_status},
	{"uuid", NULL, "", "the machine's UUID", info_uuid},
	{"version", NULL, "", "the version", info_version},
	{NULL, NULL, NULL, NULL, NULL},
};

static const struct hmp_command *find(const struct hmp_command *table, const char *name)
{
	for (; table->name; table++) {
		if (!strcmp(table->name, name) || (table->alias && !strcmp(table->alias, name)))
			return table;
	}
	return NULL;
}

static void print_table(const struct hmp_command *table, const char *prefix, FILE *out)
{
	for (; table->name; table++)
		fprintf(out, "%s%s%s%s %s -- %s\r\n", prefix, table->name, table->alias ? "|" : "",
			table->alias ? table->alias : "", table->arguments, table->help);
}

static void do_info(struct machine *machine, const char *argument, FILE *out)
{
	size_t length = strcspn(argument, " \t");
	const struct hmp_command *info;
	const char *word = argument;
	char name[64];

	snprintf(name, sizeof(name), "%.*s", (int)length, argument);
	info = find(infos, name);
	argument += length;
	if (!length)
		print_table(infos, "info ", out);
	else if (info)
		info->run(machine, argument + strspn(argument, " \t"), out);
	else
		fprintf(out, "unknown command: 'info %.*s'\r\n", (int)length, word);
}

static void do_help(struct machine *machine, const char *argument, FILE *out);

static const struct hmp_command commands[] = {
	{"block_resize", NULL, "device size", "resize an image (MiB, or with a suffix)",
		do_block_resize},
	{"chardev-remove", NULL, "id", "close a character device that is free", do_chardev_remove},
	{"cont", "c", "", "resume the guest", do_cont},
	{"device_add", NULL, "driver[,key=value,...]", "plug a device in, as -device does",
		do_device_add},
	{"device_del", NULL, "id", "unplug a device", do_device_del},
	{"help", "?", "", "this list", do_help},
	{"info", NULL, "[subcommand]", "show what there is", do_info},
	{"migrate", NULL, "[-d] file:path", "save the machine's state", do_migrate},
	{"migrate_cancel", NULL, "", "do not save it after all", do_migrate_cancel},
	{"migrate_incoming", NULL, "file:path", "go on from a saved state (-incoming defer)",
		do_migrate_incoming},
	{"nmi", NULL, "", "inject an NMI", do_nmi},
	{"quit", "q", "", "end the VM", do_quit},
	{"replay_break", NULL, "icount", "stop a replay at an instruction count", do_replay_break},
	{"replay_delete_break", NULL, "", "do not stop it there", do_replay_delete_break},
	{"replay_seek", NULL, "icount", "go to an instruction count of a replay", do_replay_seek},
	{"stop", "s", "", "stop the guest", do_stop},
	{"system_powerdown", NULL, "", "press the power button", do_powerdown},
	{"system_reset", NULL, "", "reset the machine", do_reset},
	{NULL, NULL, NULL, NULL, NULL},
};

static void do_help(struct machine *machine, const char *argument, FILE *out)
{
	print_table(commands, "", out);
}

static bool is_utf8(const char *line)
{
	json_t *text = json_string(line);
	bool good = text != NULL;

	json_decref(text);
	return good;
}

char *hmp_run(struct machine *machine, const char *line)
{
	const struct hmp_command *command;
	size_t start = strspn(line, " \t"), length = strcspn(line + start, " \t");
	const char *argument = line + start + length;
	char name[64], *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	snprintf(name, sizeof(name), "%.*s", (int)length, line + start);
	argument += strspn(argument, " \t");
	command = find(commands, name);
	/* What has no place in JSON cannot be an argument, nor stand in an answer. */
	if (!is_utf8(line))
		fputs(NOT_UTF8, out);
	else if (command)
		command->run(machine, argument, out);
	else if (length)
		fprintf(out, "unknown command: '%.*s'\r\n", (int)length, line + start);
	fclose(out);
	return text;
}

/* The terminal. */

static void say(struct monitor *mon, const char *text)
{
	monitor_send(mon, text, strlen(text));
}

void hmp_session_begin(struct monitor *mon)
{
	mon->line_length = 0;
	say(mon, "Assay " ASSAY_VERSION " monitor - type 'help' for more information\r\n" PROMPT);
}

static void end_of_line(struct monitor *mon)
{
	char *text;

	mon->line[mon->line_length] = '\0';
	mon->line_length = 0;
	say(mon, "\r\n");
	text = hmp_run(mon->machine, mon->line);
	if (text)
		say(mon, text);
	free(text);
	say(mon, PROMPT);
}

/* Takes back one character, which may be several bytes; false: there is none. */
static bool rub_out(struct monitor *mon)
{
	if (!mon->line_length)
		return false;
	while (--mon->line_length && ((uint8_t)mon->line[mon->line_length] & 0xc0) == 0x80)
		;
	say(mon, "\b \b");
	return true;
}

void hmp_session_receive(struct monitor *mon, const uint8_t *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		uint8_t byte = data[i];
		char c = (char)byte;

		if (c == '\r' || (c == '\n' && mon->last != '\r')) {
			end_of_line(mon);
		} else if (byte == '\b' || byte == 0x7f) {
			rub_out(mon);
		} else if (byte == 0x15) { /* Ctrl-U */
			while (rub_out(mon))
				;
		} else if (byte >= ' ' && mon->line_length < HMP_LINE_MAX - 1) {
			mon->line[mon->line_length++] = c;
			monitor_send(mon, &c, 1);
		}
		mon->last = byte;
	}
}
