/* SPDX-License-Identifier: MIT */
/* The options that are not about the machine itself (machine.c): devices, drives, characters,
 * process. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "chardev/chardev.h"
#include "machine/device.h"
#include "options/internal.h"

bool is_help_word(const char *text)
{
	return !strcmp(text, "help") || !strcmp(text, "?");
}

int refuse_left(const struct keyvals *kv, struct error *err)
{
	const char *left = keyvals_left(kv);

	return left ? error_set(err, EINVAL, "Invalid parameter '%s'", left) : 0;
}

int take_flag(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	*(bool *)((char *)options + row->offset) = true;
	return 0;
}

int take_string(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	*(const char **)((char *)options + row->offset) = argument;
	return 0;
}

int take_gdb_short(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	options->gdb = "tcp::1234";
	return 0;
}

int take_nothing(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	return 0;
}

int take_refused(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	return error_set(err, ENOTSUP, "%s", row->note);
}

/* The row's note lists the words that may be given; they change nothing. */
int take_only(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	size_t length = strcspn(argument, ",");
	const char *word = row->note;

	while (word) {
		if (!strncmp(word, argument, length) && (!word[length] || word[length] == '|'))
			return 0;
		word = strchr(word, '|');
		word = word ? word + 1 : NULL;
	}
	return error_set(err, ENOTSUP, "not supported, only %s is", row->note);
}

/* Lists of pairs. */

static int add_to(struct list *list, struct keyvals *kv)
{
	if (!kv)
		return -EINVAL;
	list_add_tail(list, &kv->link);
	return 0;
}

static bool object_type_known(const char *type)
{
	static const char *const known[] = {"iothread", "rng-builtin", "rng-random"};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], type) == 0)
			return true;
	return false;
}

int take_object(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv;
	const char *type;

	if (is_help_word(argument)) {
		print_objects();
		return OPTIONS_DONE;
	}
	kv = *argument == '{' ? parse_json("-object", argument, err)
			      : keyvals_parse_strict("-object", argument, "qom-type", err);
	if (add_to(&options->objects, kv))
		return -EINVAL;
	type = keyvals_take(kv, "qom-type");
	if (!type)
		return error_set(err, EINVAL, "Parameter 'qom-type' is missing");
	if (!object_type_known(type))
		return error_set(err, EINVAL,
			"Parameter 'qom-type' does not accept value '%s' (iothread, rng-builtin "
			"and rng-random are there)",
			type);
	if (!keyvals_get(kv, "id"))
		return error_set(err, EINVAL, "Parameter 'id' is missing");
	if (!id_is_wellformed(keyvals_get(kv, "id")))
		return error_set(err, EINVAL, "Parameter 'id' expects an identifier");
	return 0;
}

int take_blockdev(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	return add_to(&options->blockdevs,
		*argument == '{' ? parse_json("-blockdev", argument, err)
				 : keyvals_parse_strict("-blockdev", argument, "driver", err));
}

int take_drive(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	return add_to(&options->board.drives, keyvals_parse("-drive", argument, NULL, err));
}

static int add_disk(
	struct options *options, const char *option, const char *file, char unit, const char *media)
{
	char index[2] = {unit, '\0'}, origin[256];
	struct keyvals *kv;

	snprintf(origin, sizeof(origin), "%s%s%s", option, *option ? " " : "", file);
	kv = keyvals_new(origin);
	keyvals_set(kv, "file", file);
	keyvals_set(kv, "index", index);
	keyvals_set(kv, "media", media);
	return add_to(&options->board.drives, kv);
}

/* -hda to -hdd, and the argument without an option, whose row has no letter. */
int take_disk(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	if (!row->name)
		return add_disk(options, "", argument, '0', "disk");
	return add_disk(options, row->note, argument, (char)('0' + (row->name[2] - 'a')), "disk");
}

int take_cdrom(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	return add_disk(options, "-cdrom", argument, '2', "cdrom");
}

/* An id is a name that no earlier device has. */
static int check_device_id(
	const struct options *options, const struct keyvals *kv, struct error *err)
{
	const char *id = keyvals_get(kv, "id");
	const struct list *pos;

	if (!id)
		return 0;
	if (!id_is_wellformed(id))
		return error_set(err, EINVAL, "Parameter 'id' expects an identifier");
	list_for_each (pos, &options->board.devices) {
		struct keyvals *other = container_of(pos, struct keyvals, link);
		const char *taken = keyvals_get(other, "id");

		if (other != kv && taken && !strcmp(taken, id))
			return error_set(err, EINVAL, "Duplicate device ID '%s'", id);
	}
	return 0;
}

