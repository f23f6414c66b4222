/* SPDX-License-Identifier: MIT */
/*
 * The list of character devices, and what is the same for every kind: users, log files, creation
 * from -chardev and from the short forms of -serial and its like.
 */
#include "chardev/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chardev/internal.h"

static const struct chardev_type *const types[] = {
	&chardev_file,
	&chardev_mux,
	&chardev_null,
	&chardev_pipe,
	&chardev_pty,
	&chardev_ring,
	&chardev_serial,
	&chardev_socket,
	&chardev_stdio,
};

static struct list all = {&all, &all};
static void (*terminate_hook)(void *opaque);
static void *terminate_opaque;

void chardev_on_terminate(void (*terminate)(void *opaque), void *opaque)
{
	terminate_hook = terminate;
	terminate_opaque = opaque;
}

void chardev_terminate(void)
{
	if (terminate_hook)
		terminate_hook(terminate_opaque);
}

static const struct chardev_type *find_type(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!strcmp(types[i]->name, name) ||
			(types[i]->alias && !strcmp(types[i]->alias, name)))
			return types[i];
	}
	return NULL;
}

void chardev_print_backends(void)
{
	printf("Available chardev backend types: \n");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		printf("  %s\n", types[i]->name);
}

struct chardev *chardev_find(const char *id)
{
	struct list *pos;

	list_for_each (pos, &all) {
		struct chardev *chr = container_of(pos, struct chardev, link);

		if (!strcmp(chr->id, id))
			return chr;
	}
	return NULL;
}

const char *chardev_id(const struct chardev *chr)
{
	return chr->id;
}

void chardev_for_each(void (*visit)(void *opaque, const struct chardev_info *info), void *opaque)
{
	struct list *pos;

	list_for_each (pos, &all) {
		struct chardev *chr = container_of(pos, struct chardev, link);
		struct chardev_info info = {
			.label = chr->id,
			.filename = chr->filename ? chr->filename : chr->type->name,
			.frontend_open = chr->user != NULL,
		};

		visit(opaque, &info);
	}
}

void chardev_set_filename(struct chardev *chr, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	free(chr->filename);
	chr->filename = text;
}

/* Users. */

int chardev_attach(struct chardev *chr, struct chardev_user *user, struct error *err)
{
	if (!chr->type->attach && chr->user)
		return error_set(err, EBUSY, "Device '%s' is in use", chr->id);
	if (gate_attach(chr, user) < 0)
		return error_set(err, ENOSPC,
			"Device '%s': the input of no more devices can be recorded", chr->id);
	if (chr->type->attach) {
		int rc = chr->type->attach(chr, user, err);

		if (rc < 0)
			gate_detach(user);
		return rc;
	}
	chr->user = user;
	if (chr->type->update)
		chr->type->update(chr);
	if (chr->opened)
		gate_tell(user, CHARDEV_OPENED);
	return 0;
}

void chardev_detach(struct chardev *chr, struct chardev_user *user)
{
	gate_detach(user);
	if (chr->type->detach) {
		chr->type->detach(chr, user);
		return;
	}
	if (chr->user != user)
		return;
	chr->user = NULL;
	if (chr->type->update)
		chr->type->update(chr);
}

size_t chardev_room(struct chardev *chr)
{
	/* A peer that does not read is not listened to: what is kept for it stays bounded. */
	if (chr->kept_bytes)
		return 0;
	return chr->user ? gate_room(chr->user) : 0;
}

void chardev_deliver(struct chardev *chr, const uint8_t *data, size_t length)
{
	if (chr->user && length)
		gate_receive(chr->user, data, length);
}

/* Kept output. */

static void (*kept_changed)(void *opaque, bool kept);
static void *kept_opaque;
static unsigned kept_count; /* devices that keep some */

void chardev_keep_output(void (*changed)(void *opaque, bool kept), void *opaque)
{
	kept_changed = changed;
	kept_opaque = opaque;
}

#define KEPT_ENOUGH (1u << 20) /* who can wait does so now */
#define KEPT_MAX    (64u << 20)

/* Without memory the rest is lost, as on a line without handshake; so is what is beyond KEPT_MAX.
 */
