/* SPDX-License-Identifier: MIT */
/* The file of `-icount rr=`, written and read (replay-log.h). */
#include "machine/replay-log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC	       "ASSAYRR\x1a"
#define MAGIC_LENGTH   8
#define FORMAT_VERSION 1
#define TRAITS_MAX     512
#define FILE_MAX       (UINT64_C(4) << 30)
#define ENTRY_FIXED    (1 + 1 + 8 + 8 + 8 + 4) /* kind, rounds, turns, instructions, key, length */
#define SUM_LENGTH     4

static void put(uint8_t **to, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		*(*to)++ = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *from, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)from[i] << 8 * i;
	return value;
}

static uint32_t sum_of(const uint8_t *bytes, size_t length)
{
	return (uint32_t)XXH3_64bits(bytes, length);
}

/* --- writing --- */

int rlog_create(struct rlog_writer *w, const char *path, struct error *err)
{
	*w = (struct rlog_writer){.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
	if (w->fd < 0)
		return error_set_errno(err, errno, "cannot create '%s'", path);
	return 0;
}

static bool write_all(struct rlog_writer *w, const uint8_t *bytes, size_t length)
{
	while (length && !w->error) {
		ssize_t n = write(w->fd, bytes, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			w->error = n < 0 ? errno : ENOSPC;
			break;
		}
		bytes += n;
		length -= (size_t)n;
	}
	return !w->error;
}

int rlog_put_trait(struct rlog_writer *w, const char *name, const char *text, struct error *err)
{
	size_t name_length = strlen(name), text_length = strlen(text);
	uint8_t *to;

	if (name_length > RLOG_NAME_MAX || text_length > RLOG_TEXT_MAX || w->traits == TRAITS_MAX)
		return error_set(err, EINVAL, "%s: too long for the log", name);
	to = realloc(w->head, w->head_length + 3 + name_length + text_length);
	if (!to)
		return error_set(err, ENOMEM, "out of memory");
	w->head = to;
	to += w->head_length;
	put(&to, name_length, 1);
	memcpy(to, name, name_length);
	to += name_length;
	put(&to, text_length, 2);
	memcpy(to, text, text_length);
	w->head_length += 3 + name_length + text_length;
	w->traits++;
	return 0;
}

int rlog_put_head(struct rlog_writer *w, struct error *err)
{
	uint8_t bytes[MAGIC_LENGTH + 4 + 4 + 4], *to = bytes;

	memcpy(to, MAGIC, MAGIC_LENGTH);
	to += MAGIC_LENGTH;
	put(&to, FORMAT_VERSION, 4);
	put(&to, w->traits, 4);
	put(&to, sum_of(w->head, w->head_length), 4);
	if (!write_all(w, bytes, sizeof(bytes)) || !write_all(w, w->head, w->head_length))
		return error_set_errno(err, w->error, "cannot write the log");
	return 0;
}

void rlog_put(struct rlog_writer *w, const struct rlog_entry *entry)
{
	size_t name_length = strlen(entry->name);
	size_t length = ENTRY_FIXED + 1 + name_length + entry->length;
	uint8_t *bytes = malloc(length + SUM_LENGTH), *to = bytes;

	if (!bytes) {
		w->error = w->error ? w->error : ENOMEM;
		return;
	}
	put(&to, entry->kind, 1);
	put(&to, entry->rounds, 1);
	put(&to, entry->turns, 8);
	put(&to, entry->instructions, 8);
	put(&to, entry->key, 8);
	put(&to, entry->length, 4);
	put(&to, name_length, 1);
	memcpy(to, entry->name, name_length);
	to += name_length;
	if (entry->length)
		memcpy(to, entry->payload, entry->length);
	to += entry->length;
	put(&to, sum_of(bytes, length), SUM_LENGTH);
	write_all(w, bytes, length + SUM_LENGTH);
	free(bytes);
}

void rlog_close(struct rlog_writer *w)
{
	if (w->fd >= 0 && close(w->fd) < 0 && !w->error)
		w->error = errno;
	w->fd = -1;
	free(w->head);
	w->head = NULL;
}

/* --- reading --- */

enum parsed { PARSED, CUT, DAMAGED };

/* The file may end anywhere (its writer was killed), but what is there must be whole. */
static enum parsed parse(const uint8_t *bytes, size_t left, struct rlog_entry *entry, size_t *used)
{
	size_t name_length, length;
	uint32_t payload;

	if (left < ENTRY_FIXED + 1)
		return CUT;
	payload = (uint32_t)get(bytes + 26, 4);
	name_length = bytes[ENTRY_FIXED];
	if (bytes[0] < RLOG_ENTERS || bytes[0] > RLOG_END || payload > RLOG_PAYLOAD_MAX ||
		name_length > RLOG_NAME_MAX)
		return DAMAGED;
	length = ENTRY_FIXED + 1 + name_length + payload;
	if (left < length + SUM_LENGTH)
		return CUT;
	if (get(bytes + length, SUM_LENGTH) != sum_of(bytes, length))
		return DAMAGED;
	*entry = (struct rlog_entry){
		.kind = bytes[0],
		.rounds = bytes[1],
		.turns = get(bytes + 2, 8),
		.instructions = get(bytes + 10, 8),
		.key = get(bytes + 18, 8),
		.length = payload,
		.payload = bytes + ENTRY_FIXED + 1 + name_length,
	};
	memcpy(entry->name, bytes + ENTRY_FIXED + 1, name_length);
	*used = length + SUM_LENGTH;
	return PARSED;
}

static int judge_head(struct rlog_reader *r, struct error *err)
{
	size_t at = MAGIC_LENGTH + 12;
	uint64_t count;

	if (r->length < MAGIC_LENGTH || memcmp(r->bytes, MAGIC, MAGIC_LENGTH) != 0)
		return error_set(err, EINVAL, "not a log of assay's rr=record");
	if (r->length < at)
		return error_set(err, EINVAL, "the log ends in its head");
	if (get(r->bytes + 8, 4) != FORMAT_VERSION)
		return error_set(err, ENOTSUP, "format version %u of the log is not known here",
			(unsigned)get(r->bytes + 8, 4));
	count = get(r->bytes + 12, 4);
	r->traits = at;
	for (uint64_t i = 0; i < count; i++) {
		size_t name_length, text_length;

		if (i == TRAITS_MAX)
			return error_set(err, EINVAL, "the head of the log is damaged");
		if (r->length - at < 1)
			return error_set(err, EINVAL, "the log ends in its head");
		name_length = r->bytes[at];
		if (r->length - at < 3 + name_length)
			return error_set(err, EINVAL, "the log ends in its head");
		text_length = get(r->bytes + at + 1 + name_length, 2);
		if (name_length > RLOG_NAME_MAX || text_length > RLOG_TEXT_MAX)
			return error_set(err, EINVAL, "the head of the log is damaged");
		if (r->length - at < 3 + name_length + text_length)
			return error_set(err, EINVAL, "the log ends in its head");
		at += 3 + name_length + text_length;
	}
	if (get(r->bytes + 16, 4) != sum_of(r->bytes + r->traits, at - r->traits))
		return error_set(err, EINVAL, "the head of the log is damaged");
	r->trait_count = (unsigned)count;
	r->entries = at;
	return 0;
}

static int judge_entries(struct rlog_reader *r, struct error *err)
{
	struct rlog_entry entry;
	size_t used = 0;

	for (r->end = r->entries; r->end < r->length; r->end += used) {
		enum parsed parsed = parse(r->bytes + r->end, r->length - r->end, &entry, &used);

		if (parsed == CUT)
			break;
		if (parsed == DAMAGED || r->complete || entry.turns < r->last.turns ||
			entry.instructions < r->last.instructions)
			return error_set(err, EINVAL, "the log is damaged at byte %llu",
				(unsigned long long)r->end);
		r->last = entry;
		r->complete = entry.kind == RLOG_END;
	}
	return 0;
}

int rlog_judge(struct rlog_reader *r, uint8_t *bytes, size_t length, struct error *err)
{
	int rc;

	*r = (struct rlog_reader){.bytes = bytes, .length = length};
	rc = judge_head(r, err);
	return rc ? rc : judge_entries(r, err);
}

static int read_file(int fd, const char *path, uint8_t **bytes, size_t *length, struct error *err)
{
	struct stat st;
	size_t got = 0;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "'%s' is not a file", path);
	if ((uint64_t)st.st_size > FILE_MAX)
		return error_set(err, EFBIG, "'%s' is too big for a log", path);
	*bytes = malloc((size_t)st.st_size + 1);
	if (!*bytes)
		return error_set(err, ENOMEM, "out of memory");
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, *bytes + got, (size_t)st.st_size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "cannot read '%s'", path);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	*length = got;
	return 0;
}

