/* SPDX-License-Identifier: MIT */
/*
 * The 16550A core: eight registers, two FIFOs and an interrupt output.  Whoever puts it on a bus
 * (isa-serial here, a PCI card later) embeds it, maps `region` and connects `irq`.
 * Machine lock held for every call.
 */
#ifndef DEVICES_CHAR_SERIAL_H
#define DEVICES_CHAR_SERIAL_H

#include "chardev/chardev.h"
#include "machine/machine.h"

#define SERIAL_FIFO_SIZE 16
#define SERIAL_PORTS	 8

/* A received character and what the line did to it: LSR's error bits travel with the character. */
struct serial_char {
	uint8_t data;
	uint8_t errors;
};

struct serial {
	struct machine *machine;
	struct chardev *chr; /* NULL: nothing is connected, everything sent is dropped */
	struct irq_line irq;
	struct region region;
	struct chardev_user user;

	uint16_t divisor;
	uint8_t ier, lcr, mcr, scr;
	uint8_t msr;	      /* lines in bits 7..4, deltas in 3..0 */
	bool fifo_enabled;    /* FCR bit 0 */
	uint8_t fcr_trigger;  /* FCR bits 7..6, in place */
	bool overrun;	      /* LSR bit 1 */
	uint8_t lsr_errors;   /* LSR bits 4..2 of the character on top, until LSR is read */
	bool thre_pending;    /* the THRE interrupt waits */
	bool timeout_pending; /* four character times without a read or an arrival */
	bool tx_blocked;      /* the character device is full; goes on at CHARDEV_WRITABLE */

	struct serial_char rx[SERIAL_FIFO_SIZE];
	uint8_t rx_head, rx_count;
	uint8_t tx[SERIAL_FIFO_SIZE];
	uint8_t tx_head, tx_count;

	struct vm_timer timeout;
	int64_t rx_activity; /* VM time of the last arrival or read */
};

/* Fills in region and timer and takes the character device.  0, or -EBUSY with nothing taken. */
int serial_init(struct serial *serial, struct machine *machine, struct error *err);
void serial_reset(struct serial *serial);
void serial_destroy(struct serial *serial);
extern const struct state_table serial_state_table;

/* dev: an isa-serial.  Which of COM1 to COM4 (0 to 3) it is by its port, or -1. */
int isa_serial_place(const struct device *dev);

#endif
