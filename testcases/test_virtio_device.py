# SPDX-License-Identifier: MIT
"""Basic facilities of a virtio device: status, features, configuration, reset."""

KERNEL = "virtio_device"
DISKS = "{0}:size=4M,serial=assay0 {0}:id=disk1,size=1M,readonly=on"
MACHINES = {
    "pci": "pc " + DISKS.format("blk-pci"),
    "intx": "pc append:irq=intx " + DISKS.format("blk-pci"),
    "legacy": "pc legacy " + DISKS.format("blk-pci"),
    "mmio": "microvm " + DISKS.format("blk-mmio"),
    "mmio-legacy": "microvm legacy " + DISKS.format("blk-mmio"),
    "pci-packed": "pc packed " + DISKS.format("blk-pci"),
    "mmio-packed": "microvm packed " + DISKS.format("blk-mmio"),
}
