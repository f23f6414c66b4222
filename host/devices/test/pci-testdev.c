/* SPDX-License-Identifier: MIT */
/*
 * pci-testdev (QEMU's docs/specs/pci-testdev): a PCI function 1b36:0005 whose BAR 0 (memory) and
 * BAR 1 (I/O) count writes, once by an exit, once by an event that takes every value, once by an
 * event that takes one value.
 *
 * A BAR begins with a header.  Writing N to its first byte starts test N; the header then says
 * where to write what, and how often it was seen.  Left out: BAR 2 (membar=).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bus/pci.h"
#include "devices/devices.h"

#define VENDOR_REDHAT 0x1b36
#define PCI_TESTDEV   0x0005
#define CLASS_OTHER   0xff0000

#define BARS	   2
#define TESTS	   3 /* on each BAR */
#define NO_TEST	   TESTS
#define DATA_MATCH 0xfa

/* Little-endian. */
struct header {
	uint8_t test, width, padding[2];
	uint32_t offset, data, count;
	char name[32];
};

_Static_assert(sizeof(struct header) == 48, "the header's layout is the guest's");

struct test {
	struct region_event event;
	bool has_event;
	uint32_t offset;
};

struct test_bar {
	struct region region;
	struct test tests[TESTS];
	struct header header;
	unsigned current; /* NO_TEST: none was started */
	struct pci_testdev *dev;
};

struct pci_testdev {
	struct pci_device pci;
	struct test_bar bars[BARS];
};

static const struct {
	const char *type;
	enum pci_bar_kind kind;
	uint32_t half; /* bytes: headers in the first half, targets in the second */
} layouts[BARS] = {
	{"mmio", PCI_BAR_MEMORY32, 2048},
	{"portio", PCI_BAR_IO, 128},
};

static const char *const test_names[TESTS] = {
	"no-eventfd", "wildcard-eventfd", "datamatch-eventfd"};

/* Writes that the engine turned into signals are counted when somebody looks. */
static void collect(struct test_bar *bar)
{
	uint64_t signals;

	if (bar->current != NO_TEST && bar->tests[bar->current].has_event &&
		read(bar->tests[bar->current].event.fd, &signals, sizeof(signals)) ==
			sizeof(signals))
		bar->header.count += signals;
}

static void start_test(struct test_bar *bar, unsigned index)
{
	unsigned which = bar - bar->dev->bars;

	collect(bar);
	bar->current = index < TESTS ? index : NO_TEST;
	bar->header = (struct header){.test = index};
	if (bar->current == NO_TEST)
		return;
	collect(bar); /* what came in before does not count */
	bar->header.width = 1;
	bar->header.offset = bar->tests[index].offset;
	bar->header.data = DATA_MATCH;
	bar->header.count = 0;
	snprintf(bar->header.name, sizeof(bar->header.name), "%s-%s", layouts[which].type,
		test_names[index]);
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
	struct test_bar *bar = opaque;
	uint64_t value = 0;

	collect(bar);
	if (offset + size <= sizeof(bar->header))
		memcpy(&value, (const uint8_t *)&bar->header + offset, size);
	return value;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
	struct test_bar *bar = opaque;

	if (offset == 0)
		start_test(bar, (uint8_t)value);
	else if (bar->current != NO_TEST && offset == bar->header.offset && size == 1)
		bar->header.count++;
}

static const struct region_ops bar_ops = {
	.read = bar_read,
	.write = bar_write,
	.min_access = 1,
	.max_access = 4,
	.unaligned = true,
};

static int set_up_test(struct test_bar *bar, unsigned index, struct error *err)
{
	unsigned which = bar - bar->dev->bars;
	struct test *test = &bar->tests[index];

	test->offset = layouts[which].half + which * TESTS + index;
	if (!index)
		return 0;
	test->event = (struct region_event){
		.offset = test->offset,
		.size = 1,
		.match = index == 2,
		.value = DATA_MATCH,
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	if (test->event.fd < 0)
		return error_set_errno(err, errno, "cannot create an eventfd");
	test->has_event = true;
	region_event_add(&bar->region, &test->event);
	return 0;
}

static void pci_testdev_unrealize(struct device *dev)
{
	struct pci_testdev *testdev = container_of(dev, struct pci_testdev, pci.dev);

	for (unsigned i = 0; i < BARS * TESTS; i++) {
		struct test *test = &testdev->bars[i / TESTS].tests[i % TESTS];

		if (!test->has_event)
			continue;
		region_event_remove(&test->event);
		close(test->event.fd);
		test->has_event = false;
	}
}

static int pci_testdev_realize(struct device *dev, struct error *err)
{
	struct pci_testdev *testdev = container_of(dev, struct pci_testdev, pci.dev);

	pci_set_ids(&testdev->pci, VENDOR_REDHAT, PCI_TESTDEV, CLASS_OTHER, 0);
	for (unsigned i = 0; i < BARS; i++) {
		struct test_bar *bar = &testdev->bars[i];

		bar->dev = testdev;
		bar->current = NO_TEST;
		bar->region = (struct region){
			.name = i ? "pci-testdev-io" : "pci-testdev-memory",
			.ops = &bar_ops,
			.opaque = bar,
		};
		pci_register_bar(&testdev->pci, i, layouts[i].kind, false, 2 * layouts[i].half,
			&bar->region);
		for (unsigned t = 0; t < TESTS; t++) {
			int rc = set_up_test(bar, t, err);

			if (rc) {
				pci_testdev_unrealize(dev);
				return rc;
			}
		}
	}
	return 0;
}

static void pci_testdev_reset(struct device *dev)
{
	struct pci_testdev *testdev = container_of(dev, struct pci_testdev, pci.dev);

	for (unsigned i = 0; i < BARS; i++) {
		testdev->bars[i].current = NO_TEST;
		testdev->bars[i].header = (struct header){0};
	}
}

/* Signals that nobody has counted yet are counted. */
static void bar_prepare(void *state)
{
	collect(state);
}

static const struct state_field header_fields[] = {
	STATE_UINT(struct header, test),
	STATE_UINT(struct header, width),
	STATE_UINT(struct header, offset),
	STATE_UINT(struct header, data),
	STATE_UINT(struct header, count),
	STATE_UINTS(struct header, name),
	STATE_END,
};

static const struct state_table header_table = {
	.name = "header", .version = 1, .fields = header_fields};

static const struct state_field bar_fields[] = {
	STATE_UINT(struct test_bar, current, .max = NO_TEST),
	STATE_PART(struct test_bar, header, header_table),
	STATE_END,
};

static const struct state_table bar_table = {
	.name = "bar", .version = 1, .fields = bar_fields, .pre_save = bar_prepare};

static const struct state_field state_fields[] = {
	STATE_PART(struct pci_testdev, pci, pci_state_table),
	STATE_PARTS(struct pci_testdev, bars, bar_table),
	STATE_END,
};

static const struct state_table state = {
	.name = "pci-testdev", .version = 1, .fields = state_fields};

const struct device_type pci_testdev_type = {
	.name = "pci-testdev",
	.bus = "PCI",
	.description = "PCI Test Device",
	.category = "Misc",
	.more_properties = pci_properties,
	.size = sizeof(struct pci_testdev),
	.realize = pci_testdev_realize,
	.reset = pci_testdev_reset,
	.state = &state,
	.unrealize = pci_testdev_unrealize,
};
