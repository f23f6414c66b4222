/* SPDX-License-Identifier: MIT */
/*
 * virtio-console, called virtio-serial by QEMU (virtio 1.4, 5.3): features, configuration, which
 * queue is whose, and the device types.  Its ports are devices on the bus that it brings along.
 *
 * The feature SIZE is ours: QEMU 7.2 does not have it (docs/differences.md).
 */
#include "virtio/console.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "virtio/mmio.h"
#include "virtio/pci.h"
#include "virtio/virtio-types.h"

#define CLASS_COMMUNICATION_OTHER 0x078000
#define QUEUE_SIZE		  128
#define VECTORS_AUTO		  0xffffffff

/* struct virtio_console_config (5.3.4) */
struct config {
	uint16_t cols, rows;
	uint32_t max_nr_ports, emerg_wr;
};

_Static_assert(sizeof(struct config) == 12, "as in 5.3.4");

static uint64_t console_features(struct virtio_device *vdev)
{
	const struct console *console = console_of(vdev);
	uint64_t bits = 0;

	if (console->console_size)
		bits |= FEATURE(VIRTIO_CONSOLE_F_SIZE);
	if (console->max_ports > 1)
		bits |= FEATURE(VIRTIO_CONSOLE_F_MULTIPORT);
	if (console->emergency_write)
		bits |= FEATURE(VIRTIO_CONSOLE_F_EMERG_WRITE);
	return bits;
}

static void console_config_read(struct virtio_device *vdev, uint8_t *out)
{
	const struct console *console = console_of(vdev);
	struct config config = {0};

	if (console->console_size)
		port_size(console->ports[0], &config.cols, &config.rows);
	if (console->max_ports > 1)
		config.max_nr_ports = console->max_ports;
	memcpy(out, &config, sizeof(config));
}

/* 5.3.5.1: at any time, whatever the state of the device. */
static void console_config_write(
	struct virtio_device *vdev, unsigned offset, unsigned size, uint32_t value)
{
	const struct console *console = console_of(vdev);
	uint8_t byte = value;

	if (!console->emergency_write || offset != offsetof(struct config, emerg_wr))
		return;
	for (uint32_t i = 0; i < console->max_ports; i++) {
		const struct console_port *port = console->ports[i];

		if (!port || !port->is_console || !port->chr)
			continue;
		chardev_write(port->chr, &byte, 1);
		machine_note_output(vdev->machine, &byte, 1);
		return;
	}
}

/* --- queues --- */

/* Is what the driver sends by that number perhaps meant for a port that has gone? */
static bool is_of_the_past(const struct console *console, uint32_t nr)
{
	uint64_t gone = console->gone[nr];

	fault_value("console-gone", &gone);
	return gone;
}

static struct console_port *port_of_queue(const struct console *console, unsigned index)
{
	uint32_t nr = index < 2 ? 0 : index / 2 - 1;

	return index % 2 && is_of_the_past(console, nr) ? NULL : console_port(console, nr);
}

static bool console_willing(struct virtio_device *vdev, struct virtio_queue *vq)
{
	struct console *console = console_of(vdev);
	unsigned index = vq->ring.index;
	struct console_port *port;

	if (index == CONSOLE_CONTROL_RX)
		return control_owes(console);
	if (index == CONSOLE_CONTROL_TX)
		return true;
	port = port_of_queue(console, index);
	return port ? port_willing(port, index % 2 == 0) : index % 2;
}

/* 5.3.6.1 */
static bool wrong_direction(const struct queue_request *request, bool rx)
{
	return rx ? request->out_bytes : request->in_bytes;
}

static void console_request(
	struct virtio_device *vdev, struct virtio_queue *vq, struct queue_request *request)
{
	struct console *console = console_of(vdev);
	unsigned index = vq->ring.index;
	struct console_port *port;
	bool rx = index % 2 == 0;

	if (wrong_direction(request, rx)) {
		virtio_break(vdev, "queue %u: a buffer of the wrong direction", index);
		queue_break(&vq->ring, "a buffer of the wrong direction");
		virtio_complete(vq, request, 0);
		return;
	}
	if (index == CONSOLE_CONTROL_RX) {
		control_receive_request(console, request);
		return;
	}
	if (index == CONSOLE_CONTROL_TX) {
		control_transmit_request(console, request);
		return;
	}
	port = port_of_queue(console, index);
	if (!port)
		virtio_complete(vq, request, 0); /* output to nowhere */
	else if (rx)
		port_receive_request(port, request);
	else
		port_transmit_request(port, request);
}

static void console_drain(struct virtio_device *vdev, struct loop *loop, bool pause)
{
	const struct console *console = console_of(vdev);

	for (uint32_t i = 0; i < console->max_ports; i++)
		if (console->ports[i])
			port_drain(console->ports[i]);
}

/* What nobody waits for (there is no such port here) goes back empty. */
static void console_held(
	struct virtio_device *vdev, struct virtio_queue *vq, struct queue_request *request)
{
	unsigned index = vq->ring.index;
	struct console_port *port = port_of_queue(console_of(vdev), index);
	struct queue_request **place = !port ? NULL : index % 2 ? &port->tx : &port->rx;

