/* SPDX-License-Identifier: MIT */
/* -cpu and -smp: the processors, their model and how they are laid out. */
#include <errno.h>
#include <stdio.h>

#include "cpu/model.h"
#include "options/internal.h"

int take_cpu(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct cpu_choice choice;

	if (is_help_word(argument)) {
		print_cpus();
		return OPTIONS_DONE;
	}
	options->board.cpu = argument;
	return cpu_choice_parse(argument, &choice, err);
}

/* -smp: what is not said follows from what is, cores before sockets (QEMU since 6.2). */

struct topology {
	uint64_t cpus, maxcpus, sockets, dies, clusters, cores, threads;
};

static int read_topology(struct keyvals *kv, struct topology *t, struct error *err)
{
	const struct {
		const char *key;
		uint64_t *to;
	} keys[] = {{"cpus", &t->cpus}, {"maxcpus", &t->maxcpus}, {"sockets", &t->sockets},
		{"dies", &t->dies}, {"clusters", &t->clusters}, {"cores", &t->cores},
		{"threads", &t->threads}};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = keyvals_take(kv, keys[i].key);

		if (value && parse_uint(keys[i].key, value, 65535, keys[i].to, err))
			return -EINVAL;
		if (value && !*keys[i].to)
			return error_set(
				err, EINVAL, "CPU topology parameters must be greater than zero");
	}
	if (t->clusters > 1)
		return error_set(
			err, EINVAL, "clusters not supported by this machine's CPU topology");
	if (keyvals_left(kv))
		return error_set(err, EINVAL, "Parameter 'smp.%s' is unexpected", keyvals_left(kv));
	return 0;
}

static uint64_t or_one(uint64_t n)
{
	return n ? n : 1;
}

static uint64_t product(const struct topology *t)
{
	return t->sockets * t->dies * t->cores * t->threads;
}

static void topology_text(const struct topology *t, char *to, size_t size)
{
	snprintf(to, size, "sockets (%llu) * dies (%llu) * cores (%llu) * threads (%llu)",
		(unsigned long long)t->sockets, (unsigned long long)t->dies,
		(unsigned long long)t->cores, (unsigned long long)t->threads);
}

static int check_topology(const struct topology *t, struct error *err)
{
	char text[128];

	topology_text(t, text, sizeof(text));
	if (product(t) != t->maxcpus)
		return error_set(err, EINVAL,
			"Invalid CPU topology: product of the hierarchy must match maxcpus: %s != "
			"maxcpus (%llu)",
			text, (unsigned long long)t->maxcpus);
	if (t->maxcpus < t->cpus)
		return error_set(err, EINVAL,
			"Invalid CPU topology: maxcpus must be equal to or greater than smp: %s == "
			"maxcpus (%llu) < smp_cpus (%llu)",
			text, (unsigned long long)t->maxcpus, (unsigned long long)t->cpus);
	if (t->maxcpus > t->cpus)
		return error_set(err, EINVAL, "maxcpus=%llu: processors cannot be added later",
			(unsigned long long)t->maxcpus);
	return 0;
}

static int complete_topology(struct topology *t, struct error *err)
{
	uint64_t all = t->maxcpus ? t->maxcpus : t->cpus;

	t->dies = or_one(t->dies);
	if (!all) {
		t->sockets = or_one(t->sockets);
		t->cores = or_one(t->cores);
		t->threads = or_one(t->threads);
	} else if (!t->cores) {
		t->sockets = or_one(t->sockets);
		t->threads = or_one(t->threads);
		t->cores = all / (t->sockets * t->dies * t->threads);
	} else if (!t->sockets) {
		t->threads = or_one(t->threads);
		t->sockets = all / (t->dies * t->cores * t->threads);
	} else if (!t->threads) {
		t->threads = all / (t->sockets * t->dies * t->cores);
	}
	t->maxcpus = t->maxcpus ? t->maxcpus : (t->cpus ? t->cpus : product(t));
	t->cpus = t->cpus ? t->cpus : t->maxcpus;
	return check_topology(t, err);
}

/* Several -smp add up; a later word wins. */
int take_smp(struct options *options, const struct option_row *row, const char *argument,
	struct error *err)
{
	struct keyvals *kv = keyvals_parse_strict("-smp", argument, "cpus", err);
	struct cpu_topology *said = &options->smp;
	struct topology t = {said->cpus, options->maxcpus, said->sockets, said->dies, 0,
		said->cores, said->threads};
	int rc;

	if (!kv)
		return -EINVAL;
	rc = read_topology(kv, &t, err);
	keyvals_free(kv);
	if (rc)
		return rc;
	*said = (struct cpu_topology){t.cpus, t.sockets, t.dies, t.cores, t.threads};
	options->maxcpus = t.maxcpus;
	rc = complete_topology(&t, err);
	options->board.smp = (struct cpu_topology){t.cpus, t.sockets, t.dies, t.cores, t.threads};
	return rc;
}
