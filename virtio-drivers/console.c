/* SPDX-License-Identifier: MIT */
/* A virtio-console driver (console.h). */
#include "virtio-drivers/console.h"
#include "runtime/memory.h"
#include "runtime/time.h"

#define FEATURES                                                                               \
	(VIRTIO_RING_FEATURES | VIRTIO_BIT(CONSOLE_F_SIZE) | VIRTIO_BIT(CONSOLE_F_MULTIPORT) | \
		VIRTIO_BIT(CONSOLE_F_EMERG_WRITE))

enum { CONTROL_RX = 2, CONTROL_TX };

static unsigned rx_index(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

static bool set_up_port(struct virtio_console *con, unsigned index)
{
	struct console_port *port = &con->port[index];

	return virtqueue_init(&port->rx, &con->dev, rx_index(index), 0, 0, CONSOLE_SEGMENTS) &&
	       virtqueue_init(&port->tx, &con->dev, rx_index(index) + 1, 0, 0, CONSOLE_SEGMENTS);
}

static bool set_up_queues(struct virtio_console *con, unsigned wanted, bool spare)
{
	struct virtio_device *dev = &con->dev;

	con->ports =
		con->multiport && con->max_ports < CONSOLE_PORTS ? con->max_ports : CONSOLE_PORTS;
	if (!con->multiport)
		con->ports = 1;
	if (wanted && wanted < con->ports)
		con->ports = wanted;
	for (unsigned i = 0; i < con->ports; i++)
		if (!set_up_port(con, i))
			return false;
	if (!con->multiport)
		return true;
	if (spare && (con->max_ports <= CONSOLE_SPARE || !set_up_port(con, CONSOLE_SPARE)))
		return false;
	return virtqueue_init(&con->control_rx, dev, CONTROL_RX, 0, CONSOLE_BUFFERS, 1) &&
	       virtqueue_init(&con->control_tx, dev, CONTROL_TX, 0, CONSOLE_BUFFERS, 1);
}

static void set_interrupts(struct virtio_console *con, bool on)
{
	for (unsigned i = 0; i <= CONSOLE_SPARE; i++) {
		if (!con->port[i].rx.size)
			continue;
		virtqueue_interrupts(&con->port[i].rx, on);
		virtqueue_interrupts(&con->port[i].tx, false); /* who sends, waits */
	}
	if (con->multiport) {
		virtqueue_interrupts(&con->control_rx, false);
		virtqueue_interrupts(&con->control_tx, false);
	}
}

bool virtio_console_open(struct virtio_console *con, const struct virtio_console_options *options)
{
	memset(con, 0, sizeof(*con));
	if (!virtio_find(&con->dev, options->transport, VIRTIO_ID_CONSOLE, options->index))
		return false;
	virtio_interrupts(&con->dev, options->polling ? VIRTIO_IRQ_NONE : options->irq);
	if (!virtio_negotiate(&con->dev, FEATURES & ~options->without)) {
		note("the console refused features 0x%lx", virtio_offered(&con->dev));
		return false;
	}
	con->multiport = virtio_has(&con->dev, CONSOLE_F_MULTIPORT);
	if (con->multiport)
		con->max_ports = virtio_config32(&con->dev, CONSOLE_C_MAX_PORTS);
	if (!set_up_queues(con, options->ports, options->spare)) {
		note("the console lacks a queue");
		return false;
	}
	con->messages = guarded_alloc(CONSOLE_BUFFERS * CONSOLE_MESSAGE);
	virtio_driver_ok(&con->dev);
	set_interrupts(con, !options->polling);
	if (con->multiport && !options->no_control)
		console_give_control(con);
	return true;
}

/* --- requests --- */

int console_submit(struct virtqueue *vq, const struct console_buffer *buffers, unsigned count)
{
	int slot = virtqueue_get(vq);

	if (slot < 0)
		return -1;
	for (unsigned i = 0; i < count; i++)
		virtqueue_segment(
			vq, slot, i, phys(buffers[i].at), buffers[i].bytes, buffers[i].writable);
	virtqueue_count(vq, slot, count);
	virtqueue_submit(vq, slot);
	virtqueue_kick(vq);
	return slot;
}

int console_wait(struct virtqueue *vq, uint32_t *length, uint64_t us)
{
	int slot = -1;

	if (!WAIT_UNTIL((slot = virtqueue_reap(vq, length)) >= 0, us))
		return -1;
	virtqueue_put(vq, slot);
	return slot;
}

static int64_t send(struct virtqueue *vq, const void *data, uint32_t bytes)
{
	struct console_buffer buffer = {(void *)data, bytes, false};
	uint32_t length;

	if (console_submit(vq, &buffer, 1) < 0)
		return -1;
	checkpoint();
	return console_wait(vq, &length, CONSOLE_WAIT_US) < 0 ? -1 : (int64_t)length;
}

int64_t virtio_console_write(
	struct virtio_console *con, unsigned port, const void *data, uint32_t bytes)
{
	return send(&con->port[port].tx, data, bytes);
}

/* --- control --- */

static void give_message(struct virtio_console *con, int slot)
{
	virtqueue_segment(&con->control_rx, slot, 0, phys(con->messages + slot * CONSOLE_MESSAGE),
		CONSOLE_MESSAGE, true);
	virtqueue_submit(&con->control_rx, slot);
}

void console_give_control(struct virtio_console *con)
{
	int slot;

	while ((slot = virtqueue_get(&con->control_rx)) >= 0)
		give_message(con, slot);
	virtqueue_kick(&con->control_rx);
}

int64_t console_send_bytes(struct virtio_console *con, const void *message, uint32_t bytes)
{
	return send(&con->control_tx, message, bytes);
}

int64_t console_send(struct virtio_console *con, uint32_t id, uint16_t event, uint16_t value)
{
	struct console_control *control = arena_alloc(sizeof(*control), 8);

	*control = (struct console_control){id, event, value};
	return console_send_bytes(con, control, sizeof(*control));
}

static void note_message(struct virtio_console *con, const struct console_message *m)
{
	uint32_t id = m->control.id, more = m->bytes - sizeof(m->control);
	struct console_port *port = id <= CONSOLE_SPARE ? &con->port[id] : NULL;

	if (id >= con->max_ports)
		con->unknown++;
	if (!port)
		return;
	switch (m->control.event) {
	case CONSOLE_DEVICE_ADD:
		port->added = true;
		port->adds++;
		break;
	case CONSOLE_DEVICE_REMOVE:
		con->unknown += !port->added;
		port->added = false;
		port->removes++;
		break;
	case CONSOLE_CONSOLE_PORT: port->console = true; break;
	case CONSOLE_PORT_OPEN:
		port->host_open = m->control.value;
		port->opens += m->control.value == 1;
		port->closes += m->control.value == 0;
		break;
	case CONSOLE_PORT_NAME:
		port->name_length = more;
		memcpy(port->name, m->more, more);
		break;
	case CONSOLE_RESIZE:
		con->cols = m->more[0] | m->more[1] << 8;
		con->rows = m->more[2] | m->more[3] << 8;
		con->resizes++;
		break;
	}
}

bool console_next(struct virtio_console *con, struct console_message *message, uint64_t us)
{
	uint32_t length = 0;
	int slot = console_wait(&con->control_rx, &length, us);

	if (slot < 0)
		return false;
	memset(message, 0, sizeof(*message));
	if (length < sizeof(message->control) || length > CONSOLE_MESSAGE)
		FAIL("a control message of %u bytes", length);
	memcpy(message, con->messages + slot * CONSOLE_MESSAGE, length);
	message->bytes = length;
	note_message(con, message);
	if (con->keeps)
		return true;
	give_message(con, virtqueue_get(&con->control_rx));
	virtqueue_kick(&con->control_rx);
	return true;
}

bool console_await(
	struct virtio_console *con, uint32_t id, uint16_t event, struct console_message *message)
{
	while (console_next(con, message, CONSOLE_WAIT_US))
		if (message->control.id == id && message->control.event == event)
			return true;
	return false;
}

bool virtio_console_start(struct virtio_console *con)
{
	struct console_message message;

	if (!con->multiport)
		return true;
	if (console_send(con, 0, CONSOLE_DEVICE_READY, 1) < 0)
		return false;
	for (unsigned i = 0; i < con->ports; i++) {
		if (!con->port[i].added && !console_await(con, i, CONSOLE_DEVICE_ADD, &message))
			return false;
		if (console_send(con, i, CONSOLE_PORT_READY, 1) < 0 ||
			console_send(con, i, CONSOLE_PORT_OPEN, 1) < 0)
			return false;
	}
	return true;
}
