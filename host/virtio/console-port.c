/* SPDX-License-Identifier: MIT */
/*
 * Ports of virtio-console (virtio 1.4, 5.3.6): virtconsole and virtserialport, each between a pair
 * of queues and a character device.
 *
 * Both directions wait without work: of the receive queue at most one buffer is held, and its room
 * is what the character device may deliver; a transmit request that the host's side does not take
 * is held with a note of how much is out.  A parked queue gets back what is held of it.
 *
 * As under QEMU, a console's host end is always open, another port's while a peer is there, and
 * input waits until the driver has opened the port.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "machine/outside.h"
#include "virtio/console.h"
#include "virtio/virtio-types.h"

#define NR_NEXT	 UINT32_MAX
#define TURN_MAX 65536 /* bytes of output in one turn of the loop */

static struct virtio_queue *rx_queue(const struct console_port *port)
{
	return &port->console->vdev.queues[console_rx_queue(port->nr)];
}

static struct virtio_queue *tx_queue(const struct console_port *port)
{
	return &port->console->vdev.queues[console_rx_queue(port->nr) + 1];
}

/* Without MULTIPORT there is port 0 alone, and it is open. */
static bool guest_listens(const struct console_port *port)
{
	return console_multiport(port->console) ? port->guest_open : port->nr == 0;
}

/* --- input --- */

bool port_willing(struct console_port *port, bool rx)
{
	return rx ? !port->rx && port->chr && guest_listens(port) : !port->tx;
}

void port_receive_request(struct console_port *port, struct queue_request *request)
{
	if (!request->in_bytes) {
		virtio_complete(rx_queue(port), request, 0);
		return;
	}
	port->rx = request;
	chardev_accept_input(port->chr);
}

static size_t can_receive(void *opaque)
{
	const struct console_port *port = opaque;
	const struct virtio_device *vdev = &port->console->vdev;

	return port->rx && !vdev->broken ? port->rx->in_bytes : 0;
}

static void receive(void *opaque, const uint8_t *data, size_t length)
{
	struct console_port *port = opaque;
	struct queue_request *request = port->rx;

	if (!request)
		return;
	port->rx = NULL;
	virtio_complete(rx_queue(port), request, queue_copy_in(request, data, length));
	virtio_look_again(rx_queue(port));
}

/* --- output --- */

/* Writes what is left of a request from port->sent on.  False: the host's side takes no more, or
 * the loop has other things to do, too: then it goes on there. */
static bool transmit(struct console_port *port, const struct queue_request *request)
{
	struct machine *machine = port->console->vdev.machine;
	uint64_t skip = port->sent, room = TURN_MAX;

	for (unsigned i = 0; port->chr && i < request->out_count; i++) {
		const uint8_t *at = request->out[i].iov_base;
		size_t length = request->out[i].iov_len, part, done;

		if (skip >= length) {
			skip -= length;
			continue;
		}
		if (chardev_is_full(port->chr))
			return false;
		part = length - skip < room ? length - skip : room;
		done = chardev_write(port->chr, at + skip, part);
		machine_note_output(machine, at + skip, done);
		port->sent += done;
		room -= done;
		if (done < part)
			return false;
		if (!room) {
			loop_post(machine->loop, &port->more);
			return false;
		}
		skip = 0;
	}
	port->sent = 0;
	return true;
}

void port_transmit_request(struct console_port *port, struct queue_request *request)
{
	if (transmit(port, request))
		virtio_complete(tx_queue(port), request, 0);
	else
		port->tx = request;
}

static void go_on(struct console_port *port)
{
	struct queue_request *request = port->tx;

	if (!request || port->console->vdev.broken || !transmit(port, request))
		return;
	port->tx = NULL;
	virtio_complete(tx_queue(port), request, 0);
	virtio_look_again(tx_queue(port));
}

static void more(void *opaque)
{
	go_on(opaque);
}

void port_drain(struct console_port *port)
{
	if (port->rx && !rx_queue(port)->serving) {
		virtio_untake(rx_queue(port), port->rx);
		port->rx = NULL;
	}
	if (port->tx && !tx_queue(port)->serving) {
		virtio_untake(tx_queue(port), port->tx);
		port->tx = NULL;
	}
	if (!tx_queue(port)->serving && tx_queue(port)->ring.discard)
		port->sent = 0;
}

