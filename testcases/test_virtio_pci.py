# SPDX-License-Identifier: MIT
"""virtio over PCI, modern interface."""

KERNEL = "virtio_pci"
MACHINES = {
    "pci": "pc blk-pci:size=4M,serial=assay0,num-queues=2",
    "iothread": "pc iothread:id=io0 blk-pci:size=4M,serial=assay0,num-queues=2,iothread=io0",
}