static void keep(struct chardev *chr, const uint8_t *data, size_t length)
{
	uint8_t *kept = length <= KEPT_MAX - chr->kept_bytes
				? realloc(chr->kept, chr->kept_bytes + length)
				: NULL;

	if (!kept)
		return;
	memcpy(kept + chr->kept_bytes, data, length);
	chr->kept = kept;
	if (!chr->kept_bytes && !kept_count++)
		kept_changed(kept_opaque, true);
	chr->kept_bytes += length;
}

bool chardev_is_full(struct chardev *chr)
{
	chr->awaited = chr->awaited || chr->kept_bytes >= KEPT_ENOUGH;
	return chr->awaited;
}

static void release_kept(struct chardev *chr)
{
	if (!chr->kept_bytes)
		return;
	chr->kept_bytes = 0;
	chr->awaited = false;
	free(chr->kept);
	chr->kept = NULL;
	if (!--kept_count)
		kept_changed(kept_opaque, false);
}

static void write_kept(struct chardev *chr)
{
	size_t done = chr->type->write(chr, chr->kept, chr->kept_bytes);

	if (done == chr->kept_bytes) {
		bool awaited = chr->awaited;

		release_kept(chr);
		chardev_accept_input(chr);
		if (awaited && chr->user)
			gate_tell(chr->user, CHARDEV_WRITABLE);
		return;
	}
	chr->kept_bytes -= done;
	memmove(chr->kept, chr->kept + done, chr->kept_bytes);
}

void chardev_tell(struct chardev *chr, enum chardev_event event)
{
	if (event == CHARDEV_WRITABLE && chr->kept_bytes) {
		write_kept(chr);
		return; /* the user was told that all was taken */
	}
	if (event == CHARDEV_CLOSED)
		release_kept(chr);
	if (chr->user)
		gate_tell(chr->user, event);
}

void chardev_set_opened(struct chardev *chr, bool opened)
{
	if (chr->opened == opened)
		return;
	chr->opened = opened;
	chardev_tell(chr, opened ? CHARDEV_OPENED : CHARDEV_CLOSED);
}

void chardev_size_now(const struct chardev *chr, uint16_t *cols, uint16_t *rows)
{
	if (!chr->cols || !chr->rows)
		return;
	*cols = chr->cols;
	*rows = chr->rows;
}

void chardev_size(const struct chardev *chr, uint16_t *cols, uint16_t *rows)
{
	chardev_size_now(chr, cols, rows);
	gate_size(cols, rows);
}

void chardev_resize(struct chardev *chr, uint16_t cols, uint16_t rows)
{
	if (chr->cols == cols && chr->rows == rows)
		return;
	chr->cols = cols;
	chr->rows = rows;
	chardev_tell(chr, CHARDEV_RESIZED);
}

void chardev_accept_input(struct chardev *chr)
{
	if (chr->type->update)
		chr->type->update(chr);
}

static bool is_muted;

void chardev_mute(bool muted)
{
	is_muted = muted;
}

size_t chardev_write(struct chardev *chr, const uint8_t *data, size_t length)
{
	size_t done;

	if (is_muted || (!chr->type->attach && gate_is_known(chr->user)))
		return length;
	done = chr->kept_bytes ? 0 : chr->type->write(chr, data, length);

	if (kept_changed && done < length) {
		keep(chr, data + done, length - done);
		done = length;
	}
	for (size_t logged = 0; chr->log_fd >= 0 && logged < done;) {
		ssize_t n = write(chr->log_fd, data + logged, done - logged);

		if (n < 0 && errno != EINTR)
			break; /* a full disk must not stop the guest */
		logged += n > 0 ? (size_t)n : 0;
	}
	return done;
}

/* Creation. */

int chardev_take_bool(
	struct keyvals *kv, const char *key, bool initial, bool *out, struct error *err)
{
	const char *value = keyvals_take(kv, key);

	*out = initial;
	return value ? parse_bool(key, value, out, err) : 0;
}

int chardev_open_flags(const struct chardev *chr)
{
	return O_CLOEXEC | (chr->plugged ? O_NONBLOCK : 0);
}

