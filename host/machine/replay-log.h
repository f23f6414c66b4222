/* SPDX-License-Identifier: MIT */
/*
 * The file of `-icount rr=` (docs/replay.md has its bytes): a head that says of which machine it
 * is, then entries in the order of the run, each with a checksum.  It is read as a whole, and all
 * of it is judged before the first entry is used.
 */
#ifndef MACHINE_REPLAY_LOG_H
#define MACHINE_REPLAY_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define RLOG_NAME_MAX	 64
#define RLOG_TEXT_MAX	 4096
#define RLOG_PAYLOAD_MAX (1u << 20)

enum rlog_kind { RLOG_ENTERS = 1, RLOG_ANSWER, RLOG_CHECK, RLOG_END };

struct rlog_entry {
	enum rlog_kind kind;
	char name[RLOG_NAME_MAX + 1]; /* the source, or the question */
	uint8_t rounds; /* of the loop's tasks since the entry before, in the same place */
	uint64_t turns, instructions, key;
	uint32_t length;
	const uint8_t *payload; /* reading: into the file's bytes */
};

/* Writing. */
struct rlog_writer {
	int fd;
	uint8_t *head; /* until it is complete */
	size_t head_length;
	unsigned traits;
	int error; /* positive errno of the first failure; nothing more is written then */
};

int rlog_create(struct rlog_writer *w, const char *path, struct error *err);
int rlog_put_trait(struct rlog_writer *w, const char *name, const char *text, struct error *err);
int rlog_put_head(struct rlog_writer *w, struct error *err);
void rlog_put(struct rlog_writer *w, const struct rlog_entry *entry);
void rlog_close(struct rlog_writer *w);

/* Reading. */
struct rlog_reader {
	uint8_t *bytes;
	size_t length, traits, entries; /* where they begin */
	size_t end;			/* behind the last whole entry */
	unsigned trait_count;
	struct rlog_entry last; /* its payload too */
	bool complete;		/* that is RLOG_END */
};

int rlog_open(struct rlog_reader *r, const char *path, struct error *err);
/* The same from memory, which stays the caller's. */
int rlog_judge(struct rlog_reader *r, uint8_t *bytes, size_t length, struct error *err);
/* NULL: there is none of that name. */
bool rlog_find_trait(const struct rlog_reader *r, const char *name, char text[RLOG_TEXT_MAX + 1]);
/* The entry at *at (begin with r->entries), which moves behind it.  False: the end. */
bool rlog_next(const struct rlog_reader *r, size_t *at, struct rlog_entry *entry);
void rlog_free(struct rlog_reader *r);

#endif
