# SPDX-License-Identifier: MIT
"""The entropy device on either transport, with and without a limit."""

KERNEL = "virtio_rng"
LIMIT = "max-bytes=256,period=20"
MACHINES = {
    "pci": "pc rng-pci",
    "intx": "pc append:irq=intx rng-pci",
    "mmio": "microvm rng-mmio",
    "legacy": "pc legacy rng-pci",
    "mmio-legacy": "microvm legacy rng-mmio",
    "pci-packed": "pc packed rng-pci",
    "mmio-packed": "microvm packed rng-mmio",
    "packed-in-order": "pc packed rng-pci:in_order=on",
    "limited": f"pc rng-pci:{LIMIT}",
    "mmio-limited": f"microvm rng-mmio:{LIMIT}",
    "legacy-limited": f"pc legacy rng-pci:{LIMIT}",
    "mmio-legacy-limited": f"microvm legacy rng-mmio:{LIMIT}",
    "pci-packed-limited": f"pc packed rng-pci:{LIMIT}",
    "mmio-packed-limited": f"microvm packed rng-mmio:{LIMIT}",
    "saved": "pc life:at=1,to=other rng-pci",
    "limited-saved": f"pc life:at=1 rng-pci:{LIMIT}",
}
# QEMU 7.2 has no in_order.
OURS_ONLY = ("saved", "limited-saved", "packed-in-order")