	if (index == CONSOLE_CONTROL_RX || index == CONSOLE_CONTROL_TX || !place || *place)
		virtio_complete(vq, request, 0);
	else
		*place = request;
}

static void console_reset(struct virtio_device *vdev)
{
	struct console *console = console_of(vdev);

	console->driver_ready = false;
	memset(console->gone, 0, console->max_ports * sizeof(*console->gone));
	for (uint32_t i = 0; i < console->max_ports; i++)
		if (console->ports[i])
			port_reset(console->ports[i]);
}

static const struct virtio_ops console_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.config_size = sizeof(struct config),
	.features = console_features,
	.config_read = console_config_read,
	.config_write = console_config_write,
	.willing = console_willing,
	.request = console_request,
	.drain = console_drain,
	.held = console_held,
	.reset = console_reset,
};

/* --- life --- */

static bool is_full(struct bus *bus)
{
	const struct console *console = container_of(bus, struct console, bus);

	for (uint32_t i = 0; i < console->max_ports; i++)
		if (!console->ports[i])
			return false;
	return true;
}

/* Busses are named as under QEMU: after their device's id, or in order. */
static void name_bus(struct console *console, const struct device *dev)
{
	char name[sizeof(console->bus.name)];
	unsigned number = 0;

	if (dev->id) {
		snprintf(name, sizeof(name), "%.20s.0", dev->id);
	} else {
		do
			snprintf(name, sizeof(name), "virtio-serial-bus.%u", number++);
		while (bus_find(dev->machine, "virtio-serial-bus", name));
	}
	console->bus.is_full = is_full;
	console->bus.hotplug = true;
	bus_register(&console->bus, dev->machine, "virtio-serial-bus", name);
}

static void free_ports(struct console *console)
{
	free(console->ports);
	free(console->gone);
}

static int console_realize(struct console *console, struct device *dev, struct error *err)
{
	unsigned queues = console->max_ports > 1 ? 2 * (console->max_ports + 1) : 2;
	int rc;

	if (!console->max_ports)
		return error_set(err, EINVAL, "Maximum number of serial ports not specified");
	if (console->max_ports > CONSOLE_PORTS_MAX)
		return error_set(
			err, EINVAL, "maximum ports supported: %u", (unsigned)CONSOLE_PORTS_MAX);
	console->ports = calloc(console->max_ports, sizeof(struct console_port *));
	console->gone = calloc(console->max_ports, sizeof(*console->gone));
	if (!console->ports || !console->gone) {
		free_ports(console);
		return error_set(err, ENOMEM, "out of memory");
	}
	rc = virtio_init(&console->vdev, dev->machine, dev->type->name, &console_ops,
		&console->conf, queues, QUEUE_SIZE, sizeof(struct queue_request),
		dev->machine->loop, err);
	if (rc < 0) {
		free_ports(console);
		return rc;
	}
	name_bus(console, dev);
	return 0;
}

static void console_unrealize(struct console *console)
{
	bus_unregister(&console->bus);
	virtio_destroy(&console->vdev);
	free_ports(console);
}

#define CONSOLE_PROPERTIES(type)                                                                  \
	{"max_ports", PROPERTY_UINT32, offsetof(type, console.max_ports), "31",                   \
		"numbers that ports can have", NULL, 0, 0},                                       \
		{"emergency-write", PROPERTY_BOOL, offsetof(type, console.emergency_write), "on", \
			"offer output of a byte without queues", NULL, 0, 0},                     \
		{"console-size", PROPERTY_BOOL, offsetof(type, console.console_size), "on",       \
			"offer the size of port 0's terminal", NULL, 0, 0},                       \
		VIRTIO_PROPERTIES(type, console.conf)

static const struct state_field console_fields[] = {
	STATE_PART(struct console, vdev, virtio_state_table),
	STATE_BOOL(struct console, driver_ready),
	STATE_END,
};

static unsigned port_count(const void *state)
{
	return ((const struct console *)state)->max_ports;
}

static bool has_gone(const void *state)
{
	const struct console *console = state;

	for (uint32_t i = 0; i < console->max_ports; i++)
		if (console->gone[i])
			return true;
	return false;
}

static const struct state_field gone_fields[] = {
	STATE_POINTED(struct console, gone, STATE_NUMBER, port_count, .max = GONE_UNTOLD),
	STATE_END,
};

static const struct state_table gone_table = {
	.name = "removed", .version = 1, .fields = gone_fields, .needed = has_gone};

static const struct state_table *const console_subsections[] = {&gone_table, NULL};

static const struct state_table console_state = {.name = "virtio-serial",
	.version = 1,
	.fields = console_fields,
	.subsections = console_subsections};

/* --- virtio-serial-pci --- */

struct virtio_serial_pci {
	struct virtio_pci transport; /* first */
	struct console console;
};

