# SPDX-License-Identifier: MIT
"""Boot and memory: what a kernel finds when it is entered."""

KERNEL = "boot"
MACHINES = {"pc": "pc", "microvm": "microvm", "multiboot": "pc multiboot"}
