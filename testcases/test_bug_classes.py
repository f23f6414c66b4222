# SPDX-License-Identifier: MIT
"""docs/bug-classes.md says which TESTs cover which class of bugs: they must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "bug-classes.md"
NAME = re.compile(r"`(\w+)\.(\w+)`")
# Rings, transports, disks, entropy and consoles; time of check, saved state.
COVERED = {*range(1, 13), 16, 17, 28}


def classes():
    """class -> [(kernel, test)]"""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1].isdigit():
            found[int(cells[1])] = NAME.findall(cells[3])
    return found


def test_every_name_is_a_test(bench):
    named = set(NAME.findall(PAGE.read_text()))
    there = {(kernel, test.name) for kernel in {kernel for kernel, _ in named} for test in bench.tests(kernel)}
    missing = sorted(f"{kernel}.{test}" for kernel, test in named - there)
    assert named and not missing, "not in any kernel: " + " ".join(missing)


def test_every_class_has_a_line():
    found = classes()
    assert sorted(found) == list(range(1, 29))
    without = sorted(number for number in COVERED if not found[number])
    assert not without, f"classes without a TEST: {without}"
