# SPDX-License-Identifier: MIT
"""What became of each virtio clause: clause x VMM x transport x ring, from the TESTs of one run.

A TEST names the clauses that it proves; the machine's words say over which transport and ring its
devices were driven.  A clause holds in a column only if a TEST that claims it ran there and passed:
a SKIP claims nothing.  docs/conformance.md describes the files and their words.
"""

import json
from dataclasses import dataclass, field

from . import conformance_html, tables

# The worst that the TESTs of one cell came to is what the cell says.
ORDER = ("FAIL", "XFAIL", "DEVIATES", "AMBIGUOUS", "PASS", "SKIP", "NOT RUN")
AS_FAIL = {"LEAK", "WEDGED", "CRASH", "ERROR", "XPASS"}
TOLD = {"FAIL", "XFAIL", "DEVIATES", "AMBIGUOUS"}  # cells that say what was expected and what came

# What devices and kernels of today are about: area, then features that are left out of it.
AREAS = (
    "Basic Facilities",
    "General Initialization",
    "Reserved Feature Bits",
    "Virtio Transport Options",
    "Device Types / Block Device",
    "Device Types / Console Device",
    "Device Types / Entropy Device",
)
NOT_AREAS = ("Administration virtqueues", "Device groups", "Device Suspend")
COUNTS = ("visible", "scope", "claimed", "positive", "holds", "fails", "left", "outside")
# What the table of totals shows of them.
TOTALS = {
    "visible": "a guest can see",
    "scope": "of these areas",
    "claimed": "claimed by a TEST that ran",
    "positive": "with a positive check",
    "holds": "hold everywhere",
    "fails": "fail or deviate somewhere",
    "left": "no TEST ran",
}
NOTE_KINDS = {
    "unseen": "a guest cannot tell a breach from its absence",
    "absent": "no device here has what the row is about",
    "part": "claimed; the TEST can see only some breaches",
    "later": "no TEST yet",
}
NOT_FEATURES = ("ADMIN_VQ", "ZONED", "SUSPEND", "SR_IOV")


def in_scope(clause):
    """Is this row about rings, transports, the life of a device, block, console or entropy?"""
    return (
        clause.area.startswith(AREAS)
        and not any(name in clause.area for name in NOT_AREAS)
        and not any(name in clause.feature for name in NOT_FEATURES)
    )


def concerns(clause, transport, ring):
    """Is this row about a device that is driven over that transport and ring?"""
    area = clause.area.lower()
    if "over mmio" in area:
        return transport == "mmio"
    if "pci device layout" in area or "structure pci capabilities" in area:
        return transport == "pci"  # the legacy interface has another layout
    if "over pci" in area:
        return transport in ("pci", "legacy")
    if "packed virtqueues" in area:
        return ring == "packed"
    if "/ virtqueues /" in area and "virtqueue reset" not in area:
        return ring == "split"
    return True


def visible(clause):
    return clause.testable in ("yes", "partly")


@dataclass
class Result:
    """What one TEST came to on one machine of one VMM."""

    test: str  # KERNEL.TEST
    sentence: str
    clauses: tuple
    machine: str
    vmm: str  # "assay", "qemu"
    engine: str  # "soft", "kvm", "tcg"
    version: str
    transport: str
    ring: str
    verdict: str
    reason: str = ""
    said: tuple = ()
    command: str = ""
    again: str = ""
    violated: tuple = ()  # of the clauses, those that a known failure is about; () is all

    @property
    def column(self):
        return f"{self.vmm}-{self.engine}/{self.transport}/{self.ring}"


@dataclass
class Cell:
    verdict: str = "NOT RUN"
    results: list = field(default_factory=list)

    def add(self, verdict, result):
        self.results.append((verdict, result))
        if ORDER.index(verdict) < ORDER.index(self.verdict):
            self.verdict = verdict


