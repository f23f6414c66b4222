/* SPDX-License-Identifier: MIT */
/*
 * What -h, -version and the "help" arguments print, in QEMU's form, from the tables that the rest
 * of the program works with.  Nothing here runs unless it is asked for.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "board/board.h"
#include "cpu/engine.h"
#include "cpu/model.h"
#include "options/internal.h"

void print_version(void)
{
	printf("Assay emulator version %s (with the command line of QEMU %d.%d)\n", ASSAY_VERSION,
		QEMU_MAJOR, QEMU_MINOR);
}

void print_help(void)
{
	print_version();
	printf("usage: assay [options] [disk_image]\n\n"
	       "'disk_image' is a raw hard disk image for IDE hard disk 0\n");
	for (unsigned i = 0; i < option_row_count; i++) {
		const struct option_row *row = &option_rows[i];

		if (!row->name)
			printf("\n%s\n", row->help);
		else if (row->help)
			fputs(row->help, stdout);
	}
	printf("\nOther options of QEMU's are accepted where they change nothing that a guest "
	       "sees\n"
	       "here, and refused with one line where they would.\n"
	       "When using -nographic, press 'ctrl-a h' to get some help.\n");
}

void print_machines(void)
{
	printf("Supported machines are:\n");
	for (unsigned i = 0; board_types[i]; i++) {
		const struct board_type *type = board_types[i];
		const char *is_default = i ? "" : " (default)";

		if (type->alias)
			printf("%-20s %s (alias of %s)\n", type->alias, type->description,
				type->name);
		printf("%-20s %s%s\n", type->name, type->description, is_default);
	}
}

void print_accels(void)
{
	printf("Accelerators supported in Assay binary:\n");
	for (unsigned i = 0; engines[i]; i++)
		printf("%s\n", engines[i]->name);
}

void print_accel_properties(const char *name)
{
	static const struct {
		const char *accel, *line;
	} properties[] = {
		{"soft", "clock=host|virtual -- what its time follows: the host's clock, or its "
			 "instructions (default virtual)"},
		{"soft", "seed=<uint64>      -- varies turns of processors and times of I/O"},
		{"kvm", "kernel-irqchip=on  -- the only value there is"},
	};

	printf("%s-accel options:\n", name);
	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++)
		if (!strcmp(properties[i].accel, name))
			printf("  %s\n", properties[i].line);
}

void print_cpus(void)
{
	const char *name;
	unsigned column = 0;

	printf("Available CPUs:\n");
	for (const struct cpu_model *model = cpu_models; model->name; model++)
		printf("x86 %-20s  %s\n", model->name, model->description);
	printf("\nRecognized CPUID flags:\n");
	for (unsigned i = 0; (name = cpu_feature_name(i)); i++) {
		unsigned length = (unsigned)strlen(name) + 1;

		if (!*name)
			continue;
		if (column + length > 76) {
			printf("\n");
			column = 0;
		}
		printf("%s%s", column ? " " : "  ", name);
		column += length + (column ? 0 : 1);
	}
	printf("\n");
}

void print_objects(void)
{
	printf("List of user creatable objects:\n  iothread\n  rng-builtin\n  rng-random\n");
}

void print_log_items(void)
{
	printf("Log items (comma separated):\n"
	       "guest_errors    what the guest does against a datasheet or a specification\n"
	       "hash            soft in virtual time: a hash of registers, memory and serial "
	       "output\n"
	       "                each million instructions and whenever the machine stops\n"
	       "int             soft: each interrupt and exception\n"
	       "in_asm          soft: each block of guest code when it is decoded\n"
	       "cpu_reset       soft: each reset, and where the processor was\n"
	       "Items of QEMU's that concern its translator are accepted and print nothing.\n");
}

static void print_device(const struct device_type *type)
{
	printf("name \"%s\", bus %s", type->name, type->bus);
	if (type->description)
		printf(", desc \"%s\"", type->description);
	printf("\n");
}

static bool listed_in(const struct device_type *type, const char *category)
{
	return !type->internal && !strcmp(type->category ? type->category : "Misc", category);
}

void print_devices(void)
{
	static const char *const categories[] = {"Controller/Bridge/Hub", "USB", "Storage",
		"Network", "Input", "Display", "Sound", "Misc", "CPU", "Watchdog"};

	const char *gap = "";

	for (size_t c = 0; c < sizeof(categories) / sizeof(categories[0]); c++) {
		bool headed = false;

		for (unsigned i = 0; device_types[i]; i++) {
			if (!listed_in(device_types[i], categories[c]))
				continue;
			if (!headed)
				printf("%s%s devices:\n", gap, categories[c]);
			headed = true;
			gap = "\n";
			print_device(device_types[i]);
		}
	}
}

static const struct kind_text {
	const char *type, *hint;
	const char *initial; /* when the table gives none */
	bool quoted;
} kind_texts[] = {
	[PROPERTY_BOOL] = {"bool", "on/off", "false", false},
	[PROPERTY_TRISTATE] = {"OnOffAuto", "on/off/auto", "auto", true},
	[PROPERTY_UINT8] = {"uint8", "", "0", false},
	[PROPERTY_UINT16] = {"uint16", "", "0", false},
	[PROPERTY_UINT32] = {"uint32", "", "0", false},
	[PROPERTY_UINT64] = {"uint64", "", "0", false},
	[PROPERTY_SIZE] = {"size", "", "0", false},
	[PROPERTY_STRING] = {"str", NULL, NULL, true},
	[PROPERTY_CHARDEV] = {"str", "ID of a chardev to use as a backend", NULL, true},
	[PROPERTY_DRIVE] = {"str", "Node name or ID of a block device to use as a backend", NULL,
		true},
	[PROPERTY_IOTHREAD] = {"link<iothread>", NULL, NULL, false},
	[PROPERTY_RNG] = {"link<rng-backend>", NULL, NULL, false},
	[PROPERTY_PCI_ADDRESS] = {"int32", "Slot and optional function number, example: 06.0 or 06",
		"-1", false},
	[PROPERTY_ENUM] = {"str", "", NULL, true},
};

