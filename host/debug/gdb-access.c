/* SPDX-License-Identifier: MIT */
/*
 * The gdb stub's packets for registers and memory (gdb's manual, E.2).  Addresses are linear, by
 * the page tables of the thread that gdb has chosen; devices are not reached.
 */
#include <errno.h>
#include <string.h>

#include "cpu/report.h"
#include "debug/gdb-session.h"

#define PAGE 4096u

int gdb_context(struct gdb *g, struct cpu_context *context)
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
			(write ? guest_poke(mem, physical, bytes + done, part)
			       : guest_peek(mem, physical, bytes + done, part)))
			break;
		done += part;
	}
	return done;
}

void gdb_read_registers(struct gdb *g, const char *args)
{
	uint8_t bytes[GDB_REGISTER_MAX];
	struct cpu_context context;
	char *to = g->reply;
	int rc = gdb_context(g, &context);

	if (rc < 0) {
		gdb_error(g, -rc);
		return;
	}
	for (unsigned n = 0; n < gdb_register_count; n++) {
		unsigned size = gdb_register_get(&context, n, bytes);

		gdb_to_hex(to, bytes, size);
		to += size * 2;
	}
	gdb_send(g, g->reply);
}

/* What cannot be set keeps its value: gdb sends all to change one. */
void gdb_write_registers(struct gdb *g, const char *args)
{
	struct cpu_context before, context;
	int rc = gdb_context(g, &before);

	context = before;
	for (unsigned n = 0; rc == 0 && n < gdb_register_count; n++) {
		uint8_t bytes[GDB_REGISTER_MAX];
		unsigned size = gdb_register_size(n);

		if (gdb_from_hex(bytes, args, size) < size)
			break;
		gdb_register_set(&context, n, bytes);
		args += size * 2;
	}
	if (rc == 0)
		rc = put_context(g, &before, &context);
	if (rc < 0)
		gdb_error(g, -rc);
	else
		gdb_send(g, "OK");
}

void gdb_read_register(struct gdb *g, const char *args)
{
	uint8_t bytes[GDB_REGISTER_MAX];
	struct cpu_context context;
	uint64_t n;

	if (!gdb_take_number(&args, &n) || n >= gdb_register_count ||
		gdb_context(g, &context) < 0) {
		gdb_error(g, EINVAL);
		return;
	}
	gdb_to_hex(g->reply, bytes, gdb_register_get(&context, n, bytes));
	gdb_send(g, g->reply);
}

void gdb_write_register(struct gdb *g, const char *args)
{
	uint8_t bytes[GDB_REGISTER_MAX];
	struct cpu_context before, context;
	uint64_t n;

	if (!gdb_take_number(&args, &n) || n >= gdb_register_count || !gdb_take_char(&args, '=') ||
		gdb_from_hex(bytes, args, gdb_register_size(n)) < gdb_register_size(n) ||
		gdb_context(g, &before) < 0) {
		gdb_error(g, EINVAL);
		return;
	}
	context = before;
	if (gdb_register_set(&context, n, bytes) < 0 || put_context(g, &before, &context) < 0)
		gdb_error(g, EINVAL);
	else
		gdb_send(g, "OK");
}

void gdb_read_memory(struct gdb *g, const char *args)
{
	uint8_t bytes[PACKET_MAX / 2];
	uint64_t address, count;
	size_t done;

	if (!gdb_take_span(&args, &address, &count)) {
		gdb_error(g, EINVAL);
		return;
	}
	if (count > sizeof(bytes))
		count = sizeof(bytes);
	done = access_memory(g, address, bytes, count, false);
	if (!done && count) {
		gdb_error(g, EFAULT);
		return;
	}
	gdb_to_hex(g->reply, bytes, done);
	gdb_send(g, g->reply);
}

static void write_bytes(struct gdb *g, uint64_t address, uint8_t *bytes, size_t count, bool all)
{
	if (!all)
		gdb_error(g, EINVAL);
	else if (access_memory(g, address, bytes, count, true) < count)
		gdb_error(g, EFAULT);
	else
		gdb_send(g, "OK");
}

void gdb_write_memory(struct gdb *g, const char *args)
{
	uint8_t bytes[PACKET_MAX / 2];
	uint64_t address, count;

	if (!gdb_take_span(&args, &address, &count) || !gdb_take_char(&args, ':') ||
		count > sizeof(bytes))
		gdb_error(g, EINVAL);
	else
		write_bytes(g, address, bytes, count, gdb_from_hex(bytes, args, count) == count);
}

/* Bytes as they are, but for four that stand behind '}'. */
void gdb_write_binary(struct gdb *g, const char *args)
{
	const char *end = g->packet + g->length;
	uint8_t bytes[PACKET_MAX];
	uint64_t address, count;
	size_t n = 0;

	if (!gdb_take_span(&args, &address, &count) || !gdb_take_char(&args, ':')) {
		gdb_error(g, EINVAL);
		return;
	}
	while (args < end) {
		bool escaped = *args == '}' && args + 1 < end;

		args += escaped;
		bytes[n++] = (uint8_t)*args++ ^ (escaped ? 0x20 : 0);
	}
	write_bytes(g, address, bytes, n, n == count);
}
