/* SPDX-License-Identifier: MIT */
/* What a PC's firmware would find and leave: fw_cfg's items, ACPI tables, the clock. */
#ifndef BOARD_FIRMWARE_H
#define BOARD_FIRMWARE_H

#include "base/error.h"
#include "board/config.h"
#include "machine/machine.h"

/* -rtc base=utc|localtime|DATE: sets the clock's offset.  0 or -EINVAL with a sentence. */
int firmware_set_clock(
	struct machine *machine, const struct board_config *config, struct error *err);

/* The fw_cfg device.  0 or -errno. */
int firmware_create(struct machine *machine, struct error *err);

struct acpi_config;

/* The ACPI tables as files for firmware that places them.  0 or -errno. */
int firmware_add_acpi(struct machine *machine, const struct acpi_config *config, struct error *err);

/* Its items (again at each reset: an item is replaced) and, unless -no-acpi, the ACPI tables; *rsdp
 * is their root pointer's address.  0 or -errno with a sentence. */
int firmware_load(struct machine *machine, const struct board_config *config, uint64_t *rsdp,
	struct error *err);

#endif
