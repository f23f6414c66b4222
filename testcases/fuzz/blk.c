/* SPDX-License-Identifier: MIT */
/* The requests of virtio-blk, on a device that runs. */
#include "blk-request.h"

static const struct fuzz_device device_under_test = {
	.type = &virtio_blk_device_type,
	.text = "drive=d,num-queues=4,queue-size=8,packed=on,secure-erase=on,"
		"pre-eol-info=1,size-max=65536",
	.interface = MMIO_MODERN,
	.started = true,
	.features = BLK_FEATURES | FEATURE(1) | FEATURE(15) | FEATURE(16),
	BLK_PLAIN,
};

FUZZ_DEVICE(device_under_test)
