/* SPDX-License-Identifier: MIT */
/* Configuration space, capabilities and registers of virtio-pci's modern interface. */
#include "blk-request.h"

static const struct fuzz_device device_under_test = {
	.type = &virtio_blk_pci_type,
	.text = "drive=d,num-queues=3,queue-size=8,disable-legacy=on,packed=on,addr=4,modern-pio-"
		"notify=on",
	.interface = PCI_MODERN,
	.started = false,
	.features = BLK_FEATURES,
	BLK_PLAIN,
};

FUZZ_DEVICE(device_under_test)
