/* SPDX-License-Identifier: MIT */
/*
 * The runner: which TESTs, in which order, what each came to; KTAP version 1 on the console
 * (docs/wire.md).
 */
#include "runtime/test.h"
#include "runtime/boot.h"
#include "runtime/ctl.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/paging.h"
#include "runtime/pci.h"
#include "runtime/run.h"

#define TESTS_MAX 1024

extern struct test tests_start[], tests_stop[];

struct context test_context;
bool test_running;
static const struct test *current;
static enum verdict verdict;
static char reason[160];
static struct test_reset_hook *hooks;
static uint64_t random_state;
static uint16_t order[TESTS_MAX];

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t test_random(void)
{
	return random_next(&random_state);
}

void test_reset_hook(struct test_reset_hook *hook)
{
	for (struct test_reset_hook *h = hooks; h; h = h->next) {
		if (h == hook)
			return;
	}
	hook->next = hooks;
	hooks = hook;
}

/* life=N on the command line: at the N-th checkpoint of each TEST the machine is saved and goes on
 * in another process, which must change nothing. */
void checkpoint(void)
{
	static const struct test *counted;
	static uint64_t count;

	if (current != counted)
		count = 0;
	counted = current;
	if (++count == cmdline_number("life", 0) && !ctl_save())
		note("checkpoint: not saved: %s", ctl_reason());
}

const char *test_name(void)
{
	return current ? current->name : "";
}

void note(const char *f, ...)
{
	va_list args;

	va_start(args, f);
	print("# ");
	print_va(f, args);
	print("\n");
	va_end(args);
}

void test_verdict(enum verdict v, const char *f, ...)
{
	static const char *const words[] = {"PASS", "SKIP", "DEVIATES", "FAIL", "LEAK", "ERROR"};
	char text[sizeof(reason)];
	va_list args;

	va_start(args, f);
	format_va(text, sizeof(text), f, args);
	va_end(args);
	if (v != VERDICT_SKIP && v != VERDICT_ERROR)
		print("# verdict %s %s\n", words[v], text);
	if (v > verdict) {
		verdict = v;
		memcpy(reason, text, sizeof(text));
	}
}

void test_leave(void)
{
	context_resume(&test_context, 1);
}

bool test_expect(bool holds, const char *what, const char *relation, int64_t expected, int64_t got,
	const char *file, int line)
{
	if (holds)
		return true;
	print("# expected %s %s 0x%lx (%ld), got 0x%lx (%ld) at %s:%d\n", what, relation,
		(uint64_t)expected, expected, (uint64_t)got, got, file, line);
	if (verdict < VERDICT_FAIL)
		verdict = VERDICT_FAIL;
	return false;
}

bool test_expect_memory(const void *got, const void *expected, size_t size, const char *what,
	const char *file, int line)
{
	const uint8_t *g = got, *e = expected;
	size_t at = 0;

	if (memcmp(got, expected, size) == 0)
		return true;
	while (at < size && g[at] == e[at])
		at++;
	print("# expected byte %zu of %s to be 0x%x, got 0x%x at %s:%d\n", at, what, e[at], g[at],
		file, line);
	if (verdict < VERDICT_FAIL)
		verdict = VERDICT_FAIL;
	return false;
}

void test_metric(const char *key, uint64_t value)
{
	print("# metric %s %lu\n", key, value);
}

static bool in_list(const char *list, const char *name)
{
	size_t length = strlen(name);

	while (*list) {
		const char *end = list;

		while (*end && *end != ',')
			end++;
		if ((size_t)(end - list) == length && strncmp(list, name, length) == 0)
			return true;
		list = *end ? end + 1 : end;
	}
	return false;
}

static uint64_t hash(uint64_t seed, const char *s)
{
	for (; *s; s++)
		seed = (seed ^ (uint8_t)*s) * 0x100000001b3ull;
	return seed;
}

/* List order, or shuffled by seed=; then cut by from= (in that order) and run=. */
static unsigned choose(uint64_t seed, bool shuffle)
{
	const char *run = cmdline_get("run"), *from = cmdline_get("from");
	unsigned count = tests_stop - tests_start, chosen = 0;

	if (count > TESTS_MAX)
		count = TESTS_MAX;
	for (unsigned i = 0; i < count; i++)
		order[i] = i;
	for (unsigned i = count; shuffle && i > 1; i--) {
		unsigned j = random_next(&seed) % i;
		uint16_t swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
	for (unsigned i = 0; i < count; i++) {
		const char *name = tests_start[order[i]].name;

		if (from && strcmp(name, from) == 0)
			from = NULL;
		if (!from && (!run || in_list(run, name)))
			order[chosen++] = order[i];
	}
	return chosen;
}

/* Everything a TEST finds is as after boot, whatever the one before it did. */
static bool isolate(void)
{
	idt_load();
	trap_hook(NULL);
	irq_enable();
	for (struct test_reset_hook *h = hooks; h; h = h->next)
		h->reset(h->opaque);
	pci_isolate();
	paging_reset();
	arena_reset();
	return irq_isolate();
}

static void run_one(const struct test *test)
{
	const char *missing;
	int unknown = 0;

	if (!isolate()) {
		test_verdict(VERDICT_ERROR,
			"vector %u is pending before the test and does not go away",
			lapic_anything());
		return;
	}
	missing = needs_missing(test->needs, &unknown);
	if (unknown)
		ERROR("needs: %s is not in runtime/needs.h", missing);
	if (missing)
		SKIP("needs %s", missing);
	test->run();
	guarded_check();
}

/* A frame of its own, because what comes back through test_context knows no local variables. */
static void run_caught(const struct test *test)
{
	test_running = true;
	if (context_save(&test_context) == 0)
		run_one(test);
	test_running = false;
}

static void report(unsigned number, const struct test *test)
{
	bool good = verdict == VERDICT_PASS || verdict == VERDICT_SKIP;

	print("%s %u %s", good ? "ok" : "not ok", number, test->name);
	if (verdict == VERDICT_SKIP)
		print(" # SKIP %s", reason);
	else if (verdict == VERDICT_ERROR)
		print(" # ERROR %s", reason);
	print("\n");
}

void runtime_main(void)
{
	unsigned count, bad = 0;
	uint64_t seed;
	bool shuffle;

	console_init();
	cmdline_init();
	arena_init();
	irq_init();
	shuffle = cmdline_get("seed") != NULL;
	seed = cmdline_number("seed", 1);
	count = choose(seed, shuffle);
	print("KTAP version 1\n1..%u\n", count);
	if (shuffle)
		print("# seed %lu\n", seed);
	for (unsigned i = 0; i < count; i++) {
		current = &tests_start[order[i]];
		verdict = VERDICT_PASS;
		reason[0] = 0;
		random_state = hash(seed ^ 0xcbf29ce484222325ull, current->name);
		print("# begin %s\n", current->name);
		if (current->clauses[0])
			print("# clause %s\n", current->clauses);
		run_caught(current);
		report(i + 1, current);
		bad += verdict > VERDICT_SKIP;
	}
	machine_exit(bad != 0);
}
