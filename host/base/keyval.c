/* SPDX-License-Identifier: MIT */
/*
 * Option arguments as QEMU reads them (keyval.h).  The grammar is that of QEMU 7.2, found by trying
 * its command line: a doubled comma stands for one; a flag "foo" is foo=on and "nofoo" is foo=off,
 * whatever the word is (so "node-name" alone sets de-name=off, there as here).
 * Left out: QEMU's warning for flags, because Assay's stderr is silent when all is well.
 */
#include "base/keyval.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Command lines are read in start-up, where running out of memory is fatal (DESIGN.md, Errors). */
static void *need(void *memory)
{
	if (!memory) {
		fputs("assay: out of memory\n", stderr);
		_Exit(1);
	}
	return memory;
}

struct keyvals *keyvals_new(const char *origin)
{
	struct keyvals *kv = need(calloc(1, sizeof(*kv)));

	list_init(&kv->pairs);
	list_init(&kv->link);
	kv->origin = need(strdup(origin));
	return kv;
}

void keyvals_free(struct keyvals *kv)
{
	struct list *pos, *tmp;

	if (!kv)
		return;
	list_for_each_safe (pos, tmp, &kv->pairs) {
		struct keyval *pair = container_of(pos, struct keyval, link);

		free(pair->key);
		free(pair->value);
		free(pair);
	}
	list_remove(&kv->link);
	free(kv->origin);
	free(kv);
}

static void append_pair(struct keyvals *kv, char *key, char *value)
{
	struct keyval *pair = need(calloc(1, sizeof(*pair)));

	pair->key = need(key);
	pair->value = need(value);
	list_add_tail(&kv->pairs, &pair->link);
}

void keyvals_set(struct keyvals *kv, const char *key, const char *value)
{
	append_pair(kv, strdup(key), strdup(value));
}

/* Reads up to a single comma or the end; returns where the next element begins, NULL at the end. */
static const char *read_value(const char *text, char **value)
{
	char *out = need(malloc(strlen(text) + 1));
	size_t length = 0;

	while (*text && !(text[0] == ',' && text[1] != ',')) {
		if (text[0] == ',')
			text++;
		out[length++] = *text++;
	}
	out[length] = '\0';
	*value = out;
	return *text ? text + 1 : NULL;
}

static struct keyvals *new_with_origin(const char *option, const char *text)
{
	size_t size = strlen(option) + strlen(text) + 2;
	char *origin = need(malloc(size));
	struct keyvals *kv;

	snprintf(origin, size, "%s %s", option, text);
	kv = keyvals_new(origin);
	free(origin);
	return kv;
}

static bool is_help(const char *text, size_t length)
{
	return (length == 4 && !memcmp(text, "help", 4)) || (length == 1 && *text == '?');
}

/* An element without '=' that is not the implied first one. */
static const char *read_flag(struct keyvals *kv, const char *text, size_t length)
{
	const char *next = text[length] ? text + length + 1 : NULL;

	if (is_help(text, length))
		append_pair(kv, strdup("help"), strdup("on"));
	else if (length >= 2 && !memcmp(text, "no", 2))
		append_pair(kv, strndup(text + 2, length - 2), strdup("off"));
	else
		append_pair(kv, strndup(text, length), strdup("on"));
	return next;
}

struct keyvals *keyvals_parse(
	const char *option, const char *text, const char *implied, struct error *err)
{
	struct keyvals *kv = new_with_origin(option, text);
	const char *at = text;

	while (at && *at) {
		size_t length = strcspn(at, "=,");
		char *value;

		if (at[length] == '=') {
			char *key = strndup(at, length);

			at = read_value(at + length + 1, &value);
			append_pair(kv, key, value);
		} else if (implied) {
			at = read_value(at, &value);
			append_pair(kv, strdup(implied), value);
		} else {
			at = read_flag(kv, at, length);
		}
		implied = NULL;
	}
	return kv;
}

static size_t key_length(const char *text)
{
	size_t length = 0;

	while (isalnum((unsigned char)text[length]) ||
		(text[length] && strchr("-_.", text[length])))
		length++;
	return length;
}

struct keyvals *keyvals_parse_strict(
	const char *option, const char *text, const char *implied, struct error *err)
{
	struct keyvals *kv = new_with_origin(option, text);
	const char *at = text;

	while (at && *at) {
		size_t length = strcspn(at, "=,");
		char *value;

		if (at[length] != '=' && is_help(at, length)) {
			append_pair(kv, strdup("help"), strdup("on"));
			at = at[length] ? at + length + 1 : NULL;
		} else if (at[length] != '=' && implied) {
			at = read_value(at, &value);
			append_pair(kv, strdup(implied), value);
		} else if (at[length] != '=' && length && key_length(at) == length) {
			error_set(err, EINVAL, "Expected '=' after parameter '%.*s'", (int)length,
				at);
			goto bad;
		} else if (!length || key_length(at) != length) {
			error_set(err, EINVAL, "Invalid parameter '%.*s'", (int)length, at);
			goto bad;
		} else {
			char *key = strndup(at, length);

			at = read_value(at + length + 1, &value);
			append_pair(kv, key, value);
		}
		implied = NULL;
	}
	return kv;
bad:
	keyvals_free(kv);
	return NULL;
}

