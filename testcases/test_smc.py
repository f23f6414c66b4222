# SPDX-License-Identifier: MIT
"""Code that changes: by stores, by page tables, by devices."""

KERNEL = "smc"
MACHINES = {
    "pc": "pc ide-hd:size=1M,serial=assay-ata-0 blk-pci:size=1M",
    "microvm": "microvm blk-mmio:size=1M",
}
