# SPDX-License-Identifier: MIT
"""Consoles and ports on either transport; their other ends are sockets that the harness holds."""

KERNEL = "virtio_console"
MACHINES = {
    "pci": "pc serial-pci",
    "intx": "pc append:irq=intx serial-pci",
    "mmio": "microvm serial-mmio",
    "legacy": "pc legacy serial-pci",
    "pci-packed": "pc packed serial-pci",
    "mmio-packed": "microvm packed serial-mmio",
    "mmio-legacy": "microvm legacy serial-mmio",
    "in-order": "pc serial-pci:in_order=on",
    "saved": "pc life:at=1,to=other serial-pci",
}
OURS_ONLY = ("saved", "in-order")
