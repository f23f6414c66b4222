/* SPDX-License-Identifier: MIT */
/*
 * virtio-console as its files share it (virtio 1.4, 5.3): console.c (queues, configuration, the
 * device types), console-control.c (the control queues), console-port.c (ports as devices of their
 * own on the bus "virtio-serial-bus", and their character devices).
 */
#ifndef VIRTIO_CONSOLE_H
#define VIRTIO_CONSOLE_H

#include "chardev/chardev.h"
#include "virtio/virtio.h"

/* Feature bits (5.3.3) */
#define VIRTIO_CONSOLE_F_SIZE	     0
#define VIRTIO_CONSOLE_F_MULTIPORT   1
#define VIRTIO_CONSOLE_F_EMERG_WRITE 2

#define CONSOLE_PORTS_MAX 511 /* two queues each, and two for control */
#define CONSOLE_COLS	  80  /* when nobody knows better */
#define CONSOLE_ROWS	  25

enum { CONSOLE_CONTROL_RX = 2, CONSOLE_CONTROL_TX };

struct console;

/* What a port's driver has not been told yet, in the order in which it is told. */
enum console_owed {
	OWED_ADD = 1,
	OWED_CONSOLE = 2,
	OWED_RESIZE = 4,
	OWED_NAME = 8,
	OWED_OPEN = 16, /* the host's end was opened or closed */
};
#define OWED_ALL 31

/* A number whose port, which the driver knew, has gone. */
enum console_gone {
	GONE_TOLD = 1, /* what the driver sends may still be the old one's, until PORT_READY */
	GONE_UNTOLD,
};

struct console_port {
	struct device dev; /* first */
	struct console *console;
	bool is_console; /* virtconsole */

	/* properties, QEMU's names */
	struct chardev *chr;
	uint32_t nr;
	char *name;

	struct chardev_user user;
	bool host_open;

	/* with the driver, until reset */
	bool added;		       /* announced */
	bool ready;		       /* PORT_READY came */
	bool guest_open;	       /* PORT_OPEN 1 came */
	bool told_open;		       /* the host's end, as the driver knows it */
	uint8_t owed;		       /* enum console_owed */
	uint64_t sent;		       /* bytes of the next transmit request that are out already */
	struct queue_request *rx, *tx; /* held: waits for input, for a slow reader */
	struct loop_task more;	       /* of a long transmit request */
};

struct console {
	struct virtio_device vdev;
	struct virtio_conf conf;

	/* properties */
	uint32_t max_ports;
	bool emergency_write, console_size;

	struct bus bus;
	struct console_port **ports; /* max_ports; NULL: no such port */
	uint8_t *gone;		     /* max_ports: enum console_gone, or 0 */
	bool driver_ready;	     /* DEVICE_READY 1 came */
};

static inline struct console *console_of(struct virtio_device *vdev)
{
	return container_of(vdev, struct console, vdev);
}

static inline bool console_multiport(const struct console *console)
{
	return console->vdev.features & FEATURE(VIRTIO_CONSOLE_F_MULTIPORT);
}

/* The port that the driver means by this number; NULL: none that it knows of. */
static inline struct console_port *console_port(const struct console *console, uint32_t nr)
{
	if (nr >= console->max_ports || console->gone[nr] == GONE_UNTOLD)
		return NULL;
	return console->ports[nr];
}

/* A port's queues: 0 and 1 are port 0's, 2 and 3 the control queues. */
static inline unsigned console_rx_queue(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

/* --- console-port.c --- */

bool port_willing(struct console_port *port, bool rx);
void port_receive_request(struct console_port *port, struct queue_request *request);
void port_transmit_request(struct console_port *port, struct queue_request *request);
void port_drain(struct console_port *port); /* puts back what it holds of queues that are parked */
void port_reset(struct console_port *port);
void port_guest_opened(struct console_port *port, bool open);
void port_size(const struct console_port *port, uint16_t *cols, uint16_t *rows);

/* --- console-control.c --- */

/* A port has come, or is about to go: the driver has to be told. */
void control_port_added(struct console_port *port);
void control_port_removed(struct console_port *port);

/* Something of port->owed changed. */
void control_look(struct console *console);
bool control_owes(const struct console *console);
void control_receive_request(struct console *console, struct queue_request *request);
void control_transmit_request(struct console *console, struct queue_request *request);

#endif
