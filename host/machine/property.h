/* SPDX-License-Identifier: MIT */
/* Properties of devices: initial values, -global, texts.  Used by device.c; machine lock held. */
#ifndef MACHINE_PROPERTY_H
#define MACHINE_PROPERTY_H

#include "machine/device.h"

/* Sets every property to its initial value, then applies -global.  0 or -errno. */
int properties_init(struct device *dev, struct error *err);
void properties_free(struct device *dev); /* the strings */

/* QEMU's word for the kind, as -device NAME,help prints it: "bool", "uint32", "str", "drive". */
const char *property_kind_name(enum property_kind kind);

#endif