/* QEMU's number of vectors: one a port, for both queues, and one for the configuration. */
static int pci_realize(struct device *dev, struct error *err)
{
	struct virtio_serial_pci *p = (struct virtio_serial_pci *)dev;
	int rc = virtio_pci_check(&p->transport, err);

	if (rc == 0)
		rc = console_realize(&p->console, dev, err);
	if (rc < 0)
		return rc;
	if (p->transport.vectors == VECTORS_AUTO)
		p->transport.vectors = p->console.max_ports + 1;
	rc = virtio_pci_realize(&p->transport, &p->console.vdev, CLASS_COMMUNICATION_OTHER, err);
	if (rc < 0) {
		virtio_pci_unrealize(&p->transport);
		console_unrealize(&p->console);
	}
	return rc;
}

static void pci_unrealize(struct device *dev)
{
	struct virtio_serial_pci *p = (struct virtio_serial_pci *)dev;

	console_unrealize(&p->console);
	virtio_pci_unrealize(&p->transport);
}

static void pci_reset(struct device *dev)
{
	virtio_pci_reset(&((struct virtio_serial_pci *)dev)->transport);
}

#define SERIAL_PCI_PROPERTIES(legacy)                                                           \
	{                                                                                       \
		CONSOLE_PROPERTIES(struct virtio_serial_pci),                                   \
			VIRTIO_PCI_PROPERTIES(struct virtio_serial_pci, transport),             \
			VIRTIO_PCI_DISABLE_LEGACY(struct virtio_serial_pci, transport, legacy), \
			PROPERTY_END,                                                           \
	}

static const struct property serial_pci_properties[] = SERIAL_PCI_PROPERTIES("auto");
static const struct property serial_pci_non_transitional_properties[] = SERIAL_PCI_PROPERTIES("on");
static const struct property serial_pci_transitional_properties[] = SERIAL_PCI_PROPERTIES("off");

static const struct state_field serial_pci_fields[] = {
	STATE_PART(struct virtio_serial_pci, transport, virtio_pci_state_table),
	STATE_PART(struct virtio_serial_pci, console, console_state),
	STATE_END,
};

static const struct state_table serial_pci_state = {
	.name = "virtio-serial-pci", .version = 1, .fields = serial_pci_fields};

static const char *const serial_pci_bases[] = {
	"virtio-pci", "virtio-serial-device", "virtio-device", NULL};

#define SERIAL_PCI_TYPE(text, table)                                                         \
	{                                                                                    \
		.name = text, .bus = "PCI", .description = "virtio consoles and ports",      \
		.category = "Input", .properties = table, .more_properties = pci_properties, \
		.size = sizeof(struct virtio_serial_pci), .realize = pci_realize,            \
		.reset = pci_reset, .unrealize = pci_unrealize, .bases = serial_pci_bases,   \
		.state = &serial_pci_state,                                                  \
	}

const struct device_type virtio_serial_pci_type =
	SERIAL_PCI_TYPE("virtio-serial-pci", serial_pci_properties);
const struct device_type virtio_serial_pci_non_transitional_type = SERIAL_PCI_TYPE(
	"virtio-serial-pci-non-transitional", serial_pci_non_transitional_properties);
const struct device_type virtio_serial_pci_transitional_type =
	SERIAL_PCI_TYPE("virtio-serial-pci-transitional", serial_pci_transitional_properties);

/* --- virtio-serial-device --- */

struct virtio_serial_device {
	struct device dev; /* first */
	struct console console;
};

static int mmio_realize(struct device *dev, struct error *err)
{
	struct virtio_serial_device *p = (struct virtio_serial_device *)dev;
	int rc = console_realize(&p->console, dev, err);

	if (rc < 0)
		return rc;
	rc = virtio_mmio_attach(dev, &p->console.vdev, err);
	if (rc < 0)
		console_unrealize(&p->console);
	return rc;
}

static void mmio_unrealize(struct device *dev)
{
	virtio_mmio_detach(dev);
	console_unrealize(&((struct virtio_serial_device *)dev)->console);
}

static void mmio_reset(struct device *dev)
{
	virtio_reset(&((struct virtio_serial_device *)dev)->console.vdev);
}

static const struct property serial_device_properties[] = {
	CONSOLE_PROPERTIES(struct virtio_serial_device),
	PROPERTY_END,
};

static const char *const serial_device_bases[] = {"virtio-device", NULL};

static const struct state_field serial_device_fields[] = {
	STATE_PART(struct virtio_serial_device, console, console_state),
	STATE_END,
};

static const struct state_table serial_device_state = {
	.name = "virtio-serial-device", .version = 1, .fields = serial_device_fields};

const struct device_type virtio_serial_device_type = {
	.name = "virtio-serial-device",
	.bus = "virtio-bus",
	.description = "virtio consoles and ports",
	.category = "Input",
	.properties = serial_device_properties,
	.size = sizeof(struct virtio_serial_device),
	.bases = serial_device_bases,
	.realize = mmio_realize,
	.reset = mmio_reset,
	.state = &serial_device_state,
	.unrealize = mmio_unrealize,
};
