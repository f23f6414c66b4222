/* SPDX-License-Identifier: MIT */
/*
 * Where a guest's entropy comes from: -object rng-builtin (the host kernel's generator, or the
 * machine's own where a run must be the same again) and -object rng-random (bytes of a file or a
 * device).  Main loop, machine lock held.
 */
#ifndef CHARDEV_RNG_H
#define CHARDEV_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/keyval.h"
#include "base/list.h"
#include "base/loop.h"

struct rng_backend;

struct rng_user {
	void (*ready)(void *opaque); /* rng_read() had given nothing, and may give some now */
	void *opaque;
	struct list link; /* private, as are `waits` and `number` */
	bool waits;
	unsigned number;
};

/* `kv` has "qom-type", "id", for rng-random "filename" (default /dev/urandom).  0 or -errno. */
int rng_create(struct loop *loop, struct keyvals *kv, struct error *err);
struct rng_backend *rng_find(const char *id); /* NULL: none */
struct rng_backend *rng_default(void);	      /* a builtin one without a name */
void rng_destroy_all(void);

/* From now on builtin backends draw from here, eight bytes a call: a machine in virtual time has no
 * other chance than its seed. */
void rng_follow(uint64_t (*draw)(void *opaque), void *opaque);

/* What stands between files and the guest where input is recorded or replayed. */
struct rng_tap {
	/* `done` of `length` bytes were read: how many there are. */
	size_t (*read)(void *opaque, void *data, size_t length, size_t done);
	bool (*ready)(void *opaque, unsigned user); /* may it be told now? */
	void *opaque;
};
void rng_set_tap(const struct rng_tap *tap);
int rng_enter(unsigned user); /* it is told; -ENODEV */

/* A backend may have several users. */
void rng_attach(struct rng_backend *rng, struct rng_user *user);
void rng_detach(struct rng_backend *rng, struct rng_user *user);

/* Up to `length` bytes without waiting; 0: none now, and user->ready() is called once there are. */
size_t rng_read(struct rng_backend *rng, struct rng_user *user, void *data, size_t length);

#endif
