/* SPDX-License-Identifier: MIT */
/*
 * Entropy backends (rng.h).  rng-egd, the third of QEMU's, is not here: its daemon is long out of
 * use.
 */
#include "chardev/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct rng_backend {
	char *id;
	int fd; /* rng-random; -1: builtin */
	bool ended;
	struct loop *loop;
	struct loop_watch watch; /* while somebody waits */
	struct list users;
	struct list link;
};

static struct list all = {&all, &all};
static struct rng_backend builtin = {.fd = -1};
static uint64_t (*follow_draw)(void *opaque);
static void *follow_opaque;

void rng_follow(uint64_t (*draw)(void *opaque), void *opaque)
{
	follow_draw = draw;
	follow_opaque = opaque;
}

static const struct rng_tap *tap;
static unsigned user_count;

void rng_set_tap(const struct rng_tap *new_tap)
{
	tap = new_tap;
}

int rng_enter(unsigned number)
{
	struct list *rng, *pos;

	list_for_each (rng, &all)
		list_for_each (pos, &container_of(rng, struct rng_backend, link)->users) {
			struct rng_user *user = container_of(pos, struct rng_user, link);

			if (user->number != number || !user->waits)
				continue;
			user->waits = false;
			user->ready(user->opaque);
			return 0;
		}
	return -ENODEV;
}

struct rng_backend *rng_find(const char *id)
{
	struct list *pos;

	list_for_each (pos, &all) {
		struct rng_backend *rng = container_of(pos, struct rng_backend, link);

		if (!strcmp(rng->id, id))
			return rng;
	}
	return NULL;
}

struct rng_backend *rng_default(void)
{
	return &builtin;
}

/* Bytes have come: everyone who waits tries again, and waits again if another was faster. */
static void file_ready(void *opaque, uint32_t events)
{
	struct rng_backend *rng = opaque;
	struct list *pos, *next;

	loop_unwatch(rng->loop, &rng->watch);
	list_for_each_safe (pos, next, &rng->users) {
		struct rng_user *user = container_of(pos, struct rng_user, link);

		if (!user->waits || (tap && !tap->ready(tap->opaque, user->number)))
			continue;
		user->waits = false;
		user->ready(user->opaque);
	}
}

/* A FIFO is opened for writing too, so that it never ends when its last writer goes. */
static int open_file(struct rng_backend *rng, const char *path, struct error *err)
{
	struct stat info;
	int access = stat(path, &info) == 0 && S_ISFIFO(info.st_mode) ? O_RDWR : O_RDONLY;

	rng->fd = open(path, access | O_NONBLOCK | O_CLOEXEC);
	if (rng->fd < 0)
		return error_set_errno(err, errno, "Could not open '%s'", path);
	rng->watch = (struct loop_watch){.fd = rng->fd, .ready = file_ready, .opaque = rng};
	return 0;
}

int rng_create(struct loop *loop, struct keyvals *kv, struct error *err)
{
	const char *type = keyvals_get(kv, "qom-type"), *id = keyvals_take(kv, "id"), *path = NULL;
	struct rng_backend *rng;
	int rc = 0;

	if (rng_find(id))
		return error_set(err, EEXIST,
			"attempt to add duplicate property '%s' to object (type 'container')", id);
	rng = calloc(1, sizeof(*rng));
	if (!rng || !(rng->id = strdup(id))) {
		free(rng);
		return error_set(err, ENOMEM, "out of memory");
	}
	rng->fd = -1;
	rng->loop = loop;
	list_init(&rng->users);
	if (!strcmp(type, "rng-random")) {
		path = keyvals_take(kv, "filename");
		rc = open_file(rng, path ? path : "/dev/urandom", err);
	}
	if (rc < 0) {
		free(rng->id);
		free(rng);
		return rc;
	}
	list_add_tail(&all, &rng->link);
	return 0;
}

void rng_destroy_all(void)
{
	struct list *pos, *next;

	list_for_each_safe (pos, next, &all) {
		struct rng_backend *rng = container_of(pos, struct rng_backend, link);

		if (rng->fd >= 0) {
			loop_unwatch(rng->loop, &rng->watch);
			close(rng->fd);
		}
		list_remove(&rng->link);
		free(rng->id);
		free(rng);
	}
}

void rng_attach(struct rng_backend *rng, struct rng_user *user)
{
	user->waits = false;
	user->number = user_count++;
	if (rng == &builtin)
		list_init(&user->link); /* it never lets anyone wait */
	else
		list_add_tail(&rng->users, &user->link);
}

void rng_detach(struct rng_backend *rng, struct rng_user *user)
{
	user->waits = false;
	list_remove(&user->link);
}

static size_t read_builtin(uint8_t *data, size_t length)
{
	size_t done = 0;

	while (done < length) {
		size_t part = length - done < sizeof(uint64_t) ? length - done : sizeof(uint64_t);
		ssize_t n;

		if (follow_draw) {
			uint64_t word = follow_draw(follow_opaque);

			memcpy(data + done, &word, part);
			done += part;
			continue;
		}
		n = getrandom(data + done, length - done, 0);
		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	return done;
}

/* At its end a file has no more to give, ever. */
static size_t read_file(struct rng_backend *rng, void *data, size_t length)
{
	ssize_t n;

	if (rng->ended)
		return 0;
	do {
		n = read(rng->fd, data, length);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return (size_t)n;
	if (n == 0 || errno != EAGAIN)
		rng->ended = true;
	return 0;
}

size_t rng_read(struct rng_backend *rng, struct rng_user *user, void *data, size_t length)
{
	size_t done = rng->fd < 0 ? read_builtin(data, length) : read_file(rng, data, length);

	if (tap && rng->fd >= 0)
		done = tap->read(tap->opaque, data, length, done);
	if (!done && length) {
		user->waits = true;
		if (rng->fd >= 0 && !rng->ended && !rng->watch.watched)
			loop_watch(rng->loop, &rng->watch, EPOLLIN);
	}
	return done;
}
