# SPDX-License-Identifier: MIT
"""The tables in testcases/: what is expected to fail elsewhere, ambiguous clauses, faults, clauses.

All are tab-separated with '#' comments; the first line of each says what its columns are.
"""

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "testcases"


class TableError(Exception):
    pass


def rows(path, columns):
    """The rows of a table; a missing file is an empty one."""
    path = Path(path)
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < columns:
            raise TableError(f"{path}:{number}: {len(cells)} columns, expected {columns}")
        found.append(cells)
    return found


@dataclass(frozen=True)
class Expected:
    versions: str
    machine: str
    test: str
    link: str
    clauses: tuple = ()  # those of the TEST that are violated; () is all

    def covers(self, version, machine, test):
        return (
            version_in(version, self.versions)
            and fnmatch.fnmatch(machine, self.machine)
            and fnmatch.fnmatch(test, self.test)
        )


def expected_failures(vmm_kind):
    """Known failures of a VMM: testcases/expected/NAME.tsv."""
    table = rows(HERE / "expected" / f"{vmm_kind}.tsv", 4)
    return [Expected(*cells[:4], tuple(cells[4].split()) if len(cells) > 4 else ()) for cells in table]


def version_in(version, text):
    """`-` or `*`: any; `7.2`: 7.2.x; `7.0-8.1`: from 7.0 up to and with 8.1.x; `9-`: from 9 on."""
    if text in ("-", "*", ""):
        return True
    low, dash, high = text.partition("-")
    low = _numbers(low)
    if not dash:
        return tuple(version[: len(low)]) == low
    high = _numbers(high)
    return tuple(version[: len(low)]) >= low and (
        not high or tuple(version[: len(high)]) <= high
    )


def _numbers(text):
    return tuple(int(part) for part in re.findall(r"\d+", text))


def ambiguous(path=None):
    """clause id -> the two sentences that contradict each other"""
    return {cells[0]: cells[1:3] for cells in rows(path or HERE / "ambiguous.tsv", 3)}


@dataclass(frozen=True)
class Clause:
    """A requirement of the specification: a row of testcases/clauses.tsv."""

    id: str
    side: str  # who must keep it: "device" or "driver"
    level: str
    area: str
    feature: str
    testable: str  # "yes", "partly", "no": can a guest see a breach?
    summary: str
    source: str


def clauses(path=None):
    """clause id -> Clause, in the order of the specification"""
    table = rows(path or HERE / "clauses.tsv", 8)
    return {cells[0]: Clause(*cells[:8]) for cells in table if cells[0] != "id"}


@dataclass(frozen=True)
class ClauseNote:
    """Why no TEST, or only half of one, claims a clause: a row of testcases/clause-notes.tsv."""

    id: str
    kind: str
    text: str


def clause_notes(path=None):
    table = rows(path or HERE / "clause-notes.tsv", 3)
    return {cells[0]: ClauseNote(*cells[:3]) for cells in table}


@dataclass(frozen=True)
class ClauseCheck:
    """A TEST that fails when that fault breaks the clause: a row of testcases/clause-checks.tsv."""

    id: str
    fault: str
    test: str  # KERNEL.TEST


def clause_checks(path=None):
    """clause id -> its ClauseChecks"""
    found = {}
    for cells in rows(path or HERE / "clause-checks.tsv", 3):
        found.setdefault(cells[0], []).append(ClauseCheck(*cells[:3]))
    return found


@dataclass(frozen=True)
class Fault:
    name: str
    seam: str
    match: str
    action: str
    breaks: tuple  # (kernel, test, machine or "")


def faults(path=None):
    found = []
    for cells in rows(path or HERE / "faults.tsv", 5):
        breaks = []
        for word in cells[4].replace(",", " ").split():
            if word == "-":
                continue
            where, _, machine = word.partition("@")
            kernel, dot, test = where.partition(".")
            if not dot:
                raise TableError(f"fault {cells[0]}: '{word}' is not KERNEL.TEST")
            breaks.append((kernel, test, machine))
        found.append(Fault(*cells[:4], tuple(breaks)))
    names = [fault.name for fault in found]
    for name in set(names):
        if names.count(name) > 1:
            raise TableError(f"fault {name} stands twice in the table")
    return found
