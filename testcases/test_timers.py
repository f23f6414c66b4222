# SPDX-License-Identifier: MIT
"""Timers and interrupt controllers: 8254, 8259A, local APIC, I/O APIC, ACPI PM timer."""

KERNEL = "timers"
MACHINES = {"pc": "pc", "microvm": "microvm"}
LAPIC = "the local APIC is KVM's: no seam of ours is in it"
NO_FAULTS = {
    "lapic_version": LAPIC,
    "lapic_one_shot": LAPIC,
    "lapic_periodic": LAPIC,
    "lapic_timer_masked": LAPIC,
    "lapic_timer_divides": LAPIC,
    "lapic_priority_order": LAPIC,
    "lapic_same_class_waits": LAPIC,
    "lapic_requests_merge": LAPIC,
    "lapic_software_disable": LAPIC,
    "ioapic_level_unmask": "skipped where KVM keeps no in-service register, so no run can show it",
    "ioapic_level_repeats": "skipped where KVM keeps no in-service register, so no run can show it",
}
