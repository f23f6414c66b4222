/* SPDX-License-Identifier: MIT */
/* Machine `pc`: i440FX with PIIX3 (ISA bridge, IDE) and PIIX4 power management, as QEMU's. */
#include "board/pc.h"

#include <errno.h>
#include <string.h>

#include "board/acpi.h"
#include "board/bios.h"
#include "board/firmware.h"
#include "devices/char/serial.h"
#include "devices/chipset/i440fx.h"
#include "devices/chipset/rtc.h"
#include "devices/devices.h"

#define MIB (1ULL << 20)

/* The functions of slot 1, where QEMU has them. */
static const struct {
	const struct device_type *type;
	const char *address;
} functions[] = {
	{&piix3_type, "01.0"},
	{&piix3_ide_type, "01.1"},
	{&piix4_pm_type, "01.3"},
};

/* Battery-backed memory that firmware and kernels read the size of memory from. */
#define CMOS_BASE_KIB	  0x15 /* 16 bits: below 640 KiB */
#define CMOS_EXTENDED_KIB 0x17 /* 16 bits: above 1 MiB, 63 MiB at most; again at 0x30 */
#define CMOS_EXTENDED_2	  0x30
#define CMOS_ABOVE_16M	  0x34 /* 16 bits: 64 KiB units above 16 MiB, below 4 GiB */
#define CMOS_ABOVE_4G	  0x5b /* 24 bits: 64 KiB units */
#define CMOS_EQUIPMENT	  0x14
#define CMOS_PROCESSORS	  0x5f /* less one */

static void set_number(struct device *rtc, unsigned index, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		rtc_set_cmos(rtc, index + i, value >> (i * 8));
}

static void set_cmos(struct device *rtc)
{
	const struct guest_memory *mem = &rtc->machine->memory;
	uint64_t low = 0, high = 0, extended, above_16m;

	for (unsigned i = 0; i < mem->count; i++) {
		uint64_t end = mem->blocks[i].address + mem->blocks[i].size;

		if (mem->blocks[i].readonly)
			continue;
		if (end <= 4096 * MIB && end > low)
			low = end;
		if (end > 4096 * MIB)
			high = end - 4096 * MIB;
	}
	extended = low > MIB ? (low - MIB) >> 10 : 0;
	above_16m = low > 16 * MIB ? (low - 16 * MIB) >> 16 : 0;
	set_number(rtc, CMOS_BASE_KIB, 640, 2);
	set_number(rtc, CMOS_EXTENDED_KIB, extended > 65535 ? 65535 : extended, 2);
	set_number(rtc, CMOS_EXTENDED_2, extended > 65535 ? 65535 : extended, 2);
	set_number(rtc, CMOS_ABOVE_16M, above_16m > 65535 ? 65535 : above_16m, 2);
	set_number(rtc, CMOS_ABOVE_4G, high >> 16, 3);
	rtc_set_cmos(rtc, CMOS_EQUIPMENT, 0x06); /* a coprocessor and a PS/2 port */
}

static int add_function(struct machine *machine, const struct device_type *type,
	const char *address, struct error *err)
{
	struct keyvals *kv = keyvals_new("-machine pc");
	struct device *dev;

	if (!kv)
		return error_set(err, ENOMEM, "out of memory");
	keyvals_set(kv, "addr", address);
	dev = device_create(machine, type, NULL, kv, err);
	keyvals_free(kv);
	return dev ? 0 : error_prefix(err, -EINVAL, "%s: ", type->name);
}

static int pc_build(struct machine *machine, const struct board_config *config, struct error *err)
{
	struct device *bridge = device_create(machine, &i440fx_type, NULL, NULL, err);
	struct device *rtc;
	int rc = bridge ? 0 : -EINVAL;

	for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]) && rc == 0; i++)
		rc = add_function(machine, functions[i].type, functions[i].address, err);
	if (rc < 0)
		return rc;
	rc = firmware_set_clock(machine, config, err);
	if (rc < 0)
		return rc;
	if (!device_create(machine, &i8042_type, NULL, NULL, err))
		return error_prefix(err, -EINVAL, "%s: ", i8042_type.name);
	rtc = device_create(machine, &mc146818rtc_type, NULL, NULL, err);
	if (!rtc)
		return error_prefix(err, -EINVAL, "%s: ", mc146818rtc_type.name);
	set_cmos(rtc);
	rtc_set_cmos(rtc, CMOS_PROCESSORS, config->smp.cpus - 1);
	return firmware_create(machine, err);
}

/* The tables name the serial ports that exist, and the PCI window begins where RAM ends. */
static int build_acpi(struct machine *machine, const struct board_config *config, uint64_t *rsdp,
	struct error *err)
{
	const struct guest_memory *mem = &machine->memory;
	struct acpi_config acpi = {.smp = config->smp};
	struct list *pos;

	for (unsigned i = 0; i < mem->count; i++) {
		uint64_t end = mem->blocks[i].address + mem->blocks[i].size;

		if (!mem->blocks[i].readonly && end < 4096 * MIB && end > acpi.pci_memory_start)
			acpi.pci_memory_start = end;
	}
	list_for_each (pos, &machine->devices) {
		const struct device *dev = container_of(pos, struct device, link);
		int place = dev->type == &isa_serial_type ? isa_serial_place(dev) : -1;

		if (place >= 0)
			acpi.coms[place] = true;
	}
	if (firmware_add_acpi(machine, &acpi, err) < 0)
		return -EINVAL;
	return bios_wanted(config) ? 0 : acpi_build(machine, &acpi, rsdp, err);
}

static int pc_load(struct machine *machine, const struct board_config *config, uint64_t *rsdp,
	struct error *err)
{
	struct bus *bus = bus_find(machine, "PCI", "pci.0");

	pci_setup(container_of(bus, struct pci_bus, bus));
	if (!config->no_acpi) {
		int rc = build_acpi(machine, config, rsdp, err);

		if (rc < 0)
			return rc;
	}
	return firmware_load(machine, config, rsdp, err);
}

const struct board_type board_pc = {
	.name = "pc-i440fx-7.2",
	.alias = "pc",
	.description = "Standard PC (i440FX + PIIX, 1996)",
	.default_memory = 128 * MIB,
	.default_drive = "ide",
	.max_cpus = CPUS_MAX,
	.dies = true,
	.engine_chips = true,
	.build = pc_build,
	.load = pc_load,
};
