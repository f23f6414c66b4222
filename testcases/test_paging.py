# SPDX-License-Identifier: MIT
"""Paging in 64-bit mode: rights, reserved bits, accessed and dirty, page sizes, what the TLB may keep."""

KERNEL = "paging"
MACHINES = {"pc": "pc", "max": "pc cpu:model=max"}