const char *keyvals_get(const struct keyvals *kv, const char *key)
{
	const char *value = NULL;
	struct list *pos;

	list_for_each (pos, &kv->pairs) {
		struct keyval *pair = container_of(pos, struct keyval, link);

		if (!strcmp(pair->key, key))
			value = pair->value;
	}
	return value;
}

const char *keyvals_take(struct keyvals *kv, const char *key)
{
	const char *value = NULL;
	struct list *pos;

	list_for_each (pos, &kv->pairs) {
		struct keyval *pair = container_of(pos, struct keyval, link);

		if (!strcmp(pair->key, key)) {
			value = pair->value;
			pair->taken = true;
		}
	}
	return value;
}

const char *keyvals_left(const struct keyvals *kv)
{
	struct list *pos;

	list_for_each (pos, &kv->pairs) {
		struct keyval *pair = container_of(pos, struct keyval, link);

		if (!pair->taken)
			return pair->key;
	}
	return NULL;
}

bool id_is_wellformed(const char *id)
{
	if (!isalpha((unsigned char)*id))
		return false;
	return key_length(id) == strlen(id);
}

int parse_bool(const char *key, const char *value, bool *out, struct error *err)
{
	static const char *const words[][2] = {
		{"off", "on"}, {"no", "yes"}, {"false", "true"}, {"n", "y"}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (int truth = 0; truth < 2; truth++) {
			if (!strcmp(value, words[i][truth])) {
				*out = truth;
				return 0;
			}
		}
	}
	return error_set(err, EINVAL, "Parameter '%s' expects 'on' or 'off'", key);
}

/* A number in C's notation at the start of `text`.  0, -EINVAL (none, or negative), -ERANGE. */
static int read_number(const char *text, int base, uint64_t *out, const char **end)
{
	char *stop;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*out = strtoull(text, &stop, base);
	*end = stop;
	return errno == ERANGE ? -ERANGE : 0;
}

int parse_uint(const char *key, const char *value, uint64_t max, uint64_t *out, struct error *err)
{
	const char *end = value;
	uint64_t number;
	int rc = read_number(value, 0, &number, &end);

	if (rc == -EINVAL || *end)
		return error_set(err, EINVAL, "Parameter '%s' expects a number", key);
	if (rc || number > max)
		return error_set(
			err, EINVAL, "Value '%s' is too large for parameter '%s'", value, key);
	*out = number;
	return 0;
}

/* The shift that a suffix stands for, or -1. */
static int suffix_shift(char c)
{
	static const char letters[] = "BKMGTPE";
	const char *found = c ? strchr(letters, toupper((unsigned char)c)) : NULL;

	return found ? (int)(found - letters) * 10 : -1;
}

/* The digits after the point, in units of 2^-64; more digits than that can hold are cut. */
static uint64_t read_fraction(const char *text, const char **end)
{
	__uint128_t value = 0, scale = 1;

	for (; isdigit((unsigned char)*text); text++) {
		if (scale < 1000000000000000000ull) {
			value = value * 10 + (unsigned)(*text - '0');
			scale *= 10;
		}
	}
	*end = text;
	return (uint64_t)((value << 64) / scale);
}

int parse_size(const char *key, const char *value, uint64_t unit, uint64_t *out, struct error *err)
{
	bool is_hex = value[0] == '0' && (value[1] == 'x' || value[1] == 'X');
	const char *end = value;
	uint64_t whole, fraction = 0;
	__uint128_t scaled;
	int shift, rc;

	if (is_hex && !isxdigit((unsigned char)value[2]))
		goto bad;
	rc = read_number(value, is_hex ? 16 : 10, &whole, &end);
	if (rc == -EINVAL)
		goto bad;
	if (*end == '.' && !is_hex)
		fraction = read_fraction(end + 1, &end);
	shift = suffix_shift(*end);
	if (shift >= 0)
		end++;
	/* A part of a byte has no meaning. */
	if (*end || (fraction && shift <= 0))
		goto bad;
	if (rc)
		goto range;
	if (shift >= 0)
		unit = 1ull << shift;
	scaled = (__uint128_t)whole * unit + ((__uint128_t)fraction * unit >> 64);
	if (scaled > UINT64_MAX)
		goto range;
	*out = (uint64_t)scaled;
	return 0;
bad:
	return error_set(err, EINVAL,
		"Parameter '%s' expects a non-negative number below 2^64, with an optional suffix "
		"k, M, G, T, P or E",
		key);
range:
	return error_set(err, EINVAL, "Value '%s' is out of range for parameter '%s'", value, key);
}