int rlog_open(struct rlog_reader *r, const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc;
	uint8_t *bytes = NULL;
	size_t length = 0;

	if (fd < 0)
		return error_set_errno(err, errno, "cannot open '%s'", path);
	rc = read_file(fd, path, &bytes, &length, err);
	close(fd);
	if (!rc)
		rc = rlog_judge(r, bytes, length, err);
	if (rc) {
		free(bytes);
		*r = (struct rlog_reader){.bytes = NULL};
	}
	return rc;
}

bool rlog_find_trait(const struct rlog_reader *r, const char *name, char text[RLOG_TEXT_MAX + 1])
{
	size_t at = r->traits, wanted = strlen(name);

	for (unsigned i = 0; i < r->trait_count; i++) {
		size_t name_length = r->bytes[at];
		size_t text_length = get(r->bytes + at + 1 + name_length, 2);

		if (name_length == wanted && !memcmp(r->bytes + at + 1, name, wanted)) {
			memcpy(text, r->bytes + at + 3 + name_length, text_length);
			text[text_length] = '\0';
			return true;
		}
		at += 3 + name_length + text_length;
	}
	return false;
}

bool rlog_next(const struct rlog_reader *r, size_t *at, struct rlog_entry *entry)
{
	size_t used = 0;

	if (*at >= r->end || parse(r->bytes + *at, r->end - *at, entry, &used) != PARSED)
		return false;
	*at += used;
	return true;
}

void rlog_free(struct rlog_reader *r)
{
	free(r->bytes);
	r->bytes = NULL;
}
