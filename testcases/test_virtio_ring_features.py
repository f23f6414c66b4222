# SPDX-License-Identifier: MIT
"""Feature bits about rings and doorbells, on split and packed rings."""

KERNEL = "virtio_ring_features"
DISK = (
    "{0}:size=4M,serial=assay0,num-queues=2,in_order=on,iommu_platform=on,order_platform=on"
    ",notification_data=on{1}"
)
NAMES = ",notif_config_data=on"
MACHINES = {
    "pci": "pc " + DISK.format("blk-pci", NAMES),
    "pci-packed": "pc packed " + DISK.format("blk-pci", NAMES),
    "mmio": "microvm " + DISK.format("blk-mmio", ""),
    "mmio-packed": "microvm packed " + DISK.format("blk-mmio", ""),
    "saved": "pc life:at=1,to=other " + DISK.format("blk-pci", NAMES),
    "saved-packed": "pc packed life:at=1,to=other " + DISK.format("blk-pci", NAMES),
    "iothread": "pc packed iothread:id=io0 " + DISK.format("blk-pci", NAMES + ",iothread=io0"),
}
# QEMU 7.2 has none of these properties but iommu_platform.
OURS_ONLY = tuple(MACHINES)
