# SPDX-License-Identifier: MIT
"""The local APIC: priorities, destinations, errors, LINT0, x2APIC."""

KERNEL = "apic"
MACHINES = {"pc": "pc", "x2apic": "pc cpu:model=max"}
