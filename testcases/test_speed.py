# SPDX-License-Identifier: MIT
"""Computations with known answers: what `make bench` measures a processor's speed with."""

KERNEL = "speed"
MACHINES = {"pc": "pc", "microvm": "microvm"}
NO_FAULTS = "computation in registers and memory: no seam of the VMM is in it"
