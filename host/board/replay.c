/* SPDX-License-Identifier: MIT */
/*
 * -icount rr=record|replay,rrfile=FILE (docs/replay.md): opens the log, sets the gate before
 * character devices, and tells the log's head what machine this is, so that a log of another one is
 * refused by the name of what differs.
 */
#include "board/replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "block/block.h"
#include "chardev/chardev.h"
#include "chardev/rng.h"
#include "cpu/engine.h"
#include "machine/outside.h"

/* --- character devices --- */

#define CHARDEV_HEAD 2 /* the device's number, and what it is: CHARDEV_DATA or an event */
#define CHARDEV_DATA 0xff
#define CHARDEV_MOST 65536

static int enter_chardev(void *opaque, const uint8_t *payload, size_t length)
{
	if (length < CHARDEV_HEAD)
		return -EINVAL;
	if (payload[1] == CHARDEV_DATA)
		return chardev_enter(
			payload[0], CHARDEV_OPENED, payload + CHARDEV_HEAD, length - CHARDEV_HEAD);
	if (payload[1] > CHARDEV_RESIZED || payload[1] == CHARDEV_WRITABLE)
		return -EINVAL;
	return chardev_enter(payload[0], payload[1], NULL, 0);
}

static struct outside_source chardev_source = {.name = "chardev", .apply = enter_chardev};

static bool offer(
	void *opaque, unsigned device, enum chardev_event event, const uint8_t *data, size_t length)
{
	uint8_t payload[CHARDEV_HEAD + CHARDEV_MOST];

	if (length > CHARDEV_MOST)
		return false;
	payload[0] = (uint8_t)device;
	payload[1] = data ? CHARDEV_DATA : event;
	if (data)
		memcpy(payload + CHARDEV_HEAD, data, length);
	return outside_enter(&chardev_source, payload, CHARDEV_HEAD + length);
}

static bool is_open(void *opaque)
{
	return outside_may_enter();
}

static void answer_size(void *opaque, uint16_t *cols, uint16_t *rows)
{
	uint16_t size[2] = {*cols, *rows};

	outside_answer("size", 0, size, sizeof(size), true);
	*cols = size[0];
	*rows = size[1];
}

static bool is_known(void *opaque)
{
	return outside_was_here();
}

static struct chardev_gate gate = {
	.is_open = is_open, .offer = offer, .size = answer_size, .is_known = is_known};

/* --- entropy --- */

/* How many bytes there were stands before them. */
static size_t answer_entropy(void *opaque, void *data, size_t length, size_t done)
{
	uint8_t *answer = malloc(sizeof(uint32_t) + length);
	uint32_t count = (uint32_t)done;

	if (!answer)
		return 0;
	memcpy(answer, &count, sizeof(count));
	memcpy(answer + sizeof(count), data, length);
	if (outside_answer("entropy", length, answer, sizeof(count) + length, true)) {
		memcpy(&count, answer, sizeof(count));
		count = count < length ? count : (uint32_t)length;
		memcpy(data, answer + sizeof(count), count);
	} else if (outside_mode() == OUTSIDE_REPLAY) {
		count = 0; /* never what this host draws */
	}
	free(answer);
	return count;
}

static int enter_entropy(void *opaque, const uint8_t *payload, size_t length)
{
	return length == 1 ? rng_enter(payload[0]) : -EINVAL;
}

static struct outside_source entropy_source = {.name = "entropy", .apply = enter_entropy};

static bool entropy_ready(void *opaque, unsigned user)
{
	uint8_t payload = (uint8_t)user;

	return outside_enter(&entropy_source, &payload, 1);
}

static const struct rng_tap tap = {.read = answer_entropy, .ready = entropy_ready};

int replay_prepare(struct machine *machine, const struct board_config *config, struct error *err)
{
	int rc;

	if (!config->rr_file)
		return 0;
	rc = config->rr_record ? outside_record(machine, config->rr_file, err)
			       : outside_replay(machine, config->rr_file, err);
	if (rc)
		return error_prefix(err, rc, "-icount rrfile=%s: ", config->rr_file);
	gate.swallows = config->rr_replay;
	chardev_set_gate(&gate);
	rng_set_tap(&tap);
	outside_add(&chardev_source);
	outside_add(&entropy_source);
	return 0;
}