int take_device(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv;
	const char *driver;

	if (is_help_word(argument)) {
		print_devices();
		return OPTIONS_DONE;
	}
	kv = *argument == '{' ? parse_json("-device", argument, err)
			      : keyvals_parse("-device", argument, "driver", err);
	if (add_to(&options->board.devices, kv))
		return -EINVAL;
	driver = keyvals_get(kv, "driver");
	if (driver && keyvals_get(kv, "help")) {
		int rc = print_device_properties(driver, err);

		return rc ? rc : OPTIONS_DONE;
	}
	return check_device_id(options, kv, err);
}

/* Both forms: "driver.property=value" and "driver=,property=,value=". */
int take_global(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	const char *dot = strchr(argument, '.'), *equals = strchr(argument, '=');
	const char *driver, *property, *value;
	struct keyvals *kv;
	int rc = 0;

	if (dot && equals && dot < equals) {
		char *type = strndup(argument, (size_t)(dot - argument));
		char *name = strndup(dot + 1, (size_t)(equals - dot - 1));

		if (type && name)
			device_global_add(type, name, equals + 1);
		free(type);
		free(name);
		return 0;
	}
	kv = keyvals_parse("-global", argument, NULL, err);
	if (!kv)
		return -EINVAL;
	driver = keyvals_take(kv, "driver");
	property = keyvals_take(kv, "property");
	value = keyvals_take(kv, "value");
	rc = refuse_left(kv, err);
	if (!rc && (!driver || !property || !value))
		rc = error_set(err, EINVAL, "expects driver.property=value");
	if (!rc)
		device_global_add(driver, property, value);
	keyvals_free(kv);
	return rc;
}

int take_fw_cfg(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	return add_to(&options->board.fw_cfg, keyvals_parse("-fw_cfg", argument, "name", err));
}

/* Character devices and monitors. */

int take_chardev(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	if (is_help_word(argument)) {
		chardev_print_backends();
		return OPTIONS_DONE;
	}
	return add_to(&options->chardevs, keyvals_parse("-chardev", argument, "backend", err));
}

int take_serial(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	options->has_serial = true;
	if (options->board.serial_count == SERIAL_MAX)
		return error_set(err, EINVAL, "at most %d serial ports", SERIAL_MAX);
	options->board.serial[options->board.serial_count++] = argument;
	return 0;
}

static struct monitor_option *add_monitor(
	struct options *options, const char *option, const char *text, enum monitor_mode mode)
{
	struct monitor_option *monitor = calloc(1, sizeof(*monitor));

	if (monitor) {
		monitor->option = option;
		monitor->text = text;
		monitor->mode = mode;
		list_add_tail(&options->monitors, &monitor->link);
	}
	return monitor;
}

int take_monitor(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	enum monitor_mode mode = !strcmp(row->name, "monitor") ? MONITOR_HMP
				 : !strcmp(row->name, "qmp")   ? MONITOR_QMP
							       : MONITOR_QMP_PRETTY;

	options->has_monitor = true;
	return add_monitor(options, row->note, argument, mode) ? 0 : -ENOMEM;
}

int take_mon(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv = keyvals_parse("-mon", argument, "chardev", err);
	struct monitor_option *monitor;
	const char *chardev, *mode, *pretty;
	bool is_pretty = false;
	int rc;

	if (!kv)
		return -EINVAL;
	options->has_monitor = true;
	chardev = keyvals_take(kv, "chardev");
	mode = keyvals_take(kv, "mode");
	pretty = keyvals_take(kv, "pretty");
	keyvals_take(kv, "id");
	rc = refuse_left(kv, err);
	if (!rc && pretty)
		rc = parse_bool("pretty", pretty, &is_pretty, err);
	if (!rc && !chardev)
		rc = error_set(err, EINVAL, "Parameter 'chardev' is missing");
	if (!rc && mode && strcmp(mode, "readline") && strcmp(mode, "control"))
		rc = error_set(err, EINVAL, "unknown monitor mode \"%s\"", mode);
	if (!rc) {
		monitor = add_monitor(options, "-mon", argument,
			!mode || strcmp(mode, "control") ? MONITOR_HMP
			: is_pretty			 ? MONITOR_QMP_PRETTY
							 : MONITOR_QMP);
		if (monitor)
			monitor->chardev = strdup(chardev);
	}
	keyvals_free(kv);
	return rc;
}

int take_echr(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	char *end;
	long number = strtol(argument, &end, 0);

	chardev_set_escape(end == argument ? (uint8_t)argument[0] : (uint8_t)number);
	return 0;
}

/* The process. */

