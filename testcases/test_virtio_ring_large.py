# SPDX-License-Identifier: MIT
"""The largest rings (32768 entries; 1024 where QEMU is the device), the smallest, the longest chains."""

KERNEL = "virtio_ring_large"
DISK = "{0}:size=20M,serial=assay0,queue-size={1}"
MACHINES = {
    "pci": "pc iothread:id=io0 " + DISK.format("blk-pci", 32768) + ",iothread=io0",
    "pci-packed": "pc packed " + DISK.format("blk-pci", 32768),
    "legacy": "pc legacy " + DISK.format("blk-pci", 32768),
    "mmio-packed": "microvm packed " + DISK.format("blk-mmio", 32768),
    "mmio-legacy": "microvm legacy " + DISK.format("blk-mmio", 32768),
    "saved": "pc life:at=1,to=other " + DISK.format("blk-pci", 32768),
    "saved-packed": "pc packed life:at=2,to=other " + DISK.format("blk-pci", 32768),
    "pci-1024": "pc " + DISK.format("blk-pci", 1024),
    "pci-packed-1024": "pc packed " + DISK.format("blk-pci", 1024),
}
# QEMU's largest ring has 1024 entries.
OURS_ONLY = tuple(name for name in MACHINES if not name.endswith("1024"))
