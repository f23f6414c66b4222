/* SPDX-License-Identifier: MIT */
/* Commands that change something: run state, disks, interrupts. */
#include <errno.h>
#include <stdlib.h>

#include "block/block.h"
#include "chardev/chardev.h"
#include "cpu/engine.h"
#include "migration/migration.h"
#include "monitor/command.h"

json_t *run_stop(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	if (machine->state == RUN_STATE_RUNNING)
		machine_stop(machine, RUN_STATE_PAUSED);
	else if (machine->state == RUN_STATE_INMIGRATE)
		migration_set_autostart(false);
	return json_object();
}

json_t *run_cont(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	if (machine->state == RUN_STATE_SHUTDOWN || machine->state == RUN_STATE_INTERNAL_ERROR ||
		machine->state == RUN_STATE_GUEST_PANICKED)
		return qmp_fail(err, QMP_GENERIC, "Resetting the Virtual Machine is required");
	if (machine->state == RUN_STATE_INMIGRATE)
		migration_set_autostart(true);
	else if (machine->state == RUN_STATE_FINISH_MIGRATE)
		return qmp_fail(err, QMP_GENERIC, "The machine is being saved");
	else if (machine->state != RUN_STATE_RUNNING)
		machine_start(machine);
	return json_object();
}

json_t *run_quit(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	machine_request_shutdown(machine, CAUSE_HOST_QMP_QUIT);
	return json_object();
}

json_t *run_system_reset(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	machine_request_reset(machine, CAUSE_HOST_QMP_SYSTEM_RESET);
	return json_object();
}

json_t *run_system_powerdown(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	machine_request_powerdown(machine);
	return json_object();
}

json_t *run_inject_nmi(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	for (unsigned i = 0; i < machine->engine->cpus; i++)
		machine->engine->ops->inject_nmi(machine->engine, i);
	return json_object();
}

json_t *run_block_resize(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *device = json_string_value(json_object_get(args, "device"));
	const char *node = json_string_value(json_object_get(args, "node-name"));
	json_int_t size = json_integer_value(json_object_get(args, "size"));
	struct block_backend *blk = NULL;
	struct error why = {.text = ""};

	if (device || node)
		blk = block_find(device ? device : node);
	if (!blk)
		return qmp_fail(err, QMP_GENERIC, "Cannot find device='%s' nor node-name='%s'",
			device ? device : "", node ? node : "");
	if (size < 0)
		return qmp_fail(err, QMP_GENERIC, "Parameter 'size' expects a >0 size");
	if (block_resize(blk, (uint64_t)size, &why))
		return qmp_fail(err, QMP_GENERIC, "%s", why.text);
	return json_object();
}

json_t *run_human_monitor_command(
	struct machine *machine, const json_t *args, struct qmp_error *err)
{
	char *text = hmp_run(machine, json_string_value(json_object_get(args, "command-line")));
	json_t *result = json_string(text ? text : "");

	free(text);
	return result;
}

/* Base64 (RFC 4648) of what a ring buffer held, because it need not be text. */
static json_t *base64(const uint8_t *data, size_t length)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc(length / 3 * 4 + 5), *out = text;
	json_t *result;

	for (size_t i = 0; text && i < length; i += 3) {
		size_t left = length - i;
		uint32_t bits = (uint32_t)data[i] << 16;

		bits |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
		bits |= left > 2 ? data[i + 2] : 0;
		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = left > 1 ? digits[bits >> 6 & 63] : '=';
		*out++ = left > 2 ? digits[bits & 63] : '=';
	}
	result = text ? json_stringn(text, (size_t)(out - text)) : NULL;
	free(text);
	return result;
}

json_t *run_ringbuf_read(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *id = json_string_value(json_object_get(args, "device"));
	const char *format = json_string_value(json_object_get(args, "format"));
	json_int_t size = json_integer_value(json_object_get(args, "size"));
	struct chardev *chr = chardev_find(id);
	json_t *result;
	uint8_t *data;
	long n;

	if (!chr)
		return qmp_fail(err, QMP_GENERIC, "Device '%s' not found", id);
	if (size <= 0)
		return qmp_fail(err, QMP_GENERIC, "size must be greater than zero");
	if (size > 1 << 20)
		size = 1 << 20;
	data = malloc((size_t)size);
	n = data ? chardev_ring_read(chr, data, (size_t)size) : -ENOMEM;
	if (n < 0) {
		free(data);
		return qmp_fail(err, QMP_GENERIC, "%s is not a ringbuf device", id);
	}
	if (format && format[0] == 'b')
		result = base64(data, (size_t)n);
	else
		result = json_stringn((char *)data, (size_t)n);
	free(data);
	return result ? result
		      : qmp_fail(err, QMP_GENERIC, "the bytes are not UTF-8: ask for base64");
}

json_t *run_chardev_resize(struct machine *machine, const json_t *args, struct qmp_error *err)
{
	const char *id = json_string_value(json_object_get(args, "id"));
	json_int_t cols = json_integer_value(json_object_get(args, "cols"));
	json_int_t rows = json_integer_value(json_object_get(args, "rows"));
	struct chardev *chr = chardev_find(id);

	if (!chr)
		return qmp_fail(err, QMP_GENERIC, "Chardev '%s' not found", id);
	if (cols < 1 || cols > UINT16_MAX || rows < 1 || rows > UINT16_MAX)
		return qmp_fail(err, QMP_GENERIC, "cols and rows take values from 1 to 65535");
	chardev_resize(chr, (uint16_t)cols, (uint16_t)rows);
	return json_object();
}
