# SPDX-License-Identifier: MIT
"""Assay's probe device: counters between two marks."""

KERNEL = "probe"
MACHINES = {"pc": "pc", "microvm": "microvm"}
NO_FAULTS = {"instructions_are_counted": "KVM counts none, and fault runs are made under KVM"}
