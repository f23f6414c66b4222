/* SPDX-License-Identifier: MIT */
/* The registers of virtio-mmio version 2, before and after a driver has come. */
#include "blk-request.h"

static const struct fuzz_device device_under_test = {
	.type = &virtio_blk_device_type,
	.text = "drive=d,num-queues=2,queue-size=8,packed=on",
	.interface = MMIO_MODERN,
	.started = false,
	.features = BLK_FEATURES,
	BLK_PLAIN,
};

FUZZ_DEVICE(device_under_test)
