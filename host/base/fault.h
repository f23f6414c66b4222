/* SPDX-License-Identifier: MIT */
/*
 * Fault injection at the seams between rooms, so that each TEST of a guest kernel can be shown
 * to fail when the thing it proves is false (docs/faults.md).
 *
 * Without FAULTS=1 every call is an inline no-op and no code or string of it is in the binary.
 * With it, the rows of the table (ASSAY_FAULTS_TABLE, else testcases/faults.tsv) whose names
 * stand in ASSAY_FAULTS, separated by commas, are loaded at the first call and act from then on.
 *
 * Calls stand at seams only: the dispatch of an address space, the accessor of guest memory,
 * queue pop and push, an interrupt's way to its chip, a block request's way out and back, a table
 * handed to the guest.  A device's own file has none.  All calls may come from any thread.
 *
 * Names are matched as shell patterns (fnmatch); the caller gives the most telling name it has:
 * a region's name, a device's type name ("virtio-blk-pci"), a drive's id.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum fault_verdict {
	FAULT_PASS,  /* go on, with the arguments as they are now */
	FAULT_DROP,  /* do not do it, and tell nobody */
	FAULT_TWICE, /* do it two times */
};

/* What a block request is, for the seam's match key op=. */
enum fault_block_op {
	FAULT_BLOCK_READ,
	FAULT_BLOCK_WRITE,
	FAULT_BLOCK_FLUSH,
	FAULT_BLOCK_DISCARD,
	FAULT_BLOCK_ZEROES,
};

#ifdef ASSAY_FAULTS

/*
 * After a region was read: may change *value.  `offset` is relative to the region, `size` in bytes.
 * The dispatch calls it once for each access as the guest made it, not for each part of a split
 * one.
 */
void fault_region_read(const char *region, uint64_t offset, unsigned size, uint64_t *value);

/* Before a region is written: may change *value; FAULT_DROP: the device never hears of it. */
enum fault_verdict fault_region_write(
	const char *region, uint64_t offset, unsigned size, uint64_t *value);

/*
 * In span_get(): may lower *length, so that the device sees a shorter span.  `name` is who asks,
 * or "" if the accessor does not know.
 */
void fault_span_get(const char *name, uint64_t gpa, uint64_t *length, bool device_writes);

/*
 * In span_put(), with the data landed: may change bytes of it, or write past its end (the spill
 * action, for the tests that guard buffers).  Only for spans a device writes.
 */
void fault_span_put(const char *name, uint64_t gpa, const struct iovec *iov, int iovcnt);

/* A request was taken from the available ring.  FAULT_DROP: forget it, never complete it. */
enum fault_verdict fault_queue_pop(const char *device, unsigned queue, uint32_t head);

/* Before the used element is published: may change *id and *length. */
enum fault_verdict fault_queue_push(
	const char *device, unsigned queue, uint32_t *id, uint32_t *length);

/* Before the driver is notified of used buffers: may change the decision, either way. */
void fault_queue_notify(const char *device, unsigned queue, bool *notify);

/* A doorbell reached the queue, by exit or by ioeventfd.  FAULT_DROP: it is lost. */
enum fault_verdict fault_queue_kick(const char *device, unsigned queue);

/*
 * An interrupt on its way: `name` is the source ("ide", "virtio-blk-pci", "msi"), *line the ISA
 * line, GSI or MSI vector, *level 1 or 0 (edges and MSIs: 1).  Any of them may be changed. With
 * FAULTS=1 lines that would take an irqfd must pass here too, or say so in docs/faults.md.
 */
enum fault_verdict fault_irq(const char *name, uint32_t *line, int *level);

/*
 * Before a block request is handed to the backend: *offset in bytes may be moved.  FAULT_DROP:
 * complete it as done without doing it.
 */
enum fault_verdict fault_block_submit(
	const char *drive, enum fault_block_op op, uint64_t *offset, uint64_t length);

/*
 * A block request completed: *result (0 or -errno) and the data may be changed.  FAULT_DROP: the
 * completion is lost.
 */
enum fault_verdict fault_block_complete(const char *drive, enum fault_block_op op, uint64_t offset,
	const struct iovec *iov, int iovcnt, int *result);

/*
 * A table or string built for the guest before it runs ("acpi:APIC", "pvh:memmap", "fw_cfg:NAME",
 * "cmdline", "identify"): bytes may be changed.  FAULT_DROP: leave it out.
 */
enum fault_verdict fault_table(const char *name, void *data, size_t length);

/*
 * Any other number a seam decides: a GSI's pin in the kernel's routing table, a frequency, a CPUID
 * leaf.  For what the kernel's own interrupt chips do out of the reach of the seams above.
 */
void fault_value(const char *name, uint64_t *value);

/*
 * In the software processor: `name` says what is decided ("vector", "error", "walk", ...;
 * docs/faults.md has the list), `where` the number it is decided for (a vector, an address, an
 * MSR). May change *value.  FAULT_DROP: the processor does not do it.
 */
enum fault_verdict fault_cpu(const char *name, uint64_t where, uint64_t *value);

#else

static inline void fault_region_read(
	const char *region, uint64_t offset, unsigned size, uint64_t *value)
{
}

static inline enum fault_verdict fault_region_write(
	const char *region, uint64_t offset, unsigned size, uint64_t *value)
{
	return FAULT_PASS;
}

static inline void fault_span_get(
	const char *name, uint64_t gpa, uint64_t *length, bool device_writes)
{
}

static inline void fault_span_put(
	const char *name, uint64_t gpa, const struct iovec *iov, int iovcnt)
{
}

static inline enum fault_verdict fault_queue_pop(const char *device, unsigned queue, uint32_t head)
{
	return FAULT_PASS;
}

static inline enum fault_verdict fault_queue_push(
	const char *device, unsigned queue, uint32_t *id, uint32_t *length)
{
	return FAULT_PASS;
}

static inline void fault_queue_notify(const char *device, unsigned queue, bool *notify)
{
}

static inline enum fault_verdict fault_queue_kick(const char *device, unsigned queue)
{
	return FAULT_PASS;
}

static inline enum fault_verdict fault_irq(const char *name, uint32_t *line, int *level)
{
	return FAULT_PASS;
}

static inline enum fault_verdict fault_block_submit(
	const char *drive, enum fault_block_op op, uint64_t *offset, uint64_t length)
{
	return FAULT_PASS;
}

static inline enum fault_verdict fault_block_complete(const char *drive, enum fault_block_op op,
	uint64_t offset, const struct iovec *iov, int iovcnt, int *result)
{
	return FAULT_PASS;
}

static inline enum fault_verdict fault_table(const char *name, void *data, size_t length)
{
	return FAULT_PASS;
}

static inline void fault_value(const char *name, uint64_t *value)
{
}

static inline enum fault_verdict fault_cpu(const char *name, uint64_t where, uint64_t *value)
{
	return FAULT_PASS;
}

#endif
#endif