static int open_log(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	const char *path = keyvals_take(kv, "logfile");
	bool append;
	int rc = chardev_take_bool(kv, "logappend", false, &append, err);

	if (rc || !path)
		return rc;
	chr->log_fd = open(path,
		O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC) | chardev_open_flags(chr), 0666);
	if (chr->log_fd < 0)
		return error_set_errno(err, errno, "Unable to open logfile %s", path);
	return 0;
}

static void chardev_free(struct chardev *chr)
{
	if (chr->log_fd >= 0)
		close(chr->log_fd);
	list_remove(&chr->link);
	free(chr->kept);
	free(chr->filename);
	free(chr->id);
	free(chr);
}

static struct chardev *make(struct loop *loop, const struct chardev_type *type, const char *id,
	struct keyvals *kv, bool plugged, struct error *err)
{
	const char *left;
	struct chardev *chr;

	if (chardev_find(id)) {
		error_set(err, EEXIST, "Duplicate ID '%s' for chardev", id);
		return NULL;
	}
	chr = calloc(1, type->size);
	if (!chr || !(chr->id = strdup(id))) {
		free(chr);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	chr->type = type;
	chr->loop = loop;
	chr->plugged = plugged;
	chr->log_fd = -1;
	list_init(&chr->link);
	if (open_log(chr, kv, err) || type->open(chr, kv, err)) {
		chardev_free(chr);
		return NULL;
	}
	left = keyvals_left(kv);
	if (left) {
		error_set(err, EINVAL, "Invalid parameter '%s'", left);
		if (type->close)
			type->close(chr);
		chardev_free(chr);
		return NULL;
	}
	list_add_tail(&all, &chr->link);
	return chr;
}

struct chardev *chardev_new(struct loop *loop, const struct chardev_type *type, const char *id,
	struct keyvals *kv, struct error *err)
{
	return make(loop, type, id, kv, false, err);
}

struct chardev *chardev_mux_over(
	struct loop *loop, const char *id, struct chardev *base, struct error *err)
{
	struct keyvals *kv = keyvals_new("");
	struct chardev *mux;

	keyvals_set(kv, "chardev", base->id);
	mux = chardev_new(loop, &chardev_mux, id, kv, err);
	keyvals_free(kv);
	return mux;
}

/* The device itself, and with mux=on a mux in front of it that has the id. */
static struct chardev *create_maybe_mux(struct loop *loop, const struct chardev_type *type,
	const char *id, struct keyvals *kv, struct error *err)
{
	char base_id[128];
	struct chardev *base;
	bool mux;

	if (chardev_take_bool(kv, "mux", false, &mux, err))
		return NULL;
	if (!mux)
		return chardev_new(loop, type, id, kv, err);
	if (chardev_find(id)) {
		error_set(err, EEXIST, "Duplicate ID '%s' for chardev", id);
		return NULL;
	}
	snprintf(base_id, sizeof(base_id), "%s-base", id);
	base = chardev_new(loop, type, base_id, kv, err);
	return base ? chardev_mux_over(loop, id, base, err) : NULL;
}

/* What -chardev begins with.  0 or -errno. */
static int take_head(
	struct keyvals *kv, const char **id, const struct chardev_type **found, struct error *err)
{
	const char *backend = keyvals_take(kv, "backend");

