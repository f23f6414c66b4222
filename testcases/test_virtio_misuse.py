# SPDX-License-Identifier: MIT
"""What a driver must not do, and what a device may do then."""

KERNEL = "virtio_misuse"
DISK = "{0}:size=4M,serial=assay0"
MACHINES = {
    "pci": "pc " + DISK.format("blk-pci"),
    "legacy": "pc legacy " + DISK.format("blk-pci"),
    "mmio": "microvm " + DISK.format("blk-mmio"),
    "mmio-legacy": "microvm legacy " + DISK.format("blk-mmio"),
    "pci-packed": "pc packed " + DISK.format("blk-pci"),
    "mmio-packed": "microvm packed " + DISK.format("blk-mmio"),
}
