/* SPDX-License-Identifier: MIT */
/* A transitional device driven through its legacy interface, with all of virtio-pci beside it. */
#include "blk-request.h"

static const struct fuzz_device device_under_test = {
	.type = &virtio_blk_pci_type,
	.text = "drive=d,num-queues=3,queue-size=8,disable-legacy=off,addr=4",
	.interface = PCI_LEGACY,
	.started = false,
	.features = BLK_FEATURES,
	BLK_PLAIN,
};

FUZZ_DEVICE(device_under_test)
