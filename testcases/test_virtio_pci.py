# SPDX-License-Identifier: MIT
"""virtio over PCI, modern interface."""

KERNEL = "virtio_pci"
MACHINES = {
    "pci": "pc blk-pci:size=4M,serial=assay0,num-queues=2",
    "transitional": "pc transitional blk-pci:size=4M,serial=assay0,num-queues=2",
    "doorbells": "pc blk-pci:size=4M,serial=assay0,num-queues=2,vectors=2,page-per-vq=on,modern-pio-notify=on",
    "pci-packed": "pc packed blk-pci:size=4M,serial=assay0,num-queues=2",
    "iothread": "pc iothread:id=io0 blk-pci:size=4M,serial=assay0,num-queues=2,iothread=io0",
}
# QEMU deadlocks now and then when a queue breaks on an iothread: docs/differences.md#virtio-ring-in-mmio
# It hangs without bus mastering: docs/differences.md#virtio-packed-no-master
OURS_ONLY = ("iothread", "pci-packed")