/* --- what machine it is --- */

static int hash_file(const char *path, uint64_t *hash, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *bytes;

	if (fd < 0 || fstat(fd, &st) < 0) {
		error_set_errno(err, errno, "cannot read '%s'", path);
		if (fd >= 0)
			close(fd);
		return -EINVAL;
	}
	*hash = 0;
	bytes = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
			   : MAP_FAILED;
	close(fd);
	if (bytes == MAP_FAILED)
		return st.st_size ? error_set_errno(err, errno, "cannot read '%s'", path) : 0;
	*hash = XXH3_64bits(bytes, (size_t)st.st_size);
	munmap(bytes, (size_t)st.st_size);
	return 0;
}

static int tell_file(const char *name, const char *path, struct error *err)
{
	char text[32] = "none";
	uint64_t hash;

	if (path && hash_file(path, &hash, err) < 0)
		return -EINVAL;
	if (path)
		snprintf(text, sizeof(text), "hash %016" PRIx64, hash);
	return outside_trait(name, text, err);
}

static int tell_number(const char *name, uint64_t number, struct error *err)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	return outside_trait(name, text, err);
}

static int tell_memory(const struct machine *machine, struct error *err)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < machine->memory.count; i++)
		bytes += machine->memory.blocks[i].size;
	return tell_number("memory", bytes, err);
}

static int tell_devices(const struct machine *machine, struct error *err)
{
	char text[2048] = "";
	size_t used = 0;
	struct list *pos;

	list_for_each (pos, &machine->devices) {
		const struct device *dev = container_of(pos, struct device, link);

		if (used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
				used ? " " : "", dev->type->name);
	}
	return outside_trait("devices", text, err);
}

/* A run must begin from the same images again, so it does not change them. */
static int tell_drives(struct error *err)
{
	for (struct block_backend *blk = NULL; (blk = block_walk(blk));) {
		char name[56], text[64];
		uint64_t size, hash;
		int rc;

		if (block_is_written(blk))
			return error_set(err, EINVAL,
				"drive '%s' would be written to: it needs snapshot=on or "
				"read-only=on",
				block_id(blk));
		rc = block_fingerprint(blk, &size, &hash);
		if (rc)
			return error_set_errno(err, -rc, "cannot read drive '%s'", block_id(blk));
		snprintf(name, sizeof(name), "drive %.48s", block_id(blk));
		snprintf(text, sizeof(text), "%" PRIu64 " bytes, hash %016" PRIx64, size, hash);
		rc = outside_trait(name, text, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int tell_traits(
	struct machine *machine, const struct board_config *config, struct error *err)
{
	char smp[64];
	int rc;

	snprintf(smp, sizeof(smp), "%u", machine->engine->cpus);
	rc = outside_trait("machine", machine->board, err);
	if (!rc)
		rc = tell_memory(machine, err);
	if (!rc)
		rc = outside_trait("processors", smp, err);
	if (!rc)
		rc = outside_trait("cpu", config->cpu ? config->cpu : "default", err);
	if (!rc)
		rc = tell_number("seed", config->seed, err);
	if (!rc)
		rc = tell_number("shift", config->icount_shift, err);
	if (!rc)
		rc = tell_file("kernel", config->kernel, err);
	if (!rc)
		rc = tell_file("initrd", config->initrd, err);
	if (!rc)
		rc = outside_trait("append", config->append ? config->append : "", err);
	if (!rc)
		rc = tell_devices(machine, err);
	return rc ? rc : tell_drives(err);
}

int replay_begin(struct machine *machine, const struct board_config *config, struct error *err)
{
	int rc;

	if (!config->rr_file)
		return 0;
	rc = tell_traits(machine, config, err);
	if (!rc)
		rc = outside_begin(err);
	if (rc)
		return error_prefix(err, rc, "-icount rrfile=%s: ", config->rr_file);
	outside_answer(
		"clock", 0, &machine->clock.rtc_offset, sizeof(machine->clock.rtc_offset), true);
	machine->clock.rtc_start = machine->clock.rtc_offset;
	chardev_offer_peers();
	return 0;
}
