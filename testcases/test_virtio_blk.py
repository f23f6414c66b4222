# SPDX-License-Identifier: MIT
"""The block device on each transport and ring."""

KERNEL = "virtio_blk"
# The writable one, with several queues; a read-only one; one of larger blocks and with low limits.
DISKS = (
    " append:queues=4 {0}:size=4M,serial=assay0,num-queues=4{1}"
    " {0}:id=disk1,size=1M,readonly=on"
    " {0}:id=disk2,size=1M,logical_block_size=4096,physical_block_size=4096"
    ",max-write-zeroes-sectors=16,max-discard-sectors=16{2}"
)
ERASE = ",unmap=on,secure-erase=on,pre-eol-info=2,lifetime-type-a=3,lifetime-type-b=11"
WEAR = " append:wear=2,unmap=1" + DISKS.format("{0}", ERASE, ",size-max=8192")
MACHINES = {
    "pci": "pc smp:cpus=4" + DISKS.format("blk-pci", "", ""),
    "intx": "pc smp:cpus=4 append:irq=intx" + DISKS.format("blk-pci", "", "").replace(",num-queues=4", ""),
    "legacy": "pc legacy smp:cpus=4" + DISKS.format("blk-pci", "", ""),
    "mmio": "microvm smp:cpus=4" + DISKS.format("blk-mmio", "", ""),
    "mmio-legacy": "microvm legacy smp:cpus=4" + DISKS.format("blk-mmio", "", ""),
    "saved": "pc life:at=1,to=other" + DISKS.format("blk-pci", "", ""),
    "iothread": "pc smp:cpus=4 iothread:id=io0" + DISKS.format("blk-pci", ",iothread=io0", ""),
    "erase": "pc" + WEAR.format("blk-pci"),
    "erase-packed": "pc packed" + WEAR.format("blk-pci"),
    "erase-legacy": "pc legacy" + WEAR.format("blk-pci"),
    "erase-mmio": "microvm" + WEAR.format("blk-mmio"),
    "erase-mmio-packed": "microvm packed" + WEAR.format("blk-mmio"),
    "erase-mmio-legacy": "microvm legacy" + WEAR.format("blk-mmio"),
    "in-order": "pc smp:cpus=4" + DISKS.format("blk-pci", ",in_order=on", ""),
    "pci-packed": "pc packed smp:cpus=4" + DISKS.format("blk-pci", "", ""),
    "packed-in-order": "pc packed smp:cpus=4" + DISKS.format("blk-pci", ",in_order=on", ""),
    "mmio-packed": "microvm packed smp:cpus=4" + DISKS.format("blk-mmio", "", ""),
}
# QEMU deadlocks now and then when a queue breaks on an iothread: docs/differences.md#virtio-ring-in-mmio
# It has neither in_order nor secure erase nor lifetime nor size_max.
OURS_ONLY = ("iothread", "saved", "in-order", "packed-in-order", *(name for name in MACHINES if name.startswith("erase")))
