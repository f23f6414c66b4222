# SPDX-License-Identifier: MIT
"""The conformance report from results that are made up, and the tables that stand behind it."""

import json
import re
from html.parser import HTMLParser

import pytest

from harness import conformance, elf, ktap, tables
from harness.conformance import Matrix, Result

AREA = "Basic Facilities of a Virtio Device / Device Reset"
CLAUSES = {
    "A-1": tables.Clause("A-1", "device", "MUST", AREA, "-", "yes", "a < b & c", "x.tex:1"),
    "A-2": tables.Clause("A-2", "device", "SHOULD", AREA, "-", "partly", "second", "x.tex:2"),
    "A-3": tables.Clause("A-3", "driver", "MUST", AREA, "-", "no", "third", "x.tex:3"),
    "A-4": tables.Clause("A-4", "device", "MUST", "Device Types / Sound", "-", "yes", "far", "y.tex:1"),
}


def result(verdict, clauses=("A-1",), **more):
    row = {
        "test": "k.t",
        "sentence": "what must hold",
        "machine": "pci",
        "vmm": "assay",
        "engine": "soft",
        "version": "1",
        "transport": "pci",
        "ring": "split",
    }
    return Result(**{**row, **more}, clauses=tuple(clauses), verdict=verdict)


def matrix(*results, notes=None, checks=None):
    return Matrix(results, CLAUSES, notes or {}, checks or {})


PCI = "assay-soft/pci/split"


@pytest.mark.parametrize(
    "verdicts, cell",
    [
        (["PASS"], "PASS"),
        (["SKIP", "PASS"], "PASS"),
        (["SKIP"], "SKIP"),
        (["NOT RUN"], "NOT RUN"),
        (["PASS", "FAIL"], "FAIL"),
        (["PASS", "LEAK"], "FAIL"),
        (["WEDGED"], "FAIL"),
        (["XPASS", "PASS"], "FAIL"),
        (["PASS", "XFAIL"], "XFAIL"),
        (["PASS", "DEVIATES"], "DEVIATES"),
        (["DEVIATES", "CRASH"], "FAIL"),
    ],
)
def test_a_cell_says_the_worst_of_its_tests(verdicts, cell):
    made = matrix(*(result(verdict) for verdict in verdicts))
    assert made.cell("A-1", PCI).verdict == cell


def test_a_skip_claims_nothing():
    count = matrix(result("SKIP"), result("PASS", ["A-2"])).count("device", "assay")
    assert (count["visible"], count["scope"]) == (3, 2)
    assert (count["claimed"], count["holds"], count["left"]) == (1, 1, 1)


def test_a_positive_check_is_a_test_of_the_table_that_ran():
    checks = {"A-1": [tables.ClauseCheck("A-1", "fault", "k.t")]}
    count = lambda *results: matrix(*results, checks=checks).count("device", "assay")["positive"]
    assert count(result("PASS")) == 1
    assert count(result("FAIL")) == 1  # it was checked
    assert count(result("SKIP")) == 0
    assert count(result("PASS", test="k.other")) == 0
    assert count(result("PASS", ["A-2"])) == 0
    assert count(result("PASS", vmm="qemu")) == 0


def test_one_engine_that_fails_is_enough():
    made = matrix(result("PASS"), result("FAIL", engine="kvm"))
    count = made.count("device", "assay")
    assert (count["claimed"], count["holds"], count["fails"]) == (1, 0, 1)
    assert list(made.columns) == [PCI, "assay-kvm/pci/split"]


def test_a_known_failure_is_about_the_clauses_that_it_names():
    made = matrix(result("XFAIL", ["A-1", "A-2"], violated=("A-2",)))
    assert made.cell("A-1", PCI) is None
    assert made.cell("A-2", PCI).verdict == "XFAIL"


def test_rows_that_a_guest_cannot_see_or_of_other_devices_are_not_counted():
    made = matrix(result("PASS", ["A-3", "A-4", "no-such"]))
    assert made.count("device", "assay")["claimed"] == 0
    assert made.count("device", "assay")["outside"] == 1
    assert made.count("driver", "assay")["visible"] == 0


def row_of(area):
    return tables.Clause("B-1", "device", "MUST", area, "-", "yes", "x", "x.tex:1")


@pytest.mark.parametrize(
    "area, where",
    [
        ("Virtio Over PCI Bus / PCI Device Layout / Notification capability", ["pci split", "pci packed"]),
        ("Virtio Over MMIO / MMIO Device Register Layout", ["mmio split"]),
        ("Virtio Over PCI Bus / PCI Device Discovery", ["pci split", "pci packed", "legacy split"]),
        ("X / Packed Virtqueues", ["pci packed"]),
        ("X / Virtqueues / The Virtqueue Used Ring", ["pci split", "legacy split", "mmio split"]),
        ("X / Message Framing", ["pci split", "pci packed", "legacy split", "mmio split"]),
    ],
)
def test_a_row_counts_where_it_is_about_what_is_driven(area, where):
    columns = ["pci split", "pci packed", "legacy split", "mmio split"]
    assert [name for name in columns if conformance.concerns(row_of(area), *name.split())] == where


