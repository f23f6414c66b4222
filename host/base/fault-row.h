/* SPDX-License-Identifier: MIT */
/*
 * A row of testcases/faults.tsv as the fault engine keeps it: what is read by fault-row.c and
 * matched by fault.c.  Private to the two.
 */
#ifndef BASE_FAULT_ROW_H
#define BASE_FAULT_ROW_H

#include <stdbool.h>
#include <stdint.h>

#define MAX_ROWS 16
#define ANY	 UINT64_MAX

enum seam {
	SEAM_REGION_READ,
	SEAM_REGION_WRITE,
	SEAM_SPAN_GET,
	SEAM_SPAN_PUT,
	SEAM_QUEUE_POP,
	SEAM_QUEUE_PUSH,
	SEAM_QUEUE_NOTIFY,
	SEAM_QUEUE_KICK,
	SEAM_IRQ,
	SEAM_BLOCK_SUBMIT,
	SEAM_BLOCK_COMPLETE,
	SEAM_TABLE,
	SEAM_VALUE,
	SEAM_CPU,
};

struct row {
	char name[64];
	enum seam seam;

	/* match */
	char who[64];	      /* pattern; empty: any */
	uint64_t first, last; /* offset, gpa or line; `last` ANY without a range */
	bool covers;	      /* one offset: any access that covers this byte */
	uint64_t size;	      /* of the access, or length of the span */
	uint64_t queue;
	uint64_t value, mask; /* only if (value & mask) == this */
	uint64_t op, level;
	char while_who[64];    /* only while the last write to this region ... */
	uint64_t while_offset; /* ... at this offset ... */
	uint64_t while_value;  /* ... was this value */
	uint64_t nth, from, every;

	/* action */
	uint64_t and_mask, or_mask, xor_mask, force, add;
	uint64_t id_xor, line_add;
	bool drop, twice, stuck, invert, last_value;
	uint64_t error, shorten, corrupt_at, corrupt_xor, spill;

	/* state */
	uint64_t seen, remembered;
	bool while_holds, has_remembered, fired;
};

/*
 * Reads the rows named in ASSAY_FAULTS into rows[]; returns how many.  What cannot be read is one
 * line on stderr each, and is left out.
 */
unsigned fault_rows_load(struct row rows[MAX_ROWS]);

#endif
