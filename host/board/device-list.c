/* SPDX-License-Identifier: MIT */
/* The one list of device types, alphabetical by name.  A new device is one line here. */
#include <stddef.h>
#include <string.h>

#include "board/board.h"
#include "devices/devices.h"
#include "virtio/virtio-types.h"

const struct device_type *const device_types[] = {
	&assay_probe_type,
	&fw_cfg_type,
	&i440fx_type,
	&i8042_type,
	&ide_hd_type,
	&ioapic_type,
	&isa_debug_exit_type,
	&isa_debugcon_type,
	&i8259_type,
	&i8254_type,
	&isa_serial_type,
	&mc146818rtc_type,
	&pc_testdev_type,
	&pci_testdev_type,
	&piix3_type,
	&piix3_ide_type,
	&piix4_pm_type,
	&virtconsole_type,
	&virtio_blk_device_type,
	&virtio_blk_pci_type,
	&virtio_blk_pci_non_transitional_type,
	&virtio_blk_pci_transitional_type,
	&virtio_mmio_type,
	&virtio_rng_device_type,
	&virtio_rng_pci_type,
	&virtio_rng_pci_non_transitional_type,
	&virtio_rng_pci_transitional_type,
	&virtio_serial_device_type,
	&virtio_serial_pci_type,
	&virtio_serial_pci_non_transitional_type,
	&virtio_serial_pci_transitional_type,
	&virtserialport_type,
	NULL,
};

const struct device_type *device_type_find(const char *name)
{
	for (unsigned i = 0; device_types[i]; i++)
		if (strcmp(device_types[i]->name, name) == 0)
			return device_types[i];
	return NULL;
}
