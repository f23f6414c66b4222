# SPDX-License-Identifier: MIT
"""The split ring, its notifications, and rings that break the rules."""

KERNEL = "virtio_ring"
DISKS = "{0}:size=4M,serial=assay0,num-queues=2 {0}:id=disk1,size=1M,readonly=on"
MACHINES = {
    "pci": "pc " + DISKS.format("blk-pci"),
    "intx": "pc append:irq=intx " + DISKS.format("blk-pci"),
    "mmio": "microvm " + DISKS.format("blk-mmio"),
    "legacy": "pc legacy " + DISKS.format("blk-pci"),
    "mmio-legacy": "microvm legacy " + DISKS.format("blk-mmio"),
    "iothread": "pc iothread:id=io0 blk-pci:size=4M,serial=assay0,num-queues=2,iothread=io0 "
    "blk-pci:id=disk1,size=1M,readonly=on",
}
# QEMU hangs there now and then, for good: docs/differences.md#virtio-ring-in-mmio
OURS_ONLY = ("iothread",)
