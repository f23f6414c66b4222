/* SPDX-License-Identifier: MIT */
/*
 * The grammar of testcases/faults.tsv.  A row is five columns separated by tabs: name, seam,
 * match, action, breaks.  Match and action are words `key=value` or `key`, separated by spaces;
 * docs/faults.md has the list.  Only rows named in ASSAY_FAULTS are kept; a row that cannot be
 * read, or a name that is not there, is one line on stderr, which the harness never takes for
 * silence.
 */
#ifdef ASSAY_FAULTS

#include "base/fault-row.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const seam_names[] = {
	[SEAM_REGION_READ] = "region-read",
	[SEAM_REGION_WRITE] = "region-write",
	[SEAM_SPAN_GET] = "span-get",
	[SEAM_SPAN_PUT] = "span-put",
	[SEAM_QUEUE_POP] = "queue-pop",
	[SEAM_QUEUE_PUSH] = "queue-push",
	[SEAM_QUEUE_NOTIFY] = "queue-notify",
	[SEAM_QUEUE_KICK] = "queue-kick",
	[SEAM_IRQ] = "irq",
	[SEAM_BLOCK_SUBMIT] = "block-submit",
	[SEAM_BLOCK_COMPLETE] = "block-complete",
	[SEAM_TABLE] = "table",
	[SEAM_VALUE] = "value",
	[SEAM_CPU] = "cpu",
};

static const char *const block_ops[] = {"read", "write", "flush", "discard", "zeroes"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct key {
	const char *name;
	size_t field;
} number_keys[] =
	{
		{"size", offsetof(struct row, size)},
		{"queue", offsetof(struct row, queue)},
		{"value", offsetof(struct row, value)},
		{"mask", offsetof(struct row, mask)},
		{"level", offsetof(struct row, level)},
		{"nth", offsetof(struct row, nth)},
		{"from", offsetof(struct row, from)},
		{"every", offsetof(struct row, every)},
},
  action_keys[] =
	  {
		  {"and", offsetof(struct row, and_mask)},
		  {"or", offsetof(struct row, or_mask)},
		  {"xor", offsetof(struct row, xor_mask)},
		  {"value", offsetof(struct row, force)},
		  {"add", offsetof(struct row, add)},
		  {"id-xor", offsetof(struct row, id_xor)},
		  {"line-add", offsetof(struct row, line_add)},
		  {"error", offsetof(struct row, error)},
		  {"shorten", offsetof(struct row, shorten)},
		  {"spill", offsetof(struct row, spill)},
},
  action_flags[] = {
	  {"drop", offsetof(struct row, drop)},
	  {"twice", offsetof(struct row, twice)},
	  {"stuck", offsetof(struct row, stuck)},
	  {"invert", offsetof(struct row, invert)},
	  {"last", offsetof(struct row, last_value)},
};

static bool parse_number(const char *text, uint64_t *out, char stop, const char **rest)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	if (errno || end == text || (*end && *end != stop))
		return false;
	if (rest)
		*rest = *end ? end + 1 : NULL;
	return rest || !*end;
}

static bool set_number(
	struct row *row, const struct key *keys, size_t count, const char *key, const char *value)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(key, keys[i].name))
			continue;
		return parse_number(value, (uint64_t *)((char *)row + keys[i].field), 0, NULL);
	}
	return false;
}

static bool copy(char *to, size_t size, const char *from)
{
	size_t length = strlen(from);

	if (length >= size)
		return false;
	memmove(to, from, length + 1);
	return true;
}

/* while=[REGION:]OFFSET:VALUE */
static bool parse_while(struct row *row, char *text)
{
	char *colon = strchr(text, ':');
	char *second = colon ? strchr(colon + 1, ':') : NULL;
	const char *value;

	if (second) {
		*colon = 0;
		if (!copy(row->while_who, sizeof(row->while_who), text))
			return false;
		text = colon + 1;
	} else {
		copy(row->while_who, sizeof(row->while_who), row->who);
	}
	return parse_number(text, &row->while_offset, ':', &value) && value &&
	       parse_number(value, &row->while_value, 0, NULL);
}

static bool parse_offset(struct row *row, const char *value)
{
	const char *rest;

	if (!parse_number(value, &row->first, '-', &rest))
		return false;
	row->covers = !rest;
	row->last = row->first;
	return !rest || parse_number(rest, &row->last, 0, NULL);
}

