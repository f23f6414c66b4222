/* SPDX-License-Identifier: MIT */
/*
 * Tables to bytes and back (fields.h).  A field is its name, the size of an element, how many there
 * are, and the elements; a group's fields stand in the stream one after the other under
 * dotted names ("counters.0.mode").  Byte by byte: docs/migration.md.
 *
 * Loading expects the fields of the table in their order.  A stream of an older version lacks those
 * that came `since`; nothing else may be missing, and nothing may be there that the table does not
 * know.
 */
#include "migration/fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"

#define SUBSECTION   0xff /* where a field has the size of an element */
#define DEADLINE_MAX INT64_C(0x0fffffffffffffff)

struct path {
	char text[STREAM_NAME_MAX + 1];
};

static unsigned count_of(const struct state_field *f, const void *state)
{
	return f->counted ? f->counted(state) : f->count;
}

static uint8_t *elements_of(const struct state_field *f, void *state)
{
	uint8_t *at = (uint8_t *)state + f->offset;

	return f->counted ? *(uint8_t **)at : at;
}

/* The path of a member, or of member number `index` of several. */
static struct path join(const struct path *base, const char *name, unsigned index, bool several)
{
	struct path path;

	if (several)
		snprintf(path.text, sizeof(path.text), "%.60s%.40s.%u.", base->text, name, index);
	else
		snprintf(path.text, sizeof(path.text), "%.70s%.40s.", base->text, name);
	return path;
}

static bool is_several(const struct state_field *f)
{
	return f->counted || f->count != 1;
}

void fields_prepare(const struct state_table *table, void *state)
{
	if (table->pre_save)
		table->pre_save(state);
	for (const struct state_field *f = table->fields; f->name; f++) {
		unsigned count = f->kind == STATE_GROUP ? count_of(f, state) : 0;

		for (unsigned i = 0; i < count; i++)
			fields_prepare(f->table, elements_of(f, state) + i * f->size);
	}
	for (unsigned i = 0; table->subsections && table->subsections[i]; i++)
		if (table->subsections[i]->pre_save)
			table->subsections[i]->pre_save(state);
}

/* --- save --- */

static uint64_t get_number(const uint8_t *at, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, at, size); /* the host is little-endian, as its guest is */
	return value;
}

static int64_t deadline_of(const struct vm_timer *timer)
{
	return vm_timer_is_armed(timer) ? timer->deadline : -1;
}

static void put_elements(
	struct stream *s, const struct state_field *f, const uint8_t *at, unsigned n)
{
	stream_put(s, f->kind == STATE_TIMER ? 8 : f->kind == STATE_FLAG ? 1 : f->size, 1);
	stream_put(s, n, 4);
	for (unsigned i = 0; i < n; i++, at += f->size) {
		if (f->kind == STATE_TIMER)
			stream_put(s, deadline_of((const struct vm_timer *)at), 8);
		else if (f->kind == STATE_FLAG)
			stream_put(s, *(const bool *)at, 1);
		else
			stream_put(s, get_number(at, f->size), f->size);
	}
}

static void save_fields(
	struct stream *s, const struct state_table *table, void *state, const struct path *base)
{
	for (const struct state_field *f = table->fields; f->name; f++) {
		unsigned count = count_of(f, state);
		uint8_t *at = elements_of(f, state);

		if (f->kind == STATE_GROUP) {
			for (unsigned i = 0; i < count; i++) {
				struct path path = join(base, f->name, i, is_several(f));

				save_fields(s, f->table, at + i * f->size, &path);
			}
		} else {
			char name[STREAM_NAME_MAX + 1];

			snprintf(name, sizeof(name), "%.79s%.40s", base->text, f->name);
			stream_put_name(s, name);
			put_elements(s, f, at, count);
		}
	}
	for (unsigned i = 0; table->subsections && table->subsections[i]; i++) {
		const struct state_table *sub = table->subsections[i];
		struct path path = join(base, sub->name, 0, false);

		if (sub->needed && !sub->needed(state))
			continue;
		stream_put_name(s, path.text);
		stream_put(s, SUBSECTION, 1);
		stream_put(s, sub->version, 4);
		save_fields(s, sub, state, &path);
	}
}

void fields_save(struct stream *s, const struct state_table *table, void *state)
{
	save_fields(s, table, state, &(struct path){""});
}

/* --- load --- */

/* The head of the field or subsection that comes next, read ahead. */
struct head {
	bool there, taken;
	char name[STREAM_NAME_MAX + 1];
	unsigned size;	/* or SUBSECTION */
	uint32_t count; /* or version */
};

static const struct head *peek(struct stream *s, struct head *head)
{
	if (!head->taken)
		return head->there ? head : NULL;
	head->taken = false;
	head->there = !s->rc && s->position < s->limit;
	if (!head->there)
		return NULL;
	stream_get_name(s, head->name);
	head->size = stream_get(s, 1);
	head->count = stream_get(s, 4);
	head->there = !s->rc;
	return head->there ? head : NULL;
}

