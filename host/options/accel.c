/* SPDX-License-Identifier: MIT */
/* -accel, -enable-kvm and -icount: which engine, and what time is under the software processor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/board.h"
#include "cpu/engine.h"
#include "options/internal.h"

static int add_accel(struct options *options, const char *name)
{
	char *list;

	if (asprintf(&list, "%s%s%s", options->accel_list ? options->accel_list : "",
		    options->accel_list ? ":" : "", name) < 0)
		return -ENOMEM;
	free(options->accel_list);
	options->accel_list = list;
	options->board.accels = list;
	return 0;
}

#define SHIFT_MAX 10 /* QEMU's */

/* What only the software processor has: where its time comes from, and the seed of its turns. */
static int take_soft_pairs(struct options *options, struct keyvals *kv, struct error *err)
{
	const char *seed = keyvals_take(kv, "seed"), *clock = keyvals_take(kv, "clock");
	int rc = 0;

	if (seed) {
		options->board.has_seed = true;
		rc = parse_uint("seed", seed, UINT64_MAX, &options->board.seed, err);
	}
	if (rc || !clock)
		return rc;
	if (strcmp(clock, "host") && strcmp(clock, "virtual"))
		return error_set(
			err, EINVAL, "Parameter 'clock' does not accept value '%s'", clock);
	options->board.host_clock = !strcmp(clock, "host");
	return 0;
}

static int take_rr(struct board_config *board, struct keyvals *kv, struct error *err)
{
	const char *mode = keyvals_take(kv, "rr"), *file = keyvals_take(kv, "rrfile");

	if (keyvals_get(kv, "rrsnapshot"))
		return error_set(err, ENOTSUP,
			"'rrsnapshot' is not supported: a run is recorded from its beginning");
	if (!mode && file)
		return error_set(err, EINVAL, "rrfile= needs rr=record or rr=replay");
	if (!mode)
		return 0;
	board->rr_record = !strcmp(mode, "record");
	board->rr_replay = !strcmp(mode, "replay");
	if (!board->rr_record && !board->rr_replay)
		return error_set(err, EINVAL, "Invalid icount rr option: %s", mode);
	if (!file || !*file)
		return error_set(err, EINVAL, "File name not specified for replay");
	free(board->rr_file);
	board->rr_file = strdup(file);
	board->snapshot = true; /* what is written to a disk does not outlive the run */
	return board->rr_file ? 0 : error_set(err, ENOMEM, "out of memory");
}

/* -icount [shift=N|auto][,align=off][,sleep=on|off][,rr=record|replay,rrfile=FILE] */
int take_icount(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct board_config *board = &options->board;
	struct keyvals *kv = keyvals_parse("-icount", argument, "shift", err);
	const char *shift, *align, *sleep;
	uint64_t number = ICOUNT_SHIFT;
	bool sleeps = true, aligned = false;
	int rc = 0;

	if (!kv)
		return -EINVAL;
	shift = keyvals_take(kv, "shift");
	align = keyvals_take(kv, "align");
	sleep = keyvals_take(kv, "sleep");
	if (shift && strcmp(shift, "auto"))
		rc = parse_uint("shift", shift, UINT64_MAX, &number, err);
	if (!rc && number > SHIFT_MAX)
		rc = error_set(err, EINVAL, "icount: Invalid shift value");
	if (!rc && align)
		rc = parse_bool("align", align, &aligned, err);
	if (!rc && aligned)
		rc = error_set(err, EINVAL, "'align=on' is not supported");
	if (!rc && sleep)
		rc = parse_bool("sleep", sleep, &sleeps, err);
	if (!rc)
		rc = take_rr(board, kv, err);
	if (!rc && keyvals_left(kv))
		rc = error_set(err, EINVAL, "Invalid parameter '%s'", keyvals_left(kv));
	keyvals_free(kv);
	board->has_icount = true;
	board->icount_shift = number;
	board->icount_sleep = sleeps;
	return rc;
}

int take_accel(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	/* What tunes an accelerator but changes nothing that a guest sees. */
	static const char *const tuning[] = {"thread", "tb-size", "split-wx", "one-insn-per-tb",
		"kvm-shadow-mem", "dirty-ring-size", "notify-vmexit", "notify-window",
		"igd-passthru"};
	struct keyvals *kv;
	const char *name, *irqchip;
	int rc;

	if (is_help_word(argument)) {
		print_accels();
		return OPTIONS_DONE;
	}
	kv = keyvals_parse("-accel", argument, "accel", err);
	if (!kv)
		return -EINVAL;
	name = keyvals_take(kv, "accel");
	if (name && engine_find(name) && keyvals_get(kv, "help")) {
		print_accel_properties(name);
		keyvals_free(kv);
		return OPTIONS_DONE;
	}
	irqchip = keyvals_take(kv, "kernel-irqchip");
	for (size_t i = 0; i < sizeof(tuning) / sizeof(tuning[0]); i++)
		keyvals_take(kv, tuning[i]);
	rc = name && engine_find(name) == &soft_engine_ops ? take_soft_pairs(options, kv, err) : 0;
	if (rc)
		;
	else if (!name)
		rc = error_set(err, EINVAL, "Parameter 'accel' is missing");
	else if (keyvals_left(kv))
		rc = error_set(
			err, EINVAL, "Property '%s-accel.%s' not found", name, keyvals_left(kv));
	else if (irqchip && strcmp(irqchip, "on"))
		rc = error_set(err, EINVAL, "'kernel-irqchip=%s' is not supported", irqchip);
	else
		rc = add_accel(options, name);
	keyvals_free(kv);
	return rc;
}

int take_enable_kvm(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	return add_accel(options, "kvm");
}
