/* SPDX-License-Identifier: MIT */
/*
 * Boot order for firmware (boot-order.h): two CMOS bytes as SeaBIOS reads them, and OpenFirmware
 * paths (IEEE 1275 as QEMU and SeaBIOS write them) of the devices with a bootindex.
 */
#include "board/boot-order.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/pci.h"
#include "devices/chipset/fw-cfg.h"
#include "devices/chipset/rtc.h"
#include "devices/devices.h"

#define NO_INDEX    UINT32_MAX
#define CMOS_FIRST  0x3d /* first device, and the second in the high half */
#define CMOS_THIRD  0x38 /* the third in the high half */
#define DEVICES_MAX 64
#define LINE_MAX    96

/* -boot's letters; others mean nothing to a PC's firmware. */
static unsigned code_of(char letter)
{
	switch (letter) {
	case 'a': return 1;
	case 'c': return 2;
	case 'd': return 3;
	case 'n': return 4;
	default: return 0;
	}
}

static void set_cmos(struct machine *machine, const char *order)
{
	unsigned codes[3] = {0};
	struct list *pos;

	for (unsigned i = 0; i < 3 && order[i]; i++)
		codes[i] = code_of(order[i]);
	list_for_each (pos, &machine->devices) {
		struct device *dev = container_of(pos, struct device, link);

		if (dev->type != &mc146818rtc_type)
			continue;
		rtc_set_cmos(dev, CMOS_FIRST, codes[0] | codes[1] << 4);
		rtc_set_cmos(dev, CMOS_THIRD, codes[2] << 4 | 1); /* no floppy signature check */
	}
}

static uint32_t index_of(const struct device *dev)
{
	for (const struct property *p = dev->type->properties; p && p->name; p++)
		if (!strcmp(p->name, "bootindex"))
			return *(const uint32_t *)((const char *)dev + p->offset);
	return NO_INDEX;
}

static int print_pci(char *line, const struct pci_device *pci, const char *kind)
{
	unsigned slot = pci->devfn >> 3, function = pci->devfn & 7;

	return function ? snprintf(line, LINE_MAX, "/pci@i0cf8/%s@%x,%x", kind, slot, function)
			: snprintf(line, LINE_MAX, "/pci@i0cf8/%s@%x", kind, slot);
}

/* The firmware's name of a device; empty where it has none. */
static void name_of(struct device *dev, char *line)
{
	line[0] = '\0';
	if (dev->bus && !strcmp(dev->bus->kind, "IDE")) {
		unsigned channel = dev->bus->name[strlen(dev->bus->name) - 1] - '0', unit = 0;

		for (const struct property *p = dev->type->properties; p && p->name; p++)
			if (!strcmp(p->name, "unit"))
				unit = *(const uint32_t *)((const char *)dev + p->offset);
		snprintf(line, LINE_MAX, "/pci@i0cf8/ide@1,1/drive@%x/disk@%x", channel, unit);
	} else if (dev->bus && !strcmp(dev->bus->kind, "PCI")) {
		int used = print_pci(line, container_of(dev, struct pci_device, dev), "scsi");

		snprintf(line + used, LINE_MAX - used, "/disk@0,0");
	}
}

static int by_index(const void *a, const void *b)
{
	uint32_t x = index_of(*(struct device *const *)a);
	uint32_t y = index_of(*(struct device *const *)b);

	return x < y ? -1 : x > y;
}

char *boot_order_text(struct machine *machine, bool strict, size_t *length)
{
	struct device *devices[DEVICES_MAX] = {NULL};
	unsigned count = 0;
	struct list *pos;
	char line[LINE_MAX], *text;
	size_t used = 0;

	list_for_each (pos, &machine->devices) {
		struct device *dev = container_of(pos, struct device, link);

		if (index_of(dev) != NO_INDEX && count < DEVICES_MAX)
			devices[count++] = dev;
	}
	qsort(devices, count, sizeof(devices) / DEVICES_MAX, by_index);
	text = calloc(count + 1, LINE_MAX);
	*length = 0;
	if (!text)
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		name_of(devices[i], line);
		if (line[0])
			used += snprintf(text + used, LINE_MAX + 1, "%s%s", used ? "\n" : "", line);
	}
	if (strict)
		used += snprintf(text + used, LINE_MAX, "%sHALT", used ? "\n" : "");
	*length = used ? used + 1 : 0;
	return text;
}

static int add_bootorder(
	struct machine *machine, struct device *fw_cfg, bool strict, struct error *err)
{
	size_t length;
	char *text = boot_order_text(machine, strict, &length);
	int rc = text ? 0 : error_set(err, ENOMEM, "out of memory");

	if (rc == 0 && length)
		rc = fw_cfg_add_file(fw_cfg, "bootorder", text, length, err);
	free(text);
	return rc;
}

static int add_milliseconds(
	struct device *fw_cfg, const char *name, int64_t value, unsigned size, struct error *err)
{
	uint8_t bytes[4];

	for (unsigned i = 0; i < size; i++)
		bytes[i] = value >> i * 8;
	return fw_cfg_add_file(fw_cfg, name, bytes, size, err);
}

int boot_order_load(struct machine *machine, struct device *fw_cfg,
	const struct board_config *config, struct error *err)
{
	static bool before;
	const struct board_boot *boot = &config->boot;
	const char *order = boot->order[0] ? boot->order : "cad";
	int rc;

	set_cmos(machine, boot->once[0] && !before ? boot->once : order);
	before = true;
	rc = fw_cfg_add_number(fw_cfg, FW_CFG_BOOT_MENU, boot->menu, 2, err);
	if (rc == 0)
		rc = add_bootorder(machine, fw_cfg, boot->strict, err);
	if (rc == 0 && boot->splash_time >= 0)
		rc = add_milliseconds(fw_cfg, "etc/boot-menu-wait", boot->splash_time, 2, err);
	if (rc == 0)
		rc = add_milliseconds(fw_cfg, "etc/boot-fail-wait", boot->reboot_timeout, 4, err);
	return rc;
}
