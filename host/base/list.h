/* SPDX-License-Identifier: MIT */
/* A doubly linked ring with an anchor; an element embeds its links. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next, *prev;
};

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_add_tail(struct list *anchor, struct list *item)
{
	item->prev = anchor->prev;
	item->next = anchor;
	anchor->prev->next = item;
	anchor->prev = item;
}

/* Leaves the item as an empty ring of its own, so removing it twice is harmless. */
static inline void list_remove(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

#define list_for_each(pos, anchor) for (pos = (anchor)->next; pos != (anchor); pos = pos->next)
#define list_for_each_safe(pos, tmp, anchor) \
	for (pos = (anchor)->next, tmp = pos->next; pos != (anchor); pos = tmp, tmp = pos->next)

#endif
