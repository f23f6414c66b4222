/* SPDX-License-Identifier: MIT */
/* The host bridge's PCI bus, for the board. */
#ifndef DEVICES_CHIPSET_I440FX_H
#define DEVICES_CHIPSET_I440FX_H

#include "bus/pci.h"

struct pci_bus *i440fx_bus(struct device *dev); /* lives as long as the bridge */

#endif
