# SPDX-License-Identifier: MIT
"""32-bit guests: traps, segments, gates, tasks, paging, instructions that 64-bit mode lacks."""

KERNEL = "guest32"
MACHINES = {"pc": "pc"}
