/* SPDX-License-Identifier: MIT */
/*
 * An ordered list of key=value pairs as QEMU's options carry them ("virtio-blk-pci,drive=d,id=x"),
 * with the option they came from for error messages.  Whoever consumes a pair takes it; what is
 * left at the end is an unknown property.
 */
#ifndef BASE_KEYVAL_H
#define BASE_KEYVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"

struct keyval {
	struct list link;
	char *key, *value;
	bool taken;
};

struct keyvals {
	struct list pairs; /* of struct keyval, in the order given; a later one of a key wins */
	char *origin;	   /* "-device virtio-blk-pci,drive=d": goes in front of errors */
	struct list link;  /* for lists of option instances */
};

/*
 * Parses QEMU's grammar: comma-separated key=value, ",," is a literal comma; `implied` (or NULL)
 * is the key of a first element without '='; further elements without '=' mean key=on, and
 * "nokey" is taken as key=off only where QEMU does.  Returns NULL with `err` set on bad grammar.
 * The caller owns the result (keyvals_free).
 */
struct keyvals *keyvals_parse(
	const char *option, const char *text, const char *implied, struct error *err);
/*
 * The stricter grammar of QEMU's newer options (-machine, -smp, -boot, -object, -blockdev): no
 * flags without '=', keys of letters, digits, '-', '_' and '.' only.
 */
struct keyvals *keyvals_parse_strict(
	const char *option, const char *text, const char *implied, struct error *err);
struct keyvals *keyvals_new(const char *origin);
void keyvals_free(struct keyvals *kv);
void keyvals_set(struct keyvals *kv, const char *key, const char *value); /* copies both */

/* The value (owned by kv) or NULL; get leaves the pair untaken, take marks all pairs of that key.
 */
const char *keyvals_get(const struct keyvals *kv, const char *key);
const char *keyvals_take(struct keyvals *kv, const char *key);

/* The first key that nobody took, or NULL. */
const char *keyvals_left(const struct keyvals *kv);

/* QEMU's rule for ids: a letter, then letters, digits, '-', '.', '_'. */
bool id_is_wellformed(const char *id);

/* Values: 0, or -EINVAL with a sentence that names `key` and what it takes, as QEMU words it. */
int parse_bool(
	const char *key, const char *value, bool *out, struct error *err); /* on|yes|true|y.. */
int parse_uint(const char *key, const char *value, uint64_t max, uint64_t *out, struct error *err);

/* QEMU's sizes: decimal (fractions allowed with a suffix) or hex without one; suffix b k K M G T P
 * E; without suffix in units of `unit` bytes (1, or 1 MiB for -m).  Rejects negatives and overflow.
 */
int parse_size(const char *key, const char *value, uint64_t unit, uint64_t *out, struct error *err);

#endif
