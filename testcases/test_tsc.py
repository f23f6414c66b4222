# SPDX-License-Identifier: MIT
"""The time stamp counter, TSC deadline, the local APIC's count."""

KERNEL = "tsc"
MACHINES = {"pc": "pc", "max": "pc cpu:model=max"}
NO_FAULTS = {"adjust_moves_the_tsc": "the software processor has no TSC_ADJUST"}
