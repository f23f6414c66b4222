/* SPDX-License-Identifier: MIT */
/*
 * Field tables: what of a struct is state that a saved machine carries, and what values it may
 * have.  One table serves save, load and description (docs/migration.md has the stream).
 *
 * Loading treats every value as hostile.  A field's own limits (min, max, valid) are checked before
 * the value is stored, so that an index is never seen out of its array; what must hold between
 * fields is post_load()'s to check.  The first value that is refused ends the load of the machine.
 */
#ifndef MACHINE_STATE_TABLE_H
#define MACHINE_STATE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "machine/clock.h"

struct state_table;

enum state_kind {
	STATE_NUMBER, /* integers of `size` bytes: 1, 2, 4 or 8 */
	STATE_FLAG,   /* bool */
	STATE_TIMER,  /* struct vm_timer: its deadline, ns of VM time; -1: not armed */
	STATE_GROUP,  /* structs of `size` bytes, each described by `table` */
};

struct state_field {
	const char *name; /* in the stream and in messages; NULL ends a table */
	enum state_kind kind;
	size_t offset;	/* in the struct that the table describes */
	size_t size;	/* of one element */
	unsigned count; /* of elements */
	/* At `offset` stands a pointer to the elements; counted() says how many. */
	unsigned (*counted)(const void *state);
	unsigned since;	   /* first version of the table that has it; 0: all */
	uint64_t min, max; /* of a number; both 0: what the type holds */
	/* May a number have this value?  Earlier fields are in place; this one is as it was. */
	bool (*valid)(const void *state, uint64_t value);
	const struct state_table *table; /* STATE_GROUP */
};

struct state_table {
	const char *name;
	unsigned version; /* from 1; a stream's may be lower, never higher */
	const struct state_field *fields;
	/* Parts that are saved only when needed() says so; NULL-terminated; may be NULL.  A load
	 * that does not find one leaves its fields as they were at reset. */
	const struct state_table *const *subsections;
	bool (*needed)(const void *state); /* of a subsection */
	/* Makes the fields right: what is in flight has ended afterwards.  Called for the whole
	 * machine before the first field is written.  May be NULL. */
	void (*pre_save)(void *state);
	/* The fields are in place: checks them together and makes what follows from them.  0 or
	 * -errno with the field's name in the sentence.  May be NULL. */
	int (*post_load)(void *state, unsigned version, struct error *err);
};

#define STATE_ELEMENT(type, member) (sizeof(((type *)0)->member[0]))
#define STATE_LENGTH(type, member)  (sizeof(((type *)0)->member) / STATE_ELEMENT(type, member))

/* Further designators (.max = 7) follow behind the member. */
#define STATE_PLACE(type, member, what, ...)                                       \
	{                                                                          \
		.name = #member, .kind = (what), .offset = offsetof(type, member), \
		.size = sizeof(((type *)0)->member), .count = 1, ##__VA_ARGS__     \
	}
#define STATE_UINT(type, member, ...) STATE_PLACE(type, member, STATE_NUMBER, ##__VA_ARGS__)
#define STATE_BOOL(type, member, ...) STATE_PLACE(type, member, STATE_FLAG, ##__VA_ARGS__)
#define STATE_ALARM(type, member)     STATE_PLACE(type, member, STATE_TIMER)
#define STATE_PART(type, member, its) STATE_PLACE(type, member, STATE_GROUP, .table = &(its))
#define STATE_ROW(type, member, what, ...)                                                \
	{                                                                                 \
		.name = #member, .kind = (what), .offset = offsetof(type, member),        \
		.size = STATE_ELEMENT(type, member), .count = STATE_LENGTH(type, member), \
		##__VA_ARGS__                                                             \
	}
#define STATE_UINTS(type, member, ...) STATE_ROW(type, member, STATE_NUMBER, ##__VA_ARGS__)
#define STATE_BOOLS(type, member, ...) STATE_ROW(type, member, STATE_FLAG, ##__VA_ARGS__)
#define STATE_PARTS(type, member, its) STATE_ROW(type, member, STATE_GROUP, .table = &(its))
/* `member` points to as many elements as count_of(state) says. */
#define STATE_POINTED(type, member, what, count_of, ...)                                  \
	{                                                                                 \
		.name = #member, .kind = (what), .offset = offsetof(type, member),        \
		.size = STATE_ELEMENT(type, member), .counted = (count_of), ##__VA_ARGS__ \
	}
#define STATE_END            \
	{                    \
		.name = NULL \
	}

/* For a device type that keeps nothing of its own. */
extern const struct state_table state_nothing;

#endif
