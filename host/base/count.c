/* SPDX-License-Identifier: MIT */
/* Numbers of each thread, in a list that only grows; a thread that ends leaves its to the next. */
#include "base/count.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct counts {
	_Atomic uint64_t numbers[COUNT_KINDS]; /* written by the owner only */
	atomic_bool owned;
	struct counts *next;
};

static _Atomic(struct counts *) all;
static _Thread_local struct counts *mine;
static struct counts shared; /* of threads for which there was no memory */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void give_up(void *counts)
{
	atomic_store(&((struct counts *)counts)->owned, false);
}

static void make_key(void)
{
	pthread_key_create(&key, give_up);
}

static struct counts *take_free(void)
{
	for (struct counts *c = atomic_load(&all); c; c = c->next) {
		bool owned = false;

		if (atomic_compare_exchange_strong(&c->owned, &owned, true))
			return c;
	}
	return NULL;
}

static struct counts *enlist(void)
{
	struct counts *c = take_free();

	pthread_once(&once, make_key);
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return NULL;
		c->owned = true;
		c->next = atomic_load(&all);
		while (!atomic_compare_exchange_weak(&all, &c->next, c))
			;
	}
	pthread_setspecific(key, c);
	return c;
}

void count_add(enum count_kind kind, uint64_t number)
{
	if (!mine)
		mine = enlist();
	if (!mine) {
		atomic_fetch_add(&shared.numbers[kind], number);
		return;
	}
	atomic_store_explicit(&mine->numbers[kind],
		atomic_load_explicit(&mine->numbers[kind], memory_order_relaxed) + number,
		memory_order_relaxed);
}

uint64_t count_sum(enum count_kind kind)
{
	uint64_t sum = atomic_load(&shared.numbers[kind]);

	for (struct counts *c = atomic_load(&all); c; c = c->next)
		sum += atomic_load_explicit(&c->numbers[kind], memory_order_relaxed);
	return sum;
}
