# SPDX-License-Identifier: MIT
"""Boot and memory: what a kernel finds when it is entered."""

KERNEL = "boot"
# The UEFI form runs on the first machine, and QEMU loads no module beside an EFI application.
WORDS = "mem:size=128M append:ram=128M,echo=The-quick-brown-fox/jumps.over_13_lazy-dogs"
MACHINES = {
    "pc": f"pc {WORDS}",
    "module": f"pc module {WORDS}",
    "microvm": f"microvm module {WORDS}",
    "multiboot": f"pc multiboot module {WORDS}",
    "big": "pc mem:size=5G append:ram=5G",
}
ENGINE = "the processor is judged, and it has no seam"
ENTRY = "registers at entry pass no seam"
NO_FAULTS = {
    "breakpoint_is_a_trap": ENGINE,
    "efer_reserved_bits": ENGINE,
    "msr_unknown": ENGINE,
    "tsc_is_monotonic": ENGINE,
    "pvh_control_registers": ENTRY,
    "pvh_flags": ENTRY,
    "multiboot_registers": ENTRY,
    "ram_page_across_slots": "guest RAM is the engine's, without a seam",
    "a20_is_open": "guest RAM is the engine's, without a seam",
}