class Matrix:
    def __init__(self, results, clauses=None, notes=None, checks=None):
        self.clauses = tables.clauses() if clauses is None else clauses
        self.notes = tables.clause_notes() if notes is None else notes
        self.checks = tables.clause_checks() if checks is None else checks
        self.columns = {}
        self.cells = {}
        for result in results:
            self._add(result)
        engines = {"soft": 0, "kvm": 1}
        transports = {"pci": 0, "legacy": 1, "mmio": 2, "mmio-legacy": 3}
        key = lambda r: (r.vmm, engines.get(r.engine, 2), transports.get(r.transport, 4), r.ring)
        self.columns = dict(sorted(self.columns.items(), key=lambda pair: (key(pair[1]), pair[0])))

    def _add(self, result):
        self.columns.setdefault(result.column, result)
        for clause in result.clauses:
            row = self.clauses.get(clause)
            if row is None or not concerns(row, result.transport, result.ring):
                continue
            verdict = "FAIL" if result.verdict in AS_FAIL else result.verdict
            if verdict in ("XFAIL", "DEVIATES") and result.violated and clause not in result.violated:
                continue  # the TEST ended before it could prove this one
            cell = self.cells.setdefault((clause, result.column), Cell())
            cell.add(verdict, result)

    def cell(self, clause, column):
        """The Cell, or None: nothing in this column claims the clause."""
        return self.cells.get((clause, column))

    def verdicts(self, clause, vmm=None):
        """Of all columns, or those of one VMM."""
        return [
            cell.verdict
            for name, result in self.columns.items()
            if (vmm is None or result.vmm == vmm) and (cell := self.cell(clause, name))
        ]

    def positive(self, clause, vmm):
        """Did a TEST run there that is shown to fail when just this clause is broken?"""
        tests = {check.test for check in self.checks.get(clause, ())}
        return any(
            result.test in tests and verdict not in ("SKIP", "NOT RUN")
            for name, column in self.columns.items()
            if column.vmm == vmm and (cell := self.cell(clause, name))
            for verdict, result in cell.results
        )

    def count(self, side, vmm):
        """How the rows of one side that a guest can see stand on one VMM."""
        counts = dict.fromkeys(COUNTS, 0)
        for clause in self.clauses.values():
            if clause.side != side or not visible(clause):
                continue
            counts["visible"] += 1
            verdicts = self.verdicts(clause.id, vmm)
            ran = [word for word in verdicts if word not in ("SKIP", "NOT RUN")]
            if not in_scope(clause):
                counts["outside"] += bool(ran)
                continue
            counts["scope"] += 1
            counts["claimed"] += bool(ran)
            counts["left"] += not ran
            counts["positive"] += self.positive(clause.id, vmm)
            failed = any(word in TOLD for word in ran)
            counts["fails"] += failed
            counts["holds"] += bool(ran) and not failed
        return counts

    def totals(self):
        """The table of totals: lists of VMM, side and the figures of TOTALS."""
        found = []
        for vmm in self.vmms():
            for side in ("device", "driver"):
                counts = self.count(side, vmm)
                if side == "driver":
                    counts["positive"] = "-"  # what a device owes a driver that errs is a set
                found.append([vmm, side, *(counts[name] for name in TOTALS)])
        return found

    def column_counts(self, column):
        counts = {}
        for clause in self.clauses.values():
            cell = self.cell(clause.id, column)
            if cell:
                counts[cell.verdict] = counts.get(cell.verdict, 0) + 1
        return counts

    def vmms(self):
        return list(dict.fromkeys(result.vmm for result in self.columns.values()))

    # -- files --------------------------------------------------------------------------------

    def as_json(self):
        rows = []
        for clause in self.clauses.values():
            cells = {name: self._cell_json(cell) for name in self.columns if (cell := self.cell(clause.id, name))}
            note = self.notes.get(clause.id)
            rows.append(
                {
                    "id": clause.id,
                    "side": clause.side,
                    "level": clause.level,
                    "area": clause.area,
                    "feature": clause.feature,
                    "testable": clause.testable,
                    "summary": clause.summary,
                    "source": clause.source,
                    "scope": in_scope(clause),
                    "note": {"kind": note.kind, "text": note.text} if note else None,
                    "checks": [{"fault": one.fault, "test": one.test} for one in self.checks.get(clause.id, ())],
                    "cells": cells,
                }
            )
        columns = [
            {
                "id": name,
                "vmm": one.vmm,
                "engine": one.engine,
                "version": one.version,
                "transport": one.transport,
                "ring": one.ring,
                "counts": self.column_counts(name),
            }
            for name, one in self.columns.items()
        ]
        totals = {
            vmm: {side: self.count(side, vmm) for side in ("device", "driver")}
            for vmm in self.vmms()
        }
        return {"schema": 1, "columns": columns, "totals": totals, "clauses": rows}

    @staticmethod
    def _cell_json(cell):
        tests = []
        for verdict, result in cell.results:
            row = {"test": result.test, "machine": result.machine, "verdict": result.verdict}
            if verdict in TOLD:
                row.update(
                    sentence=result.sentence,
                    reason=result.reason,
                    said=list(result.said),
                    command=result.command,
                    again=result.again,
                )
            tests.append(row)
        return {"verdict": cell.verdict, "tests": tests}

    def as_markdown(self):
        lines = ["# Conformance", "", *self.totals_markdown(), ""]
        heads = [name for name in self.columns]
        lines.append("| clause | level | says | " + " | ".join(heads) + " |")
        lines.append("|---|---|---|" + "---|" * len(heads))
        for clause in self.clauses.values():
            cells = [self.cell(clause.id, name) for name in heads]
            if not any(cells):
                continue
            words = [clause.id, clause.level, clause.summary.replace("|", "\\|")]
            words += [cell.verdict if cell else "" for cell in cells]
            lines.append("| " + " | ".join(words) + " |")
        return "\n".join(lines) + "\n"

    def totals_markdown(self):
        """The table of totals, as it stands on top of the report and in docs/conformance.md."""
        lines = [
            "| VMM | rows of | " + " | ".join(TOTALS.values()) + " |",
            "|---|---|" + "---|" * len(TOTALS),
        ]
        return lines + ["| " + " | ".join(map(str, words)) + " |" for words in self.totals()]

    def write(self, folder):
        (folder / "conformance.json").write_text(json.dumps(self.as_json(), indent=1) + "\n")
        (folder / "conformance.md").write_text(self.as_markdown())
        (folder / "conformance.html").write_text(conformance_html.page(self))


