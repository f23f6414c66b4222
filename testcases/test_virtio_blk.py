# SPDX-License-Identifier: MIT
"""The block device on either transport."""

KERNEL = "virtio_blk"
DISKS = "{0}:size=4M,serial=assay0 {0}:id=disk1,size=1M,readonly=on"
MACHINES = {
    "pci": "pc " + DISKS.format("blk-pci"),
    "intx": "pc append:irq=intx " + DISKS.format("blk-pci"),
    "legacy": "pc legacy " + DISKS.format("blk-pci"),
    "mmio": "microvm " + DISKS.format("blk-mmio"),
    "saved": "pc life:at=1,to=other " + DISKS.format("blk-pci"),
    "iothread": "pc iothread:id=io0 blk-pci:size=4M,serial=assay0,iothread=io0",
}
# QEMU deadlocks now and then when a queue breaks on an iothread: docs/differences.md#virtio-ring-in-mmio
OURS_ONLY = ("iothread", "saved")
