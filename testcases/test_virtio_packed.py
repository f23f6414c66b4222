# SPDX-License-Identifier: MIT
"""The packed ring, its event suppression, and rings that break the rules."""

KERNEL = "virtio_packed"
DISK = "{0}:size=4M,serial=assay0,queue-size=64{1}"
MACHINES = {
    "pci-packed": "pc packed " + DISK.format("blk-pci", ""),
    "mmio-packed": "microvm packed " + DISK.format("blk-mmio", ""),
    "saved": "pc packed life:at=1,to=other " + DISK.format("blk-pci", ""),
    "iothread": "pc packed iothread:id=io0 " + DISK.format("blk-pci", ",iothread=io0"),
}
# A broken ring on an iothread can hang QEMU: docs/differences.md#virtio-ring-in-mmio
OURS_ONLY = ("iothread", "saved")
