# SPDX-License-Identifier: MIT
"""Assay's probe device: counters between two marks."""

KERNEL = "probe"
MACHINES = {"pc": "pc", "microvm": "microvm"}