static const char *initial_text(const struct property *property)
{
	const char *initial =
		property->initial ? property->initial : kind_texts[property->kind].initial;
	bool on;

	if (!initial && property->kind == PROPERTY_ENUM && property->names)
		initial = property->names[0];
	if (initial && property->kind == PROPERTY_BOOL && !parse_bool("", initial, &on, NULL))
		initial = on ? "true" : "false";
	return initial;
}

static void print_property(const struct property *property)
{
	const struct kind_text *kind = &kind_texts[property->kind];
	const char *hint = property->help ? property->help : kind->hint;
	const char *initial = initial_text(property), *quote = kind->quoted ? "\"" : "";
	char left[64];

	snprintf(left, sizeof(left), "%s=<%s>", property->name, kind->type);
	if (hint || initial)
		printf("  %-22s - %s", left, hint ? hint : "");
	else
		printf("  %s", left);
	if (initial)
		printf(" (default: %s%s%s)", quote, initial, quote);
	printf("\n");
}

/* Both tables of a type as one list in alphabetical order. */
static const struct property *next_property(const struct device_type *type, const char *after)
{
	const struct property *tables[] = {type->properties, type->more_properties}, *best = NULL;

	for (unsigned t = 0; t < 2; t++) {
		for (const struct property *p = tables[t]; p && p->name; p++) {
			if ((!after || strcmp(p->name, after) > 0) &&
				(!best || strcmp(p->name, best->name) < 0))
				best = p;
		}
	}
	return best;
}

int print_device_properties(const char *name, struct error *err)
{
	const struct device_type *type = device_type_find(name);
	const struct property *property = NULL;

	if (!type)
		return error_set(err, ENODEV, "Device '%s' not found", name);
	property = next_property(type, NULL);
	printf(property ? "%s options:\n" : "There are no options for %s.\n", type->name);
	for (; property; property = next_property(type, property->name))
		print_property(property);
	return 0;
}
