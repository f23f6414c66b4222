# SPDX-License-Identifier: MIT
"""More than one processor: start, interprocessor interrupts, memory, device interrupts anywhere."""

KERNEL = "smp"
MACHINES = {
    "pc": "pc smp:cpus=4",
    "two": "pc smp:cpus=2",
    "sixteen": "pc smp:cpus=16",
    "microvm": "microvm smp:cpus=4",
}
