/* SPDX-License-Identifier: MIT */
/*
 * The one list of what enters a machine in virtual time from outside, for `-icount rr=`: while it
 * is recorded, everything on the list goes to a log with its place in the run; while it is
 * replayed, it comes from the log at the same place, and what the world offers is ignored.
 *
 * Whoever brings input calls one of two functions, whatever the mode:
 *	outside_enter()	   something comes by itself (bytes of a serial line, a command)
 *	outside_answer()   the machine asked for something (the time of day, a disk's error)
 *
 * Everything here belongs to the main loop.  One machine a process.
 */
#ifndef MACHINE_OUTSIDE_H
#define MACHINE_OUTSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "machine/machine.h"

enum outside_mode { OUTSIDE_LIVE, OUTSIDE_RECORD, OUTSIDE_REPLAY };

/* The engine's count of turns that ended (skips of idle time among them), and of instructions. */
struct outside_position {
	uint64_t turns, instructions;
};

/* What the engine has a hash of. */
#define OUTSIDE_PARTS 40
struct outside_part {
	char name[16];
	uint64_t hash;
};

struct outside_engine {
	struct outside_position (*position)(void *opaque);
	/* How many.  Also brings what no hash shows (caches of translations) into one state, which
	 * is the same when the same is recorded and replayed.  memory: all RAM, too. */
	unsigned (*parts)(void *opaque, bool memory, struct outside_part parts[OUTSIDE_PARTS]);
	uint64_t (*rip)(void *opaque); /* for messages */
	void *opaque;
};

/* Somebody who brings input. */
struct outside_source {
	const char *name;
	/* From the log: does what was done when it was recorded.  -errno: this machine has nothing
	 * that it could be for. */
	int (*apply)(void *opaque, const uint8_t *payload, size_t length);
	void *opaque;
	/* private: */
	struct list link;
};

/* --- for those who bring it --- */
enum outside_mode outside_mode(void);
void outside_add(struct outside_source *source); /* once; it stays */

/* True: it may enter, the caller does what it does (and it is in the log, if there is one).  False:
 * it is ignored, the log rules. */
bool outside_enter(const struct outside_source *source, const uint8_t *payload, size_t length);

/*
 * `data` is what the host says to question number `key` of `name`; `logged` says whether that needs
 * telling: the usual answer does not.  Replaying it is overwritten by what the log has: true, or
 * false if the log has nothing about this question.  Elsewhere false.
 */
bool outside_answer(const char *name, uint64_t key, void *data, size_t length, bool logged);

/* Not amid an instruction or a task of the loop: a place that a replay finds again. */
bool outside_may_enter(void);

/* --- for the engine --- */
void outside_set_engine(const struct outside_engine *engine); /* in virtual time only */
/* Between turns, and nothing waits on the loop.  Compares, replays what is due.  True: something
 * entered, look at the loop again. */
bool outside_arrive(void);
/* Replaying: how many instructions until the log has something amid this turn; UINT64_MAX. */
uint64_t outside_ahead(void);
/* Replaying: all vCPUs wait for something that the log does not bring. */
void outside_stuck(void);

/* --- for who starts and ends it --- */
int outside_record(struct machine *machine, const char *path, struct error *err);
int outside_replay(struct machine *machine, const char *path, struct error *err);
/* A trait of the machine: recorded, or compared with the recorded one.  0 or -EINVAL. */
int outside_trait(const char *name, const char *text, struct error *err);
int outside_begin(struct error *err); /* all traits are told; the machine may run */
void outside_end(void);		      /* the main loop has ended; may change the exit status */

struct outside_info {
	enum outside_mode mode;
	const char *path;
	uint64_t instructions;
	uint64_t last; /* replaying: instructions of the last entry of the log */
	bool at_end;   /* replaying: the machine was stopped there */
};
struct outside_info outside_info(void);

/* Replaying: with somebody who looks at it, the machine stops at the end of the log instead of
 * ending as the recorded one did. */
void outside_stay_at_end(bool stay);

/* Replaying: the machine stops once when so many instructions were executed; UINT64_MAX: not. */
void outside_break(uint64_t instructions);

/* Replaying: is told behind each comparison that was good: a place to go back to. */
void outside_on_check(void (*checked)(void *opaque), void *opaque);

/* Replaying: the log has more than that the guest ended itself here. */
bool outside_goes_on(void);

/* The post_load of parts of a saved state that only a machine which goes back may have: elsewhere
 * nobody has what they tell of.  0, or -EINVAL where the run is not replayed. */
int outside_part_loaded(void *state, unsigned version, struct error *err);

/* Where the log goes on, for a machine that goes back.  Between the two calls of
 * outside_suspend() nothing enters and nothing is asked. */
struct outside_memory;
struct outside_memory *outside_remember(void); /* free(); NULL: no memory */
void outside_recall(const struct outside_memory *memory);
void outside_suspend(bool suspended);
bool outside_was_here(void); /* it went back, and this was executed before */

#endif
