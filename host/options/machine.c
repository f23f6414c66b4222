/* SPDX-License-Identifier: MIT */
/* The options that describe the machine itself: -machine, -m, -boot, -rtc. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "board/board.h"
#include "options/internal.h"

/*
 * -machine's properties.  `values`: the ones that may be given, separated by '|'; NULL: anything.
 * The board reads acpi and auto-kernel-cmdline; the others change nothing that a guest sees here.
 */
static const struct machine_property {
	const char *name, *values;
} machine_properties[] = {
	{"acpi", "on|off|auto"},
	{"auto-kernel-cmdline", "on|off"},
	{"dump-guest-core", NULL},
	{"graphics", NULL},
	{"hmat", "off"},
	{"hpet", "off"},
	{"ioapic2", "off|auto"},
	{"isa-serial", "on"},
	{"kernel-irqchip", "on"},
	{"mem-merge", NULL},
	{"nvdimm", "off"},
	{"option-roms", NULL},
	{"pcie", "off|auto"},
	{"pic", "on|auto"},
	{"pit", "on|auto"},
	{"rtc", "off|auto"},
	{"sata", NULL},
	{"smm", "off|auto"},
	{"suppress-vmdesc", NULL},
	{"usb", "off"},
	{"vmport", "off|auto"},
	{"x-option-roms", NULL},
};

static bool one_of(const char *words, const char *word)
{
	size_t length = strlen(word);

	while (words) {
		if (!strncmp(words, word, length) && (!words[length] || words[length] == '|'))
			return true;
		words = strchr(words, '|');
		words = words ? words + 1 : NULL;
	}
	return false;
}

static const char *switch_word(const char *value)
{
	bool on;

	return parse_bool("", value, &on, NULL) ? value : (on ? "on" : "off");
}

static int check_machine_property(
	const struct options *options, const char *key, const char *value, struct error *err)
{
	const char *machine = options->board.machine ? options->board.machine : "pc";

	for (size_t i = 0; i < sizeof(machine_properties) / sizeof(machine_properties[0]); i++) {
		const struct machine_property *p = &machine_properties[i];
		bool on;

		if (strcmp(p->name, key))
			continue;
		if (!p->values || one_of(p->values, switch_word(value)))
			return 0;
		if (strcmp(value, "auto") && strcmp(value, "split") &&
			parse_bool(key, value, &on, err))
			return -EINVAL;
		return error_set(err, EINVAL, "'%s=%s' is not supported", key, value);
	}
	return error_set(err, EINVAL, "Property '%s-machine.%s' not found", machine, key);
}

/* The pairs that are -kernel, -m and so on by another name. */
static bool take_alias(struct options *options, const char *key, const char *value)
{
	struct board_config *board = &options->board;
	const struct {
		const char *key;
		const char **to;
	} aliases[] = {
		{"kernel", &board->kernel},
		{"initrd", &board->initrd},
		{"append", &board->append},
		{"dtb", &options->dtb},
		{"firmware", &board->bios},
	};

	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (!strcmp(key, aliases[i].key)) {
			*aliases[i].to = value;
			return true;
		}
	}
	return false;
}

static int take_machine_pair(struct options *options, struct keyval *pair, struct error *err)
{
	if (!strcmp(pair->key, "type")) {
		const struct board_type *type = board_find(pair->value);

		if (!type)
			return error_set(err, EINVAL,
				"unsupported machine type '%s', use -machine help to list "
				"supported "
				"machines",
				pair->value);
		options->board.machine = type->name;
		return 0;
	}
	if (!strcmp(pair->key, "accel")) {
		if (!*pair->value)
			return error_set(err, EINVAL,
				"accel= names no accelerator ('-accel help' lists them)");
		options->board.accels = pair->value;
		options->accel_by_machine = true;
		return 0;
	}
	if (!strcmp(pair->key, "kernel_irqchip") || !strcmp(pair->key, "kernel-irqchip"))
		return check_machine_property(options, "kernel-irqchip", pair->value, err);
	if (take_alias(options, pair->key, pair->value))
		return 0;
	return check_machine_property(options, pair->key, pair->value, err);
}

/* Several -machine add up; a later pair wins. */
int take_machine(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv = NULL;
	struct list *pos;

	if (is_help_word(argument)) {
		print_machines();
		return OPTIONS_DONE;
	}
	kv = keyvals_parse_strict("-machine", argument, "type", err);
	if (!kv)
		return -EINVAL;
	if (!options->board.machine_kv)
		options->board.machine_kv = keyvals_new("-machine");
	list_for_each (pos, &kv->pairs) {
		struct keyval *pair = container_of(pos, struct keyval, link), *copy;

		keyvals_set(options->board.machine_kv, pair->key, pair->value);
		copy = container_of(options->board.machine_kv->pairs.prev, struct keyval, link);
		if (take_machine_pair(options, copy, err)) {
			keyvals_free(kv);
			return -EINVAL;
		}
	}
	keyvals_free(kv);
	return 0;
}