/* --- both ends --- */

void port_reset(struct console_port *port)
{
	port->added = port->ready = port->guest_open = port->told_open = false;
	port->owed = 0;
	port->sent = 0;
}

void port_guest_opened(struct console_port *port, bool open)
{
	port->guest_open = open;
	if (open) {
		virtio_look_again(rx_queue(port));
	} else if (port->rx) {
		virtio_untake(rx_queue(port), port->rx);
		port->rx = NULL;
	}
}

static void set_host_open(struct console_port *port, bool open)
{
	port->host_open = open;
	if (!port->ready)
		return;
	if (open != port->told_open)
		port->owed |= OWED_OPEN;
	else
		port->owed &= ~OWED_OPEN;
	control_look(port->console);
}

void port_size(const struct console_port *port, uint16_t *cols, uint16_t *rows)
{
	*cols = CONSOLE_COLS;
	*rows = CONSOLE_ROWS;
	if (port && port->chr)
		chardev_size(port->chr, cols, rows);
}

/* 5.3.6: the configuration is for port 0 and a driver without control queues. */
static void size_changed(struct console_port *port)
{
	struct console *console = port->console;

	if (!port->is_console || !(console->vdev.features & FEATURE(VIRTIO_CONSOLE_F_SIZE)))
		return;
	if (port->nr == 0)
		virtio_config_changed(&console->vdev);
	if (port->ready)
		port->owed |= OWED_RESIZE;
	control_look(console);
}

static void event(void *opaque, enum chardev_event event)
{
	struct console_port *port = opaque;

	switch (event) {
	case CHARDEV_OPENED:
	case CHARDEV_CLOSED:
		if (!port->is_console)
			set_host_open(port, event == CHARDEV_OPENED);
		/* What a peer that has gone did not read, nobody waits for. */
		go_on(port);
		break;
	case CHARDEV_WRITABLE: go_on(port); break;
	case CHARDEV_RESIZED: size_changed(port); break;
	case CHARDEV_BREAK: break;
	}
}

/* --- as devices --- */

static struct console_port *port_of(struct device *dev)
{
	return container_of(dev, struct console_port, dev);
}

/* Port 0 is a console's: the first one's, unless it says otherwise. */
static int choose_number(struct console_port *port, struct error *err)
{
	struct console *console = port->console;

	if (port->nr == NR_NEXT && port->is_console && !console->ports[0])
		port->nr = 0;
	for (uint32_t i = 1; port->nr == NR_NEXT && i < console->max_ports; i++)
		if (!console->ports[i])
			port->nr = i;
	if (port->nr == NR_NEXT)
		return error_set(err, ENOSPC,
			"virtio-serial-bus: Maximum port limit for this device reached");
	if (port->nr >= console->max_ports)
		return error_set(err, EINVAL,
			"virtio-serial-bus: Out-of-range port id specified, max. allowed: %u",
			console->max_ports - 1);
	if (console->ports[port->nr])
		return error_set(
			err, EEXIST, "virtio-serial-bus: A port already exists at id %u", port->nr);
	return 0;
}

static int check_name(const struct console_port *port, struct error *err)
{
	const struct console *console = port->console;

	for (uint32_t i = 0; port->name && i < console->max_ports; i++) {
		const struct console_port *other = console->ports[i];

		if (other && other->name && !strcmp(other->name, port->name))
			return error_set(err, EEXIST,
				"virtio-serial-bus: A port already exists by name %s", port->name);
	}
	return 0;
}

static int attach(struct console_port *port, struct error *err)
{
	port->host_open = port->is_console && port->chr;
	if (!port->chr)
		return 0;
	port->user = (struct chardev_user){
		.can_receive = can_receive, .receive = receive, .event = event, .opaque = port};
	return chardev_attach(port->chr, &port->user, err);
}

static int port_realize(struct console_port *port, struct error *err)
{
	int rc;

	port->console = container_of(port->dev.bus, struct console, bus);
	port->more = (struct loop_task){.run = more, .opaque = port};
	rc = check_name(port, err);
	if (rc == 0)
		rc = choose_number(port, err);
	if (rc < 0)
		return rc;
	port->console->ports[port->nr] = port;
	rc = attach(port, err);
	if (rc < 0) {
		port->console->ports[port->nr] = NULL;
		return rc;
	}
	control_port_added(port);
	size_changed(port);
	virtio_look_again(rx_queue(port)); /* without MULTIPORT it is open */
	return 0;
}

