# SPDX-License-Identifier: MIT
"""The guest runtime itself: what every other kernel stands on."""

KERNEL = "runtime"
MACHINES = {"pc": "pc", "microvm": "microvm"}
NO_FAULTS = "guest code only: no seam of the VMM is in it"
