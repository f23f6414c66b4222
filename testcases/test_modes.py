# SPDX-License-Identifier: MIT
"""Real mode, 16-bit and virtual-8086 mode."""

KERNEL = "modes"
MACHINES = {"pc": "pc"}
NO_FAULTS = {"real_far_calls": "a call cannot be spoilt without spoiling all"}
