# SPDX-License-Identifier: MIT
"""PCI configuration space and BARs, with the test device and with a virtio function for MSI-X."""

KERNEL = "pci"
MACHINES = {"pc": "pc device:driver=pci-testdev blk-pci"}
