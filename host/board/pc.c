/* SPDX-License-Identifier: MIT */
/* Machine `pc`: i440FX with PIIX3 (ISA bridge, IDE) and PIIX4 power management, as QEMU's. */
#include "board/pc.h"

#include <errno.h>

#include "devices/chipset/i440fx.h"
#include "devices/devices.h"

#define MIB (1ULL << 20)

/* The functions of slot 1, where QEMU has them. */
static const struct {
	const char *type, *address;
} functions[] = {
	{"PIIX3", "01.0"},
	{"piix3-ide", "01.1"},
	{"PIIX4_PM", "01.3"},
};

static int add_function(struct machine *machine, const char *name, const char *address,
	struct error *err)
{
	const struct device_type *type = device_type_find(name);
	struct keyvals *kv = keyvals_new("-machine pc");
	struct device *dev;

	if (!type || !kv) {
		keyvals_free(kv);
		return type ? error_set(err, ENOMEM, "out of memory") : 0;
	}
	keyvals_set(kv, "addr", address);
	dev = device_create(machine, type, NULL, kv, err);
	keyvals_free(kv);
	return dev ? 0 : error_prefix(err, -EINVAL, "%s: ", name);
}

static int pc_build(struct machine *machine, const struct board_config *config, struct error *err)
{
	struct device *bridge = device_create(machine, &i440fx_type, NULL, NULL, err);
	int rc = bridge ? 0 : -EINVAL;

	for (unsigned i = 0; i < sizeof(functions) / sizeof(functions[0]) && rc == 0; i++)
		rc = add_function(machine, functions[i].type, functions[i].address, err);
	return rc;
}

static int pc_load(struct machine *machine, const struct board_config *config, uint64_t *rsdp,
	struct error *err)
{
	struct bus *bus = bus_find(machine, "PCI", "pci.0");

	pci_setup(container_of(bus, struct pci_bus, bus));
	return 0;
}

const struct board_type board_pc = {
	.name = "pc-i440fx-7.2",
	.alias = "pc",
	.description = "Standard PC (i440FX + PIIX, 1996)",
	.default_memory = 128 * MIB,
	.default_drive = "ide",
	.max_cpus = 1,
	.build = pc_build,
	.load = pc_load,
};
