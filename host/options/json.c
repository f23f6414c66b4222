/* SPDX-License-Identifier: MIT */
/*
 * The JSON form of -blockdev, -device and -object: an object whose members become pairs, nested
 * ones with dotted keys, array elements by their index ("a.0.b").
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "options/internal.h"

#define DEPTH_MAX 16
#define KEY_MAX	  256

static int flatten(struct keyvals *kv, char *key, size_t length, const json_t *value,
	unsigned depth, struct error *err);

static int descend(struct keyvals *kv, char *key, size_t length, const char *name,
	const json_t *value, unsigned depth, struct error *err)
{
	int added = snprintf(key + length, KEY_MAX - length, "%s%s", length ? "." : "", name);

	if (added < 0 || (size_t)added >= KEY_MAX - length)
		return error_set(err, EINVAL, "JSON: key too long");
	return flatten(kv, key, length + (size_t)added, value, depth, err);
}

static int flatten_members(struct keyvals *kv, char *key, size_t length, const json_t *value,
	unsigned depth, struct error *err)
{
	const char *name;
	json_t *member;
	size_t index;
	int rc = 0;

	if (depth > DEPTH_MAX)
		return error_set(err, EINVAL, "JSON: nested too deeply");
	if (json_is_object(value)) {
		json_object_foreach((json_t *)value, name, member)
		{
			rc = descend(kv, key, length, name, member, depth, err);
			if (rc)
				return rc;
		}
	}
	json_array_foreach(value, index, member)
	{
		char number[24];

		snprintf(number, sizeof(number), "%zu", index);
		rc = descend(kv, key, length, number, member, depth, err);
		if (rc)
			return rc;
	}
	return rc;
}

static int flatten(struct keyvals *kv, char *key, size_t length, const json_t *value,
	unsigned depth, struct error *err)
{
	char number[64];

	key[length] = '\0';
	switch (json_typeof(value)) {
	case JSON_OBJECT:
	case JSON_ARRAY: return flatten_members(kv, key, length, value, depth + 1, err);
	case JSON_STRING: keyvals_set(kv, key, json_string_value(value)); return 0;
	case JSON_INTEGER:
		snprintf(
			number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		keyvals_set(kv, key, number);
		return 0;
	case JSON_REAL:
		snprintf(number, sizeof(number), "%.17g", json_real_value(value));
		keyvals_set(kv, key, number);
		return 0;
	case JSON_TRUE:
	case JSON_FALSE: keyvals_set(kv, key, json_is_true(value) ? "on" : "off"); return 0;
	case JSON_NULL: return 0;
	}
	return 0;
}

struct keyvals *parse_json(const char *option, const char *text, struct error *err)
{
	char key[KEY_MAX], origin[256];
	json_error_t where;
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
	struct keyvals *kv;

	if (!root) {
		error_set(err, EINVAL, "JSON parse error: %s", where.text);
		return NULL;
	}
	snprintf(origin, sizeof(origin), "%s %s", option, text);
	kv = keyvals_new(origin);
	if (flatten(kv, key, 0, root, 0, err)) {
		keyvals_free(kv);
		kv = NULL;
	}
	json_decref(root);
	return kv;
}