int take_name(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv = keyvals_parse("-name", argument, "guest", err);
	const char *guest, *process, *threads;
	bool on;
	int rc = 0;

	if (!kv)
		return -EINVAL;
	guest = keyvals_take(kv, "guest");
	process = keyvals_take(kv, "process");
	threads = keyvals_take(kv, "debug-threads");
	if (threads)
		rc = parse_bool("debug-threads", threads, &on, err);
	if (!rc)
		rc = refuse_left(kv, err);
	if (!rc && process)
		prctl(PR_SET_NAME, process);
	if (!rc && guest) {
		free(options->guest_name);
		options->guest_name = strdup(guest);
		options->board.name = options->guest_name;
	}
	keyvals_free(kv);
	return rc;
}

int take_uuid(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	bool good = strlen(argument) == sizeof(form) - 1;

	for (size_t i = 0; good && form[i]; i++)
		good = form[i] == '-' ? argument[i] == '-' : isxdigit((unsigned char)argument[i]);
	if (!good)
		return error_set(err, EINVAL, "failed to parse UUID string: wrong format");
	options->board.uuid = argument;
	return 0;
}

int take_debug(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	/* QEMU's items for its translator: there is none here, so they have nothing to say. */
	static const char *const silent[] = {"out_asm", "op", "op_opt", "op_ind", "exec", "cpu",
		"fpu", "mmu", "pcall", "unimp", "page", "nochain", "plugin", "strace", "tid"};
	static const struct {
		const char *name;
		enum log_item item;
	} items[] = {{"guest_errors", LOG_GUEST_ERRORS}, {"hash", LOG_HASH}, {"int", LOG_INT},
		{"in_asm", LOG_IN_ASM}, {"cpu_reset", LOG_CPU_RESET}};
	const char *item = argument;

	if (is_help_word(argument)) {
		print_log_items();
		return OPTIONS_DONE;
	}
	while (item && *item) {
		size_t length = strcspn(item, ",");
		bool all = length == 3 && !strncmp(item, "all", 3), known = all;

		for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
			if (all || (strlen(items[i].name) == length &&
					   !strncmp(item, items[i].name, length))) {
				known = true;
				log_want(items[i].item);
			}
		}
		for (size_t i = 0; !known && i < sizeof(silent) / sizeof(silent[0]); i++)
			known = strlen(silent[i]) == length && !strncmp(item, silent[i], length);
		if (!known)
			return error_set(err, EINVAL, "unknown log item '%.*s', see -d help",
				(int)length, item);
		item = item[length] ? item + length + 1 : NULL;
	}
	return 0;
}

/* -action EVENT=ACTION: what is chosen beyond the default is one of these. */
int take_action(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	static const struct {
		const char *key, *values;
	} actions[] = {
		{"reboot", "reset|shutdown"},
		{"shutdown", "poweroff|pause"},
		{"panic", "pause|shutdown|exit-failure|none"},
		{"watchdog", "reset|shutdown|poweroff|inject-nmi|pause|debug|none"},
	};
	struct keyvals *kv = keyvals_parse("-action", argument, NULL, err);
	const char *value;
	int rc = 0;

	if (!kv)
		return -EINVAL;
	for (size_t i = 0; !rc && i < sizeof(actions) / sizeof(actions[0]); i++) {
		struct option_row only = {.note = actions[i].values};

		value = keyvals_take(kv, actions[i].key);
		if (value && take_only(options, &only, value, NULL))
			rc = error_set(err, EINVAL, "Parameter '%s' does not accept value '%s'",
				actions[i].key, value);
	}
	if (!rc)
		rc = refuse_left(kv, err);
	value = keyvals_get(kv, "reboot");
	if (!rc && value)
		options->board.no_reboot = !strcmp(value, "shutdown");
	value = keyvals_get(kv, "shutdown");
	if (!rc && value)
		options->board.no_shutdown = !strcmp(value, "pause");
	keyvals_free(kv);
	return rc;
}

int take_seed(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	options->board.has_seed = true;
	return parse_uint("seed", argument, UINT64_MAX, &options->board.seed, err);
}

/* -bios: the board looks for it, in the folder of an -L that may come later. */
int take_bios(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	options->board.bios = argument;
	return 0;
}

int take_msg(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv = keyvals_parse("-msg", argument, NULL, err);
	int rc;

	if (!kv)
		return -EINVAL;
	keyvals_take(kv, "timestamp");
	keyvals_take(kv, "guest-name");
	rc = refuse_left(kv, err);
	keyvals_free(kv);
	return rc;
}

int take_audiodev(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	return take_only(
		options, row, !strncmp(argument, "driver=", 7) ? argument + 7 : argument, err);
}

int take_version(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	print_version();
	return OPTIONS_DONE;
}

int take_help(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	print_help();
	return OPTIONS_DONE;
}