def test_a_kernel_takes_a_claim_back():
    reader = ktap.Reader()
    text = b"KTAP version 1\n1..1\n# begin a\n# clause A-1 A-2\n# unclaimed A-2\nok 1 a\n"
    found = [what for kind, what in reader.feed(text) if kind == "result"]
    assert found[0].unclaimed == ["A-2"]


class Cells(HTMLParser):
    """The classes of all cells, and the text."""

    def __init__(self):
        super().__init__()
        self.kinds, self.open, self.text, self.fetched = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "td" and "v" in attrs.get("class", "").split():
            self.kinds.append(attrs["class"].split()[1])
        if "src" in attrs or not attrs.get("href", "#").startswith("#"):
            self.fetched.append(attrs)
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.text.append(data)


def test_the_files_say_the_same(tmp_path):
    more = {"said": ("expected 0, got <7> at a.c:3",), "command": "build/assay -x", "reason": "why"}
    made = matrix(
        result("FAIL", **more), result("PASS", ["A-2"]), result("PASS", transport="mmio", machine="mmio")
    )
    made.write(tmp_path)
    page = Cells()
    page.feed((tmp_path / "conformance.html").read_text())
    # Columns pci, mmio; in, which nothing claims, one cell for both
    assert page.kinds == ["FAIL", "PASS", "PASS", "none", "none", "none"]
    text = "".join(page.text)
    for word in ("a < b & c", "what must hold", "got <7> at", "build/assay -x"):
        assert word in text
    assert page.fetched == []  # one file, nothing is loaded from elsewhere
    told = json.loads((tmp_path / "conformance.json").read_text())
    assert told["schema"] == 1
    assert [column["id"] for column in told["columns"]] == [PCI, "assay-soft/mmio/split"]
    cell = told["clauses"][0]["cells"][PCI]
    assert cell["verdict"] == "FAIL"
    assert cell["tests"][0]["command"] == "build/assay -x"
    assert told["columns"][0]["counts"] == {"FAIL": 1, "PASS": 1}
    assert "| A-1 | MUST | a < b & c | FAIL | PASS |" in (tmp_path / "conformance.md").read_text()


# -- the tables of the tree -------------------------------------------------------------------


def claimed():
    """clause -> the TESTs of all kernels that name it"""
    found = {}
    for image in sorted((tables.HERE.parent / "build" / "kernels").glob("*.elf")):
        if image.name.count(".") > 1:
            continue
        for test in elf.list_tests(image):
            for clause in test.clauses:
                found.setdefault(clause, []).append(f"{image.stem}.{test.name}")
    return found


def test_claims_name_rows_of_the_table():
    unknown = {name: tests for name, tests in claimed().items() if name not in tables.clauses()}
    assert unknown == {}


def test_known_failures_name_rows_of_the_table():
    known = tables.clauses()
    for path in (tables.HERE / "expected").glob("*.tsv"):
        for row in tables.expected_failures(path.stem):
            assert set(row.clauses) - {*known, "-"} == set(), row


def test_each_row_of_these_areas_is_claimed_or_says_why_not():
    """Both sides: what a guest can see has a TEST, or a line in clause-notes.tsv."""
    tests, notes = claimed(), tables.clause_notes()
    rows = [one for one in tables.clauses().values() if conformance.in_scope(one)]
    silent = [
        one.id
        for one in rows
        if conformance.visible(one) and one.id not in tests and one.id not in notes
    ]
    assert silent == []


def test_notes_are_of_rows_and_of_known_kinds():
    tests, known = claimed(), tables.clauses()
    for note in tables.clause_notes().values():
        assert note.id in known, note
        assert note.kind in conformance.NOTE_KINDS, note
        assert re.match(r"\S.{20,}", note.text), note
        # What is claimed needs no excuse; "part" is a word about a claim.
        if note.kind != "later":
            assert (note.kind == "part") == (note.id in tests), note


def test_positive_checks_name_claims_and_faults():
    """Each row: a clause, a fault, and a TEST that claims the clause and is broken by the fault."""
    tests = claimed()
    broken = {fault.name: {f"{kernel}.{test}" for kernel, test, _ in fault.breaks} for fault in tables.faults()}
    wrong = [
        one
        for checks in tables.clause_checks().values()
        for one in checks
        if one.test not in tests.get(one.id, ()) or one.test not in broken.get(one.fault, ())
    ]
    assert wrong == []


def test_what_is_claimed_of_a_device_has_a_positive_check_or_says_why_not():
    tests, notes, checks = claimed(), tables.clause_notes(), tables.clause_checks()
    rows = [one for one in tables.clauses().values() if conformance.in_scope(one) and one.side == "device"]
    hollow = [
        one.id
        for one in rows
        if conformance.visible(one) and one.id in tests and one.id not in checks and one.id not in notes
    ]
    assert hollow == []


def test_the_page_lists_the_notes():
    """docs/conformance.md has them all; `python3 -m harness.conformance` prints the table anew."""
    page = (tables.HERE.parent / "docs" / "conformance.md").read_text()
    wanted = conformance.notes_markdown(tables.clauses(), tables.clause_notes())
    assert "\n".join(wanted) in page
