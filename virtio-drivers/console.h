/* SPDX-License-Identifier: MIT */
/*
 * virtio-console (virtio 1.4, 5.3): a driver with its first ports and, by MULTIPORT, the control
 * queues.  Everything but a receive request waits for its end.
 *
 *	struct virtio_console con;
 *	if (!virtio_console_open(&con, &(struct virtio_console_options){.ports = 1})) SKIP("none");
 *	virtio_console_start(&con);			// READY, and what the device says to it
 *	virtio_console_write(&con, 0, "hello", 5);
 */
#ifndef VIRTIO_DRIVERS_CONSOLE_H
#define VIRTIO_DRIVERS_CONSOLE_H

#include "virtio-drivers/virtqueue.h"

#define CONSOLE_F_SIZE	      0
#define CONSOLE_F_MULTIPORT   1
#define CONSOLE_F_EMERG_WRITE 2

enum { CONSOLE_C_COLS = 0, CONSOLE_C_ROWS = 2, CONSOLE_C_MAX_PORTS = 4, CONSOLE_C_EMERG_WR = 8 };

enum {
	CONSOLE_DEVICE_READY,
	CONSOLE_DEVICE_ADD,
	CONSOLE_DEVICE_REMOVE,
	CONSOLE_PORT_READY,
	CONSOLE_CONSOLE_PORT,
	CONSOLE_RESIZE,
	CONSOLE_PORT_OPEN,
	CONSOLE_PORT_NAME,
};

#define CONSOLE_PORTS	 3 /* that this driver has queues for, */
#define CONSOLE_SPARE	 3 /* and one that may be plugged in */
#define CONSOLE_SEGMENTS 5
#define CONSOLE_MESSAGE	 64 /* bytes of a buffer for control messages */
#define CONSOLE_BUFFERS	 8
#define CONSOLE_WAIT_US	 3000000

struct console_control {
	uint32_t id;
	uint16_t event, value;
};

struct console_message {
	struct console_control control;
	uint8_t more[CONSOLE_MESSAGE - sizeof(struct console_control)];
	uint32_t bytes; /* of it all */
};

struct virtio_console_options {
	enum virtio_transport_kind transport;
	unsigned index;
	enum virtio_irq irq; /* when not polling */
	bool polling;
	bool no_control; /* buffers for control messages are given by console_give_control() */
	unsigned ports;	 /* 1 to CONSOLE_PORTS; 0: all.  They must be there */
	bool spare;	 /* queues for port CONSOLE_SPARE, too */
	uint64_t without;
};

struct console_port {
	struct virtqueue rx, tx;
	bool added, console, host_open;
	uint8_t name[CONSOLE_MESSAGE];
	uint32_t name_length, adds, removes, opens, closes;
};

struct virtio_console {
	struct virtio_device dev;
	bool multiport;
	uint32_t max_ports;
	unsigned ports;
	struct console_port port[CONSOLE_SPARE + 1];
	struct virtqueue control_rx, control_tx;
	bool keeps;	   /* buffers of messages, until console_give_control() */
	uint8_t *messages; /* CONSOLE_BUFFERS of CONSOLE_MESSAGE bytes, guarded */
	/* Messages for ports that cannot be, REMOVEs of ports that are not. */
	uint32_t unknown;
	uint16_t cols, rows, resizes; /* of the last RESIZE */
};

struct console_buffer {
	void *at;
	uint32_t bytes;
	bool writable; /* by the device */
};

/* False: there is no such device, or it refused (then the TEST has a note). */
bool virtio_console_open(struct virtio_console *con, const struct virtio_console_options *options);

/* --- control --- */

void console_give_control(struct virtio_console *con);
/* The used length, or -1 after CONSOLE_WAIT_US. */
int64_t console_send(struct virtio_console *con, uint32_t id, uint16_t event, uint16_t value);
int64_t console_send_bytes(struct virtio_console *con, const void *message, uint32_t bytes);
/* The next message of the device's, noted in con->port too; false when none has come within `us`.
 */
bool console_next(struct virtio_console *con, struct console_message *message, uint64_t us);
/* Takes messages until one for that port with that event has come; false after CONSOLE_WAIT_US. */
bool console_await(
	struct virtio_console *con, uint32_t id, uint16_t event, struct console_message *message);
/* DEVICE_READY, then for each port that has queues here and must be added PORT_READY and PORT_OPEN.
 * Without MULTIPORT nothing.  False: the device was silent. */
bool virtio_console_start(struct virtio_console *con);

/* --- data --- */

/* Up to CONSOLE_SEGMENTS buffers as one request to a queue, published and notified: the slot. */
int console_submit(struct virtqueue *vq, const struct console_buffer *buffers, unsigned count);
static inline int console_give(struct virtio_console *con, unsigned port, void *at, uint32_t bytes)
{
	return console_submit(&con->port[port].rx, &(struct console_buffer){at, bytes, true}, 1);
}
/* The slot of a used request of that queue and its used length, or -1 after `us`. */
int console_wait(struct virtqueue *vq, uint32_t *length, uint64_t us);
/* Sends and waits: the used length, or -1 after CONSOLE_WAIT_US. */
int64_t virtio_console_write(
	struct virtio_console *con, unsigned port, const void *data, uint32_t bytes);

#endif