static int refuse(struct stream *s, const char *name, uint64_t value)
{
	return stream_fail(s, EINVAL, "field %s: %llu is not a value it can have", name,
		(unsigned long long)value);
}

static int load_timer(struct stream *s, const char *name, struct vm_timer *timer)
{
	int64_t deadline = stream_get(s, 8);

	if (s->rc)
		return s->rc;
	if (deadline < -1 || deadline > DEADLINE_MAX)
		return refuse(s, name, deadline);
	if (deadline < 0)
		vm_timer_cancel(timer);
	else
		vm_timer_arm(timer, deadline);
	return 0;
}

/* Rows name it state:SECTION:FIELD. */
static void fault_field(const struct stream *s, const char *name, uint64_t *value)
{
#ifdef ASSAY_FAULTS
	char text[2 * STREAM_NAME_MAX + 16];

	snprintf(text, sizeof(text), "state:%s:%s", s->section ? s->section : "", name);
	fault_value(text, value);
#endif
}

static int load_number(
	struct stream *s, const struct state_field *f, const char *name, void *state, uint8_t *at)
{
	uint64_t value = stream_get(s, f->kind == STATE_FLAG ? 1 : f->size);

	if (s->rc)
		return s->rc;
	fault_field(s, name, &value);
	if (f->kind == STATE_FLAG) {
		if (value > 1)
			return refuse(s, name, value);
		*(bool *)at = value;
		return 0;
	}
	if ((f->max && value > f->max) || value < f->min || (f->valid && !f->valid(state, value)))
		return refuse(s, name, value);
	memcpy(at, &value, f->size);
	return 0;
}

static int load_elements(struct stream *s, const struct state_field *f, const char *name,
	void *state, struct head *head)
{
	unsigned size = f->kind == STATE_TIMER ? 8 : f->kind == STATE_FLAG ? 1 : f->size;
	unsigned count = count_of(f, state);
	uint8_t *at = elements_of(f, state);

	if (!peek(s, head) || strcmp(head->name, name) != 0)
		return stream_fail(s, EINVAL, "field %s: missing%s%s", name,
			head->there ? ", before " : "", head->there ? head->name : "");
	if (head->size != size || head->count != count)
		return stream_fail(s, EINVAL, "field %s: %u of %u bytes, where %u of %u belong",
			name, head->count, head->size, count, size);
	head->taken = true;
	for (unsigned i = 0; i < count && !s->rc; i++, at += f->size) {
		if (f->kind == STATE_TIMER)
			load_timer(s, name, (struct vm_timer *)at);
		else
			load_number(s, f, name, state, at);
	}
	return s->rc;
}

static int load_fields(struct stream *s, const struct state_table *table, void *state,
	unsigned version, const struct path *base, struct head *head);

static int load_group(struct stream *s, const struct state_field *f, void *state,
	const struct path *base, struct head *head)
{
	unsigned count = count_of(f, state);
	uint8_t *at = elements_of(f, state);

	for (unsigned i = 0; i < count && !s->rc; i++) {
		struct path path = join(base, f->name, i, is_several(f));

		load_fields(s, f->table, at + i * f->size, f->table->version, &path, head);
	}
	return s->rc;
}

static int load_subsection(struct stream *s, const struct state_table *sub, void *state,
	const struct path *base, struct head *head)
{
	struct path path = join(base, sub->name, 0, false);
	unsigned version;

	if (!peek(s, head) || head->size != SUBSECTION || strcmp(head->name, path.text) != 0)
		return 0;
	version = head->count;
	if (!version || version > sub->version)
		return stream_fail(
			s, ENOTSUP, "field %s: version %u is not known here", path.text, version);
	head->taken = true;
	return load_fields(s, sub, state, version, &path, head);
}

static int load_fields(struct stream *s, const struct state_table *table, void *state,
	unsigned version, const struct path *base, struct head *head)
{
	struct error err = {.text = ""};

	for (const struct state_field *f = table->fields; f->name && !s->rc; f++) {
		char name[STREAM_NAME_MAX + 1];

		if (f->since > version)
			continue;
		snprintf(name, sizeof(name), "%.79s%.40s", base->text, f->name);
		if (f->kind == STATE_GROUP)
			load_group(s, f, state, base, head);
		else
			load_elements(s, f, name, state, head);
	}
	for (unsigned i = 0; !s->rc && table->subsections && table->subsections[i]; i++)
		load_subsection(s, table->subsections[i], state, base, head);
	if (!s->rc && table->post_load && table->post_load(state, version, &err) < 0)
		stream_fail(s, EINVAL, "field %.80s%.300s", base->text, err.text);
	return s->rc;
}

int fields_load(struct stream *s, const struct state_table *table, void *state, unsigned version)
{
	struct head head = {.taken = true};

	if (!version || version > table->version)
		return stream_fail(s, ENOTSUP, "version %u is not known here (up to %u is)",
			version, table->version);
	load_fields(s, table, state, version, &(struct path){""}, &head);
	if (!s->rc && peek(s, &head))
		stream_fail(s, EINVAL, "field %s: not known here", head.name);
	return s->rc;
}