	*id = keyvals_take(kv, "id");
	if (!backend)
		return error_set(err, EINVAL, "chardev: \"%s\" missing backend", *id ? *id : "");
	if (!*id)
		return error_set(err, EINVAL, "chardev: no id specified");
	if (!id_is_wellformed(*id))
		return error_set(err, EINVAL, "Parameter 'id' expects an identifier");
	*found = find_type(backend);
	if (!*found)
		return error_set(err, EINVAL, "'%s' is not a valid char driver name", backend);
	return 0;
}

int chardev_create(struct loop *loop, struct keyvals *kv, struct error *err)
{
	const struct chardev_type *type;
	const char *id;
	int rc = take_head(kv, &id, &type, err);

	if (rc)
		return rc;
	return create_maybe_mux(loop, type, id, kv, err) ? 0 : -EINVAL;
}

int chardev_plug(struct loop *loop, struct keyvals *kv, struct error *err)
{
	const struct chardev_type *type;
	const char *id;
	int rc = take_head(kv, &id, &type, err);

	if (rc)
		return rc;
	return make(loop, type, id, kv, true, err) ? 0 : -EINVAL;
}

/* The short forms: a prefix, the backend it means, and the key that the rest is for. */
static const struct short_form {
	const char *prefix, *backend, *key;
} short_forms[] = {
	{"stdio", "stdio", NULL},
	{"null", "null", NULL},
	{"pty", "pty", NULL},
	{"vc", "null", NULL}, /* no display: nobody ever sees a virtual console */
	{"file:", "file", "path"},
	{"pipe:", "pipe", "path"},
	{"unix:", "socket", "path"},
	{"tcp:", "socket", "address"},
	{"/dev/", "serial", "path"},
};

static const struct short_form *find_short(const char *text)
{
	for (size_t i = 0; i < sizeof(short_forms) / sizeof(short_forms[0]); i++) {
		const char *prefix = short_forms[i].prefix;
		size_t length = strlen(prefix);

		if (strncmp(text, prefix, length))
			continue;
		if (short_forms[i].key || !text[length] || text[length] == ',' ||
			(!strcmp(prefix, "vc") && text[length] == ':'))
			return &short_forms[i];
	}
	return NULL;
}

static struct keyvals *parse_short(
	const struct short_form *form, const char *text, struct error *err)
{
	const char *rest = text + strlen(form->prefix);
	struct keyvals *kv;

	if (!strcmp(form->backend, "null"))
		return keyvals_new(text);
	if (!strcmp(form->prefix, "/dev/"))
		rest = text;
	if (!form->key && *rest == ',')
		rest++;
	/* A file's name is all that follows: commas in it are its own. */
	if (!strcmp(form->prefix, "file:") || !strcmp(form->prefix, "pipe:")) {
		kv = keyvals_new(text);
		keyvals_set(kv, form->key, rest);
	} else {
		kv = keyvals_parse("", rest, form->key, err);
	}
	return kv;
}

struct chardev *chardev_create_short(
	struct loop *loop, const char *id, const char *text, struct error *err)
{
	const struct short_form *form;
	struct chardev *chr = NULL;
	struct keyvals *kv;
	bool mux = false;

	err->text[0] = '\0';
	if (!strcmp(text, "none"))
		return NULL;
	if (!strncmp(text, "chardev:", 8)) {
		chr = chardev_find(text + 8);
		if (!chr)
			error_set(err, ENOENT, "could not find chardev '%s'", text + 8);
		return chr;
	}
	if (!strncmp(text, "mon:", 4)) {
		mux = true;
		text += 4;
	}
	form = find_short(text);
	if (!form) {
		error_set(err, EINVAL, "'%s' is not a valid char driver", text);
		return NULL;
	}
	kv = parse_short(form, text, err);
	if (!kv)
		return NULL;
	if (mux) {
		keyvals_set(kv, "mux", "on");
		/* Ctrl-C belongs to the guest, as in QEMU. */
		if (!strcmp(form->backend, "stdio") && !keyvals_get(kv, "signal"))
			keyvals_set(kv, "signal", "off");
	}
	chr = create_maybe_mux(loop, find_type(form->backend), id, kv, err);
	keyvals_free(kv);
	return chr;
}

void chardev_forget_files(void)
{
	struct list *pos;

	list_for_each (pos, &all)
		chardev_file_forget(container_of(pos, struct chardev, link));
}

int chardev_remove(const char *id)
{
	struct chardev *chr = chardev_find(id);

	if (!chr)
		return -ENOENT;
	if (chr->user || chr->type->attach)
		return -EBUSY;
	release_kept(chr);
	if (chr->type->close)
		chr->type->close(chr);
	chardev_free(chr);
	return 0;
}

void chardev_close_all(void)
{
	struct list *pos, *tmp;

	/* Muxes stand behind their base in the list: close from the end. */
	for (pos = all.prev; pos != &all; pos = tmp) {
		struct chardev *chr = container_of(pos, struct chardev, link);

		tmp = pos->prev;
		if (chr->type->close)
			chr->type->close(chr);
		chardev_free(chr);
	}
}
