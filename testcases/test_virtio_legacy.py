# SPDX-License-Identifier: MIT
"""The legacy interfaces of virtio."""

KERNEL = "virtio_legacy"
MACHINES = {
    "transitional": "pc legacy blk-pci:size=4M,serial=assay0",
    "legacy": "pc legacy legacy-only blk-pci:size=4M,serial=assay0",
    "mmio-legacy": "microvm legacy blk-mmio:size=4M,serial=assay0",
    "saved": "pc legacy life:at=1,to=other blk-pci:size=4M,serial=assay0",
    "saved-mmio": "microvm legacy life:at=1,to=other blk-mmio:size=4M,serial=assay0",
}
OURS_ONLY = ("saved", "saved-mmio")
