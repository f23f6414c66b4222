# SPDX-License-Identifier: MIT
"""Assay's probe device: counters between two marks."""

KERNEL = "probe"
MACHINES = {
    "pc": "pc smp:cpus=2 ide-hd:size=2M blk-pci:size=2M",
    "microvm": "microvm blk-mmio:size=2M",
}