def notes_markdown(clauses, notes):
    """The table of rows that no TEST claims, or only in part, as it stands in docs/conformance.md."""
    lines = ["| row | says | kind | why |", "|---|---|---|---|"]
    for note in notes.values():
        lines.append(f"| {note.id} | {clauses[note.id].summary} | {note.kind} | {note.text} |")
    return lines


def of_items(bench, items):
    """The results of all items that were driven over a virtio transport."""
    from . import machines

    results = []
    for item in items:
        interface = machines.virtio_interface(item.words)
        if interface is None or not item.test.clauses or item.boot:
            continue
        row = item.expected_failure(item.test)
        outcome = item.outcome
        unclaimed = outcome.unclaimed if outcome else ()
        results.append(
            Result(
                test=f"{item.kernel}.{item.test.name}",
                sentence=item.test.sentence,
                clauses=tuple(name for name in item.test.clauses if name not in unclaimed),
                machine=item.machine,
                vmm=item.vmm.kind,
                engine=item.vmm.accel,
                version=".".join(map(str, item.vmm.version)),
                transport=interface[0],
                ring=interface[1],
                verdict=item.verdict or ("SKIP" if item.missing or item.lacking else "NOT RUN"),
                reason=outcome.reason if outcome else (item.missing or item.lacking or ""),
                said=tuple(outcome.text) if outcome else (),
                command=outcome.command if outcome else "",
                again=bench.again(item),
                violated=row.clauses if row else (),
            )
        )
    return results


if __name__ == "__main__":
    print("\n".join(notes_markdown(tables.clauses(), tables.clause_notes())))
