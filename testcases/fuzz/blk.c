/* SPDX-License-Identifier: MIT */
/* The requests of virtio-blk, on a device that runs. */
#include "blk-request.h"

static const struct fuzz_device device_under_test = {
	.type = &virtio_blk_device_type,
	.text = "drive=d,num-queues=4,queue-size=8,packed=on",
	.interface = MMIO_MODERN,
	.started = true,
	.features = BLK_FEATURES,
	BLK_PLAIN,
};

FUZZ_DEVICE(device_under_test)
