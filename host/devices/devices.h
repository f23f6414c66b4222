/* SPDX-License-Identifier: MIT */
/* Every device type there is, by file; board/device-list.c puts them in order. */
#ifndef DEVICES_DEVICES_H
#define DEVICES_DEVICES_H

#include "machine/device.h"

/* char/ */
extern const struct device_type isa_serial_type;

/* chipset/ */
extern const struct device_type fw_cfg_type;
extern const struct device_type i440fx_type;
extern const struct device_type i8254_type;
extern const struct device_type i8259_type;
extern const struct device_type ioapic_type;
extern const struct device_type mc146818rtc_type;
extern const struct device_type piix3_type;
extern const struct device_type piix4_pm_type;

/* storage/ */
extern const struct device_type ide_hd_type;
extern const struct device_type piix3_ide_type;

/* test/ */
extern const struct device_type assay_probe_type;
extern const struct device_type i8042_type;
extern const struct device_type isa_debug_exit_type;
extern const struct device_type isa_debugcon_type;
extern const struct device_type pc_testdev_type;
extern const struct device_type pci_testdev_type;

#endif