static bool parse_match(struct row *row, char *word)
{
	char *value = strchr(word, '=');

	if (!value)
		return false;
	*value++ = 0;
	if (!strcmp(word, "region") || !strcmp(word, "name") || !strcmp(word, "device") ||
		!strcmp(word, "drive"))
		return copy(row->who, sizeof(row->who), value);
	if (!strcmp(word, "offset") || !strcmp(word, "line"))
		return parse_offset(row, value);
	if (!strcmp(word, "while"))
		return parse_while(row, value);
	if (!strcmp(word, "op")) {
		for (size_t i = 0; i < COUNT(block_ops); i++) {
			if (!strcmp(value, block_ops[i])) {
				row->op = i;
				return true;
			}
		}
		return false;
	}
	return set_number(row, number_keys, COUNT(number_keys), word, value);
}

static bool parse_action(struct row *row, char *word)
{
	char *value = strchr(word, '=');
	const char *rest;

	if (!value) {
		for (size_t i = 0; i < COUNT(action_flags); i++) {
			if (!strcmp(word, action_flags[i].name)) {
				*(bool *)((char *)row + action_flags[i].field) = true;
				return true;
			}
		}
		return false;
	}
	*value++ = 0;
	if (!strcmp(word, "corrupt")) /* corrupt=OFFSET:XOR */
		return parse_number(value, &row->corrupt_at, ':', &rest) && rest &&
		       parse_number(rest, &row->corrupt_xor, 0, NULL);
	if (*value == '-' && !strcmp(word, "add")) {
		bool good = parse_number(value + 1, &row->add, 0, NULL);

		row->add = -row->add;
		return good;
	}
	return set_number(row, action_keys, COUNT(action_keys), word, value);
}

static bool parse_words(
	struct row *row, char *text, bool (*parse)(struct row *, char *), const char **bad)
{
	char *save = NULL;

	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		*bad = word;
		if (strcmp(word, "-") && !parse(row, word))
			return false;
	}
	return true;
}

static bool parse_row(struct row *row, char *columns[4], const char **bad)
{
	size_t seam;

	*row = (struct row){
		.first = ANY,
		.last = ANY,
		.size = ANY,
		.queue = ANY,
		.value = ANY,
		.mask = UINT64_MAX,
		.op = ANY,
		.level = ANY,
		.while_offset = ANY,
		.and_mask = UINT64_MAX,
		.force = ANY,
	};
	*bad = columns[0];
	if (!copy(row->name, sizeof(row->name), columns[0]))
		return false;
	*bad = columns[1];
	for (seam = 0; seam < COUNT(seam_names); seam++) {
		if (!strcmp(columns[1], seam_names[seam]))
			break;
	}
	row->seam = (enum seam)seam;
	return seam < COUNT(seam_names) && parse_words(row, columns[2], parse_match, bad) &&
	       parse_words(row, columns[3], parse_action, bad);
}

static void load_row(struct row rows[MAX_ROWS], unsigned *row_count, FILE *table, const char *path,
	const char *name)
{
	char line[1024];
	const char *bad = "";

	rewind(table);
	while (fgets(line, sizeof(line), table)) {
		char *columns[4], *at = line;
		unsigned count = 0;

		line[strcspn(line, "\n")] = 0;
		while (count < 4 && at)
			columns[count++] = strsep(&at, "\t");
		if (line[0] == '#' || count < 4 || strcmp(columns[0], name))
			continue;
		if (*row_count == MAX_ROWS) {
			fprintf(stderr, "assay: ASSAY_FAULTS=%s: more than %d faults at once\n",
				name, MAX_ROWS);
			return;
		}
		if (!parse_row(&rows[*row_count], columns, &bad)) {
			fprintf(stderr, "assay: %s: fault '%s': cannot use '%s'\n", path, name,
				bad);
			return;
		}
		(*row_count)++;
		return;
	}
	fprintf(stderr, "assay: ASSAY_FAULTS=%s: no such fault in %s\n", name, path);
}

unsigned fault_rows_load(struct row rows[MAX_ROWS])
{
	unsigned row_count = 0;
	const char *names = getenv("ASSAY_FAULTS");
	const char *path = getenv("ASSAY_FAULTS_TABLE");
	char *list, *save = NULL;
	FILE *table;

	if (!names || !*names)
		return 0;
	path = path ? path : "testcases/faults.tsv";
	table = fopen(path, "re");
	list = strdup(names);
	if (!table || !list) {
		fprintf(stderr, "assay: ASSAY_FAULTS: cannot read %s: %s\n", path, strerror(errno));
	} else {
		for (char *name = strtok_r(list, ",", &save); name;
			name = strtok_r(NULL, ",", &save))
			load_row(rows, &row_count, table, path, name);
	}
	free(list);
	if (table)
		fclose(table);
	return row_count;
}

#endif