static int virtconsole_realize(struct device *dev, struct error *err)
{
	port_of(dev)->is_console = true;
	return port_realize(port_of(dev), err);
}

static int virtserialport_realize(struct device *dev, struct error *err)
{
	return port_realize(port_of(dev), err);
}

/* A buffer for input stays in its queue, for the driver to take back; output that waits, and what
 * comes until the driver knows, has nowhere to go. */
static void give_back(struct console_port *port)
{
	if (port->rx)
		virtio_untake(rx_queue(port), port->rx);
	if (port->tx)
		virtio_complete(tx_queue(port), port->tx, 0);
	port->rx = port->tx = NULL;
	virtio_look_again(tx_queue(port));
}

/* The queues are the bus's, which goes after its ports. */
static void port_unrealize(struct device *dev)
{
	struct console_port *port = port_of(dev);

	loop_cancel(port->dev.machine->loop, &port->more);
	if (port->chr)
		chardev_detach(port->chr, &port->user);
	give_back(port);
	control_port_removed(port);
	port->console->ports[port->nr] = NULL;
	port->ready = false;
	size_changed(port);
}

#define FIELD(member) offsetof(struct console_port, member)
static const struct property port_properties[] = {
	{.name = "chardev",
		.kind = PROPERTY_CHARDEV,
		.offset = FIELD(chr),
		.help = "ID of a chardev to use as a backend"},
	{.name = "name",
		.kind = PROPERTY_STRING,
		.offset = FIELD(name),
		.help = "told to the driver"},
	{.name = "nr",
		.kind = PROPERTY_UINT32,
		.offset = FIELD(nr),
		.initial = "4294967295",
		.help = "number of the port; default: the next one, 0 for the first console"},
	PROPERTY_END,
};

static bool is_number(const void *state, uint64_t value)
{
	return ((const struct console_port *)state)->nr == value;
}

static bool is_owed(const void *state, uint64_t value)
{
	const struct console_port *port = state;

	return value <= OWED_ALL && (port->name || !(value & OWED_NAME));
}

/* The host's end is what it is here; in a run that is replayed, what it was there. */
static int port_loaded(void *state, unsigned version, struct error *err)
{
	struct console_port *port = state;

	set_host_open(port, port->host_open);
	return 0;
}

static const struct state_field port_fields[] = {
	STATE_UINT(struct console_port, nr, .valid = is_number),
	STATE_BOOL(struct console_port, added),
	STATE_BOOL(struct console_port, ready),
	STATE_BOOL(struct console_port, guest_open),
	STATE_BOOL(struct console_port, told_open),
	STATE_UINT(struct console_port, owed, .valid = is_owed),
	STATE_UINT(struct console_port, sent),
	STATE_END,
};

static bool is_replayed(const void *state)
{
	return outside_mode() != OUTSIDE_LIVE;
}

static const struct state_field peer_fields[] = {
	STATE_BOOL(struct console_port, host_open),
	STATE_END,
};

static const struct state_table peer_table = {.name = "peer",
	.version = 1,
	.fields = peer_fields,
	.needed = is_replayed,
	.post_load = outside_part_loaded};

static const struct state_table *const port_subsections[] = {&peer_table, NULL};

static const struct state_table port_state = {.name = "virtio-console-port",
	.version = 1,
	.fields = port_fields,
	.subsections = port_subsections,
	.post_load = port_loaded};

const struct device_type virtconsole_type = {
	.name = "virtconsole",
	.bus = "virtio-serial-bus",
	.category = "Input",
	.properties = port_properties,
	.size = sizeof(struct console_port),
	.realize = virtconsole_realize,
	.state = &port_state,
	.unrealize = port_unrealize,
};

const struct device_type virtserialport_type = {
	.name = "virtserialport",
	.bus = "virtio-serial-bus",
	.category = "Input",
	.properties = port_properties,
	.size = sizeof(struct console_port),
	.realize = virtserialport_realize,
	.state = &port_state,
	.unrealize = port_unrealize,
};
