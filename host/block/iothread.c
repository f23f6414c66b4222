/* SPDX-License-Identifier: MIT */
/*
 * -object iothread (iothread.h).  The poll-* keys are QEMU's and are checked, but change nothing:
 * completions come by the loop's descriptors, and after a batch was handed to the kernel its
 * completion queue is looked at once before the loop waits.
 */
#include "block/iothread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct list threads = {&threads, &threads};
static struct loop *shared_loop; /* all threads are this one, or NULL */

static const struct {
	const char *key;
	uint64_t max;
} number_keys[] = {
	{"poll-max-ns", INT64_MAX},
	{"poll-grow", INT64_MAX},
	{"poll-shrink", INT64_MAX},
	{"aio-max-batch", INT64_MAX},
	{"thread-pool-min", INT64_MAX},
	{"thread-pool-max", INT64_MAX},
};

struct iothread *iothread_find(const char *id)
{
	struct list *pos;

	list_for_each (pos, &threads) {
		struct iothread *thread = container_of(pos, struct iothread, link);

		if (!strcmp(thread->id, id))
			return thread;
	}
	return NULL;
}

void iothread_for_each(void (*visit)(void *opaque, struct iothread *thread), void *opaque)
{
	struct list *pos;

	list_for_each (pos, &threads)
		visit(opaque, container_of(pos, struct iothread, link));
}

void iothread_map_to(struct loop *loop)
{
	struct list *pos;

	shared_loop = loop;
	list_for_each (pos, &threads) {
		struct iothread *thread = container_of(pos, struct iothread, link);

		loop_thread_join(thread->loop);
		loop_destroy(thread->loop);
		thread->loop = loop;
	}
}

static void iothread_free(struct iothread *thread)
{
	if (thread->loop && thread->loop != shared_loop) {
		loop_thread_join(thread->loop);
		loop_destroy(thread->loop);
	}
	free(thread->id);
	free(thread);
}

static int check_numbers(struct keyvals *kv, struct error *err)
{
	for (size_t i = 0; i < sizeof(number_keys) / sizeof(number_keys[0]); i++) {
		const char *value = keyvals_take(kv, number_keys[i].key);
		uint64_t number;
		int rc;

		if (!value)
			continue;
		rc = parse_uint(number_keys[i].key, value, number_keys[i].max, &number, err);
		if (rc)
			return rc;
	}
	return 0;
}

int iothread_create(struct keyvals *kv, struct error *err)
{
	const char *id = keyvals_take(kv, "id");
	struct iothread *thread;
	int rc;

	if (!id || !*id)
		return error_set(err, EINVAL, "Parameter 'id' is missing");
	if (iothread_find(id))
		return error_set(err, EEXIST,
			"attempt to add duplicate property '%s' to object "
			"(type 'container')",
			id);
	rc = check_numbers(kv, err);
	if (rc)
		return rc;
	thread = calloc(1, sizeof(*thread));
	if (!thread)
		return error_set(err, ENOMEM, "iothread '%s': out of memory", id);
	thread->id = strdup(id);
	thread->loop = shared_loop ? shared_loop : loop_create(id, err);
	rc = !thread->loop ? -ENOMEM : shared_loop ? 0 : loop_thread_start(thread->loop, err);
	if (rc || !thread->id) {
		iothread_free(thread);
		return rc ? rc : error_set(err, ENOMEM, "iothread: out of memory");
	}
	list_add_tail(&threads, &thread->link);
	return 0;
}

void iothread_call(struct loop *loop, void (*run)(void *opaque), void *opaque)
{
	struct list *pos;

	list_for_each (pos, &threads) {
		if (loop != shared_loop && container_of(pos, struct iothread, link)->loop == loop) {
			loop_call(loop, run, opaque);
			return;
		}
	}
	run(opaque);
}

void iothread_destroy_all(void)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &threads) {
		list_remove(pos);
		iothread_free(container_of(pos, struct iothread, link));
	}
}
