# SPDX-License-Identifier: MIT
"""The keyboard controller."""

KERNEL = "i8042"
MACHINES = {"pc": "pc"}
