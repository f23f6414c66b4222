/* SPDX-License-Identifier: MIT */
/*
 * The states of the PC's interrupt controllers and timer in a form that belongs to nobody: the
 * kernel's chips under KVM and the models of devices/chipset both fill it and both take it, so that
 * a machine moves between them.
 */
#ifndef MACHINE_CHIPS_H
#define MACHINE_CHIPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "machine/state-table.h"

#define IOAPIC_PIN_COUNT 24

/* One 8259A; datasheet 231468's names. */
struct pic_state {
	uint8_t irr, isr, imr, elcr;
	uint8_t input; /* levels of the wires */
	uint8_t vector_base;
	uint8_t lowest; /* the input of lowest priority */
	uint8_t init;	/* number of the ICW that comes next: 2, 3, 4; 0: none */
	bool needs_icw4, single;
	bool read_isr, poll, special_mask, auto_eoi, rotate_on_aeoi, special_nested;
};

struct ioapic_state {
	uint8_t select, id;
	uint64_t table[IOAPIC_PIN_COUNT];
	bool input[IOAPIC_PIN_COUNT];	/* levels of the wires */
	bool pending[IOAPIC_PIN_COUNT]; /* an edge came that is not yet sent */
};

/* One counter of the 8254. */
struct pit_counter {
	uint8_t control; /* access, mode and BCD as written: the low six bits of the status */
	uint8_t mode;	 /* 0 to 5 */
	uint8_t access;	 /* 1: low byte, 2: high byte, 3: both */
	bool bcd, gate;
	bool loaded;		  /* a count was written since the control word */
	uint32_t reload;	  /* 1 to 65536 (10000 in BCD) */
	uint32_t next;		  /* written in mid-period, modes 2 and 3; 0: none */
	int64_t start;		  /* VM time at which the count was loaded */
	int64_t paused;		  /* ticks counted when the gate went low; -1: it counts */
	bool triggered;		  /* modes 1 and 5: the gate has risen */
	bool write_msb, read_msb; /* the next byte of a word */
	uint8_t write_lsb;
	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;
};

struct pit_state {
	struct pit_counter counters[3];
	bool speaker; /* bit 1 of port 0x61 */
};

struct chips_state {
	struct pic_state pic[2];
	struct ioapic_state ioapic;
	struct pit_state pit;
};

extern const struct state_table chips_state_table;

/* Who has the chips; registered with the machine.  vCPUs are stopped. */
struct machine_chips {
	int (*get)(void *opaque, struct chips_state *state, struct error *err);
	/* The state was checked. */
	int (*set)(void *opaque, const struct chips_state *state, struct error *err);
	void *opaque;
};

#endif
