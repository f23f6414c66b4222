# SPDX-License-Identifier: MIT
"""virtio over MMIO, version 2."""

KERNEL = "virtio_mmio"
MACHINES = {
    "mmio": "microvm blk-mmio:size=4M,serial=assay0,num-queues=2",
    "mmio-packed": "microvm packed blk-mmio:size=4M,serial=assay0,num-queues=2",
}
