/* SPDX-License-Identifier: MIT */
/* What the board puts into the fw_cfg device (QEMU's docs/specs/fw_cfg.rst). */
#ifndef DEVICES_CHIPSET_FW_CFG_H
#define DEVICES_CHIPSET_FW_CFG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "machine/device.h"

#define FW_CFG_SIGNATURE     0x0000
#define FW_CFG_ID	     0x0001
#define FW_CFG_UUID	     0x0002
#define FW_CFG_RAM_SIZE	     0x0003
#define FW_CFG_NOGRAPHIC     0x0004
#define FW_CFG_NB_CPUS	     0x0005
#define FW_CFG_KERNEL_SIZE   0x0008
#define FW_CFG_INITRD_SIZE   0x000b
#define FW_CFG_BOOT_MENU     0x000e
#define FW_CFG_MAX_CPUS	     0x000f
#define FW_CFG_KERNEL_DATA   0x0011
#define FW_CFG_INITRD_DATA   0x0012
#define FW_CFG_CMDLINE_SIZE  0x0014
#define FW_CFG_CMDLINE_DATA  0x0015
#define FW_CFG_FILE_DIR	     0x0019
#define FW_CFG_FILE_FIRST    0x0020
#define FW_CFG_IRQ0_OVERRIDE 0x8002

#define FW_CFG_NAME_MAX 55 /* characters of a file's name */

/* dev: a fw_cfg_io.  Copies the data; an item that is there is replaced.  0 or -ENOMEM, -EINVAL. */
int fw_cfg_add(
	struct device *dev, uint16_t key, const void *data, size_t length, struct error *err);
int fw_cfg_add_number(struct device *dev, uint16_t key, uint64_t value, unsigned size,
	struct error *err); /* little-endian, of `size` bytes */
/* The same for a named file of the directory, which stays sorted by name. */
int fw_cfg_add_file(
	struct device *dev, const char *name, const void *data, size_t length, struct error *err);
/* An item whose bytes stay in a host file; takes over `fd`, also on failure. */
int fw_cfg_add_host_file(
	struct device *dev, uint16_t key, int fd, uint32_t length, struct error *err);

#endif
