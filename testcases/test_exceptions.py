# SPDX-License-Identifier: MIT
"""Exceptions: what is raised, what is saved, gates, debug exceptions, IRET and system calls."""

KERNEL = "exceptions"
MACHINES = {"pc": "pc"}
NO_FAULTS = {
    "ac_nowhere_else": "its fault would be an exception where none is due, and no seam raises one",
}
