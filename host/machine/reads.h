/* SPDX-License-Identifier: MIT */
/*
 * What each request read of guest memory, so that no byte is read twice (time of check, time of
 * use: docs/double-reads.md).  Only with FAULTS=1 and ASSAY_READS set; otherwise all of it is an
 * inline no-op around one load.
 *
 * A request is opened when a queue begins to take it and closed when it goes back to the driver.
 * Meanwhile its thread's loads of ring entries and descriptors (guest_load16() ... and
 * reads_table()) and the device's reads of its readable part (reads_payload()) are recorded.  A
 * second read of the same bytes is one line on stderr and in ASSAY_READS_LOG; in a request that
 * breaks the queue it is not (a chain that loops is read twice, and goes nowhere).
 *
 * ASSAY_READS, words by comma:
 *	check		records and reports
 *	change:SEED	besides, other bytes stand there right after the first read; what was there
 *			comes back (if nobody wrote since) for ring entries when the request was
 *			taken, for tables and the readable part when it is returned or another is
 *			taken (requests in flight may share them)
 *	abort		a second read ends the process (for fuzzing)
 */
#ifndef MACHINE_READS_H
#define MACHINE_READS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct reads;

#ifdef ASSAY_FAULTS

/* A queue takes a request on this thread; *log is NULL or what an earlier use of it left. */
void reads_begin(struct reads **log, const char *device, unsigned queue);
/* It was taken: the ring is not read for it any more. */
void reads_taken(struct reads *log);
/* It goes back, or came to nothing. */
void reads_end(struct reads *log);
void reads_free(struct reads **log);
/* This thread read ring entries that lie there on the host. */
void reads_ring(const void *host, size_t length);
/* The same of a table that a descriptor names: `length` bytes at a guest-physical address. */
struct guest_memory;
void reads_table(struct guest_memory *mem, uint64_t address, size_t length);
/* Bytes [offset, offset + length) of the readable part, which lie at the start of `iov`.  `kept`:
 * others read them at the same time (a backend), so they are not changed. */
void reads_payload(
	struct reads *log, uint64_t offset, const struct iovec *iov, size_t length, int kept);

/* A planted mistake, to show that one is noticed: the faults read-ring-again, read-payload-again.
 */
int reads_again(const char *fault);

#else

static inline void reads_begin(struct reads **log, const char *device, unsigned queue)
{
}

static inline void reads_taken(struct reads *log)
{
}

static inline void reads_end(struct reads *log)
{
}

static inline void reads_free(struct reads **log)
{
}

static inline void reads_ring(const void *host, size_t length)
{
}

struct guest_memory;
static inline void reads_table(struct guest_memory *mem, uint64_t address, size_t length)
{
}

static inline void reads_payload(
	struct reads *log, uint64_t offset, const struct iovec *iov, size_t length, int kept)
{
}

static inline int reads_again(const char *fault)
{
	return 0;
}

#endif

/*
 * One load each of what the driver may write at any time: what was loaded is used, never loaded
 * again.  For parts of a ring that are pinned.
 */
#define GUEST_LOAD(name, type)                                           \
	static inline type name(const type *host)                        \
	{                                                                \
		type value;                                              \
                                                                         \
		do {                                                     \
			value = __atomic_load_n(host, __ATOMIC_RELAXED); \
			reads_ring(host, sizeof(value));                 \
		} while (reads_again("read-ring-again"));                \
		return value;                                            \
	}
GUEST_LOAD(guest_load16, uint16_t)
GUEST_LOAD(guest_load32, uint32_t)
GUEST_LOAD(guest_load64, uint64_t)

#endif