int take_memory(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv = keyvals_parse("-m", argument, "size", err);
	const char *size, *slots, *maximum;
	uint64_t slot_count = 0, max_bytes;
	int rc = 0;

	if (!kv)
		return -EINVAL;
	size = keyvals_take(kv, "size");
	slots = keyvals_take(kv, "slots");
	maximum = keyvals_take(kv, "maxmem");
	if (size)
		rc = *size ? parse_size("size", size, 1 << 20, &options->board.memory, err)
			   : error_set(err, EINVAL, "missing 'size' option value");
	if (!rc && slots)
		rc = parse_uint("slots", slots, 256, &slot_count, err);
	max_bytes = options->board.memory;
	if (!rc && maximum)
		rc = parse_size("maxmem", maximum, 1, &max_bytes, err);
	if (!rc)
		rc = refuse_left(kv, err);
	keyvals_free(kv);
	if (!rc && max_bytes < options->board.memory)
		rc = error_set(
			err, EINVAL, "invalid value of maxmem: less than the initial memory");
	if (!rc && (slot_count || max_bytes > options->board.memory))
		rc = error_set(err, EINVAL, "memory cannot be added later (slots, maxmem)");
	/* QEMU's granularity; 0 stands for the machine's default. */
	if (!rc && options->board.memory > UINT64_MAX - 8191)
		rc = error_set(err, EINVAL, "ram size too large");
	options->board.memory = (options->board.memory + 8191) & ~8191ull;
	return rc;
}

static int check_boot_order(const char *order, struct error *err)
{
	unsigned seen = 0;

	for (const char *p = order; *p; p++) {
		if (*p < 'a' || *p > 'p')
			return error_set(err, EINVAL, "Invalid boot device '%c'", *p);
		if (seen & (1u << (*p - 'a')))
			return error_set(err, EINVAL, "Boot device '%c' was given twice", *p);
		seen |= 1u << (*p - 'a');
	}
	return 0;
}

static int take_letters(struct keyvals *kv, const char *key, char to[20], struct error *err)
{
	const char *letters = keyvals_take(kv, key);
	int rc = letters ? check_boot_order(letters, err) : 0;

	/* Each of a to p at most once. */
	if (letters && !rc)
		snprintf(to, 20, "%s", letters);
	return rc;
}

static int take_switch(struct keyvals *kv, const char *key, bool *on, struct error *err)
{
	const char *value = keyvals_take(kv, key);

	return value ? parse_bool(key, value, on, err) : 0;
}

/* Milliseconds, or -1. */
static int take_wait(struct keyvals *kv, const char *key, int64_t most, int *out, struct error *err)
{
	const char *value = keyvals_take(kv, key);
	uint64_t number;
	int rc;

	*out = -1;
	if (!value || !strcmp(value, "-1"))
		return 0;
	rc = parse_uint(key, value, most, &number, err);
	if (!rc)
		*out = (int)number;
	return rc;
}

int take_boot(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct board_boot *boot = &options->board.boot;
	struct keyvals *kv = keyvals_parse_strict("-boot", argument, "order", err);
	int rc;

	if (!kv)
		return -EINVAL;
	keyvals_take(kv, "splash"); /* a picture: there is no display */
	rc = take_letters(kv, "order", boot->order, err);
	if (!rc)
		rc = take_letters(kv, "once", boot->once, err);
	if (!rc)
		rc = take_switch(kv, "menu", &boot->menu, err);
	if (!rc)
		rc = take_switch(kv, "strict", &boot->strict, err);
	if (!rc)
		rc = take_wait(kv, "splash-time", 0xffff, &boot->splash_time, err);
	if (!rc)
		rc = take_wait(kv, "reboot-timeout", 0xffff, &boot->reboot_timeout, err);
	if (!rc)
		rc = refuse_left(kv, err);
	keyvals_free(kv);
	return rc;
}

static bool is_date(const char *text)
{
	static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"};

	for (size_t i = 0; i < 2; i++) {
		struct tm tm = {0};
		const char *end = strptime(text, forms[i], &tm);

		if (end && !*end)
			return true;
	}
	return false;
}

int take_rtc(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv = keyvals_parse("-rtc", argument, NULL, err);
	const char *base, *clock, *fix;
	int rc = 0;

	if (!kv)
		return -EINVAL;
	base = keyvals_get(kv, "base");
	clock = keyvals_get(kv, "clock");
	fix = keyvals_get(kv, "driftfix");
	if (base && !one_of("utc|localtime", base) && !is_date(base))
		rc = error_set(err, EINVAL,
			"invalid datetime format '%s', valid formats: '2006-06-17T16:01:21' or "
			"'2006-06-17'",
			base);
	else if (clock && !one_of("host|rt|vm", clock))
		rc = error_set(err, EINVAL, "invalid option value '%s'", clock);
	else if (fix && !one_of("none|slew", fix))
		rc = error_set(err, EINVAL, "invalid option value '%s'", fix);
	for (struct list *pos = kv->pairs.next; !rc && pos != &kv->pairs; pos = pos->next) {
		const char *key = container_of(pos, struct keyval, link)->key;

		if (!one_of("base|clock|driftfix", key))
			rc = error_set(err, EINVAL, "Invalid parameter '%s'", key);
	}
	if (rc) {
		keyvals_free(kv);
		return rc;
	}
	keyvals_free(options->board.rtc);
	options->board.rtc = kv;
	return 0;
}
