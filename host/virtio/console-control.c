/* SPDX-License-Identifier: MIT */
/*
 * The control queues of virtio-console (virtio 1.4, 5.3.6.2).
 *
 * What the driver has to be told stands as bits with each port, not in a queue: so it is bounded,
 * however slowly the driver gives buffers, and a state that came and went meanwhile is not told.
 * The end of a port is told before what there is to say of another that has its number now; until
 * then what the driver says is meant for the old one, and goes nowhere.  So does what it sends
 * until PORT_READY: it may have stood in the queue when the driver had not read of the end yet.
 *
 * RESIZE carries the columns first, as the text has it and Linux 6.1 reads it; both were turned
 * round later (docs/differences.md).
 */
#include <string.h>

#include "base/log.h"
#include "virtio/console.h"

enum control_event {
	DEVICE_READY,
	PORT_ADD, /* DEVICE_ADD in the list of 5.3.6.2 */
	PORT_REMOVE,
	PORT_READY,
	CONSOLE_PORT,
	RESIZE,
	PORT_OPEN,
	PORT_NAME,
};

struct control {
	uint32_t id;
	uint16_t event, value;
};

#define CONTROL_SIZE 8
#define NAME_MAX     255

_Static_assert(sizeof(struct control) == CONTROL_SIZE, "as in 5.3.6.2");

/* --- to the driver --- */

/* The first port of which there is something to say; max_ports: none. */
static uint32_t next_owed(const struct console *console)
{
	uint32_t i = 0;

	while (i < console->max_ports && console->gone[i] != GONE_UNTOLD &&
		!(console->ports[i] && console->ports[i]->owed))
		i++;
	return i;
}

bool control_owes(const struct console *console)
{
	return console->driver_ready && next_owed(console) < console->max_ports;
}

void control_look(struct console *console)
{
	if (console_multiport(console) && control_owes(console))
		virtio_look_again(&console->vdev.queues[CONSOLE_CONTROL_RX]);
}

/* The message for the lowest bit that is owed; its length. */
static size_t compose_of_port(struct console_port *port, uint8_t *out)
{
	struct control *control = (struct control *)out;
	uint8_t bit = port->owed & -port->owed, *rest = out + CONTROL_SIZE;
	uint16_t cols, rows;
	size_t length;

	*control = (struct control){.id = port->nr, .value = 1};
	port->owed &= ~bit;
	switch (bit) {
	case OWED_ADD:
		control->event = PORT_ADD;
		port->added = true;
		return CONTROL_SIZE;
	case OWED_CONSOLE: control->event = CONSOLE_PORT; return CONTROL_SIZE;
	case OWED_RESIZE:
		control->event = RESIZE;
		control->value = 0;
		port_size(port, &cols, &rows);
		memcpy(rest, &cols, 2);
		memcpy(rest + 2, &rows, 2);
		return CONTROL_SIZE + 4;
	case OWED_NAME:
		control->event = PORT_NAME;
		length = strnlen(port->name, NAME_MAX);
		memcpy(rest, port->name, length);
		return CONTROL_SIZE + length;
	default:
		control->event = PORT_OPEN;
		control->value = port->told_open = port->host_open;
		return CONTROL_SIZE;
	}
}

static size_t compose(struct console *console, uint8_t *out)
{
	uint32_t nr = next_owed(console);

	if (console->gone[nr] != GONE_UNTOLD)
		return compose_of_port(console->ports[nr], out);
	console->gone[nr] = GONE_TOLD;
	*(struct control *)out = (struct control){.id = nr, .event = PORT_REMOVE, .value = 1};
	return CONTROL_SIZE;
}

/* A buffer too small for a header carries none; a name is cut to its buffer. */
void control_receive_request(struct console *console, struct queue_request *request)
{
	struct virtio_queue *vq = &console->vdev.queues[CONSOLE_CONTROL_RX];
	uint8_t message[CONTROL_SIZE + NAME_MAX] __attribute__((aligned(4)));
	size_t length = 0;

	if (request->in_bytes >= CONTROL_SIZE)
		length = compose(console, message);
	virtio_complete(vq, request, queue_copy_in(request, message, length));
}

/* --- ports that come and go --- */

/* A driver that is not ready hears of all ports when it is. */
void control_port_added(struct console_port *port)
{
	if (!port->console->driver_ready)
		return;
	port->owed |= OWED_ADD;
	control_look(port->console);
}

/* Of a port that was never announced there is nothing to say (5.3.6.2.1). */
void control_port_removed(struct console_port *port)
{
	if (!port->added)
		return;
	port->console->gone[port->nr] = GONE_UNTOLD;
	control_look(port->console);
}

/* --- from the driver --- */

static void device_ready(struct console *console, uint16_t value)
{
	console->driver_ready = value == 1;
	if (!console->driver_ready) {
		log_guest_error(console->vdev.name, "the driver could not add the device");
		return;
	}
	/* A driver that says so twice has been told of the ports already. */
	for (uint32_t i = 0; i < console->max_ports; i++)
		if (console->ports[i] && !console->ports[i]->added)
			console->ports[i]->owed |= OWED_ADD;
}

static void port_ready(struct console_port *port, uint16_t value)
{
	if (!port->added || port->ready || value != 1) {
		log_guest_error(port->console->vdev.name, "port %u is not ready", port->nr);
		return;
	}
	port->ready = true;
	port->console->gone[port->nr] = 0;
	if (port->is_console)
		port->owed |= OWED_CONSOLE;
	if (port->is_console && port->console->vdev.features & FEATURE(VIRTIO_CONSOLE_F_SIZE))
		port->owed |= OWED_RESIZE;
	if (port->name && *port->name)
		port->owed |= OWED_NAME;
	if (port->host_open)
		port->owed |= OWED_OPEN;
}

static void handle(struct console *console, const struct control *control)
{
	struct console_port *port = console_port(console, control->id);

	if (control->event == DEVICE_READY)
		device_ready(console, control->value);
	else if (!port)
		log_guest_error(console->vdev.name, "a message for port %u, which is not there",
			control->id);
	else if (control->event == PORT_READY)
		port_ready(port, control->value);
	else if (control->event == PORT_OPEN && !port->added)
		log_guest_error(
			console->vdev.name, "port %u was not added when it opened", port->nr);
	else if (control->event == PORT_OPEN)
		port_guest_opened(port, control->value == 1);
	else
		log_guest_error(console->vdev.name, "event %u is not the driver's", control->event);
	control_look(console);
}

void control_transmit_request(struct console *console, struct queue_request *request)
{
	struct control control;

	if (queue_copy_out(request, &control, CONTROL_SIZE) == CONTROL_SIZE)
		handle(console, &control);
	else
		log_guest_error(console->vdev.name, "a control message shorter than its header");
	virtio_complete(&console->vdev.queues[CONSOLE_CONTROL_TX], request, 0);
}
