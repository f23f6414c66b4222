/* SPDX-License-Identifier: MIT */
/*
 * Saving a machine to a file and going on from one: the commands `migrate` and `migrate-incoming`,
 * and -incoming.  Main loop, lock held.
 */
#ifndef MIGRATION_MIGRATION_H
#define MIGRATION_MIGRATION_H

#include "machine/machine.h"

enum migration_status {
	MIGRATION_NONE,
	MIGRATION_SETUP,
	MIGRATION_ACTIVE,
	MIGRATION_COMPLETED,
	MIGRATION_FAILED,
	MIGRATION_CANCELLED,
};
const char *migration_status_name(enum migration_status status); /* QMP's MigrationStatus */

struct migration_info {
	enum migration_status status;
	char error[512]; /* of MIGRATION_FAILED */
	uint64_t total_ms, setup_ms, downtime_ms;
	uint64_t bytes, zero_pages, normal_pages, ram_bytes;
};

/*
 * Begins to save: the file is opened now, the VM stops and is written at the next turn of the main
 * loop.  Afterwards the VM is in state postmigrate, or goes on as it was if the save failed.
 * uri: file:PATH.  0 or -errno with a sentence.
 */
int migration_save(struct machine *machine, const char *uri, struct error *err);
void migration_cancel(struct machine *machine); /* before the VM has stopped for it */
const struct migration_info *migration_info(void);

/*
 * -incoming and migrate-incoming.  Before the machine has run; state inmigrate from
 * migration_expect() on.
 */
void migration_expect(struct machine *machine, bool start_paused);
bool migration_is_expected(void);	  /* -incoming defer, and nothing has come */
void migration_set_autostart(bool start); /* cont and stop while a state is awaited */
/* At once.  0, or -errno with a sentence: then the machine must not run. */
int migration_load(struct machine *machine, const char *uri, struct error *err);
/* At the next turn of the main loop; a failure ends the process with status 1. */
int migration_load_soon(struct machine *machine, const char *uri, struct error *err);

/* Who wants to hear of a new status (the monitor's MIGRATION event). */
void migration_on_status(void (*changed)(void *opaque, enum migration_status status), void *opaque);

#endif
